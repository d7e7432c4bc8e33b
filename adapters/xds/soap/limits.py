"""How much of an answer is read, and what is forgiven in it.

Rules of this module: values alone. None of the limits is about a document's own bytes, which are counted by whoever reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.xds.mtom.splitter import LONGEST_HEADERS, MOST_PARTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What no honest answer reaches.

    `envelope`: characters of markup and text outside documents. `elements`, `depth` (levels below each other), `attributes` (of
    one element). `parts`, and `part_headers` in bytes of each. `skipped`: bytes of documents and parts that were not asked for.
    """

    envelope: int = 4 << 20
    elements: int = 10_000
    depth: int = 64
    attributes: int = 64
    parts: int = MOST_PARTS
    part_headers: int = LONGEST_HEADERS
    skipped: int = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What is forgiven, since it cannot change a document's bytes or cannot be told from what is right.

    `no_close`: the closing boundary may be missing where HTTP says that the body is whole. Only for a body whose length was
    stated beforehand: the chunks of a proxy end in good order whatever became of the service behind it. `lone_part`: a
    reference that names no part means the only one there is. `raw_text`: text that cannot be base64 is the document itself, in
    UTF-8 and with the line ends of XML; off by default, since the bytes are then not those that were stored.
    """

    no_close: bool = True
    lone_part: bool = True
    raw_text: bool = False
