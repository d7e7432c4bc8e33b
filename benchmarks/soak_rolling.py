"""Two replicas that are ended and begun anew under readers: `python -m benchmarks.soak_rolling`.

Two hundred requests a second with downloads of a minute among them; SIGTERM to one of two replicas every thirty seconds, whose
address the next process takes while the old one still answers. Exit status 1 when a request that was sent is not answered
whole, or a process does not end with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from tests.support.rolling import replicas, roll


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_rolling.py", description=__doc__.split("\n")[0])
    parser.add_argument("--restarts", type=int, default=20, help="processes that are replaced (default 20)")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two SIGTERMs (default 30)")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second (default 200)")
    parser.add_argument("--downloads", type=int, default=8, help="downloads at a time (default 8)")
    parser.add_argument("--download", type=float, default=60.0, help="seconds of each (default 60)")
    parser.add_argument("--delay", type=float, default=5.0, help="server.limits.drain_delay in seconds (default 5)")
    parser.add_argument("--workers", type=int, default=1, help="server.workers (default 1)")
    given = parser.parse_args()
    drain = given.download + 15
    with tempfile.TemporaryDirectory(prefix="soak-rolling-") as directory:
        found = replicas(Path(directory), delay=given.delay, drain=drain, workers=given.workers)
        seen = asyncio.run(
            roll(
                found,
                restarts=given.restarts,
                every=given.every,
                rate=given.rate,
                downloads=given.downloads,
                download=given.download,
                patience=given.delay + drain + 20,
            )
        )
    answered = ", ".join(f"{count} {kind}" for kind, count in sorted(seen.answered.items()))
    print(
        f"answered whole: {answered}; in {seen.seconds:.0f} s, {sum(seen.answered.values()) / seen.seconds:.0f} a second"
    )
    print(f"sent again, since a kept connection was closed before an answer: {seen.repeated}")
    print(f"failed: {len(seen.failed)}; connections that a replica refused, and the other took: {seen.went_elsewhere}")
    print(f"processes ended: {len(seen.codes)}, exit codes {sorted(set(seen.codes))}; from SIGTERM to the end "
          f"{statistics.median(seen.took):.1f} s in the median, {max(seen.took):.1f} s at most")  # fmt: skip
    for failure in seen.failed[:20]:
        print(failure)
    return 1 if seen.failed or set(seen.codes) != {0} else 0


if __name__ == "__main__":
    sys.exit(main())
