"""Finding the one document that was asked for in a SOAP answer, and handing out its bytes as they arrive.

Rules of this module: not a byte is handed out as the document's before it is certain that it is. Whose a document is, the
envelope says, and a `Meaning` reads; which bytes it has, this module finds. What arrives before that is known is given out as
`Held`, to be kept by a caller who knows where there is room.

A service that answers with one document and no identifiers needs no more meaning than this:

    class Letter:
        content = frozenset({"{*}getLetterResult"})

        def read(self, event): ...          # a marker for "no such letter", a media type

        def wanted(self, content):
            return content == 0
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from adapters.xds.mtom import LimitExceeded, Malformed, Part, PartEnd, matches, names_part
from adapters.xds.soap.events import Closed, ContentClosed, ContentOpened, EnvelopeClosed, Opened, Reference
from adapters.xds.soap.fault import Fault
from adapters.xds.soap.limits import Limits, Tolerance
from adapters.xds.soap.message import MessageEvent, MessageReader

_TWO_PARTS = "two parts of the answer have the id of the document's part"


class Meaning(Protocol):
    """What one service's envelopes mean.

    `content` names the elements that hold documents, as for `EnvelopeReader`.
    """

    @property
    def content(self) -> frozenset[str]: ...

    def read(self, event: Opened | Closed | Fault | ContentOpened) -> None:
        """Everything small that the envelope says, in its order."""

    def wanted(self, content: int) -> bool | None:
        """Whether this is the document asked for; None while the envelope has not said it.

        Asked when the document begins, and again when the envelope is whole; None then means no.
        """


@dataclass(frozen=True, slots=True)
class Begun:
    """The document's bytes follow. `held`: those that were given out under this key belong to it, and are all of them.

    `part` is the part that it came in, None for a document in the envelope.
    """

    content: int
    held: int | None = None
    part: Part | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes, never empty, of a document that may turn out to be the one asked for."""

    key: int
    data: bytes


class Ending(enum.Enum):
    """How it went; the last event."""

    WHOLE = enum.auto()
    """All bytes of the document were handed out."""
    ABSENT = enum.auto()
    """The envelope is whole, and no document in it is the one asked for."""
    CUT = enum.auto()
    """The answer broke off, before the document or within it."""


DocumentEvent = Begun | bytes | Held | Ending


@dataclass(slots=True)
class _Content:
    """An element that holds a document: `name` is the id of the part that it refers to, `key` that of bytes held."""

    name: str | None = None
    key: int | None = None


@dataclass(slots=True)
class _HeldPart:
    key: int
    part: Part
    cut: bool = False


class DocumentReader:
    """Reads one response body. `feed` and `end` raise `Malformed`, `LimitExceeded` and `ForbiddenReference`.

    Events come in this order: any `Held`; `Begun`, then its bytes; one `Ending`. After that only errors.
    """

    def __init__(
        self,
        content_type: str | None,
        meaning: Meaning,
        *,
        limits: Limits | None = None,
        tolerance: Tolerance | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._tolerance = tolerance or Tolerance()
        self._meaning = meaning
        self._message = MessageReader(content_type, meaning.content, limits=self._limits, tolerance=self._tolerance)
        self._quirks: set[str] = set()
        self._contents: list[_Content] = []
        self._held: list[_HeldPart] = []
        self._keys = 0
        self._skipped = 0
        self._chosen: int | None = None
        self._begun = False
        self._judged = False
        self._streaming = False
        self._ending: Ending | None = None
        self._sink: Callable[[bytes, list[DocumentEvent]], None] = self._skip

    @property
    def quirks(self) -> frozenset[str]:
        """What was wrong and forgiven: words for a counter."""
        return self._message.quirks | self._quirks

    def feed(self, data: bytes) -> list[DocumentEvent]:
        """What `data`, the next bytes of the body, brings."""
        return self._read(self._message.feed(data))

    def end(self, *, complete: bool) -> list[DocumentEvent]:
        """What the end of the body brings. `complete`: it is certain that the transport lost nothing."""
        events = self._read(self._message.end(complete=complete))
        if self._ending is None:
            self._last(complete or self._message.closed, events)
        return events

    def _read(self, arrived: list[MessageEvent]) -> list[DocumentEvent]:
        events: list[DocumentEvent] = []
        for event in arrived:
            match event:
                case bytes():
                    self._sink(event, events)
                case ContentOpened(content):
                    self._meaning.read(event)
                    self._open(content)
                case Reference(content, href):
                    self._contents[content].name = names_part(href)
                case ContentClosed():
                    self._sink = self._skip
                case EnvelopeClosed():
                    self._judge(events)
                case Part():
                    self._open_part(event, events)
                case PartEnd():
                    self._close_part(event, events)
                case _:
                    self._meaning.read(event)
        return events

    # --- where bytes go ---

    def _skip(self, data: bytes, events: list[DocumentEvent]) -> None:
        self._skipped += len(data)
        if self._skipped > self._limits.skipped:
            raise LimitExceeded("bytes that were not asked for", self._limits.skipped)

    def _hold(self, data: bytes, events: list[DocumentEvent]) -> None:
        events.append(Held(self._keys, data))

    def _give(self, data: bytes, events: list[DocumentEvent]) -> None:
        events.append(data)

    def _begin_inline(self, data: bytes, events: list[DocumentEvent]) -> None:
        self._begin(events)
        self._sink = self._give
        events.append(data)

    def _begin(self, events: list[DocumentEvent], held: int | None = None, part: Part | None = None) -> None:
        assert self._chosen is not None
        self._begun = True
        events.append(Begun(self._chosen, held, part))

    def _finish(self, ending: Ending, events: list[DocumentEvent]) -> None:
        self._ending = ending
        events.append(ending)

    # --- what the envelope says ---

    def _open(self, content: int) -> None:
        opened = _Content()
        self._contents.append(opened)
        match self._meaning.wanted(content):
            case True:
                self._choose(content)
                self._sink = self._begin_inline
            case None if self._chosen is None:
                self._keys += 1
                opened.key = self._keys
                self._sink = self._hold
            case _:
                self._sink = self._skip

    def _choose(self, content: int) -> None:
        if self._chosen not in (None, content):
            raise Malformed("the answer holds two documents with the id asked for")
        self._chosen = content

    def _judge(self, events: list[DocumentEvent]) -> None:
        """The envelope is whole."""
        self._judged = True
        for content in range(len(self._contents)):
            if self._meaning.wanted(content):
                self._choose(content)
        if self._chosen is None:
            self._finish(Ending.ABSENT, events)
            return
        chosen = self._contents[self._chosen]
        if chosen.name is None:
            if not self._begun:
                self._begin(events, held=chosen.key)
            self._finish(Ending.WHOLE, events)
            return
        if sum(other.name is not None and matches(chosen.name, other.name) for other in self._contents) > 1:
            raise Malformed("two documents refer to one part")
        match [held for held in self._held if matches(chosen.name, held.part.content_id)]:
            case [held]:
                self._begin(events, held.key, held.part)
                self._finish(Ending.WHOLE, events)
            case [_, _, *_]:
                raise Malformed(_TWO_PARTS)

    # --- parts ---

    def _open_part(self, part: Part, events: list[DocumentEvent]) -> None:
        chosen = None if self._chosen is None else self._contents[self._chosen]
        fits = self._judged and chosen is not None and chosen.name is not None and matches(chosen.name, part.content_id)
        if self._ending is not None:
            if fits:
                raise Malformed(_TWO_PARTS)
        elif fits:
            self._begin(events, part=part)
            self._streaming = True
            self._sink = self._give
        elif not self._judged or self._may_be_lone():
            self._keys += 1
            self._held.append(_HeldPart(self._keys, part))
            self._sink = self._hold

    def _close_part(self, end: PartEnd, events: list[DocumentEvent]) -> None:
        self._sink = self._skip
        if self._streaming:
            self._streaming = False
            self._finish(Ending.CUT if end is PartEnd.CUT else Ending.WHOLE, events)
        elif self._held:
            self._held[-1].cut = end is PartEnd.CUT

    def _may_be_lone(self) -> bool:
        return self._tolerance.lone_part and sum(content.name is not None for content in self._contents) == 1

    def _last(self, whole: bool, events: list[DocumentEvent]) -> None:
        """The body ended before the document did."""
        if not self._judged:
            if self._message.closed:
                raise Malformed("no part of the answer holds a SOAP envelope")
            self._finish(Ending.CUT, events)
        elif self._may_be_lone() and len(self._held) == 1 and whole and not self._held[0].cut:
            self._quirks.add("lone-part")
            self._begin(events, self._held[0].key, self._held[0].part)
            self._finish(Ending.WHOLE, events)
        elif whole:
            raise Malformed("the document is said to be in a part that the answer does not have")
        else:
            self._finish(Ending.CUT, events)
