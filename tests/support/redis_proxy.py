"""A man in the middle who knows Redis' protocol: gives wrong answers to right questions.

    async with wrong_answers(server.port) as proxy:
        proxy.twist = swapped
        ...  # a cache on proxy.port

It takes what a client sent in one go, asks the real server, and passes the replies on through `twist`, which may change,
exchange, repeat or drop them. `cut` ends the connection so many bytes into the replies of one go.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import hiredis

from tests.support.ports import LOOPBACK

Command = list[bytes]
Twist = Callable[[list[Command], list[Any]], list[Any]]


def honest(commands: list[Command], replies: list[Any]) -> list[Any]:
    """The replies as they are."""
    return replies


@dataclass
class WrongAnswers:
    """What the proxy does, and what it saw."""

    port: int = 0
    twist: Twist = honest
    cut: int | None = None
    raw: bytes | None = None
    """Sent in place of all replies."""
    drip: float = 0.0
    """Seconds between two bytes."""
    twisted: int = 0
    accepted: int = 0
    seen: list[bytes] = field(default_factory=list)
    """All that clients sent."""


@asynccontextmanager
async def wrong_answers(port: int) -> AsyncIterator[WrongAnswers]:
    """A proxy in front of the server at `port`, in this event loop."""
    proxy = WrongAnswers()
    tasks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.accepted += 1
        task = asyncio.ensure_future(_serve(proxy, port, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accepted, LOOPBACK, 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tuple(tasks))


async def _serve(proxy: WrongAnswers, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    upstream, to_server = await asyncio.open_connection(LOOPBACK, port)
    try:
        await _relay(proxy, (reader, writer), (upstream, to_server))
    finally:
        for one in (writer, to_server):
            one.close()


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _relay(proxy: WrongAnswers, client: Ends, server: Ends) -> None:
    (reader, writer), (upstream, to_server) = client, server
    questions, answers = hiredis.Reader(notEnoughData=...), hiredis.Reader(notEnoughData=...)
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 20):
            proxy.seen.append(data)
            to_server.write(data)
            questions.feed(data)
            commands = []
            while (command := questions.gets()) is not ...:
                commands.append(command)
            replies: list[Any] = []
            while len(replies) < len(commands):
                answers.feed(await upstream.read(1 << 20))
                while (reply := answers.gets()) is not ...:
                    replies.append(reply)
            twisted = proxy.twist(commands, list(replies))
            proxy.twisted += twisted != replies
            text = b"".join(map(encoded, twisted)) if proxy.raw is None else proxy.raw
            if proxy.drip:
                for at in range(len(text)):
                    writer.write(text[at : at + 1])
                    await asyncio.sleep(proxy.drip)
                continue
            writer.write(text[: proxy.cut])
            await writer.drain()
            if proxy.cut is not None and len(text) > proxy.cut:
                break


def encoded(reply: Any) -> bytes:
    """A reply as it stands on the wire (RESP 2)."""
    match reply:
        case None:
            return b"$-1\r\n"
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case int():
            return b":%d\r\n" % reply
        case list():
            return b"*%d\r\n%b" % (len(reply), b"".join(map(encoded, reply)))
    return b"-%b\r\n" % str(reply).encode()


# --- twists ----------------------------------------------------------------------------------------------------------


def swapped(commands: list[Command], replies: list[Any]) -> list[Any]:
    """Each document's reply goes to another document of the same go."""
    at = [number for number, command in enumerate(commands) if command[0] == b"HMGET" and command[1].endswith(b":d")]
    for here, there in zip(at, at[1:] + at[:1], strict=True):
        replies[here], replies[there] = replies[there], replies[here]
    return replies


def reversed_order(commands: list[Command], replies: list[Any]) -> list[Any]:
    """Last come, first served."""
    return replies[::-1]


def shifted(commands: list[Command], replies: list[Any]) -> list[Any]:
    """One reply is lost, and everybody gets the next one's."""
    return replies[1:]


def doubled(commands: list[Command], replies: list[Any]) -> list[Any]:
    """One reply comes twice, and everybody gets the one before."""
    return [*replies[:1], *replies]


class Replayed:
    """Every document is answered with the first reply that any document ever had."""

    def __init__(self) -> None:
        self._first: Any = None

    def __call__(self, commands: list[Command], replies: list[Any]) -> list[Any]:
        for number, command in enumerate(commands):
            if command[0] == b"HMGET" and command[1].endswith(b":d") and replies[number][0]:
                self._first = self._first or replies[number]
                replies[number] = self._first
        return replies


class Flipped:
    """One bit of something in each go is another one, of text and of numbers."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __call__(self, commands: list[Command], replies: list[Any]) -> list[Any]:
        if replies:
            at = self._random.randrange(len(replies))
            replies[at] = self._flip(replies[at])
        return replies

    def _flip(self, reply: Any) -> Any:
        if isinstance(reply, list) and reply:
            at = self._random.randrange(len(reply))
            return [self._flip(one) if number == at else one for number, one in enumerate(reply)]
        if isinstance(reply, bytes) and reply:
            data = bytearray(reply)
            data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
            return bytes(data)
        return reply + 1 if isinstance(reply, int) else b"something"


class Strange:
    """Each reply is of a kind that no such command has."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __call__(self, commands: list[Command], replies: list[Any]) -> list[Any]:
        return [self._random.choice(KINDS) for _ in replies]


class StrangeInTheMiddle(Strange):
    """Documents begin as they should."""

    def __call__(self, commands: list[Command], replies: list[Any]) -> list[Any]:
        pairs = zip(commands, replies, strict=True)
        return [reply if command[-1] in (b"0", b"PING") else self._random.choice(KINDS) for command, reply in pairs]


KINDS: list[Any] = [None, 7, -1, b"", b"OK", [], [None, None], [b"a", b"b"], [1, 2], [[b"a"], None, 3]]
