"""The checks, one module per theme; `CHECKS` is all of them in the order of the rules.

Rules of this package: every check of these modules is in `CHECKS`, and `tests/meta/test_kit_catches.py` holds, for
each, an adapter that is wrong on purpose.
"""

from adapters.testing.check import Check
from adapters.testing.checks import bodies, errors, existence, files, life, loop, options, release, spans, versions

_ORDER = [*(f"C{number}" for number in range(1, 13)), "L", "O", "F"]


def _key(check: Check) -> tuple[int, int]:
    return _ORDER.index(check.rule), int(check.number.partition(".")[2])


CHECKS: tuple[Check, ...] = tuple(
    sorted(
        (
            found
            for module in (bodies, errors, existence, files, life, loop, options, release, spans, versions)
            for found in vars(module).values()
            if isinstance(found, Check)
        ),
        key=_key,
    )
)

__all__ = ["CHECKS"]
