"""A thousand reloads, good and bad, under readers: `python -m benchmarks.soak_reload`.

Every third configuration is wrong in another way; the others change a source, add one or take one away, under readers of a
source that stays and of one that changes, and downloads that last over many reloads. Exit status 1 when a request fails, a bad
configuration is used, a good one is not, or the process grows.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.support.reloading import storm


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_reload.py", description=__doc__.split("\n")[0])
    parser.add_argument("--reloads", type=int, default=1000, help="reloads (default 1000)")
    parser.add_argument("--workers", type=int, default=1, help="server.workers (default 1)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-reload-") as directory:
        seen = asyncio.run(storm(Path(directory), reloads=given.reloads, workers=given.workers))
    print(
        f"reloads: {seen.applied} used, {seen.refused} refused, in {seen.seconds:.0f} s; {seen.slowest:.2f} s at most"
    )
    print(f"requests answered whole: {seen.answered}, downloads {seen.downloads}; failed: {len(seen.failed)}")
    print(f"file descriptors {seen.files_before} before, {seen.files_after} after; memory {seen.memory_before:.0f} MiB after a "
          f"tenth of them, {seen.memory_after:.0f} MiB at the end")  # fmt: skip
    for failure in [*seen.failed, *seen.wrong][:20]:
        print(failure)
    grown = seen.files_after > seen.files_before + 8 or seen.memory_after > seen.memory_before * 1.3 + 10
    return 1 if seen.failed or seen.wrong or grown else 0


if __name__ == "__main__":
    sys.exit(main())
