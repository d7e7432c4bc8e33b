"""Whether the time of an answer tells a denied document from an unknown id: `python -m benchmarks.soak_refusal_times`.

Two thousand answers of each kind, with `policy.refusal_time` and without. Exit status 1 when, with it, a guess by time alone
would be right more often than in 55 of 100 cases.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.support.refusal_times import measured

GUESS = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_refusal_times.py", description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=2000, help="answers of each kind (default 2000)")
    given = parser.parse_args()
    failed = False
    for floor in (None, "50ms"):
        with tempfile.TemporaryDirectory(prefix="refusals-") as directory:
            for one in measured(Path(directory), samples=given.samples, floor=floor):
                print(
                    f"refusal_time {floor or 'null'}, {one.kind}: denied {one.denied:.3f} ms, unknown {one.unknown:.3f} ms; "
                    f"a guess is right in {max(one.guess, 1 - one.guess) * 100:.1f} of 100 cases ({one.deviation:+.1f} sd)",
                    flush=True,
                )
                failed = failed or (floor is not None and abs(one.guess - 0.5) > GUESS)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
