"""While names in the archive turn into links to the outside and back, no read ever brings bytes from outside.

The form of a few seconds; `benchmarks/soak_path_escape.py` runs for a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.filesystem import confinement
from tests.support.escape_race import checked_then_opened, raced, swapping
from tests.support.folder import archive

SECONDS = 1.0


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    with swapping(tmp_path) as swapped:
        yield swapped


def test_the_race_catches_whoever_checks_first_and_opens_then(root: Path) -> None:
    assert checked_then_opened(root, seconds=20).leaked


@pytest.mark.requirement("SC-05")
@pytest.mark.parametrize("local", [True, False], ids=["local", "remote"])
@pytest.mark.parametrize(
    "opener",
    [confinement.openat2, pytest.param(confinement.walk, marks=pytest.mark.blocking_allowed)],
)
async def test_no_read_leaves_the_root(
    root: Path, opener: confinement.Opener, local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confinement, "opener", lambda root: opener)
    async with archive(root, local=local) as adapter:
        tally = await raced(adapter, SECONDS)
    assert tally.leaked == 0, str(tally)
    assert tally.served > 100, str(tally)
    assert tally.refused > 100, str(tally)
