"""A document in Redis: one hash, so that it is evicted as a whole or not at all, and how it is read and written.

Field `m` is the sealed head, fields `0`, `1`, ... are the sealed chunks. It is written under a name of its own that goes by
itself after two minutes, and gets its real name in one step when every field is there (`redis_scripts.COMMIT`).

Reading fetches the head with every chunk: an entry that was replaced meanwhile is not mistaken for a damaged one. A reader
has one chunk on its way while it works on another, unless many read at the same time: then one works while others wait, and
nothing is gained by holding more. One that stands still holds no connection.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass

from adapters.contract import Span
from gateway.cache import Body, Broken, Hit, Record
from gateway.cache.redis_faults import Fault
from gateway.cache.redis_lane import Call, Command
from gateway.cache.redis_link import Link
from gateway.cache.redis_scripts import COMMIT
from gateway.cache.sealing import CHUNK, Sealer, chunk_count

STAGING_SECONDS = 120
"""How long an entry that is being written stays when its writer dies."""

AHEAD = 1
"""Chunks on their way while a reader works on one."""

AHEAD_OF_ALL = 8
"""Chunks on their way, or waiting for readers that stand still, ahead of all readers together: about 2 MiB."""

STILL = 0.5
"""Seconds after which a reader that still works on one is not read ahead for any more."""

UNDER_WAY = 2
"""Chunks that a writer has sent and not heard of."""

CHUNK_WEIGHT = 8
"""What a chunk counts on a connection, next to a small reply."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry lies."""

    link: Link
    key: str
    head: bytes


class Room:
    """How many more chunks may be read ahead, by whoever comes first."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = AHEAD_OF_ALL


class RedisHit(Hit):
    """An entry that was found. `first` is its first chunk; `damaged` and `fault` are told what went wrong in mid-body.

    `room` is shared by all that read at the same time.
    """

    def __init__(
        self,
        record: Record,
        sealer: Sealer,
        place: Place,
        first: bytes,
        room: Room,
        *,
        damaged: Callable[[], None],
        fault: Callable[[Fault], None],
    ) -> None:
        self.record = record
        self._sealer = sealer
        self._place = place
        self._room = room
        self._damaged = damaged
        self._fault = fault
        self._count = chunk_count(record.size)
        self.whole = first if self._count <= 1 else None
        self._first: bytes | None = first
        self._closed = False

    def close(self) -> None:
        self._closed = True
        self._first = None

    async def chunks(self, span: Span) -> AsyncGenerator[bytes, None]:
        stop = self.record.size if span.stop is None else span.stop
        if span.start >= stop:
            return
        loop = asyncio.get_running_loop()
        wanted = iter(range(span.start // CHUNK, -(-stop // CHUNK)))
        ahead: deque[_Asked] = deque()
        try:
            while self._read_ahead(ahead, wanted):
                if self._closed:
                    raise Broken("the entry was closed")
                piece = [await self._piece(self._due(ahead.popleft()), span.start, stop)]
                still = loop.call_later(STILL, self._drop, ahead)
                # Not held here meanwhile: its reader may only need it in another form.
                yield piece.pop()
                still.cancel()
        except Fault as fault:
            self._fault(fault)
            raise Broken(f"Redis went away ({fault.kind})") from None
        finally:
            self._drop(ahead)

    def _read_ahead(self, ahead: deque[_Asked], wanted: Iterator[int]) -> bool:
        """Ask for the next chunk and those behind it; whether there is one."""
        while not ahead or (len(ahead) <= AHEAD and self._room.left):
            number = next(wanted, None)
            if number is None:
                break
            asked = _Asked(number, self._ask(number), early=bool(ahead))
            self._room.left -= asked.early
            ahead.append(asked)
        return bool(ahead)

    def _due(self, asked: _Asked) -> _Asked:
        """A chunk that is not read ahead any more."""
        self._room.left += asked.early
        asked.early = False
        return asked

    def _drop(self, ahead: Iterable[_Asked]) -> None:
        """Give up what was asked for: whoever still wants it asks again."""
        for asked in ahead:
            answer, self._due(asked).answer = asked.answer, None
            if isinstance(answer, asyncio.Future):
                answer.cancel()

    async def _piece(self, asked: _Asked, start: int, stop: int) -> bytes:
        """The bytes of a chunk that lie between `start` and `stop`."""
        number = asked.number
        answer = asked.answer or self._ask(number)
        asked.answer = None
        chunk = answer if isinstance(answer, bytes) else await self._opened(number, answer)
        begin = number * CHUNK
        low, high = max(start - begin, 0), min(stop - begin, len(chunk))
        return chunk if (low, high) == (0, len(chunk)) else chunk[low:high]

    def _ask(self, number: int) -> asyncio.Future[Call] | bytes:
        if number == 0 and self._first is not None:
            first = self._first
            if self.whole is None:
                # Not held for a reader that goes on; whoever reads from the start again asks again.
                self._first = None
            return first
        return self._place.link.call(("HMGET", self._place.key, "m", number), weight=CHUNK_WEIGHT)

    async def _opened(self, number: int, answer: asyncio.Future[Call]) -> bytes:
        try:
            head, sealed = (await answer).replies[0]
            if head == self._place.head and sealed is not None:
                return self._sealer.open(number, sealed)
        except (Broken, TypeError, ValueError):
            self._damaged()
            raise Broken("a part that is not what was stored there") from None
        raise Broken("the entry was evicted or replaced")


@dataclass(slots=True, eq=False)
class _Asked:
    """A chunk that was asked for; `answer` is None where it was given up again. `early` is whether it takes `Room`."""

    number: int
    answer: asyncio.Future[Call] | bytes | None
    early: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that is to be written: its head says everything but the bytes."""

    link: Link
    key: str
    head: bytes
    sealer: Sealer
    keep: float
    """Seconds after which it goes."""


async def write(draft: Draft, body: Body) -> bool:
    """Write an entry whole and make it visible; False when it was not all there. Raises `Fault` and what `body` raises."""
    count = chunk_count(body.size)
    staging = f"{draft.key}:{secrets.token_hex(8)}"
    last: list[str | int | bytes] = ["m", draft.head]
    under_way: deque[asyncio.Future[Call]] = deque()
    done = False
    try:
        for number in range(count):
            data = await body.read(number * CHUNK, CHUNK)
            if len(data) != min(CHUNK, body.size - number * CHUNK):
                return False
            fields: list[str | int | bytes] = [number, draft.sealer.seal(number, data)]
            if count == 1:
                # A small document is one round trip.
                last += fields
                continue
            under_way.append(draft.link.call(*_put(staging, fields), weight=CHUNK_WEIGHT))
            if len(under_way) > UNDER_WAY:
                await under_way.popleft()
        while under_way:
            await under_way.popleft()
        arguments = (count + 1, max(1, int(draft.keep * 1000)))
        stored = await COMMIT.run(draft.link, (staging, draft.key), arguments, after=_put(staging, last))
        done = True
        return bool(stored.replies[-1] == 1)
    finally:
        for one in under_way:
            one.add_done_callback(seen)
        if not done:
            clear(draft.link, staging)


def expiry(keep: float) -> str:
    """When an entry that is written now ends, in seconds since 1970, as its head states it."""
    return repr(time.time() + keep)


def clear(link: Link, *keys: str) -> None:
    """Have keys removed; nobody waits for it."""
    try:
        link.call(*(("UNLINK", key) for key in keys)).add_done_callback(seen)
    except Fault:
        return


def seen(future: asyncio.Future[Call]) -> None:
    """Nobody waits for this any more, and its failure was told elsewhere."""
    if not future.cancelled():
        future.exception()


def _put(staging: str, fields: list[str | int | bytes]) -> tuple[Command, ...]:
    # The time to live is set each time: a key that was evicted in between is a new one.
    return ("HSET", staging, *fields), ("PEXPIRE", staging, STAGING_SECONDS * 1000)
