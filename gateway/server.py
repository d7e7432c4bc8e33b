"""The HTTP server around the handlers: errors into OperationOutcomes, one log line per request.

aiohttp's own router, middlewares and error pages are not used: a request line that its parser refuses, a path outside
every base and a failing archive are all answered by `Pipeline`, in FHIR. Connections are `gateway.http_server`'s. That module
and `gateway.whole` alone touch private hooks of aiohttp; `pyproject.toml` bounds its version for that reason.
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
from gateway.epoch import Epoch
from gateway.errors import Problem, problem_for
from gateway.fhir import Version, outcome
from gateway.handlers import Handlers
from gateway.http_server import MAX_LINE
from gateway.metrics.tallies import Requests
from gateway.protocol import negotiation
from gateway.protocol.parameters import waits
from gateway.protocol.profile import Profile
from gateway.reply import common_headers, fhir_headers
from gateway.routing import Withdrawn
from gateway.security.authentication import check_scopes
from gateway.security.door import Door
from gateway.telemetry import Telemetry
from gateway.timeline import Tracing, stage

VERSIONS = (HttpVersion11, HttpVersion10)

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
        self.epoch = Epoch(handlers, door or Door())
        self._account = Account(telemetry, requests or Requests(), tracing, handlers.adapters)
        self._telemetry = telemetry
        self._calls: dict[Call, Any] = {}
        self.draining = False
        self.stopping = False

    @property
    def in_flight(self) -> int:
        """Requests that are being answered."""
        return len(self._calls)

    def swap(self, handlers: Handlers, door: Door | None) -> Epoch:
        """Answer what begins from now on by these; gives back the epoch that ends with its last request."""
        former, self.epoch = self.epoch, Epoch(handlers, door or Door())
        self._account.adapters = handlers.adapters
        return former

    def drain(self) -> None:
        """Let every answer be the last one of its connection, and say so.

        Connections whose answer is on its way without saying so are left open for one more, as long as there is time for it.
        """
        self.draining = True
        for call, connection in self._calls.items():
            if not call.stamped:
                _last_one(call, connection)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request._version not in VERSIONS:
            # aiohttp would answer in the version of the request, which is none that this server speaks.
            request._version = HttpVersion11
            return self.refuse_unparsed(None)
        epoch = self.epoch
        handlers = epoch.handlers
        call = Call(request, handlers.bases, handlers.profile)
        call.standing = epoch.door.headers(request)
        headers = request.headers
        odd = "Transfer-Encoding" in headers or "Upgrade" in headers
        if self.draining or (odd and not request.can_read_body):
            # Clients that offer HTTP/2 in the clear (`Upgrade: h2c`) are among those who send them: they are answered in
            # HTTP/1.1 and connect anew. By one reading of these fields another request follows, by another something else.
            _last_one(call, request.protocol)
        deadline.limit(handlers.request_timeout, waits(headers.get("Prefer")))
        self._calls[call] = request.protocol
        epoch.enter()
        timeline = self._account.begin(request, call)
        try:
            response = await self._answered(request, call, epoch)
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
            del self._calls[call]
            call.end()
            handlers.audit.ended(call)
            epoch.leave()
            self._account.end(call, timeline)
        return response

    async def _answered(self, request: web.BaseRequest, call: Call, epoch: Epoch) -> web.StreamResponse:
        """The response, sent: the document or an OperationOutcome. Raises `Aborted` when it broke off."""
        try:
            preflight = epoch.door.preflight(request)
            if preflight is not None:
                response = _empty(preflight, call, epoch.handlers.profile)
            else:
                with stage("authorise"):
                    call.identity = await epoch.door.admit(request, call.interaction)
                    check_scopes(call.identity, call.interaction)
                response = await epoch.handlers.answer(request, call)
        except (Aborted, asyncio.CancelledError):
            raise
        except Problem as problem:
            response = await self._refusal(request, call, epoch, problem)
        except AdapterError as error:
            response = await self._refusal(request, call, epoch, problem_for(error))
        except Exception as error:
            fault = Problem(errors.INTERNAL, detail=type(error).__name__)
            response = await self._refusal(request, call, epoch, fault, error)
        call.sending()
        await epoch.handlers.delivery.finish(request, response)
        return response

    async def _refusal(
        self, request: web.BaseRequest, call: Call, epoch: Epoch, problem: Problem, error: Exception | None = None
    ) -> web.StreamResponse:
        """The OperationOutcome of a request that failed before its response started, in the format asked for."""
        handlers = epoch.handlers
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
            epoch.door.unknown(request, call.identity, call.logged_id)
        form = negotiation.error_format(call.wishes)
        pretty = getattr(call.parameters, "pretty", False)
        await outcome.prepare(form)
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
        body = outcome.render(entry, Version.R4, negotiation.Format.JSON)
        headers = common_headers(self.epoch.handlers.profile) | {
            "Content-Type": negotiation.Format.JSON.content_type(self.epoch.handlers.profile.charset),
            "Content-Length": str(len(body)),
            "X-Request-Id": request_id,
        }
        headers |= self.epoch.door.standing
        response = web.Response(status=entry.status, headers=headers, body=body)
        response.force_close()
        return response


def _last_one(call: Call, connection: Any) -> None:
    """Let the answer to `call` be the last one of its connection, and say so."""
    call.standing = {**call.standing, "Connection": "close"}
    connection.close()


def _empty(headers: dict[str, str], call: Call, profile: Profile) -> web.StreamResponse:
    """The answer to a preflight."""
    headers = common_headers(profile) | headers
    call.stamp(headers)
    return web.Response(status=204, headers=headers)
