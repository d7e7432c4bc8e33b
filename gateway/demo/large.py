"""The one large document: a scanned case-note folder as an uncompressed greyscale TIFF of many pages.

It is made at set-up and never committed. Standard library only, so that the demonstration needs no drawing library;
strip by strip, so that memory does not grow with the size. The layout is TIFF 6.0 (Adobe, 1992), baseline greyscale
images (section 4), little-endian, one strip per line of text; pages are chained as in section 2, tags 254 and 297.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

DEFAULT_SIZE = 64 << 20
"""Bytes: larger than any default cache limit, small enough for every disk."""

_WIDTH = 1654  # A4 at 200 dots per inch
_DOTS_PER_INCH = 200
_SCALE = 3  # pixels per dot of the 5 x 7 letters
_STRIP_ROWS = 39  # 21 rows of letters and 18 of space
_LINES = 60
_PAGE_ROWS = _STRIP_ROWS * _LINES
_LARGEST = (1 << 32) - 1  # offsets are 32 bits wide

_PAPER = bytes(224 + (value >> 3) for value in range(256))  # near white, 32 shades of paper grain
_INK, _BLANK = b"\x3f", b"\xff"  # masks: ink darkens the paper and keeps its grain

# The classic 5 x 7 dot matrix, one column per byte, lowest bit on top.
_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-.,/:+%"
_COLUMNS = bytes.fromhex(
    "3E5149453E 00427F4000 4261514946 2141454B31 1814127F10 2745454539 3C4A494930 0171090503 3649494936 064949291E"
    "7E1111117E 7F49494936 3E41414122 7F4141221C 7F49494941 7F09090901 3E4149497A 7F0808087F 00417F4100 2040413F01"
    "7F08142241 7F40404040 7F020C027F 7F0408107F 3E4141413E 7F09090906 3E4151215E 7F09192946 4649494931 01017F0101"
    "3F4040403F 1F2040201F 3F4038403F 6314081463 0708700807 6151494543"
    "0808080808 0060600000 0050300000 2010080402 0036360000 08083E0808 2313086462"
)

_NOTES = (
    "REVIEWED ON WARD ROUND. COMFORTABLE OVERNIGHT, NO NEW COMPLAINTS.",
    "OBSERVATIONS: BP 128/74, PULSE 76 REGULAR, TEMP 36.8, SATS 97% ON AIR.",
    "CHEST CLEAR. ABDOMEN SOFT, NOT TENDER. CALVES SOFT.",
    "BLOODS: HB 121, WCC 8.4, CRP 22, NA 138, K 4.1, CREATININE 78.",
    "PLAN: CONTINUE ORAL ANTIBIOTICS, MOBILISE WITH PHYSIOTHERAPY.",
    "",
    "NURSING: EATING AND DRINKING WELL. SKIN INTACT. SLEPT 6 HOURS.",
    "MEDICINES GIVEN AS CHARTED. PAIN SCORE 1/10 AT REST, 3/10 WALKING.",
    "RELATIVE TELEPHONED AND UPDATED WITH CONSENT.",
    "",
    "PHYSIOTHERAPY: WALKED 20 METRES WITH A FRAME AND ONE PERSON.",
    "STAIRS TO BE ASSESSED BEFORE DISCHARGE. EXERCISE SHEET GIVEN.",
    "",
    "PHARMACY: MEDICINES RECONCILED WITH THE GP RECORD. NO INTERACTIONS.",
    "ALLERGY STATUS CONFIRMED: PENICILLIN - RASH.",
    "",
)


def write_large(path: Path, *, size: int = DEFAULT_SIZE, progress: Callable[[int], None] | None = None) -> None:
    """Write a valid TIFF of exactly `size` bytes to `path`, the same bytes on every run.

    `progress` is called with the bytes written so far. The file appears under its name only when it is whole; missing
    directories are made. Raises `ValueError` for a size that cannot hold a page or passes TIFF's 4 GiB, `OSError` when
    the disk refuses.
    """
    smallest = _HEADER.size + _DIRECTORY_SIZE + _WIDTH
    if not smallest <= size <= _LARGEST:
        raise ValueError(f"a large document has {smallest} to {_LARGEST} bytes, not {size}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as out:
            written = 0
            for block in _blocks(size):
                out.write(block)
                written += len(block)
                if progress is not None:
                    progress(written)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
        _line_mask.cache_clear()  # a server that made its own archive gives the memory back


def _blocks(size: int) -> Iterator[bytes]:
    """The file in order: header, then for each page its directory and its strips, then padding."""
    position = _HEADER.size
    yield _HEADER.pack(b"II", 42, position)
    number = 0
    while room := _rows_that_fit(size - position):
        rows = min(room, _PAGE_ROWS)
        following = position + _DIRECTORY_SIZE + rows * _WIDTH
        more = _rows_that_fit(size - following) > 0
        yield _directory(position, number, rows, following if more else 0)
        yield from _strips(number, rows)
        position = following
        number += 1
    yield bytes(size - position)


def _rows_that_fit(room: int) -> int:
    return max(room - _DIRECTORY_SIZE, 0) // _WIDTH


_HEADER = struct.Struct("<2sHI")
_ENTRY = struct.Struct("<HHII")  # tag, type, count, value or offset
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_ENTRIES = 15
_ARRAYS_AT = 2 + _ENTRIES * _ENTRY.size + 4
_DIRECTORY_SIZE = _ARRAYS_AT + 8 + 2 * 4 * _LINES  # the same for every page, full or not


def _directory(position: int, number: int, rows: int, following: int) -> bytes:
    """The image file directory of one page that starts at `position`; `following` is the next one's, 0 for none."""
    strips = -(-rows // _STRIP_ROWS)
    resolution_at = position + _ARRAYS_AT
    pixels_at = position + _DIRECTORY_SIZE
    offsets = [pixels_at + strip * _STRIP_ROWS * _WIDTH for strip in range(strips)]
    counts = [min(_STRIP_ROWS, rows - strip * _STRIP_ROWS) * _WIDTH for strip in range(strips)]
    # An array of one value stands in the entry itself.
    offsets_value = resolution_at + 8 if strips > 1 else offsets[0]
    counts_value = resolution_at + 8 + 4 * strips if strips > 1 else counts[0]
    entries = (
        (254, _LONG, 1, 2),  # NewSubfileType: one page of a document
        (256, _LONG, 1, _WIDTH),
        (257, _LONG, 1, rows),
        (258, _SHORT, 1, 8),  # BitsPerSample
        (259, _SHORT, 1, 1),  # Compression: none
        (262, _SHORT, 1, 1),  # PhotometricInterpretation: black is zero
        (273, _LONG, strips, offsets_value),
        (274, _SHORT, 1, 1),  # Orientation
        (277, _SHORT, 1, 1),  # SamplesPerPixel
        (278, _LONG, 1, _STRIP_ROWS),
        (279, _LONG, strips, counts_value),
        (282, _RATIONAL, 1, resolution_at),
        (283, _RATIONAL, 1, resolution_at),
        (296, _SHORT, 1, 2),  # ResolutionUnit: inch
        (297, _SHORT, 2, number),  # PageNumber: this page in the low half, total left unstated
    )
    table = struct.pack("<H", len(entries)) + b"".join(_ENTRY.pack(*entry) for entry in entries)
    arrays = struct.pack("<II", _DOTS_PER_INCH, 1) + struct.pack(f"<{2 * strips}I", *offsets, *counts)
    return (table + struct.pack("<I", following) + arrays).ljust(_DIRECTORY_SIZE, b"\x00")


def _strips(number: int, rows: int) -> Iterator[bytes]:
    """The pixels of page `number`, one line of text at a time, cut after `rows`."""
    for line in range(-(-rows // _STRIP_ROWS)):
        length = min(_STRIP_ROWS, rows - line * _STRIP_ROWS) * _WIDTH
        grain = hashlib.shake_128(f"{number}/{line}".encode()).digest(length).translate(_PAPER)
        mask = _line_mask(_text(number, line))[:length]
        # One AND of two long numbers is the fastest per-byte operation that plain Python has.
        yield (int.from_bytes(grain, "little") & int.from_bytes(mask, "little")).to_bytes(length, "little")


def _text(number: int, line: int) -> str:
    if line == 2:
        return f"SAMPLE CASE NOTES, INVENTED PATIENT    ENTRY {number + 1}"
    if line < 5 or line >= _LINES - 3:
        return ""
    return _NOTES[(number * 5 + line) % len(_NOTES)]


@lru_cache(maxsize=32)  # the notes repeat; drawing them afresh would take most of the time
def _line_mask(text: str) -> bytes:
    """One line of text as `_STRIP_ROWS` rows of ink and blank pixels."""
    margin = _BLANK * (_WIDTH // 10)
    rows = []
    for bit in range(7):
        dots = (_columns(character)[column] >> bit & 1 for character in text for column in range(6))
        row = margin + b"".join((_INK if dot else _BLANK) * _SCALE for dot in dots)
        rows.append(row[:_WIDTH].ljust(_WIDTH, _BLANK) * _SCALE)
    return b"".join(rows).ljust(_STRIP_ROWS * _WIDTH, _BLANK)


def _columns(character: str) -> bytes:
    """Six columns of dots: five of the letter and one of space."""
    if character == " ":
        return bytes(6)
    start = _CHARACTERS.index(character) * 5
    return _COLUMNS[start : start + 5] + b"\x00"
