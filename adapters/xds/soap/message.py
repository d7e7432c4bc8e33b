"""One SOAP message out of a response body, whatever it is packed in: MTOM, SOAP with Attachments, or the envelope alone.

Rules of this module: the body decides what it is, the Content-Type header only helps, since stacks label one as the other. The
envelope may be any part: what comes before it is told of like what comes after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from adapters.xds.mtom import MediaType, Part, PartEnd, Splitter, matches, media_type
from adapters.xds.mtom.failures import Malformed
from adapters.xds.mtom.headers import LONGEST_BOUNDARY
from adapters.xds.soap.envelope import EnvelopeReader
from adapters.xds.soap.events import EnvelopeEvent
from adapters.xds.soap.failures import NotSoap
from adapters.xds.soap.limits import Limits, Tolerance

MessageEvent = EnvelopeEvent | Part | PartEnd
"""A `Part` that is told of is not the envelope's; the bytes after it, up to its `PartEnd`, are its own."""

LONGEST_LINE = 1024
"""Bytes of a first line that may be a boundary's."""

_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"
_GZIP = b"\x1f\x8b"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff", b"\0<")
_SOAP_TYPES = ("application/xop+xml", "application/soap+xml")
_XML_TYPES = (*_SOAP_TYPES, "text/xml", "application/xml", "")

# A line that can be a boundary's: no blanks within it.
_BOUNDARY_LINE = re.compile(rb"--([^\s]{1,%d})[ \t]*\r?\n" % LONGEST_BOUNDARY)


class MessageReader:
    """Reads one response body. `feed` and `end` raise `Malformed` (`NotSoap`) and `LimitExceeded`.

    `content` is that of `EnvelopeReader`. `closed`: the message has no more to say, and the transport's end adds nothing.
    """

    def __init__(
        self,
        content_type: str | None,
        content: frozenset[str] = frozenset(),
        *,
        limits: Limits | None = None,
        tolerance: Tolerance | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._tolerance = tolerance or Tolerance()
        self._declared = media_type(content_type)
        self._envelope = EnvelopeReader(content, limits=self._limits, raw_text=self._tolerance.raw_text)
        self._splitter: Splitter | None = None
        self._quirks: set[str] = set()
        self._lead = b""
        self._take: Callable[[bytes], list[MessageEvent]] = self._sniff
        self._rooted = False
        self._in_root = False

    @property
    def envelope_closed(self) -> bool:
        return self._envelope.closed

    @property
    def closed(self) -> bool:
        return self._splitter.closed if self._splitter is not None else self._envelope.closed

    @property
    def quirks(self) -> frozenset[str]:
        """What was wrong and forgiven: words for a counter."""
        splitter = self._splitter.quirks if self._splitter is not None else ()
        return frozenset(self._quirks | self._envelope.quirks).union(splitter)

    def feed(self, data: bytes) -> list[MessageEvent]:
        """What `data`, the next bytes of the body, brings."""
        return self._take(data)

    def end(self, *, complete: bool) -> list[MessageEvent]:
        """What the end of the body brings. `complete`: it is certain that the transport lost nothing."""
        events: list[MessageEvent] = []
        if self._take == self._sniff:
            events += self._begin(self._lead)
        if complete and self._take == self._plain:
            self._envelope.end()
        if self._splitter is not None:
            events += self._route(self._splitter.end(complete=complete and self._tolerance.no_close))
        return events

    def _sniff(self, data: bytes) -> list[MessageEvent]:
        lead = self._lead = (self._lead + data).lstrip(_BLANKS)
        seen = lead.removeprefix(_BOM).lstrip(_BLANKS)
        if len(seen) < 2 or _BOM.startswith(lead):
            return []
        if seen.startswith(b"-") and b"\n" not in seen and len(seen) <= LONGEST_LINE:
            return []
        return self._begin(lead)

    def _begin(self, lead: bytes) -> list[MessageEvent]:
        """The body's first bytes, enough of them to tell what it is, or all there are."""
        self._lead = b""
        seen = lead.removeprefix(_BOM).lstrip(_BLANKS)
        if seen.startswith((b"<", *_UTF_16)):
            if self._declared.multipart:
                self._quirks.add("no-multipart")
            self._take = self._plain
            return self._plain(lead)
        if seen.startswith(_GZIP):
            raise NotSoap("compressed data")
        boundary = self._boundary(seen)
        if boundary is None or not seen:
            raise NotSoap("something else than XML" if seen else "nothing")
        self._splitter = Splitter(boundary, most_parts=self._limits.parts, longest_headers=self._limits.part_headers)
        self._take = self._multipart
        return self._multipart(seen)

    def _boundary(self, lead: bytes) -> bytes | None:
        """The boundary that the body uses: the one that was declared, unless the first line is evidently another."""
        declared = self._declared.boundary if self._declared.multipart else None
        if declared is not None and lead.startswith(b"--" + declared):
            return declared
        if line := _BOUNDARY_LINE.match(lead):
            self._quirks.add("boundary" if self._declared.multipart else "multipart-undeclared")
            return line[1]
        return declared

    def _plain(self, data: bytes) -> list[MessageEvent]:
        return [*self._envelope.feed(data)]

    def _multipart(self, data: bytes) -> list[MessageEvent]:
        assert self._splitter is not None
        return self._route(self._splitter.feed(data))

    def _route(self, arrived: list[Part | bytes | PartEnd]) -> list[MessageEvent]:
        """Read the envelope's part, hand on all others."""
        events: list[MessageEvent] = []
        for event in arrived:
            if isinstance(event, Part) and not self._rooted:
                self._rooted = self._in_root = self._is_root(event)
            if not self._in_root:
                events.append(event)
            elif isinstance(event, bytes):
                events += self._envelope.feed(event)
            elif isinstance(event, PartEnd):
                self._in_root = False
                if event is not PartEnd.CUT and not self._envelope.closed:
                    raise Malformed("the part that holds the envelope ends before it does")
        return events

    def _is_root(self, part: Part) -> bool:
        """RFC 2387: the part that `start` names, else the first. What is no XML waits for one that is."""
        start = self._declared.parameters.get("start", "")
        if start and matches(start, part.content_id):
            return True
        kind = part.media_type.name
        if not start:
            return kind in _XML_TYPES
        # A start that names no part, yet here is a part of the type that the envelope should have (RFC 2387 section 3.1).
        if kind in _SOAP_TYPES or (part.number == 0 and kind == _type_of(self._declared)):
            self._quirks.add("start")
            return True
        return False


def _type_of(declared: MediaType) -> str:
    """The media type of the root part, as the whole's Content-Type states it."""
    return media_type(declared.parameters.get("type")).name
