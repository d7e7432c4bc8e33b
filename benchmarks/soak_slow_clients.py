"""A thousand slow clients against a gateway with its default limits: `python -m benchmarks.soak_slow_clients`.

Headers that drip, bodies that drip and readers that stop, by slowhttptest, while an honest reader asks the same archive. Exit
status 1 when a slow connection was held for more than 30 s, or the honest reader was without a document for more than 10 s.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.support.slow_clients import ATTACKS, Figures, attacked

HELD, WITHOUT = 30.0, 10.0


def bad(figures: Figures) -> bool:
    return bool(figures.longest > HELD or figures.gap > WITHOUT or figures.failed or figures.left)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_slow_clients.py", description=__doc__.split("\n")[0])
    parser.add_argument("--connections", type=int, default=1000, help="slow clients (default 1000)")
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS), help="which of them")
    given = parser.parse_args()
    failed = False
    for attack in given.only:
        with tempfile.TemporaryDirectory(prefix="slow-") as directory:
            figures = attacked(attack, Path(directory), connections=given.connections)
        print(
            f"{attack}: {figures.connections} connections, none held longer than {figures.longest:.1f} s, {figures.left} left; "
            f"honest reader: {figures.served} served, {figures.refused} told to come again, {figures.failed} failed, slowest "
            f"{figures.slowest:.1f} s, at most {figures.gap:.1f} s without a document",
            flush=True,
        )
        failed = failed or bad(figures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
