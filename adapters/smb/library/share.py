"""A connected share on smbprotocol alone, in terms of `adapters.smb.share`.

Rules of this module: asyncio, and who gets what; it makes no blocking call itself. smbprotocol waits without end, so a call
that lasts longer than `PATIENCE` severs the connection, which ends the wait and frees its thread; so does `sever`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor, Future

from adapters.contract import Services
from adapters.smb.failures import Lost
from adapters.smb.library.exchange import Exchange, Opened
from adapters.smb.library.turns import Turns
from adapters.smb.session import Demands, Established, Handshake, Login, Target
from adapters.smb.share import Entry, Facts

PATIENCE = 30.0
"""Seconds that one call may last. The gateway's own deadlines come first; this is for when nobody waits any more."""

FAREWELL = 1.0
"""Seconds that a server gets to answer while the connection is closed."""


async def connect(target: Target, login: Login, demands: Demands, services: Services) -> LibraryShare:
    """A connected share.

    Raises `Refused`, `Lost`, and for what is not acceptable `CredentialsRejected`, `Unavailable`, `TimedOut`.
    Cancelling it ends the attempt and its thread.
    """
    handshake = Handshake(target, login, demands)
    try:
        setting_up = services.executor.submit(handshake.run)
    except RuntimeError:  # the executor was shut down
        raise Lost("this source is closing") from None
    try:
        established = await asyncio.wrap_future(setting_up)
    except asyncio.CancelledError:
        handshake.abort()
        setting_up.add_done_callback(_discard)
        raise
    return LibraryShare(established, services.executor)


def _discard(unwanted: Future[Established]) -> None:
    if not unwanted.cancelled() and unwanted.exception() is None:
        unwanted.result().transport.close()


class LibraryFile:
    """One open document."""

    def __init__(self, share: LibraryShare, opened: Opened, offset: int, head: bytes) -> None:
        self.facts = opened.facts
        self._share = share
        self._opened = opened
        self._offset = offset
        self._head = head
        self._open = True

    def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        skip = start - self._offset
        head = self._head[skip : skip + stop - start] if 0 <= skip < len(self._head) else b""
        self._head = b""
        return _Pieces(self._share, self._opened, head, start, stop)

    async def close(self) -> Facts | None:
        return await self._share.close(self._opened) if self._left() else None

    def abandon(self) -> None:
        if self._left():
            self._share.close_later(self._opened)

    def _left(self) -> bool:
        was_open, self._open = self._open, False
        if was_open:
            self._share.open_count -= 1
        return was_open


class _Pieces:
    """The bytes [start, stop) of an open file, asked for one piece after the other. Not a generator: it needs no ending."""

    def __init__(self, share: LibraryShare, opened: Opened, head: bytes, start: int, stop: int) -> None:
        self._share = share
        self._opened = opened
        self._head = head
        self._next = start
        self._stop = stop

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        piece, self._head = self._head, b""
        if not piece:
            if self._next >= self._stop:
                raise StopAsyncIteration
            piece = await self._share.read(self._opened, self._next, self._stop - self._next)
        self._next += len(piece)
        return piece


class LibraryShare:
    """One share on one connection."""

    def __init__(self, established: Established, executor: Executor) -> None:
        self.target = established.target
        self.encrypted = established.encrypted
        self.dfs = established.dfs
        self.open_count = 0
        self._exchange = Exchange(established)
        self._turns = Turns(executor, patience=PATIENCE, overdue=self._overdue)
        self._reason = ""
        self._parted: asyncio.Future[None] | None = None

    @property
    def broken(self) -> bool:
        return self._parted is not None or not self._exchange.connected

    @property
    def heard(self) -> float:
        return self._exchange.heard

    async def open(self, path: str, offset: int, length: int) -> LibraryFile:
        self._stand()
        opened, head = await self._turns.call(
            self._exchange.open,
            self._on_wire(path),
            offset,
            length,
            undo=lambda result: self.close_later(result[0]),
        )
        self.open_count += 1
        return LibraryFile(self, opened, offset, head)

    async def entries(self, folder: str, pattern: str) -> list[Entry]:
        self._stand()
        opened = await self._turns.call(self._exchange.open_folder, self._on_wire(folder), undo=self.close_later)
        found: list[Entry] = []
        try:
            more = await self._turns.call(self._exchange.listed, opened, pattern)
            while more is not None:
                found += more
                more = await self._turns.call(self._exchange.listed, opened, pattern, False)
        finally:
            self.close_later(opened)
        return found

    async def echo(self) -> None:
        self._stand()
        await self._turns.call(self._exchange.echo)

    async def aclose(self) -> None:
        parted = self._end("the connection was closed")
        timer = asyncio.get_running_loop().call_later(FAREWELL, self._exchange.sever)
        parted.add_done_callback(lambda _: timer.cancel())
        await asyncio.shield(parted)

    def sever(self, reason: str) -> None:
        self._exchange.sever()
        self._end(reason)

    def _end(self, reason: str) -> asyncio.Future[None]:
        """Tell all who wait, make no call any more but the last, and give what is done when it is."""
        if self._parted is None:
            self._reason = reason
            self._turns.fail(Lost(reason))
            self._parted = self._turns.last(self._exchange.part)
        return self._parted

    def _overdue(self) -> None:
        self.sever("the server did not answer in time")

    # --- for open files --------------------------------------------------------------------------------------------

    async def read(self, opened: Opened, offset: int, length: int) -> bytes:
        """Raises `Refused`, `Lost`."""
        self._stand()
        return await self._turns.call(self._exchange.read, opened, offset, length)

    async def close(self, opened: Opened) -> Facts | None:
        """Raises `Refused`, `Lost`. The file is closed in its turn also when the caller is cancelled."""
        self._stand()
        return await self._turns.call(self._exchange.close, opened, always=True)

    def close_later(self, opened: Opened) -> None:
        """Close in turn; nobody waits."""
        if not self.broken:
            self._turns.later(self._exchange.close, opened)

    def _stand(self) -> None:
        """Raises `Lost` once the connection was closed or severed here."""
        if self._parted is not None:
            raise Lost(self._reason)

    def _on_wire(self, path: str) -> str:
        """`path` as a CREATE on this share names it (the docstring of `adapters.smb.dfs`)."""
        if not self.dfs:
            return path
        return "\\".join(part for part in (self.target.server, self.target.share, path) if part)
