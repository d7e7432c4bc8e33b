"""DFS namespaces over two real servers: one name for the reader, wherever the documents lie."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import pytest

from adapters.contract import Services
from adapters.errors import AccessDenied, NotFound
from adapters.smb import SmbAdapter, SmbOptions, library, native
from adapters.smb.dfs import Circular, Namespace
from adapters.smb.failures import Lost, Refused, Unconnected
from adapters.smb.referral import NoReferral, Referral, referral
from adapters.smb.session import Demands, Login, Target
from adapters.smb.share import Share
from adapters.smb.wire.status import (
    STATUS_BAD_NETWORK_NAME,
    STATUS_FILE_IS_A_DIRECTORY,
    STATUS_LOGON_FAILURE,
    STATUS_OBJECT_NAME_NOT_FOUND,
)
from tests.support.rogue_behaviour import Behaviour
from tests.support.rogue_smb import RogueSmb
from tests.support.samba import Samba, samba
from tests.support.samba import Share as Offered
from tests.support.smb_messages import CREATE, HEADER, Request
from tests.support.smb_share import FIRST, all_threads_are_free, content, lent, put, read, until

DFS_OPERATIONS = 0x10000000
HERE, THERE, NOBODY = "127.0.0.1", "127.0.0.2", "127.0.0.3"
NAMESPACE = {"msdfs root": "yes"}
SIZE = 600_000


@dataclass(frozen=True, slots=True)
class Network:
    """Two servers on one port, since referrals name none: the namespace's own, and one that its links lead to."""

    here: Samba
    there: Samba

    @property
    def login(self) -> Login:
        return Login("ntlm", self.here.user, self.here.password)

    def target(self, share: str = "docs") -> Target:
        return Target(HERE, self.here.port, share)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    settings = {"server smb encrypt": "if_required"}
    folder = tmp_path_factory.mktemp("dfs")
    with ExitStack() as stack:
        # smbd looks for links as the account of the client's session, whatever the share says, and pytest's folders are closed.
        public = Path(stack.enter_context(TemporaryDirectory()))
        public.chmod(0o755)

        def offered(name: str, **options: str) -> Offered:
            return Offered(name, folder=public / name, options=NAMESPACE | options)

        shares = ["letters", offered("docs"), offered("old", **{"msdfs proxy": rf"\{THERE}\more"})]
        here = stack.enter_context(samba(folder / "a", shares=shares, host=HERE, settings=settings))
        shares = ["scans", offered("more")]
        there = stack.enter_context(samba(folder / "b", shares=shares, host=THERE, port=here.port, settings=settings))
        there.change_password(here.password)
        put(here, "own.pdf", b"own", "docs")
        put(here, "folder/own.pdf", b"own in a folder", "docs")
        put(here, "letter.pdf", b"letter", "letters")
        put(here, "scan.pdf", b"the copy here", "letters")
        put(there, "scan.pdf", content(SIZE), "scans")
        put(there, "2024/wales/Größe.pdf", b"deep", "scans")
        put(there, "more.pdf", b"more", "more")
        for name, target in {
            "near": rf"{HERE}\letters",
            "far": rf"{THERE}\scans",
            "folder/deep": rf"{THERE}\scans\2024\wales",
            "chain": rf"{THERE}\more",
            "both": rf"{THERE}\scans,{HERE}\letters",
            "two": rf"{NOBODY}\scans,{THERE}\scans",
            "gone": rf"{THERE}\nothing",
            "gone or not": rf"{THERE}\nothing,{THERE}\scans",
            "circle": rf"{THERE}\more\circle",
            "aĀ一b": rf"{HERE}\letters",
        }.items():
            here.add_link("docs", name, target)
        there.add_link("more", "back", rf"{HERE}\letters")
        there.add_link("more", "circle", rf"{HERE}\docs\circle")
        yield Network(here, there)


@pytest.fixture
def services() -> Iterator[Services]:
    with lent() as services:
        yield services


@pytest.fixture(params=[library, native], ids=["library", "native"])
def engine(request: pytest.FixtureRequest) -> ModuleType:
    return request.param  # type: ignore[no-any-return]


class Reader:
    """Follows one namespace, over connections that are kept. `encryption` is asked for everywhere."""

    def __init__(self, network: Network, services: Services, engine: ModuleType, *, share: str = "docs") -> None:
        self.demands = Demands(encryption=False)
        self.asked: list[str] = []
        self._network, self._services, self._engine = network, services, engine
        self._shares: dict[Target, Share] = {}
        self.namespace = self.allowing(THERE, NOBODY, share=share)

    def allowing(self, *servers: str, share: str = "docs") -> Namespace:
        self.namespace = Namespace(
            self._network.target(share), servers=servers, ask=self._ask, clock=self._services.clock
        )
        return self.namespace

    async def document(self, path: str) -> bytes:
        async def attempt(target: Target, there: str) -> bytes:
            file = await (await self._share(target)).open(there, 0, FIRST)
            found = await read(file, 0, file.facts.size)
            await file.close()
            return found

        return await self.namespace.follow(path, attempt)

    async def names(self, path: str) -> set[str]:
        async def attempt(target: Target, there: str) -> set[str]:
            return {entry.name for entry in await (await self._share(target)).entries(there, "*")}

        return await self.namespace.follow(path, attempt)

    async def aclose(self) -> None:
        while self._shares:
            await self._shares.popitem()[1].aclose()

    async def _share(self, target: Target) -> Share:
        if target not in self._shares:
            self._shares[target] = await self._engine.connect(target, self._network.login, self.demands, self._services)
        return self._shares[target]

    async def _ask(self, target: Target, path: str) -> Referral:
        self.asked.append(path)
        return await referral(target, path, self._network.login, self.demands, self._services)


@pytest.fixture
async def reader(network: Network, services: Services, engine: ModuleType) -> AsyncIterator[Reader]:
    reader = Reader(network, services, engine)
    yield reader
    await reader.aclose()


DOCUMENTS = {
    "own.pdf": b"own",
    "OWN.pdf": b"own",
    "folder\\own.pdf": b"own in a folder",
    "near\\letter.pdf": b"letter",
    "far\\scan.pdf": content(SIZE),
    "FAR\\Scan.PDF": content(SIZE),
    "folder\\deep\\Größe.pdf": b"deep",
    "chain\\more.pdf": b"more",
    "chain\\back\\letter.pdf": b"letter",
    "two\\scan.pdf": content(SIZE),
    "gone or not\\scan.pdf": content(SIZE),
    "aĀ一b\\letter.pdf": b"letter",
}


@pytest.mark.parametrize("encryption", [False, True], ids=["signed", "encrypted"])
async def test_documents_are_read_wherever_they_lie(reader: Reader, encryption: bool) -> None:
    reader.demands = Demands(encryption=encryption)
    for path, expected in DOCUMENTS.items():
        assert await reader.document(path) == expected, path
    asked = list(reader.asked)
    for path, expected in DOCUMENTS.items():
        assert await reader.document(path) == expected, path
    assert reader.asked == asked, "what was known was asked for again"


class Overheard(Behaviour):
    """Does nothing but note the names that are opened, and whether they are said to be names of DFS."""

    def __init__(self) -> None:
        self.names: list[tuple[str, bool]] = []

    def on_requests(self, requests: list[Request]) -> None:
        for request in requests:
            if request.command == CREATE:
                offset, length = struct.unpack_from("<HH", request.data, HEADER + 44)
                name = request.data[offset : offset + length].decode("utf-16-le")
                self.names.append((name, bool(request.flags & DFS_OPERATIONS)))


async def test_names_on_the_wire(network: Network, services: Services, engine: ModuleType) -> None:
    """Samba finds its own documents also by a name that other servers would refuse."""
    overheard = Overheard()
    with RogueSmb(HERE, network.here.port, overheard) as between:
        for share, names in {"docs": ["folder\\own.pdf", "own.pdf"], "letters": ["letter.pdf"]}.items():
            target = Target(HERE, between.port, share)
            connected = await engine.connect(target, network.login, Demands(encryption=False), services)
            assert connected.dfs is (share == "docs")
            for name in names:
                await (await connected.open(name, 0, FIRST)).close()
            await connected.entries("", "*.pdf")
            await connected.aclose()
    assert overheard.names == [
        (rf"{HERE}\docs\folder\own.pdf", True),
        (rf"{HERE}\docs\own.pdf", True),
        (rf"{HERE}\docs", True),
        ("letter.pdf", False),
        ("", False),
    ]


async def test_folders_are_listed_wherever_they_lie(reader: Reader) -> None:
    assert {"own.pdf", "folder"} <= await reader.names("")
    assert await reader.names("near") == {"letter.pdf", "scan.pdf"}
    assert await reader.names("folder\\deep") == {"Größe.pdf"}
    assert await reader.names("chain\\back") == {"letter.pdf", "scan.pdf"}


@pytest.mark.parametrize("path", ["", "folder", "far", "chain"])
async def test_folder_of_a_namespace_is_refused_as_a_folder(reader: Reader, path: str) -> None:
    with pytest.raises(Refused) as refused:
        await reader.document(path)
    assert refused.value.status == STATUS_FILE_IS_A_DIRECTORY


@pytest.mark.parametrize("path", ["missing.pdf", "far\\missing.pdf", "chain\\back\\missing.pdf"])
async def test_missing_document_is_missing_wherever_it_would_lie(reader: Reader, path: str) -> None:
    with pytest.raises(Refused) as refused:
        await reader.document(path)
    assert refused.value.status == STATUS_OBJECT_NAME_NOT_FOUND


async def test_link_to_a_share_that_is_gone_says_so(reader: Reader) -> None:
    with pytest.raises(Refused) as refused:
        await reader.document("gone\\scan.pdf")
    assert refused.value.status == STATUS_BAD_NETWORK_NAME


async def test_share_that_only_stands_for_a_namespace_elsewhere(
    network: Network, services: Services, engine: ModuleType
) -> None:
    """As the name of a domain does: the share is refused, and a referral for it is given."""
    reader = Reader(network, services, engine, share="old")
    assert await reader.document("more.pdf") == b"more"
    assert await reader.document("back\\letter.pdf") == b"letter"
    assert len(reader.asked) == 2
    await reader.aclose()


async def test_share_that_is_neither_there_nor_a_namespace(
    network: Network, services: Services, engine: ModuleType
) -> None:
    reader = Reader(network, services, engine, share="nothing")
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            await reader.document("more.pdf")
        assert refused.value.status == STATUS_BAD_NETWORK_NAME
    assert len(reader.asked) == 1
    await reader.aclose()


async def test_circle_of_real_servers_ends(reader: Reader) -> None:
    with pytest.raises(Circular):
        await reader.document("circle\\letter.pdf")


async def test_server_that_was_not_named_is_not_even_connected_to(reader: Reader, network: Network) -> None:
    reader.allowing(NOBODY)
    for path in ("far\\scan.pdf", "folder\\deep\\a.pdf", "two\\scan.pdf"):
        with pytest.raises((AccessDenied, Lost)):
            await reader.document(path)
    with pytest.raises(AccessDenied, match=rf"'{THERE}'.*dfs_servers"):
        await reader.document("far\\scan.pdf")
    assert network.there.connections() == 0
    assert await reader.document("near\\letter.pdf") == b"letter"


async def test_other_target_takes_over_while_a_server_is_away(network: Network, reader: Reader) -> None:
    assert await reader.document("both\\scan.pdf") == content(SIZE)
    network.there.stop()
    try:
        await reader.aclose()
        assert await reader.document("both\\scan.pdf") == b"the copy here"
    finally:
        network.there.start()


async def test_referral_is_asked_on_a_connection_that_does_not_stay(network: Network, services: Services) -> None:
    found = await referral(network.target(), "far\\scan.pdf", network.login, Demands(), services)
    assert found.prefix == (HERE, "docs", "far")
    assert found.targets == ((THERE, "scans"),)
    assert found.ttl == 600
    await until(lambda: network.here.connections() == 0)


async def test_referrals_that_are_not_given(network: Network, services: Services) -> None:
    with pytest.raises(NoReferral):
        await referral(network.target("letters"), "letter.pdf", network.login, Demands(), services)
    with pytest.raises(Unconnected) as refused:
        await referral(network.target(), "far", replace(network.login, password="wrong"), Demands(), services)
    assert refused.value.status == STATUS_LOGON_FAILURE
    with pytest.raises(Lost):
        await referral(replace(network.target(), server=NOBODY), "far", network.login, Demands(), services)
    await until(lambda: network.here.connections() == 0)


async def test_cancelled_question_to_a_hung_server_frees_its_thread(network: Network, services: Services) -> None:
    network.here.pause()
    try:
        asking = asyncio.ensure_future(referral(network.target(), "far", network.login, Demands(deadline=60), services))
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert asking.cancelled()
        assert await all_threads_are_free(services)
    finally:
        network.here.resume()
    await until(lambda: network.here.connections() == 0)


@pytest.mark.parametrize("engine_name", ["library", "native"])
async def test_adapter_serves_a_namespace(network: Network, services: Services, engine_name: str) -> None:
    options = network.here.options(
        share="docs", engine=engine_name, dfs_servers=[THERE], require_encryption=False, path="folder"
    )
    async with SmbAdapter("archive", SmbOptions.model_validate(options), services) as adapter:
        async with adapter.open("deep/Größe.pdf") as content:
            assert b"".join([piece async for piece in content.chunks]) == b"deep"
        assert await adapter.resolve("deep/größe") == "deep/Größe.pdf"
        with pytest.raises(NotFound):
            await adapter.stat("deep/missing.pdf")
    await until(lambda: network.there.connections() == 0)
