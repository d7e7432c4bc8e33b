"""What the envelope of a RetrieveDocumentSetResponse says: which documents are in it, and which is the one asked for.

Rules of this module: the envelope's words alone, not a document's bytes. A document is the one asked for when its
DocumentUniqueId is; a repository or a community that is called otherwise is forgiven, and told.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.xds.identifiers import bare, same_document
from adapters.xds.locator import DocumentKey
from adapters.xds.retrieval_errors import Statement
from adapters.xds.soap import Closed, ContentOpened, Fault, Malformed, Opened

_XDSB = "{urn:ihe:iti:xds-b:2007}"
_RESPONSE = _XDSB + "documentresponse"
_FIELDS = {
    _XDSB + name.lower(): name
    for name in (
        "HomeCommunityId",
        "RepositoryUniqueId",
        "DocumentUniqueId",
        "NewRepositoryUniqueId",
        "NewDocumentUniqueId",
        "mimeType",
    )
}


@dataclass(frozen=True, slots=True)
class Document:
    """What the answer states about the document; None for what it does not state.

    Identifiers are without `urn:oid:`. `media_type` is as it stands there, unchecked. `new_document` is the id of a document
    that was made for this request and is kept (on-demand entries).
    """

    repository: str | None
    document: str = field(repr=False)
    home: str | None
    media_type: str | None
    new_repository: str | None = None
    new_document: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Response:
    """One xdsb:DocumentResponse. `holds`: there is a Document in it."""

    stated: dict[str, str] = field(default_factory=dict)
    holds: bool = False


class Answer:
    """The envelope of a RetrieveDocumentSetResponse, as a `Meaning`."""

    content = frozenset({_XDSB + "document"})

    def __init__(self, asked: DocumentKey, *, may_bring: bool) -> None:
        self.statement = Statement()
        self.fault: Fault | None = None
        self.quirks: set[str] = set()
        self._asked = asked
        self._may_bring = may_bring
        self._responses: list[_Response] = []
        self._open: _Response | None = None
        self._holders: dict[int, _Response | None] = {}

    @property
    def brought_another(self) -> bool:
        """There is a document in the answer that is not the one asked for."""
        return any(one.holds and not self._is_asked(one) for one in self._responses) or None in self._holders.values()

    @property
    def brought_nothing(self) -> bool:
        """The document asked for is named, nothing says that it failed, and its bytes are not there."""
        return not self.statement.failed and any(not one.holds and self._is_asked(one) for one in self._responses)

    def read(self, event: Opened | Closed | Fault | ContentOpened) -> None:
        match event:
            case Opened(name) if name == _RESPONSE:
                if self._open is not None:
                    raise Malformed("there is one DocumentResponse within another")
                self._open = _Response()
                self._responses.append(self._open)
            case Opened():
                self.statement.read(event)
            case Closed(name) if name == _RESPONSE:
                self._open = None
            case Closed(name, text) if self._open is not None and name in _FIELDS:
                if self._open.stated.setdefault(_FIELDS[name], text) != text:
                    raise Malformed(f"a DocumentResponse has two different {_FIELDS[name]}")
            case ContentOpened(content):
                self._holders[content] = self._open
                if self._open is not None:
                    self._open.holds = True
            case Fault():
                self.fault = event
            case _:
                pass

    def wanted(self, content: int) -> bool | None:
        response = self._holders[content]
        if response is None or not self._may_bring:
            return False
        if "DocumentUniqueId" not in response.stated and response is self._open:
            return None
        return self._is_asked(response)

    def document(self, content: int) -> Document:
        """What is stated about the document asked for."""
        response = self._holders[content]
        assert response is not None
        stated = {name: text for name, text in response.stated.items() if text}
        repository, home = (_identifier(stated.get(name)) for name in ("RepositoryUniqueId", "HomeCommunityId"))
        if repository not in (None, self._asked.repository):
            self.quirks.add("repository-differs")
        if home != self._asked.home:
            self.quirks.add("home-differs")
        return Document(
            repository,
            bare(stated["DocumentUniqueId"]),
            home,
            stated.get("mimeType"),
            _identifier(stated.get("NewRepositoryUniqueId")),
            _identifier(stated.get("NewDocumentUniqueId")),
        )

    def _is_asked(self, response: _Response) -> bool:
        return same_document(response.stated.get("DocumentUniqueId", ""), self._asked.document)


def _identifier(text: str | None) -> str | None:
    return None if text is None else bare(text)
