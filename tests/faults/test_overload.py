"""Five times as many readers as an archive can take: as much gets through as before. Measured with wrk by `make soak`."""

from __future__ import annotations

from pathlib import Path

from tests.support.overload import overload


async def test_a_crowd_does_not_keep_the_archive_from_working(tmp_path: Path) -> None:
    figures = await overload(tmp_path, at_once=2, calm=1, crowd=2.5)
    print(figures)
    assert figures.goodput >= 0.8 * figures.capacity, str(figures)
    assert figures.refused > 2 * figures.capacity, str(figures)
    assert figures.other == 0, str(figures)
    assert figures.recovered_after < 5, str(figures)
