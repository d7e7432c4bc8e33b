"""Purging by generation: what makes an entry that lies in Redis count no more, at once and for every process.

Each source has a hash of random tokens: field `*` for the whole source, and a field for each of 1024 buckets of ids once
something in it was purged. An entry holds the tokens of the moment before its archive was asked, and counts only while
they are the current ones. So nothing has to be found to be purged, and an entry that is written after the purge, under
tokens from before it, is dead on arrival. A hash that is not there means that nothing of the source counts: it may be
evicted, flushed or lost.

A token also ends with the run id of the server that it was made on. Redis may come back from a snapshot, or as a replica
that was not told everything, with tokens from before a purge: those are of another run, and nothing under them counts.

A purge that could not be carried out stays here until it was, and until then this process finds nothing in Redis.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from gateway.cache import Key, PurgePending, Scope, redis_faults
from gateway.cache.redis_faults import Fault
from gateway.cache.redis_lane import Command
from gateway.cache.redis_link import Link
from gateway.cache.redis_questions import Question
from gateway.cache.redis_scripts import TOKENS
from gateway.cache.redis_servers import Servers

BUCKETS = 1024

AGAIN = 0.5
"""Seconds between two attempts to carry out a purge."""

MOST_PENDING = 256
"""Purges that are remembered one by one; more of them become one of everything."""

SCANNED = 1000
"""Keys that one step of a search through Redis looks at."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The generation of one document: of its source, and of its bucket ("" when nothing in that was ever purged)."""

    source: str
    bucket: str

    def as_extra(self) -> dict[str, str]:
        """As an entry's head holds them."""
        return {"source": self.source, "bucket": self.bucket}

    def made(self, extra: Any) -> bool:
        """Whether an entry with this in its head was made in this generation."""
        return bool(extra.get("source") == self.source and extra.get("bucket") == self.bucket)


class Generations:
    """The tokens in Redis, and the purges that are still to be carried out. `note` is told every fault."""

    def __init__(self, servers: Servers, namespace: str, note: Callable[[Fault], None]) -> None:
        self._servers = servers
        self._prefix = f"{namespace}:g:"
        self._note = note
        self._known: set[str] = set()
        self._pending: dict[int, Scope] = {}
        self._overdue: set[int] = set()
        self._number = 0
        self._retrying: asyncio.Task[None] | None = None

    def question(self, key: Key) -> tuple[str, Command]:
        """The token key of a document, and the command that reads its tokens."""
        name = self._prefix + key.source
        return name, ("HMGET", name, "*", bucket(key.locator))

    def answer(self, reply: Any, run: str) -> Tokens | None:
        """The tokens in a reply of the server's run `run`; None when none of them holds. Raises `Fault`."""
        try:
            source, of_bucket = (token.decode() if token else "" for token in reply)
        except (TypeError, ValueError, AttributeError):
            raise Fault(redis_faults.GARBAGE) from None
        return Tokens(source, of_bucket) if source and source.endswith("-" + run) else None

    async def current(self, key: Key) -> Tokens | None:
        """The tokens that hold now. Raises `Fault`."""
        replies, run = await self._servers.ask(Question([self.question(key)]))
        return self.answer(replies[0], run)

    async def begin(self, key: Key, run: str) -> Tokens | None:
        """Begin a generation for a source that has none. Raises `Fault`."""
        name = self._prefix + key.source
        self._known.add(key.source)
        arguments = (bucket(key.locator), f"{_random()}-{run}", "-" + run)
        call = await TOKENS.run(self._servers.link(name), (name,), arguments)
        return self.answer(call.replies[-1], call.run)

    def hides(self, key: Key) -> bool:
        """Whether nothing may be found or stored under `key` for now, because of a purge that is not done."""
        if not self._pending:
            return False
        return bool(self._overdue) or any(scope.covers(key) for scope in self._pending.values())

    async def purge(self, scope: Scope) -> None:
        """Make everything in `scope` count no more. Raises `PurgePending` and goes on trying."""
        self._number += 1
        number = self._number
        self._pending[number] = scope
        try:
            await self._carry_out(scope)
        except BaseException as error:
            self._overdue.add(number)
            self._keep_trying()
            if not isinstance(error, Fault):
                raise
            self._note(error)
            raise PurgePending(
                f"Redis could not be told ({error.kind}). This process serves nothing from it and tries again; "
                "other replicas may still serve what was purged."
            ) from None
        self._pending.pop(number, None)

    async def close(self) -> None:
        """Stop trying."""
        if self._retrying is not None:
            self._retrying.cancel()
            await asyncio.wait([self._retrying])

    def _keep_trying(self) -> None:
        if len(self._pending) > MOST_PENDING:
            self._number += 1
            self._pending = {self._number: Scope()}
            self._overdue = {self._number}
        if self._retrying is None:
            self._retrying = asyncio.get_running_loop().create_task(self._retry())

    async def _retry(self) -> None:
        while self._overdue:
            await asyncio.sleep(AGAIN)
            for number in sorted(self._overdue):
                try:
                    await self._carry_out(self._pending[number])
                except Fault as fault:
                    self._servers.doubt(fault)
                    break
                except KeyError:  # became part of one of everything
                    break
                self._overdue.discard(number)
                self._pending.pop(number, None)
        self._retrying = None

    async def _carry_out(self, scope: Scope) -> None:
        if scope.source is not None:
            names = {self._prefix + scope.source}
        else:
            names = {self._prefix + source for source in self._known}
            for link in self._servers.links():
                names |= await found(link, self._prefix + "*")
        for name in names:
            if scope.locator is None:
                await self._servers.link(name).call(("UNLINK", name))
            else:
                await self._servers.link(name).call(("HSET", name, bucket(scope.locator), _random()))


async def found(link: Link, pattern: str, *, steps: int | None = None) -> set[str]:
    """The keys of a server that match; only what the first `steps` steps of the search found. Raises `Fault`."""
    cursor = "0"
    names: set[str] = set()
    while steps is None or steps > 0:
        call = await link.call(("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED))
        try:
            position, page = call.replies[0]
            names.update(name.decode() for name in page)
            cursor = position.decode()
        except (TypeError, ValueError, AttributeError):
            raise Fault(redis_faults.GARBAGE) from None
        if cursor == "0":
            break
        steps = None if steps is None else steps - 1
    return names


def bucket(locator: str) -> str:
    """The field of the bucket that a document's id falls into: ten bits, too few to say which document it is."""
    return f"b{int.from_bytes(blake2b(locator.encode('utf-8', 'surrogatepass'), digest_size=2).digest()) % BUCKETS}"


def _random() -> str:
    return os.urandom(16).hex()
