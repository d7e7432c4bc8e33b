"""A document that stands in the envelope as text: base64, a reference, or, where that is allowed, the text itself.

Rules of this module: no XML; text in, bytes out, nothing kept but what is not decided. Its first characters decide.
"""

from __future__ import annotations

from collections.abc import Callable

from adapters.xds.mtom import Base64Decoder, LimitExceeded

LONGEST_REFERENCE = 4096
"""Characters of a reference."""

_BLANKS = " \t\r\n"
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
_REFERENCE = "cid:"


class InlineText:
    """The text of one content element, in pieces cut anywhere. Raises `Malformed` and `LimitExceeded`.

    `begun`: some of it was no blank. `reference` holds the reference (SwA's swaRef), after `end`.
    """

    def __init__(self, *, raw: bool) -> None:
        self.begun = False
        self.reference: str | None = None
        self._raw = raw
        self._start = ""
        self._decoder = Base64Decoder()
        self._take: Callable[[bytes], bytes] = self._decide

    def feed(self, text: bytes) -> bytes:
        """The bytes that `text`, in UTF-8, brings."""
        return self._take(text)

    def end(self) -> bytes:
        """The last bytes."""
        rest = b""
        if self._take == self._decide:
            rest = self._decided()
        if self._take == self._refer:
            self.reference = self._start.strip(_BLANKS)
            return b""
        return rest + (self._decoder.end() if self._take == self._decoder.feed else b"")

    def _decide(self, text: bytes) -> bytes:
        self._start = (self._start + text.decode("utf-8", "replace")).lstrip(_BLANKS)
        self.begun = self.begun or bool(self._start)
        return self._decided() if len(self._start) >= len(_REFERENCE) else b""

    def _decided(self) -> bytes:
        text = self._start
        if text[: len(_REFERENCE)].lower() == _REFERENCE:
            self._take = self._refer
            return self._refer(b"")
        if self._raw and text and text[0] not in _ALPHABET:
            self._take = bytes
        else:
            self._take = self._decoder.feed
        self._start = ""
        return self._take(text.encode())

    def _refer(self, text: bytes) -> bytes:
        self._start += text.decode("utf-8", "replace")
        if len(self._start) > LONGEST_REFERENCE:
            raise LimitExceeded("characters in a reference", LONGEST_REFERENCE)
        return b""
