"""Redis hangs or is killed under two hundred requests a second, several times: `python -m benchmarks.soak_redis_outage`.

Prints failures, waiting times before and while Redis is away (once that is known), and when hits are back. Exit status 1 when
a request failed, waited more than 50 ms longer (99 of 100), or hits took more than 5 s to come back.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Literal

from tests.support.redis_outage import Figures, outage

ADDED, BACK = 50.0, 5.0


def bad(figures: Figures) -> bool:
    slow = figures.during - figures.before > ADDED
    return bool(figures.failed) or slow or figures.back_after is None or figures.back_after > BACK


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_redis_outage.py", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="outages of each kind (default 3)")
    given = parser.parse_args()
    failed = False
    kinds: tuple[Literal["stopped", "killed"], ...] = ("stopped", "killed")
    for how in kinds * given.rounds:
        with tempfile.TemporaryDirectory(prefix="outage-") as folder:
            figures = asyncio.run(outage(how, Path(folder), before=5, away=10, after=8))
        print(figures, flush=True)
        failed = failed or bad(figures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
