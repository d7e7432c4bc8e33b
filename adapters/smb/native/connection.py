"""One SMB connection as messages: requests go out when there is credit, answers come back to who asked.

Rules of this module: no paths and no files; what is in a message is `adapters.smb.wire`'s. Every answer is verified before
anything looks at it. Whatever breaks the protocol ends the connection: all that wait on it are told, and nothing that was
sent after the break is believed. Nothing here waits without a way out: `sever` ends every wait.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from adapters.smb.failures import Lost, Refused, Untrusted
from adapters.smb.wire import (
    ASYNC,
    ECHO,
    HEADER_SIZE,
    LOGOFF,
    RELATED,
    UNSOLICITED,
    Credits,
    Forged,
    Header,
    Malformed,
    Protection,
    chain,
    echo,
    header_of,
    is_error,
    logoff,
    request,
)
from adapters.smb.wire.status import STATUS_PENDING

CREDITS = 1024
"""Credits that are asked for in all: 64 MiB on their way at once."""

MAX_REPLY = 2 << 20
"""Most bytes of one frame: no READ asks for more than half of it."""

_LENGTH = 4
_FRAME = 1 << 16


class Request(NamedTuple):
    """One request of a chain. `answered` gets the verified answer and must not wait, nor keep the memory it is given."""

    command: int
    body: bytes
    charge: int
    answered: Callable[[Header, memoryview], None]
    flags: int = 0


class Pending:
    """A request that waits for its answer. `failed` is told when there will be none."""

    __slots__ = ("answered", "command", "failed")

    def __init__(
        self, command: int, answered: Callable[[Header, memoryview], None], failed: Callable[[Lost], None]
    ) -> None:
        self.command = command
        self.answered = answered
        self.failed = failed


class Connection(asyncio.BufferedProtocol):
    """The connection of one session and one tree. `tree_id` and the keys come from the set-up."""

    def __init__(
        self, protection: Protection, credits: Credits, *, session_id: int, tree_id: int, multi_credit: bool
    ) -> None:
        self.broken: Lost | None = None
        self.heard = time.monotonic()
        self._protection = protection
        self._credits = credits
        self._session_id = session_id
        self._tree_id = tree_id
        self._multi_credit = multi_credit
        self._transport: asyncio.Transport | None = None
        self._pending: dict[int, Pending] = {}
        self._queue: deque[tuple[int, int, Callable[[int], None], Callable[[Lost], None]]] = deque()
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = bytearray(_FRAME)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._wanted = _LENGTH
        self._in_body = False

    # --- asking ----------------------------------------------------------------------------------------------------

    def submit(
        self, charge: int, send: Callable[[int], None], failed: Callable[[Lost], None], *, least: int | None = None
    ) -> None:
        """Call `send(credits)` as soon as `charge` credits are there: now, or in turn. `failed` instead when that never comes.

        A server that never lets so many out at once may have `least` of them suffice; None: nothing below `charge` does.
        `send` calls `send_now` for at most these credits, or for none of them when the need has passed.
        """
        if self.broken is not None:
            failed(self.broken)
        elif not self._queue and self._credits.available >= charge:
            send(charge)
        else:
            self._queue.append((charge, charge if least is None else least, send, failed))
            self._send_queued()

    def send_now(self, requests: Sequence[Request], failed: Callable[[Lost], None]) -> None:
        """Send a chain of requests for which there are credits. Raises nothing: a lost connection calls `failed`."""
        messages = []
        for number, (command, body, charge, answered, flags) in enumerate(requests):
            message_id = self._credits.take(charge)
            self._pending[message_id] = Pending(command, answered, failed)
            messages.append(
                request(
                    command,
                    body,
                    message_id=message_id,
                    charge=charge if self._multi_credit else 0,
                    credits=self._credits.request(charge),
                    session_id=self._session_id,
                    tree_id=self._tree_id,
                    flags=flags | RELATED if number else flags,
                )
            )
        # On a connection that is just being lost nothing is sent: all that wait are about to be told.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._protection.outgoing(chain(messages) if len(messages) > 1 else messages))

    async def ask(
        self,
        *requests: tuple[int, bytes, int],
        flags: int = 0,
        unwanted: Callable[[list[tuple[Header, bytes]]], None] | None = None,
        always: bool = False,
    ) -> list[tuple[Header, bytes]]:
        """Send a chain of (command, body, charge) and wait for all its answers, copied. `flags` are the first's.

        `unwanted` gets them when the caller has gone meanwhile; with `always` they are sent also when it goes before there
        is credit. Raises `Lost`.
        """
        done: asyncio.Future[list[tuple[Header, bytes]]] = asyncio.get_running_loop().create_future()
        answers: list[tuple[Header, bytes]] = []

        def answered(header: Header, message: memoryview) -> None:
            answers.append((header, bytes(message)))
            if len(answers) < len(requests):
                return
            if not done.done():
                done.set_result(answers)
            elif unwanted is not None:
                unwanted(answers)

        def failed(error: Lost) -> None:
            if not done.done():
                done.set_exception(error)

        def send(_: int) -> None:
            if done.done() and not always:
                return
            chained = [Request(*one, answered, 0 if number else flags) for number, one in enumerate(requests)]
            self.send_now(chained, failed)

        self.submit(sum(charge for _, _, charge in requests), send, failed)
        try:
            return await done
        except asyncio.CancelledError:
            if unwanted is not None and not done.cancelled() and done.exception() is None:
                unwanted(done.result())
            raise

    async def echo(self) -> None:
        """Raises `Lost`, `Refused`."""
        [(header, _)] = await self.ask((ECHO, echo(), 1))
        if is_error(header):
            raise Refused(header.status, "could not ask the server whether it is there")

    # --- ending ----------------------------------------------------------------------------------------------------

    def sever(self, reason: Lost) -> None:
        """Drop the connection now and tell all that wait. Idempotent."""
        if self.broken is not None:
            return
        self.broken = reason
        if self._transport is not None:
            self._transport.abort()
        waiting, self._pending = list(self._pending.values()), {}
        queued, self._queue = list(self._queue), deque()
        for pending in waiting:
            pending.failed(reason)
        for *_, failed in queued:
            failed(reason)

    async def aclose(self, patience: float) -> None:
        """Log off politely within `patience` seconds, then drop the connection and wait until it is gone."""
        if self.broken is None:
            try:
                async with asyncio.timeout(patience):
                    await self.ask((LOGOFF, logoff(), 1))
            except (Lost, TimeoutError):
                pass
        self.sever(Lost("the connection was closed"))
        await asyncio.shield(self._closed)

    # --- asyncio's side --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        self.sever(
            Lost(
                "the server ended the connection" if error is None else f"the connection broke: {type(error).__name__}"
            )
        )
        self._transport = None
        if not self._closed.done():
            self._closed.set_result(None)

    def eof_received(self) -> bool:
        return False

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view[self._filled : self._wanted]

    def buffer_updated(self, count: int) -> None:
        self._filled += count
        self.heard = time.monotonic()
        if self._filled < self._wanted:
            return
        try:
            if self._in_body:
                self._frame(self._wanted)
                self._expect(_LENGTH, body=False)
            else:
                length = int.from_bytes(self._buffer[:_LENGTH])
                if not HEADER_SIZE <= length <= MAX_REPLY:
                    raise Malformed("a frame with an impossible length")
                self._expect(length, body=True)
        except (Malformed, Forged) as error:
            self.sever(Untrusted(str(error)))

    def _expect(self, length: int, *, body: bool) -> None:
        self._filled, self._wanted, self._in_body = 0, length, body
        if length > len(self._buffer):
            self._buffer = bytearray(length)
            self._view = memoryview(self._buffer)

    def _frame(self, length: int) -> None:
        frame = self._view[:length]
        message = self._protection.incoming(frame)
        while self.broken is None:
            header = header_of(message)
            one = message[: header.next] if header.next else message
            self._protection.check(one, header)
            self._answer(header, one)
            if not header.next:
                break
            message = message[header.next :]
        self._send_queued()

    def _answer(self, header: Header, message: memoryview) -> None:
        if header.message_id == UNSOLICITED:
            # An oplock break; we hold none.
            return
        pending = self._pending.get(header.message_id)
        if pending is None or pending.command != header.command:
            raise Malformed("an answer that nobody asked for")
        self._credits.grant(header.credits)
        if header.status == STATUS_PENDING and header.flags & ASYNC:
            return
        del self._pending[header.message_id]
        try:
            pending.answered(header, message)
        except Malformed as error:
            pending.failed(Untrusted(str(error)))
            raise

    def _send_queued(self) -> None:
        queue = self._queue
        while queue and self.broken is None:
            charge, least, send, _ = queue[0]
            at_hand = self._credits.available
            # With no answer to come, what is at hand is all that the server ever lets out.
            if at_hand < (charge if self._pending else least):
                break
            queue.popleft()
            send(min(charge, at_hand))
        if queue and not self._pending and self.broken is None:
            self.sever(Untrusted("the server grants no credits and owes no answer"))


async def take_over(taken: socket.socket, connection: Connection) -> None:
    """Let `connection` go on with a connected socket. Raises `Lost`."""
    taken.setblocking(False)
    try:
        await asyncio.get_running_loop().create_connection(lambda: connection, sock=taken)
    except OSError as error:
        taken.close()
        raise Lost("the connection was lost while it was set up") from error
