"""The media type of a document: what its archive states, else its first bytes, else its name's ending.

Deterministic: own tables and nothing of the machine's, so that every replica says the same. A charset is never told,
since legacy text is often windows-1252 (FR-85). The order is that of SC-07. No I/O: callers bring the first 8 KiB; what
those show is for `magic` to say.
"""

from __future__ import annotations

import re

from gateway.magic import CDA, DOCX, HL7V2, MARKS, OFFICE, OLE, OLE_STREAMS, PPTX, XLSX, XML, ZIP, sniff
from gateway.protocol import media_type

OCTETS = "application/octet-stream"
PLAIN = "text/plain"

_TYPES = {
    "application/pdf": "pdf",
    "image/tiff": "tif tiff",
    "image/jpeg": "jpg jpeg jpe jfif",
    "image/png": "png",
    "image/gif": "gif",
    "image/bmp": "bmp dib",
    "image/webp": "webp",
    "image/jp2": "jp2",
    "image/jpx": "jpx jpf",
    "image/jpm": "jpm",
    "image/j2c": "j2c j2k jpc",
    "image/svg+xml": "svg",
    "image/heic": "heic heif",
    "application/rtf": "rtf",
    "text/html": "html htm",
    "application/xhtml+xml": "xhtml",
    PLAIN: "txt text asc log",
    "text/csv": "csv",
    "text/markdown": "md",
    XML: "xml xsl xslt cda ccd",
    "text/xml": "xml",
    "application/fhir+xml": "xml",
    "application/json": "json",
    "application/fhir+json": "json",
    "application/fhir+ndjson": "ndjson",
    HL7V2: "hl7",
    "application/dicom": "dcm dicom",
    "message/rfc822": "eml mht mhtml",
    "application/vnd.ms-outlook": "msg",
    "application/msword": "doc dot",
    "application/vnd.ms-excel": "xls xlt",
    "application/vnd.ms-powerpoint": "ppt pps pot",
    "application/vnd.visio": "vsd",
    DOCX: "docx",
    OFFICE + "wordprocessingml.template": "dotx",
    "application/vnd.ms-word.document.macroenabled.12": "docm",
    XLSX: "xlsx",
    OFFICE + "spreadsheetml.template": "xltx",
    "application/vnd.ms-excel.sheet.macroenabled.12": "xlsm",
    PPTX: "pptx",
    OFFICE + "presentationml.slideshow": "ppsx",
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": "pptm",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.wordperfect": "wpd wp5 wp6",
    "application/postscript": "ps eps",
    ZIP: "zip",
    "application/gzip": "gz",
    "audio/mpeg": "mp3",
    "audio/x-wav": "wav",
    "video/mp4": "mp4",
}
"""Every type with its name endings, the preferred one first. An ending named twice means the type named first."""

_BY_ENDING = {ending: name for name, endings in reversed(_TYPES.items()) for ending in endings.split()}
_ENDINGS = {name: "." + endings.split()[0] for name, endings in _TYPES.items()}


HEAD_BYTES = 8192
"""How much of a document is looked at to tell its type: PDF allows its mark within the first 1024 bytes, DICOM at 128."""


def content_type(stated: str | None, head: bytes, name: str) -> str:
    """The media type to serve: the archive's own statement, else magic bytes, else the ending of `name`.

    A statement that is no media type counts as none. Bytes that only show the container (ZIP, OLE, XML) leave the word
    to an ending that names what such a container can hold. Bytes without a mark are `text/plain` when nothing in `head`
    speaks against text, else `application/octet-stream`.
    """
    said = statement(stated)
    if said is not None:
        return said
    seen, named = sniff(head), by_extension(name)
    if seen is None:
        return named or (PLAIN if head and not _NOT_TEXT.search(head) else OCTETS)
    return named if named is not None and _refines(named, seen) else seen


def statement(*stated: str | None) -> str | None:
    """The first of these that is a media type, as it stands there; None when none is."""
    for text in stated:
        if text and media_type.parse(text) is not None:
            return text.strip(" \t")
    return None


def mismatch(content_type: str, head: bytes) -> str | None:
    """What the bytes look like when that contradicts `content_type`; None when they fit or nothing can be said.

    `application/octet-stream` means: a document of this type begins with a mark, and this one does not.
    """
    essence = media_type.essence(content_type)
    given = _ALIASES.get(essence, essence)
    seen = sniff(head)
    if seen is None:
        return OCTETS if head and given in _MARKED else None
    shown = _ALIASES.get(seen, seen)
    return None if given == shown or _refines(given, shown) or _refines(shown, given) else seen


def by_extension(name: str) -> str | None:
    """The type that the ending of a file name or locator stands for; case does not matter."""
    stem, dot, ending = name.rpartition(".")
    return _BY_ENDING.get(ending.lower()) if dot and stem else None


def ending(essence: str) -> str:
    """The usual name ending of a type, with its dot; "" when there is none."""
    return _ENDINGS.get(essence, "")


def _refines(special: str, general: str) -> bool:
    """Whether `special` says more about the same bytes than `general` does."""
    return special in _HOLDS.get(general, ()) or (general == XML and special.endswith("+xml"))


_NOT_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""Bytes that do not occur in text (https://mimesniff.spec.whatwg.org, binary data bytes)."""

_ALIASES = {
    "application/x-pdf": "application/pdf",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/tif": "image/tiff",
    "image/x-tiff": "image/tiff",
    "image/x-png": "image/png",
    "image/x-bmp": "image/bmp",
    "image/x-ms-bmp": "image/bmp",
    "text/rtf": "application/rtf",
    "application/x-rtf": "application/rtf",
    "application/xhtml+xml": "text/html",
    CDA: XML,
    "application/x-zip-compressed": ZIP,
    "application/x-gzip": "application/gzip",
    "application/hl7-v2": HL7V2,
    "text/hl7v2": HL7V2,
}
"""Other names for the same types; used for comparing only, since what an archive states is served as it stands."""

_OPEN_XML = frozenset(name for name in _TYPES if name.startswith(OFFICE) or name.endswith(".macroenabled.12"))
_OPEN_DOCUMENT = frozenset(name for name in _TYPES if ".oasis.opendocument." in name)

_HOLDS = {
    ZIP: _OPEN_XML | _OPEN_DOCUMENT,
    # A package locked with a password is an OLE file whatever its ending says.
    OLE: _OPEN_XML | set(OLE_STREAMS.values()),
    DOCX: {name for name in _OPEN_XML if "word" in name} - {DOCX},
    XLSX: {name for name in _OPEN_XML if "sheet" in name} - {XLSX},
    PPTX: {name for name in _OPEN_XML if "presentation" in name} - {PPTX},
    "application/json": {"application/fhir+json"},
    "application/fhir+json": {"application/fhir+ndjson"},
}
"""Container types, and what a file that shows only the container may be."""

_MARKED = frozenset(
    {answer for _, answer in MARKS if isinstance(answer, str)} - {HL7V2, "application/postscript"}
    | {"image/bmp", "image/webp", "image/jp2", "application/dicom", OLE, ZIP}
    | _HOLDS[ZIP]
    | _HOLDS[OLE]
)
"""Types whose documents always begin with a mark that `sniff` knows."""
