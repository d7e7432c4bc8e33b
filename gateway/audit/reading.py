"""The records of a trail in their order, for people and receivers; what is sealed opened where there is the key. Blocking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.audit.chain import Line
from gateway.audit.keys import AuditKeys, Unreadable
from gateway.audit.segments import Reading, listed


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `id` is the same whenever it is read or sent; `sealed` is what its sealed field holds, None if unreadable."""

    id: str
    event: str
    fields: dict[str, Any]
    sealed: dict[str, Any] | None

    def plain(self) -> dict[str, Any]:
        """All of it in one object, `sealed` opened."""
        rest = {name: value for name, value in self.fields.items() if name not in ("n", "hash", "sealed")}
        return {"record": self.id} | rest | ({"sealed": self.sealed} if self.sealed else {})


def opened(line: Line, keys: AuditKeys) -> Record:
    """The record on `line`."""
    fields = line.fields
    sealed: dict[str, Any] | None = {}
    if "sealed" in fields:
        try:
            sealed = keys.opened(str(fields["sealed"]))
        except Unreadable:
            sealed = None
    return Record(line.id, line.event, fields, sealed)


def records(
    directory: Path,
    keys: AuditKeys,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    holding: bytes = b"",
) -> Iterator[Record]:
    """The records of every file, oldest file first, from `since` on and before `until`; only lines with `holding` in them.

    Raises `Broken` where a chain does not hold, and `OSError`.
    """
    first, last = _text(since), _text(until)
    for segment in listed(directory):
        for line in Reading(directory, segment).lines():
            if holding and holding not in line.text:
                continue
            at = str(line.fields.get("at"))
            if (first is None or at >= first) and (last is None or at < last):
                yield opened(line, keys)


def _text(moment: datetime | None) -> str | None:
    """A moment in UTC as records write it, so that they can be compared as text."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
