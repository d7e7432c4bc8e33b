"""Five times as many readers as an archive can take, for minutes: `python -m benchmarks.soak_overload` (needs wrk).

Prints what got through, how fast the others were refused, and the memory. Exit status 1 when less than 90 of 100 of what the
archive can do got through, anything but documents and refusals was answered, memory grew, or it took more than 10 s to recover.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.support.overload import Figures, overload

GROWTH = 16.0
"""MiB of memory between the first third and the end that are not growth."""


def bad(figures: Figures) -> bool:
    grown = figures.memory[1] - figures.memory[0] > GROWTH
    return figures.goodput < 0.9 * figures.capacity or bool(figures.other) or grown or figures.recovered_after > 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_overload.py", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=300, help="how long the crowd stays (default 300)")
    parser.add_argument(
        "--places", type=int, default=8, help="how many documents the archive gives at once (default 8)"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="overload-") as folder:
        figures = asyncio.run(
            overload(Path(folder), at_once=given.places, calm=10, crowd=given.seconds, times=6, wrk=True)
        )
    print(figures, flush=True)
    return int(bad(figures))


if __name__ == "__main__":
    sys.exit(main())
