"""A gateway that is killed wherever a read for everybody waits: nothing of the document is found but all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.cache_kit.documents import look
from tests.support.fill_killing import DATA, KEY, cache_at

pytestmark = [pytest.mark.blocking_allowed, pytest.mark.timeout(120)]

POINTS = 40
"""How many moments to die at there are at least."""


async def test_killed_wherever_a_fill_waits(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.fill_killing"]
    found = {"nothing": 0, "whole": 0}
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs on this loop
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for number in range(1, 1000):
                folder = tmp_path / str(number)
                (folder / "spool").mkdir(parents=True)
                process.stdin.write(f"{number} {folder}\n")
                answer = process.stdout.readline().strip()
                assert list((folder / "spool").iterdir()) == [], f"the spool after the {number}th wait"
                async with cache_at(folder) as cache:
                    data = await look(cache, KEY)
                    assert data in (None, DATA), f"a part was found after the {number}th wait"
                    assert list((folder / "cache" / ".incoming").iterdir()) == [], "leftovers"
                if answer != "killed":
                    break
                found["nothing" if data is None else "whole"] += 1
        finally:
            process.kill()
    assert (answer, data) == ("whole", DATA), "the one that was not killed stored it"
    assert found["nothing"] >= POINTS, found
