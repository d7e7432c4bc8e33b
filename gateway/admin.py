"""The admin listener: probes, and what an operator does with a running gateway. Never reachable for clients.

`GET /livez /readyz /startupz` are `Health`'s. `GET /cache` tells what is kept; `POST /cache/purge` and `/cache/warm` act, with
one of `{"id": …}`, `{"source": …}` and `{"all": true}` as JSON: a media type that no page in a browser may send here, so no
site that an operator visits can purge anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from adapters.errors import AdapterError, NotFound
from gateway.cache import PurgePending
from gateway.health import Health, answer
from gateway.upkeep import UnknownSource, Upkeep, described

LONGEST_BODY = 4096


class Admin:
    """Answers the admin listener. `upkeep` is there once the gateway was composed."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self.upkeep: Upkeep | None = None

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if not request.path.startswith("/cache"):
            return await self._health(request)
        if self.upkeep is None:
            return answer(503, {"status": "starting"})
        match request.method, request.path:
            case (("GET" | "HEAD"), "/cache"):
                return answer(200, await self.upkeep.state())
            case "POST", "/cache/purge":
                return await self._act(request, self._purge)
            case "POST", "/cache/warm":
                return await self._act(request, self._warm)
            case _, "/cache":
                return answer(405, {"status": "method not allowed"}, Allow="GET, HEAD")
            case _, "/cache/purge" | "/cache/warm":
                return answer(405, {"status": "method not allowed"}, Allow="POST")
        return answer(404, {"status": "not found", "paths": ["/cache", "/cache/purge", "/cache/warm"]})

    def refuse_unparsed(self, error: BaseException | None) -> web.Response:
        return self._health.refuse_unparsed(error)

    def refuse_failed(self, error: BaseException | None) -> web.Response:
        return self._health.refuse_failed(error)

    async def _act(self, request: web.BaseRequest, act: Any) -> web.StreamResponse:
        asked = await _body(request)
        if asked is None:
            cure = 'Send {"id": …}, {"source": …} or {"all": true} as application/json.'
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
            await upkeep.purge_id(str(asked["id"]))
        elif "source" in asked:
            await upkeep.purge_source(str(asked["source"]))
        else:
            await upkeep.purge_all()
        return "purged"

    async def _warm(self, upkeep: Upkeep, asked: Mapping[str, Any]) -> str:
        if "id" not in asked:
            raise NotFound("one id at a time is warmed")
        return await upkeep.warm(str(asked["id"]))


async def _body(request: web.BaseRequest) -> Mapping[str, Any] | None:
    """What is asked; None when it is not understood."""
    if request.content_type != "application/json" or (request.content_length or LONGEST_BODY) > LONGEST_BODY:
        return None
    try:
        asked = json.loads(await request.content.readexactly(request.content_length or 0))
    except (ValueError, EOFError):
        return None
    wanted = ("id", "source", "all")
    usable = isinstance(asked, dict) and len(asked) == 1 and next(iter(asked)) in wanted
    return asked if usable and asked.get("all", True) is True else None
