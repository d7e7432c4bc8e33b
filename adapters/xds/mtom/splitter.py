"""Cutting a multipart body into its parts as it arrives (RFC 2046 section 5.1).

Rules of this module: it holds back a delimiter's length of a part's bytes, and hands on all others without looking at each; a
chunk in which nothing begins or ends is handed on as the object it came as. It believes delimiters alone: a part's own
Content-Length is compared, and used only where no delimiter came. Which line ends count is decided by the first boundary line,
so that a payload which holds a boundary after the other kind of line end stays whole.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adapters.xds.mtom.failures import LimitExceeded, Malformed
from adapters.xds.mtom.headers import MediaType, header_fields, media_type
from adapters.xds.mtom.search import find
from adapters.xds.mtom.transfer import Decoder, Identity, decoder_for

MOST_PARTS = 64
"""CXF allows 50 (CVE-2019-12406); one document needs two."""

LONGEST_HEADERS = 16 * 1024
"""Bytes of one part's header fields."""

LONGEST_PREAMBLE = 8 * 1024
"""Bytes before the first boundary line."""

# What makes a boundary a delimiter, and what may yet become it. Blanks after a boundary are transport padding.
_LINE_REST = re.compile(rb"(?P<close>--)?[ \t]{0,256}(?P<eol>\r?\n)")
_LINE_REST_BEGUN = re.compile(rb"-|(?:--)?[ \t]{0,256}\r?")
_CLOSE_REST = re.compile(rb"--[ \t\r\n]*")

_HEADERS_END = re.compile(rb"\n\r?\n")
_EMPTY_LINE = re.compile(rb"\r?\n")
_MAY_BEGIN = re.compile(rb"[\r\n-]")


@dataclass(frozen=True, slots=True)
class Part:
    """A part begins: `number` counts from 0, `fields` are its header fields by name in lower case."""

    number: int
    fields: Mapping[str, str]

    @property
    def media_type(self) -> MediaType:
        return media_type(self.fields.get("content-type"))

    @property
    def content_id(self) -> str:
        """As it stands in the header; empty when there is none."""
        return self.fields.get("content-id", "")


class PartEnd(enum.Enum):
    """How the part ended that began last."""

    DELIMITED = enum.auto()
    """A boundary followed: it is whole."""
    UNDELIMITED = enum.auto()
    """The body ended where it should, but without the closing boundary: what came is whole as far as HTTP and the part's own
    Content-Length, if it has one, can tell."""
    CUT = enum.auto()
    """The body broke off within it."""


Event = Part | bytes | PartEnd


class Splitter:
    """Reads one multipart body. `feed` and `end` raise `Malformed` and `LimitExceeded`; one that raised is finished.

    `closed`: the closing boundary was seen. `quirks`: what was wrong and forgiven.
    """

    def __init__(
        self, boundary: bytes, *, most_parts: int = MOST_PARTS, longest_headers: int = LONGEST_HEADERS
    ) -> None:
        self.closed = False
        self.quirks: set[str] = set()
        self._most_parts = most_parts
        self._longest_headers = longest_headers
        self._boundary = b"--" + boundary
        self._first = re.compile(rb"(?:\A|\n)" + re.escape(self._boundary) + _LINE_REST.pattern)
        self._eol = b"\r\n"
        self._delimiter = b""
        self._endings: tuple[bytes, ...] = ()
        self._step: Callable[[list[Event]], bool] = self._preamble
        self._data = b""
        self._at = 0  # where the next boundary is searched for
        self._payload = 0  # what of `_data` belongs to the part begins here: at `_at`, or behind the empty line there
        self._parts = 0
        self._decoder: Decoder = Identity()
        self._stated: int | None = None
        self._received = 0

    def feed(self, data: bytes) -> list[Event]:
        """What `data`, the next bytes of the body, brings."""
        events: list[Event] = []
        self._data = self._data + data if self._data else data
        while self._step(events):
            pass
        return events

    def end(self, *, complete: bool) -> list[Event]:
        """What the end of the body brings. `complete`: it is certain that the transport lost nothing."""
        events: list[Event] = []
        if self._step == self._body:
            self._last(events, complete)
        self._step, self._data = self._epilogue, b""
        return events

    # Each step consumes from `_data` at `_at` and says whether the next can go on at once.

    def _preamble(self, events: list[Event]) -> bool:
        found = self._first.search(self._data)
        if found is None:
            if len(self._data) > LONGEST_PREAMBLE:
                raise Malformed("the boundary that Content-Type announces is not in the body")
            return False
        self._eol = found["eol"]
        self._delimiter = self._eol + self._boundary
        # What may end a part at the body's very end: a delimiter, or a closing boundary on the payload's last line.
        self._endings = (self._delimiter, *(self._boundary + b"--" + eol for eol in (b"\r\n\r\n", b"\n\n")))
        if self._eol == b"\n":
            self.quirks.add("lf-line-ends")
        return self._after_boundary(found)

    def _after_boundary(self, found: re.Match[bytes]) -> bool:
        self._at = found.end()
        self.closed = found["close"] is not None
        self._step = self._epilogue if self.closed else self._headers
        return True

    def _headers(self, events: list[Event]) -> bool:
        data, begin = self._data, self._at
        if empty := _EMPTY_LINE.match(data, begin):
            line, payload = begin, empty.end()
        elif found := _HEADERS_END.search(data, begin, begin + self._longest_headers + 3):
            line, payload = found.start() + 1, found.end()
        elif len(data) - begin > self._longest_headers:
            raise LimitExceeded("bytes in the header fields of a part", self._longest_headers)
        else:
            self._keep(begin)
            return False
        if self._parts == self._most_parts:
            raise LimitExceeded("parts", self._most_parts)
        part = Part(self._parts, header_fields(data[begin:line]))
        self._parts += 1
        self._decoder = decoder_for(part.fields.get("content-transfer-encoding", ""))
        stated = part.fields.get("content-length", "")
        self._stated = int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 20 else None
        self._received = 0
        # The line end of the empty line may be that of a delimiter, for a part without a body.
        self._at, self._payload = line, payload
        events.append(part)
        self._step = self._body
        return True

    def _body(self, events: list[Event]) -> bool:
        data, at = self._data, self._at
        while (hit := find(data, self._delimiter, at)) >= 0:
            behind = hit + len(self._delimiter)
            if found := _LINE_REST.match(data, behind):
                self._give(events, hit)
                self._finish(events, PartEnd.DELIMITED)
                return self._after_boundary(found)
            if _LINE_REST_BEGUN.fullmatch(data, behind):
                self._give(events, hit)
                self._keep(hit)
                return False
            at = hit + 1  # a longer line that begins like the boundary: payload
        held = self._held(at)
        self._give(events, held)
        self._keep(held)
        return False

    def _epilogue(self, events: list[Event]) -> bool:
        self._data = b""
        return False

    def _held(self, at: int) -> int:
        """Where the bytes begin that may turn out to be a delimiter; the end of the data when there are none."""
        data = self._data
        for candidate in _MAY_BEGIN.finditer(data, max(at, len(data) - len(self._delimiter) - 6)):
            tail = data[candidate.start() :]
            if any(ending.startswith(tail) for ending in self._endings):
                return candidate.start()
        return len(data)

    def _give(self, events: list[Event], stop: int) -> None:
        """Hand on what lies between the payload's begin and `stop`."""
        if stop <= self._payload:
            return
        piece = self._data if stop - self._payload == len(self._data) else self._data[self._payload : stop]
        self._payload = stop
        self._received += len(piece)
        if decoded := self._decoder.feed(piece):
            events.append(decoded)

    def _keep(self, start: int) -> None:
        """Forget all data before `start`."""
        self._data = self._data[start:]
        self._at, self._payload = 0, max(self._payload - start, 0)

    def _finish(self, events: list[Event], end: PartEnd) -> None:
        if rest := self._decoder.end():
            events.append(rest)
        if self._stated is not None and self._stated != self._received:
            self.quirks.add("part-length")
        events.append(end)

    def _last(self, events: list[Event], complete: bool) -> None:
        """The body ends within a part."""
        for ending in (self._delimiter, self._boundary):
            if self._data.startswith(ending) and _CLOSE_REST.fullmatch(self._data, len(ending)):
                self.closed = True
                if ending is self._boundary:
                    self.quirks.add("no-line-end-before-close")
                self._finish(events, PartEnd.DELIMITED)
                return
        begun = self._data.startswith(self._eol + b"-")
        if not complete or (begun and self._data != self._delimiter):
            events.append(PartEnd.CUT)
            return
        missing = self._stated is not None and self._stated > self._received + len(self._data) - self._payload
        if missing and not begun:
            events.append(PartEnd.CUT)
            return
        self.quirks.add("no-close")
        if begun:
            self._finish(events, PartEnd.DELIMITED)
            return
        self._give(events, len(self._data))
        self._finish(events, PartEnd.UNDELIMITED)
