"""K4: an entry's bytes are those that were put under its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from gateway.cache import Cache, Scope
from tests.conformance.cache_kit.check import check
from tests.conformance.cache_kit.documents import KEY, document, kept, look, look_again
from tests.conformance.cache_kit.harness import CacheHarness

SIZE = 600_000
OTHER = replace(KEY, locator="2021/jones-4712.pdf")

Parts = Mapping[str, bytes]


async def only_entry(harness: CacheHarness) -> tuple[str, Parts]:
    entries = await harness.entries()
    assert len(entries) == 1, f"{len(entries)} entries at rest where one was put"
    return next(iter(entries.items()))


async def found_damaged(cache: Cache, data: bytes, what: str) -> None:
    """The entry is a miss or breaks, is counted, and goes."""
    before = cache.counts.damaged
    found = await look_again(cache, KEY)
    assert found is None or found == data, f"{what}: wrong bytes are served"
    assert found is None, f"{what}: the change was not noticed"
    assert cache.counts.damaged > before, f"{what}: nothing is counted"
    found = await look_again(cache, KEY)
    assert found is None, f"{what}: an entry that was found damaged is served"


def places(length: int) -> list[int]:
    """The first and last bytes, some near them, and some in the middle: one of each kind that a layout may have."""
    middle = [length * tenth // 10 for tenth in range(1, 10)]
    edges = [0, 1, 2, 3, 7, 15, 16, 17, 18, 19, 20, 35, 40, 64, 100]
    near_the_end = [length - 1 - edge for edge in edges]
    return sorted({place for place in (*edges, *middle, *near_the_end) if 0 <= place < length})


@check("K4.1", "at_rest")
async def a_flipped_bit_is_found(harness: CacheHarness) -> None:
    for size in (0, 1000, SIZE):
        data = document(size)
        async with harness.cache() as cache:
            await kept(cache, KEY, data)
            _, parts = await only_entry(harness)
            flips = [(part, place) for part, held in parts.items() for place in places(len(held))]
            for part, place in flips:
                entry, parts = await only_entry(harness)
                changed = bytearray(parts[part])
                changed[place % len(changed)] ^= 1 << place % 8
                await harness.lay(entry, part, bytes(changed))
                await found_damaged(cache, data, f"byte {place} of {len(changed)} in {part!r} of a document of {size}")
                await kept(cache, KEY, data)
            await cache.purge(Scope())


async def _each_part(harness: CacheHarness, change: Callable[[bytes], bytes | None], what: str) -> None:
    data = document(SIZE)
    async with harness.cache() as cache:
        await kept(cache, KEY, data)
        entry, parts = await only_entry(harness)
        for part in parts:
            entry, now = await only_entry(harness)
            await harness.lay(entry, part, change(now[part]))
            await found_damaged(cache, data, f"{what}: {part!r}")
            await kept(cache, KEY, data)


@check("K4.2", "at_rest")
async def a_part_that_was_cut_is_found(harness: CacheHarness) -> None:
    for cut in (1, 16, 17, 5000):
        await _each_part(harness, lambda held, cut=cut: held[:-cut], f"cut by {cut}")  # type: ignore[misc]
    await _each_part(harness, lambda held: held[: len(held) // 2], "cut in half")
    await _each_part(harness, lambda held: b"", "emptied")


@check("K4.3", "at_rest")
async def a_part_that_was_filled_with_zeros_or_grew_is_found(harness: CacheHarness) -> None:
    await _each_part(harness, lambda held: bytes(len(held)), "zeros")
    await _each_part(harness, lambda held: held[:-4096] + bytes(len(held[-4096:])), "zeros at the end")
    await _each_part(harness, lambda held: held + b"\0" * 20, "grown")


@check("K4.4", "at_rest")
async def an_entry_in_another_s_place_is_found(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await kept(cache, KEY, document(SIZE))
        entry, _ = await only_entry(harness)
        await kept(cache, OTHER, document(SIZE, "other"))
        entries = await harness.entries()
        other = next(name for name in entries if name != entry)
        for part, data in entries[other].items():
            await harness.lay(entry, part, data)
        await found_damaged(cache, document(SIZE), "another's whole entry")
        assert await look(cache, OTHER) == document(SIZE, "other"), "the other entry is gone too"


@check("K4.5", "at_rest")
async def a_part_of_another_entry_is_found(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await kept(cache, KEY, document(SIZE))
        entry, parts = await only_entry(harness)
        await kept(cache, OTHER, document(SIZE, "other"))
        entries = await harness.entries()
        other = next(name for name in entries if name != entry)
        for part in parts:
            held, foreign = (await harness.entries())[entry][part], entries[other][part]
            await harness.lay(entry, part, _spliced(held, foreign, len(parts)))
            await found_damaged(cache, document(SIZE), f"another's part {part!r}")
            await kept(cache, KEY, document(SIZE))


@check("K4.6", "at_rest")
async def a_part_of_an_older_entry_of_the_same_key_is_found(harness: CacheHarness) -> None:
    """Of the same document, too: an older copy fits in every length."""
    async with harness.cache() as cache:
        await kept(cache, KEY, document(SIZE, "old"))
        _, old = await only_entry(harness)
        await cache.drop(KEY)
        await kept(cache, KEY, document(SIZE))
        for part in old:
            entry, now = await only_entry(harness)
            await harness.lay(entry, part, _spliced(now[part], old[part], len(old)))
            await found_damaged(cache, document(SIZE), f"an older part {part!r}")
            await kept(cache, KEY, document(SIZE))


def _spliced(held: bytes, foreign: bytes, parts: int) -> bytes:
    """The foreign part; where an entry has one part only, its first half and the foreign rest."""
    return foreign if parts > 1 else held[: len(held) // 2] + foreign[len(held) // 2 :]


@check("K4.7", "at_rest")
async def parts_in_another_order_are_found(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await kept(cache, KEY, document(SIZE))
        entry, parts = await only_entry(harness)
        by_length: dict[int, list[str]] = {}
        for part, held in parts.items():
            by_length.setdefault(len(held), []).append(part)
        alike = next((names for names in by_length.values() if len(names) > 1), None)
        if alike is None:
            name = next(iter(parts))
            held = parts[name]
            third = len(held) // 3
            await harness.lay(entry, name, held[third : 2 * third] + held[:third] + held[2 * third :])
        else:
            first, second = alike[:2]
            await harness.lay(entry, first, parts[second])
            await harness.lay(entry, second, parts[first])
        await found_damaged(cache, document(SIZE), "parts in another order")


@check("K4.8", "at_rest")
async def an_entry_or_part_that_is_gone_is_a_miss(harness: CacheHarness) -> None:
    data = document(SIZE)
    async with harness.cache() as cache:
        await kept(cache, KEY, data)
        _, parts = await only_entry(harness)
        for part in parts:
            entry, _ = await only_entry(harness)
            await harness.lay(entry, part, None)
            assert await look_again(cache, KEY) is None, f"{part!r} is gone, and the entry is served"
            await kept(cache, KEY, data)


@check("K4.9", "at_rest", "persistent")
async def damage_that_happened_meanwhile_is_found_by_the_next_process(harness: CacheHarness) -> None:
    data = document(SIZE)
    for place in (0, SIZE // 2, -1):
        async with harness.cache() as cache:
            await kept(cache, KEY, data)
        entry, parts = await only_entry(harness)
        part = max(parts, key=lambda name: len(parts[name]))
        changed = bytearray(parts[part])
        changed[place if place < len(changed) else 0] ^= 4
        await harness.lay(entry, part, bytes(changed))
        async with harness.cache() as cache:
            await found_damaged(cache, data, f"byte {place} of {part!r}")
