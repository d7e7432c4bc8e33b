"""K6: what lies at rest says nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from gateway.cache import Key
from gateway.cache.sealing import CacheKey
from tests.conformance.cache_kit.check import check
from tests.conformance.cache_kit.documents import Blob, kept, look, record, ticket_for
from tests.conformance.cache_kit.harness import KEYS, CacheHarness

LOCATOR, PARTITION, EPOCH = "canary-locator/NHS-9434765919.pdf", "canary-partition-dr-who", "canary-epoch-/srv/archive"
KEY = Key("letters", EPOCH, LOCATOR, PARTITION)
TEXT = b"canary-text: the patient was seen on Friday. " * 9000
FACTS = ("Canary-Title", "canary-validator", "canary-version", "application/x-canary")


def spellings(words: Iterable[str | bytes]) -> list[bytes]:
    """Each word in the encodings that somebody may write it in."""
    found = []
    for word in words:
        raw = word if isinstance(word, bytes) else word.encode()
        found += [raw, raw.decode().encode("utf-16-le"), raw.hex().encode(), base64.b64encode(raw)[:-4]]
        found += [base64.urlsafe_b64encode(raw)[:-4], raw.decode().upper().encode(), raw.decode().lower().encode()]
    return found


async def _stored(harness: CacheHarness) -> list[bytes]:
    async with harness.cache() as cache:
        ticket = await ticket_for(cache, KEY)
        facts = record(len(TEXT), version="canary-version", media_type="application/x-canary")
        assert await cache.put(KEY, ticket, facts, Blob(TEXT)), "it was not kept"
        assert await look(cache, KEY) == TEXT, "it was not found"
        return list(await harness.everything())


def _nowhere(words: Iterable[str | bytes], lying: list[bytes]) -> None:
    for word in spellings(words):
        assert not any(word in data for data in lying), f"{word[:40]!r} lies at rest"


@check("K6.1", "at_rest")
async def locators_partitions_and_titles_are_nowhere(harness: CacheHarness) -> None:
    lying = await _stored(harness)
    assert lying, "the harness shows nothing at rest"
    _nowhere([LOCATOR, "9434765919", PARTITION, "dr-who", EPOCH, "Canary-Title"], lying)


@check("K6.2", "at_rest", "encrypted")
async def no_text_and_no_fact_of_a_document_is_readable(harness: CacheHarness) -> None:
    _nowhere([TEXT[:45], b"the patient was seen", *FACTS], await _stored(harness))


@check("K6.3", "at_rest", "encrypted")
async def the_same_document_never_lies_the_same(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await kept(cache, KEY, TEXT)
        first = {
            bytes(data) for parts in (await harness.entries()).values() for data in parts.values() if len(data) > 64
        }
        await cache.drop(KEY)
        await kept(cache, KEY, TEXT)
        again = {bytes(data) for parts in (await harness.entries()).values() for data in parts.values()}
        assert not first & again, "the same bytes lie there for the same document"
        joined = b"".join(again)
        assert not any(data[at : at + 64] in joined for data in first for at in (64, len(data) // 2)), "a part repeats"


@check("K6.4", "encrypted", "persistent")
async def another_key_opens_nothing(harness: CacheHarness) -> None:
    async with harness.cache() as cache:
        await kept(cache, KEY, TEXT)
    for other in (CacheKey("k1", b"\x07" * 32), CacheKey("k2", KEYS[0].secret[::-1])):
        async with harness.cache(keys=[other]) as cache:
            assert await look(cache, KEY) is None, "an entry was opened with another key"


@check("K6.5", "encrypted", "persistent")
async def a_key_can_be_changed_without_losing_entries(harness: CacheHarness) -> None:
    new = CacheKey("k2", b"\x09" * 32)
    async with harness.cache() as cache:
        await kept(cache, KEY, TEXT)
    async with harness.cache(keys=[new, *KEYS]) as cache:
        assert await look(cache, KEY) == TEXT, "an entry under the former key is not found"
        other = Key("letters", EPOCH, "other")
        await kept(cache, other, TEXT)
        await cache.drop(KEY)
        assert await look(cache, KEY) is None, "an entry under the former key was not dropped"
    async with harness.cache(keys=[new]) as cache:
        assert await look(cache, other) == TEXT, "the former key was used for a new entry"
