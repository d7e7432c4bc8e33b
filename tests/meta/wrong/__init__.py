"""Adapters that are wrong on purpose, one mistake each, every one a mistake that somebody has made.

Rules of this package: no tests. `caught_by` is the number of the one check that must fail; every other check must pass,
so a mistake is made as narrow as it can be.
"""

from __future__ import annotations

from typing import Any

from tests.meta.shelf import ShelfAdapter
from tests.meta.wrong import bodies, content, errors, life

WRONG: list[type[Any]] = [
    found
    for module in (content, bodies, errors, life)
    for found in vars(module).values()
    if isinstance(found, type) and issubclass(found, ShelfAdapter) and "caught_by" in vars(found)
]
