"""What the answer to a RetrieveDocumentSet means, as it arrives (ITI-43 and ITI-39; IHE ITI TF-2 3.43 and 3.39).

Rules of this module: no I/O, no clock; the vocabulary of XDS and nothing of MIME or SOAP, which `adapters.xds.soap` reads.
The order of judgement is "document, then errors, then status", where a document without a byte is one only if nothing failed.
No byte is handed out before it is certain that it belongs to the document asked for.

    reader = RetrievalReader(DocumentKey(None, "1.2.3.4.5", "1.2.3.4.5.6^7"), 200, response.headers.get("Content-Type"))
    async for chunk in response.content.iter_any():
        for event in reader.feed(chunk):
            match event:
                case Found():       # once, before the first piece: the document asked for is in the answer
                    facts, held = event.document, event.held
                case bytes():       # a piece of it, 1 byte to 1 MiB
                    ...
                case Held():        # bytes of a document not yet known to be it: keep them under `event.key`. `Found.held`
                    ...             # names the key whose bytes, perhaps none, are all of the document; drop all others
                case _:             # an Outcome, once, and nothing but errors after it
                    outcome = event
    for event in reader.end(complete=True):   # complete: HTTP's own framing says that nothing is missing
        ...                                   # the same events; with its return there was an Outcome

The outcome comes as soon as it is certain, with the document's last byte and mostly before the body's. The caller may then stop
and close the connection; or read on to keep it, within limits, and learn of what contradicts the outcome (a second part with
the id of the document's). `feed` and `end` raise `Malformed`, `LimitExceeded`, `ForbiddenReference` and `WrongDocument`, all of
them `Corrupt`, and nothing else; a reader that raised is finished. `reader.quirks` names what was wrong and forgiven.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.contract import MAX_CHUNK
from adapters.errors import Corrupt
from adapters.xds.locator import DocumentKey
from adapters.xds.retrieval_answer import Answer, Document
from adapters.xds.retrieval_errors import RegistryError
from adapters.xds.soap import Begun, DocumentReader, Ending, Fault, Held, Limits, Malformed, NotSoap, Tolerance
from adapters.xds.soap.document import DocumentEvent


class WrongDocument(Corrupt):
    """The answer holds a document, and it is another than the one asked for: perhaps another patient's. Nothing of it was
    handed out. This needs a person: the repository's index is damaged."""

    def __init__(self) -> None:
        super().__init__("the repository answered with another document than the one asked for: have its index checked")


@dataclass(frozen=True, slots=True)
class Found:
    """The document asked for is in the answer. `held`: all of its bytes are those that were given out under this key."""

    document: Document
    held: int | None


@dataclass(frozen=True, slots=True)
class Whole:
    """All bytes of the document were given out. `size` counts them, without those that were `Held`; 0 is possible."""

    size: int


@dataclass(frozen=True, slots=True)
class Truncated:
    """The answer broke off. `size` bytes of the document had been given out."""

    size: int


@dataclass(frozen=True, slots=True)
class Faulted:
    """The service answered with a SOAP fault."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class NoDocument:
    """The service answered, and its answer holds no document; what it stated, see `Statement`."""

    status: str | None
    errors: tuple[RegistryError, ...]
    deferred: bool

    @property
    def cause(self) -> RegistryError | None:
        """The error that decides: the first that is not a mere warning, else the first."""
        return next((error for error in self.errors if not error.warning), next(iter(self.errors), None))


@dataclass(frozen=True, slots=True)
class Foreign:
    """The body is no SOAP message. `instead` says what it is: "nothing", "HTML" and the like; see `NotSoap`."""

    instead: str


Outcome = Whole | Truncated | Faulted | NoDocument | Foreign
Event = Found | bytes | Held | Outcome


class RetrievalReader:
    """Reads the answer to a request for one document. `status` is HTTP's: only 2xx can bring a document."""

    def __init__(
        self,
        asked: DocumentKey,
        status: int,
        content_type: str | None,
        *,
        limits: Limits | None = None,
        tolerance: Tolerance | None = None,
    ) -> None:
        self._answer = Answer(asked, may_bring=200 <= status < 300)
        self._reader = DocumentReader(content_type, self._answer, limits=limits, tolerance=tolerance)
        self._size = 0
        self._held: set[int] = set()
        self._empty = True
        self._over = False
        self._deaf = False

    @property
    def quirks(self) -> frozenset[str]:
        """What was wrong in the answer and forgiven: words for a counter."""
        return self._reader.quirks | self._answer.quirks

    def feed(self, data: bytes) -> list[Event]:
        """What `data`, the next bytes of the response body, brings."""
        if self._deaf:
            return []
        try:
            return self._events(self._reader.feed(data))
        except NotSoap as error:
            return self._foreign(error)

    def end(self, *, complete: bool) -> list[Event]:
        """What the end of the body brings. `complete` is false when the connection broke, or its end is all that ended it."""
        if self._over:
            return []
        try:
            return self._events(self._reader.end(complete=complete))
        except NotSoap as error:
            return self._foreign(error) if complete or error.instead != "nothing" else [self._finish(Truncated(0))]

    def _events(self, arrived: list[DocumentEvent]) -> list[Event]:
        events: list[Event] = []
        for event in arrived:
            match event:
                case bytes():
                    self._size += len(event)
                    self._empty = False
                    events += _pieces(event)
                case Begun(content, held):
                    self._empty = held not in self._held
                    events.append(Found(self._answer.document(content), held))
                case Held(key, data):
                    self._held.add(key)
                    events += [Held(key, piece) for piece in _pieces(data)]
                case Ending():
                    events.append(self._finish(self._outcome(event)))
        return events

    def _outcome(self, ending: Ending) -> Outcome:
        answer, stated = self._answer, self._answer.statement
        # Stacks that bind XML to objects write an empty element for a document that they do not have.
        nothing = self._empty and (stated.failed or stated.deferred or stated.status not in (None, "Success"))
        if ending is Ending.WHOLE and not nothing:
            return Whole(self._size)
        if ending is Ending.CUT:
            return Truncated(self._size)
        if answer.fault is not None:
            return Faulted(answer.fault)
        if answer.brought_another:
            raise WrongDocument
        if answer.brought_nothing:
            raise Malformed("the answer names the document and does not hold it")
        return NoDocument(stated.status, tuple(stated.errors), stated.deferred)

    def _finish(self, outcome: Outcome) -> Outcome:
        self._over = True
        return outcome

    def _foreign(self, error: NotSoap) -> list[Event]:
        self._deaf = True
        return [self._finish(Foreign(error.instead))]


def _pieces(data: bytes) -> list[bytes]:
    if len(data) <= MAX_CHUNK:
        return [data]
    return [data[start : start + MAX_CHUNK] for start in range(0, len(data), MAX_CHUNK)]
