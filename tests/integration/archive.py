"""The documents that the requirement tests ask for, the archives they lie in, and strict readers of what comes back.

A reader checks all that one kind of answer always has to be, so that a test states only what it is about. Resources are
read back by fhir.resources, which refuses unknown and missing elements; base64 is decoded from the text itself, since
that library takes any.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from fhir.resources.R4B.binary import Binary as BinaryR4
from fhir.resources.R4B.capabilitystatement import CapabilityStatement as StatementR4
from fhir.resources.R4B.operationoutcome import OperationOutcome as OutcomeR4
from fhir.resources.STU3.binary import Binary as BinarySTU3
from fhir.resources.STU3.capabilitystatement import CapabilityStatement as StatementSTU3
from fhir.resources.STU3.operationoutcome import OperationOutcome as OutcomeSTU3
from lxml import etree

from adapters.filesystem import FilesystemAdapter
from adapters.memory import MemoryAdapter, MemoryOptions
from gateway.composing import opened
from gateway.fhir import Version
from gateway.http_server import HttpServer
from gateway.protocol.negotiation import Format
from gateway.routing import Location
from gateway.security.door import Door
from gateway.security.opening import open_authentication
from gateway.server import Pipeline
from gateway.settings import load
from gateway.telemetry import Telemetry
from tests.support.raw_http import Answer
from tests.support.scripted import Script
from tests.support.service import MakeAdapter, Service, scripted, service

NAMESPACE = "{http://hl7.org/fhir}"

MODIFIED = datetime(2024, 3, 1, 12, 0, 0, tzinfo=UTC)
LAST_MODIFIED = "Fri, 01 Mar 2024 12:00:00 GMT"

FHIR_JSON = "application/fhir+json;charset=utf-8"
FHIR_XML = "application/fhir+xml;charset=utf-8"
CONTENT_TYPES = {Format.JSON: FHIR_JSON, Format.XML: FHIR_XML}

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")

MODELS: dict[Version, dict[str, Any]] = {
    Version.STU3: {"Binary": BinarySTU3, "CapabilityStatement": StatementSTU3, "OperationOutcome": OutcomeSTU3},
    Version.R4: {"Binary": BinaryR4, "CapabilityStatement": StatementR4, "OperationOutcome": OutcomeR4},
}

every_version = pytest.mark.parametrize("version", Version, ids=lambda version: version.name)
every_format = pytest.mark.parametrize("format", Format, ids=lambda format: format.name)


class Stored(NamedTuple):
    """A document as its archive has it."""

    data: bytes
    media_type: str


LETTER = Stored(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(range(256)) * 4 + b"\n%%EOF\n", "application/pdf")

STORED = {
    "letter": LETTER,
    "page": Stored(b"<!DOCTYPE html><title>Clinic letter</title><script>alert(1)</script>", "text/html"),
    "picture": Stored(b"\x89PNG\r\n\x1a\n" + bytes(64), "image/png"),
    "photo": Stored(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(64), "image/jpeg"),
    "scan": Stored(b"II*\x00\x08\x00\x00\x00" + bytes(64), "image/tiff"),
    "note": Stored("Temp. 39° – naïve to opiates".encode("cp1252"), "text/plain"),
    "result": Stored(b'{"haemoglobin":141}', "application/json"),
    "cda": Stored(b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>', "application/xml"),
    "bundle": Stored(b'{"resourceType":"Bundle","type":"document"}', "application/fhir+json"),
    "composition": Stored(b'<Composition xmlns="http://hl7.org/fhir"/>', "application/fhir+xml"),
}
"""The documents of `letters`, by id; beside them are "gone", which was withdrawn, and "empty", which has no bytes."""


def memory(name: str, lent: Any) -> MemoryAdapter:
    """The documents above in memory: an archive that answers spans and cheap looks."""
    adapter = MemoryAdapter(name, MemoryOptions(), lent)
    for id, (data, media_type) in STORED.items():
        adapter.put(id, data, media_type, modified=MODIFIED)
    adapter.put("empty", b"", "application/pdf", modified=MODIFIED)
    adapter.put("gone", b"", "application/pdf")
    adapter.withdraw("gone")
    return adapter


@asynccontextmanager
async def letters(**options: Any) -> AsyncIterator[Service]:
    """A gateway in front of `memory`."""
    async with service({"letters": memory}, **options) as at:
        yield at


def folder(root: Path, **options: Any) -> MakeAdapter:
    """The files in `root`; `local=False` reads them as it would a network mount."""
    return lambda name, lent: FilesystemAdapter(name, FilesystemAdapter.Options(root=root, **options), lent)


@asynccontextmanager
async def composed(
    directory: Path,
    *,
    auth: Mapping[str, Any] | None = None,
    sources: Mapping[str, Any] | None = None,
    cache: Mapping[str, Any] | None = None,
    **fhir: Any,
) -> AsyncIterator[Service]:
    """One document in memory, served as `serve` puts it together from a configuration file with these `fhir` settings.

    `auth`, `sources` and `cache` take the place of mode none, of the document and of keeping nothing.

    Composing blocks the loop, as every start does: tests that use this are marked `blocking_allowed`.
    """
    source = {
        "adapter": "memory",
        "prefix": "",
        "ids": {"scheme": "template", "pattern": "{id}"},
        "options": {"documents": {"letter": "Dear colleague"}},
    }
    path = directory / "gateway.yaml"
    configuration = {
        "auth": auth or {"mode": "none"},
        "audit": {"mode": "none"},
        "cache": cache or {"backend": "none"},
        "fhir": fhir,
        "sources": sources or {"letters": source},
    }
    path.write_text(yaml.safe_dump(configuration))
    log = io.StringIO()
    telemetry = Telemetry(form="json", stream=log, key=b"test")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, telemetry.close)
        settings = load(path, {})
        gateway = await stack.enter_async_context(opened(settings, telemetry=telemetry))
        authentication = await stack.enter_async_context(
            open_authentication(settings.auth, settings.dialect, telemetry.log)
        )
        pipeline = Pipeline(gateway.handlers, telemetry, Door(authentication=authentication))
        server = HttpServer(pipeline, keepalive=5)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        stack.push_async_callback(server.shutdown, 0.5)
        stack.callback(listener.close)
        yield Service(listener.sockets[0].getsockname()[1], gateway.sources, pipeline, telemetry, log)


class Fixed:
    """Ids that lead to given locations; others raise what the archive raises."""

    def __init__(self, source: str, **locations: Any) -> None:
        self.source = source
        self.locations = locations

    async def locate(self, rest: str) -> Location:
        given = self.locations.get(rest, rest)
        if isinstance(given, BaseException):
            raise given
        return given if isinstance(given, Location) else Location(self.source, given)


KINDS = ("memory", "folder", "network folder", "stream", "stream of unknown size")


def make(kind: str, root: Path, documents: dict[str, Stored]) -> MakeAdapter:
    """An archive of this kind (one of `KINDS`) that holds `documents` by id: every way that bytes can take."""
    if kind == "memory":

        def filled(name: str, lent: Any) -> MemoryAdapter:
            adapter = MemoryAdapter(name, MemoryOptions(chunk_size=1000), lent)
            for id, (data, media_type) in documents.items():
                adapter.put(id, data, media_type, modified=MODIFIED)
            return adapter

        return filled
    if kind.endswith("folder"):
        for id, (data, _) in documents.items():
            (root / id).write_bytes(data)
            os.utime(root / id, (MODIFIED.timestamp(), MODIFIED.timestamp()))
        return folder(root, local=kind == "folder", chunk_size="3KiB")
    scripts = {}
    for id, (data, media_type) in documents.items():
        chunks = [data[at : at + 1000] for at in range(0, len(data), 1000)]
        scripts[id] = Script(chunks, size=None if "unknown" in kind else "true", media_type=media_type)
    return scripted(scripts)


def resource(answer: Answer, kind: str, version: Version, format: Format = Format.JSON) -> dict[str, Any]:
    """The FHIR resource in an answer, as JSON values, read by the model of its version."""
    assert answer.field("Content-Type") == CONTENT_TYPES[format]
    assert answer.complete
    model = MODELS[version][kind]
    if format is Format.XML:
        assert etree.fromstring(answer.body).tag == NAMESPACE + kind
        value = json.loads(model.model_validate_xml(answer.body).model_dump_json())
    else:
        value = answer.json()
        model.model_validate(value)
    assert value["resourceType"] == kind
    return dict(value)


def binary(answer: Answer, version: Version, format: Format = Format.JSON) -> dict[str, Any]:
    """The Binary in a 200, as JSON values, with its document's bytes (None without) under "bytes"."""
    assert answer.status == 200
    value = resource(answer, "Binary", version, format)
    text = _base64_text(answer.body, version, format)
    if text is not None:
        assert re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", text), "not one line of base64"
    return value | {"bytes": None if text is None else base64.b64decode(text, validate=True)}


def _base64_text(body: bytes, version: Version, format: Format) -> str | None:
    if format is Format.JSON:
        text: str | None = json.loads(body).get(version.content_element)
        return text
    element = etree.fromstring(body).find(NAMESPACE + version.content_element)
    return None if element is None else element.get("value")


def outcome(answer: Answer, version: Version = Version.R4, format: Format = Format.JSON) -> dict[str, Any]:
    """The one issue of the OperationOutcome in an error."""
    assert answer.status >= 400
    value = resource(answer, "OperationOutcome", version, format)
    (issue,) = value["issue"]
    assert issue["severity"] in ("fatal", "error", "warning", "information")
    assert issue["code"]
    assert issue["diagnostics"]
    return dict(issue)


def steady(answer: Answer) -> dict[str, str]:
    """The header fields but for those that differ from one answer to the next."""
    return {name: value for name, value in answer.fields if name not in ("Date", "X-Request-Id")}
