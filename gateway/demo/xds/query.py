"""ITI-18 Registry Stored Query: FindDocuments and GetDocuments over the shelf.

Rules of this module: the profile decides (ITI TF-2 3.18.4, metadata ITI TF-3 4.2), then the switches of the personality
change what it decided. Other stored queries are not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gateway.demo.xds import names
from gateway.demo.xds.asking import Asked, Refused, sender
from gateway.demo.xds.documents import STABLE, Document, Shelf
from gateway.demo.xds.envelope import registry_response, slot
from gateway.demo.xds.markup import Element, element
from gateway.demo.xds.personality import FAILURE, SUCCESS, Personality, RegistryError

Parameters = Mapping[str, Sequence[str]]

RETURN_TYPES = ("LeafClass", "ObjectRef", "LeafClassWithRepositoryUniqueId")


class QueryFailed(Exception):
    """The query is answered with this error."""

    def __init__(self, code: str, context: str) -> None:
        super().__init__(code)
        self.error = RegistryError(code, context)


def respond(asked: Asked, shelf: Shelf, personality: Personality, *, home: str) -> Element:
    """The AdhocQueryResponse. Raises `Refused` for what is no query."""
    if asked.body.name != f"{{{names.QUERY}}}AdhocQueryRequest":
        raise Refused(sender(f"Unexpected element {asked.body.name} found"), soap=asked.soap)
    try:
        objects = _objects(asked, shelf, personality, home=home)
        status, errors = SUCCESS, []
    except QueryFailed as failure:
        objects, status, errors = [], FAILURE, [failure.error]
    said, children = registry_response(personality, status, errors)
    if personality.answers == "none":
        objects = []
    return element("query:AdhocQueryResponse", *children, element("rim:RegistryObjectList", *objects), status=said)


def _objects(asked: Asked, shelf: Shelf, personality: Personality, *, home: str) -> list[Element]:
    option = asked.body.first(f"{{{names.QUERY}}}ResponseOption")
    query = asked.body.first(f"{{{names.RIM}}}AdhocQuery")
    return_type = option.attributes.get("returnType") if option else None
    if query is None or return_type not in RETURN_TYPES:
        raise QueryFailed("XDSRegistryError", "The request does not follow its schema")
    of_home = query.attributes.get("home")
    if of_home not in (None, home):
        raise QueryFailed("XDSUnknownCommunity", "The community is not known")
    parameters: dict[str, list[str]] = {}
    for one in query.all(f"{{{names.RIM}}}Slot"):
        values = [value.text for part in one.children for value in part.children]
        parameters.setdefault(one.attributes["name"], []).extend(item for value in values for item in strings(value))
    match query.attributes.get("id"):
        case names.FIND_DOCUMENTS:
            found = _find_documents(shelf, parameters)
        case names.GET_DOCUMENTS:
            found = _get_documents(shelf, parameters)
            if not found and personality.unknown_is_error:
                raise QueryFailed("XDSRegistryError", "No such object")
        case _:
            raise QueryFailed("XDSUnknownStoredQuery", "The stored query is not known")
    if personality.too_many is not None and len(found) > personality.too_many:
        raise QueryFailed("XDSTooManyResults", "More results than this registry gives")
    if return_type == "ObjectRef":
        return [element("rim:ObjectRef", id=one.entry_uuid, home=of_home or one.home) for one in found]
    return [entry(one, personality, home=of_home or one.home) for one in found]


def strings(value: str) -> list[str]:
    """The strings of one Value: quoted, a quote doubled, several in parentheses (ITI TF-2 3.18.4.1.2.3.5).

    Raises `QueryFailed` for what is not written so.
    """
    text = value.strip()
    inner = text[1:-1] if text.startswith("(") and text.endswith(")") else text
    if not _STRINGS.fullmatch(inner):
        raise QueryFailed("XDSRegistryError", "A value does not follow the syntax of stored queries")
    return [found.replace("''", "'") for found in _STRING.findall(inner)]


_STRING = re.compile(r"'((?:[^']|'')*)'")
_STRINGS = re.compile(r"\s*'(?:[^']|'')*'\s*(?:,\s*'(?:[^']|'')*'\s*)*")


def _find_documents(shelf: Shelf, parameters: Parameters) -> list[Document]:
    patient = _needed(parameters, "$XDSDocumentEntryPatientId")
    statuses = _needed(parameters, "$XDSDocumentEntryStatus")
    if len(patient) != 1:
        raise QueryFailed("XDSStoredQueryParamNumber", "One patient in one query")
    types = parameters.get("$XDSDocumentEntryType", [STABLE])
    return [one for one in shelf if one.patient == patient[0] and one.status in statuses and one.object_type in types]


def _get_documents(shelf: Shelf, parameters: Parameters) -> list[Document]:
    unique_ids = parameters.get("$XDSDocumentEntryUniqueId")
    uuids = parameters.get("$XDSDocumentEntryEntryUUID")
    if (unique_ids is None) == (uuids is None):
        raise QueryFailed("XDSStoredQueryMissingParam", "Either unique ids or entry UUIDs")
    return [one for one in shelf if one.unique_id in (unique_ids or ()) or one.entry_uuid in (uuids or ())]


def _needed(parameters: Parameters, name: str) -> Sequence[str]:
    if not parameters.get(name):
        raise QueryFailed("XDSStoredQueryMissingParam", f"{name} is missing")
    return parameters[name]


def entry(document: Document, personality: Personality, *, home: str | None) -> Element:
    """The document entry as an ExtrinsicObject (ebRIM 3.0 section 2.9, ITI TF-3 4.2.3.2)."""
    changes = dict(personality.entry_changes)
    slots = {
        "repositoryUniqueId": document.repository,
        "hash": None if "hash" in changes else document.sha1,
        "size": None if document.size is None else str(document.size),
        "creationTime": document.created,
        "languageCode": "en-GB",
        "documentAvailability": document.availability,
    }
    attributes = {"mimeType": document.media_type, "status": document.status, "objectType": document.object_type}
    uuid = document.entry_uuid
    return element(
        "rim:ExtrinsicObject",
        *(slot(name, value) for name, value in _changed(slots, changes).items() if value is not None),
        element("rim:Name", element("rim:LocalizedString", value=document.title)),
        _identifier(uuid, names.PATIENT_ID_SCHEME, "XDSDocumentEntry.patientId", document.patient),
        _identifier(uuid, names.UNIQUE_ID_SCHEME, "XDSDocumentEntry.uniqueId", document.unique_id),
        id=uuid,
        lid=uuid,
        home=home,
        **_changed(attributes, changes),
    )


def _changed(truth: Mapping[str, str | None], changes: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name: changes.get(name, value) for name, value in truth.items()}


def _identifier(uuid: str, scheme: str, name: str, value: str) -> Element:
    return element(
        "rim:ExternalIdentifier",
        element("rim:Name", element("rim:LocalizedString", value=name)),
        id=f"{uuid}/{name}",
        registryObject=uuid,
        identificationScheme=scheme,
        value=value,
    )
