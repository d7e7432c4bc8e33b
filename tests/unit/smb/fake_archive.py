"""A file server in memory, behind the seam of the engines: what it is told to do, it does, and it counts.

`FakeArchive.connect` has an engine's signature. Steps decide what connections and opens do: an exception is raised, an
`asyncio.Event` is waited for; each is used once, and without one all goes well.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.contract import Services
from adapters.smb import SmbAdapter, SmbOptions
from adapters.smb.document import DIRECTORY
from adapters.smb.failures import Lost, Refused
from adapters.smb.session import Demands, Login, Target
from adapters.smb.share import Entry, Facts
from adapters.smb.wire.status import (
    STATUS_FILE_IS_A_DIRECTORY,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_OBJECT_PATH_NOT_FOUND,
)

Step = BaseException | asyncio.Event

TARGET = Target("archive", 445, "letters")
WRITTEN = 133_500_000_000_000_000
NORMAL = 0x80

DATA = bytes(range(250)) * 20
"""A document of five pieces."""


async def _take(steps: list[Step]) -> None:
    if steps:
        step = steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        await step.wait()


class FakeArchive:
    """`files` by path with backslashes; folders are what lies on the way to them, and `folders`."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, Facts]] = {}
        self.folders: set[str] = {""}
        self.connecting: list[Step] = []
        self.opening: list[Step] = []
        self.echoing: list[Step] = []
        self.closing: list[Step] = []
        self.pulling: list[Step] = []
        self.closed_with: list[Facts | None] = []
        self.logins: list[Login] = []
        self.asked: list[str] = []
        self.patterns: list[str] = []
        self.shares: list[FakeShare] = []
        self.attempts = 0

    def put(self, path: str, data: bytes, *, written: int = WRITTEN, attributes: int = NORMAL) -> None:
        disk_id = (len(self.files) + 1).to_bytes(32, "little")
        self.files[path] = data, Facts(len(data), written, written, written, attributes, disk_id)
        parts = path.split("\\")
        self.folders |= {"\\".join(parts[:count]) for count in range(len(parts))}

    def find(self, path: str) -> tuple[bytes, Facts]:
        for known, found in self.files.items():
            if known.lower() == path.lower():
                return found
        if path in self.folders:
            raise Refused(STATUS_FILE_IS_A_DIRECTORY, "fake")
        there = path.rpartition("\\")[0] in self.folders
        raise Refused(STATUS_OBJECT_NAME_NOT_FOUND if there else STATUS_OBJECT_PATH_NOT_FOUND, "fake")

    async def connect(self, target: Target, login: Login, demands: Demands, services: Services) -> FakeShare:
        self.attempts += 1
        self.logins.append(login)
        await _take(self.connecting)
        share = FakeShare(self, target)
        self.shares.append(share)
        return share

    async def join(self, target: Target) -> FakeShare:
        """`connect` as the pool calls it."""
        self.attempts += 1
        await _take(self.connecting)
        share = FakeShare(self, target)
        self.shares.append(share)
        return share

    @property
    def live(self) -> list[FakeShare]:
        return [share for share in self.shares if not share.left]

    def adapter(self, services: Services, **options: object) -> SmbAdapter:
        """An adapter over this archive, not entered."""
        given = {"server": "archive", "share": "letters", "username": "svc", "password": "secret-0815", **options}
        made = type("FakedSmbAdapter", (SmbAdapter,), {"engines": {"native": self.connect, "library": self.connect}})
        adapter: SmbAdapter = made("letters", SmbOptions.model_validate(given), services)
        return adapter


@asynccontextmanager
async def entered(archive: FakeArchive, services: Services, **options: Any) -> AsyncIterator[SmbAdapter]:
    """An adapter over `archive`. When it was left, nothing may be open any more."""
    async with archive.adapter(services, **options) as adapter:
        archive.asked.clear()
        yield adapter
    assert not archive.live, "a connection was left open"
    assert all(share.open_count == 0 for share in archive.shares), "a document was left open"


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what happens in the background."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 # the product does not announce it
            await asyncio.sleep(0.001)


@dataclass(eq=False)
class FakeShare:
    archive: FakeArchive
    target: Target
    broken: bool = False
    encrypted: bool = True
    dfs: bool = False
    open_count: int = 0
    opens: int = 0
    echoes: int = 0
    left: bool = False
    heard: float = 0.0
    severed: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = ""

    async def open(self, path: str, offset: int, length: int) -> FakeFile:
        self.opens += 1
        self.archive.asked.append(path)
        await self._unless_severed(self.archive.opening)
        data, facts = self.archive.find(path)
        self.open_count += 1
        return FakeFile(self, data, facts)

    async def entries(self, folder: str, pattern: str) -> list[Entry]:
        self.archive.patterns.append(pattern)
        await self._unless_severed(self.archive.opening)
        if folder not in self.archive.folders:
            raise Refused(STATUS_OBJECT_NAME_NOT_FOUND, "fake")
        below = f"{folder}\\" if folder else ""
        names = {path: facts.attributes for path, (_, facts) in self.archive.files.items()}
        names |= dict.fromkeys(self.archive.folders, DIRECTORY)
        return [
            Entry(path.removeprefix(below), attributes, 0)
            for path, attributes in names.items()
            if path.startswith(below)
            and fnmatch.fnmatchcase(path.removeprefix(below).lower(), pattern.lower().replace("[", "[[]"))
            and "\\" not in path.removeprefix(below)
        ]

    async def echo(self) -> None:
        self.echoes += 1
        await self._unless_severed(self.archive.echoing)

    async def aclose(self) -> None:
        self.broken = self.left = True

    def sever(self, reason: str) -> None:
        self.broken = True
        self.reason = self.reason or reason
        self.severed.set()

    async def _unless_severed(self, steps: list[Step]) -> None:
        if self.broken:
            raise Lost(self.reason)
        if not steps:
            return
        taking = asyncio.ensure_future(_take(steps))
        severed = asyncio.ensure_future(self.severed.wait())
        try:
            await asyncio.wait({taking, severed}, return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                raise Lost(self.reason)
            taking.result()
        finally:
            severed.cancel()
            taking.cancel()
            await asyncio.wait({taking, severed})


class FakeFile:
    def __init__(self, share: FakeShare, data: bytes, facts: Facts) -> None:
        self.share = share
        self.data = data
        self.facts = facts
        self.open = True

    async def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        for at in range(start, stop, 1000):
            await self.share._unless_severed(self.share.archive.pulling)
            yield self.data[at : min(at + 1000, stop)]

    async def close(self) -> Facts | None:
        await self.share._unless_severed(self.share.archive.closing)
        self.abandon()
        closed_with = self.share.archive.closed_with
        return closed_with.pop(0) if closed_with else replace(self.facts, disk_id=b"")

    def abandon(self) -> None:
        if self.open:
            self.open = False
            self.share.open_count -= 1
