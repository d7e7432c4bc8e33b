"""docs/security-tests.md is a true account: it lists the attacks that the tests try, and the check can fail."""

from __future__ import annotations

import pytest

from tests.meta.attacks import PAGE, Attack, Malformed, attacks_of, faults, page, read_attacks


def test_the_page_is_fresh() -> None:
    attacks = read_attacks()
    assert faults(attacks) == []
    assert PAGE.read_text("utf-8") == page(attacks), "Write it anew: python -m tests.meta.attacks"


def test_pytest_sees_the_same_attacks_as_the_page(request: pytest.FixtureRequest) -> None:
    """Of the tests that run together with this one."""
    read = {(one.name, one.expectation, one.test) for one in read_attacks()}
    for item in request.session.items:
        for marker in item.iter_markers("attack"):
            assert (*marker.args, item.nodeid.partition("[")[0]) in read, f"{item.nodeid}: {marker.args}"


SOURCE = '''"""What is done to doors.

More."""
import pytest
attack = pytest.mark.attack

@pytest.mark.attack("a kick", "stays shut")
def test_kick(): pass

@pytest.mark.parametrize("how", [pytest.param(1, marks=attack("a key | of wax", "stays shut")), 2])
async def test_keys(how): pass

TABLE: list = [pytest.param(1, marks=attack("a crowbar", "bends"))]

@pytest.mark.parametrize("how", TABLE)
def test_tools(how): pass

def test_nothing(): pass
'''


def test_attacks_are_found_wherever_a_test_can_carry_them() -> None:
    found = list(attacks_of(SOURCE, "tests/test_doors.py"))
    assert found == [
        Attack("a kick", "stays shut", "tests/test_doors.py::test_kick", "What is done to doors."),
        Attack("a key | of wax", "stays shut", "tests/test_doors.py::test_keys", "What is done to doors."),
        Attack("a crowbar", "bends", "tests/test_doors.py::test_tools", "What is done to doors."),
    ]
    text = page(found)
    assert "## What is done to doors\n" in text
    assert "| a key \\| of wax | stays shut | holds: [test_keys](../tests/test_doors.py) |" in text


def test_two_attacks_of_one_name_are_caught() -> None:
    one = Attack("a kick", "stays shut", "a.py::test_a", "Doors.")
    assert faults([one, Attack("a kick", "opens", "b.py::test_b", "Doors.")]) == ["'a kick' is the name of two attacks"]


@pytest.mark.parametrize("words", ['"a kick"', '"a kick", SHUT', '"a kick", ""', '"a kick", expectation="stays shut"'])
def test_an_attack_that_does_not_say_what_is_to_come_of_it_is_refused(words: str) -> None:
    with pytest.raises(Malformed, match=":5: an attack has"):
        list(attacks_of(f"import pytest\n\n\n\n@pytest.mark.attack({words})\ndef test_x(): pass\n", "tests/test_x.py"))
