"""Text in few symbols: what the body of a sealed id holds before it is hidden.

Rules of this module:
1. Pure: text and numbers, no key and no file.
2. Ids that were given out were made with `FORMS`: a form is never changed, moved or taken away, only added at the end.
3. Unpacking what was packed gives the same text, character for character. Nothing is normalised here.

A text becomes the one number that its form makes of it, in the bijective numeration of the form's alphabet, so that
neither a length nor a terminator is stored: an object identifier of 64 characters takes 222 bits (32 bytes in BER), a
UUID 129.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count, product

SYMBOLS = string.digits + string.ascii_letters
"""The symbols of sealed ids: those of a FHIR id without "-" and ".", which software that finds or cleans addresses cuts
off at the end, shortens when doubled, or breaks a line at."""

SEPARATOR = "^"
"""Stands between a root and what follows it: HL7's own separator of `OID^extension`."""

_OID = string.digits + "."
_ROOT = _OID + SEPARATOR
_MARKS = "-._:"
_LOWER_HEX = string.digits + "abcdef"
_UPPER_HEX = string.digits + "ABCDEF"
_PRINTABLE = string.digits + string.ascii_letters + string.punctuation + " "

_UUID_LENGTHS = (8, 4, 4, 4, 12)
_uuid = re.compile("-".join(f"(.{{{length}}})" for length in _UUID_LENGTHS)).fullmatch

ROOM = 32
"""Forms that there can ever be; five bits of every body say which it is."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a text: `roots` object identifiers, each followed by "^", then `start`, then `alphabet` alone.

    With `uuid` what follows is a UUID, whose hyphens are not stored.
    """

    roots: int
    alphabet: str
    start: str = ""
    uuid: bool = False

    def pack(self, text: str) -> int | None:
        """The number of `text`, from 0; None when it does not have this form."""
        *roots, rest = text.split(SEPARATOR, self.roots)
        if len(roots) < self.roots or not rest.startswith(self.start):
            return None
        rest = rest.removeprefix(self.start)
        if self.uuid:
            groups = _uuid(rest)
            if groups is None:
                return None
            rest = "".join(groups.groups())
        number = 0
        for alphabet, part in ((self.alphabet, rest), *((_ROOT, root + SEPARATOR) for root in reversed(roots))):
            for character in reversed(part):
                digit = alphabet.find(character) + 1
                if not digit:
                    return None
                number = number * len(alphabet) + digit
        return number

    def unpack(self, number: int) -> str:
        """The text of a number that `pack` made."""
        text = ""
        while text.count(SEPARATOR) < self.roots:
            number, digit = divmod(number - 1, len(_ROOT))
            text += _ROOT[digit]
        rest = ""
        while number > 0:
            number, digit = divmod(number - 1, len(self.alphabet))
            rest += self.alphabet[digit]
        if self.uuid:
            ends = [sum(_UUID_LENGTHS[:position]) for position in range(1, len(_UUID_LENGTHS))]
            rest = "-".join(rest[start:end] for start, end in zip([0, *ends], [*ends, None], strict=True))
        return text + self.start + rest


FORMS: tuple[Form, ...] = (
    *(
        Form(roots, alphabet, uuid=alphabet in (_LOWER_HEX, _UPPER_HEX))
        for roots, alphabet in product(
            (0, 1, 2),
            (
                _OID,
                _LOWER_HEX,
                _UPPER_HEX,
                string.digits + string.ascii_lowercase + _MARKS,
                string.digits + string.ascii_uppercase + _MARKS,
                string.digits + string.ascii_letters + _MARKS,
                _PRINTABLE,
            ),
        )
    ),
    *(Form(roots, _LOWER_HEX, "urn:uuid:", uuid=True) for roots in (0, 1)),
    *(Form(roots, _OID, "urn:oid:") for roots in (0, 1)),
)
"""Every form, at the place that ids know it by."""


def pack(text: str) -> int | None:
    """The smallest number that any form makes of `text`; None when it has characters outside printable ASCII."""
    return min(_packed(text), default=None)


def _packed(text: str) -> Iterable[int]:
    for place, form in enumerate(FORMS):
        number = form.pack(text)
        if number is not None:
            yield number * ROOM + place


def unpack(number: int) -> str | None:
    """The text of a number that `pack` made; None when only a later release knows its form."""
    number, place = divmod(number, ROOM)
    return FORMS[place].unpack(number) if place < len(FORMS) else None


def spelled(number: int, length: int | None = None) -> str:
    """`number` in `SYMBOLS`, the highest first; in as many as it needs, at least one, or in exactly `length`."""
    if length is None:
        length = next(length for length in count(1) if number < len(SYMBOLS) ** length)
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(SYMBOLS))
        digits.append(SYMBOLS[digit])
    return "".join(reversed(digits))


def read(text: str) -> int | None:
    """The number that `text` spells; None when a character is none of `SYMBOLS`."""
    number = 0
    for character in text:
        digit = SYMBOLS.find(character)
        if digit < 0:
            return None
        number = number * len(SYMBOLS) + digit
    return number
