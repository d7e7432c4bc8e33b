"""Addresses of documents and their locators: what the scheme writes is what the adapter for repositories reads."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from adapters.errors import InvalidLocator
from adapters.xds.locator import DocumentKey
from gateway.ids.sealed import Address, bare


@pytest.mark.parametrize("text", ["1.2.3", " 1.2.3\n", "urn:oid:1.2.3", "urn:oid:urn:oid:1.2.3", "URN:OID:1.2.3"])
def test_identifiers_of_places_lose_their_prefix(text):
    assert bare(text) == "1.2.3"
    assert Address.of(text, text, " d ") == Address("1.2.3", "1.2.3", "d")


@pytest.mark.parametrize("text", ["", " ", "urn:oid:", "1^2", "1 2", "é", "1\n2", "1" * 257])
def test_what_cannot_name_a_place_is_refused(text):
    with pytest.raises(ValueError, match="visible characters"):
        bare(text)


@pytest.mark.parametrize("text", ["", " ", "a\0b", "a\nb", "x\x85x", "\ud800", "1" * 257])
def test_what_cannot_name_a_document_is_refused(text):
    with pytest.raises(ValueError, match="must have"):
        Address.of(None, "1.2.3", text)


names = (
    st.text(max_size=12)
    | st.text("1.^ \n:urnoid", max_size=8)
    | st.from_regex(r"[0-2](\.[0-9]{1,4}){1,4}", fullmatch=True)
)


@given(st.none() | names, names, names)
def test_the_adapter_reads_the_locators_that_the_scheme_writes_and_no_others(home, repository, document):
    try:
        address = Address.of(home, repository, document)
    except ValueError:
        assume(False)
        raise
    key = DocumentKey.parse(address.locator)
    assert (key.home, key.repository, key.document) == (address.home, address.repository, address.document)
    assert key.format() == address.locator
    assert Address.parse(address.locator) == address


@given(st.text(max_size=20) | st.builds("{}^{}^{}".format, names, names, names))
@example("urn:oid:1^1^d")
@example("^urn:oid:1^d")
@example("^URN:OID:1^d")
@example("Urn:Oid:1^1^d")
@example("^1^ d")
@example("^1^d ")
@example("^1^d\x85")
@example("^1^d\n")
@example("^1^d")
@example("1^2^3^4")
@example("^^d")
@example("1^2^")
def test_scheme_and_adapter_refuse_the_same_locators(locator):
    try:
        address: Address | None = Address.parse(locator)
    except ValueError:
        address = None
    try:
        key: DocumentKey | None = DocumentKey.parse(locator)
    except InvalidLocator:
        key = None
    assert (address is None) == (key is None)
    assert key is None or key.format() == locator


@pytest.mark.parametrize("key", [DocumentKey("", "1", "d"), DocumentKey("1^2", "3", "d"), DocumentKey(None, "", "d")])
def test_a_key_that_no_locator_can_hold_is_refused(key):
    with pytest.raises(InvalidLocator):
        key.format()


def test_no_representation_shows_the_document():
    assert "4711" not in repr(Address(None, "1.2.3", "4711"))
    assert "4711" not in repr(DocumentKey(None, "1.2.3", "4711"))
