"""A connected share on the native data path: opening, closing and listing, in terms of `adapters.smb.share`.

Rules of this module: what is asked of a share and what the answers mean; one document's life is `file`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from adapters.contract import MAX_CHUNK, Services
from adapters.smb.failures import Lost, Refused, Untrusted
from adapters.smb.native.connection import CREDITS, Connection, Request, take_over
from adapters.smb.native.file import NativeFile, Opening
from adapters.smb.native.reading import FAR, Reading, Surplus
from adapters.smb.session import Demands, Established, Handshake, Login, Target
from adapters.smb.share import FIRST_READ, Entry
from adapters.smb.wire import (
    CLOSE,
    CREATE,
    DFS,
    QUERY_DIRECTORY,
    RELATED_FILE,
    Credits,
    Header,
    Malformed,
    Protection,
    close,
    create,
    created,
    is_error,
    listed,
    query_directory,
)
from adapters.smb.wire.status import STATUS_NO_MORE_FILES, STATUS_NO_SUCH_FILE

Result = TypeVar("Result")

SURPLUS = 64 << 20
"""Bytes that the readers of one connection may hold together beyond a plain window each."""

FAREWELL = 1.0
"""Seconds that a server gets to answer a log-off."""

LETTERS = 3
"""Documents in a row that must have come whole with their opening before the next one is closed in the same chain: one that
turns out to be longer is opened twice."""

ECHOES = 2
"""Round trips to measure the distance with: the first one may have met a process that was just starting."""

REMEMBERED = 600.0
"""Seconds for which a server's distance is remembered: a route may change."""

LISTING = 1 << 16
"""Bytes of one answer to QUERY_DIRECTORY: one credit."""


_distances: dict[str, tuple[float, float]] = {}


def _nearest(server: str, seconds: float, now: float) -> float:
    """The shortest round trip to `server` of late. A busy machine measures longer ones, never shorter ones."""
    known, since = _distances.get(server, (seconds, now))
    if seconds <= known or now - since > REMEMBERED:
        known, since = seconds, now
    _distances[server] = known, since
    return known


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
        self._takes_chains = True
        """Whether the server has refused nothing yet for being in one chain with a CLOSE."""
        self._letters = 0
        """How many documents in a row came whole with their first READ: after `LETTERS` of them the next one is expected to."""
        self._round_trip = 0.0
        """Seconds to the server and back, as it was when nothing else was on its way."""

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
        share = cls(
            connection,
            target=established.target,
            encrypted=established.encrypted,
            dfs=established.dfs,
            max_read=established.max_read,
            window=demands.window,
        )
        try:
            async with asyncio.timeout(demands.deadline):
                await share.measure()
        except TimeoutError:
            share.sever("the server does not answer")
            raise Lost("the server logged on and then did not answer") from None
        except BaseException:
            share.sever("nobody waits for this connection any more")
            raise
        return share

    @property
    def broken(self) -> bool:
        return self.connection.broken is not None

    @property
    def heard(self) -> float:
        return self.connection.heard

    async def open(self, path: str, offset: int, length: int) -> NativeFile:
        body, length = create(self.on_wire(path)), min(length, self._max_read, MAX_CHUNK)
        most = min(FIRST_READ, self._max_read)
        whole = offset == 0 and length >= most
        refused = False
        if whole and self._takes_chains and self._letters >= LETTERS:
            chained = Opening(self, offset, length, whole=True)
            file = await chained.answer(body)
            if file is not None:
                return file
            self._letters, refused = 0, chained.refused
        file = await Opening(self, offset, length).answer(body)
        assert file is not None
        if refused:
            # What is there without a chain was refused because of the chain.
            self._takes_chains = False
        if whole:
            self._letters = self._letters + 1 if file.facts.size <= most else 0
        return file

    async def entries(self, folder: str, pattern: str) -> list[Entry]:
        ask = self.connection.ask
        found: list[Entry] = []
        (created_header, message), (header, listing) = await ask(
            (CREATE, create(self.on_wire(folder), folder=True, disk_id=False), 1),
            (QUERY_DIRECTORY, query_directory(RELATED_FILE, pattern, length=LISTING, restart=True), 1),
            flags=self.flags,
            unwanted=self._close_folder,
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

    async def measure(self) -> None:
        """Find out how far away the server is. An echo waits for no disk and, on a new connection, behind nobody.

        Raises `Refused`, `Lost`.
        """
        trips = []
        for _ in range(ECHOES):
            began = time.monotonic()
            await self.connection.echo()
            trips.append(time.monotonic() - began)
        self._round_trip = _nearest(self.target.server, min(trips), time.monotonic())

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

    def _close_folder(self, answers: list[tuple[Header, bytes]]) -> None:
        """Close the folder that was opened for a listing which nobody waits for any more."""
        header, message = answers[0]
        if not is_error(header):
            with contextlib.suppress(Untrusted):  # the connection is ended by then, and nobody is there to be told
                self.close_later(self.parsed(created, message).file_id)

    def close_later(self, file_id: bytes) -> None:
        """Send a CLOSE that nobody waits for."""

        def forget(*_: object) -> None:
            pass

        def send(_: int) -> None:
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
