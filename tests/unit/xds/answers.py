"""Response bodies as repositories write them, and a caller of `RetrievalReader` that does as its docstring says.

Nothing here is shared with the readers: bodies are put together as text.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from adapters.xds.locator import DocumentKey
from adapters.xds.retrieval import Document, Found, Held, Outcome, RetrievalReader
from adapters.xds.soap import Limits, Tolerance

SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
XOP = "http://www.w3.org/2004/08/xop/include"
ASKED = DocumentKey(None, "1.2.3.4.5", "1.2.3.4.5.6^7")
SUCCESS = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"
FAILURE = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Failure"
PARTIAL = "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"
PLAIN = "application/soap+xml; charset=UTF-8"
PDF = b"%PDF-1.7\r\n\x00\xff\r\n--\r\n%%EOF\r\n"


def include(href: str) -> str:
    return f'<xop:Include xmlns:xop="{XOP}" href="{href}"/>'


def inline(data: bytes) -> str:
    return base64.b64encode(data).decode()


def response(
    content: str | None,
    *,
    document: str | None = ASKED.document,
    repository: str = ASKED.repository,
    home: str | None = None,
    more: str = "",
    mime: str | None = "application/pdf",
) -> str:
    """One DocumentResponse; `content` is what stands in Document, None for no Document."""
    return (
        "<x:DocumentResponse>"
        + (f"<x:HomeCommunityId>{home}</x:HomeCommunityId>" if home else "")
        + f"<x:RepositoryUniqueId>{repository}</x:RepositoryUniqueId>"
        + (f"<x:DocumentUniqueId>{document}</x:DocumentUniqueId>" if document is not None else "")
        + more
        + (f"<x:mimeType>{mime}</x:mimeType>" if mime is not None else "")
        + (f"<x:Document>{content}</x:Document>" if content is not None else "")
        + "</x:DocumentResponse>"
    )


def error(code: str, severity: str = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Error") -> str:
    return f'<rs:RegistryError codeContext="Mary Smith" errorCode="{code}" severity="{severity}"/>'


def retrieved(
    *responses: str, status: str = SUCCESS, errors: Iterable[str] | None = None, soap: str = SOAP_12
) -> bytes:
    """An envelope with a RetrieveDocumentSetResponse."""
    listed = "" if errors is None else f"<rs:RegistryErrorList>{''.join(errors)}</rs:RegistryErrorList>"
    return in_body(
        '<x:RetrieveDocumentSetResponse xmlns:x="urn:ihe:iti:xds-b:2007">'
        '<rs:RegistryResponse xmlns:rs="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0" '
        f'status="{status}">{listed}</rs:RegistryResponse>{"".join(responses)}</x:RetrieveDocumentSetResponse>',
        soap=soap,
    )


def in_body(content: str, *, soap: str = SOAP_12, header: str = "") -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<env:Envelope xmlns:env="{soap}"><env:Header>{header}</env:Header><env:Body>{content}</env:Body></env:Envelope>'
    ).encode()


@dataclass(frozen=True)
class Mime:
    """One part. `fields` are header lines without their end."""

    data: bytes
    fields: Sequence[str] = ()


def root(envelope: bytes, *fields: str, id: str = "<root@x>") -> Mime:
    own = fields or ('Content-Type: application/xop+xml; charset=UTF-8; type="application/soap+xml"',)
    return Mime(envelope, [*own, f"Content-ID: {id}"])


def attachment(data: bytes, id: str = "<doc@x>", *fields: str) -> Mime:
    own = fields or ("Content-Type: application/octet-stream", "Content-Transfer-Encoding: binary")
    return Mime(data, [*own, f"Content-ID: {id}"])


def multipart(
    *parts: Mime,
    boundary: str = "uuid:1b2c-3d",
    eol: bytes = b"\r\n",
    preamble: bytes = b"",
    close: bytes | None = None,
    epilogue: bytes = b"\r\n",
) -> bytes:
    """`close` replaces the closing delimiter, with the line end before it."""
    line = b"--" + boundary.encode("latin-1")
    body = preamble
    for part in parts:
        head = b"".join(one.encode("latin-1") + eol for one in part.fields)
        body += line + eol + head + eol + part.data + eol
    if close is None:
        return body + line + b"--" + epilogue
    return body[: -len(eol)] + close


def related(boundary: str = "uuid:1b2c-3d", start: str | None = "<root@x>", type: str = "application/xop+xml") -> str:
    named = "" if start is None else f'; start="{start}"'
    return f'multipart/related; boundary="{boundary}"; type="{type}"{named}; start-info="application/soap+xml"'


def mtom(data: bytes = PDF, href: str = "cid:doc@x", id: str = "<doc@x>") -> bytes:
    """The plainest MTOM answer: the envelope, then the document."""
    return multipart(root(retrieved(response(include(href)))), attachment(data, id))


@dataclass
class Reading:
    """What a caller has in the end."""

    outcome: Outcome | None = None
    document: Document | None = None
    data: bytes = b""
    quirks: frozenset[str] = frozenset()
    held: dict[int, bytes] = field(default_factory=dict)
    largest: int = 0

    @property
    def facts(self) -> Document:
        assert self.document is not None
        return self.document


def read(
    body: bytes,
    content_type: str | None = None,
    *,
    asked: DocumentKey = ASKED,
    status: int = 200,
    step: int | Sequence[int] | None = None,
    complete: bool = True,
    limits: Limits | None = None,
    tolerance: Tolerance | None = None,
) -> Reading:
    """Feed `body` in chunks of `step` bytes, or cut at each place in `step`, and keep the rules of the reader's docstring."""
    reader = RetrievalReader(asked, status, content_type or related(), limits=limits, tolerance=tolerance)
    reading = Reading()

    def take(events: Iterable[object]) -> None:
        for event in events:
            match event:
                case Found(document, held):
                    assert reading.outcome is None
                    assert reading.document is None
                    reading.document = document
                    reading.data = reading.held.get(held, b"") if held is not None else b""
                case bytes():
                    assert reading.document is not None, "bytes before the document is known"
                    assert reading.outcome is None, "bytes after the outcome"
                    assert event
                    reading.data += event
                    reading.largest = max(reading.largest, len(event))
                case Held(key, data):
                    assert reading.document is None
                    assert data
                    reading.held[key] = reading.held.get(key, b"") + data
                    reading.largest = max(reading.largest, len(data))
                case _:
                    assert reading.outcome is None, "two outcomes"
                    reading.outcome = event  # type: ignore[assignment]

    for chunk in cut(body, step):
        take(reader.feed(chunk))
    take(reader.end(complete=complete))
    assert reading.outcome is not None
    reading.quirks = reader.quirks
    return reading


def cut(body: bytes, step: int | Sequence[int] | None) -> list[bytes]:
    match step:
        case None:
            return [body]
        case int():
            return [body[at : at + step] for at in range(0, len(body), step)]
        case _:
            places = sorted({0, len(body), *(place % (len(body) + 1) for place in step)})
            return [body[a:b] for a, b in itertools.pairwise(places)]
