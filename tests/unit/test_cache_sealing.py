"""What lies outside the process opens only as it was sealed: same bytes, same place, same name, same keys."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.contract import Descriptor, Digest
from gateway.cache import Broken, Key, Record
from gateway.cache.sealing import CHUNK, SEALED_CHUNK, STEM, TAG, CacheKey, Keyring, chunk_count

ONE, TWO = CacheKey("k1", bytes(range(32))), CacheKey("k2", bytes(range(32, 64)))
CANARY = "Smith-4857773456"
DATA = random.Random(1).randbytes(100)
RECORD = Record(Descriptor(len(DATA), "application/pdf", version="v1"), "text/plain", 1.5)

RINGS = {"encrypted": Keyring([ONE]), "plain": Keyring()}
every_ring = pytest.mark.parametrize("ring", RINGS.values(), ids=RINGS)

texts = st.text(max_size=40)
moments = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))
records = st.builds(
    Record,
    st.builds(
        Descriptor,
        size=st.integers(0, 2**50),
        media_type=st.none() | texts,
        modified=st.none() | moments,
        digest=st.none() | st.builds(Digest, st.sampled_from(["sha1", "sha256"]), st.binary(max_size=32)),
        version=st.none() | texts,
        validator=st.none() | texts,
    ),
    st.none() | texts,
    st.floats(0, 4e9),
)
keys = st.builds(Key, texts, texts, texts, texts)


def name_of(ring: Keyring, locator: str = "a") -> str:
    return ring.names(Key("letters", "epoch", locator))[0]


# --- what is sealed opens --------------------------------------------------------------------------------------------


@every_ring
@given(record=records, extra=st.dictionaries(texts, texts, max_size=3))
def test_a_record_comes_back_as_it_was(ring: Keyring, record: Record, extra: dict[str, str]) -> None:
    name = name_of(ring)
    opened, more, _ = ring.open(name, ring.sealer(name, record.size).head(record, extra))
    assert (opened, more) == (record, extra)


@every_ring
@given(data=st.binary(max_size=500), number=st.integers(0, 2**40))
def test_a_chunk_comes_back_as_it_was(ring: Keyring, data: bytes, number: int) -> None:
    name = name_of(ring)
    sealer = ring.sealer(name, len(data))
    head = sealer.head(replace(RECORD, descriptor=Descriptor(len(data))), {})
    sealed = sealer.seal(number, data)
    assert len(sealed) == len(data) + TAG
    _, _, opener = ring.open(name, head)
    assert opener.open(number, sealed) == opener.open(number, memoryview(sealed)) == data


def test_a_time_keeps_its_microseconds() -> None:
    """Versions are compared with what was stored: a time that came back rounded would be another one."""
    ring = RINGS["encrypted"]
    name = name_of(ring)
    at = datetime(2021, 3, 28, 1, 30, 0, 123457, UTC) + timedelta(microseconds=1)
    record = replace(RECORD, descriptor=replace(RECORD.descriptor, modified=at))
    opened, _, _ = ring.open(name, ring.sealer(name, record.size).head(record, {}))
    assert opened.descriptor.modified == at


@pytest.mark.parametrize(("size", "chunks"), [(0, 0), (1, 1), (CHUNK, 1), (CHUNK + 1, 2), (10 * CHUNK, 10)])
def test_how_many_chunks_a_document_has(size: int, chunks: int) -> None:
    assert chunk_count(size) == chunks
    assert SEALED_CHUNK == CHUNK + TAG


# --- what was touched does not ---------------------------------------------------------------------------------------


@every_ring
def test_every_flipped_bit_is_found(ring: Keyring) -> None:
    name = name_of(ring)
    sealer = ring.sealer(name, len(DATA))
    head, sealed = sealer.head(RECORD, {}), sealer.seal(3, DATA)
    for at in range(len(sealed) * 8):
        with pytest.raises(Broken):
            sealer.open(3, flipped(sealed, at))
    for at in range(len(head) * 8):
        with pytest.raises(Broken):
            # A flipped key id or salt derives another key; a flipped format is not known.
            ring.open(name, flipped(head, at))


@every_ring
def test_every_cut_is_found(ring: Keyring) -> None:
    name = name_of(ring)
    sealer = ring.sealer(name, len(DATA))
    head, sealed = sealer.head(RECORD, {}), sealer.seal(0, DATA)
    for length in range(len(sealed)):
        with pytest.raises(Broken):
            sealer.open(0, sealed[:length])
    for length in range(len(head)):
        with pytest.raises(Broken):
            ring.open(name, head[:length])
    for more in (b"\0", b"more"):
        with pytest.raises(Broken):
            sealer.open(0, sealed + more)
        with pytest.raises(Broken):
            ring.open(name, head + more)


@every_ring
def test_chunks_fit_only_their_place(ring: Keyring) -> None:
    name, other = name_of(ring), name_of(ring, "b")
    sealer = ring.sealer(name, len(DATA))
    sealed = sealer.seal(0, DATA)
    strangers = {
        "another number": (sealer, 1),
        "an older entry of the same name": (ring.sealer(name, len(DATA)), 0),
        "an entry of another name": (ring.sealer(other, len(DATA)), 0),
    }
    for what, (opener, number) in strangers.items():
        with pytest.raises(Broken):
            opener.open(number, sealed)
            pytest.fail(what)


@every_ring
def test_an_entry_of_another_size_or_name_does_not_open(ring: Keyring) -> None:
    name, other = name_of(ring), name_of(ring, "b")
    sealer = ring.sealer(name, len(DATA))
    sealed = sealer.seal(0, DATA)
    shorter = replace(RECORD, descriptor=replace(RECORD.descriptor, size=len(DATA) - 1))
    _, _, opener = ring.open(name, sealer.head(shorter, {}))
    with pytest.raises(Broken):
        opener.open(0, sealed)
    with pytest.raises(Broken):
        ring.open(other, sealer.head(RECORD, {}))


@every_ring
def test_a_head_is_no_chunk_and_a_chunk_no_head(ring: Keyring) -> None:
    name = name_of(ring)
    sealer = ring.sealer(name, len(DATA))
    head = sealer.head(RECORD, {})
    with pytest.raises(Broken):
        sealer.open(2**64 - 1, head[2 + head[1] + 16 :])
    opening = head[: 2 + head[1] + 16]
    with pytest.raises(Broken):
        ring.open(name, opening + sealer.seal(0, DATA))


@every_ring
@given(noise=st.binary(max_size=300))
def test_noise_is_no_entry(ring: Keyring, noise: bytes) -> None:
    with pytest.raises(Broken):
        ring.open(name_of(ring), noise)
    with pytest.raises(Broken):
        ring.open(name_of(ring), bytes((1, 2)) + b"k1" + noise)


def test_an_encrypted_entry_does_not_open_in_the_open_nor_the_other_way() -> None:
    secret, plain = RINGS["encrypted"], RINGS["plain"]
    for one, other in ((secret, plain), (plain, secret)):
        name = name_of(one)
        with pytest.raises(Broken):
            other.open(name, one.sealer(name, len(DATA)).head(RECORD, {}))


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_is_changed_without_losing_what_is_kept() -> None:
    old, both, new = Keyring([ONE]), Keyring([TWO, ONE]), Keyring([TWO])
    key = Key("letters", "epoch", "a")
    name = old.names(key)[0]
    sealer = old.sealer(name, len(DATA))
    head, sealed = sealer.head(RECORD, {}), sealer.seal(0, DATA)
    assert name in both.names(key)
    _, _, opener = both.open(name, head)
    assert opener.open(0, sealed) == DATA
    fresh = both.names(key)[0]
    assert fresh == new.names(key)[0], "the first key names and seals"
    record, _, _ = new.open(fresh, both.sealer(fresh, len(DATA)).head(RECORD, {}))
    assert record == RECORD
    with pytest.raises(Broken):
        new.open(name, head)


def test_another_key_of_the_same_id_opens_nothing() -> None:
    ring, impostor = Keyring([ONE]), Keyring([CacheKey("k1", TWO.secret)])
    name = name_of(ring)
    with pytest.raises(Broken):
        impostor.open(name, ring.sealer(name, len(DATA)).head(RECORD, {}))


def test_no_two_entries_are_sealed_alike() -> None:
    """The same document twice: equal bytes at rest would tell that nothing changed, and reuse a nonce under one key."""
    ring = RINGS["encrypted"]
    name = name_of(ring)
    assert len({ring.sealer(name, len(DATA)).seal(0, DATA) for _ in range(100)}) == 100


# --- names -----------------------------------------------------------------------------------------------------------


@given(one=keys, other=keys)
def test_different_keys_have_different_names(one: Key, other: Key) -> None:
    ring = RINGS["encrypted"]
    assert (ring.names(one) == ring.names(other)) == (one == other)
    same = (one.source, one.locator) == (other.source, other.locator)
    assert (ring.stems(one.source, one.locator) == ring.stems(other.source, other.locator)) == same


@given(key=keys)
def test_a_name_is_made_of_digits_and_begins_with_its_documents_stem(key: Key) -> None:
    ring = Keyring([ONE, TWO])
    for name, stem in zip(ring.names(key), ring.stems(key.source, key.locator), strict=True):
        assert (len(name), len(stem)) == (48, STEM)
        assert name.startswith(stem)
        assert set(name) <= set("0123456789abcdef")


def test_nothing_that_lies_in_the_open_names_a_document() -> None:
    """Not its locator, not its media type, not what its archive said of it."""
    ring = RINGS["encrypted"]
    key = Key("letters", "epoch", CANARY)
    name = ring.names(key)[0]
    record = replace(RECORD, descriptor=replace(RECORD.descriptor, version=CANARY, title=CANARY))
    sealer = ring.sealer(name, len(CANARY))
    lying = name.encode() + sealer.head(record, {"extra": CANARY}) + sealer.seal(0, CANARY.encode())
    for known in (CANARY, CANARY[:5], "letters", "application/pdf"):
        assert known.encode() not in lying


def test_a_title_is_stored_by_no_ring() -> None:
    ring = RINGS["plain"]
    name = name_of(ring)
    record = replace(RECORD, descriptor=replace(RECORD.descriptor, title=CANARY))
    head = ring.sealer(name, len(DATA)).head(record, {})
    assert CANARY.encode() not in head
    assert ring.open(name, head)[0].descriptor.title is None


def flipped(data: bytes, at: int) -> bytes:
    byte, bit = divmod(at, 8)
    return data[:byte] + bytes((data[byte] ^ (1 << bit),)) + data[byte + 1 :]
