"""Reads a share for a minute while its server and the network keep breaking: `python -m benchmarks.soak_smb_storm`.

`--seconds` is the time for each engine. Exit status 1 when a reader was given wrong bytes, or something was left open.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.support.samba import samba
from tests.support.smb_storm import storm


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_smb_storm.py", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each of the two engines (default 60)")
    given = parser.parse_args()
    failed = False
    for engine in ("native", "library"):
        with tempfile.TemporaryDirectory(prefix="storm-") as folder, samba(Path(folder)) as server:
            tally = asyncio.run(storm(server, given.seconds, engine=engine))
        print(f"{engine:8} {tally}", flush=True)
        failed = failed or bool(tally.wrong or tally.left_open) or not tally.right
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
