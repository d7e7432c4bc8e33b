"""One archive of three hangs under load, each kind several times: `python -m benchmarks.soak_hung_archive`.

Prints what the others notice. Exit status 1 when a request of theirs failed, when refusing took longer than 50 ms (99 of 100),
when the process grew threads without end or did not end in time, or when the archive was not found again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.support import stalling_fuse
from tests.support.hung_archive import AT_ONCE, KINDS, Figures, hanging, in_turns

MOST_THREADS = 64
ENDED = 5.0


def bad(figures: Figures) -> bool:
    slow = figures.refused_p99 > AT_ONCE * 1000 or not figures.refused
    stuck = figures.ended_in is not None and figures.ended_in > ENDED
    return (
        bool(figures.failed_elsewhere) or slow or stuck or figures.threads > MOST_THREADS or figures.back_after is None
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_hung_archive.py", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=2, help="hangs of each kind (default 2)")
    parser.add_argument("--seconds", type=float, default=20, help="how long one hangs (default 20)")
    parser.add_argument(
        "--turns", type=int, default=0, help="only compare waiting times, hung and not, so often in turns"
    )
    parser.add_argument("--control", action="store_true", help="with --turns, of an archive that never hangs")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what hangs (default all)")
    given = parser.parse_args()
    stalling_fuse.LONGEST_HANG = given.seconds + 10
    failed = False
    for kind in given.kinds if given.turns else ():
        with tempfile.TemporaryDirectory(prefix="hung-") as folder:
            turns = in_turns(kind, Path(folder), turns=given.turns, seconds=given.seconds, control=given.control)
            print(asyncio.run(turns), flush=True)
    for kind in () if given.turns else tuple(given.kinds) * given.rounds:
        with tempfile.TemporaryDirectory(prefix="hung-") as folder:
            figures = asyncio.run(hanging(kind, Path(folder), before=given.seconds, away=given.seconds, after=8))
        print(figures, flush=True)
        failed = failed or bad(figures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
