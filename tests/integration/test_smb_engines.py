"""Both engines read a real Samba alike: what the seam promises, under every protection that a server may ask for."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from adapters.contract import Services
from adapters.smb import library, native
from adapters.smb.failures import Lost, Refused
from adapters.smb.session import Demands, Login, Target
from adapters.smb.share import Share
from adapters.smb.wire import status
from adapters.testing.harness import RecordingLog
from adapters.testing.proxy import LoopbackProxy
from tests.support.samba import Samba, samba
from tests.support.smb_share import until

FIRST = 256 << 10
SIZES = (0, 1, FIRST - 1, FIRST, FIRST + 1, 3 << 20, (5 << 20) + 7)
ENGINES = {"native": native.connect, "library": library.connect}
PROTECTIONS = {"plain": (False, False), "signed": (False, True), "encrypted": (True, True)}

Connect = Callable[[Samba], Awaitable[Share]]


def document(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    with samba(tmp_path_factory.mktemp("smb"), settings={"server smb encrypt": "if_required"}) as running:
        for size in SIZES:
            (running.folder() / f"{size}.bin").write_bytes(document(size))
        (running.folder() / "folder").mkdir()
        (running.folder() / "folder" / "Überweisung 1.pdf").write_bytes(b"letter")
        (running.folder() / "closed.pdf").write_bytes(b"secret")
        (running.folder() / "closed.pdf").chmod(0)
        yield running


@pytest.fixture
def services() -> Iterator[Services]:
    with ThreadPoolExecutor(4) as pool:
        yield Services(executor=pool, log=RecordingLog(), clock=time.monotonic)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=PROTECTIONS)
def protection(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def connect(server: Samba, services: Services, engine: str, protection: str = "signed", **more: object) -> Share:
    encryption, signing = PROTECTIONS[protection]
    demands = Demands(encryption=encryption, signing=signing)
    target = Target(server.host, int(str(more.get("port", server.port))), str(more.get("share", "letters")))
    login = Login("ntlm", server.user, str(more.get("password", server.password)))
    share: Share = await ENGINES[engine](target, login, demands, services)
    return share


@pytest.fixture
async def share(server: Samba, services: Services, engine: str, protection: str) -> AsyncIterator[Share]:
    connected = await connect(server, services, engine, protection)
    yield connected
    await connected.aclose()
    assert connected.broken


@pytest.fixture
async def signed(server: Samba, services: Services, engine: str) -> AsyncIterator[Share]:
    connected = await connect(server, services, engine)
    yield connected
    await connected.aclose()


async def read(share: Share, path: str, start: int, stop: int) -> bytes:
    file = await share.open(path, start, min(FIRST, stop - start))
    pieces = [piece async for piece in file.pieces(start, stop)]
    assert all(0 < len(piece) <= 1 << 20 for piece in pieces)
    await file.close()
    return b"".join(pieces)


@pytest.mark.parametrize("size", SIZES)
async def test_whole_documents_come_back_as_they_are(share: Share, protection: str, size: int) -> None:
    assert share.encrypted is (protection == "encrypted")
    assert await read(share, f"{size}.bin", 0, size) == document(size)


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (1, FIRST), (FIRST - 1, FIRST + 1), (2_999_999, 3 << 20)])
async def test_spans_come_back_exactly(share: Share, start: int, stop: int) -> None:
    assert await read(share, f"{3 << 20}.bin", start, stop) == document(3 << 20)[start:stop]


async def test_many_documents_at_once(share: Share) -> None:
    sizes = [size for size in SIZES for _ in range(4)]
    found = await asyncio.gather(*(read(share, f"{size}.bin", 0, size) for size in sizes))
    assert found == [document(size) for size in sizes]
    assert share.open_count == 0


async def test_facts_are_those_of_the_file(signed: Share, server: Samba) -> None:
    path = server.folder() / "1.bin"
    os.utime(path, ns=(10**18, 10**18))
    file = await signed.open("1.bin", 0, FIRST)
    assert file.facts.size == 1
    assert file.facts.written == 116_444_736_000_000_000 + 10**16
    assert len(file.facts.disk_id) == 32
    closing = await file.close()
    assert closing is not None
    assert (closing.size, closing.written, closing.changed) == (1, file.facts.written, file.facts.changed)


async def test_facts_on_closing_show_what_was_written_meanwhile(signed: Share, server: Samba) -> None:
    path = server.folder() / "written.bin"
    path.write_bytes(b"before")
    file = await signed.open("written.bin", 0, FIRST)
    await asyncio.sleep(0.02)
    path.write_bytes(b"after!")
    closing = await file.close()
    assert closing is not None
    assert closing.size == file.facts.size
    assert closing.changed != file.facts.changed


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("missing.pdf", status.STATUS_OBJECT_NAME_NOT_FOUND),
        ("missing\\1.bin", status.STATUS_OBJECT_PATH_NOT_FOUND),
        ("folder", status.STATUS_FILE_IS_A_DIRECTORY),
        ("closed.pdf", status.STATUS_ACCESS_DENIED),
    ],
)
async def test_refusals_carry_the_servers_status(signed: Share, path: str, expected: int) -> None:
    with pytest.raises(Refused) as refused:
        await signed.open(path, 0, FIRST)
    assert refused.value.status == expected
    assert signed.open_count == 0


async def test_others_may_do_what_they_like_with_an_open_document(
    signed: Share, server: Samba, services: Services
) -> None:
    (server.folder() / "shared.pdf").write_bytes(b"shared")
    first = await signed.open("shared.pdf", 0, FIRST)
    second = await signed.open("shared.pdf", 0, FIRST)
    (server.folder() / "shared.pdf").unlink()
    assert b"".join([piece async for piece in first.pieces(0, 6)]) == b"shared"
    first.abandon()
    await second.close()


async def test_names_are_listed_as_they_are_written(signed: Share) -> None:
    names = {entry.name for entry in await signed.entries("folder", "*")}
    assert names == {"Überweisung 1.pdf"}
    assert [entry.name for entry in await signed.entries("folder", "überweisung*")] == ["Überweisung 1.pdf"]
    assert await signed.entries("", "no-such*") == []
    with pytest.raises(Refused):
        await signed.entries("no-such-folder", "*")


async def test_long_listing_is_complete(signed: Share, server: Samba) -> None:
    folder = server.folder() / "many"
    folder.mkdir(exist_ok=True)
    for number in range(1500):
        (folder / f"{number:04}-{'x' * 60}.pdf").touch()
    assert len(await signed.entries("many", "*.pdf")) == 1500


async def test_abandoned_files_are_closed_on_the_server(signed: Share, server: Samba) -> None:
    # A document that comes with its opening may be closed by then.
    files = [await signed.open(f"{SIZES[-1]}.bin", 0, FIRST) for _ in range(3)]
    big = await signed.open(f"{SIZES[-1]}.bin", 0, FIRST)
    pieces = big.pieces(0, SIZES[-1])
    await anext(pieces)
    assert server.open_files() == 4
    for file in (*files, big):
        file.abandon()
    await until(lambda: server.open_files() == 0)


async def test_echo_and_the_end(server: Samba, services: Services, engine: str) -> None:
    share = await connect(server, services, engine)
    await share.echo()
    share.sever("the test says so")
    assert share.broken
    with pytest.raises(Lost):
        await share.echo()
    with pytest.raises(Lost):
        await share.open("1.bin", 0, FIRST)
    await share.aclose()
    await share.aclose()


async def test_lost_connection_ends_what_is_open(server: Samba, services: Services, engine: str) -> None:
    with LoopbackProxy(server.host, server.port) as proxy:
        share = await connect(server, services, engine, port=proxy.port)
        file = await share.open(f"{SIZES[-1]}.bin", 0, FIRST)
        pieces = file.pieces(0, SIZES[-1])
        await anext(pieces)
        proxy.reset()
        with pytest.raises(Lost):
            while True:
                await anext(pieces)
        assert share.broken
        file.abandon()
        await share.aclose()


async def test_wrong_password_and_share_are_refused_with_the_servers_status(
    server: Samba, services: Services, engine: str
) -> None:
    with pytest.raises(Refused) as refused:
        await connect(server, services, engine, password="wrong")
    assert refused.value.status == status.STATUS_LOGON_FAILURE
    with pytest.raises(Refused) as refused:
        await connect(server, services, engine, share="no-such")
    assert refused.value.status == status.STATUS_BAD_NETWORK_NAME
