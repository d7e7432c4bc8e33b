"""Delivery of the trail to one receiver: at least once, in the order of each file, for as long as it takes.

Records are read from the files, so a receiver that is away costs nothing but disk, and a crash loses nothing: what was not
acknowledged is sent again, under the same id. `intended` is not sent; what became of it is. A record that the receiver
refuses again and again is set aside and told about, since everything behind it would wait for ever.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from gateway.audit.keys import AuditKeys
from gateway.audit.positions import Position, Positions
from gateway.audit.reading import Record, opened
from gateway.audit.recovery import ends_closed
from gateway.audit.segments import Broken, Reading, Segment, alive, listed
from gateway.telemetry import Logger

POLL_SECONDS = 0.25
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
AT_ONCE = 200
REFUSALS = 5
"""How often a record is refused before it is set aside."""


class Away(Exception):
    """The receiver cannot be reached, or cannot take anything now; the text says why."""


class Refused(Exception):
    """The receiver does not take this one record; the text says why, in the receiver's status alone."""


class Receiver(Protocol):
    """Who gets records."""

    async def send(self, records: Sequence[Record]) -> int:
        """Send them in order and say how many, from the first on, were taken. Raises `Away`, and `Refused` for the first."""

    async def close(self) -> None:
        """Let the connection go."""


@dataclass(frozen=True, slots=True)
class _Batch:
    segment: str
    records: Sequence[Record]
    positions: Sequence[Position]
    end: Position


class Feed:
    """Delivers to one receiver. `durable` says how far a file of this process may be read, None for all of it."""

    def __init__(
        self,
        name: str,
        directory: Path,
        keys: AuditKeys,
        receiver: Receiver,
        log: Logger,
        *,
        durable: Callable[[str], int | None] = lambda _segment: None,
        own: Callable[[str], bool] = lambda _segment: False,
    ) -> None:
        self.name = name
        self._directory = directory
        self._keys = keys
        self._receiver = receiver
        self._log = log.bind(endpoint=name)
        self._durable = durable
        self._own = own
        self._positions = Positions(directory, name)
        self._pause = FIRST_PAUSE
        self._refusals = 0
        self.sent = self.set_aside = 0
        self.away: str | None = None

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while True:
                try:
                    busy = await self._round()
                except (Away, OSError) as error:
                    await self._wait(error)
                except Exception as error:
                    # A defect must not end the delivery unnoticed; its message may quote a record.
                    await self._wait(Away(f"delivery failed: {type(error).__name__}"))
                else:
                    if not busy:
                        await asyncio.sleep(POLL_SECONDS)
        finally:
            await self._receiver.close()
            self._positions.release()

    async def _round(self) -> bool:
        """Deliver one lot. False when there is none."""
        batch = await asyncio.to_thread(self._next)
        if batch is None:
            return False
        taken = 0
        try:
            taken = await self._receiver.send(batch.records) if batch.records else 0
        except Refused as refusal:
            taken = await self._refused(batch, refusal)
        except (ValueError, TypeError, KeyError) as error:
            # A record that cannot be put into words for this receiver must not keep back all that follow.
            taken = await self._unsayable(batch, error)
        else:
            self._refusals = 0
        self.sent += taken
        if taken == len(batch.records):
            await asyncio.to_thread(self._positions.write, batch.segment, batch.end)
            if batch.end.done:
                self._positions.release(batch.segment)
        elif taken:
            await asyncio.to_thread(self._positions.write, batch.segment, batch.positions[taken - 1])
        if self.away is not None:
            self._log.info("audit receiver is back")
        self.away, self._pause = None, FIRST_PAUSE
        return True

    async def _unsayable(self, batch: _Batch, error: Exception) -> int:
        """Send the records one by one, to find the one that cannot be written for this receiver and set it aside."""
        if len(batch.records) > 1:
            return await self._one(batch)
        raise_as = Refused(f"it cannot be written: {type(error).__name__}")
        return await self._refused(batch, raise_as)

    async def _one(self, batch: _Batch) -> int:
        first = _Batch(batch.segment, batch.records[:1], batch.positions[:1], batch.positions[0])
        try:
            return await self._receiver.send(first.records)
        except (ValueError, TypeError, KeyError) as error:
            return await self._unsayable(first, error)

    async def _refused(self, batch: _Batch, refusal: Refused) -> int:
        self._refusals += 1
        if self._refusals < REFUSALS:
            raise Away(f"a record was refused: {refusal}") from refusal
        self._refusals = 0
        self.set_aside += 1
        record = batch.records[0].id
        await asyncio.to_thread(self._positions.set_aside, record, str(refusal))
        self._log.error("audit record was refused and set aside", detail=f"{record}: {refusal}")
        return 1

    async def _wait(self, error: Exception) -> None:
        if self.away is None:
            self._log.warning("audit receiver is away", error=type(error).__name__, detail=str(error))
        self.away = str(error)
        await asyncio.sleep(self._pause * random.uniform(0.75, 1.25))  # noqa: S311 - jitter, no secret
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    # --- in a thread -------------------------------------------------------------------------------------------------

    def _next(self) -> _Batch | None:
        """The next lot of the oldest file that has one and that nobody else delivers."""
        segments = listed(self._directory)
        self._positions.forget(segment.name for segment in segments)
        for segment in segments:
            if self._positions.read(segment.name).done:
                continue
            own = self._own(segment.name)
            if not own and alive(self._directory, segment):
                continue
            if self._positions.claimed(segment.name):
                batch = self._lot(segment, live=own and not ends_closed(self._directory, segment))
                if batch is not None:
                    return batch
        return None

    def _lot(self, segment: Segment, *, live: bool) -> _Batch | None:
        at = self._positions.read(segment.name)
        reading = Reading(self._directory, segment, at.number, at.offset, bytes.fromhex(at.digest))
        limit = self._durable(segment.name)
        records: list[Record] = []
        positions: list[Position] = []
        end, done = at, False
        try:
            for line in reading.lines(limit):
                end = Position(line.number + 1, line.stop, line.digest.hex())
                if line.event != "intended":
                    records.append(opened(line, self._keys))
                    positions.append(end)
                if len(records) >= AT_ONCE:
                    return _Batch(segment.name, records, positions, end)
            done = limit is None and not live
        except Broken as broken:
            self._log.error("audit trail is broken", detail=f"{segment.name}: {broken}")
            done = True
        if end == at and not done:
            return None
        return _Batch(segment.name, records, positions, Position(end.number, end.offset, end.digest, done))

    def state(self) -> dict[str, Any]:
        """How it stands, as plain values. Blocking."""
        waiting, oldest, since = 0, None, 0.0
        for segment in listed(self._directory):
            at = self._positions.read(segment.name)
            size = segment.path(self._directory).stat().st_size
            if not at.done and size > at.offset:
                waiting += size - at.offset
                if oldest is None:
                    oldest, since = segment.name, self._waited(segment, at)
        word = "delivering" if self.away is None else "away"
        facts = {"name": self.name, "state": word, "sent": self.sent, "waiting_bytes": waiting, "oldest": oldest}
        return facts | {"waiting_seconds": since, "set_aside": self.set_aside, "detail": self.away}

    def _waited(self, segment: Segment, at: Position) -> float:
        """For how many seconds the next record of this file has waited."""
        reading = Reading(self._directory, segment, at.number, at.offset, bytes.fromhex(at.digest))
        try:
            line = next(reading.lines(self._durable(segment.name)), None)
            written = datetime.fromisoformat(str(line.fields["at"])) if line is not None else None
        except (Broken, KeyError, ValueError):
            return 0.0
        return 0.0 if written is None else max(0.0, (datetime.now(UTC) - written).total_seconds())
