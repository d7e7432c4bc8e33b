"""The replies of Redis are read as hiredis reads them, however they arrive; what is no reply is never taken for one."""

from __future__ import annotations

import random
from typing import Any

import hiredis
import pytest

from gateway.cache.redis_replies import AREA, DEEPEST, LARGE, LARGEST, Garbled, Replies


def value(data: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(data), data)


def array(*parts: bytes) -> bytes:
    return b"*%d\r\n%s" % (len(parts), b"".join(parts))


CHUNK = random.Random(1).randbytes(262_080)
EVERY = [
    b"+OK\r\n",
    b"-WRONGTYPE Operation against a key\r\n",
    b":-42\r\n",
    value(b""),
    value(b"a line\r\nand another\r\n"),
    b"$-1\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    value(b"s" * (LARGE - 1)),
    value(b"l" * LARGE),
    value(b"\r\n" * (LARGE // 2)),
    array(value(b"head"), value(CHUNK)),
    array(b"$-1\r\n", b"$-1\r\n"),
    array(value(b"0"), array(value(b"one"), value(b"two"), array(b":1\r\n", b"*0\r\n")), b"-ERR within\r\n"),
    array(*[value(b"key-%d" % number) for number in range(9000)]),
]


def pieces(data: bytes, sizes: list[int]) -> list[Any]:
    """The replies in `data`, which arrives in pieces of these sizes, again and again."""
    replies, found, position, number = Replies(), [], 0, 0
    while position < len(data):
        room = replies.room()
        count = min(len(room), sizes[number % len(sizes)], len(data) - position)
        room[:count] = data[position : position + count]
        found += replies.take(count)
        position, number = position + count, number + 1
    return [plain(one) for one in found]


def plain(reply: Any) -> Any:
    """A reply as something that can be compared."""
    if isinstance(reply, list):
        return [plain(one) for one in reply]
    return (
        str(reply)
        if isinstance(reply, hiredis.ReplyError)
        else bytes(reply)
        if isinstance(reply, memoryview)
        else reply
    )


def by_hiredis(data: bytes) -> list[Any]:
    reader = hiredis.Reader(notEnoughData=...)
    reader.feed(data)
    return [plain(reply) for reply in iter(reader.gets, ...)]


@pytest.mark.parametrize("sizes", [[1 << 20], [65_536], [4_096], [1_000, 7, 63_000], [LARGE + 7], [3]])
def test_replies_are_those_that_hiredis_reads(sizes):
    data = b"".join(EVERY)
    assert pieces(data, sizes) == by_hiredis(data)


def test_the_small_ones_survive_every_cut():
    data = b"".join(one for one in EVERY if len(one) < 200) * 2
    whole = by_hiredis(data)
    for cut in range(1, len(data)):
        assert pieces(data, [cut, len(data)]) == whole


def test_any_order_at_any_size_reads_the_same():
    chance = random.Random(3)
    for _ in range(60):
        data = b"".join(chance.choices(EVERY, k=12))
        assert pieces(data, [chance.randint(1, 80_000) for _ in range(7)]) == by_hiredis(data)


def test_a_large_value_has_room_of_its_own_before_it_comes():
    replies = Replies()
    begin = b"$%d\r\nabc" % len(CHUNK)
    replies.room()[: len(begin)] = begin
    assert replies.take(len(begin)) == []
    assert len(replies.room()) == len(CHUNK) + 2 - 3, "all that is still to come, and not a byte more"


def test_what_did_not_complete_a_reply_is_counted():
    replies = Replies()
    for data, left in ((b"+OK\r\n+", 1), (b"O", 2), (b"K\r\n$20000\r\nabc", 3), (b"defg", 7)):
        replies.room()[: len(data)] = data
        replies.take(len(data))
        assert replies.incomplete == left


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\r\n",
        b"$3\r\nabcd\r\n",
        b"$x\r\n",
        b"$-2\r\n",
        b"*-2\r\n",
        b"$\r\n",
        b":1.5\r\n",
        b"$%d\r\n" % (LARGEST + 1),
        b"*%d\r\n" % (LARGEST + 1),
        b"*1\r\n" * (DEEPEST + 1),
        b"%3\r\n",
        value(CHUNK)[:-2] + b"++",
        b"+" + b"x" * AREA,
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_reply_is_not_taken_for_one(data):
    for sizes in ([1 << 20], [1_000]):
        with pytest.raises(Garbled):
            pieces(data, sizes)
