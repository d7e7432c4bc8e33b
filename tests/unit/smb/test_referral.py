"""What servers answer who are asked where a path lies, and what is made of answers that make no sense."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.smb.failures import Untrusted
from adapters.smb.referral import LONGEST_TTL, MOST_TARGETS, Place, Referral, parse

ASKED: Place = ("files.trust.local", "docs", "Größe 😀", "a.pdf")


def answer(consumed: int, *entries: bytes, strings: bytes = b"") -> bytes:
    return struct.pack("<HHI", consumed, len(entries), 2) + b"".join(entries) + strings


def v3(address: str, *, ttl: int = 600, version: int = 3, flags: int = 0, size: int = 34) -> bytes:
    """An answer with one entry and the address behind it ([MS-DFSC] 2.2.5.3)."""
    text = address.encode("utf-16-le", "surrogatepass") + b"\0\0"
    return struct.pack("<HHHHIHHH16x", version, size, 0, flags, ttl, 34, 34, 34) + text


def consumed(*names: str) -> int:
    return len("".join("\\" + name for name in names).encode("utf-16-le"))


def test_answer_of_each_version_is_read() -> None:
    taken = consumed(*ASKED[:3])
    for version in (3, 4):
        body = struct.pack("<HHI", taken, 1, 2) + v3("\\fs2.trust.local\\scans$\\2024", version=version)
        assert parse(body, ASKED) == Referral(ASKED[:3], (("fs2.trust.local", "scans$", "2024"),), 600)
    address = "\\fs2\\scans".encode("utf-16-le") + b"\0\0"
    second = struct.pack("<HHHHIIHHH", 2, 22, 0, 0, 0, 900, 22, 22, 22) + address
    assert parse(struct.pack("<HHI", taken, 1, 2) + second, ASKED) == Referral(ASKED[:3], (("fs2", "scans"),), 900)
    first = struct.pack("<HHHH", 1, 8 + len(address), 0, 0) + address
    assert parse(struct.pack("<HHI", taken, 1, 2) + first, ASKED) == Referral(ASKED[:3], (("fs2", "scans"),), 300)


def test_several_targets_keep_their_order_and_the_shortest_life() -> None:
    head = struct.pack("<HHI", consumed(*ASKED[:2]), 2, 3)
    texts = ["\\fs2\\a".encode("utf-16-le") + b"\0\0", "\\fs3\\b".encode("utf-16-le") + b"\0\0"]
    entries = b"".join(
        struct.pack("<HHHHIHHH16x", 3, 34, 1, 0, ttl, offset, offset, offset)
        for ttl, offset in ((600, 68), (60, 34 + len(texts[0])))
    )
    assert parse(head + entries + b"".join(texts), ASKED) == Referral(ASKED[:2], (("fs2", "a"), ("fs3", "b")), 60)


def test_entries_of_different_sizes_follow_each_other() -> None:
    addresses = [address.encode("utf-16-le") + b"\0\0" for address in ("\\fs2\\letters of all", "\\fs3\\a")]
    entries = b"".join(struct.pack("<HHHH", 1, 8 + len(address), 0, 0) + address for address in addresses)
    found = parse(struct.pack("<HHI", consumed(*ASKED[:3]), 2, 2) + entries, ASKED)
    assert found.targets == (("fs2", "letters of all"), ("fs3", "a"))


def test_names_are_read_to_their_end() -> None:
    """Letters whose first byte is zero stand beside others whose second one is."""
    body = struct.pack("<HHI", consumed(*ASKED[:3]), 1, 2) + v3("\\fs2\\aĀ一b\\Ѐ")
    assert parse(body, ASKED).targets == (("fs2", "aĀ一b", "Ѐ"),)


def test_more_targets_than_anybody_has_are_not_believed() -> None:
    address = "\\fs2\\a".encode("utf-16-le") + b"\0\0"

    def body(count: int) -> bytes:
        offsets = (34 * (count - number) for number in range(count))
        entries = b"".join(struct.pack("<HHHHIHHH16x", 3, 34, 0, 0, 600, *[offset] * 3) for offset in offsets)
        return struct.pack("<HHI", consumed(*ASKED[:3]), count, 2) + entries + address

    assert len(parse(body(MOST_TARGETS), ASKED).targets) == MOST_TARGETS
    with pytest.raises(Untrusted):
        parse(body(MOST_TARGETS + 1), ASKED)


def test_life_is_bounded() -> None:
    body = struct.pack("<HHI", consumed(*ASKED[:3]), 1, 2) + v3("\\fs2\\scans", ttl=0xFFFFFFFF)
    assert parse(body, ASKED).ttl == LONGEST_TTL


def test_separator_may_count_as_consumed() -> None:
    body = struct.pack("<HHI", consumed(*ASKED[:3]) + 2, 1, 2) + v3("\\fs2\\scans")
    assert parse(body, ASKED).prefix == ASKED[:3]


@pytest.mark.parametrize(
    "taken",
    [0, 1, 2, consumed(*ASKED[:1]), consumed(*ASKED[:3]) - 2, consumed(*ASKED[:3]) - 1, consumed(*ASKED) + 2, 0xFFFE],
)
def test_prefix_that_was_not_asked_for_is_not_believed(taken: int) -> None:
    with pytest.raises(Untrusted, match="something else"):
        parse(struct.pack("<HHI", taken, 1, 2) + v3("\\fs2\\scans"), ASKED)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "\\",
        "\\fs2",
        "\\fs2\\",
        "\\fs2\\IPC$",
        "\\fs2\\ipc$",
        "\\fs 2\\a",
        "\\fs2\\..",
        "\\fs2\\a\\..\\b",
        "\\fs2\\a\\\\b",
        "\\fs2\\a:b",
        "\\fs2\\a/b",
        "\\fs2\\a\nb",
        "\\fs2\\a\ud800",
        "\\-oProxy\\a",
        "\\f\u0455\\a",
        "\\" + "f" * 300 + "\\a",
    ],
)
def test_impossible_targets_are_not_believed(address: str) -> None:
    with pytest.raises(Untrusted):
        parse(struct.pack("<HHI", consumed(*ASKED[:3]), 1, 2) + v3(address), ASKED)


@pytest.mark.parametrize("change", [{"flags": 2}, {"version": 0}, {"version": 5}, {"size": 0}, {"size": 7}])
def test_entries_that_are_not_of_a_path_are_not_believed(change: dict[str, int]) -> None:
    with pytest.raises(Untrusted):
        parse(struct.pack("<HHI", consumed(*ASKED[:3]), 1, 2) + v3("\\fs2\\scans", **change), ASKED)


def _mutated(draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes:
    body = bytearray(struct.pack("<HHI", consumed(*ASKED[:3]), 1, 2) + v3("\\fs2\\scans"))
    for _ in range(draw(st.integers(0, 6))):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body[: draw(st.integers(0, len(body)))])


@given(st.one_of(st.binary(max_size=200), st.composite(_mutated)()))
def test_any_bytes_are_a_referral_or_untrusted(body: bytes) -> None:
    try:
        found = parse(body, ASKED)
    except Untrusted:
        return
    assert found.prefix == ASKED[: len(found.prefix)]
    assert len(found.prefix) >= 2
    assert 0 <= found.ttl <= LONGEST_TTL
    assert all(len(target) >= 2 and all(target) for target in found.targets)
