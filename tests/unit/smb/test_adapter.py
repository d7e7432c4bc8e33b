"""The smb adapter told to do odd things: what it asks of a server, how often, and what it makes of the answers.

The server is one in memory that does as it is told; `tests/conformance/test_smb.py` has a real one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.contract import Capabilities, Content, Services, Span
from adapters.errors import (
    AccessDenied,
    AdapterError,
    Busy,
    Changed,
    Corrupt,
    CredentialsRejected,
    InvalidLocator,
    NotFound,
    OptionError,
    SpanNotSatisfiable,
    TimedOut,
    Unavailable,
    Unsupported,
)
from adapters.smb import SmbAdapter, SmbOptions
from adapters.smb.document import EPOCH, REPARSE_POINT, TICKS
from adapters.smb.failures import Lost, Refused, Untrusted
from adapters.smb.wire import status as nt
from adapters.testing.proxy import LoopbackProxy
from tests.support.folder import lent, read
from tests.support.samba import Samba, samba
from tests.unit.smb.fake_archive import DATA, FakeArchive, entered, until


@pytest.fixture
def archive() -> FakeArchive:
    found = FakeArchive()
    found.put("letters\\a.pdf", DATA)
    found.put("letters\\empty.pdf", b"")
    return found


@pytest.fixture
def services() -> Iterator[Services]:
    with lent() as given:
        yield given


async def pulled(content: Content) -> list[bytes]:
    return [piece async for piece in content.chunks]


async def broken(adapter: SmbAdapter, locator: str, span: Span | None = None) -> tuple[int, AdapterError]:
    """How many bytes came of a document before which error."""
    count = 0
    with pytest.raises(AdapterError) as caught:
        async with adapter.open(locator, span) as content:
            async for piece in content.chunks:
                count += len(piece)
    return count, caught.value


# --- reading ---------------------------------------------------------------------------------------------------------


async def test_a_document_is_opened_once_and_closed_once(archive: FakeArchive, services: Services) -> None:
    async with entered(archive, services) as adapter:
        async with adapter.open("letters/a.pdf") as content:
            assert b"".join(await pulled(content)) == DATA
            assert archive.shares[0].open_count == 0, "the file was closed before the last piece came"
        assert archive.asked == ["letters\\a.pdf"]


async def test_a_span_is_read_and_nothing_else(archive: FakeArchive, services: Services) -> None:
    async with entered(archive, services) as adapter:
        for span in (Span(0, 1), Span(999, 2001), Span(4000), Span(4999, 10**9)):
            async with adapter.open("letters/a.pdf", span) as content:
                assert content.span == span.within(len(DATA))
                assert b"".join(await pulled(content)) == DATA[span.start : span.stop]


@pytest.mark.parametrize("what", ["size", "written", "changed"])
async def test_a_document_that_changed_meanwhile_never_looks_whole(
    archive: FakeArchive, services: Services, what: str
) -> None:
    facts = archive.files["letters\\a.pdf"][1]
    async with entered(archive, services) as adapter:
        for span in (None, Span(10, 2000)):
            archive.closed_with = [replace(facts, disk_id=b"", **{what: getattr(facts, what) + 1})]
            count, error = await broken(adapter, "letters/a.pdf", span)
            assert type(error) is Changed
            assert count < (span or Span(0)).within(len(DATA)).length()  # type: ignore[operator]


async def test_an_empty_document_that_grew_is_changed(archive: FakeArchive, services: Services) -> None:
    facts = archive.files["letters\\empty.pdf"][1]
    async with entered(archive, services) as adapter:
        assert await read(adapter, "letters/empty.pdf") == b""
        archive.closed_with = [replace(facts, size=1)]
        assert type((await broken(adapter, "letters/empty.pdf"))[1]) is Changed


async def test_where_the_closing_facts_are_missing_the_name_is_asked(archive: FakeArchive, services: Services) -> None:
    async with entered(archive, services) as adapter:
        archive.closed_with = [None]
        assert await read(adapter, "letters/a.pdf") == DATA
        assert archive.asked == ["letters\\a.pdf"] * 2


@pytest.mark.parametrize("what", ["withdrawn", "replaced", "rewritten"])
async def test_where_they_are_missing_and_the_name_says_otherwise_it_is_changed(
    archive: FakeArchive, services: Services, what: str
) -> None:
    async with entered(archive, services) as adapter:
        archive.closed_with = [None]
        with pytest.raises(Changed):
            async with adapter.open("letters/a.pdf") as content:
                await anext(content.chunks)
                data, facts = archive.files.pop("letters\\a.pdf")
                if what == "replaced":
                    archive.files["letters\\a.pdf"] = data, replace(facts, disk_id=b"9" * 32)
                if what == "rewritten":
                    archive.files["letters\\a.pdf"] = data, replace(facts, written=facts.written + 1)
                await pulled(content)


async def test_a_file_that_ends_early_was_cut_or_is_damaged(archive: FakeArchive, services: Services) -> None:
    facts = archive.files["letters\\a.pdf"][1]
    async with entered(archive, services) as adapter:
        archive.pulling = [Refused(nt.STATUS_END_OF_FILE, "fake")]
        assert type((await broken(adapter, "letters/a.pdf"))[1]) is Corrupt
        archive.pulling = [Refused(nt.STATUS_END_OF_FILE, "fake")]
        archive.closed_with = [replace(facts, size=10)]
        assert type((await broken(adapter, "letters/a.pdf"))[1]) is Changed


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Lost("the cable"), Unavailable),
        (Untrusted("a READ reply without data"), Corrupt),
        (Refused(nt.STATUS_CRC_ERROR, "fake"), Corrupt),
        (Refused(nt.STATUS_ACCESS_DENIED, "fake"), Unavailable),
        (Refused(nt.STATUS_IO_TIMEOUT, "fake"), TimedOut),
        (Refused(nt.STATUS_OBJECT_NAME_NOT_FOUND, "fake"), Unavailable),
    ],
)
async def test_a_fault_in_the_middle_is_told_and_not_tried_again(
    archive: FakeArchive, services: Services, fault: Exception, kind: type[AdapterError]
) -> None:
    async with entered(archive, services) as adapter:
        for where in ("pulling", "closing"):
            getattr(archive, where).append(fault)
            count, error = await broken(adapter, "letters/a.pdf")
            assert type(error) is kind
            assert count < len(DATA)
            assert len(archive.asked) == 1
            archive.asked.clear()
        assert await read(adapter, "letters/a.pdf") == DATA


@pytest.mark.parametrize("where", ["pulling", "closing"])
@pytest.mark.parametrize("fault", [Lost("the cable"), Refused(nt.STATUS_USER_SESSION_DELETED, "fake")])
async def test_a_connection_that_failed_in_the_middle_serves_nobody_else(
    archive: FakeArchive, services: Services, where: str, fault: Exception
) -> None:
    async with entered(archive, services) as adapter:
        getattr(archive, where).append(fault)
        assert type((await broken(adapter, "letters/a.pdf"))[1]) is Unavailable
        assert archive.shares[0].broken
        assert await read(adapter, "letters/a.pdf") == DATA


async def test_pieces_that_stop_too_soon_are_corrupt(archive: FakeArchive, services: Services) -> None:
    archive.files["letters\\a.pdf"] = DATA[:1000], archive.files["letters\\a.pdf"][1]
    async with entered(archive, services) as adapter:
        assert type((await broken(adapter, "letters/a.pdf"))[1]) is Corrupt


async def test_a_reader_who_leaves_leaves_nothing(archive: FakeArchive, services: Services) -> None:
    async with entered(archive, services) as adapter:
        async with adapter.open("letters/a.pdf") as content:
            await anext(content.chunks)
            assert archive.shares[0].open_count == 1
        assert archive.shares[0].open_count == 0


async def test_a_reader_who_waits_too_long_has_the_connection_asked(archive: FakeArchive, services: Services) -> None:
    async with entered(archive, services) as adapter:
        archive.pulling = [asyncio.Event()]
        archive.echoing = [Lost("nobody there")]
        with pytest.raises(TimeoutError):
            async with adapter.open("letters/a.pdf") as content, asyncio.timeout(0.02):
                await pulled(content)
        await until(lambda: archive.shares[0].left)
        assert await read(adapter, "letters/a.pdf") == DATA
        assert archive.attempts == 2


# --- opening ---------------------------------------------------------------------------------------------------------


async def test_a_refused_open_leaves_nothing_open(archive: FakeArchive, services: Services) -> None:
    async with entered(archive, services) as adapter:
        for span, version, kind in (
            (Span(5000), None, SpanNotSatisfiable),
            (None, "another", Changed),
            (Span(5000, 5000), None, SpanNotSatisfiable),
        ):
            with pytest.raises(kind):
                async with adapter.open("letters/a.pdf", span, version=version):
                    pass
            assert archive.shares[0].open_count == 0


async def test_facts_cost_one_open_and_are_those_of_the_document(archive: FakeArchive, services: Services) -> None:
    async with entered(archive, services) as adapter:
        facts = await adapter.stat("letters/A.pdf")
        assert archive.asked == ["letters\\A.pdf"]
        async with adapter.open("letters/a.pdf", version=facts.version) as content:
            assert content.descriptor == facts


@pytest.mark.parametrize("locator", ["../a.pdf", "letters\\a.pdf", "letters/a.pdf:x", "con", "letters/A~1", ""])
async def test_a_hostile_locator_never_reaches_the_server(
    archive: FakeArchive, services: Services, locator: str
) -> None:
    async with entered(archive, services) as adapter:
        for attempt in (read(adapter, locator), adapter.stat(locator), adapter.resolve(locator)):
            with pytest.raises(InvalidLocator):
                await attempt
        assert not archive.asked
        assert not archive.patterns


async def test_locators_begin_at_the_folder_of_the_options(archive: FakeArchive, services: Services) -> None:
    async with entered(archive, services, path="/letters/") as adapter:
        assert await read(adapter, "a.pdf") == DATA
        with pytest.raises(NotFound):
            await adapter.stat("letters/a.pdf")


async def test_a_missing_folder_is_only_not_found_while_the_sources_own_is_there(
    archive: FakeArchive, services: Services
) -> None:
    async with entered(archive, services, path="letters") as adapter:
        with pytest.raises(NotFound):
            await adapter.stat("2024/a.pdf")
        with pytest.raises(NotFound):
            await adapter.resolve("2024/a")
        archive.asked.clear()
        with pytest.raises(NotFound):
            await adapter.stat("none.pdf")
        assert len(archive.asked) == 1, "an ordinary miss costs one round trip"
        archive.files.clear()
        archive.folders = {""}
        for attempt in (adapter.stat("none.pdf"), adapter.stat("2024/a.pdf"), adapter.resolve("a"), adapter.probe()):
            with pytest.raises(Unavailable, match="folder `path`"):
                await attempt


async def test_files_that_stand_for_others_are_refused_unless_the_options_say_otherwise(
    archive: FakeArchive, services: Services
) -> None:
    archive.put("stub.pdf", DATA, attributes=REPARSE_POINT)
    async with entered(archive, services) as adapter:
        for attempt in (adapter.stat("stub.pdf"), read(adapter, "stub.pdf")):
            with pytest.raises(Unsupported, match="reparse_points"):
                await attempt
    async with entered(archive, services, reparse_points="serve") as adapter:
        assert await read(adapter, "stub.pdf") == DATA


async def test_a_young_document_is_busy(archive: FakeArchive, services: Services) -> None:
    archive.put("young.pdf", DATA, written=int(EPOCH + (time.time() - 5) * TICKS))
    async with entered(archive, services, settle="1h") as adapter:
        for attempt in (adapter.stat("young.pdf"), read(adapter, "young.pdf")):
            with pytest.raises(Busy):
                await attempt
        assert await read(adapter, "letters/a.pdf") == DATA
    async with entered(archive, services) as adapter:
        assert await read(adapter, "young.pdf") == DATA


async def test_a_connection_that_died_costs_the_reader_nothing_and_a_dead_server_says_it_was_tried(
    archive: FakeArchive, services: Services
) -> None:
    async with entered(archive, services) as adapter:
        archive.opening = [Lost("idle too long")]
        assert await read(adapter, "letters/a.pdf") == DATA
        archive.opening = [Lost("idle too long")]
        archive.connecting = [Lost("connection refused")]
        with pytest.raises(Unavailable, match="connection refused") as caught:
            await adapter.stat("letters/a.pdf")
        assert caught.value.exhausted


# --- entering, asking, leaving ---------------------------------------------------------------------------------------


async def test_it_declares_what_it_can(archive: FakeArchive, services: Services) -> None:
    async with entered(archive, services, max_open=7) as adapter:
        assert adapter.capabilities == Capabilities(
            local=False,
            spans=True,
            cheap_stat=True,
            strong_versions=True,
            immutable=False,
            per_caller=False,
            max_open=7,
            reads_ahead=True,
        )
    async with entered(archive, services, engine="library") as adapter:
        assert not adapter.capabilities.reads_ahead


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Refused(nt.STATUS_LOGON_FAILURE, "fake"), CredentialsRejected, "password is wrong"),
        (Refused(nt.STATUS_ACCESS_DENIED, "fake"), AccessDenied, "right to read"),
        (Refused(nt.STATUS_OBJECT_NAME_NOT_FOUND, "fake"), Unavailable, "connect to the share"),
        (Lost("connection refused"), Unavailable, "connection refused"),
        (TimedOut("the server did not answer"), TimedOut, "did not answer"),
        (ImportError("gssapi"), OptionError, "library that is not installed"),
        (KeyError("garbage"), Unavailable, "KeyError"),
    ],
)
async def test_a_source_that_cannot_be_entered_says_why_and_can_be_entered_later(
    archive: FakeArchive, tmp_path: Path, fault: Exception, kind: type[AdapterError], words: str
) -> None:
    file = tmp_path / "password"
    file.write_text("first")
    archive.connecting = [fault]
    with lent() as services:
        adapter = archive.adapter(services, password=None, password_file=file)
        with pytest.raises(kind, match=words):
            await adapter.__aenter__()
        assert not archive.live
        file.write_text("second")
        async with adapter:
            assert await read(adapter, "letters/a.pdf") == DATA
        await adapter.__aexit__(None, None, None)
    assert not archive.live


async def test_a_folder_that_is_a_file_is_told(archive: FakeArchive, services: Services) -> None:
    with pytest.raises(Unavailable, match="names a file"):
        async with archive.adapter(services, path="letters/a.pdf"):
            pass
    assert all(share.open_count == 0 for share in archive.shares)


async def test_a_probe_asks_the_server_each_time(archive: FakeArchive, services: Services) -> None:
    async with entered(archive, services) as adapter:
        await adapter.probe()
        await adapter.probe()
        assert archive.asked == ["", ""]
        archive.opening = [Refused(nt.STATUS_ACCESS_DENIED, "fake")]
        with pytest.raises(AccessDenied):
            await adapter.probe()
        archive.opening = [Refused(nt.STATUS_OBJECT_NAME_INVALID, "fake")]
        with pytest.raises(Unavailable):
            await adapter.probe()


async def test_what_is_asked_after_the_end_is_unavailable(archive: FakeArchive, services: Services) -> None:
    adapter = archive.adapter(services)
    async with adapter:
        pass
    with pytest.raises(Unavailable):
        await adapter.stat("letters/a.pdf")


# --- a real server ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    with samba(tmp_path_factory.mktemp("samba"), encryption="desired") as running:
        (running.folder() / "a.pdf").write_bytes(DATA)
        yield running


async def test_a_letter_takes_two_round_trips_and_its_facts_one(server: Samba, services: Services) -> None:
    with LoopbackProxy(server.host, server.port) as proxy:
        options = SmbOptions.model_validate(server.options(port=proxy.port))
        async with SmbAdapter("share", options, services) as adapter:
            with proxy.latency(0.01):
                proxy.forget()
                assert await read(adapter, "a.pdf") == DATA
                assert proxy.round_trips == 2
                proxy.forget()
                await adapter.stat("a.pdf")
                assert proxy.round_trips == 1
                await asyncio.sleep(0.1)
                proxy.forget()
                await adapter.probe()
                assert proxy.round_trips == 1


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"share": "no-such"}, Unavailable, "correct `share`"),
        ({"path": "no-such"}, Unavailable, "the folder `path` is not in the share"),
        ({"path": "a.pdf"}, Unavailable, "`path` names a file"),
        ({"password": "wrong"}, CredentialsRejected, "the account or its password (is )?wrong"),
        ({"username": "no-such"}, CredentialsRejected, "the account or its password (is )?wrong"),
        ({"server": "127.0.0.9"}, Unavailable, "could not connect to the server"),
    ],
)
async def test_what_is_wrong_is_said_on_entering(
    server: Samba, services: Services, given: dict[str, Any], kind: type[AdapterError], words: str
) -> None:
    options = SmbOptions.model_validate(server.options(**given))
    for _ in range(2):
        with pytest.raises(kind, match=words):
            async with SmbAdapter("share", options, services):
                pass
