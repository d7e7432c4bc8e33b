"""One document as it arrives: found in an answer, looked at as far as it is there, and handed on piece by piece.

Rules of this module: "document, then errors, then status", as `retrieval` tells it. What can be known before the first piece is
known then: a short document has arrived as a whole, and what is wrong with it costs an error and no broken letter. A document
that ends without an error is whole. It handles bytes and outcomes; what is stated about a document is not its business.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Mapping

from adapters.contract import Digest
from adapters.errors import Corrupt, TimedOut, Unavailable
from adapters.xds.failures import refused_by_fault
from adapters.xds.options import Meaning
from adapters.xds.outcome import deciding, refused
from adapters.xds.retrieval import (
    Faulted,
    Foreign,
    Found,
    NoDocument,
    Outcome,
    RetrievalReader,
    Truncated,
    Whole,
)
from adapters.xds.retrieval_answer import Document
from adapters.xds.service import Answer
from adapters.xds.soap import Held, Malformed
from adapters.xds.spool import LARGEST, Spool

LOOK_AHEAD = 64 << 10
PATIENCE = 0.025
"""Bytes of a document that are waited for before the first is handed on, and for how many seconds."""

MOST_HELD = 8
"""Documents that may be the one, kept until the answer says which is: a request for one has no use for more."""

DRAIN_BYTES = 256 << 10
DRAIN_SECONDS = 1.0
"""How much more of an answer is read when the document is whole, and for how long: its connection can then be kept."""

_HTTP_FIRST = frozenset({401, 403, 407, 429, 502, 503, 504})
"""Statuses that say more than the fault that may come with them."""


class Arrival:
    """The answer to one request. `begin` is called once, then `next` until it gives b""; `close` at any time."""

    def __init__(
        self,
        answer: Answer,
        reader: RetrievalReader,
        *,
        spool: Callable[[], Spool],
        most: int | None,
        corrections: Mapping[str, Meaning],
        size: int | None = None,
        digest: Digest | None = None,
    ) -> None:
        self._answer = answer
        self._reader = reader
        self._spool = spool
        self._most = most
        self._corrections = corrections
        self._due = size
        self._digest = digest
        self._held: dict[int, Spool] = {}
        self._waiting: Spool | None = None
        self._ready: deque[bytes] = deque()
        self._received = 0
        self._document: Document | None = None
        self._outcome: Outcome | None = None
        self._ended = False

    @property
    def quirks(self) -> frozenset[str]:
        """What was wrong in the answer and forgiven."""
        return self._reader.quirks

    @property
    def size(self) -> int | None:
        """The document's size in bytes, once it is there as a whole."""
        return self._received if isinstance(self._outcome, Whole) else None

    @property
    def code(self) -> str | None:
        """The error code that says why there is no document; None where the answer has none."""
        cause = deciding(self._outcome.errors) if isinstance(self._outcome, NoDocument) else None
        return None if cause is None else cause.code

    async def begin(self, *, wait_for_all: bool) -> Document:
        """What the answer states about the document. Raises what the answer says went wrong.

        `wait_for_all`: return only when the document is there as a whole. One that is has the size and the digest that were
        given, else `Corrupt` is raised.
        """
        try:
            while self._document is None and self._outcome is None:
                await self._pump()
            if wait_for_all:
                await self._wait_for_all()
            else:
                await self._look_ahead()
        except Malformed as error:
            if self._answer.refusal is not None:
                raise self._answer.refusal from error
            raise
        if self._outcome is not None:
            self._judge()
            await self._verify()
            await self._drain()
        assert self._document is not None
        return self._document

    async def next(self) -> bytes:
        """The next piece, b"" after the last. Raises `Corrupt`, `Unavailable`, `TimedOut`."""
        while not self._ready:
            if self._waiting is not None and (data := await self._waiting.read()):
                return data
            if self._outcome is not None:
                self._judge()
                await self._drain()
                return b""
            await self._pump()
        return self._ready.popleft()

    def close(self) -> None:
        """Give back what was kept. The answer itself is its owner's to close."""
        for spool in (*self._held.values(), *((self._waiting,) if self._waiting else ())):
            spool.close()
        self._held.clear()

    # --- what arrives ----------------------------------------------------------------------------------------------

    async def _pump(self) -> int:
        """Take in the next bytes of the answer; how many there were."""
        data = await self._answer.read()
        self._ended = not data
        if self._ended and self._document is not None and self._outcome is None:
            await self._answer.settle()
        for event in self._reader.feed(data) if data else self._reader.end(complete=self._answer.framed):
            match event:
                case bytes():
                    self._take(event)
                case Held(key, held):
                    await self._hold(key, held)
                case Found(document, key):
                    self._document = document
                    self._adopt(key)
                case _:
                    self._outcome = event
        return len(data)

    def _take(self, piece: bytes) -> None:
        self._received += len(piece)
        if self._most is not None and self._received > self._most:
            raise Corrupt(f"the document has more than the {self._most} bytes that `max_document` allows")
        self._ready.append(piece)

    async def _hold(self, key: int, data: bytes) -> None:
        if key not in self._held:
            if len(self._held) == MOST_HELD:
                raise Corrupt(f"the answer brings more than {MOST_HELD} documents before it says which they are")
            self._held[key] = self._spool()
        await self._held[key].write(data)
        if sum(spool.size for spool in self._held.values()) > (self._most or LARGEST):
            raise Corrupt("the answer brings more before its envelope than may be kept (`max_document`)")

    def _adopt(self, key: int | None) -> None:
        """The document's bytes are those that were held under `key`."""
        kept = None if key is None else self._held.pop(key, None)
        for spool in self._held.values():
            spool.close()
        self._held.clear()
        if kept is not None:
            self._waiting = kept
            self._received += kept.size

    async def _look_ahead(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while self._outcome is None and self._received < LOOK_AHEAD:
                    await self._pump()
        except TimeoutError:
            pass  # slow, and that is no error

    async def _wait_for_all(self) -> None:
        if self._waiting is None:
            self._waiting = self._spool()
        while True:
            while self._ready:
                await self._waiting.write(self._ready.popleft())
            if self._outcome is not None:
                return
            await self._pump()

    # --- what became of it -----------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Raise what the outcome says, unless the document is whole."""
        answer = self._answer
        match self._outcome:
            case Truncated():
                if answer.framed:
                    raise Corrupt("the answer ended before the document did")
                raise Unavailable("the connection ended before the document did")
            case Faulted(fault):
                meant = refused_by_fault(fault)
                if type(meant) is Corrupt and answer.status in _HTTP_FIRST:
                    meant = answer.refusal or meant
                raise meant
            case NoDocument(status, errors, deferred):
                if not errors and not deferred and answer.refusal is not None:
                    raise answer.refusal
                raise refused(status, errors, deferred=deferred, corrections=self._corrections)
            case Foreign(instead):
                raise answer.refusal or Corrupt(
                    f"the service answered with {instead} in place of a SOAP message: correct `url`, or see what stands "
                    "between the gateway and the repository"
                )

    async def _verify(self) -> None:
        """Raise `Corrupt` when the whole document is not what it was said to be."""
        if self._due is not None and self._received != self._due:
            raise Corrupt("the document has another size than the registry states")
        if self._digest is None:
            return
        found = hashlib.new(self._digest.algorithm, usedforsecurity=False)
        for piece in self._ready:
            found.update(piece)
        if self._waiting is not None:
            while data := await self._waiting.read():
                found.update(data)
            self._waiting.rewind()
        if found.digest() != self._digest.value:
            raise Corrupt("the document has another hash than the registry states")

    async def _drain(self) -> None:
        """Read on behind the document: the connection can be kept, and what contradicts the answer comes out."""
        left = DRAIN_BYTES
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._ended and left > 0:
                    left -= await self._pump()
        except (TimeoutError, TimedOut, Unavailable):
            pass  # the document is whole, whatever becomes of the connection
