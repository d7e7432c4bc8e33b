"""What readers get from the repositories that the fake one imitates: real requests to a gateway in front of it, over HTTP.

Every cell of `measured` is one request. Documents are compared by their SHA-256, envelopes after they were parsed and decoded;
what does not fit is in the cell in capital letters, and never passes for a result.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lxml import etree

from adapters.xds import arrival
from gateway.demo.xds import PERSONALITIES, Document, FakeRepository, Stored, large, letter, on_demand, unassembled
from gateway.demo.xds.documents import DEPRECATED
from gateway.demo.xds.vendors import boundary_prefixes
from tests.support.raw_http import Answer, Ending
from tests.support.xds import fake_repository
from tests.support.xds_gateway import XdsGateway, options, xds_gateway

COLUMNS = ("native", "JSON", "XML", "HEAD", "range", "conditional")

ASKED = (
    "axis2", "cxf", "metro", "wcf", "nist", "inline", "plain-soap12", "soap11", "swa", "lf-only", "no-close", "truncated",
    "wrong-part-length", "gzip", "slow-drip", "reset", "empty-200", "fault-200", "fault-multipart", "html-login",
    "http-include", "dup-cid", "encoded-cid", "root-last", "base64-cte", "raw-xml-document", "wrong-id",
    "success-with-errors", "deferred",
)  # fmt: skip
"""What the fake repository must be able to be: kinds of answer, whether they come from a stack, a habit or a fault."""

SHORT, LONG = letter(1), large(1_000_000)


def _text(number: int, lines: int) -> Document:
    """A document in XML, for repositories that write it into the envelope as it is."""
    body = b"<ClinicalDocument>" + b"\n  <text>All of it is invented.</text>" * lines + b"\n</ClinicalDocument>"
    return replace(letter(number), content=Stored(body), media_type="text/xml")


SHORT_TEXT, LONG_TEXT = _text(10, 500), _text(11, 20_000)
TINY = large(200, unique_id="1.2.3.200")

FROM, TO = 100, 149
"""The bytes of the range that is asked for, both included."""

SITUATIONS: Mapping[str, tuple[str, ...]] = {"short": (), "long": (), "verified": ("stat", "verify")}
"""What the registry is used for: nothing where there is none. The short document is asked for in the first alone."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: what is asked, and how. `options` are those that the endpoint needs for it."""

    name: str
    document: Document
    use_for: tuple[str, ...] = ()
    personality: str = "standard"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hurried(self) -> bool:
        """Whether the patience for short documents is the product's own: this repository is slower than any patience."""
        return self.personality == "slow-drip"


Cells = tuple[str, ...]
Tables = dict[str, dict[str, Cells]]


def needed(personality: str) -> dict[str, Any]:
    """The options without which this repository cannot be read."""
    vendor = PERSONALITIES.get(personality)
    if vendor is None:
        return {}
    given: dict[str, Any] = {}
    if "mtom" not in vendor.accepts:
        (given["request_encoding"],) = vendor.accepts
    if vendor.text != "base64":
        given["allow_raw_text"] = True
    return given


def personality_lines(situation: str) -> list[Line]:
    """Every personality, and every fault that `ASKED` names, in one situation."""
    names = [*PERSONALITIES, *(name for name in ASKED if name not in PERSONALITIES)]
    return [Line(name, _document(name, situation), SITUATIONS[situation], name, needed(name)) for name in names]


def _document(personality: str, situation: str) -> Document:
    if personality == "slow-drip":
        return TINY
    if personality == "raw-xml-document":
        return SHORT_TEXT if situation == "short" else LONG_TEXT
    return SHORT if situation == "short" else LONG


EMPTY = replace(letter(6), content=Stored(b""))

REGISTRY_LINES = [
    Line("no registry", LONG),
    Line("`use_for: [stat]`", LONG, ("stat",)),
    Line("`use_for: [verify]`", LONG, ("verify",)),
    Line("`use_for: [stat, verify]`", LONG, ("stat", "verify")),
]

DOCUMENT_LINES = [
    Line("made on demand, `on_demand: true`", on_demand(4), options={"on_demand": True}),
    Line("made on demand, found out by its new id", on_demand(4)),
    Line("not assembled yet (size 0 in the registry)", unassembled(5), ("stat", "verify")),
    Line("of no bytes", EMPTY),
    Line(
        "deprecated, `use_for: [stat, availability]`", replace(letter(7), status=DEPRECATED), ("stat", "availability")
    ),
    Line("that the registry does not know", replace(letter(8), unique_id="1.2.3.8"), ("stat", "verify")),
    Line(
        "that holds near misses of every boundary",
        replace(letter(9), content=Stored(boundary_prefixes()), unique_id="1.2.3.9"),
        personality="strange-boundary",
    ),
]

UNKNOWN = {"1.2.3.8"}
"""Documents that nobody has."""


async def measured() -> Tables:
    """{table: {line: cells}}. Takes some seconds."""
    tables = {name: personality_lines(name) for name in SITUATIONS}
    tables |= {"registry": REGISTRY_LINES, "documents": DOCUMENT_LINES}
    lines = [(table, line) for table, all in tables.items() for line in all]
    async with _served([line for _, line in lines]) as gateway:
        results: dict[int, Cells] = {}
        etags: dict[tuple[str, tuple[str, ...]], str] = {}
        with _patience(10.0):
            for number, (_, line) in enumerate(lines):
                if not line.hurried:
                    results[number] = await _cells(gateway, number, line, etags)
        hurried = [number for number, (_, line) in enumerate(lines) if line.hurried]
        for number, cells in zip(
            hurried, await asyncio.gather(*(_cells(gateway, at, lines[at][1], etags) for at in hurried)), strict=True
        ):
            results[number] = cells
    found: Tables = {table: {} for table in tables}
    for number, (table, line) in enumerate(lines):
        found[table][line.name] = results[number]
    return found


@asynccontextmanager
async def _served(lines: Sequence[Line]) -> AsyncIterator[XdsGateway]:
    """A gateway with a source for each line, named by its number."""
    documents = {line.document.unique_id: line.document for line in lines}
    held = [document for id, document in documents.items() if id not in UNKNOWN]
    with tempfile.TemporaryDirectory() as directory:
        async with fake_repository(letter(2), *held) as fake:
            sources = {f"s{number}": _options(fake, line) for number, line in enumerate(lines)}
            async with xds_gateway(sources, Path(directory)) as gateway:
                yield gateway


def _options(fake: FakeRepository, line: Line) -> dict[str, Any]:
    return options(fake, personality=line.personality, use_for=line.use_for, **line.options)


class _patience:
    """A short document is waited for however slow this machine is."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._before = arrival.PATIENCE
        arrival.PATIENCE = self._seconds

    def __exit__(self, *_: object) -> None:
        arrival.PATIENCE = self._before


# --- one line ------------------------------------------------------------------------------------------------------


async def _cells(gateway: XdsGateway, number: int, line: Line, etags: dict[Any, str]) -> Cells:
    """The cells of one line. `etags` remembers those of documents, for repositories that do not give the document."""

    async def ask(base: str = "R4", **more: str) -> Answer:
        return await gateway.ask(f"s{number}", line.document, base=base, **more)

    native = await ask()
    key = line.document.unique_id, line.use_for
    etag = native.field("ETag") if native.status == 200 else etags.get(key)
    if etag is not None:
        etags.setdefault(key, etag)
    json, xml, head, part, conditional = await asyncio.gather(
        ask(accept="application/fhir+json"),
        ask(base="STU3", accept="application/fhir+xml"),
        ask(method="HEAD"),
        ask(range=f"bytes={FROM}-{TO}"),
        ask(if_none_match=etag or 'W/"none"'),
    )
    data = line.document.data
    return (
        _body(native, data, native.body),
        _json(json, data),
        _xml(xml, data),
        _head(head, native),
        _range(part, data),
        "no ETag" if etag is None else _conditional(conditional, etag),
    )


def _refusal(answer: Answer) -> str | None:
    """The cell of an answer that is not the document; None for the document."""
    if answer.status in (200, 206) and not answer.complete:
        return f"{answer.status}, reset" if answer.ending is Ending.RESET else "CUT AND NOT RESET"
    if answer.status in (200, 206, 304):
        return None
    codes = [coding["code"] for coding in answer.json()["issue"][0]["details"]["coding"]]
    return f"{answer.status} {codes[0]}"


def _same(found: bytes, data: bytes) -> bool:
    return hashlib.sha256(found).digest() == hashlib.sha256(data).digest()


def _body(answer: Answer, data: bytes, found: bytes | None) -> str:
    """`found` is the document that the body carries."""
    if (refusal := _refusal(answer)) is not None:
        return refusal
    if found is None or not _same(found, data):
        return "WRONG BYTES"
    return f"200 {answer.framing}"


def _json(answer: Answer, data: bytes) -> str:
    if answer.status != 200 or not answer.complete:
        return _body(answer, data, None)
    return _body(answer, data, base64.b64decode(answer.json().get("data", ""), validate=True))


def _xml(answer: Answer, data: bytes) -> str:
    if answer.status != 200 or not answer.complete:
        if answer.status >= 400:
            return _xml_refusal(answer)
        return _body(answer, data, None)
    root = etree.fromstring(answer.body, etree.XMLParser(huge_tree=True, resolve_entities=False))
    content = root.find("{http://hl7.org/fhir}content")
    value = None if content is None else base64.b64decode(content.get("value", ""), validate=True)
    return _body(answer, data, value)


def _xml_refusal(answer: Answer) -> str:
    codes = etree.fromstring(answer.body).findall(".//{http://hl7.org/fhir}coding/{http://hl7.org/fhir}code")
    return f"{answer.status} {codes[0].get('value')}"


def _head(answer: Answer, native: Answer) -> str:
    if answer.status != 200:
        return str(answer.status)
    fields = ["Content-Type", "ETag", "Content-Disposition"]
    if answer.field("Content-Length") and native.framing == "length":
        fields.append("Content-Length")
    if native.status == 200 and any(answer.field(name) != native.field(name) for name in fields):
        return "OTHER HEADERS THAN GET"
    return "200 length" if answer.field("Content-Length") else "200, no length"


def _range(answer: Answer, data: bytes) -> str:
    if (refusal := _refusal(answer)) is not None:
        return refusal
    if answer.status == 200:
        return "200 whole" if _same(answer.body, data) and answer.field("Content-Range") is None else "WRONG BYTES"
    right = answer.field("Content-Range") == f"bytes {FROM}-{TO}/{len(data)}" and answer.framing == "length"
    return "206" if right and _same(answer.body, data[FROM : TO + 1]) else "WRONG PART"


def _conditional(answer: Answer, etag: str) -> str:
    if answer.status == 304:
        return "304" if answer.body == b"" and answer.field("ETag") == etag else "WRONG 304"
    return _refusal(answer) or "200, NOT 304"
