"""What readers do and get, and what the trail says of it: durable before the first byte, closed when it cannot be."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import Deleted, NotFound, Unavailable
from gateway.audit import appending
from gateway.audit.writing import Limits
from gateway.cache import Limits as CacheLimits
from gateway.cache.memory import MemoryCache
from gateway.routing import Location, Withdrawn
from gateway.shared import Sharing
from tests.support.audit import acts, found, judged, trail
from tests.support.fragile import Archive
from tests.support.raw_http import Ending, connect, request
from tests.support.service import Service, service

PATIENT = "9434765919"
SMALL = b"%PDF-1.7 a letter"
LARGE = bytes(range(256)) * 8192


class Index:
    """Knows the patient of every document, and that one of them was withdrawn."""

    async def locate(self, rest: str) -> Location:
        location = Location("letters", rest, patient=PATIENT)
        if rest == "withdrawn":
            raise Withdrawn(location)
        if rest == "nothing":
            raise NotFound("no row has this id")
        return location


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@asynccontextmanager
async def serving(directory: Path, archive: Archive | None = None, **more: Any) -> AsyncIterator[Service]:
    if archive is None:
        archive = Archive()
        archive.put("a", SMALL)
        archive.put("large", LARGE)
    options = more.pop("options", {})
    settings: dict[str, Any] = {"schemes": {"letters": Index()}, "spool_bytes": 64 << 20} | more
    async with service({"letters": archive.make()}, audit=trail(directory, **options), **settings) as running:
        yield running


def said(directory: Path) -> list[tuple[str, int]]:
    """Event and status of each record of a request."""
    return [(one.event, one.fields.get("status", 0)) for one in acts(directory)]


# --- every way to a document -----------------------------------------------------------------------------------------


@pytest.mark.requirement("AU-10", "GP-130")
@pytest.mark.parametrize("id", ["a", "large"])
async def test_a_read_is_intended_and_completed_with_its_bytes(directory: Path, id: str) -> None:
    async with serving(directory) as running:
        answer = await running.ask(f"/R4/Binary/{id}", X_Request_Id="request-1")
        await running.idle()
    assert answer.status == 200
    assert said(directory) == [("intended", 200), ("completed", 200)]
    intended, completed = acts(directory)
    assert completed.fields["bytes"] == len(answer.body) == intended.fields["length"]
    assert completed.fields["act"] == intended.fields["act"]
    assert completed.fields["request"] == "request-1"
    assert completed.fields["version"] == answer.field("ETag")
    assert completed.sealed is not None
    assert completed.sealed["id"] == id
    assert completed.sealed["patient"] == PATIENT
    assert completed.sealed["address"] == "127.0.0.1"
    assert judged(directory).whole


@pytest.mark.parametrize(
    ("target", "fields", "status", "bytes_sent"),
    [
        ("/R4/Binary/a", {"Range": "bytes=0-4"}, 206, 5),
        ("/R4/Binary/large", {"Range": "bytes=1000000-"}, 206, len(LARGE) - 1_000_000),
        ("/R4/Binary/a", {"Accept": "application/fhir+json"}, 200, None),
        ("/STU3/Binary/large", {"Accept": "application/fhir+xml"}, 200, None),
        ("/R4/Binary/a/_history/1", {}, 200, len(SMALL)),
    ],
)
async def test_parts_envelopes_and_versions_are_disclosures(
    directory: Path, target: str, fields: dict[str, str], status: int, bytes_sent: int | None
) -> None:
    async with serving(directory) as running:
        answer = await running.ask(target, **fields)
    assert answer.status == status
    intended, completed = acts(directory)
    assert (intended.event, completed.event) == ("intended", "completed")
    assert completed.fields["bytes"] == (len(answer.body) if bytes_sent is None else bytes_sent)
    if status == 206:
        assert completed.fields["range"] == answer.field("Content-Range")


async def test_a_copy_out_of_the_cache_is_recorded_like_the_original(directory: Path) -> None:
    async with MemoryCache(CacheLimits(max_document=8 << 20), max_bytes=32 << 20) as cache:
        async with serving(directory, cache=cache, sharing=Sharing(max_document=8 << 20)) as running:
            await running.ask("/R4/Binary/large")
            while not cache.counts.stored:  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.005)
            await running.ask("/R4/Binary/large")
            await running.ask("/R4/Binary/large", method="HEAD")
    assert said(directory) == [("intended", 200), ("completed", 200)] * 2 + [("looked", 200)]
    assert "hit" in acts(directory)[2].fields["cache"]


async def test_facts_without_a_document_are_looks(directory: Path) -> None:
    async with serving(directory) as running:
        await running.ask("/R4/Binary/a", method="HEAD")
        await running.ask("/R4/Binary/a", If_None_Match="*")
        await running.ask("/R4/Binary/a?_summary=true", Accept="application/fhir+json")
        assert said(directory) == [("looked", 200), ("looked", 304), ("looked", 200)]
        await running.ask("/R4/metadata")
        assert len(acts(directory)) == 3, "a CapabilityStatement is nobody's"


@pytest.mark.requirement("GP-131")
@pytest.mark.parametrize(
    ("target", "fields", "status", "code"),
    [
        ("/R4/Binary/nothing", {}, 404, "GW-DOC-001"),
        ("/R4/Binary/withdrawn", {}, 410, "GW-DOC-002"),
        ("/R4/Binary/a", {"If_Match": '"other"'}, 412, "GW-REQ-014"),
        ("/R4/Binary/a", {"Range": "bytes=99-"}, 416, "GW-DOC-006"),
        ("/R4/Patient/a", {}, 404, "GW-REQ-006"),
        ("/elsewhere", {}, 404, "GW-REQ-005"),
    ],
)
async def test_refusals_are_recorded_before_they_are_answered(
    directory: Path, target: str, fields: dict[str, str], status: int, code: str
) -> None:
    async with serving(directory) as running:
        answer = await running.ask(target, **fields)
        (refused,) = acts(directory)
    assert answer.status == status
    assert (refused.event, refused.fields["status"], refused.fields["code"]) == ("refused", status, code)
    if code == "GW-DOC-002":
        assert refused.sealed is not None
        assert refused.sealed["patient"] == PATIENT, "whose document was withdrawn is known"


async def test_an_archive_that_is_away_is_recorded(directory: Path) -> None:
    archive = Archive(away=Unavailable("the connection was refused"))
    async with serving(directory, archive) as running:
        assert (await running.ask("/R4/Binary/a")).status == 503
    assert said(directory) == [("refused", 503)]


async def test_a_document_that_breaks_before_its_first_byte_is_intended_and_refused(directory: Path) -> None:
    archive = Archive()
    archive.put("a", LARGE)
    archive.breaks = [(0, Deleted("gone meanwhile"))] * 8
    async with serving(directory, archive) as running:
        answer = await running.ask("/R4/Binary/a")
    events = [one.event for one in acts(directory)]
    assert answer.status >= 400
    assert events[-1] == "refused"
    assert len({one.fields["act"] for one in acts(directory)}) == 1


# --- how it ends -----------------------------------------------------------------------------------------------------


async def test_a_body_that_breaks_is_aborted_with_the_bytes_that_left(directory: Path) -> None:
    archive = Archive()
    archive.put("a", LARGE)
    archive.breaks = [(1_000_000, Unavailable("the connection was lost"))]
    async with serving(directory, archive) as running:
        async with connect("127.0.0.1", running.port) as connection:
            await connection.send(request("/R4/Binary/a"))
            received = await connection.rest()
            assert connection.ending is Ending.RESET
        await running.idle()
    _, aborted = acts(directory)
    assert aborted.event == "aborted"
    assert aborted.fields["code"] == "GW-END-001"
    assert 0 < aborted.fields["bytes"] < len(LARGE)
    assert len(received) > 0


async def test_a_reader_that_leaves_in_mid_body_is_recorded(directory: Path) -> None:
    archive = Archive(gated=500_000)
    archive.put("a", LARGE)
    async with serving(directory, archive) as running:
        async with connect("127.0.0.1", running.port) as connection:
            await connection.send(request("/R4/Binary/a"))
            assert await connection.receive()
        await running.idle()
        archive.gate.set()
    assert [one.event for one in acts(directory)] == ["intended", "aborted"]
    assert acts(directory)[1].fields["code"] == "GW-END-004"


async def test_what_is_under_way_when_the_gateway_stops_is_recorded(directory: Path) -> None:
    archive = Archive(gated=500_000)
    archive.put("a", LARGE)
    async with AsyncExitStack() as reader:
        async with serving(directory, archive) as running:
            connection = await reader.enter_async_context(connect("127.0.0.1", running.port))
            await connection.send(request("/R4/Binary/a"))
            assert await connection.receive()
            running.pipeline.stopping = True
    assert [one.event for one in acts(directory)] == ["intended", "aborted"]
    assert found(directory)[-1].event == "closed"


# --- before the first byte -------------------------------------------------------------------------------------------


class Disk:
    """Stands before the trail's `fdatasync`: hangs until it is let go, or refuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.full = False
        self._sync, self._write = os.fdatasync, os.write
        monkeypatch.setattr(appending.os, "fdatasync", self._fdatasync)
        monkeypatch.setattr(appending.os, "write", self._written)

    def _fdatasync(self, descriptor: int) -> None:
        self.gate.wait(20)
        self._sync(descriptor)

    def _written(self, descriptor: int, data: Any) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._write(descriptor, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.mark.parametrize("target", ["/R4/Binary/a", "/R4/Binary/large", "/R4/Binary/nothing"])
async def test_no_byte_leaves_before_the_record_is_durable(directory: Path, disk: Disk, target: str) -> None:
    async with serving(directory, options={"patience": 10}) as running:
        disk.gate.clear()
        async with connect("127.0.0.1", running.port) as connection:
            await connection.send(request(target, fields=(("Connection", "close"),)))
            waiting = asyncio.ensure_future(connection.rest())
            await asyncio.sleep(0.3)
            assert not waiting.done()
            assert connection.waiting == b""
            disk.gate.set()
            assert await waiting


@pytest.mark.requirement("AU-12", "GP-134")
@pytest.mark.parametrize("target", ["/R4/Binary/a", "/R4/Binary/large", "/R4/Binary/nothing"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_cannot_be_recorded_is_not_given_out(directory: Path, disk: Disk, target: str, method: str) -> None:
    async with serving(directory) as running:
        assert (await running.ask("/R4/Binary/a")).status == 200
        disk.full = True
        answer = await running.ask(target, method=method)
        assert answer.status == 503
        assert answer.field("Retry-After") == "10"
        if method == "GET":
            assert answer.json()["issue"][0]["details"]["coding"][0]["code"] == "GW-SYS-002"
            assert SMALL not in answer.body
        assert answer.field("ETag") is None
        disk.full = False
        assert (await running.ask("/R4/Binary/a")).status == 200, "it goes on by itself"
        assert await _logged(running, "audit trail can be written again")
    assert "audit trail cannot be written" in running.log.getvalue()
    assert judged(directory).whole


async def test_a_disk_that_hangs_holds_nobody_for_longer_than_its_patience(directory: Path, disk: Disk) -> None:
    async with serving(directory, options={"patience": 0.3}) as running:
        assert (await running.ask("/R4/Binary/a")).status == 200
        disk.gate.clear()
        loop = asyncio.get_running_loop()
        began = loop.time()
        first = await running.ask("/R4/Binary/a")
        assert (first.status, loop.time() - began < 3) == (503, True)
        began = loop.time()
        others = await asyncio.gather(*(running.ask("/R4/Binary/a") for _ in range(20)))
        assert {answer.status for answer in others} == {503}
        assert loop.time() - began < 3
        disk.gate.set()
        async with asyncio.timeout(10):
            while (await running.ask("/R4/Binary/a")).status != 200:  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.05)
    assert judged(directory).whole
    ends = {one.fields["act"]: one.event for one in acts(directory)}
    assert "intended" not in ends.values(), "none stands there as a disclosure whose end nobody knows"


async def test_with_fail_open_readers_are_answered_and_the_trail_says_what_is_missing(
    directory: Path, disk: Disk
) -> None:
    async with serving(directory, options={"closed": False}) as running:
        disk.full = True
        answer = await running.ask("/R4/Binary/a")
        assert (answer.status, answer.body) == (200, SMALL)
        assert await _logged(running, "requests are answered unrecorded")
        disk.full = False
        await asyncio.sleep(1.3)
    assert said(directory) == [("intended", 200), ("completed", 200)], "what was kept in memory is written later"


async def test_a_request_that_is_cancelled_while_it_waits_is_ended_too(directory: Path, disk: Disk) -> None:
    async with serving(directory, options={"patience": 10}) as running:
        disk.gate.clear()
        async with connect("127.0.0.1", running.port) as connection:
            await connection.send(request("/R4/Binary/large"))
            await asyncio.sleep(0.2)
        await running.idle()
        disk.gate.set()
    assert [one.event for one in acts(directory)] == ["intended", "aborted"]
    assert acts(directory)[1].fields["bytes"] == 0


async def test_with_little_room_left_nothing_is_given_out(directory: Path) -> None:
    async with serving(directory, options={"limits": Limits(min_free=1 << 62)}) as running:
        assert (await running.ask("/R4/Binary/a")).status == 503


async def _logged(running: Service, text: str) -> bool:
    for _ in range(200):
        if text in running.log.getvalue():
            return True
        await asyncio.sleep(0.01)
    return False
