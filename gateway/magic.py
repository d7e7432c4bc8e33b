"""The media type that the first bytes of a document show (the marks of SC-07), or None: never a guess.

No I/O and no names: only bytes. A mark must leave no doubt, which is why JSON without a resource type, XML without a
declaration or a namespace, and every kind of plain text are None here. Every pattern is possessive and every search
bounded by the head, so that no document can make it slow.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

XML = "application/xml"
ZIP = "application/zip"
OLE = "application/x-ole-storage"

CDA = "text/xml"
"""What IHE document entries state for a CDA document. RFC 7303 gives text/xml and application/xml the same meaning."""

HL7V2 = "x-application/hl7-v2+er7"
"""HL7 v2 in its usual encoding; no type is registered, this one is the convention of FHIR servers."""

OFFICE = "application/vnd.openxmlformats-officedocument."
DOCX = OFFICE + "wordprocessingml.document"
XLSX = OFFICE + "spreadsheetml.sheet"
PPTX = OFFICE + "presentationml.presentation"


def sniff(head: bytes) -> str | None:
    """The type that the first bytes of a document show beyond doubt; None for everything else, plain text included."""
    for mark, answer in _BY_FIRST_BYTE.get(head[:1], ()):
        if head.startswith(mark):
            found = answer if isinstance(answer, str) else answer(head)
            if found is not None:
                return found
    if head[128:132] == b"DICM":
        return "application/dicom"
    # Readers accept a PDF behind up to 1 KiB of other bytes, as scanners and mail systems leave them there.
    if head.find(b"%PDF-", 0, 1024) >= 0 and _PDF_LINE.search(head, 0, 1040):
        return "application/pdf"
    return _sniff_text(head)


def _bmp(head: bytes) -> str | None:
    # "BM" also begins words. The size of the second header tells: the versions of the format have these.
    return "image/bmp" if head[14:18] in _BMP_HEADERS else None


def _riff(head: bytes) -> str | None:
    return {b"WEBP": "image/webp", b"WAVE": "audio/x-wav"}.get(head[8:12])


def _jpeg2000(head: bytes) -> str:
    return {b"jpx ": "image/jpx", b"jpm ": "image/jpm"}.get(head[20:24], "image/jp2")


def _ole(head: bytes) -> str:
    """Which Office wrote it, from the first stream or from the directory where that lies within `head` ([MS-CFB] 2)."""
    if head[512:516] == b"\xec\xa5\xc1\x00" or head[512:514] == b"\xdc\xa5":
        return "application/msword"
    shift, sector = int.from_bytes(head[30:32], "little"), int.from_bytes(head[48:52], "little")
    if shift in (9, 12):
        start = (sector + 1) << shift
        for at in range(start, min(start + (1 << shift), len(head) - 127), 128):
            length = int.from_bytes(head[at + 64 : at + 66], "little")
            name = head[at : at + min(max(length - 2, 0), 62)].decode("utf-16-le", "replace")
            if name in OLE_STREAMS:
                return OLE_STREAMS[name]
    return OLE


def _zip(head: bytes) -> str:
    """What the names of the first members show; OPC packages carry a list of types or of relations."""
    opendocument = _OPENDOCUMENT.match(head, 30)
    if opendocument is not None:
        return opendocument[1].decode("ascii")
    names = []
    at = 0
    while 0 <= at <= len(head) - _ZIP_MEMBER.size:
        flags, packed, length, extra = _ZIP_MEMBER.unpack_from(head, at)
        names.append(head[at + 30 : at + 30 + length])
        if flags & 8:
            # The packed size stands behind the bytes. They are safe to search only when they cannot be another archive.
            if not names[-1].endswith((b".xml", b".rels")):
                break
            packed = 0
        at = head.find(b"PK\x03\x04", at + 30 + length + extra + packed)
    if b"[Content_Types].xml" in names or b"_rels/.rels" in names:
        for folder, answer in ((b"word/", DOCX), (b"xl/", XLSX), (b"ppt/", PPTX)):
            if any(name.startswith(folder) for name in names):
                return answer
    return ZIP


def _sniff_text(head: bytes) -> str | None:
    text = head
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head.decode("utf-16", "ignore").encode("ascii", "replace")
    elif head[:3] == b"\xef\xbb\xbf":
        text = head[3:]
    first = text.lstrip()[:1]
    if first == b"<":
        return _markup(text)
    if first == b"{":
        return "application/fhir+json" if _FHIR_JSON.match(text) else None
    return "message/rfc822" if _HEADER_LINE.match(text) and _is_mail(text) else None


def _markup(text: bytes) -> str | None:
    """HTML by its own names; XML by its declaration or by a namespace of its root, whose name may say more."""
    declared, at = _prolog(text)
    doctype = _DOCTYPE.match(text, at)
    if doctype is not None:
        return "text/html" if doctype[1].lower() == b"html" else (XML if declared else None)
    root = _ROOT.match(text, at)
    if root is None:
        return XML if declared else None
    prefix, name, attributes = root.groups()
    if prefix is None and name.lower() in (b"html", b"head", b"body"):
        return "text/html"
    namespaces = {space[1]: space[2] for space in _NAMESPACE.finditer(attributes)}
    own = namespaces.get(prefix)
    if own == b"http://hl7.org/fhir":
        return "application/fhir+xml"
    if own == b"http://www.w3.org/2000/svg":
        return "image/svg+xml"
    if own == b"urn:hl7-org:v3" and name == b"ClinicalDocument":
        return CDA
    return XML if declared or namespaces else None


def _prolog(text: bytes) -> tuple[bool, int]:
    """Whether there is an XML declaration, and where white space, comments and instructions end."""
    declared, at = False, 0
    while (opening := _ASIDE.match(text, at)) is not None:
        declared = declared or opening[1] == b"<?xml"
        end = b"-->" if opening[1] == b"<!--" else b"?>"
        found = text.find(end, opening.end())
        if found < 0:
            return declared, len(text)
        at = found + len(end)
    return declared, at


def _is_mail(text: bytes) -> bool:
    """Whether `text` opens with a block of header fields, one of them such as only a mail system writes (RFC 5322)."""
    lines = text.replace(b"\r\n", b"\n").split(b"\n\n", 1)[0].split(b"\n")
    # The last line may have been cut off by the end of what we see.
    fields = [line for line in lines[: max(len(lines) - 1, 1)] if line[:1] not in b" \t"]
    return all(map(_HEADER_LINE.match, fields)) and any(map(_MAIL_FIELD.match, fields))


_Answer = str | Callable[[bytes], str | None]

MARKS: list[tuple[bytes, _Answer]] = [
    (b"%PDF-", "application/pdf"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", _bmp),
    (b"RIFF", _riff),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", _jpeg2000),
    (b"\xff\x4f\xff\x51", "image/j2c"),
    (b"{\\rtf", "application/rtf"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _ole),
    (b"PK\x03\x04", _zip),
    (b"PK\x05\x06", ZIP),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"MSH|^~\\&", HL7V2),
    (b"\x0bMSH|^~\\&", HL7V2),
    (b"FHS|^~\\&", HL7V2),
    (b"BHS|^~\\&", HL7V2),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\xffWPC", "application/vnd.wordperfect"),
]
_BY_FIRST_BYTE = {mark[:1]: tuple(pair for pair in MARKS if pair[0][:1] == mark[:1]) for mark, _ in MARKS}

_BMP_HEADERS = frozenset(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))

OLE_STREAMS = {
    "WordDocument": "application/msword",
    "Workbook": "application/vnd.ms-excel",
    "Book": "application/vnd.ms-excel",
    "PowerPoint Document": "application/vnd.ms-powerpoint",
    "VisioDocument": "application/vnd.visio",
    "__properties_version1.0": "application/vnd.ms-outlook",
}

_ZIP_MEMBER = struct.Struct("<6xH10xI4xHH")
"""Flags, packed size, lengths of the name and of the extra field (APPNOTE 4.3.7)."""

_OPENDOCUMENT = re.compile(rb"mimetype(application/vnd\.oasis\.opendocument\.[a-z\-]{1,40}?)PK")
"""The first member of an OpenDocument holds the type itself, unpacked and without an extra field."""

_PDF_LINE = re.compile(rb"%PDF-\d\.\d[ \t]*+[\r\n]")
_ASIDE = re.compile(rb"\s*+(<\?xml|<\?|<!--)")
_DOCTYPE = re.compile(rb"\s*+<!doctype\s++([^\s>\[]++)", re.IGNORECASE)
_ROOT = re.compile(rb"\s*+<(?:([A-Za-z_][\w.\-]*+):)?([A-Za-z_][\w.\-]*+)([^>]*+)")
_NAMESPACE = re.compile(rb"""\sxmlns(?::([\w.\-]++))?\s*+=\s*+["']([^"']*+)["']""")
_FHIR_JSON = re.compile(rb'\s*+\{\s*+"resourceType"\s*+:\s*+"[A-Z][A-Za-z]++"')
_HEADER_LINE = re.compile(rb"[A-Za-z][A-Za-z0-9\-]*+:")
_MAIL_FIELD = re.compile(rb"(?:received|return-path|delivered-to|message-id|mime-version):", re.IGNORECASE)
