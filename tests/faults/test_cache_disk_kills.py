"""Whatever kills the process while it puts a document: the next one finds whole entries or none, and no leftovers."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance.cache_kit.documents import look
from tests.support.cache_killing import KEYS, SIZES, cache_at, proves, put, self_proving

pytestmark = pytest.mark.blocking_allowed

OLD = self_proving(300_000, "old")
OTHER = self_proving(5000, "other")


@contextmanager
def killing(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The program of `tests.support.cache_killing`; ended at last."""
    command = [sys.executable, "-m", "tests.support.cache_killing", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def before(directory: Path, mode: str) -> None:
    """Two entries: an older copy of what will be put, and another document."""
    async with cache_at(directory, mode) as cache:
        assert await put(cache, KEYS[0], OLD)
        assert await put(cache, KEYS[1], OTHER)


def leftovers(directory: Path) -> list[str]:
    return os.listdir(directory / ".incoming")


@pytest.mark.parametrize("mode", ["sealed", "plain"])
@pytest.mark.parametrize("first", range(3))
async def test_killed_at_every_line_of_a_put(tmp_path: Path, mode: str, first: int) -> None:
    """Each of the three takes every third line."""
    killed = found_new = left = 0
    with killing("line", mode) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(1 + first, 10_000, 3):
            directory = tmp_path / str(number)
            await before(directory, mode)
            process.stdin.write(f"{number} {directory}\n")
            answer = process.stdout.readline().strip()
            assert answer in ("killed", "whole")
            left += len(leftovers(directory))
            new = self_proving(SIZES[number % len(SIZES)], "new")
            async with cache_at(directory, mode) as cache:
                assert leftovers(directory) == [], f"line {number} left a temporary file for good"
                found = await look(cache, KEYS[0])
                assert found in (OLD, new), f"killed at line {number}: a part of a document, or none"
                found_new += found == new
                assert await look(cache, KEYS[1]) == OTHER, f"line {number} took another document with it"
                assert cache.counts.damaged == 0
                assert await put(cache, KEYS[0], new)
            if answer == "whole":
                break
            killed += 1
    assert killed >= 25, "too few lines to say anything"
    assert left >= 5, "it never died while a file was being written"
    assert found_new >= 2, "it never died after the entry could be found"


@pytest.mark.parametrize("mode", ["sealed", "plain"])
async def test_killed_at_any_moment_of_many_puts(tmp_path: Path, mode: str) -> None:
    rng = random.Random(11)
    entries = left = rounds = 0
    with killing("moment", mode) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        while rounds < 20 or (rounds < 100 and (entries <= 20 or left <= 5)):  # a busy machine needs more of them
            rounds += 1
            process.stdin.write(f"{tmp_path}\n")
            assert process.stdout.readline() == "putting\n"
            await asyncio.sleep(rng.uniform(0.0, 0.08))
            process.stdin.write("\n")
            assert process.stdout.readline() == "killed\n"
            left += len(leftovers(tmp_path))
            async with cache_at(tmp_path, mode) as cache:
                assert leftovers(tmp_path) == []
                for key in KEYS:
                    data = await look(cache, key)
                    assert data is None or proves(data), "a part of a document"
                    entries += data is not None
                assert cache.counts.damaged == 0
                stats = await cache.stats()
            assert stats.entries == len(list(tmp_path.glob("*/*/*"))), "files that no process will ever find"
    assert entries > 20, "too few entries to say anything"
    assert left > 5, "it never died while a file was being written"
