"""Reads of a gateway that is killed again and again: `python -m benchmarks.soak_audit`.

Eight readers over the gateway's own command; it is killed (SIGKILL) at random moments and started again over the same trail.
Every request whose answer began must be in the trail as intended, and the chain must hold over all files. Exit status 1 when
one of that fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.support.audit_killing import storm


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_audit.py", description=__doc__.split("\n")[0])
    parser.add_argument("--reads", type=int, default=100_000, help="reads to serve (default 100000)")
    parser.add_argument("--kills", type=int, default=50, help="kills at least (default 50)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default 1)")
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-audit-") as directory:
        seen = storm(Path(directory), reads=given.reads, kills=given.kills, seed=given.seed)
    verdict = seen.verdict
    print(f"{len(seen.served)} answers began, {len(seen.whole)} came to their end; {seen.kills} kills; "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    print(f"served and not recorded: {len(seen.unrecorded)}; begun and not ended: {len(seen.unended)}")
    print(f"records: {verdict.records} in {len(verdict.segments)} files; {dict(sorted(seen.events.items()))}")
    print(f"torn last lines: {sum(1 for one in verdict.segments if one.torn)}; the chain is whole: {verdict.whole}")
    for one in verdict.segments:
        for broken in one.breaks:
            print(f"{one.name}: {broken}")
    return 0 if verdict.whole and not seen.unrecorded and not seen.unended else 1


if __name__ == "__main__":
    sys.exit(main())
