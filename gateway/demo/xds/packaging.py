"""An answer's body as runs: one envelope, or an envelope and documents as parts of a multipart (RFC 2387, XOP, SwA).

Rules of this module: every oddity is a switch of the personality; no document is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.demo.xds import names
from gateway.demo.xds.contents import Run, Stored, binary, fixed, part_base64, quoted_printable, total
from gateway.demo.xds.personality import Personality
from gateway.demo.xds.retrieval import Attachment

Fields = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Body:
    """What goes over HTTP, before its framing."""

    media_type: str
    runs: Sequence[Run]


def plain(personality: Personality, envelope: Sequence[Run], *, soap: str, action: str) -> Body:
    """The envelope alone."""
    return Body(personality.plain_type.format(**_words(personality, soap, action)), envelope)


def multipart(
    personality: Personality, envelope: Sequence[Run], attachments: Sequence[Attachment], *, soap: str, action: str
) -> Body:
    """The envelope and the documents beside it."""
    p = personality
    words = _words(p, soap, action)
    root = _part(p, _root_fields(p, words), envelope)
    documents = [run for one in attachments for run in _attachment(p, one)]
    idle = [run for number in range(p.idle_parts) for run in _idle(p, number)]
    parts = [*idle, *documents, *root] if p.root_last else [*root, *idle, *documents]
    # The line end that belongs to a delimiter is missing from the first one.
    first = fixed(p.preamble + b"--" + p.boundary.encode() + p.eol)
    return Body(p.multipart_type.format(**words), [first, *parts[1:], fixed(_close(p) + p.epilogue)])


def _words(personality: Personality, soap: str, action: str) -> dict[str, str]:
    """The placeholders of media types."""
    p = personality
    start = p.start.format(root_id=p.root_id)
    return {
        "boundary": p.boundary,
        "start": start,
        "root_id": p.root_id,
        "soap_type": names.MEDIA_TYPES[soap],
        "action": action,
        "charset": p.declared_charset or p.charset,
    }


def _root_fields(personality: Personality, words: dict[str, str]) -> Fields:
    return [
        ("Content-Type", personality.root_type.format(**words)),
        *_encoding(personality.root_encoding),
        ("Content-ID", personality.root_id_header.format(**words)),
    ]


def _attachment(personality: Personality, one: Attachment) -> Iterator[Run]:
    p = personality
    words = {"part_id": one.part_id, "escaped_part_id": one.escaped, "media_type": one.document.media_type}
    fields = [
        ("Content-Type", p.part_type.format(**words)),
        *_encoding(p.part_encoding),
        ("Content-ID", p.part_id_header.format(**words)),
    ]
    content = Stored(b"") if p.empty_document else one.document.content
    match p.part_encoding:
        case "base64":
            run = part_base64(content, p.eol)
        case "quoted-printable":
            run = quoted_printable(content)
        case _:
            run = binary(content)
    yield from _part(p, fields, [run])
    if p.duplicate_part:
        yield from _part(p, fields, [fixed(b"This is not the document.")])


def _idle(personality: Personality, number: int) -> Iterator[Run]:
    fields = [("Content-Type", "text/plain"), ("Content-ID", f"<idle-{number}@repository.example>")]
    yield from _part(personality, fields, [fixed(b"idle")])


def _part(personality: Personality, fields: Fields, content: Sequence[Run]) -> list[Run]:
    """The delimiter line in a run of its own, then the header, then the content."""
    p = personality
    length = total(content)
    if p.part_length is not None and length is not None:
        fields = [*fields, ("Content-Length", str(max(length + p.part_length, 0)))]
    if p.header_padding:
        fields = [*fields, ("X-Filler", "x" * p.header_padding)]
    head = p.eol.join(f"{_cased(p, name)}: {value}".encode() for name, value in fields)
    return [fixed(p.eol + b"--" + p.boundary.encode() + p.eol), fixed(head + p.eol + p.eol), *content]


def _encoding(value: str | None) -> Fields:
    return [] if value is None else [("Content-Transfer-Encoding", value)]


def _cased(personality: Personality, name: str) -> str:
    match personality.header_case:
        case "lower":
            return name.lower()
        case "upper":
            return name.upper()
        case _:
            return name


def _close(personality: Personality) -> bytes:
    p = personality
    end = b"--" + p.boundary.encode() + b"--"
    match p.close:
        case "missing":
            return b""
        case "no-eol-before":
            return end + p.eol
        case "no-eol-after":
            return p.eol + end
        case _:
            return p.eol + end + p.eol
