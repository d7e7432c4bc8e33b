"""The admin side of a worker: that of any gateway, its numbers before they are added up, and the two halves of a reload."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway.admin import Admin
from gateway.health import answer
from gateway.metrics import exposition, readings
from gateway.observed import Observed
from gateway.problems import Problem
from gateway.reloading import Reloading


class Desk:
    """Answers a supervisor. `reloading` is there once the gateway was composed."""

    def __init__(self, admin: Admin, observed: Observed) -> None:
        self._admin = admin
        self._observed = observed
        self.reloading: Reloading | None = None

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if not request.path.startswith("/worker/"):
            return await self._admin(request)
        if request.path == "/worker/metrics":
            snapshot = await readings.read(self._observed)
            return web.Response(body=exposition.packed(snapshot), headers={"Content-Type": "application/json"})
        if self.reloading is None:
            return answer(503, {"status": "starting"})
        given: Mapping[str, Any] = json.loads(await request.content.readexactly(request.content_length or 0))
        match request.path:
            case "/worker/prepare":
                problems = await self.reloading.prepare(given["text"])
                return answer(200, {"problems": [problem.as_dict() for problem in problems]})
            case "/worker/commit":
                return answer(200, (await self.reloading.commit()).as_dict())
            case "/worker/abandon":
                problems = [Problem(**problem) for problem in given["problems"]]
                return answer(200, (await self.reloading.abandon(problems)).as_dict())
        return answer(404, {"status": "not found"})

    def refuse_unparsed(self, error: BaseException | None) -> web.Response:
        return self._admin.refuse_unparsed(error)

    def refuse_failed(self, error: BaseException | None) -> web.Response:
        return self._admin.refuse_failed(error)
