"""The checks, one module per theme; `CHECKS` is all of them in the order of the rules."""

from tests.conformance.cache_kit.check import Check
from tests.conformance.cache_kit.checks import (
    answering,
    claims,
    damage,
    hits,
    keeping,
    life,
    purging,
    random_life,
    secrecy,
    wholeness,
)

_ORDER = [*(f"K{number}" for number in range(1, 8)), "L", "R", "S"]


def _place(check: Check) -> tuple[int, int]:
    rule, _, number = check.number.partition(".")
    return _ORDER.index(rule), int(number)


CHECKS: tuple[Check, ...] = tuple(
    sorted(
        (
            found
            for module in (
                answering,
                claims,
                damage,
                hits,
                keeping,
                life,
                purging,
                random_life,
                secrecy,
                wholeness,
            )
            for found in vars(module).values()
            if isinstance(found, Check)
        ),
        key=_place,
    )
)
