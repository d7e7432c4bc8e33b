"""Reading one SOAP envelope as it arrives, with documents of any length in it.

Rules of this module: bytes and their encoding; what the parser finds in them is `adapters.xds.soap.target`'s. Memory is a
small multiple of one chunk. A document's text goes past the parser, which would make a string of each line: between the tag
that opens it and the next "<", where the parser has consumed all that came before, base64 means the same to XML as it does to
us. What could mean something else to XML (an entity, UTF-16) goes through the parser.
"""

from __future__ import annotations

import re

from lxml import etree  # type: ignore[import-untyped]

from adapters.errors import AdapterError
from adapters.xds.mtom.failures import LimitExceeded, Malformed
from adapters.xds.soap.events import EnvelopeEvent, folded
from adapters.xds.soap.failures import NotSoap
from adapters.xds.soap.limits import Limits
from adapters.xds.soap.target import Target

LONGEST_DECLARATION = 1024
"""Bytes of an XML declaration, with the blanks before it."""

_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"

_ENCODING = re.compile(rb"""<\?xml[^>]*\sencoding\s*=\s*["']([^"']*)""", re.IGNORECASE)

# A declaration that can be read byte by byte belongs to a text that is not UTF-16, whatever it says.
_WIDE = re.compile(rb"utf-?(16|32)|(iso-10646-)?ucs", re.IGNORECASE)

# In these, a byte below 128 is the character of that number and part of no other. WS-I allows UTF-8 and UTF-16 alone.
_PLAIN = re.compile(rb"utf-?8|(us-)?ascii|iso-8859-[0-9]{1,2}|latin-?1|(windows-|cp)125[0-9]", re.IGNORECASE)

# HTML need not be XML.
_HTML = re.compile(rb"<(!doctype\s+)?html\b", re.IGNORECASE)
_HEAD = 64

# Line ends in base64 text that XML writers spell out. Dropping the return leaves the text's meaning as it is.
_SPELLED_RETURNS = (b"&#13;", b"&#xD;", b"&#xd;")

_LONGEST_SPELLING = 5

LONGEST_TAG = 16 * 1024
"""Bytes of a tag that are kept until it ends; a longer one is read all the same, in pieces."""

LONGEST_SILENCE = 1 << 20
LONGEST_SECTION = 10 << 20
"""Bytes that the parser may take without telling of anything, outside documents and in them: a tag, a comment or a CDATA
section that does not end, all of which it keeps, and then reads at one go."""

_PIECE = 64 << 10


class EnvelopeReader:
    """Reads one envelope. `feed` raises `Malformed` (`NotSoap`) and `LimitExceeded`; one that raised is finished.

    `content` are the elements below Body that hold documents; "{*}local" stands for any namespace. `raw_text`: see `Tolerance`.
    """

    def __init__(
        self, content: frozenset[str] = frozenset(), *, limits: Limits | None = None, raw_text: bool = False
    ) -> None:
        self.quirks: set[str] = set()
        self._limits = limits or Limits()
        self._target = Target(frozenset(map(folded, content)), self._limits, raw_text, self.quirks)
        self._parser: etree.XMLParser | None = None
        self._opening = None if raw_text or not content else _opening_tag(content)
        self._head = b""
        self._marked = False
        self._kept = b""
        self._in_text = False
        self._parsed = 0
        self._silence = 0

    @property
    def closed(self) -> bool:
        """Whether the envelope is whole."""
        return self._target.closed

    def feed(self, data: bytes) -> list[EnvelopeEvent]:
        """What `data`, the next bytes of the envelope, brings."""
        if self._kept:
            data, self._kept = self._kept + data, b""
        if self._parser is None:
            data = self._begin(data)
        while data and not self._target.closed:
            data = self._text(data) if self._in_text else self._markup(data)
        events, self._target.events = self._target.events, []
        return events

    def end(self) -> None:
        """The body is whole and ends here. Raises `NotSoap` when nothing in it was an element; `closed` says the rest."""
        if not self._target.begun:
            raise self._foreign()

    def _begin(self, data: bytes) -> bytes:
        """Make the parser when enough has arrived to know the encoding; the bytes to begin with."""
        self._marked = self._marked or data.startswith(_BOM)
        data = data.removeprefix(_BOM).lstrip(_BLANKS)
        declares = b"<?xml".startswith(data[:5]) and b">" not in data and len(data) <= LONGEST_DECLARATION
        if len(data) < 4 or declares:
            self._kept = data
            return b""
        self._parser = etree.XMLParser(
            target=self._target,
            encoding="utf-8" if self._is_utf8(data) else None,
            # "internal" and not False: with False, libxml2 hands &amp; in an attribute over as the text &#38;. A DOCTYPE is
            # refused before it could declare anything.
            resolve_entities="internal",
            no_network=True,
            load_dtd=False,
        )
        return data

    def _is_utf8(self, data: bytes) -> bool:
        """Whether it is, whatever the declaration says."""
        if b"\0" in data[:4]:  # UTF-16, with a mark or without
            self._opening = None
            return False
        declared = _ENCODING.match(data)
        if declared is None:
            return self._marked
        if declared[1].lower() == b"utf-8":
            return True
        if self._marked or _WIDE.match(declared[1]):
            self.quirks.add("encoding")
            return True
        if not _PLAIN.fullmatch(declared[1]):
            raise Malformed(
                "the answer declares an encoding that SOAP does not allow: UTF-8 and UTF-16 are read, and Latin ones"
            )
        return False

    def _markup(self, data: bytes) -> bytes:
        """Parse up to where a document's text begins; the bytes that are left."""
        if self._opening is None or self._target.in_content:
            self._parse(data)
            return b""
        if opening := self._opening.search(data):
            self._parse(data[: opening.end()])
            self._in_text = self._target.at_text
            return data[opening.end() :]
        tag = data.rfind(b"<")
        if tag < 0 or b">" in data[tag:] or len(data) - tag > LONGEST_TAG:
            self._parse(data)
            return b""
        self._parse(data[:tag])
        if self._target.begun:
            self._kept = data[tag:]
        else:  # what has no first element yet may never have one
            self._parse(data[tag:])
        return b""

    def _text(self, data: bytes) -> bytes:
        """Take a document's text up to the next markup; the bytes that are left."""
        stop = data.find(b"<")
        text = data if stop < 0 else data[:stop]
        if b"&" in text:
            if stop < 0 and (cut := text.find(b"&", -_LONGEST_SPELLING + 1)) >= 0:
                text, self._kept = text[:cut], text[cut:]
            for spelled in _SPELLED_RETURNS:
                text = text.replace(spelled, b"")
            if b"&" in text:
                self._kept = b""
                self._in_text = False
                self._parse(data)
                return b""
        self._target.text(text)
        self._in_text = stop < 0
        return b"" if stop < 0 else data[stop:]

    def _parse(self, data: bytes) -> None:
        target = self._target
        if not target.begun and len(self._head) < _HEAD:
            self._head += data[:_HEAD]
        try:
            for start in range(0, len(data), _PIECE):
                if target.closed:
                    return
                self._parse_piece(data[start : start + _PIECE])
        except AdapterError:
            raise
        except (etree.LxmlError, ValueError) as error:
            if target.closed:  # what follows the envelope is no part of it
                return
            if not target.begun:
                raise self._foreign() from None
            code = getattr(error, "code", 0)
            raise Malformed(f"the answer is not well-formed XML (libxml2 error {code})") from None

    def _parse_piece(self, piece: bytes) -> None:
        """The parser counts nothing that it does not tell of: namespaces, blanks in tags, what has not ended."""
        assert self._parser is not None
        target, told = self._target, self._target.told
        in_content = target.in_content
        self._parser.feed(piece)
        self._silence = 0 if target.told != told else self._silence + len(piece)
        longest = LONGEST_SECTION if target.in_content else LONGEST_SILENCE
        if self._silence > longest:
            raise LimitExceeded("bytes of one tag, comment or section", longest)
        if not in_content:
            self._parsed += len(piece)
            if self._parsed > self._limits.envelope:
                raise LimitExceeded("characters in the envelope", self._limits.envelope)

    def _foreign(self) -> NotSoap:
        return NotSoap("HTML" if _HTML.match(self._head) else "something else than XML")


def _opening_tag(content: frozenset[str]) -> re.Pattern[bytes]:
    """Finds what may be the tag that opens an element of one of these names, whatever its prefix."""
    names = b"|".join(re.escape(name.rpartition("}")[2].encode()) for name in content)
    return re.compile(rb"<(?:[^<>\s/:!?]+:)?(?:" + names + rb")(?=[\s/>])[^<>]*>", re.IGNORECASE)
