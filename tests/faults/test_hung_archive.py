"""An archive hangs under load: the other sources go on, and it is refused at once. `make soak` measures waiting times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.hung_archive import KINDS, Kind, hanging


@pytest.mark.parametrize("kind", KINDS)
async def test_an_archive_that_hangs_is_refused_at_once_and_disturbs_nobody(tmp_path: Path, kind: Kind) -> None:
    figures = await hanging(kind, tmp_path, rate=40, before=0.5, away=2, after=2.5, patience="400ms")
    print(figures)
    assert figures.failed_elsewhere == 0, str(figures)
    assert figures.opened_after < 1.5, str(figures)
    assert figures.refused > 3 * figures.late, str(figures)
    assert figures.threads <= 64, str(figures)
    assert figures.back_after is not None, str(figures)
    assert figures.ended_in is None or figures.ended_in < 5, str(figures)
