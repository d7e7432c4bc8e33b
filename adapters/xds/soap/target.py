"""What the XML parser calls while it reads an envelope.

Rules of this module: an element that holds a document becomes bytes as it is read, everything else is small and becomes events.
All limits on the envelope are here, counted as the parser delivers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from adapters.xds.mtom.failures import LimitExceeded, Malformed
from adapters.xds.soap.events import (
    Closed,
    ContentClosed,
    ContentOpened,
    EnvelopeClosed,
    EnvelopeEvent,
    Opened,
    Reference,
    folded,
)
from adapters.xds.soap.failures import NotSoap
from adapters.xds.soap.fault import SOAP_11, SOAP_12, FaultReader, code_name
from adapters.xds.soap.inline import InlineText
from adapters.xds.soap.limits import Limits

LONGEST_TEXT = 8 * 1024
"""Characters of an element's text that are kept; what follows is dropped, since stack traces may be longer."""


class Target:
    """What the parser calls. Everything that it raises comes out of `feed`."""

    def __init__(self, content: frozenset[str], limits: Limits, raw_text: bool, quirks: set[str]) -> None:
        self.events: list[EnvelopeEvent] = []
        self.begun = False
        self.closed = False
        self.told = 0
        """How often the parser told of something."""
        self._content = content
        self._limits = limits
        self._raw_text = raw_text
        self._quirks = quirks
        self._path: list[str] = []
        self._size = 0
        self._elements = 0
        self._text: list[str] = []
        self._text_size = 0
        self._leaf = False
        self._soap = ""
        self._not_understood: list[str] = []
        self._fault: FaultReader | None = None
        self._contents = 0
        self._inline: InlineText | None = None
        self._inline_depth = 0
        self._referred = False

    @property
    def in_content(self) -> bool:
        """A document's element is open."""
        return self._inline is not None

    @property
    def at_text(self) -> bool:
        """What comes next is a document's text, or the end of it."""
        return self._inline is not None and not self._referred and len(self._path) == self._inline_depth

    def text(self, text: bytes) -> None:
        """Text of the document, which went past the parser."""
        assert self._inline is not None
        if piece := self._inline.feed(text):
            self.events.append(piece)

    # --- what lxml calls ---

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self.told += 1
        name = folded(tag)
        self._count_element(name, attributes)
        if not self._path:
            self._begin(name)
        self._path.append(name)
        self._leaf, self._text, self._text_size = True, [], 0
        if self._inline is not None:
            self._inside_content(name, attributes)
            return
        named = {folded(key): value for key, value in attributes.items()}
        if self._is_content(name):
            self._open_content(name, named)
            return
        if self._below("body", 3) and name == self._soap + "fault":
            self._fault = FaultReader("1.1" if self._soap == SOAP_11 else "1.2", self._not_understood)
        if self._below("header", 3) and name == SOAP_12 + "notunderstood":
            self._not_understood.append(code_name(named.get("qname", "")))
        self.events.append(Opened(name, named))

    def end(self, tag: str) -> None:
        self.told += 1
        name = self._path[-1]
        if self._inline is not None:
            if len(self._path) == self._inline_depth:
                self._close_content(self._inline)
            self._path.pop()
            return
        text = "".join(self._text).strip() if self._leaf else ""
        if self._fault is not None:
            self._in_fault(self._fault, text)
        self._leaf = False
        self._path.pop()
        self.events.append(Closed(name, text))
        if not self._path:
            self.closed = True
            self.events.append(EnvelopeClosed())

    def data(self, text: str) -> None:
        self.told += 1
        if self._inline is not None:
            if len(self._path) == self._inline_depth:
                self._inline_text(text)
            return
        self._count(len(text))
        if self._leaf and self._text_size < LONGEST_TEXT:
            self._text.append(text[: LONGEST_TEXT - self._text_size])
            self._text_size += len(self._text[-1])

    def comment(self, text: str) -> None:
        self.told += 1
        self._count(len(text))

    def pi(self, target: str, text: str | None = None) -> None:
        self.told += 1
        self._count(len(target) + len(text or ""))

    def doctype(self, name: str | None, public: str | None, system: str | None) -> None:
        if (name or "").lower() == "html":
            raise NotSoap("HTML")
        raise Malformed("the answer declares a document type, which SOAP forbids")

    def close(self) -> None:
        pass

    # --- limits ---

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._limits.envelope:
            raise LimitExceeded("characters in the envelope", self._limits.envelope)

    def _count_element(self, name: str, attributes: Mapping[str, str]) -> None:
        self._elements += 1
        if self._elements > self._limits.elements:
            raise LimitExceeded("elements in the envelope", self._limits.elements)
        if len(self._path) >= self._limits.depth:
            raise LimitExceeded("levels of elements in the envelope", self._limits.depth)
        if len(attributes) > self._limits.attributes:
            raise LimitExceeded("attributes of one element", self._limits.attributes)
        self._count(len(name) + sum(len(key) + len(value) for key, value in attributes.items()))

    # --- the envelope's own elements ---

    def _begin(self, name: str) -> None:
        self.begun = True
        for soap in (SOAP_12, SOAP_11):
            if name == soap + "envelope":
                self._soap = soap
                return
        raise NotSoap("HTML" if name.endswith(("}html", "html")) else "XML that is no SOAP envelope")

    def _below(self, place: Literal["header", "body"], depth: int) -> bool:
        """Whether the newest element is that many levels down, below Header or Body."""
        return len(self._path) == depth and self._path[1] == self._soap + place

    def _in_fault(self, fault: FaultReader, text: str) -> None:
        if len(self._path) > 3:
            if self._leaf:
                fault.leaf([name.rpartition("}")[2] for name in self._path[3:]], text)
        else:
            self.events.append(fault.fault())
            self._fault = None

    # --- documents ---

    def _is_content(self, name: str) -> bool:
        if len(self._path) < 3 or self._path[1] != self._soap + "body":
            return False
        return name in self._content or "{*}" + name.rpartition("}")[2] in self._content

    def _open_content(self, name: str, attributes: Mapping[str, str]) -> None:
        self._inline = InlineText(raw=self._raw_text)
        self._inline_depth = len(self._path)
        self._referred = False
        self.events.append(ContentOpened(self._contents, name, attributes))
        if href := attributes.get("href"):
            self._refer(href)

    def _inside_content(self, name: str, attributes: Mapping[str, str]) -> None:
        assert self._inline is not None
        href = attributes.get("href")
        if len(self._path) != self._inline_depth + 1 or not name.endswith("}include") or href is None:
            raise Malformed("there are elements where a document's base64 text should be")
        if self._inline.begun:
            raise Malformed("a document is there both as text and as a reference")
        self._refer(href)

    def _refer(self, href: str) -> None:
        if self._referred:
            raise Malformed("one document has two references")
        self._referred = True
        self.events.append(Reference(self._contents, href))

    def _inline_text(self, text: str) -> None:
        if not self._referred:
            self.text(text.encode())
        elif not text.isspace():
            self._quirks.add("text-beside-reference")

    def _close_content(self, inline: InlineText) -> None:
        if not self._referred:
            if rest := inline.end():
                self.events.append(rest)
            if inline.reference is not None:
                self._refer(inline.reference)
        self.events.append(ContentClosed(self._contents))
        self._contents += 1
        self._inline = None
