"""The admin listener: probes, and what an operator does with a running gateway. Never reachable for clients.

`GET /livez /readyz /startupz` are `Health`'s. `GET /cache` tells what is kept; `POST /cache/purge` and `/cache/warm` act, with
one of `{"id": …}`, `{"source": …}` and `{"all": true}` as JSON: a media type that no page in a browser may send here, and what
names an origin is refused, so no site that an operator visits can purge anything. `GET /audit` tells how the audit trail and
its deliveries stand.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from adapters.errors import AdapterError, NotFound
from gateway.audit.trail import Trail
from gateway.cache import PurgePending
from gateway.health import Health, answer
from gateway.upkeep import UnknownSource, Upkeep, described

LONGEST_BODY = 4096

PURGED = {"id": '{"id": "…"}', "source": '{"source": "…"}', "all": '{"all": true}'}
WARMED = {"id": '{"id": "…"}'}
"""What may be asked for, and how it is written."""

Act = Callable[[Upkeep, Mapping[str, Any]], Awaitable[str]]


class Admin:
    """Answers the admin listener. `upkeep` and `audit` are there once the gateway was composed."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self.upkeep: Upkeep | None = None
        self.audit: Trail | None = None

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.path == "/audit":
            return await self._audit(request)
        if not request.path.startswith("/cache"):
            return await self._health(request)
        if self.upkeep is None:
            return answer(503, {"status": "starting"})
        match request.method, request.path:
            case (("GET" | "HEAD"), "/cache"):
                return answer(200, await self.upkeep.state())
            case "POST", "/cache/purge":
                return await self._act(request, self._purge, PURGED)
            case "POST", "/cache/warm":
                return await self._act(request, self._warm, WARMED)
            case _, "/cache":
                return answer(405, {"status": "method not allowed"}, Allow="GET, HEAD")
            case _, "/cache/purge" | "/cache/warm":
                return answer(405, {"status": "method not allowed"}, Allow="POST")
        return answer(404, {"status": "not found", "paths": ["/cache", "/cache/purge", "/cache/warm"]})

    async def _audit(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return answer(405, {"status": "method not allowed"}, Allow="GET, HEAD")
        if self.audit is None:
            return answer(503, {"status": "starting"})
        return answer(200, await self.audit.state())

    def refuse_unparsed(self, error: BaseException | None) -> web.Response:
        return self._health.refuse_unparsed(error)

    def refuse_failed(self, error: BaseException | None) -> web.Response:
        return self._health.refuse_failed(error)

    async def _act(self, request: web.BaseRequest, act: Act, acts: Mapping[str, str]) -> web.StreamResponse:
        if "Origin" in request.headers:
            # Browsers send it with every request that acts, also to a name that somebody else points at this machine.
            return answer(403, {"status": "not from a browser"})
        asked = await _body(request)
        if asked is None or asked.keys() - acts.keys():
            cure = f"Send one of {', '.join(acts.values())} as application/json."
            return answer(400, {"status": "not understood", "cure": cure})
        assert self.upkeep is not None
        try:
            return answer(200, {"status": await act(self.upkeep, asked)})
        except PurgePending as pending:
            return answer(503, {"status": "pending", "detail": str(pending)})
        except UnknownSource:
            return answer(404, {"status": "no such source"})
        except NotFound as error:
            return answer(404, {"status": "no such document", "detail": described(error)})
        except AdapterError as error:
            return answer(502, {"status": "the archive failed", "detail": described(error)})

    async def _purge(self, upkeep: Upkeep, asked: Mapping[str, Any]) -> str:
        if "id" in asked:
            await upkeep.purge_id(asked["id"])
        elif "source" in asked:
            await upkeep.purge_source(asked["source"])
        else:
            await upkeep.purge_all()
        return "purged"

    async def _warm(self, upkeep: Upkeep, asked: Mapping[str, Any]) -> str:
        return await upkeep.warm(asked["id"])


async def _body(request: web.BaseRequest) -> Mapping[str, Any] | None:
    """The one thing that is asked, a text or `all`; None when it is not understood."""
    length = request.content_length or 0
    if request.content_type != "application/json" or length > LONGEST_BODY:
        return None
    try:
        asked = json.loads(await request.content.readexactly(length))
    except (ValueError, EOFError, RecursionError):
        return None
    if not isinstance(asked, dict) or len(asked) != 1:
        return None
    ((name, value),) = asked.items()
    return asked if (value is True if name == "all" else isinstance(value, str)) else None
