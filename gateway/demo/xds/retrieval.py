"""ITI-43 Retrieve Document Set and ITI-39 Cross Gateway Retrieve: what is asked, and the answer as a tree.

Rules of this module: the profile decides (ITI TF-2 3.43.4, 3.39.4; errors ITI TF-3 table 4.2.4.1-2), then the switches
of the personality change what it decided. Nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from gateway.demo.xds import names
from gateway.demo.xds.asking import Asked, Node, Refused, sender
from gateway.demo.xds.contents import Run, Stored, inline_base64
from gateway.demo.xds.documents import Document, Shelf
from gateway.demo.xds.envelope import deferred, registry_response
from gateway.demo.xds.markup import Element, Raw, element, text_of
from gateway.demo.xds.personality import (
    ABSENT,
    FAILURE,
    PARTIAL,
    SUCCESS,
    Absent,
    Personality,
    RegistryError,
)

URN_OID = "urn:oid:"


@dataclass(frozen=True, slots=True)
class DocumentRequest:
    """One document that is asked for."""

    home: str | None
    repository: str
    document: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document that travels in a part of its own."""

    document: Document
    number: int
    part_id: str

    @property
    def escaped(self) -> str:
        return quote(self.part_id, safe="")


def wanted(asked: Asked) -> list[DocumentRequest]:
    """The documents that a request names. Raises `Refused` where it is against the schema (IHEXDSB.xsd)."""
    if asked.body.name != f"{{{names.XDSB}}}RetrieveDocumentSetRequest":
        raise Refused(sender(f"Unexpected element {asked.body.name} found"), soap=asked.soap)
    found = [_document_request(one, asked.soap) for one in asked.body.children]
    if not found:
        raise Refused(sender("RetrieveDocumentSetRequest holds no DocumentRequest"), soap=asked.soap)
    if len({one.home is None for one in found}) > 1:
        raise Refused(sender("HomeCommunityId stands in some requests and not in others"), soap=asked.soap)
    return found


def _document_request(node: Node, soap: str) -> DocumentRequest:
    order = [child.name.removeprefix(f"{{{names.XDSB}}}") for child in node.children]
    ids = ["RepositoryUniqueId", "DocumentUniqueId"]
    if node.name != f"{{{names.XDSB}}}DocumentRequest" or order not in (ids, ["HomeCommunityId", *ids]):
        raise Refused(sender("DocumentRequest does not follow its schema"), soap=soap)
    *home, repository, document = [child.text for child in node.children]
    return DocumentRequest(home[0] if home else None, repository, document)


class Retrieval:
    """Answers to one request. `packaging` says whether documents stand inside the envelope or beside it."""

    def __init__(self, shelf: Shelf, personality: Personality, *, home: str, cross: bool, packaging: str) -> None:
        self._shelf = shelf
        self._personality = personality
        self._home = home
        self._cross = cross
        self._packaging = packaging
        self.attachments: list[Attachment] = []

    def respond(self, requests: Sequence[DocumentRequest]) -> Element:
        """The RetrieveDocumentSetResponse; `attachments` then holds what goes beside it."""
        p = self._personality
        if len(requests) > p.most_documents:
            errors = [RegistryError("XDSRepositoryError", "Too many documents in one request")]
            found: list[tuple[DocumentRequest, Document]] = []
        else:
            looked_up = [(one, self._find(one)) for one in requests]
            found = [(one, what) for one, what in looked_up if isinstance(what, Document)]
            errors = [what for _, what in looked_up if isinstance(what, RegistryError)]
        status = SUCCESS if not errors else PARTIAL if found else FAILURE
        said, children = registry_response(p, status, errors)
        if p.deferred:
            children = [deferred("urn:uuid:7f2d1b0a-3c4e-5d6f-8091-a2b3c4d5e6f7"), *children]
        documents = [self._document_response(one, document) for one, document in self._sent(found)]
        return element(
            "xdsb:RetrieveDocumentSetResponse", element("rs:RegistryResponse", *children, status=said), *documents
        )

    def _find(self, request: DocumentRequest) -> Document | RegistryError:
        """The document, or why there is none."""
        location = self._home if self._cross else None
        if self._cross and request.home is None:
            return RegistryError("XDSMissingHomeCommunityId", "HomeCommunityId is missing", location=location)
        if request.home not in (None, self._home):
            return RegistryError("XDSUnknownCommunity", "The community is not known", location=location)
        repository = self._repository(request.repository)
        if repository not in {one.repository for one in self._shelf}:
            return RegistryError("XDSUnknownRepositoryId", "The repository is not known", location=location)
        for one in self._shelf:
            if one.repository == repository and request.document in (one.unique_id, one.new_id):
                return one
        return RegistryError("XDSDocumentUniqueIdError", "The document is not available", location=location)

    def _repository(self, said: str) -> str | None:
        wants = self._personality.repository_prefix
        if wants is None:
            return said
        return said.removeprefix(URN_OID) if said.startswith(URN_OID) == wants else None

    def _sent(self, found: list[tuple[DocumentRequest, Document]]) -> list[tuple[DocumentRequest, Document]]:
        """What goes out for what was found."""
        strangers = [(_asking_for(one, self._shelf.another(what)), self._shelf.another(what)) for one, what in found]
        match self._personality.answers:
            case "none":
                return []
            case "another":
                return strangers
            case "two":
                return strangers + found
            case _:
                return found

    def _document_response(self, request: DocumentRequest, document: Document) -> Element:
        p = self._personality
        home = self._home if self._cross or request.home is not None else None
        new_id = document.new_id if document.new_id != request.document else None
        return element(
            "xdsb:DocumentResponse",
            _optional(f"xdsb:{p.home_tag}", _said(p.says_home, home)),
            _optional("xdsb:RepositoryUniqueId", _said(p.says_repository, request.repository)),
            _optional("xdsb:DocumentUniqueId", _said(p.says_document, request.document)),
            _optional("xdsb:NewRepositoryUniqueId", document.repository if new_id else None),
            _optional("xdsb:NewDocumentUniqueId", new_id),
            self._media_type(document),
            element("xdsb:Document", *self._content(document)),
        )

    def _media_type(self, document: Document) -> Element | None:
        p = self._personality
        if p.media_type is ABSENT:
            return None
        if p.doctype in ("entities", "external"):
            return element("xdsb:mimeType", Raw("&e9;"))
        return element("xdsb:mimeType", _said(p.media_type, document.media_type))

    def _content(self, document: Document) -> list[Element | str | Run]:
        p = self._personality
        content = Stored(b"") if p.empty_document else document.content
        if self._packaging in ("plain", "unoptimised"):
            if p.text == "base64":
                return [inline_base64(content, p.inline)]
            text = b"".join(content.chunks()).decode()
            data = (f"<![CDATA[{text}]]>" if p.text == "cdata" else text_of(text)).encode()
            return [Run(lambda: (data,), len(data), payload=True)]
        number = len(self.attachments) + 1
        attachment = Attachment(document, number, p.part_id.format(number=number))
        self.attachments.append(attachment)
        href = p.href.format(part_id=attachment.part_id, escaped_part_id=attachment.escaped)
        if self._packaging == "swa":
            return [href]
        return [
            *filter(None, (p.include_around,)),
            element("xop:Include", href=href),
            *filter(None, (p.include_around,)),
        ]


def _asking_for(request: DocumentRequest, document: Document) -> DocumentRequest:
    return DocumentRequest(request.home, document.repository, document.unique_id)


def _said(said: str | Absent | None, truth: str | None) -> str | None:
    """What is written for the truth."""
    if isinstance(said, Absent):
        return None
    return truth if said is None else said


def _optional(name: str, text: str | None) -> Element | None:
    return None if text is None else element(name, text)
