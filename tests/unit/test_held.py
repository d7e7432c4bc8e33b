"""The bytes a fill holds: every byte that is held is the document's, and one that is not held is an error."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unavailable
from gateway.held import Held
from gateway.media import HEAD_BYTES
from gateway.spool import Spool, SpoolEntry

DATA = random.Random(1).randbytes(60_000)


@given(
    sizes=st.lists(st.integers(1, 20_000), min_size=1, max_size=12),
    most=st.sampled_from([0, 1, 10_000, len(DATA)]),
    budget=st.sampled_from([0, 10_000, 30_000, len(DATA)]),
    memory=st.sampled_from([0, 5000, len(DATA)]),
    forgotten=st.lists(st.integers(0, len(DATA)), max_size=3),
    asked=st.lists(st.tuples(st.integers(0, len(DATA)), st.integers(1, 70_000)), min_size=1, max_size=10),
)
async def test_every_byte_is_the_documents_or_an_error(
    sizes: list[int],
    most: int,
    budget: int,
    memory: int,
    forgotten: list[int],
    asked: list[tuple[int, int]],
) -> None:
    spool = Spool(None, memory=memory, max_bytes=budget)
    held = Held(spool, most=most)
    at = 0
    try:
        for size in sizes:
            chunk = DATA[at : at + size]
            if not chunk:
                break
            if held.tethered or not await held.spool(chunk):
                held.tethered = True
                held.pass_on(chunk)
            at += len(chunk)
            assert held.size == at
        if not forgotten:
            assert await held.head() == DATA[: min(at, HEAD_BYTES)]
        for position in forgotten:
            held.forget(position)
        kept_from = min(max(forgotten, default=0), at)
        for position, length in asked:
            if position >= at:
                continue
            if position >= held.entry.size and position < kept_from:
                try:
                    piece = await held.piece(position, length)
                except Unavailable:
                    continue
            else:
                piece = await held.piece(position, length)
            assert piece
            assert len(piece) <= length
            assert piece == DATA[position : position + len(piece)]
            assert position + len(piece) <= at
    finally:
        await held.close()
        spool.close()
    assert spool.used == 0


async def test_what_does_not_fit_is_not_kept_in_part() -> None:
    spool = Spool(None, memory=100, max_bytes=1000)
    held = Held(spool, most=500)
    assert await held.spool(DATA[:400])
    assert not await held.spool(DATA[400:501])
    assert (held.size, held.entry.size, spool.used) == (400, 400, 400)
    assert await held.spool(DATA[400:500])
    assert await held.read(0, 1000) == DATA[:500]
    await held.close()
    spool.close()


async def test_readers_at_the_edge_share_one_object() -> None:
    spool = Spool(None, memory=0, max_bytes=1 << 20)
    held = Held(spool, most=1 << 20)
    await held.spool(DATA[:1000])
    last = DATA[1000:3000]
    await held.spool(last)
    try:
        assert held.latest(1000, 1 << 20) is last
        assert held.latest(1000, 1999) == b"", "more than was wanted"
        assert held.latest(0, 1 << 20) == b"", "another place"
    finally:
        await held.close()
        spool.close()


async def test_a_spool_that_cannot_be_read_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error: /var/spool/secret")

    spool = Spool(None, memory=0, max_bytes=1 << 20)
    held = Held(spool, most=1 << 20)
    await held.spool(DATA[:1000])
    await held.spool(DATA[1000:2000])
    for name in ("read", "hashed"):
        monkeypatch.setattr(SpoolEntry, name, broken)
    for ask in (held.piece(0, 10), held.head(), held.read(0, 10), held.hashed("sha1")):
        with pytest.raises(Unavailable) as raised:
            await ask
        assert "secret" not in raised.value.detail
    monkeypatch.undo()
    await held.close()
    spool.close()
