"""Loading the models: once, elsewhere, and not spoiled by a caller that gives up."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from gateway.fhir import Version, models
from gateway.protocol.negotiation import Format


async def test_a_warm_up_runs_once_however_many_wait_for_it_and_its_thread_ends() -> None:
    ran_in = []

    def warm_up() -> None:
        ran_in.append(threading.current_thread())

    await asyncio.gather(*(models.prepare(warm_up) for _ in range(20)))
    await models.prepare(warm_up)
    [thread] = ran_in
    assert thread is not threading.current_thread()
    thread.join(timeout=5)
    assert not thread.is_alive()


async def test_what_a_warm_up_raises_reaches_every_caller() -> None:
    def warm_up() -> None:
        raise ImportError("fhir.resources is missing")

    for _ in range(2):
        with pytest.raises(ImportError, match="missing"):
            await models.prepare(warm_up)


async def test_a_caller_that_gives_up_does_not_stop_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    load: Future[None] = Future()
    monkeypatch.setattr(models, "_running", lambda warm_up: load)
    leaving, waiting = (asyncio.ensure_future(models.prepare(lambda: None)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    load.set_result(None)
    await waiting


@pytest.mark.parametrize("version", Version, ids=lambda version: version.name)
def test_a_body_that_is_not_a_valid_resource_is_refused(version: Version) -> None:
    body = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "invalid", "extra": 1}]}
    with pytest.raises(ValueError, match="extra"):
        models.serialise(body, version, Format.JSON, pretty=False)
