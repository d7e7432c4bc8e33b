"""The probes in every state of a process, as an orchestrator asks them."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from adapters.errors import Unavailable
from gateway.health import Health
from gateway.heartbeat import STILL
from gateway.observed import Observed
from gateway.telemetry import Telemetry


@pytest.fixture
async def observed() -> AsyncIterator[Observed]:
    telemetry = Telemetry(form="json", stream=io.StringIO())
    yield Observed(telemetry)
    await asyncio.to_thread(telemetry.close)


async def probe(observed: Observed, path: str) -> tuple[int, str]:
    answer = await Health(observed)(make_mocked_request("GET", path))
    assert isinstance(answer, web.Response)
    assert isinstance(answer.body, bytes)
    return answer.status, json.loads(answer.body)["status"]


@pytest.mark.parametrize(
    ("started", "draining", "livez", "startupz", "readyz"),
    [
        (False, False, (200, "alive"), (503, "starting"), (503, "starting")),
        (True, False, (200, "alive"), (200, "started"), (200, "ready")),
        (True, True, (200, "alive"), (200, "started"), (503, "draining")),
    ],
)
async def test_a_life(
    observed: Observed,
    started: bool,
    draining: bool,
    livez: tuple[int, str],
    startupz: tuple[int, str],
    readyz: tuple[int, str],
) -> None:
    observed.started, observed.draining = started, draining
    # Neither has a say in any of it.
    observed.failures = {"letters": Unavailable("away")}
    observed.config.refuse("it names an unknown key")
    for path, wanted in (("/livez", livez), ("/startupz", startupz), ("/readyz", readyz)):
        assert await probe(observed, path) == wanted
        assert await probe(observed, f"{path}?verbose") == wanted


@pytest.mark.parametrize(("late", "wanted"), [(STILL - 0.1, (200, "alive")), (STILL, (503, "standing still"))])
async def test_a_loop_that_stands_still_is_not_alive(observed: Observed, late: float, wanted: tuple[int, str]) -> None:
    observed.started = True
    observed.heartbeat._lags.append(late)
    assert await probe(observed, "/livez") == wanted
    assert (await probe(observed, "/readyz"))[0] == 200
    observed.heartbeat._lags.append(0.0)
    assert await probe(observed, "/livez") == (200, "alive"), "forgiven with the next beat"
