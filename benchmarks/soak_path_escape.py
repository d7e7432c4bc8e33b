"""Tries for a minute to be led out of the root, and prints what came of it: `python -m benchmarks.soak_path_escape`.

`--seconds` is the time for each way of opening; `--directory` says where, since file systems differ. Exit status 1 when
a read brought bytes from outside the root, or when the race was too slow to mean anything.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from adapters.filesystem import confinement
from tests.support.escape_race import Tally, checked_then_opened, raced, swapping
from tests.support.folder import archive


async def attempt(root: Path, opener: confinement.Opener, seconds: float) -> Tally:
    """Read through the race with one opener."""
    confinement.opener = lambda root: opener
    async with archive(root) as adapter:
        return await raced(adapter, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_path_escape.py", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="for each of the two openers (default 30)")
    parser.add_argument("--directory", type=Path, help="where the archive is made (default: a temporary directory)")
    given = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory(dir=given.directory, prefix="path-escape-") as base, swapping(Path(base)) as root:
        print(f"checked, then opened  {checked_then_opened(root, 30)} (stops at the first leak)", flush=True)
        for opener in (confinement.openat2, confinement.walk):
            tally = asyncio.run(attempt(root, opener, given.seconds))
            print(f"{opener.__name__:20}  {tally}", flush=True)
            failed = failed or bool(tally.leaked) or not (tally.served and tally.refused)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
