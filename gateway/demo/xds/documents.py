"""The documents that a fake repository holds, with what its registry says of each.

Rules of this module: everything here is invented and the same on every run. What a registry states may be wrong on
purpose; what a document holds never is.
"""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.demo import LARGE_DOCUMENT
from gateway.demo.xds.contents import Content, Generated, Stored

ROOT = "2.25.329800735698586629295641978511506172918"
"""The arc below which all identifiers are made: the one that Rec. ITU-T X.667 gives as its example."""

REPOSITORY = f"{ROOT}.1"
OTHER_REPOSITORY = f"{ROOT}.2"
HOME = f"urn:oid:{ROOT}.3"
PATIENTS = f"{ROOT}.4"
"""The assigning authority of the patients' numbers."""

STABLE = "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1"
ON_DEMAND = "urn:uuid:34268e47-fdf5-41a6-ba33-82133c465248"
"""The two object types of a document entry (ITI TF-3 4.2.5.2)."""

APPROVED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"
DEPRECATED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated"

EMPTY_SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
"""With the size 0 it stands for a document that is not assembled yet (Delayed Document Assembly)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document and its entry in the registry.

    `stated_size` and `stated_sha1` are what the registry says instead of the truth; an on-demand entry has neither.
    `new_id` is the id under which an on-demand document is kept once it was made.
    """

    unique_id: str
    content: Content
    media_type: str = "application/pdf"
    title: str = "Letter"
    repository: str = REPOSITORY
    home: str | None = None
    patient: str = f"9990000018^^^&{PATIENTS}&ISO"
    status: str = APPROVED
    object_type: str = STABLE
    created: str = "20210309"
    availability: str | None = None
    stated_size: int | None = None
    stated_sha1: str | None = None
    new_id: str | None = None

    @property
    def entry_uuid(self) -> str:
        """The entry's own id in the registry, derived from the document's."""
        return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, self.unique_id)}"

    @property
    def size(self) -> int | None:
        """What the registry states, in bytes."""
        if self.stated_size is not None:
            return self.stated_size
        return None if self.object_type == ON_DEMAND else self.content.size

    @property
    def sha1(self) -> str | None:
        """What the registry states, in hex. Reads generated content once."""
        if self.stated_sha1 is not None:
            return self.stated_sha1
        return None if self.object_type == ON_DEMAND else self.content.sha1

    @property
    def data(self) -> bytes:
        """All bytes at once, for comparing."""
        return b"".join(self.content.chunks())


class Shelf:
    """Documents by their ids, in the order in which they were put there."""

    def __init__(self, documents: Iterable[Document] = ()) -> None:
        self._documents: dict[str, Document] = {}
        for document in documents:
            self.put(document)

    def put(self, document: Document) -> Document:
        """Add a document, or replace the one of the same id."""
        self._documents[document.unique_id] = document
        return document

    def remove(self, unique_id: str) -> None:
        """Forget a document. Raises `KeyError`."""
        del self._documents[unique_id]

    def find(self, unique_id: str) -> Document | None:
        return self._documents.get(unique_id)

    def another(self, document: Document) -> Document:
        """A document of somebody else, for answers with the wrong one."""
        for other in self:
            if other.patient != document.patient:
                return other
        return replace(
            document,
            unique_id=f"{ROOT}.5.999",
            patient=f"9990000026^^^&{PATIENTS}&ISO",
            content=Stored(b"%PDF-1.4\n% This letter belongs to somebody else.\n"),
        )

    def __iter__(self) -> Iterator[Document]:
        return iter(self._documents.values())


def letter(number: int, *, size: int = 20_000) -> Document:
    """A letter that looks like a PDF, of about `size` bytes; each number is another patient's."""
    text = b"%PDF-1.7\n% Invented letter number "
    filling = b"".join(Generated(max(size - 64, 0), seed=f"letter {number}").chunks())
    return Document(
        unique_id=f"{ROOT}.5.{number}",
        content=Stored(text + b"%d\n" % number + filling + b"\n%%EOF\n"),
        patient=f"{9990000000 + number}^^^&{PATIENTS}&ISO",
    )


def large(size: int, *, unique_id: str = f"{ROOT}.5.300000000") -> Document:
    """A document of `size` bytes that is made while it is sent."""
    return Document(
        unique_id=unique_id, content=Generated(size, seed="large"), media_type="image/tiff", title="Case notes, scanned"
    )


def on_demand(number: int) -> Document:
    """An entry whose document is made when it is asked for, and kept under a new id."""
    made = letter(number)
    return replace(made, object_type=ON_DEMAND, new_id=f"{made.unique_id}.1")


def unassembled(number: int) -> Document:
    """An entry whose size and hash are not known before it is first retrieved (Delayed Document Assembly)."""
    return replace(letter(number), stated_size=0, stated_sha1=EMPTY_SHA1)


def from_archive(directory: Path) -> Iterator[Document]:
    """The documents of the sample archive, but for the large one. Raises `OSError`."""
    with (directory / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows, start=1):
        path = directory / row["path"]
        if Path(row["path"]) == LARGE_DOCUMENT:
            continue
        yield Document(
            unique_id=f"{ROOT}.6.{number}",
            content=Stored(path.read_bytes()),
            media_type=row["content_type"] or _TYPES.get(path.suffix.lower(), "application/octet-stream"),
            title=row["title"],
            patient=f"{row['patient']}^^^&{PATIENTS}&ISO",
            status=DEPRECATED if row["status"] == "withdrawn" else APPROVED,
            created=row["date"][:10].replace("-", ""),
        )


_TYPES = {
    ".jpg": "image/jpeg",
    ".tif": "image/tiff",
    ".txt": "text/plain",
    ".xml": "text/xml",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}
