"""A repository of audit records that is away for long: `python -m benchmarks.soak_audit_away`.

Documents are read over several lives of the gateway while nobody takes its records; then the repository is there. Exit status 1
when a record is missing, a file's records arrive out of order, or waiting took memory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.support.audit_away import outage

GROWN = 32 << 20
"""Bytes of memory that an outage may take: nothing but the noise of an allocator."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_audit_away.py", description=__doc__.split("\n")[0])
    parser.add_argument("--reads", type=int, default=100_000, help="reads in all (default 100000)")
    parser.add_argument("--lives", type=int, default=4, help="how often the gateway is started (default 4)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-away-") as directory:
        seen = outage(
            Path(directory), reads=given.reads // given.lives, lives=given.lives, rotate="8MiB", patience=1800
        )
    print(f"{seen.reads} reads in {seen.away:.0f} s away; {seen.records} records in {seen.files} files; "
          f"{max(seen.waited) >> 20} MiB waited; slowest read {seen.slowest * 1000:.0f} ms")  # fmt: skip
    print(f"all there {seen.back:.0f} s after it was back; missing {seen.missing}, twice {seen.twice}")
    print(f"files out of order: {seen.unordered}; memory grew by {seen.grown >> 20} MiB, notes take {seen.notes} bytes")
    return int(bool(seen.missing or seen.unordered or seen.grown > GROWN))


if __name__ == "__main__":
    sys.exit(main())
