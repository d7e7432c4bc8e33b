"""Measures the gateway beside its peers: `python -m benchmarks.run [--quick] [--only NAME] [--rounds N] [--write]`.

`--write` keeps the figures in benchmarks/results.json and rewrites the table of docs/benchmarks.md, with `--only` the rows
of what was measured alone. Exit status 1 says that a goal was missed; on a machine that does something else meanwhile,
that says little.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import audit, caching, chart, fills, scaling, scenarios, security, small, smb, xds
from benchmarks.machine import description
from benchmarks.results import Result, footer, markdown, spliced
from benchmarks.rig import Rig
from benchmarks.scenarios import QUICK, Plan
from tests.support.process import SEARCH

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PICTURE = PAGE.with_suffix(".svg")
BEGIN, END = "<!-- results: written by `make bench` -->", "<!-- end of results -->"

GROUPS = {
    "files": scenarios.SCENARIOS,
    "small": small.SCENARIOS,
    "scaling": scaling.SCENARIOS,
    "security": security.SCENARIOS,
    "audit": audit.SCENARIOS,
    "shares": smb.SCENARIOS,
    "xds": xds.SCENARIOS,
    "caches": caching.SCENARIOS,
    "misses": fills.SCENARIOS,
}
EVERY = {name: scenario for group in GROUPS.values() for name, scenario in group.items()}


def needed(name: str) -> tuple[str, ...]:
    """The programs that a scenario starts and may not find."""
    if name in smb.SCENARIOS:
        return ("smbd", "smbclient", "smbstatus", "rclone")
    if name in caching.SCENARIOS:
        return ("nginx", "wrk", "redis-server")
    return ("nginx",) if name in xds.SCENARIOS or name in fills.SCENARIOS else ("nginx", "wrk")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only", nargs="+", choices=[*GROUPS, *EVERY], metavar="NAME", help=", ".join([*GROUPS, *EVERY])
    )
    parser.add_argument("--rounds", type=int, help="how often each contender is measured")
    parser.add_argument("--quick", action="store_true", help="smaller files, fewer rounds")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name} and {PAGE.name}")
    parser.add_argument("--directory", type=Path, help="where the documents go (3 GiB; default: a temporary directory)")
    parser.add_argument("--no-pin", action="store_true", help="let servers and clients share all processors")
    return parser.parse_args()


def main() -> int:
    chosen = arguments()
    names = [name for one in chosen.only or GROUPS for name in GROUPS.get(one, [one])]
    for program in sorted({program for name in names for program in needed(name)}):
        if shutil.which(program, path=SEARCH) is None:
            print(f"{program} is not installed; `make bench` installs it when it may.", file=sys.stderr)
            return 2
    plan = QUICK if chosen.quick else Plan()
    if chosen.rounds:
        plan = dataclasses.replace(plan, rounds=chosen.rounds)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=chosen.directory) as directory:
        rig = Rig(Path(directory), pin=not chosen.no_pin)
        for name in names:
            results.append(EVERY[name](rig, plan))
            for row in results[-1].rows():
                print("  ".join(filter(None, row)), flush=True)
    if chosen.write:
        write(results, plan, chosen.only)
    verdicts = [one for result in results for one in result.verdicts]
    print(f"{sum(verdicts)} of {len(verdicts)} goals are met.")
    return 0


def write(results: list[Result], plan: Plan, only: list[str] | None) -> None:
    """Keep the figures, and put the table into the page; with `only`, leave the other rows there as they are."""
    when, machine = datetime.now(UTC).date().isoformat(), description()
    measured = [one.plain() | {"when": when, "rounds": plan.rounds, "machine": machine} for one in results]
    before = json.loads(RESULTS.read_text()) if only and RESULTS.exists() else {}
    rows = {"results": merged(before.get("results", []), measured)}
    RESULTS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    page = PAGE.read_text()
    section = re.compile(f"(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", re.DOTALL)
    found = section.search(page)
    assert found
    said = footer(machine, f"{when}, {plan.rounds} rounds in turns.", only)
    table = spliced(found[0], results, said) if only else markdown(results, said)
    PAGE.write_text(f"{page[: found.start()]}\n\n{table}\n{page[found.end() :]}")
    PICTURE.write_text(chart.svg(chart.bars(table)))


def merged(before: list[dict[str, Any]], measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The figures there were, those of the same name replaced: a run of some scenarios keeps those of the others."""
    return list(({one["name"]: one for one in before} | {one["name"]: one for one in measured}).values())


if __name__ == "__main__":
    sys.exit(main())
