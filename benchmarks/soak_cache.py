"""The cache against a model of what it may serve, for minutes: `python -m benchmarks.soak_cache`.

Every backend, first as objects of one process, then as gateways that are killed. Exit status 1 when an answer was not allowed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_cache.py", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="for each backend and each form (default 120)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    failed = False
    for form in ([], ["--kill"]):
        for backend in ("memory", "disk", "redis"):
            words = [
                "--backend",
                backend,
                "--seconds",
                str(given.seconds),
                "--seed",
                str(given.seed),
                "--reads",
                "1000000000",
            ]
            print(backend, *form, flush=True)
            done = subprocess.run([sys.executable, "-m", "tests.support.cache_model.run", *words, *form], check=False)
            failed = failed or bool(done.returncode)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
