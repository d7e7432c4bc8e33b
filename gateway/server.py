"""The HTTP server around the handlers: errors into OperationOutcomes, one log line per request, resets that stay resets.

aiohttp's own router, middlewares and error pages are not used: a request line that its parser refuses, a path outside
every base and a failing archive are all answered by `Pipeline`, in FHIR. This module and `gateway.whole` alone touch private
hooks of aiohttp; `pyproject.toml` bounds its version for that reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http_exceptions import LineTooLong

from adapters.errors import AdapterError
from gateway import deadline, errors
from gateway.account import Account
from gateway.calls import Call, new_request_id
from gateway.delivery import Aborted, Interrupted
from gateway.errors import Problem, problem_for
from gateway.fhir import outcome
from gateway.handlers import Handlers
from gateway.http_server import MAX_LINE
from gateway.metrics.tallies import Requests
from gateway.protocol import negotiation
from gateway.protocol.parameters import waits
from gateway.reply import common_headers, fhir_headers
from gateway.routing import Withdrawn
from gateway.security.authentication import check_scopes
from gateway.security.door import Door
from gateway.telemetry import Telemetry
from gateway.timeline import Tracing, stage

VERSIONS = (HttpVersion11, HttpVersion10)

ONE_MORE = ("Transfer-Encoding", "Upgrade")
"""Fields after which a connection is not used again. Clients that offer HTTP/2 in the clear (`Upgrade: h2c`) are among those
who send them: they are answered in HTTP/1.1 and connect anew."""

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Ended(web.StreamResponse):
    """Stands for a response whose connection was reset: nothing more may be written to it."""

    async def prepare(self, request: web.BaseRequest) -> Any:
        raise ConnectionResetError


class Pipeline:
    """What happens around every request of the public listener."""

    def __init__(
        self,
        handlers: Handlers,
        telemetry: Telemetry,
        door: Door | None = None,
        requests: Requests | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """Without a `door` everybody is let in, as often as they like. `requests` counts what came of them."""
        self._account = Account(telemetry, requests or Requests(), tracing, handlers.adapters)
        self._handlers = handlers
        self._telemetry = telemetry
        self._door = door or Door()
        self.in_flight = 0
        self.draining = False
        self.stopping = False

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request._version not in VERSIONS:
            # aiohttp would answer in the version of the request, which is none that this server speaks.
            request._version = HttpVersion11
            return self.refuse_unparsed(None)
        handlers = self._handlers
        call = Call(request, handlers.bases, handlers.profile)
        call.standing = self._door.headers(request)
        if not request.can_read_body and any(name in request.headers for name in ONE_MORE):
            # By one reading of these fields another request follows, by another one something else.
            call.standing = {**call.standing, "Connection": "close"}
            request.protocol.close()
        deadline.limit(handlers.request_timeout, waits(request.headers.get("Prefer")))
        self.in_flight += 1
        timeline = self._account.begin(request, call)
        try:
            response = await self._answered(request, call)
            call.status = response.status
        except Aborted as aborted:
            call.sent = aborted.sent
            call.failed(aborted.entry, aborted.detail, outcome="aborted")
            if aborted.entry is errors.ENDED_BY_FAULT and aborted.__cause__ is not None:
                self._telemetry.unexpected(aborted.__cause__, request_id=call.logged_id)
            response = _Ended()
        except asyncio.CancelledError as cancelled:
            call.sent = cancelled.sent if isinstance(cancelled, Interrupted) else 0
            call.failed(errors.ENDED_BY_SHUTDOWN if self.stopping else errors.ENDED_BY_READER, "", outcome="aborted")
            raise
        finally:
            self.in_flight -= 1
            call.end()
            handlers.audit.ended(call)
            self._account.end(call, timeline)
        return response

    async def _answered(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        """The response, sent: the document or an OperationOutcome. Raises `Aborted` when it broke off."""
        try:
            preflight = self._door.preflight(request)
            if preflight is not None:
                response = self._empty(preflight, call)
            else:
                await self._let_in(request, call)
                response = await self._handlers.answer(request, call)
        except (Aborted, asyncio.CancelledError):
            raise
        except Problem as problem:
            response = await self._refusal(request, call, problem)
        except AdapterError as error:
            response = await self._refusal(request, call, problem_for(error))
        except Exception as error:
            response = await self._refusal(request, call, Problem(errors.INTERNAL, detail=type(error).__name__), error)
        if self.draining and not response.prepared:
            response.force_close()
        call.sending()
        await self._handlers.delivery.finish(request, response)
        return response

    async def _let_in(self, request: web.BaseRequest, call: Call) -> None:
        """Find out who asks, and whether they may. Raises `Problem`."""
        with stage("authorise"):
            call.identity = await self._door.admit(request, call.interaction)
            check_scopes(call.identity, call.interaction)

    def _empty(self, headers: dict[str, str], call: Call) -> web.StreamResponse:
        """The answer to a preflight."""
        headers = common_headers(self._handlers.profile) | headers
        call.stamp(headers)
        return web.Response(status=204, headers=headers)

    async def _refusal(
        self, request: web.BaseRequest, call: Call, problem: Problem, error: Exception | None = None
    ) -> web.StreamResponse:
        """The OperationOutcome of a request that failed before its response started, in the format asked for."""
        handlers = self._handlers
        entry = problem.entry
        if entry is errors.WITHDRAWN and handlers.profile.deleted_status == errors.NOT_FOUND.status:
            entry = errors.NOT_FOUND
        if error is not None:
            self._telemetry.unexpected(error, request_id=call.logged_id)
        if problem.source is not None:
            call.source = problem.source
        if isinstance(problem.__cause__, Withdrawn):
            call.location = problem.__cause__.location
        try:
            await handlers.audit.refused(call, entry)
        except Problem as unrecorded:
            problem, entry = unrecorded, unrecorded.entry
        call.failed(entry, problem.detail, outcome="refused")
        if problem.entry is errors.NOT_FOUND:
            self._door.unknown(request, call.identity)
        form = negotiation.error_format(call.wishes)
        pretty = getattr(call.parameters, "pretty", False)
        await outcome.prepare()
        body = outcome.render(
            entry,
            call.version,
            form,
            pretty=pretty,
            profile_url=handlers.profile.error_profile,
            detail_name=problem.detail_name,
        )
        headers = fhir_headers(form, handlers.profile) | problem.headers | {"Content-Length": str(len(body))}
        call.stamp(headers)
        call.status, call.sent = entry.status, 0 if request.method == "HEAD" else len(body)
        response = web.Response(status=entry.status, headers=headers, body=body)
        if request.can_read_body or entry is errors.SOURCE_BUSY:
            # The body was not read: what follows on this connection may not be a request. Where there is no room for a
            # request, there is none for what it would leave behind either.
            response.force_close()
        return response

    def refuse_unparsed(self, error: BaseException | None) -> web.Response:
        """The answer to bytes that are no HTTP request: nothing of them is repeated, in the body or in the log."""
        entry = errors.MALFORMED_REQUEST
        if isinstance(error, LineTooLong):
            entry = errors.ADDRESS_TOO_LONG if error.args[1] == MAX_LINE else errors.HEADERS_TOO_LARGE
        request_id = new_request_id()
        self._account.unparsed(entry, request_id)
        return self._plain(entry, request_id)

    def refuse_failed(self, error: BaseException | None) -> web.Response:
        """The answer when a request failed outside `__call__`."""
        request_id = new_request_id()
        if error is not None:
            self._telemetry.unexpected(error, request_id=request_id)
        return self._plain(errors.INTERNAL, request_id)

    def crowded(self) -> bytes:
        """The whole answer to a connection too many, as it goes out: nobody reads what was asked on it."""
        response = self._plain(errors.TOO_MANY_CONNECTIONS, new_request_id())
        fields = {
            **response.headers,
            "Connection": "close",
            "Retry-After": str(errors.TOO_MANY_CONNECTIONS.retry_after),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        assert isinstance(response.body, bytes)
        return f"HTTP/1.1 503 Service Unavailable\r\n{head}\r\n".encode("ascii") + response.body

    def _plain(self, entry: errors.Entry, request_id: str) -> web.Response:
        body = outcome.plain(entry)
        headers = common_headers(self._handlers.profile) | {
            "Content-Type": negotiation.Format.JSON.content_type(self._handlers.profile.charset),
            "Content-Length": str(len(body)),
            "X-Request-Id": request_id,
        }
        headers |= self._door.standing
        response = web.Response(status=entry.status, headers=headers, body=body)
        response.force_close()
        return response
