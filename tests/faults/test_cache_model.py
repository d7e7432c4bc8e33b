"""What readers get while everything changes and everything fails, judged against all that was true at the time.

New versions, deletions, purges, broken reads, archives that are away or hang, a network that fails, gateways and Redis servers
that are killed: a hundred thousand answers, each of them a version that was allowed at that moment, or no whole answer. The
judge is `tests.support.cache_model`, its judgement is tested in meta/test_cache_model_catches.py; the long form is `make soak`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.cache_model.run import SEEN

PROJECT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(420)


def at_once(*runs: str) -> list[dict[str, Any]]:
    """What came of these runs, each a process of its own; fails with what the judge said."""
    module = "tests.support.cache_model.run"
    running = [
        subprocess.Popen(
            [sys.executable, "-m", module, *words.split()],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in runs
    ]
    try:
        ended = [(*one.communicate(timeout=400), one.returncode) for one in running]
    finally:
        for one in running:
            one.kill()
            one.communicate()
    for words, (out, err, status) in zip(runs, ended, strict=True):
        print(words, out)
        assert status == 0, f"{words}:\n{out}\n{err[-2000:]}"
        assert not err, f"{words}:\n{err[-2000:]}"
    return [json.loads(out) for out, _, _ in ended]


def test_every_whole_answer_of_a_hundred_thousand_was_allowed() -> None:
    found = at_once(
        "--backend memory --reads 54000 --each 10 --seed 1",
        "--backend disk --reads 24000 --each 10 --seed 2",
        "--backend redis --reads 24000 --each 10 --seed 3",
    )
    total: Counter[str] = sum((Counter(one["counts"]) for one in found), Counter())
    assert total["reads"] >= 100_000
    assert total["whole"] > 70_000, total
    for one in found:
        for seen in SEEN:
            assert one["counts"][seen] >= 10, f"{seen}: {one}"
    for trouble in ("redis killed", "redis stopped", "redis emptied", "redis network"):
        assert total[trouble], trouble


def test_gateways_that_are_killed_serve_nothing_else_afterwards() -> None:
    found = at_once(
        *(f"--backend {backend} --kill --reads 500 --seconds 120 --seed 4" for backend in ("memory", "disk", "redis"))
    )
    for one in found:
        for seen in ("hit", "gone", "purges", "gateway killed"):
            assert one["counts"].get(seen), f"{seen}: {one}"
