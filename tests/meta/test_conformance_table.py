"""docs/conformance.md is a true account: complete, fresh, and every "met" stands on a test; and the check can fail."""

from __future__ import annotations

import pytest

from tests.meta.conformance import PAGE, page
from tests.meta.requirements import (
    REGISTER,
    Malformed,
    Marks,
    faults,
    function_of,
    marks_of,
    read_marks,
    read_register,
)

TEXT = REGISTER.read_text("utf-8")

CURE = "Write it anew: python -m tests.meta.conformance"


@pytest.fixture(scope="module")
def marks() -> Marks:
    return read_marks()


def test_every_requirement_is_met_by_a_test_or_says_why_not(marks: Marks) -> None:
    assert faults(read_register(TEXT), marks) == []


def test_the_page_is_fresh(marks: Marks) -> None:
    assert PAGE.read_text("utf-8") == page(read_register(TEXT), marks), CURE


def test_pytest_sees_the_same_numbers_as_the_page(request: pytest.FixtureRequest, marks: Marks) -> None:
    """Of the tests that run together with this one; the generator compares them all."""
    read = {(test, number) for number, tests in marks.items() for test in tests}
    for item in request.session.items:
        for marker in item.iter_markers("requirement"):
            for number in marker.args:
                assert (function_of(item.nodeid), number) in read, (
                    f"{item.nodeid}: {number} has to stand as a literal string in the decorators of the test"
                )


def test_the_page_counts_what_it_lists(marks: Marks) -> None:
    register = read_register(TEXT)
    text = page(register, marks)
    met = sum(requirement.status == "met" for requirement in register.values())
    due = sum(requirement.status == "due" for requirement in register.values())
    assert f"| **all** | {met} | {due} | {len(register) - met - due} | {len(register)} |" in text
    assert text.count("| met: ") == met
    assert text.count("| due: ") == due
    for number in register:
        assert text.count(f"\n| {number} |") == 1


# --- the check can fail ---------------------------------------------------------------------------------------------


def doctored(old: str, new: str) -> str:
    """The register with one passage replaced."""
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("  CC-10:\n", "  CC-100:\n", "CC-10 is missing in the register."),
        ("  CC-10:\n", "  CC-100:\n", "CC-100 is in the register and is no number of the checklist."),
        ("  ROW-7:\n", "  ROW-23:\n", "ROW-7 is missing in the register."),
        (
            "    not applicable: A duty of clients; with both formats offered, every such client is served.\n",
            "",
            "CC-56 MUST obliges and no test carries its number.",
        ),
        (
            "    due: serving and TLS\n",
            "    due: one day\n",
            "CC-57 is due with 'one day', which is no capability.",
        ),
        ("    rule: charset\n", "", "The rule charset decides no row."),
        ("    rule: charset\n", "    rule: forms\n", "The rule forms decides 2 rows."),
        ("    rule: charset\n", "    rule: encoding\n", "encoding is no rule of a profile."),
    ],
)
def test_a_wrong_register_is_caught(old: str, new: str, fault: str, marks: Marks) -> None:
    assert fault in faults(read_register(doctored(old, new)), marks)


def test_a_requirement_that_loses_its_last_test_is_caught(marks: Marks) -> None:
    without = {number: tests for number, tests in marks.items() if number != "CC-10"}
    assert faults(read_register(TEXT), without) == ["CC-10 MUST obliges and no test carries its number."]


def test_a_test_of_something_that_is_not_met_is_caught(marks: Marks) -> None:
    more = {**marks, "CC-56": ("tests/x.py::test_y",), "XX-1": ("tests/x.py::test_y",)}
    assert faults(read_register(TEXT), more) == [
        "CC-56 is registered as not applicable, yet tests/x.py::test_y carries its number.",
        "tests/x.py::test_y carries XX-1, which is not registered.",
    ]


def test_a_stale_page_is_caught(marks: Marks) -> None:
    register = read_register(TEXT)
    assert page(register, {**marks, "CC-10": (*marks["CC-10"], "tests/x.py::test_new")}) != page(register, marks)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  CC-10:\n    MUST:", "  CC-10:\n    WISH:"),
        ("  CC-10:\n    MUST:", "  CC-10:\n    SHOULD: it\n    MUST:"),
        ("  CC-10:\n", "  CC-09:\n"),
        ("  CC-10:\n", "  FR-77:\n"),
        ("  CC-10:\n", "  CC10:\n"),
        ("    due: serving and TLS\n", "    due: serving and TLS\n    not applicable: of no concern\n"),
        ("    due: serving and TLS\n", "    due: no\n"),
        ("    rule: charset\n", "    role: charset\n"),
    ],
)
def test_a_register_that_cannot_be_read_is_refused(old: str, new: str) -> None:
    with pytest.raises(Malformed):
        read_register(doctored(old, new))


def test_numbers_are_found_wherever_a_test_can_carry_them() -> None:
    source = """
import pytest
requirement = pytest.mark.requirement

@pytest.mark.requirement("CC-01", "CC-02")
@pytest.mark.requirement("CC-01")
async def test_decorated(): pass

@pytest.mark.parametrize("x", [pytest.param(1, marks=requirement("CC-03")), "UTF-16"])
def test_of_one_row(): pass

@pytest.mark.requirement("CC-04")
class TestAll:
    @pytest.mark.requirement("CC-05")
    def test_inside(self): pass

def test_without(): pass

@pytest.mark.requirement("CC-06")
def prepare(): pass

TEXT = 'pytest.mark.requirement("CC-07")'
"""
    assert {test: numbers for test, numbers in marks_of(source) if numbers} == {
        "test_decorated": ("CC-01", "CC-02"),
        "test_of_one_row": ("CC-03",),
        "TestAll::test_inside": ("CC-04", "CC-05"),
    }
