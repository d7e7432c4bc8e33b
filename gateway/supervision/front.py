"""The admin listener of a supervisor: it answers for all workers what each of them would answer for itself.

Probes are about the whole: `/livez` that the supervisor turns, which replaces a worker that does not; `/startupz` that all
workers came up once; `/readyz` that at least one takes requests and nobody said that it ends. What looks is asked of every
worker and merged, what acts is done by every worker, and is done only when all say so.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from aiohttp import web

from gateway import __version__
from gateway.health import answer
from gateway.metrics import exposition
from gateway.reply import SERVER
from gateway.supervision.answers import merged
from gateway.supervision.crew import Crew
from gateway.supervision.worker import Said

LOOK_SECONDS, ACT_SECONDS, WARM_SECONDS = 3.0, 5.0, 600.0
"""How long all workers may take to say how they are, to act, and to read a document into their caches."""


class Reloads(Protocol):
    """What reads the configuration again, in all workers."""

    async def reload(self) -> Any: ...
    def state(self) -> dict[str, Any]: ...


class Front:
    """Answers the admin listener. `crew` and `reloading` are there once workers are started."""

    def __init__(self) -> None:
        self.crew: Crew | None = None
        self.reloading: Reloads | None = None
        self.started = False
        self.draining = False

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        looks = request.method in ("GET", "HEAD")
        match request.path:
            case "/livez" | "/startupz" | "/readyz" if not looks:
                return answer(405, {"status": "method not allowed"}, Allow="GET, HEAD")
            case "/livez":
                return self._probe(True, "alive", "")
            case "/startupz":
                return self._probe(self.started, "started", "starting")
            case "/readyz":
                ready = self.started and not self.draining and self._serving > 0
                otherwise = "draining" if self.draining else "starting" if not self.started else "no worker is ready"
                probe = self._probe(ready, "ready", otherwise)
                return await self._detailed(probe, ready) if "verbose" in request.query else probe
        if self.crew is None or not self.started:
            return answer(503, {"status": "starting"})
        if request.path == "/reload":
            return await self._reload(request)
        if request.path == "/metrics" and looks:
            return await self._metrics(request.headers.get("Accept", ""))
        body = await _body(request)
        asked = self.crew.serving
        seconds = LOOK_SECONDS if looks else WARM_SECONDS if request.path == "/cache/warm" else ACT_SECONDS
        headers = {
            name: request.headers[name] for name in ("Accept", "Origin", "Content-Type") if name in request.headers
        }
        said = await self.crew.ask(request.method, request.path_qs, body, headers=headers, seconds=seconds)
        silent = sum(1 for worker in asked if not worker.ended.is_set()) - len(said)
        if not said or (silent > 0 and not looks):
            # One that died forgot; one that hangs may still do what it did before.
            detail = f"{silent} of {self.crew.size} worker processes did not answer."
            return answer(503, {"status": "pending", "detail": detail})
        return await self._as_one(said, self.crew.size)

    def refuse_unparsed(self, error: BaseException | None) -> web.Response:
        return answer(400, {"status": "not a request"})

    def refuse_failed(self, error: BaseException | None) -> web.Response:
        return answer(500, {"status": "failed"})

    @property
    def _serving(self) -> int:
        return 0 if self.crew is None else len(self.crew.serving)

    async def _detailed(self, probe: web.Response, ready: bool) -> web.Response:
        """The same, with one word for each thing that requests depend on."""
        assert isinstance(probe.body, bytes)
        said = [one.json() for one in await self._asked("/readyz?verbose")]
        own = json.loads(probe.body)
        return answer(200 if ready else 503, merged(said) | own if said else own)

    async def _asked(self, path: str) -> list[Said]:
        return [] if self.crew is None else await self.crew.ask("GET", path, seconds=1.0)

    def _probe(self, good: bool, word: str, otherwise: str) -> web.Response:
        crew = self.crew
        workers = {"serving": self._serving, "wanted": 0 if crew is None else crew.size}
        replaced = 0 if crew is None else crew.replaced
        body = {
            "status": word if good else otherwise,
            "version": __version__,
            "workers": workers | {"replaced": replaced},
        }
        return answer(200 if good else 503, body)

    async def _reload(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.reloading is None:
            return answer(503, {"status": "starting"})
        if request.method in ("GET", "HEAD"):
            return answer(200, self.reloading.state())
        if request.method != "POST":
            return answer(405, {"status": "method not allowed"}, Allow="GET, HEAD, POST")
        if "Origin" in request.headers or request.content_type != "application/json":
            return answer(403, {"status": "not from a browser", "cure": "Send it as application/json, without Origin."})
        outcome = await self.reloading.reload()
        return answer(200 if outcome.good else 422, outcome.as_dict())

    async def _as_one(self, said: list[Said], wanted: int) -> web.StreamResponse:
        worst = max(said, key=lambda one: one.status)
        if worst.status >= 300:
            return web.Response(
                status=worst.status,
                body=worst.body,
                headers={"Content-Type": worst.content_type, "Cache-Control": "no-store", "Server": SERVER},
            )
        return answer(
            200, merged([one.json() for one in said]) | {"workers": {"answered": len(said), "wanted": wanted}}
        )

    async def _metrics(self, accept: str) -> web.StreamResponse:
        assert self.crew is not None
        said = [one for one in await self.crew.ask("GET", "/worker/metrics") if one.status == 200]
        whole = exposition.merged([exposition.unpacked(one.body) for one in said])
        text, content_type = await exposition.rendered(whole, accept)
        headers = {"Content-Type": content_type, "Cache-Control": "no-store", "Server": SERVER}
        return web.Response(body=text, headers=headers)


async def _body(request: web.BaseRequest) -> bytes | None:
    length = request.content_length or 0
    return None if request.method in ("GET", "HEAD") else await request.content.readexactly(min(length, 1 << 16))
