"""The trail as the request's path sees it: say what is about to happen, wait until that is durable, say how it ended.

With `closed` nothing is answered that could not be recorded: the request ends as `errors.AUDIT_UNAVAILABLE`. Otherwise it goes
on and the log raises the alarm. `ended` never waits and cannot be cancelled: the record is on its way when it returns.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gateway import errors
from gateway.audit import record
from gateway.audit.feeding import Feed
from gateway.audit.gathering import Gathering
from gateway.audit.keys import AuditKeys
from gateway.audit.record import Act
from gateway.audit.writing import DEFAULTS, Entry, Limits, Writer
from gateway.calls import Call
from gateway.errors import Problem
from gateway.telemetry import Logger

_HANGS = "the disk of the audit trail hangs"


class FileTrail:
    """A trail in files. `patience` in seconds is how long a disk is waited for."""

    def __init__(
        self,
        directory: Path,
        keys: AuditKeys,
        log: Logger,
        *,
        closed: bool = True,
        patience: float = 2.0,
        limits: Limits = DEFAULTS,
        checkpoints: Path | None = None,
        delivered: Callable[[str], bool] = lambda _segment: True,
    ) -> None:
        self.keys = keys
        self.feeds: list[Feed] = []
        self._deliveries: list[asyncio.Task[None]] = []
        self._log = log
        self._closed = closed
        self._patience = patience
        self._sealer = keys.sealer()
        self._process = os.urandom(6).hex()
        self._numbers = itertools.count(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gathering: Gathering | None = None
        self.writer = Writer(
            directory, keys, self._notified, self._reported, limits=limits, checkpoints=checkpoints, delivered=delivered
        )

    async def __aenter__(self) -> FileTrail:
        """Begin to write. Raises `OSError`."""
        self._loop = asyncio.get_running_loop()
        self._gathering = Gathering(self._loop, self.writer.put, patience=self._patience)
        await asyncio.to_thread(self.writer.start)
        return self

    def deliver(self) -> None:
        """Begin to deliver to whoever gets a copy."""
        assert self._loop is not None
        self._deliveries = [self._loop.create_task(feed.run()) for feed in self.feeds]

    async def __aexit__(self, *error: object) -> None:
        for task in self._deliveries:
            task.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)
        if self._gathering is not None:
            self._gathering.close()
        if not await asyncio.to_thread(self.writer.close):
            self._log.error("audit trail was not closed", detail="the disk hangs")

    async def intended(self, call: Call) -> None:
        act = self._act(call)
        body = record.intended(call, act)
        try:
            await self._durable(Entry(body, keep=not self._closed, begins=act.id))
        except Problem:
            # It may be written after all; then it must not stand there as a disclosure whose end nobody knows.
            call.act = None
            self._put(Entry(record.refused(call, errors.AUDIT_UNAVAILABLE, act), ends=act.id))
            raise

    async def looked(self, call: Call) -> None:
        act = self._act(call)
        call.act = None
        await self._durable(Entry(record.looked(call, act), keep=not self._closed, ends=act.id))

    async def refused(self, call: Call, entry: errors.Entry) -> None:
        if entry is errors.AUDIT_UNAVAILABLE:
            return
        act = self._act(call)
        call.act = None
        await self._durable(Entry(record.refused(call, entry, act), ends=act.id))

    def ended(self, call: Call) -> None:
        act = call.act
        if act is not None:
            call.act = None
            self._put(Entry(record.ended(call, call.entry, act), ends=act.id))

    def _act(self, call: Call) -> Act:
        """The act of this request; it stays the same when a document has to be opened a second time."""
        if call.act is None:
            id = f"{self._process}-{next(self._numbers):x}"
            call.act = Act(id, record.fragment(call, id, self.keys.pseudonym, self._sealer.sealed))
        return call.act

    async def _durable(self, entry: Entry) -> None:
        """Wait until the record is durable. Raises `Problem` when it is not and nothing may be answered then."""
        assert self._gathering is not None
        busy = self.writer.busy_since
        if busy is not None and time.monotonic() - busy > self._patience:
            # Nobody else has to wait to find that out.
            failure = _HANGS
            if entry.keep:
                self._put(entry)
        else:
            waiter = self._gathering.waiter()
            self._put(Entry(entry.body, waiter, entry.keep, entry.begins, entry.ends))
            try:
                await waiter
                return
            except TimeoutError:
                failure = _HANGS
            except OSError as error:
                failure = f"the audit trail cannot be written: {error.strerror or error}"
        if self._closed:
            raise Problem(errors.AUDIT_UNAVAILABLE, detail=failure)

    def _put(self, entry: Entry) -> None:
        assert self._gathering is not None
        self._gathering.put(entry)

    def _notified(self, waiters: Sequence[asyncio.Future[None]], error: OSError | None) -> None:
        """Called by the writing thread."""
        assert self._loop is not None
        assert self._gathering is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._gathering.committed, waiters, error)

    def _reported(self, what: str, error: OSError | None) -> None:
        """Called by the writing thread."""
        if error is None:
            self._log.info(f"audit {what} can be written again")
            return
        then = "requests are refused until it can" if self._closed else "requests are answered unrecorded"
        detail = f"{error.strerror or error}; {then}" if what == "trail" else str(error.strerror or error)
        self._log.error(f"audit {what} cannot be written", error=type(error).__name__, detail=detail)

    async def state(self) -> dict[str, Any]:
        """Where it stands, as plain values; nothing of a record."""
        sinks = [await asyncio.to_thread(feed.state) for feed in self.feeds]
        return self.writer.state() | {"fail": "closed" if self._closed else "open", "sinks": sinks}
