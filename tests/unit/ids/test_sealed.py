"""Sealed ids: they come back, say nothing, and every change of one is noticed."""

from __future__ import annotations

import hashlib
import hmac
import json
import string
from collections.abc import Callable

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from gateway.ids.sealed import LISTED, SEAL, Address, NoAlias, Place, Seal
from gateway.ids.sealed_packing import SYMBOLS
from gateway.routing import valid_id

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
REPOSITORY = "1.3.6.1.4.1.21367.2010.1.2.1125"
ALIASES = {
    "a": [Place(None, REPOSITORY)],
    "b": [Place(None, "1.2.3"), Place(None, "1.2.4")],
    "far": [Place("1.9.9", "1.2.3"), Place("1.9.9", None)],
}
ALPHABET = string.ascii_letters + string.digits + "-."
"""The 64 symbols of a FHIR id."""

seal = Seal("x.", [KEY], ALIASES)


def made(address: Address, codec: Seal = seal) -> str:
    id = codec.encode(address)
    assert id is not None
    return id


def opened(id: str, codec: Seal = seal, prefix: str = "x.") -> Address | None:
    return codec.decode(id.removeprefix(prefix))


# --- strategies ------------------------------------------------------------------------------------------------------

arcs = st.integers(0, 9999).map(str) | st.integers(0, 10**18).map(str)


def oids(longest: int) -> st.SearchStrategy[str]:
    return st.builds(
        lambda first, rest: ".".join([first, *rest]), st.sampled_from("012"), st.lists(arcs, min_size=1)
    ).map(lambda oid: oid[:longest].rstrip("."))


uuids = st.uuids().map(str)
uuid_forms = uuids | uuids.map(str.upper) | uuids.map(lambda text: f"urn:uuid:{text}")
extensions = st.text(string.digits, min_size=1, max_size=16) | st.text(
    string.ascii_letters + string.digits + "-_.:", min_size=1, max_size=16
)
fitting = (
    oids(64)
    | uuid_forms
    | st.builds("{}^{}".format, oids(47), extensions)
    | st.builds("{}^{}".format, oids(37), uuids | uuids.map(str.upper))
)
places = st.sampled_from([(None, REPOSITORY), (None, "1.2.3"), (None, "1.2.4"), ("1.9.9", "1.2.3")])
addresses = st.builds(lambda place, document: Address(*place, document), places, fitting)


# --- there and back --------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(addresses)
@example(Address(None, REPOSITORY, "9" * 64))
@example(Address(None, REPOSITORY, "1." + "9" * 45 + "^" + "z" * 16))
@example(Address(None, REPOSITORY, "1." + "9" * 35 + "^" + "f" * 8 + "-ffff-ffff-ffff-" + "f" * 12))
def test_the_usual_document_ids_fit_and_come_back(address):
    if address.home is not None:
        # Its alias is two symbols longer than the others.
        assume(len(address.document) <= 44)
    id = made(address)
    assert valid_id(id)
    assert len(id) <= 64
    assert id.startswith("x.")
    assert set(id[2:].partition(".")[2]) <= set(SYMBOLS)
    assert opened(id) == address
    assert made(address) == id


@given(st.builds(Address, st.just("1.9.9"), oids(30), oids(38) | st.builds("{}^{}".format, oids(20), extensions)))
def test_a_repository_that_only_its_community_is_known_of_is_spelled_in_the_id(address):
    id = made(address)
    assert len(id) <= 64
    assert opened(id) == address


@given(st.lists(addresses, min_size=2, max_size=30, unique=True))
def test_different_documents_never_share_an_id(many):
    ids = [seal.encode(address) for address in many]
    listed = [next(seal.listed(address.locator)) for address in many]
    assert len({id for id in ids if id is not None}) == sum(id is not None for id in ids)
    assert len(set(listed)) == len(many)


@given(addresses)
def test_what_does_not_fit_has_a_listed_id(address):
    long = Address(address.home, address.repository, address.document + "^" + "Long" * 20)
    assert seal.encode(long) is None
    (rest,) = seal.listed(long.locator)
    assert len(rest) == LISTED
    assert valid_id("x." + rest)
    assert seal.decode(rest) is None


@pytest.mark.parametrize("document", ["é", "1.2^Müller", "スキャン"])
def test_a_document_outside_ascii_does_not_fit(document):
    assert seal.encode(Address(None, "1.2.3", document)) is None


# --- what is refused -------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(addresses)
def test_every_change_of_one_symbol_is_refused(address):
    rest = seal.encode(address)
    assume(rest is not None)
    rest = rest.removeprefix("x.")
    for position, symbol in enumerate(rest):
        for other in ALPHABET:
            if other != symbol:
                assert seal.decode(rest[:position] + other + rest[position + 1 :]) is None


@given(addresses, st.data())
def test_every_other_text_is_refused(address, data):
    rest = seal.encode(address)
    assume(rest is not None)
    rest = rest.removeprefix("x.")
    position = data.draw(st.integers(0, len(rest) - 1))
    another = data.draw(st.sampled_from(ALPHABET))
    changed = {
        rest[:position] + rest[position + 1 :],
        rest[:position] + another + rest[position:],
        rest[:position] + rest[position:][::-1],
        rest + another,
        another + rest,
        rest.lower(),
        rest.upper(),
        rest[:position],
        rest[position:],
        rest.partition(".")[0] + ".0" + rest.partition(".")[2],
    }
    for text in changed - {rest}:
        assert seal.decode(text) is None


@given(st.text(max_size=70) | st.text(ALPHABET, max_size=64) | st.text(ALPHABET, max_size=60).map("a.".__add__))
def test_strange_text_is_refused_and_nothing_else(text):
    assert seal.decode(text) is None


@given(addresses)
def test_the_half_of_one_id_does_not_go_with_the_half_of_another(address):
    rest = seal.encode(address)
    another = seal.encode(Address(address.home, address.repository, address.document + "1"))
    assume(rest is not None and another is not None)
    assert seal.decode(rest[2:-SEAL] + another[-SEAL:]) is None


ONE = Address(None, "1.2.3", "1.2.3.4^17")


@pytest.mark.parametrize(
    "codec",
    [
        Seal("x.", [OTHER], ALIASES),
        Seal("y.", [KEY], ALIASES),
        Seal("x.", [KEY], {}),
        Seal("x.", [KEY], {"b": [Place(None, "1.2.4")]}),
        Seal("x.", [KEY], {"b": [Place("1.9.9", "1.2.3")]}),
        Seal("x.", [KEY], {"b": [Place("1.2.3", None)]}),
        Seal("x.", [KEY], {"c": [Place(None, "1.2.3")]}),
    ],
    ids=["key", "prefix", "no alias", "repository", "community", "only community", "name of alias"],
)
def test_an_id_is_nothing_under_another(codec):
    assert opened(made(ONE)) == ONE
    assert codec.decode(made(ONE).removeprefix("x.")) is None


def test_an_alias_may_get_more_repositories_in_any_order():
    id = made(ONE)
    more = Seal("x.", [KEY], {"z": [Place(None, "1.1")], "b": [Place("1.7", None), Place(None, "9.9"), *ALIASES["b"]]})
    assert opened(id, more) == ONE
    assert made(ONE, more) == id


# --- keys ------------------------------------------------------------------------------------------------------------


@given(addresses)
def test_the_first_key_seals_and_every_key_opens(address):
    old, new = Seal("x.", [OTHER], ALIASES), Seal("x.", [KEY, OTHER], ALIASES)
    id = old.encode(address)
    assume(id is not None)
    assert opened(id, new) == address
    assert opened(id) is None
    fresh = made(address, new)
    assert fresh == made(address)
    assert fresh != id
    assert opened(fresh, old) is None
    assert [*new.listed(address.locator)] == [*seal.listed(address.locator), *old.listed(address.locator)]


@given(addresses)
def test_an_id_does_not_show_what_it_says(address):
    """Documents that differ at one end have ids that differ all over, so no part of an id stands for a part of them."""
    other = Address(
        address.home, address.repository, address.document[:-1] + ("1" if address.document[-1] != "1" else "2")
    )
    one, two = seal.encode(address), seal.encode(other)
    assume(one is not None and two is not None and len(one) == len(two) and len(one) > 30)
    codes = [id[2:].partition(".")[2] for id in (one, two)]
    same = sum(a == b for a, b in zip(*codes, strict=True))
    assert same <= len(codes[0]) // 2


# --- the construction ------------------------------------------------------------------------------------------------

GIVEN_OUT = {
    ("a", None, REPOSITORY, REPOSITORY + ".103.4711"): "x.a.hUGHXSVbi9GIyAynYiDBuNdbPnPosx14cGgqCY",
    ("b", None, "1.2.4", "1.2.3.4.5^SCAN 17"): "x.b.vhglZotJDwpuThU5tuXaxQImZynf",
    (
        "far",
        "1.9.9",
        "1.2.77",
        "urn:uuid:9bf1a6f4-5b2e-4d4d-9a3e-0d8c5e2f7b11",
    ): "x.far.3wKcClGlQGqDDolUrm5BJUl1wFdGTMD0DA12YwpO1",
}
LISTED_OUT = "V3MMVbrzOltpYskl1dc5aj"


@pytest.mark.parametrize(("alias", "home", "repository", "document"), GIVEN_OUT)
def test_ids_of_the_first_release_are_made_and_opened(alias, home, repository, document):
    address = Address(home, repository, document)
    id = GIVEN_OUT[alias, home, repository, document]
    assert made(address) == id
    assert opened(id) == address
    assert id.startswith(f"x.{alias}.")


def test_a_listed_id_of_the_first_release_is_made():
    assert [*seal.listed("^1.2.3^" + "Long" * 30)] == [LISTED_OUT]


def number(*message: str | None) -> int:
    text = json.dumps(["fhir-gateway sealed id 1", *message]).encode()
    return int.from_bytes(hmac.new(KEY, text, hashlib.sha512).digest(), "big")


def symbols(value: int, length: int) -> str:
    table = string.digits + string.ascii_lowercase + string.ascii_uppercase
    return "".join(table[value // 62**place % 62] for place in reversed(range(length)))


def by_hand(body: int, forge: Callable[[str], str] = str) -> str:
    """The rest of an id for a document of the alias `a`; `forge` changes its seal before the body is hidden with it.

    By the description in docs/decisions/0006-sealed-ids.md and the standard library alone.
    """
    length = next(length for length in range(1, 64) if body < 62**length)
    tag = forge(symbols(number("seal", "x.", "a", symbols(body, length), None, REPOSITORY) % 62**14, 14))
    return f"a.{symbols((body + number('mask', tag)) % 62**length, length)}{tag}"


def packed(oid: str) -> int:
    value = 0
    for character in reversed(oid):
        value = value * 11 + "0123456789.".index(character) + 1
    return value * 32


def test_an_id_is_made_as_the_decision_says():
    assert made(Address(None, REPOSITORY, "1.2.840.77")) == "x." + by_hand(packed("1.2.840.77"))


def test_a_seal_that_is_wrong_in_one_symbol_is_wrong_whatever_else_fits():
    """The body is hidden with the wrong seal, so that nothing but the comparison of seals can notice it."""
    assert seal.decode(by_hand(packed("1.2.840.77"))) is not None
    for position in range(SEAL):
        for change in (str.swapcase, lambda symbol: "0" if symbol != "0" else "1"):

            def forge(tag: str, position: int = position, change: Callable[[str], str] = change) -> str:
                return tag[:position] + change(tag[position]) + tag[position + 1 :]

            if by_hand(packed("1.2.840.77"), forge) != by_hand(packed("1.2.840.77")):
                assert seal.decode(by_hand(packed("1.2.840.77"), forge)) is None


def test_an_id_of_a_later_release_is_unknown_here():
    assert seal.decode(by_hand(packed("1.2.840.77") + 31)) is None


def test_a_guess_meets_at_least_eighty_bits():
    """RFC 2104 section 5: no fewer than 80 bits that have to be guessed."""
    assert len(SYMBOLS) ** SEAL >= 1 << 80
    assert len(SYMBOLS) ** LISTED >= 1 << 128


# --- aliases ---------------------------------------------------------------------------------------------------------


def test_the_community_follows_from_the_repository_where_only_one_has_it():
    far = Seal("x.", [KEY], {"a": [Place("1.9.9", "1.2.5")]})
    said = Address(None, "1.2.5", "1")
    assert far.placed(said) == Address("1.9.9", "1.2.5", "1")
    assert opened(made(said, far), far) == Address("1.9.9", "1.2.5", "1")


def test_the_own_community_is_meant_where_none_is_said():
    assert seal.placed(ONE) == ONE
    assert seal.placed(Address("1.9.9", "1.2.3", "1")).home == "1.9.9"
    other_way_round = Seal("x.", [KEY], {alias: ALIASES[alias] for alias in ("far", "b")})
    assert other_way_round.placed(ONE) == ONE


def test_the_first_alias_of_a_place_seals_and_every_one_opens():
    old, new = Seal("x.", [KEY], {"old": [Place(None, "1.2.3")]}), {"new": [Place(None, "1.2.3")]}
    both = Seal("x.", [KEY], {**new, "old": [Place(None, "1.2.3")]})
    assert made(ONE, both).startswith("x.new.")
    assert opened(made(ONE, old), both) == ONE


@pytest.mark.parametrize(
    ("home", "repository"), [(None, "1.2.5"), ("1.9.8", "1.2.3"), ("1.9.9.1", "1"), ("1.2.3", REPOSITORY)]
)
def test_a_repository_that_no_alias_means_gets_no_id(home, repository):
    with pytest.raises(NoAlias, match="No alias"):
        seal.encode(Address(home, repository, "1"))


def test_a_repository_of_several_communities_needs_to_be_told_apart():
    two = Seal("x.", [KEY], {"a": [Place("1.1", "1.2.3")], "b": [Place("1.2", "1.2.3")]})
    with pytest.raises(NoAlias, match="say which"):
        two.encode(ONE)
    assert made(Address("1.2", "1.2.3", "1"), two).startswith("x.b.")
