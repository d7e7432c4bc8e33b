"""The admin listener: probes, numbers, and what an operator does with a running gateway. Never reachable for clients.

`GET /livez /readyz /startupz` are `Health`'s, `GET /status` and `GET /metrics` tell how the process is, to people and to
Prometheus. `GET /cache` tells what is kept, `GET /audit` how the audit trail and its deliveries stand, `GET /reload` what came
of the last reload.

`POST /cache/purge` and `/cache/warm` act, with one of `{"id": …}`, `{"source": …}` and `{"all": true}`; `POST /reload` has the
configuration read again; `POST /log` changes what is logged. All of it is JSON, a media type that no page in a browser may send
here, and what names an origin is refused: no site that an operator visits can do anything.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from adapters.errors import AdapterError, NotFound
from gateway import health, status
from gateway.cache import PurgePending
from gateway.health import Health, answer
from gateway.metrics import exposition, readings
from gateway.observed import Observed
from gateway.quantities import parse_duration
from gateway.reply import SERVER
from gateway.telemetry import LEVELS
from gateway.upkeep import UnknownSource, Upkeep, described

LONGEST_BODY = 4096

PURGED = {"id": '{"id": "…"}', "source": '{"source": "…"}', "all": '{"all": true}'}
WARMED = {"id": '{"id": "…"}'}
"""What may be asked for, and how it is written."""

LONGEST = 7 * 86_400.0
"""Seconds for which the log's level can be changed; whoever wants more changes the configuration."""

LOGGED = 'Send {"level": "debug"}, with "for": "10m" to have it set back, or {"level": null} to set it back now.'

READ = ("GET", "HEAD")

Act = Callable[[Upkeep, Mapping[str, Any]], Awaitable[str]]
Answering = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Reloads(Protocol):
    """What reads the configuration again."""

    async def reload(self) -> Any:
        """What came of it: `good`, and `as_dict`."""

    def state(self) -> dict[str, Any]:
        """How the configuration stands, as plain values."""


class Admin:
    """Answers the admin listener. `upkeep` and `reloading` are there once the gateway was composed."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._health = Health(observed)
        self.upkeep: Upkeep | None = None
        self.reloading: Reloads | None = None
        self._paths: Mapping[str, Mapping[str, Answering]] = {
            "/status": {"GET": self._status},
            "/metrics": {"GET": self._metrics},
            "/audit": {"GET": self._audit},
            "/cache": {"GET": self._cache},
            "/cache/purge": {"POST": lambda request: self._act(request, _purged, PURGED)},
            "/cache/warm": {"POST": lambda request: self._act(request, _warmed, WARMED)},
            "/reload": {"GET": self._configuration, "POST": self._reload},
            "/log": {"GET": self._levels, "POST": self._set_level},
        }

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.path in health.PATHS:
            return await self._health(request)
        methods = self._paths.get(request.path)
        if methods is None:
            return answer(404, {"status": "not found", "paths": [*health.PATHS, *self._paths]})
        answering = methods.get("GET" if request.method == "HEAD" else request.method)
        if answering is None:
            allowed = [*READ, *methods] if "GET" in methods else [*methods]
            return answer(405, {"status": "method not allowed"}, Allow=", ".join(dict.fromkeys(allowed)))
        if request.method == "POST" and "Origin" in request.headers:
            # Browsers send it with every request that acts, also to a name that somebody else points at this machine.
            return answer(403, {"status": "not from a browser"})
        return await answering(request)

    def refuse_unparsed(self, error: BaseException | None) -> web.Response:
        return self._health.refuse_unparsed(error)

    def refuse_failed(self, error: BaseException | None) -> web.Response:
        return self._health.refuse_failed(error)

    # --- looking ---------------------------------------------------------------------------------------------------

    async def _status(self, request: web.BaseRequest) -> web.StreamResponse:
        return answer(200, await status.status(self._observed))

    async def _metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        snapshot = await readings.read(self._observed)
        text, content_type = await exposition.rendered(snapshot, request.headers.get("Accept", ""))
        headers = {"Content-Type": content_type, "Cache-Control": "no-store", "Server": SERVER}
        return web.Response(body=text, headers=headers)

    async def _audit(self, request: web.BaseRequest) -> web.StreamResponse:
        audit = self._observed.audit
        return answer(503, {"status": "starting"}) if audit is None else answer(200, await audit.state())

    async def _cache(self, request: web.BaseRequest) -> web.StreamResponse:
        upkeep = self.upkeep
        return answer(503, {"status": "starting"}) if upkeep is None else answer(200, await upkeep.state())

    # --- the configuration -----------------------------------------------------------------------------------------

    async def _configuration(self, request: web.BaseRequest) -> web.StreamResponse:
        reloading = self.reloading
        return answer(503, {"status": "starting"}) if reloading is None else answer(200, reloading.state())

    async def _reload(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.content_type != "application/json":
            return answer(400, {"status": "not understood", "cure": "Send {} as application/json."})
        if self.reloading is None:
            return answer(503, {"status": "starting"})
        outcome = await self.reloading.reload()
        return answer(200 if outcome.good else 422, outcome.as_dict())

    # --- the log ---------------------------------------------------------------------------------------------------

    async def _levels(self, request: web.BaseRequest) -> web.StreamResponse:
        return answer(200, self._observed.telemetry.levels())

    async def _set_level(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = await _body(request)
        if asked is None or not {"level"} <= asked.keys() <= {"level", "for"}:
            return answer(400, {"status": "not understood", "cure": LOGGED})
        level, lasting = asked["level"], asked.get("for")
        try:
            seconds = None if lasting is None else parse_duration(lasting)
        except ValueError:
            seconds = 0.0
        if level not in (None, *LEVELS) or (seconds is not None and not 0 < seconds <= LONGEST):
            return answer(400, {"status": "not understood", "cure": LOGGED})
        self._observed.telemetry.set_level(level, seconds)
        return await self._levels(request)

    # --- the cache -------------------------------------------------------------------------------------------------

    async def _act(self, request: web.BaseRequest, act: Act, acts: Mapping[str, str]) -> web.StreamResponse:
        if self.upkeep is None:
            return answer(503, {"status": "starting"})
        asked = await _body(request)
        if asked is None or len(asked) != 1 or asked.keys() - acts.keys() or not _one(asked):
            cure = f"Send one of {', '.join(acts.values())} as application/json."
            return answer(400, {"status": "not understood", "cure": cure})
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


async def _purged(upkeep: Upkeep, asked: Mapping[str, Any]) -> str:
    if "id" in asked:
        await upkeep.purge_id(asked["id"])
    elif "source" in asked:
        await upkeep.purge_source(asked["source"])
    else:
        await upkeep.purge_all()
    return "purged"


async def _warmed(upkeep: Upkeep, asked: Mapping[str, Any]) -> str:
    return await upkeep.warm(asked["id"])


def _one(asked: Mapping[str, Any]) -> bool:
    """Whether what is named is a text, or `all` of it."""
    ((name, value),) = asked.items()
    return value is True if name == "all" else isinstance(value, str)


async def _body(request: web.BaseRequest) -> Mapping[str, Any] | None:
    """What is asked, as JSON; None when it is not understood."""
    length = request.content_length or 0
    if request.content_type != "application/json" or length > LONGEST_BODY:
        return None
    try:
        asked = json.loads(await request.content.readexactly(length))
    except (ValueError, EOFError, RecursionError):
        return None
    return asked if isinstance(asked, dict) else None
