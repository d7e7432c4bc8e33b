"""The harness that an installed adapter brings with it, so that it can be tested where it is installed.

Rules of this module: a harness is found through the entry point group `fhir_gateway.harnesses`, under the name of its
adapter, and in no other way. What an author forgot comes out as `NoHarness` with a sentence and a cure.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from adapters import registry
from adapters.contract import Adapter
from adapters.testing.harness import Harness
from adapters.testing.runner import MakeHarness

GROUP = "fhir_gateway.harnesses"


class NoHarness(Exception):
    """There is no harness to test with. `cure` says what the author does about it."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cure = cure


def adapters_of(package: str) -> list[registry.Entry]:
    """The installed adapters that `package` names: the one of this name, else all that this distribution offers."""
    available = registry.available()
    if package in available:
        return [available[package]]
    return [entry for entry in available.values() if _canonical(entry.distribution) == _canonical(package)]


def _canonical(distribution: str) -> str:
    """A distribution's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def harness_of(name: str, adapter: type[Adapter]) -> MakeHarness:
    """What makes a harness for the installed adapter `name`, whose class is `adapter`.

    Raises `NoHarness` when none is declared, or when what is declared is no harness or tests another class.
    """
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    if not points:
        raise NoHarness(
            f"The adapter {name!r} comes without a harness.",
            f'Declare one in its pyproject.toml: [project.entry-points."{GROUP}"] {name} = "your_package.testing:'
            'YourHarness", and install it again. `fhir-gateway adapter new` writes such a package.',
        )
    if len({point.value for point in points}) > 1:
        targets = " and ".join(sorted({point.value for point in points}))
        raise NoHarness(f"The adapter {name!r} has several harnesses: {targets}.", "Uninstall all of them but one.")
    made = _loaded(points[0])
    if isinstance(made, type) and issubclass(made, Harness):
        _judge_class(points[0], made, adapter)
    elif isinstance(made, type) or not callable(made):
        raise NoHarness(
            f"The harness of {name!r} is none: {points[0].value!r} is not a subclass of adapters.testing.Harness.",
            "Let the entry point name a Harness class, or a function that returns a harness.",
        )
    harness: MakeHarness = made
    return harness


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:  # an author's module may fail to import in any way
        raise NoHarness(
            f"The harness of {point.name!r}, {point.value!r}, cannot be imported: {type(error).__name__}: {error}.",
            "Correct the entry point (`module:Class`) or the module; what it needs besides, such as a test extra, must "
            "be installed.",
        ) from error


def _judge_class(point: EntryPoint, kind: type[Harness], adapter: type[Adapter]) -> None:
    """The harness can be made, and what it makes is what is installed under this name."""
    try:
        harness = kind()
        try:
            made = harness.adapter()
        finally:
            harness.release()
    except Exception as error:  # likewise
        raise NoHarness(
            f"The harness {point.value!r} cannot be set up: {type(error).__name__}: {error}.",
            "`YourHarness().adapter()` must work without arguments; for what needs more, let the entry point name a "
            "function that returns a context manager around a harness.",
        ) from error
    if not isinstance(made, adapter):
        raise NoHarness(
            f"The harness {point.value!r} tests {type(made).__name__}, and the adapter {point.name!r} is "
            f"{adapter.__name__}.",
            "Let both entry points mean the same adapter.",
        )
