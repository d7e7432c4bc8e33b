"""The register of requirements (tests/requirements.yaml), the tests that carry their numbers, and whether the two agree.

Nothing is imported or run to find out: the numbers of a test stand as literal strings in its decorators. That pytest sees
the same ones is checked when the tests run.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from gateway.protocol.profile import Profile

PROJECT = Path(__file__).resolve().parents[2]
REGISTER = PROJECT / "tests" / "requirements.yaml"

LEVELS = ("MUST", "SHALL", "SHOULD", "MAY", "OURS", "AMBIGUITY", "FACT")
BINDING = ("MUST", "SHALL")
CAPABILITIES = ("authentication and audit", "SMART discovery", "caching", "serving and TLS")
"""What later capabilities are called in `due`."""

COMPLETE = {
    "CC": ((1, 27), (30, 41), (50, 66)),
    "FR": (
        *((1, 10), (20, 37), (40, 49), (60, 89), (91, 91), (100, 112), (120, 132), (140, 145), (150, 159)),
        *((170, 187), (200, 208), (220, 240), (250, 256)),
    ),
    "ROW": ((1, 22),),
}
"""The numbers that the register must have, by family: first and last of each run."""

NUMBER = re.compile(r"([A-Z]{2,3})-([0-9]{1,3})")

Marks = Mapping[str, tuple[str, ...]]
"""Tests by the number they carry, as `tests/unit/test_x.py::test_y`."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One entry. Without `due` and `not_applicable` it is met. `rule` is the field of `Profile` that decides a conflict."""

    number: str
    section: str
    level: str
    text: str
    due: str | None = None
    not_applicable: str | None = None
    rule: str | None = None

    @property
    def status(self) -> str:
        return "due" if self.due else "not applicable" if self.not_applicable else "met"


class Malformed(Exception):
    """The register cannot be read; the text says where."""


def read_register(text: str) -> dict[str, Requirement]:
    """The requirements by number, in the order of the file. Raises `Malformed`."""
    found: dict[str, Requirement] = {}
    for section, entries in yaml.load(text, Loader=_Strict).items():
        for number, entry in entries.items():
            rest = dict(entry)
            levels = [level for level in LEVELS if level in rest]
            if not NUMBER.fullmatch(number) or len(levels) != 1:
                raise Malformed(f"{number}: has the form of no number, or not one level out of {', '.join(LEVELS)}")
            if number in found:
                raise Malformed(f"{number}: is in {found[number].section!r} and in {section!r}")
            for value in rest.values():
                if not isinstance(value, str) or not value:
                    raise Malformed(f"{number}: {value!r} is no sentence")
            sentence = rest.pop(levels[0])
            due, not_applicable, rule = (rest.pop(key, None) for key in ("due", "not applicable", "rule"))
            if rest or (due and not_applicable):
                raise Malformed(f"{number}: keys that do not belong there: {', '.join(rest) or 'due, not applicable'}")
            found[number] = Requirement(number, section, levels[0], sentence, due, not_applicable, rule)
    return found


class _Strict(yaml.SafeLoader):
    """YAML whose mappings have each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        keys = Counter(key.value for key, _ in node.value)
        if twice := [key for key, count in keys.items() if count > 1]:
            raise Malformed(f"{twice[0]}: stands twice{node.start_mark}")
        return super().construct_mapping(node, deep)


# --- what the tests say ---------------------------------------------------------------------------------------------


def read_marks(root: Path = PROJECT) -> dict[str, tuple[str, ...]]:
    """The numbers in the decorators of the tests under `root`/tests, without importing anything."""
    marks = defaultdict(list)
    for path in sorted((root / "tests").rglob("test_*.py")):
        for name, numbers in marks_of(path.read_text("utf-8")):
            for number in numbers:
                marks[number].append(f"{path.relative_to(root).as_posix()}::{name}")
    return {number: tuple(tests) for number, tests in marks.items()}


def marks_of(source: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each test function of a module with the numbers in its decorators and in those of its class."""
    yield from _marks_in(ast.parse(source), "", ())


def _marks_in(node: ast.AST, prefix: str, inherited: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _marks_in(child, f"{prefix}{child.name}::", inherited + _numbers(child.decorator_list))
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and child.name.startswith("test_"):
            yield prefix + child.name, tuple(dict.fromkeys(inherited + _numbers(child.decorator_list)))


def _numbers(decorators: list[ast.expr]) -> tuple[str, ...]:
    """The literal arguments of every call of a `requirement` in these decorators."""
    return tuple(
        argument.value
        for decorator in decorators
        for call in ast.walk(decorator)
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "requirement"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )


def function_of(test: str) -> str:
    """A test's id without its parameters."""
    return test.partition("[")[0]


# --- what is wrong --------------------------------------------------------------------------------------------------


def faults(register: Mapping[str, Requirement], marks: Marks) -> list[str]:
    """What keeps register and tests from being a true account, one sentence each."""
    found = []
    for family, runs in COMPLETE.items():
        expected = [f"{family}-{number:02}" for first, last in runs for number in range(first, last + 1)]
        expected = [number.replace("ROW-0", "ROW-") for number in expected]
        found += [f"{number} is missing in the register." for number in expected if number not in register]
        found += [
            f"{number} is in the register and is no number of the checklist."
            for number in register
            if number.startswith(f"{family}-") and number not in expected
        ]
    for requirement in register.values():
        number, tests = requirement.number, marks.get(requirement.number, ())
        if requirement.status == "met" and not tests:
            word = "obliges" if requirement.level in BINDING else "is registered as met"
            found.append(f"{number} {requirement.level} {word} and no test carries its number.")
        if requirement.status != "met" and tests:
            found.append(f"{number} is registered as {requirement.status}, yet {tests[0]} carries its number.")
        if requirement.due and requirement.due not in CAPABILITIES:
            found.append(f"{number} is due with {requirement.due!r}, which is no capability.")
    found += [
        f"{tests[0]} carries {number}, which is not registered."
        for number, tests in marks.items()
        if number not in register
    ]
    rules = Counter(requirement.rule for requirement in register.values() if requirement.rule)
    decided = {field.name for field in fields(Profile)}
    found += [f"The rule {name} decides no row." for name in sorted(decided - rules.keys())]
    found += [f"{name} is no rule of a profile." for name in sorted(rules.keys() - decided)]
    found += [f"The rule {name} decides {count} rows." for name, count in sorted(rules.items()) if count > 1]
    return found
