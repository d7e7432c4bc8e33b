"""Whether a trail is whole: every line where it belongs, every file where it belongs, every signed statement true.

What this proves: nothing was changed, put in, taken out or cut off up to the last checkpoint that was signed, or that the
caller kept elsewhere and brings along. What it cannot prove: what happened behind that one, on a machine whose files somebody
can write. Needs no secret, only the public key. One torn last line of a file whose process was killed is not a break.
Blocking.

The chain needs no secret to be written, so what a file says excuses nothing by itself: a file that is gone only one that a
signed checkpoint covers, an end that is missing only the first file begun afterwards, and a file that was closed was signed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from gateway.audit.chain import Checkpoint, Line, beginning
from gateway.audit.keys import signed_by
from gateway.audit.recovery import FIRST_EVENTS
from gateway.audit.segments import Broken, Reading, Segment, alive, listed


@dataclass(slots=True)
class SegmentVerdict:
    """What was found out about one file. `state`: closed, live (its process runs), ended (its process was killed).

    `vouched` is the last record that a signed checkpoint covers, -1 for none.
    """

    name: str
    state: str = "ended"
    records: int = 0
    first: str = ""
    head: str = ""
    torn: int = 0
    vouched: int = -1
    breaks: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Verdict:
    """What was found out about a trail. `breaks` say what is wrong, `gaps` what the gateway itself says it could not write."""

    segments: list[SegmentVerdict] = field(default_factory=list)
    breaks: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    removed: int = 0

    @property
    def whole(self) -> bool:
        return not (self.breaks or self.gaps or any(one.breaks for one in self.segments))

    @property
    def records(self) -> int:
        return sum(one.records for one in self.segments)


class _Statements:
    """What files say about each other."""

    def __init__(self) -> None:
        self.follows: dict[str, Mapping[str, Any] | None] = {}
        self.beside: dict[str, Collection[str]] = {}
        self.recovered: dict[str, Mapping[str, Any]] = {}
        self.removed: dict[str, Mapping[str, Any]] = {}
        self.unsigned: list[tuple[int, str, Mapping[str, Any]]] = []
        self.tellers: dict[str, str] = {}
        self.brief: set[str] = set()
        self.outside: dict[str, list[Checkpoint]] = {}


def verify(directory: Path, public: bytes, checkpoints: Iterable[Checkpoint] = ()) -> Verdict:
    """Judge the trail in `directory`. `checkpoints` are those kept elsewhere. Raises `OSError`."""
    verdict, said = Verdict(), _Statements()
    for checkpoint in checkpoints:
        if checkpoint.public != public.hex() or not signed_by(public, checkpoint.statement, checkpoint.signature):
            verdict.breaks.append(f"a checkpoint for {checkpoint.segment} was not signed with the key of this trail")
        else:
            said.outside.setdefault(checkpoint.segment, []).append(checkpoint)
    segments = listed(directory)
    verdict.segments = [_segment(directory, segment, public, said, verdict) for segment in segments]
    verdict.removed = len(said.removed)
    verdict.breaks += _missing(segments, said)
    by_name = {one.name: one for one in verdict.segments}
    for one in verdict.segments:
        one.breaks += _against_the_rest(one, said, by_name)
    for before, one in pairwise(verdict.segments):
        follows = said.follows.get(one.name)
        if one.records and (follows is None or follows.get("segment") != before.name):
            one.breaks.append(f"the file before it, {before.name}, is not the one that was there when it was begun")
    return verdict


def _segment(directory: Path, segment: Segment, public: bytes, said: _Statements, verdict: Verdict) -> SegmentVerdict:
    found = SegmentVerdict(segment.name)
    outside = {one.last: one for one in said.outside.get(segment.name, ())}
    # Asked before reading: what is closed while it is read was live.
    live = alive(directory, segment)
    said.brief.add(segment.name)
    reading = Reading(directory, segment)
    last = ""
    try:
        for line in reading.lines():
            if last == "closed":
                raise Broken(f"record {line.number} stands behind the record that closes the file")
            if line.event not in FIRST_EVENTS:
                said.brief.discard(segment.name)
            last = line.event
            found.records, found.head = line.number + 1, line.digest.hex()
            found.first = found.first or found.head
            found.breaks += _statement(line, found, public, said, verdict)
            vouched = outside.pop(line.number, None)
            if vouched is not None:
                found.vouched = max(found.vouched, line.number)
                if vouched.head != found.head:
                    found.breaks.append(
                        f"record {line.number} is not the one that a checkpoint kept elsewhere vouches for"
                    )
    except Broken as broken:
        found.breaks.append(f"at byte {reading.offset}: {broken}")
    found.torn = reading.torn
    found.state = "live" if live else "closed" if last == "closed" else "ended"
    if last == "closed" and found.vouched < found.records - 3 and not found.breaks:
        found.breaks.append("it was closed, and no signed checkpoint says how it ended")
    for number, name, facts in said.unsigned:
        if live or number <= found.vouched:
            said.removed[name] = facts
    said.unsigned.clear()
    if found.torn and last == "closed":
        found.breaks.append(f"{found.torn} bytes stand behind the record that closes the file")
    for missing in sorted(outside):
        found.breaks.append(f"record {missing}, which a checkpoint kept elsewhere vouches for, is missing")
    return found


def _statement(line: Line, found: SegmentVerdict, public: bytes, said: _Statements, verdict: Verdict) -> Iterator[str]:
    """Take note of what a record says about files, and judge it where it stands."""
    fields = line.fields
    match line.event:
        case "opened" if line.number == 0:
            said.follows[found.name] = fields.get("previous")
            said.beside[found.name] = fields.get("beside") or ()
        case "opened":
            yield f"record {line.number} begins a file, and stands inside one"
        case "recovered":
            said.recovered[str(fields.get("segment"))] = fields
            said.tellers[str(fields.get("segment"))] = found.name
        case "removed":
            said.unsigned.append((line.number, str(fields.get("segment")), fields))
        case "gap":
            verdict.gaps.append(
                f"{found.name}: {fields.get('lost')} records before record {line.number} could not be written"
            )
        case "checkpoint":
            yield from _checkpoint(line, found, public)
    if line.number == 0 and line.event != "opened":
        yield "the first record does not begin a file"


def _checkpoint(line: Line, found: SegmentVerdict, public: bytes) -> Iterator[str]:
    try:
        names = Checkpoint.__dataclass_fields__
        checkpoint = Checkpoint(**{name: line.fields[name] for name in names})
        genuine = signed_by(public, checkpoint.statement, checkpoint.signature)
    except (KeyError, TypeError):
        genuine = False
    if not genuine:
        yield f"the checkpoint in record {line.number} was not signed with the key of this trail"
    elif (
        checkpoint.segment != found.name or checkpoint.last != line.number - 1 or checkpoint.head != line.previous.hex()
    ):
        yield f"the checkpoint in record {line.number} vouches for something else than what stands before it"
    else:
        found.vouched = line.number - 1


def _missing(segments: list[Segment], said: _Statements) -> Iterator[str]:
    """Files that are not there, and do not have to be looked for elsewhere."""
    if not segments:
        yield "there are no files"
        return
    numbers = {segment.number for segment in segments}
    gone = {int(name.partition("-")[0]) for name in said.removed if name.partition("-")[0].isdigit()}
    for number in range(1, max(numbers)):
        if number not in numbers | gone and not _before_all(number, gone):
            yield f"file {number:08d} is missing"
    for name in said.outside:
        if name not in {segment.name for segment in segments} | said.removed.keys():
            yield f"the file {name}, which a checkpoint kept elsewhere vouches for, is missing"


def _before_all(number: int, gone: set[int]) -> bool:
    """Whether retention took this file before the oldest that is still spoken of: it takes them in order."""
    return bool(gone) and number < min(gone)


def _against_the_rest(one: SegmentVerdict, said: _Statements, by_name: Mapping[str, SegmentVerdict]) -> Iterator[str]:
    """Hold a file against what others say about it, and about the one before it."""
    recovered = said.recovered.get(one.name)
    passed = _passed_over(one.name, said)
    if recovered is not None:
        if passed is not None:
            yield f"its end was cut off: the file {passed}, begun after it, found it closed"
        if recovered.get("broken"):
            yield f"it was broken already when the next process began: {recovered['broken']}"
        elif (recovered.get("last"), recovered.get("head")) != (one.records - 1, one.head or _nothing(one.name)):
            yield f"it ended with record {recovered.get('last')} when the next process began, and does not now"
    elif one.state == "ended" and passed is not None:
        yield "its end was cut off: it is not closed, and no later process found it so"
    before = said.follows.get(one.name)
    if before is None:
        return
    name = str(before.get("segment"))
    first = by_name[name].first if name in by_name else str(said.removed.get(name, {}).get("first", before.get("hash")))
    if first != before.get("hash"):
        yield f"the file before it, {name}, does not begin as it did when this one was begun"


def _passed_over(name: str, said: _Statements) -> str | None:
    """The file begun after this one that would have told that its process was killed, and did not.

    Where another one told it, only those before that one count; a process that was killed while it told is no witness.
    """
    teller = said.tellers.get(name)
    for later in sorted(said.beside):
        witness = later < teller and later not in said.brief if teller is not None else True
        if name < later and witness and name not in said.beside[later]:
            return later
    return None


def _nothing(segment: str) -> str:
    return beginning(segment).hex()
