"""The conformance kit for caches is tested itself: a right cache passes it, each wrong one fails what is meant for it."""

from __future__ import annotations

import asyncio
import traceback

import pytest

from tests.conformance.cache_kit import CHECKS, Check
from tests.meta.cache_shelf import ShelfCache, ShelfHarness
from tests.meta.wrong_caches import WRONG

pytestmark = pytest.mark.blocking_allowed


async def failure(check: Check, cache: type[ShelfCache]) -> str | None:
    """What a check says against a cache; None when it passes."""
    harness = ShelfHarness()
    harness.cache_class = cache
    tasks = asyncio.all_tasks()
    try:
        await check.run(harness)
    except Exception:
        return f"{check.number} {check.name}:\n{traceback.format_exc()}"
    finally:
        for task in asyncio.all_tasks() - tasks:
            task.cancel()
    return None


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.number}-{check.name}")
async def test_a_right_cache_passes(check: Check) -> None:
    assert check.applies(ShelfHarness)
    assert await failure(check, ShelfCache) is None


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.caught_by}-{wrong.__name__}")
async def test_a_wrong_cache_fails_the_check_meant_for_it(wrong: type[ShelfCache]) -> None:
    check = next(check for check in CHECKS if check.number == wrong.caught_by)  # type: ignore[attr-defined]
    assert await failure(check, wrong) is not None


def test_every_check_catches_something() -> None:
    assert {check.number for check in CHECKS} == {wrong.caught_by for wrong in WRONG}


def test_numbers_are_given_once() -> None:
    assert len({check.number for check in CHECKS}) == len(CHECKS)
