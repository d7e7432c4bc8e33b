"""docs/security-tests.md: what is tried against the service, what is to come of it, and the tests that try it.

    python -m tests.meta.attacks                    try everything, and write the page when all of it holds
    python -m tests.meta.attacks --without-running  write the page from the tests alone

An attack is a marker on a test, `@pytest.mark.attack("name", "expectation")`, or on one of its parameters
(`pytest.param(..., marks=attack("name", "expectation"))`, also in a table that the decorator names), as literal strings. What
sources only, so that a test can tell whether the committed page is fresh.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "security-tests.md"


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack, and the test that tries it as `tests/x/test_y.py::test_z`. `about` is the first line of its module."""

    name: str
    expectation: str
    test: str
    about: str


class Malformed(Exception):
    """A marker that does not say what it must; the text says where."""


def read_attacks(root: Path = PROJECT) -> list[Attack]:
    """The attacks in the tests under `root`/tests, without importing anything. Raises `Malformed`."""
    found = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        if "attack" in text:
            found += attacks_of(text, path.relative_to(root).as_posix())
    return found


def attacks_of(source: str, path: str) -> Iterator[Attack]:
    """The attacks of one module. Raises `Malformed`."""
    module = ast.parse(source)
    about = (ast.get_docstring(module) or path).splitlines()[0]
    tables = dict(_tables(module))
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for decorator in node.decorator_list:
                for call in _markers(decorator, tables):
                    yield Attack(*_words(call, path), f"{path}::{node.name}", about)


def _tables(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The values of a module that have a name."""
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value


def _markers(expression: ast.expr, tables: Mapping[str, ast.expr]) -> Iterator[ast.Call]:
    for node in ast.walk(expression):
        if isinstance(node, ast.Name) and node.id in tables:
            yield from _markers(tables[node.id], {})
        elif isinstance(node, ast.Call):
            match node.func:
                case ast.Name(id="attack") | ast.Attribute(attr="attack", value=ast.Attribute(attr="mark")):
                    yield node


def _words(call: ast.Call, path: str) -> tuple[str, str]:
    words = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    if len(words) != 2 or len(call.args) != 2 or call.keywords or not all(words):
        raise Malformed(f"{path}:{call.lineno}: an attack has a name and an expectation, as literal strings")
    return words[0], words[1]


def faults(attacks: Sequence[Attack]) -> list[str]:
    """What is wrong with the attacks as a whole: a name that stands twice would be one line for two things."""
    return [
        f"{name!r} is the name of two attacks"
        for name, count in Counter(one.name for one in attacks).items()
        if count > 1
    ]


def page(attacks: Sequence[Attack]) -> str:
    """The text of docs/security-tests.md."""
    lines = [
        "# What is tried against the service",
        "",
        "<!-- Generated from the tests that carry the marker `attack`; a test keeps it fresh. Write it anew with:",
        "     python -m tests.meta.attacks -->",
        "",
        "Every line is tried by a test whenever the suite runs, over a socket wherever bytes of a client are part of it,",
        f"and the suite does not pass when an expectation fails. {len(attacks)} attacks; each result leads to its test.",
    ]
    about = ""
    for one in attacks:
        if one.about != about:
            about = one.about
            lines += ["", f"## {about.rstrip('.')}", "", "| attack | expectation | result |", "|---|---|---|"]
        path, _, test = one.test.partition("::")
        lines.append(f"| {_cell(one.name)} | {_cell(one.expectation)} | holds: [{test}](../{path}) |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the page; 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.meta.attacks", description="Write docs/security-tests.md.")
    parser.add_argument("--without-running", action="store_true", help="do not try them first")
    attacks = read_attacks()
    problems = faults(attacks)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not parser.parse_args().without_running and not problems:
        tests = list(dict.fromkeys(one.test for one in attacks))
        if subprocess.run([sys.executable, "-m", "pytest", *tests], cwd=PROJECT, check=False).returncode:
            problems.append("not all of them hold")
    if problems:
        return 1
    PAGE.write_text(page(attacks), "utf-8")
    print(f"{PAGE.relative_to(PROJECT)} is written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
