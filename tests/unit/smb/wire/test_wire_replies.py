"""The replies: read as smbprotocol packs them, and refused when a single length or offset leads outside."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.smb.share import Entry
from adapters.smb.wire import CLOSE, Closed, Created, Malformed, closed, created, listed, read_data
from tests.unit.smb.wire import server
from tests.unit.smb.wire.server import BORN, CHANGED, DISK_ID, FILE_ID, WRITTEN

UNICODE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\/\0"), min_size=1, max_size=40)


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


# --- CREATE --------------------------------------------------------------------------------------------------------


@given(size=st.integers(0, (1 << 63) - 1), attributes=st.sampled_from([0x20, 0x80, 0x10, 0x400 | 0x20, 0x1000 | 0x20]))
def test_created_is_what_the_server_states(size: int, attributes: int) -> None:
    assert created(server.created(size=size, attributes=attributes)) == Created(
        FILE_ID, BORN, WRITTEN, CHANGED, size, attributes, b""
    )


def test_created_finds_the_disk_id_alone_and_among_others() -> None:
    disk_id, other = server.context(b"QFid", DISK_ID), server.context(b"MxAc", bytes(8))
    assert created(server.created(disk_id)).disk_id == DISK_ID
    assert created(server.created(other, server.context(b"QFid", DISK_ID))).disk_id == DISK_ID
    assert created(server.created(server.context(b"QFid", DISK_ID), other)).disk_id == DISK_ID
    assert created(server.created(server.context(b"MxAc", bytes(8)))).disk_id == b""
    assert created(memoryview(server.created(server.context(b"QFid", DISK_ID)))).disk_id == DISK_ID


@pytest.mark.parametrize("size", [0, 8, 31, 33])
def test_a_disk_id_of_another_size_is_none(size: int) -> None:
    assert created(server.created(server.context(b"QFid", bytes(size)))).disk_id == b""


CONTEXTS = 152
"""Where the contexts of these replies begin."""


@pytest.mark.parametrize(
    ("at", "layout", "value"),
    [
        (144, "<I", 151),  # the contexts begin inside the fixed part
        (144, "<I", 0),
        (144, "<I", 160),  # and reach past the end
        (144, "<I", 0xFFFFFFFF),
        (148, "<I", 0xFFFFFFFF),
        (148, "<I", 15),  # less than one context
        (CONTEXTS, "<I", 8),  # Next leads into the context itself
        (CONTEXTS, "<I", 20),  # not aligned
        (CONTEXTS, "<I", 0xFFFFFFF8),
        (CONTEXTS + 4, "<H", 15),  # the name begins inside the fixed part
        (CONTEXTS + 4, "<H", 0xFFFF),
        (CONTEXTS + 6, "<H", 0xFFFF),
        (CONTEXTS + 10, "<H", 8),  # the data likewise
        (CONTEXTS + 10, "<H", 0xFFFF),
        (CONTEXTS + 12, "<I", 0xFFFFFFFF),
        (64, "<H", 88),
    ],
)
def test_a_create_reply_that_leads_outside_is_malformed(at: int, layout: str, value: int) -> None:
    message = server.created(server.context(b"QFid", DISK_ID))
    created(message)
    struct.pack_into(layout, message, at, value)
    with pytest.raises(Malformed, match="CREATE response"):
        created(message)


def test_a_create_reply_with_endless_contexts_is_malformed() -> None:
    empty = struct.pack("<IHHHHI", 16, 16, 0, 0, 0, 0)
    message = server.created() + empty * 100_000
    struct.pack_into("<II", message, 144, CONTEXTS, 1_600_000)
    with pytest.raises(Malformed, match="more of them"):
        created(message)


# --- CLOSE ---------------------------------------------------------------------------------------------------------


def test_closed_is_what_the_server_states() -> None:
    assert closed(server.closed(size=77, attributes=0x20)) == Closed(BORN, WRITTEN, CHANGED, 77, 0x20)


def test_closed_without_the_flag_states_nothing() -> None:
    assert closed(server.closed(flags=0)) is None


def test_a_close_reply_of_another_shape_is_malformed() -> None:
    for message in (server.closed()[:-1], server.reply(CLOSE, struct.pack("<H", 9) + bytes(58))):
        with pytest.raises(Malformed, match="CLOSE response"):
            closed(message)


# --- READ ----------------------------------------------------------------------------------------------------------


@given(data=st.binary(min_size=1, max_size=300), more=st.integers(0, 100))
def test_read_data_is_a_view_of_the_message(data: bytes, more: int) -> None:
    message = server.read(data)
    view = read_data(memoryview(message), len(data) + more)
    assert bytes(view) == data
    message[80] ^= 0xFF
    assert view[0] == data[0] ^ 0xFF, "nothing was copied"


def test_read_data_may_begin_later_and_be_followed_by_padding() -> None:
    message = server.read(b"....letter")
    message[66], message[68] = 84, 6
    assert bytes(read_data(message + bytes(7), 10)) == b"letter"


@pytest.mark.parametrize(
    ("at", "layout", "value"),
    [
        (64, "<H", 16),
        (66, "<B", 79),  # inside the fixed part
        (66, "<B", 0),
        (66, "<B", 81),  # past the end
        (66, "<B", 255),
        (68, "<I", 0),  # nothing
        (68, "<I", 11),  # past the end
        (68, "<I", 0xFFFFFFFF),
    ],
)
def test_a_read_reply_that_leads_outside_is_malformed(at: int, layout: str, value: int) -> None:
    message = server.read(b"0123456789")
    struct.pack_into(layout, message, at, value)
    with pytest.raises(Malformed, match="READ response"):
        read_data(message, 100)


def test_more_data_than_was_asked_for_is_malformed() -> None:
    message = server.read(b"0123456789")
    assert len(read_data(message, 10)) == 10
    with pytest.raises(Malformed, match="more than was asked for"):
        read_data(message, 9)


# --- QUERY_DIRECTORY -----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(UNICODE, st.integers(0, (1 << 63) - 1), st.sampled_from([0x10, 0x20, 0x80])), max_size=12))
def test_listed_is_what_the_server_names(files: list[tuple[str, int, int]]) -> None:
    message = server.listed(*(server.entry(utf16(name), attributes=kind, size=size) for name, size, kind in files))
    expected = [Entry(name, kind, size) for name, size, kind in files if name not in (".", "..")]
    assert listed(message) == listed(memoryview(message)) == expected


@pytest.mark.parametrize("name", [".", "..", "a\ud800b", "\udc00", "a\\b", "../secret", "a/b", "a\0b", ""])
def test_names_that_nobody_could_ask_for_are_left_out(name: str) -> None:
    entries = [server.entry(utf16(one)) for one in ("before.pdf", name, "after.pdf")]
    assert [one.name for one in listed(server.listed(*entries))] == ["before.pdf", "after.pdf"]


def test_names_outside_the_basic_plane_are_names() -> None:
    assert [one.name for one in listed(server.listed(server.entry(utf16("\U0001f4c4.pdf"))))] == ["\U0001f4c4.pdf"]


ENTRIES = 72
"""Where the entries of these replies begin."""


@pytest.mark.parametrize(
    ("at", "layout", "value"),
    [
        (64, "<H", 8),
        (66, "<H", 71),  # the entries begin inside the fixed part
        (66, "<H", 0),
        (66, "<H", 80),  # and reach past the end
        (68, "<I", 0xFFFFFFFF),
        (68, "<I", 63),  # less than one entry
        (ENTRIES, "<I", 8),  # the next begins inside this one
        (ENTRIES, "<I", 64),  # or inside its name
        (ENTRIES, "<I", 84),  # or in the padding
        (ENTRIES, "<I", 0xFFFFFFF8),
        (ENTRIES, "<I", 144),  # is only a part
        (ENTRIES + 60, "<I", 0xFFFFFFFE),
        (ENTRIES + 60, "<I", 5),  # half a unit of UTF-16
        (ENTRIES + 60, "<I", 26),  # a name that goes on into the next entry
    ],
)
def test_a_listing_that_leads_outside_is_malformed(at: int, layout: str, value: int) -> None:
    message = server.listed(server.entry(utf16("letter.pdf")), server.entry(utf16("scan.tif")))
    assert len(listed(message)) == 2
    struct.pack_into(layout, message, at, value)
    with pytest.raises(Malformed, match="QUERY_DIRECTORY response"):
        listed(message)


def test_entries_that_overlap_are_malformed() -> None:
    # 64 KiB of entries, each with all that follows for its name: 512 times as much to decode as there is.
    entries = b"".join(struct.pack("<I56xI", 64, 65536 - 64 * number - 64) for number in range(1024))
    message = server.reply(14, struct.pack("<HHI", 9, 72, len(entries)) + entries)
    with pytest.raises(Malformed, match="outside the entry"):
        listed(message)


# --- anything ------------------------------------------------------------------------------------------------------

SAMPLES: dict[str, tuple[Callable[[Any], Any], bytearray]] = {
    "created": (created, server.created(server.context(b"MxAc", bytes(8)), server.context(b"QFid", DISK_ID))),
    "closed": (closed, server.closed()),
    "read": (lambda message: read_data(message, 64), server.read(b"the letter" * 5)),
    "listed": (listed, server.listed(*(server.entry(utf16(name)) for name in ("a.pdf", "b.tif", "c")))),
}

MUTATIONS = st.lists(
    st.tuples(
        st.integers(64, 400),
        st.sampled_from(["<B", "<H", "<I", "<Q"]),
        st.one_of(st.sampled_from([0, 1, 7, 8, 16, 63, 64, 72, 80, 0x7FFFFFFF, (1 << 64) - 1]), st.integers(0, 400)),
    ),
    max_size=6,
)


@pytest.mark.parametrize("kind", SAMPLES)
@given(changes=MUTATIONS, length=st.integers(0, 500))
@example(changes=[], length=500)
def test_a_mutated_reply_is_read_or_malformed(kind: str, changes: list[tuple[int, str, int]], length: int) -> None:
    parse, sample = SAMPLES[kind]
    message = sample + bytes(100)
    for at, layout, value in changes:
        size = struct.calcsize(layout)
        if at + size <= len(message):
            struct.pack_into(layout, message, at, value & ((1 << 8 * size) - 1))
    _read_or_malformed(parse, message[:length])


@pytest.mark.parametrize("kind", SAMPLES)
@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_malformed(kind: str, data: bytes) -> None:
    parse, sample = SAMPLES[kind]
    _read_or_malformed(parse, data)
    _read_or_malformed(parse, bytes(sample[:66]) + data)


def _read_or_malformed(parse: Callable[[Any], Any], message: bytes | bytearray) -> None:
    try:
        found = parse(memoryview(message))
    except Malformed:
        return
    if isinstance(found, memoryview):
        assert 0 < len(found) <= 64
    elif isinstance(found, list):
        assert sum(64 + 2 * len(entry.name) for entry in found) <= len(message)
    elif isinstance(found, Created):
        assert len(found.file_id) == 16
        assert len(found.disk_id) in (0, 32)
