"""One file of the trail while it is written: records are appended whole and durable, or not at all.

Blocking, and for the writing thread alone. After a failed `fdatasync` the kernel may have dropped what it said it had, so the
state of the file is not known: it is given up (`lost`), and the chain goes on in a new one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway.audit import chain, record
from gateway.audit.chain import Checkpoint
from gateway.audit.keys import AuditKeys
from gateway.audit.recovery import ends_closed, recovered
from gateway.audit.segments import Reading, Segment, alive, created, listed, locked, synced


class OpenSegment:
    """A file of this process, locked."""

    def __init__(self, directory: Path, segment: Segment, descriptor: int) -> None:
        self.name = segment.name
        self.path = segment.path(directory)
        self.number = self.size = self.base = 0
        self.digest = chain.beginning(segment.name)
        self.began = time.monotonic()
        self.vouched = -1
        self.lost = False
        self._descriptor = descriptor

    @property
    def last(self) -> int:
        """The number of the last durable record, -1 for none."""
        return self.number - 1

    @property
    def grown(self) -> int:
        """Bytes beyond what the file began with."""
        return self.size - self.base

    def append(self, bodies: Sequence[bytes]) -> None:
        """Write these records behind the last one and make them durable. Raises `OSError`; then none of them counts."""
        lines = []
        number, digest = self.number, self.digest
        for body in bodies:
            line, digest = chain.written(number, body, digest)
            number += 1
            lines.append(line)
        data = b"".join(lines)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            try:
                os.ftruncate(self._descriptor, self.size)
            except OSError:
                self.let_go(lost=True)
            raise
        try:
            os.fdatasync(self._descriptor)
        except OSError:
            self.let_go(lost=True)
            raise
        self.number, self.digest, self.size = number, digest, self.size + len(data)

    def vouch(self, keys: AuditKeys) -> Checkpoint | None:
        """Sign how far the chain has come, and append that; None when nothing was written since. Raises `OSError`."""
        if self.last <= self.vouched:
            return None
        head, at = self.digest.hex(), record.now()
        signature = keys.sign(chain.statement(self.name, self.last, head, at))
        made = Checkpoint(self.name, self.last, head, at, signature, keys.public.hex())
        self.append([record.own("checkpoint", **asdict(made))])
        self.vouched = self.last
        return made

    def finish(self, keys: AuditKeys) -> Checkpoint | None:
        """Say that the file ends here and let it go; the signed statement of its end. Raises `OSError`."""
        made = self.vouch(keys)
        self.append([record.own("closed")])
        self.let_go()
        return made

    def let_go(self, *, lost: bool = False) -> None:
        """Close the file, which lets its lock go. `lost`: what is in it is not known."""
        self.lost = self.lost or lost
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)


def begun(directory: Path, keys: AuditKeys, acts: Mapping[str, bytes]) -> OpenSegment:
    """A new file: what it follows, what crashed processes left, what this process has under way. Raises `OSError`.

    `acts` are the disclosures under way, whose records are repeated, so that each file can be understood alone.
    """
    with locked(directory):
        before = listed(directory)
        beside = [one.name for one in before if not ends_closed(directory, one) and alive(directory, one)]
        left = list(recovered(directory, before, under_way=acts))
        file = OpenSegment(directory, *created(directory))
        opened = record.own(
            "opened",
            segment=file.name,
            previous=_first(directory, before[-1]) if before else None,
            beside=beside,
            public=keys.public.hex(),
            pid=os.getpid(),
        )
        try:
            file.append([opened, *left, *acts.values()])
            file.base = file.size
            synced(directory)
        except OSError:
            # Nothing of it counts; a disk that stays full must not fill with empty files.
            file.let_go(lost=True)
            file.path.unlink(missing_ok=True)
            raise
        return file


def _first(directory: Path, segment: Segment) -> dict[str, Any]:
    """The name and the first hash of a file: what its successor holds on to. No hash when it has no whole line."""
    with suppress(chain.Broken):
        for line in Reading(directory, segment).lines():
            return {"segment": segment.name, "hash": line.digest.hex()}
    return {"segment": segment.name, "hash": ""}
