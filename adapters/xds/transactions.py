"""The requests of XDS.b: what ITI-43, ITI-39 and ITI-18 ask, and under which action.

Rules of this module: pure; the vocabulary of IHE ITI TF-2 3.18, 3.39 and 3.43 and nothing of SOAP or HTTP. Identifiers come as
they are to stand on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.xds.request import element, escaped

XDSB = "urn:ihe:iti:xds-b:2007"
QUERY = "urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0"
RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"

ACTIONS = {"iti43": "urn:ihe:iti:2007:RetrieveDocumentSet", "iti39": "urn:ihe:iti:2007:CrossGatewayRetrieve"}
STORED_QUERY = "urn:ihe:iti:2007:RegistryStoredQuery"

GET_DOCUMENTS = "urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4"
"""The stored query GetDocuments (IHE ITI TF-2 3.18.4.1.2.4)."""


@dataclass(frozen=True, slots=True)
class DocumentRequest:
    """One document to retrieve. `document` may hold patient data, so the representation does not show it."""

    home: str | None
    repository: str
    document: str = field(repr=False)


def retrieve(request: DocumentRequest) -> bytes:
    """The body of ITI-43 or ITI-39 for one document; the order is the schema's. Raises `ValueError` as `element` does."""
    children = [] if request.home is None else [element("xdsb:HomeCommunityId", request.home)]
    children.append(element("xdsb:RepositoryUniqueId", request.repository))
    children.append(element("xdsb:DocumentUniqueId", request.document))
    return b"".join(
        (
            f'<xdsb:RetrieveDocumentSetRequest xmlns:xdsb="{XDSB}"><xdsb:DocumentRequest>'.encode(),
            *children,
            b"</xdsb:DocumentRequest></xdsb:RetrieveDocumentSetRequest>",
        )
    )


def get_documents(document: str, home: str | None = None, *, leaf_class: bool = True) -> bytes:
    """The body of ITI-18 that asks for the entries of one DocumentUniqueId. Raises `ValueError` as `element` does.

    `leaf_class` asks for all that is known of them, otherwise for references alone.
    """
    quoted = element("rim:Value", "('" + document.replace("'", "''") + "')")
    community = "" if home is None else f' home="{escaped(home)}"'
    kind = "LeafClass" if leaf_class else "ObjectRef"
    return b"".join(
        (
            f'<query:AdhocQueryRequest xmlns:query="{QUERY}" xmlns:rim="{RIM}">'.encode(),
            f'<query:ResponseOption returnComposedObjects="true" returnType="{kind}"/>'.encode(),
            f'<rim:AdhocQuery id="{GET_DOCUMENTS}"{community}>'.encode(),
            b'<rim:Slot name="$XDSDocumentEntryUniqueId"><rim:ValueList>',
            quoted,
            b"</rim:ValueList></rim:Slot></rim:AdhocQuery></query:AdhocQueryRequest>",
        )
    )
