"""Documents in a directory of this machine, for one process and over its restarts.

An entry is one file (`disk_entry`), found by the books (`disk_store`), so that a miss costs no system call. A look-up
opens it on a reading thread; small documents come with it whole, of larger ones the loop reads what the page cache has
(`disk_reading`). Writing has threads of its own, and one thread alone changes the directory: it makes an entry visible by
a rename, after the last byte, so that whatever kills the process leaves whole entries and leftovers, never a part.
Nothing is synced but purges: what a crash of the machine leaves damaged is found when it is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from adapters.contract import Log
from gateway.cache import (
    NOTHING,
    Body,
    Broken,
    Cache,
    Hit,
    Key,
    Limits,
    Look,
    PurgePending,
    Record,
    Scope,
    Stats,
    Ticket,
)
from gateway.cache.bodies import fits, pieces
from gateway.cache.disk_directory import Directory, Name, folder_of, path_of
from gateway.cache.disk_entry import Entry, file_size, footer, open_entry
from gateway.cache.disk_reading import OpenFile, PlainHit, Scratch, SealedHit, SmallHit
from gateway.cache.disk_store import Entered, Store, weight_of
from gateway.cache.disk_writing import Staged
from gateway.cache.sealing import CHUNK, TAG, Keyring, Sealer
from gateway.cache.sweeping import sweeping

LOOK_SECONDS = 0.5
"""How long opening an entry may take before it is a miss; more for large ones that are verified (`VERIFIED_A_SECOND`)."""

VERIFIED_A_SECOND = 64 << 20

PUT_SECONDS, PURGE_SECONDS, LEAVE_SECONDS = 30.0, 10.0, 5.0

HUNG, REST = 3, 5.0
"""After so many look-ups in a row that took too long the disk is left alone for `REST` seconds."""

Result = TypeVar("Result")


class DiskCache(Cache):
    """Keeps documents below `directory`, at most `max_bytes` of them. The directory is this process's alone."""

    backend = "disk"

    def __init__(
        self, limits: Limits, keyring: Keyring, directory: Path, *, max_bytes: int, log: Log | None = None
    ) -> None:
        super().__init__(limits)
        self.max_bytes = max_bytes
        self._keyring = keyring
        self._directory = Directory(directory)
        self._store = Store(self._directory, keyring, limits, max_bytes)
        self._store.faults = self.counts.faults
        self._log = log
        self._scratch = Scratch()
        self._open = False
        self._slow = 0
        self._away_until = 0.0
        self._leaving: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._keeper: ThreadPoolExecutor
        self._readers: ThreadPoolExecutor
        self._writers: ThreadPoolExecutor

    async def __aenter__(self) -> Self:
        self._keeper = ThreadPoolExecutor(1, "cache-keeper")
        self._readers = ThreadPoolExecutor(4, "cache-reader")
        self._writers = ThreadPoolExecutor(2, "cache-writer")
        self._open = True
        try:
            await self._on(self._keeper, self._store.open)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        if self._directory.foreign and self._log is not None:
            self._log.warning("foreign files in the cache directory are left alone", count=self._directory.foreign)
        self._sweeper = asyncio.create_task(sweeping(self.limits.keep, self._sweep))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._open:
            return
        self._open = False
        if self._sweeper is not None:
            self._sweeper.cancel()
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                if self._leaving:
                    await asyncio.wait(self._leaving)
                await self._on(self._keeper, self._store.close)
        except (OSError, RuntimeError) as failure:
            self._fault(failure)
        finally:
            for task in self._leaving:
                task.cancel()
            for executor in (self._keeper, self._readers, self._writers):
                executor.shutdown(wait=False)

    # --- looking ---

    async def look(self, key: Key) -> Look:
        if not self._usable():
            return NOTHING
        ticket = self._store.purges.ticket
        hit = None
        try:
            hit = await self._found(key)
        except Exception as error:
            self._fault(error)
            if isinstance(error, TimeoutError):
                self._rest()
        if hit is None:
            self.counts.misses += 1
        else:
            self.counts.hits += 1
        return Look(hit, ticket)

    async def _found(self, key: Key) -> Hit | None:
        folder = folder_of(key.source)
        for entry in self._keyring.names(key):
            name = folder, entry
            item = self._store.find(name)
            if item is None:
                continue
            try:
                return await self._opened(name, item)
            except FileNotFoundError:
                self._forget(name, item)
            except Broken:
                self._damaged(name, item)
        return None

    async def _opened(self, name: Name, item: Entered) -> Hit:
        arguments = self._directory.root, path_of(name), name[1], self._keyring, item.kept
        async with asyncio.timeout(LOOK_SECONDS + item.weight / VERIFIED_A_SECOND):
            entry = await self._on(self._readers, open_entry, *arguments, undo=Entry.close)
        self._slow = 0
        if entry.whole is not None:
            return SmallHit(entry.record, entry.whole)
        file = OpenFile(
            entry.descriptor, entry.identity, self._readers, self._scratch, lambda: self._damaged(name, item)
        )
        if self._keyring.encrypts:
            return SealedHit(entry, file)
        item.kept = entry.identity
        return PlainHit(entry, file)

    def _damaged(self, name: Name, item: Entered) -> None:
        self.counts.damaged += 1
        self._forget(name, item)

    def _forget(self, name: Name, item: Entered) -> None:
        """Find this very entry no more; its file goes when the keeper comes to it."""
        if (struck := self._store.strike([name], item)) and self._open:
            self._keeper.submit(self._store.remove, struck)

    # --- putting ---

    async def put(self, key: Key, ticket: Ticket, record: Record, body: Body) -> bool:
        if not self._usable() or not fits(record, body, self.limits.max_document):
            return False
        if self._store.purges.refuse(ticket, key):
            return False
        try:
            async with asyncio.timeout(PUT_SECONDS):
                stored = await self._put(key, ticket, record, body)
        except Exception as error:
            self._fault(error)
            return False
        self.counts.stored += stored
        return stored

    async def _put(self, key: Key, ticket: Ticket, record: Record, body: Body) -> bool:
        name = folder_of(key.source), self._keyring.names(key)[0]
        sealer = self._keyring.sealer(name[1], body.size)
        head = sealer.head(record, {})
        end = head + footer(head)
        weight = weight_of(file_size(body.size, head))
        struck = self._store.reserve(weight)
        if struck is None:
            return False
        staged = Staged(self._directory, self._writers)
        try:
            if struck:
                await self._on(self._keeper, self._store.remove, struck)
            await staged.open()
            await self._write(staged, sealer, body, end)
            await staged.close()
        except BaseException:
            self._abandon(staged, weight)
            raise
        # From here on the keeper answers for the file and its room, whether or not anybody waits.
        return await self._on(self._keeper, self._store.commit, staged.name, name, weight, ticket, key)

    async def _write(self, staged: Staged, sealer: Sealer, body: Body, end: bytes) -> None:
        """The whole file; what small documents consist of in one write."""
        number, marks, data = 0, b"", b""
        async for piece in pieces(body, CHUNK):
            if data:
                await staged.write(data)
            sealed = sealer.seal(number, piece)
            number += 1
            if self._keyring.encrypts:
                data = sealed
            else:
                data, marks = piece, marks + sealed[-TAG:]
        await staged.write(data + marks + end)

    def _abandon(self, staged: Staged, weight: int) -> None:
        async def abandoned() -> None:
            await staged.discard()
            with contextlib.suppress(RuntimeError):  # closed meanwhile: the next process removes what is left over
                self._keeper.submit(self._store.abandon, staged.name, weight)

        self._later(abandoned())

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    # --- forgetting ---

    async def drop(self, key: Key) -> None:
        if not self._open:
            return
        try:
            folder = folder_of(key.source)
            struck = self._store.strike([(folder, entry) for entry in self._keyring.names(key)])
            self.counts.dropped += len(struck)
            if struck:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._on(self._keeper, self._store.remove, struck)
        except Exception as error:
            self._fault(error)

    async def purge(self, scope: Scope) -> None:
        if not self._open:
            raise PurgePending("The cache is closed.")
        try:
            self._store.refuse_from_before(scope)
            async with asyncio.timeout(PURGE_SECONDS):
                stuck = await self._on(self._keeper, self._store.purge, scope)
        except (OSError, RuntimeError) as error:
            self._fault(error)
            raise PurgePending(
                f"The cache directory does not answer ({_class_of(error)}); what was purged may still be found."
            ) from None
        if stuck:
            raise PurgePending(
                f"{len(stuck)} files of the cache directory could not be removed; what they hold is served no more, but "
                "the next process would find it."
            )

    async def _sweep(self) -> None:
        try:
            await self._on(self._keeper, self._store.sweep)
        except Exception as error:
            self._fault(error)

    # --- everything else ---

    async def stats(self) -> Stats:
        entries, used = self._store.figures()
        state = "away" if time.monotonic() < self._away_until else "ok"
        return Stats(self.backend, entries, used, self.max_bytes, state)

    def _usable(self) -> bool:
        return self._open and time.monotonic() >= self._away_until

    def _rest(self) -> None:
        """Leave the disk alone for a moment when look-ups keep taking too long."""
        self._slow += 1
        if self._slow >= HUNG:
            self._slow, self._away_until = 0, time.monotonic() + REST

    def _fault(self, error: BaseException) -> None:
        self.counts.faults[_class_of(error)] += 1

    async def _on(
        self,
        executor: Executor,
        function: Callable[..., Result],
        /,
        *arguments: Any,
        undo: Callable[[Result], object] | None = None,
    ) -> Result:
        """Run `function` on a thread, to its end though the waiter is cancelled; then `undo` is given its result."""
        future = executor.submit(function, *arguments)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except BaseException:
            if undo is not None:
                future.add_done_callback(lambda done: _undone(done, undo))
            raise


def _undone(done: Future[Result], undo: Callable[[Result], object]) -> None:
    if not done.cancelled() and done.exception() is None:
        undo(done.result())


def _class_of(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, "OSError")
    return type(error).__name__
