"""A connected share on the native data path: opening, closing and listing, in terms of `adapters.smb.share`.

Rules of this module: what is asked and what the answers mean. Opening is one round trip, CREATE and the first READ in one
chain; closing is another, and its answer carries the facts that show whether the file was changed meanwhile. A file that
was opened for a reader who has left is closed when the answer comes, also long afterwards.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from typing import TypeVar

from adapters.contract import MAX_CHUNK, Services
from adapters.smb.failures import Lost, Refused, Untrusted
from adapters.smb.native.connection import CREDITS, Connection, Request, take_over
from adapters.smb.native.reading import FAR, Reading, Surplus
from adapters.smb.session import Demands, Established, Handshake, Login, Target
from adapters.smb.share import Entry, Facts
from adapters.smb.wire import (
    CLOSE,
    CREATE,
    DFS,
    QUERY_DIRECTORY,
    READ,
    RELATED_FILE,
    Created,
    Credits,
    Header,
    Malformed,
    Protection,
    charge,
    close,
    closed,
    create,
    created,
    is_error,
    listed,
    query_directory,
    read,
    read_data,
)
from adapters.smb.wire.status import STATUS_END_OF_FILE, STATUS_NO_MORE_FILES, STATUS_NO_SUCH_FILE

Result = TypeVar("Result")

SURPLUS = 64 << 20
"""Bytes that the readers of one connection may hold together beyond a plain window each."""

FAREWELL = 1.0
"""Seconds that a server gets to answer a log-off."""

LISTING = 1 << 16
"""Bytes of one answer to QUERY_DIRECTORY: one credit."""


async def connect(target: Target, login: Login, demands: Demands, services: Services) -> NativeShare:
    """A connected share.

    Raises `Refused`, `Lost`, and for what is not acceptable `CredentialsRejected`, `Unavailable`, `TimedOut`.
    Cancelling it ends the attempt and its thread.
    """
    handshake = Handshake(target, login, demands)
    setting_up = services.executor.submit(_set_up, handshake)
    try:
        established, taken = await asyncio.wrap_future(setting_up)
    except asyncio.CancelledError:
        handshake.abort()
        setting_up.add_done_callback(_discard)
        raise
    return await NativeShare.over(established, taken, demands)


def _set_up(handshake: Handshake) -> tuple[Established, socket.socket]:
    established = handshake.run()
    return established, established.release()


def _discard(unwanted: Future[tuple[Established, socket.socket]]) -> None:
    if not unwanted.cancelled() and unwanted.exception() is None:
        unwanted.result()[1].close()


class NativeFile:
    """One open document."""

    def __init__(self, share: NativeShare, opened: Created, offset: int, head: bytes) -> None:
        self._share = share
        self._file_id = opened.file_id
        self._offset = offset
        self._head = head
        self._reading: Reading | None = None
        self._open = True
        self.facts = Facts(
            opened.size, opened.created, opened.written, opened.changed, opened.attributes, opened.disk_id
        )

    def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        skip = start - self._offset
        head = self._head[skip : skip + stop - start] if 0 <= skip < len(self._head) else b""
        self._head = b""
        self._reading = self._share.reading(self._file_id, start, stop, head)
        return self._reading

    async def close(self) -> Facts | None:
        if not self._left():
            return None
        [(header, message)] = await self._share.connection.ask((CLOSE, close(self._file_id), 1))
        if is_error(header):
            raise Refused(header.status, "could not close the document")
        facts = self._share.parsed(closed, message)
        return facts and Facts(facts.size, facts.created, facts.written, facts.changed, facts.attributes)

    def abandon(self) -> None:
        if self._left():
            self._share.close_later(self._file_id)

    def _left(self) -> bool:
        """Let go of everything but the file itself; whether that is still open."""
        if self._reading is not None:
            self._reading.close()
        was_open, self._open = self._open, False
        if was_open:
            self._share.open_count -= 1
        return was_open


class NativeShare:
    """One share on one connection."""

    def __init__(
        self, connection: Connection, *, target: Target, encrypted: bool, dfs: bool, max_read: int, window: int
    ) -> None:
        self.connection = connection
        self.target = target
        self.encrypted = encrypted
        self.dfs = dfs
        self.flags = DFS if dfs else 0
        self.open_count = 0
        self._max_read = max_read
        self._window = window
        self._surplus = Surplus(SURPLUS)
        self._round_trip = 0.0

    @classmethod
    async def over(cls, established: Established, taken: socket.socket, demands: Demands) -> NativeShare:
        """Go on, over the socket that was taken from it, with what smbprotocol has set up. Raises `Lost`."""
        secrets = established.secrets()
        first_id, available = established.sequence
        connection = Connection(
            Protection(
                secrets.session_id,
                signing=secrets.signing,
                signing_key=secrets.signing_key,
                cipher=secrets.cipher,
                seal_key=secrets.seal_key,
                open_key=secrets.open_key,
                required=secrets.signing is not None,
            ),
            Credits(first_id, available, CREDITS),
            session_id=secrets.session_id,
            tree_id=established.tree.tree_connect_id,
            multi_credit=established.multi_credit,
        )
        await take_over(taken, connection)
        return cls(
            connection,
            target=established.target,
            encrypted=established.encrypted,
            dfs=established.dfs,
            max_read=established.max_read,
            window=demands.window,
        )

    @property
    def broken(self) -> bool:
        return self.connection.broken is not None

    async def open(self, path: str, offset: int, length: int) -> NativeFile:
        opening = _Opening(self, offset, min(length, self._max_read, MAX_CHUNK))
        began = time.monotonic()
        opened = await opening.answer(create(self.on_wire(path)))
        self._time(time.monotonic() - began)
        return opened

    async def entries(self, folder: str, pattern: str) -> list[Entry]:
        ask = self.connection.ask
        found: list[Entry] = []
        (created_header, message), (header, listing) = await ask(
            (CREATE, create(self.on_wire(folder), folder=True, disk_id=False), 1),
            (QUERY_DIRECTORY, query_directory(RELATED_FILE, pattern, length=LISTING, restart=True), 1),
            flags=self.flags,
        )
        if is_error(created_header):
            raise Refused(created_header.status, "could not open the folder")
        file_id = self.parsed(created, message).file_id
        try:
            while not is_error(header):
                found += self.parsed(listed, listing)
                again = query_directory(file_id, pattern, length=LISTING, restart=False)
                [(header, listing)] = await ask((QUERY_DIRECTORY, again, 1))
        finally:
            self.close_later(file_id)
        if header.status not in (STATUS_NO_MORE_FILES, STATUS_NO_SUCH_FILE):
            raise Refused(header.status, "could not list the folder")
        return found

    async def echo(self) -> None:
        await self.connection.echo()

    async def aclose(self) -> None:
        await self.connection.aclose(FAREWELL)

    def sever(self, reason: str) -> None:
        self.connection.sever(Lost(reason))

    # --- for open files --------------------------------------------------------------------------------------------

    def reading(self, file_id: bytes, start: int, stop: int, head: bytes) -> Reading:
        return Reading(
            self.connection,
            file_id,
            start,
            stop,
            head=head,
            limit=self._window,
            max_read=self._max_read,
            surplus=self._surplus,
            far=self._round_trip >= FAR,
        )

    def close_later(self, file_id: bytes) -> None:
        """Send a CLOSE that nobody waits for."""

        def forget(*_: object) -> None:
            pass

        def send() -> None:
            self.connection.send_now([Request(CLOSE, close(file_id), 1, forget)], forget)

        self.connection.submit(1, send, forget)

    def on_wire(self, path: str) -> str:
        """`path` as a CREATE on this share names it: below the server's own name in a DFS namespace ([MS-SMB2] 3.2.4.3)."""
        if not self.dfs:
            return path
        return "\\".join(part for part in (self.target.server, self.target.share, path) if part)

    def parsed(self, parse: Callable[[memoryview], Result], message: bytes) -> Result:
        """The answer `message`, taken apart. Raises `Untrusted` and drops the connection when it makes no sense."""
        try:
            return parse(memoryview(message))
        except Malformed as error:
            untrusted = Untrusted(str(error))
            self.connection.sever(untrusted)
            raise untrusted from None

    def _time(self, seconds: float) -> None:
        """Keep the shortest round trip, forgetting slowly: queues and disks only ever add to it."""
        kept = self._round_trip * 1.1
        self._round_trip = min(seconds, kept) if kept else seconds


class _Opening:
    """CREATE and the first READ in one chain. When nobody waits for it any more, the file is closed as it opens."""

    def __init__(self, share: NativeShare, offset: int, length: int) -> None:
        self._share = share
        self._offset = offset
        self._length = length
        self._opened: Created | None = None
        self._done: asyncio.Future[NativeFile] = asyncio.get_running_loop().create_future()

    async def answer(self, body: bytes) -> NativeFile:
        cost = charge(self._length) if self._length else 0

        def send() -> None:
            if self._done.done():
                return
            chain = [Request(CREATE, body, 1, self._created, self._share.flags)]
            if self._length:
                first = read(RELATED_FILE, self._offset, self._length)
                chain.append(Request(READ, first, cost, self._read))
            self._share.connection.send_now(chain, self._failed)

        self._share.connection.submit(1 + cost, send, self._failed)
        try:
            return await self._done
        except asyncio.CancelledError:
            if self._done.done() and not self._done.cancelled() and self._done.exception() is None:
                self._done.result().abandon()
            raise

    def _created(self, header: Header, message: memoryview) -> None:
        if is_error(header):
            self._failed(Refused(header.status, "could not open the document"))
            return
        self._opened = created(message)
        if not self._length:
            self._finish(b"")

    def _read(self, header: Header, message: memoryview) -> None:
        if not is_error(header):
            self._finish(bytes(read_data(message, self._length)))
        elif header.status == STATUS_END_OF_FILE:
            self._finish(b"")
        else:
            self._give_up()
            self._failed(Refused(header.status, "could not read the document"))

    def _finish(self, head: bytes) -> None:
        if self._opened is None:
            raise Malformed("a READ answered before its CREATE")
        if self._done.done():
            self._give_up()
            return
        self._share.open_count += 1
        self._done.set_result(NativeFile(self._share, self._opened, self._offset, head))

    def _give_up(self) -> None:
        if self._opened is not None:
            self._share.close_later(self._opened.file_id)
            self._opened = None

    def _failed(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)
