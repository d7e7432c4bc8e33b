"""A document in Redis: one hash, so that it is evicted as a whole or not at all, and how it is read and written.

Field `m` is the sealed head, fields `0`, `1`, ... are the sealed chunks. It is written under a name of its own that goes by
itself after two minutes, and gets its real name in one step when every field is there (`redis_scripts.COMMIT`).

Reading fetches the head with every chunk: an entry that was replaced meanwhile is not mistaken for a damaged one. A reader
has one chunk on its way while it works on another, and one that stands still holds no connection.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
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
"""Chunks on their way while a reader works on one: 512 KiB for a reader that stands still."""

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


class RedisHit(Hit):
    """An entry that was found. `first` is its first chunk; `damaged` and `fault` are told what went wrong in mid-body."""

    def __init__(
        self,
        record: Record,
        sealer: Sealer,
        place: Place,
        first: bytes,
        *,
        damaged: Callable[[], None],
        fault: Callable[[Fault], None],
    ) -> None:
        self.record = record
        self._sealer = sealer
        self._place = place
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
        numbers = range(span.start // CHUNK, -(-stop // CHUNK))
        ahead: deque[asyncio.Future[Call] | bytes] = deque()
        try:
            following = iter(numbers)
            for number in numbers:
                if self._closed:
                    raise Broken("the entry was closed")
                while len(ahead) <= AHEAD and (wanted := next(following, None)) is not None:
                    ahead.append(self._ask(wanted))
                answer = ahead.popleft()
                chunk = answer if isinstance(answer, bytes) else await self._opened(number, answer)
                begin = number * CHUNK
                low, high = max(span.start - begin, 0), min(stop - begin, len(chunk))
                piece = chunk if (low, high) == (0, len(chunk)) else chunk[low:high]
                del answer, chunk
                yield piece
                del piece
        except Fault as fault:
            self._fault(fault)
            raise Broken(f"Redis went away ({fault.kind})") from None
        finally:
            for one in ahead:
                if not isinstance(one, bytes):
                    one.cancel()

    def _ask(self, number: int) -> asyncio.Future[Call] | bytes:
        if number == 0 and self._first is not None:
            first = self._first
            if self.whole is None:
                # Not held for a reader that goes on; whoever reads from the start again asks again.
                self._first = None
            return first
        return self._place.link.call(("HMGET", self._place.key, "m", number), weight=CHUNK_WEIGHT)

    async def _opened(self, number: int, answer: asyncio.Future[Call]) -> bytes:
        reply = (await answer).replies[0]
        try:
            head, sealed = reply
            if head == self._place.head and sealed is not None:
                return self._sealer.open(number, sealed)
        except (Broken, TypeError, ValueError):
            self._damaged()
            raise Broken("a part that is not what was stored there") from None
        raise Broken("the entry was evicted or replaced")


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
