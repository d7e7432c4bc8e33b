"""The probes: whether the process lives, has started, and takes requests.

Probes mean what orchestrators expect: `/livez` only that the event loop turns, `/startupz` that configuration and sources
were loaded, `/readyz` that requests are taken (started and not draining). None of them depends on an archive: a hung share
must not restart the sidecar that reports it. State of the sources is detail in the body, never part of the status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from pydantic_core import to_json

from gateway import __version__
from gateway.reply import SERVER


class Health:
    """The process's state as its probes report it."""

    def __init__(self) -> None:
        self.started = False
        self.draining = False
        self.sources: Callable[[], Mapping[str, str]] = dict

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request of the admin listener."""
        if request.method not in ("GET", "HEAD"):
            return answer(405, {"status": "method not allowed"}, Allow="GET, HEAD")
        match request.path:
            case "/livez":
                return answer(200, {"status": "alive"})
            case "/startupz":
                return self._state(self.started, "started", "starting")
            case "/readyz":
                ready = self.started and not self.draining
                return self._state(ready, "ready", "draining" if self.draining else "starting")
        return answer(404, {"status": "not found", "paths": ["/livez", "/readyz", "/startupz"]})

    def refuse_unparsed(self, error: BaseException | None) -> web.Response:
        """The answer to bytes that are no HTTP request; nothing of them is repeated."""
        return answer(400, {"status": "not a request"})

    def refuse_failed(self, error: BaseException | None) -> web.Response:
        """The answer when a probe itself failed."""
        return answer(500, {"status": "failed"})

    def _state(self, good: bool, word: str, otherwise: str) -> web.Response:
        body = {"status": word if good else otherwise, "version": __version__, "sources": dict(self.sources())}
        return answer(200 if good else 503, body)


def answer(status: int, body: Mapping[str, Any], **headers: str) -> web.Response:
    """An answer of the admin listener, as JSON."""
    return web.Response(
        status=status,
        body=to_json(body) + b"\n",
        headers={"Content-Type": "application/json", "Cache-Control": "no-store", "Server": SERVER, **headers},
    )
