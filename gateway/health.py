"""The probes: whether the process lives, has started, and takes requests.

Probes mean what orchestrators expect: `/livez` only that the event loop turns, `/startupz` that configuration and sources
were loaded, `/readyz` that requests are taken (started and not draining). None of them depends on an archive or on Redis: a
hung share must not restart the sidecar that reports it, nor take its other archives out of service. What is away is detail
for people, asked for with `?verbose` and told at length by `/status`; it is never part of an answer's status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic_core import to_json

from gateway import __version__
from gateway.observed import Observed
from gateway.reply import SERVER

PATHS = ("/livez", "/readyz", "/startupz")


class Health:
    """The process's state as its probes report it."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one probe."""
        if request.method not in ("GET", "HEAD"):
            return answer(405, {"status": "method not allowed"}, Allow="GET, HEAD")
        observed = self._observed
        match request.path:
            case "/livez":
                good, word, otherwise = observed.heartbeat.alive, "alive", "standing still"
            case "/startupz":
                good, word, otherwise = observed.started, "started", "starting"
            case "/readyz":
                good, word, otherwise = observed.ready, "ready", "draining" if observed.draining else "starting"
            case _:
                return answer(404, {"status": "not found", "paths": PATHS})
        body = {"status": word if good else otherwise, "version": __version__}
        if "verbose" in request.query:
            body |= self._detail()
        return answer(200 if good else 503, body)

    def refuse_unparsed(self, error: BaseException | None) -> web.Response:
        """The answer to bytes that are no HTTP request; nothing of them is repeated."""
        return answer(400, {"status": "not a request"})

    def refuse_failed(self, error: BaseException | None) -> web.Response:
        """The answer when a probe itself failed."""
        return answer(500, {"status": "failed"})

    def _detail(self) -> dict[str, Any]:
        """One word for each thing that requests depend on."""
        observed = self._observed
        cache = observed.cache
        return {
            "event_loop_lag_ms": round(observed.heartbeat.lag * 1000, 1),
            "sources": observed.states(),
            "cache": "none" if cache is None or cache.backend == "none" else "away" if cache.away else "ok",
            "config": "ok" if observed.config.refused is None else "refused",
        }


def answer(status: int, body: Mapping[str, Any], **headers: str) -> web.Response:
    """An answer of the admin listener, as JSON."""
    return web.Response(
        status=status,
        body=to_json(body) + b"\n",
        headers={"Content-Type": "application/json", "Cache-Control": "no-store", "Server": SERVER, **headers},
    )
