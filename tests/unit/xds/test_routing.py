"""Which endpoint answers for a document, and the forms in which identifiers are written."""

from __future__ import annotations

import pytest

from adapters.errors import Ambiguous, NotFound
from adapters.xds.identifiers import bare, document_on_the_wire, home_on_the_wire, repository_on_the_wire
from adapters.xds.locator import DocumentKey
from adapters.xds.options import Endpoint
from adapters.xds.routing import Routes


def routes(*places: tuple[str, str | None, list[str]]) -> Routes[str]:
    """Routes to endpoints, each as (alias, home, repositories)."""
    options = [
        Endpoint.model_validate(
            {"alias": alias, "url": "https://x/y", "home_community_id": home, "repository_unique_ids": repositories}
        )
        for alias, home, repositories in places
    ]
    return Routes((endpoint, endpoint.alias) for endpoint in options)


HOSPITALS = routes(
    ("own", None, ["1.1", "1.2"]),
    ("north", "2.16.1", ["1.3", "1.4"]),
    ("south", "2.16.2", ["1.4"]),
    ("west", "2.16.3", []),
)


@pytest.mark.parametrize(
    ("home", "repository", "alias"),
    [
        (None, "1.1", "own"),
        (None, "1.2", "own"),
        ("2.16.1", "1.3", "north"),
        (None, "1.3", "north"),
        ("2.16.1", "1.4", "north"),
        ("2.16.2", "1.4", "south"),
        ("2.16.3", "1.1", "west"),
        ("2.16.3", "9.9", "west"),
    ],
)
def test_the_endpoint_of_a_document(home: str | None, repository: str, alias: str) -> None:
    assert HOSPITALS.find(DocumentKey(home, repository, "1")) == alias


@pytest.mark.parametrize(
    ("home", "repository"), [(None, "9.9"), ("2.16.1", "1.1"), ("2.16.9", "1.1"), ("2.16.2", "1.3"), (None, "1.1.1")]
)
def test_nobody_is_asked_for_what_no_endpoint_has(home: str | None, repository: str) -> None:
    with pytest.raises(NotFound, match="repository_unique_ids"):
        HOSPITALS.find(DocumentKey(home, repository, "1"))


def test_a_repository_of_two_communities_needs_its_community() -> None:
    with pytest.raises(Ambiguous, match="several communities"):
        HOSPITALS.find(DocumentKey(None, "1.4", "1"))


@pytest.mark.parametrize("written", ["1.2.3", " 1.2.3\n", "urn:oid:1.2.3", "URN:OID:1.2.3", "urn:oid:urn:oid:1.2.3"])
def test_identifiers_are_compared_in_one_form(written: str) -> None:
    assert bare(written) == "1.2.3"


def test_identifiers_as_partners_want_them() -> None:
    uuid = "8C1B9F0E-1111-4222-8333-0123456789AB"
    assert home_on_the_wire("1.2") == "urn:oid:1.2"
    assert (repository_on_the_wire("1.2", "bare"), repository_on_the_wire("1.2", "urn")) == ("1.2", "urn:oid:1.2")
    assert document_on_the_wire(uuid, "as_given") == uuid
    assert document_on_the_wire(uuid, "urn_uuid") == f"urn:uuid:{uuid.lower()}"
    assert document_on_the_wire(f"urn:uuid:{uuid}", "urn_uuid") == f"urn:uuid:{uuid.lower()}"
    assert document_on_the_wire("1.2.3^SCAN 17", "urn_uuid") == "1.2.3^SCAN 17"
