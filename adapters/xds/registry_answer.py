"""What a registry says about one document: the answer to GetDocuments (ITI-18; IHE ITI TF-3 4.2.3.2).

    reader = EntriesReader(content_type)
    reader.feed(chunk); reader.end(complete=True)
    reader.entries, reader.errors, reader.fault

Rules of this module: no I/O. Only what is needed is read, and read leniently: what makes no sense counts as not stated, since a
registry that is careless about one attribute still knows the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.contract import Digest
from adapters.xds.identifiers import bare
from adapters.xds.retrieval_errors import RegistryError, Statement
from adapters.xds.soap import Closed, Fault, Malformed, MessageReader, Opened

QUERY_RESPONSE = "{urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0}adhocqueryresponse"

_RIM = "{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}"
_ENTRY, _SLOT, _VALUE, _IDENTIFIER = (
    _RIM + name for name in ("extrinsicobject", "slot", "value", "externalidentifier")
)
_UNIQUE_ID = "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab"
_ON_DEMAND = "urn:uuid:34268e47-fdf5-41a6-ba33-82133c465248"
_EMPTY_SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"

MOST_ENTRIES = 64
"""Entries of one document that are kept: its versions in the registry."""

_size = re.compile(r"[0-9]{1,15}", re.ASCII).fullmatch
_hex = re.compile(r"[0-9a-fA-F]+", re.ASCII).fullmatch
_DIGESTS = {40: "sha1", 64: "sha256"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A DocumentEntry. Everything but `document` is None when it is not stated. `status` is such as "Approved".

    `settled` is false for a document that is made when it is asked for (on-demand, or delayed assembly): its `size` and
    `digest` are not known before.
    """

    document: str = field(repr=False)
    repository: str | None
    home: str | None
    status: str | None
    media_type: str | None
    size: int | None
    digest: Digest | None
    settled: bool

    @property
    def deprecated(self) -> bool:
        return self.status == "Deprecated"


@dataclass(slots=True)
class _Found:
    attributes: dict[str, str]
    slots: dict[str, str] = field(default_factory=dict)
    document: str = ""


class EntriesReader:
    """Reads one response body. `feed` and `end` raise `Malformed` and `LimitExceeded`.

    `answered`: the body is an AdhocQueryResponse.
    """

    def __init__(self, content_type: str | None) -> None:
        self._message = MessageReader(content_type)
        self._statement = Statement()
        self._found: list[_Found] = []
        self._open: _Found | None = None
        self._slot: str | None = None
        self.answered = False
        self.fault: Fault | None = None

    @property
    def errors(self) -> list[RegistryError]:
        return self._statement.errors

    @property
    def status(self) -> str | None:
        return self._statement.status

    @property
    def failed(self) -> bool:
        """Whether there is an error that is no mere warning."""
        return self._statement.failed

    @property
    def entries(self) -> list[Entry]:
        """The entries, in the registry's order."""
        return [_entry(found) for found in self._found]

    def feed(self, data: bytes) -> None:
        """The next bytes of the body."""
        for event in self._message.feed(data):
            self._read(event)

    def end(self, *, complete: bool) -> None:
        """The body has ended. `complete` as for `MessageReader.end`."""
        for event in self._message.end(complete=complete):
            self._read(event)
        if not self._message.envelope_closed:
            raise Malformed("the registry's answer broke off")

    def _read(self, event: object) -> None:
        match event:
            case Opened(name, attributes):
                self._statement.read(event)
                self.answered = self.answered or name == QUERY_RESPONSE
                if name == _ENTRY and len(self._found) < MOST_ENTRIES:
                    self._open = _Found(dict(attributes))
                    self._found.append(self._open)
                elif name == _SLOT:
                    self._slot = attributes.get("name", "")
                elif self._open is not None and _names_document(name, attributes):
                    self._open.document = attributes.get("value", "")
            case Closed(name, text):
                if name == _ENTRY:
                    self._open = None
                elif name == _SLOT:
                    self._slot = None
                elif name == _VALUE and self._open is not None and self._slot:
                    self._open.slots.setdefault(self._slot.lower(), text)
            case Fault():
                self.fault = event
            case _:
                pass


def _names_document(name: str, attributes: Mapping[str, str]) -> bool:
    return name == _IDENTIFIER and attributes.get("identificationscheme", "").lower() == _UNIQUE_ID


def _entry(found: _Found) -> Entry:
    attributes, slots = found.attributes, found.slots
    size, digest = slots.get("size", ""), slots.get("hash", "").strip()
    on_demand = attributes.get("objecttype", "").lower() == _ON_DEMAND
    unassembled = size.strip() == "0" and digest.lower() == _EMPTY_SHA1
    settled = not on_demand and not unassembled
    return Entry(
        bare(found.document),
        bare(slots["repositoryuniqueid"]) if slots.get("repositoryuniqueid") else None,
        bare(attributes["home"]) if attributes.get("home") else None,
        attributes["status"].rpartition(":")[2] if attributes.get("status") else None,
        attributes.get("mimetype"),
        int(size) if settled and _size(size) else None,
        Digest(_DIGESTS[len(digest)], bytes.fromhex(digest))
        if settled and len(digest) in _DIGESTS and _hex(digest)
        else None,
        settled,
    )
