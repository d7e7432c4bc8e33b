"""What is read out of a registry's answer: little, and leniently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.contract import Digest
from adapters.xds.locator import DocumentKey
from adapters.xds.registry import speaking
from adapters.xds.registry_answer import EntriesReader, Entry
from adapters.xds.soap import Malformed

SHA1 = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"
EMPTY = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
STATUS = "urn:oasis:names:tc:ebxml-regrep:StatusType:"
TYPE = "application/soap+xml; charset=UTF-8"


def slot(name: str, value: str) -> str:
    return f'<r:Slot name="{name}"><r:ValueList><r:Value>{value}</r:Value></r:ValueList></r:Slot>'


def extrinsic(
    *,
    attributes: str = "",
    size: str | None = "43",
    hash: str | None = SHA1,
    more: str = "",
    document: str = "1.2.3.4.5.6",
) -> str:
    """An ExtrinsicObject as registries write it, with what the test changes."""
    return (
        f'<r:ExtrinsicObject id="urn:uuid:x" mimeType="application/pdf" status="{STATUS}Approved" {attributes}>'
        + slot("repositoryUniqueId", "1.2.3.4.5")
        + (slot("size", size) if size is not None else "")
        + (slot("hash", hash) if hash is not None else "")
        + more
        + '<r:Name><r:LocalizedString value="Mary Smith"/></r:Name>'
        '<r:ExternalIdentifier identificationScheme="urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427" value="9990000018"/>'
        f'<r:ExternalIdentifier identificationScheme="urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab" value="{document}"/>'
        "</r:ExtrinsicObject>"
    )


def answer(
    *objects: str, status: str = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success", errors: str = ""
) -> bytes:
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>'
        f'<q:AdhocQueryResponse xmlns:q="urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0" status="{status}" '
        'xmlns:r="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0" xmlns:rs="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0">'
        f"{errors}<r:RegistryObjectList>{''.join(objects)}</r:RegistryObjectList></q:AdhocQueryResponse></s:Body></s:Envelope>"
    ).encode()


def entries(*objects: str) -> list[Entry]:
    reader = EntriesReader(TYPE)
    reader.feed(answer(*objects))
    reader.end(complete=True)
    assert reader.answered
    return reader.entries


def test_what_an_entry_states() -> None:
    assert entries(extrinsic(attributes='home="urn:oid:2.16.1"')) == [
        Entry(
            document="1.2.3.4.5.6",
            repository="1.2.3.4.5",
            home="2.16.1",
            status="Approved",
            media_type="application/pdf",
            size=43,
            digest=Digest("sha1", bytes.fromhex(SHA1)),
            settled=True,
        )
    ]


@pytest.mark.parametrize(
    ("size", "hash"),
    [("about 3 MB", "none"), ("-1", SHA1[:-1]), ("", ""), ("1e3", "zz" * 20), ("9" * 16, "é" * 40), (None, None)],
)
def test_what_makes_no_sense_is_not_stated(size: str | None, hash: str | None) -> None:
    [entry] = entries(extrinsic(size=size, hash=hash))
    assert (entry.size, entry.digest, entry.settled) == (None, None, True)
    assert entry.media_type == "application/pdf"


def test_hashes_in_capitals_and_of_a_later_kind() -> None:
    assert entries(extrinsic(hash=SHA1.upper()))[0].digest == Digest("sha1", bytes.fromhex(SHA1))
    assert entries(extrinsic(hash="ab" * 32))[0].digest == Digest("sha256", bytes.fromhex("ab" * 32))


@pytest.mark.parametrize(
    "made",
    [
        extrinsic(attributes='objectType="urn:uuid:34268e47-fdf5-41a6-ba33-82133c465248"', size=None, hash=None),
        extrinsic(attributes='objectType="urn:uuid:34268E47-FDF5-41A6-BA33-82133C465248"'),
        extrinsic(size="0", hash=EMPTY),
    ],
    ids=["on demand", "on demand with a size", "delayed assembly"],
)
def test_what_is_made_when_it_is_asked_for_has_no_size_and_hash(made: str) -> None:
    [entry] = entries(made)
    assert (entry.settled, entry.size, entry.digest) == (False, None, None)


@pytest.mark.parametrize(
    ("status", "deprecated"), [("Approved", False), ("Deprecated", True), ("Frozen", False), ("", False)]
)
def test_availability(status: str, deprecated: bool) -> None:
    made = extrinsic().replace(f"{STATUS}Approved", f"{STATUS}{status}" if status else "")
    assert entries(made)[0].deprecated is deprecated


def test_patients_are_not_read_and_documents_not_shown() -> None:
    [entry] = entries(extrinsic())
    assert "1.2.3.4.5.6'" not in repr(entry)
    assert "Mary" not in repr(entry)
    assert "999" not in repr(entry)


def test_several_entries_and_none() -> None:
    assert [entry.document for entry in entries(extrinsic(), extrinsic(document="1.9"))] == ["1.2.3.4.5.6", "1.9"]
    assert entries() == []


def test_an_error_in_place_of_entries() -> None:
    reader = EntriesReader(TYPE)
    errors = (
        '<rs:RegistryErrorList><rs:RegistryError errorCode="XDSTooManyResults" codeContext="x"/></rs:RegistryErrorList>'
    )
    reader.feed(answer(status="urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Failure", errors=errors))
    reader.end(complete=True)
    assert reader.status == "Failure"
    assert [error.code for error in reader.errors] == ["XDSTooManyResults"]


def test_another_services_answer_is_none() -> None:
    reader = EntriesReader(TYPE)
    reader.feed(answer().replace(b"AdhocQueryResponse", b"SomethingElse"))
    reader.end(complete=True)
    assert not reader.answered


def test_which_of_several_entries_speaks_for_a_document() -> None:
    key = DocumentKey(None, "1.2.3.4.5", "1.2.3.4.5.6")
    deprecated = extrinsic(size="1").replace(f"{STATUS}Approved", f"{STATUS}Deprecated")
    others = [extrinsic(size="2", document="1.9"), extrinsic(size="3").replace("1.2.3.4.5</", "1.2.3.9</")]
    approved = extrinsic(size="4")
    for made, size in (
        ([deprecated, *others, approved], 4),
        ([approved, deprecated], 4),
        ([*others, deprecated], 1),
        ([extrinsic(size="5", document=" urn:oid:1.2.3.4.5.6")], 5),
    ):
        entry = speaking(entries(*made), key)
        assert entry is not None
        assert entry.size == size
    assert speaking(entries(*others), key) is None
    assert speaking([], key) is None


@given(st.integers(0, 2000))
def test_an_answer_that_breaks_off_is_never_an_empty_one(length: int) -> None:
    whole = answer(extrinsic())
    reader = EntriesReader(TYPE)
    with pytest.raises(Malformed):
        reader.feed(whole[: min(length, len(whole) - 1)])
        reader.end(complete=False)


@given(st.lists(st.integers(1, 400)))
def test_where_an_answer_is_cut_into_pieces_does_not_matter(cuts: list[int]) -> None:
    rest, reader = answer(extrinsic()), EntriesReader(TYPE)
    for cut in cuts:
        reader.feed(rest[:cut])
        rest = rest[cut:]
    reader.feed(rest)
    reader.end(complete=True)
    assert reader.entries == entries(extrinsic())
