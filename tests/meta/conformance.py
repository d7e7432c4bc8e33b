"""docs/conformance.md: the requirements of tests/requirements.yaml, and the tests that show them to be met.

    python -m tests.meta.conformance                    run the marked tests, and write the page when all of them pass
    python -m tests.meta.conformance --without-running  write the page from the names of the tests alone

What is written depends on the register, the marked tests and the profiles only, so a test can tell whether the committed
page is fresh without running another one.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from gateway.protocol.profile import PROFILES
from tests.meta.requirements import (
    BINDING,
    CAPABILITIES,
    LEVELS,
    PROJECT,
    REGISTER,
    Marks,
    Requirement,
    faults,
    function_of,
    read_marks,
    read_register,
)

PAGE = PROJECT / "docs" / "conformance.md"

CONFLICTS = "Where specifications disagree"
"""The section that is a table of rules; the configuration reference refers to it by this name."""


def page(register: Mapping[str, Requirement], marks: Marks) -> str:
    """The text of docs/conformance.md."""
    lines = [
        "# Conformance",
        "",
        "<!-- Generated from tests/requirements.yaml and the tests that carry the numbers; a test keeps it fresh. Write it",
        "     anew with: python -m tests.meta.conformance -->",
        "",
        "What the specifications behind this service demand, and what shows that it is done. `CC` are the requirements of",
        "the NHS Care Connect Documents API, `FR` those of FHIR (STU3 and R4) and of the standards that it stands on, `ROW`",
        "the points on which specifications disagree; the last section has requirements of further sources. The sentences",
        "are this project's own.",
        "",
        "**met**: the tests named show it, and the suite does not pass without them. **due**: a later capability brings it.",
        "**not applicable**: it does not concern this service, and why.",
        "",
        *_summary(register),
    ]
    sections: dict[str, list[Requirement]] = defaultdict(list)
    for requirement in register.values():
        sections[requirement.section].append(requirement)
    for section, requirements in sections.items():
        requirements.sort(key=lambda requirement: _order(requirement.number))
        lines += ["", f"## {section}", ""]
        lines += _conflicts(requirements, marks) if section == CONFLICTS else _table(requirements, marks)
    return "\n".join(lines) + "\n"


def _order(number: str) -> tuple[str, int]:
    family, _, count = number.partition("-")
    return family, int(count)


def _summary(register: Mapping[str, Requirement]) -> list[str]:
    statuses = ("met", "due", "not applicable")
    counts = Counter((requirement.level, requirement.status) for requirement in register.values())
    groups = {"MUST and SHALL": BINDING} | {level: (level,) for level in LEVELS if level not in BINDING}
    lines = ["| level | met | due | not applicable | all |", "|---|--:|--:|--:|--:|"]
    for name, levels in (groups | {"**all**": LEVELS}).items():
        row = [sum(counts[level, status] for level in levels) for status in statuses]
        lines.append(f"| {name} | {' | '.join(map(str, (*row, sum(row))))} |")
    due = Counter(requirement.due for requirement in register.values() if requirement.due)
    return [*lines, "", "Due: " + ", ".join(f"{due[name]} with {name}" for name in CAPABILITIES if due[name]) + "."]


def _table(requirements: list[Requirement], marks: Marks) -> list[str]:
    lines = ["| number | level | requirement | status |", "|---|---|---|---|"]
    for one in requirements:
        lines.append(f"| {one.number} | {one.level} | {_cell(one.text)} | {_status(one, marks)} |")
    return lines


def _conflicts(requirements: list[Requirement], marks: Marks) -> list[str]:
    names = list(PROFILES)
    lines = [
        "A rule is a key of `fhir.rules` in the configuration. Each profile (`fhir.profile`) is a set of answers; those of",
        f"`{names[0]}` are the default.",
        "",
        f"| row | default | rule | {' | '.join(names)} | status |",
        "|---|---|---|" + "---|" * len(names) + "---|",
    ]
    for one in requirements:
        answers = [_value(getattr(profile, one.rule)) if one.rule else "" for profile in PROFILES.values()]
        rule = f"`{one.rule}`" if one.rule else ""
        lines.append(f"| {one.number} | {_cell(one.text)} | {rule} | {' | '.join(answers)} | {_status(one, marks)} |")
    return lines


def _value(value: object) -> str:
    words = {True: "yes", False: "no", None: "none"}
    return words[value] if value is None or isinstance(value, bool) else f"`{str(value).rpartition('/')[2]}`"


def _status(requirement: Requirement, marks: Marks) -> str:
    if requirement.due:
        return f"due: {requirement.due}"
    if requirement.not_applicable:
        return f"not applicable: {_cell(requirement.not_applicable)}"
    links = []
    for test in marks.get(requirement.number, ()):
        path, _, name = test.partition("::")
        links.append(f"[{name}](../{path})")
    return "met: " + "<br>".join(links)


def _cell(text: str) -> str:
    return re.sub(r"([|*\[\]])", r"\\\1", text)


# --- the command ----------------------------------------------------------------------------------------------------


def outcomes(report: Path) -> list[str]:
    """Run every marked test; what does not pass, and what pytest sees otherwise than `read_marks` does."""
    command = [sys.executable, "-m", "pytest", "-m", "requirement", "--conformance-report", str(report)]
    subprocess.run(command, cwd=PROJECT, check=False)
    if not report.exists():
        return ["The tests did not run."]
    rows = json.loads(report.read_text())
    found = [
        f"{row['test']} carries {number} and {row['outcome']}."
        for number, tests in rows.items()
        for row in tests
        if row["outcome"] != "passed"
    ]
    seen = {number: {function_of(row["test"]) for row in tests} for number, tests in rows.items()}
    read = {number: set(tests) for number, tests in read_marks().items()}
    for number in sorted(seen.keys() | read.keys()):
        for test in sorted(seen.get(number, set()) ^ read.get(number, set())):
            found.append(f"{test}: {number} has to stand as a literal string in its decorators, and be collected.")
    return found


def main() -> int:
    """Write the page; 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.meta.conformance", description="Write docs/conformance.md.")
    parser.add_argument("--without-running", action="store_true", help="do not run the tests first")
    running = not parser.parse_args().without_running
    register, marks = read_register(REGISTER.read_text("utf-8")), read_marks()
    problems = faults(register, marks)
    if running and not problems:
        with tempfile.TemporaryDirectory() as directory:
            problems = outcomes(Path(directory, "report.json"))
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 1
    PAGE.write_text(page(register, marks), "utf-8")
    print(f"{PAGE.relative_to(PROJECT)} is written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
