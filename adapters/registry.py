"""Which adapters are installed, and how one becomes a class.

Rules of this module: adapters, the built-in ones too, are found through the entry point group `fhir_gateway.adapters`
and in no other way. Listing imports none of them; `load` imports the one that is named. What an author or an operator
did wrong comes out as `OptionError` with a sentence and a cure, never as a traceback.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any

from adapters.contract import CONTRACT_VERSION, Adapter
from adapters.errors import OptionError

GROUP = "fhir_gateway.adapters"


@dataclass(frozen=True, slots=True)
class Entry:
    """One installed adapter, as its distribution declares it; nothing has been imported.

    `target` is `module:attribute`. `rivals` names other distributions that offer the same name: such an adapter is
    listed, and `load` refuses it.
    """

    name: str
    distribution: str
    version: str
    target: str
    rivals: tuple[str, ...] = ()


def available() -> Mapping[str, Entry]:
    """Every installed adapter by name, in alphabetical order. Imports none of them, never raises."""
    return {name: _entry(offers) for name, offers in sorted(_offers().items())}


def load(name: str) -> type[Adapter]:
    """The adapter class called `name`; only its module is imported.

    Raises `OptionError` when the name is unknown or offered twice, a library is missing, the module or the attribute
    is not there, the class is not a complete `Adapter`, or it was written for another contract version.
    """
    offers = _offers()
    if name not in offers:
        raise _unknown(name, list(offers))
    entry = _entry(offers[name])
    if entry.rivals:
        names = " and ".join(sorted({entry.distribution, *entry.rivals}))
        raise _error(f"the adapter {name!r} is offered by {names}", "uninstall all of them but one")
    point = offers[name][0]
    module, _, attribute = entry.target.partition("[")[0].partition(":")
    return _checked(_attribute(_module(module.strip(), point, entry), attribute.strip(), entry), entry)


def _offers() -> dict[str, list[EntryPoint]]:
    offers: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        offers.setdefault(point.name, []).append(point)
    return offers


def _entry(offers: list[EntryPoint]) -> Entry:
    first, *others = offers
    distribution = _distribution(first)
    return Entry(
        name=first.name,
        distribution=distribution.name if distribution else "unknown",
        version=distribution.version if distribution else "unknown",
        target=first.value,
        rivals=tuple(other.name if (other := _distribution(point)) else "unknown" for point in others),
    )


def _distribution(point: EntryPoint) -> Distribution | None:
    return getattr(point, "dist", None)


def _error(detail: str, cure: str) -> OptionError:
    return OptionError(detail, option="adapter", cure=cure)


def _unknown(name: str, installed: list[str]) -> OptionError:
    near = difflib.get_close_matches(name, installed, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = ", ".join(sorted(installed)) or "none"
    return _error(f"there is no adapter {name!r}", f"{hint}installed adapters: {listed}")


def _module(module: str, point: EntryPoint, entry: Entry) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or "a module"
        if module == missing or module.startswith(f"{missing}."):
            raise _error(
                f"the adapter {entry.name!r} has no module {missing!r}",
                f"install {entry.distribution} again, or correct the target {entry.target!r} of its entry point",
            ) from error
        raise _missing_library(point, entry, missing) from error
    except Exception as error:  # an author's module may fail to import in any way
        raise _error(
            f"the adapter {entry.name!r} cannot be imported: {type(error).__name__}: {error}",
            f"correct {module}, or ask the makers of {entry.distribution} {entry.version}",
        ) from error


def _missing_library(point: EntryPoint, entry: Entry, missing: str) -> OptionError:
    distribution = _distribution(point)
    extras = distribution.metadata.get_all("Provides-Extra") or [] if distribution else []
    if entry.name in extras:
        # The interpreter that runs this: another one's pip would install where nobody looks.
        command = f"{shlex.quote(sys.executable)} -m pip install '{entry.distribution}[{entry.name}]'"
        detail = f"the adapter {entry.name!r} needs what the extra {entry.name!r} of {entry.distribution} installs"
        return _error(detail, f"run: {command} (in a checkout of it '.[{entry.name}]')")
    return _error(
        f"the adapter {entry.name!r} needs the module {missing!r}, which is not installed",
        f"install what {entry.distribution} says it needs for this adapter",
    )


def _attribute(module: Any, attribute: str, entry: Entry) -> Any:
    found = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise _error(
            f"the adapter {entry.name!r} is not in its module: {entry.target!r} names nothing",
            f"correct the entry point of {entry.distribution}: `module:Class`",
        )
    return found


def _checked(found: Any, entry: Entry) -> type[Adapter]:
    if not (inspect.isclass(found) and issubclass(found, Adapter)):
        raise _error(
            f"the adapter {entry.name!r} is no adapter: {entry.target!r} is not a subclass of adapters.Adapter",
            f"correct the entry point of {entry.distribution}, or derive the class from adapters.Adapter",
        )
    if found.contract != CONTRACT_VERSION:
        older = entry.distribution if found.contract < CONTRACT_VERSION else "fhir-document-gateway"
        raise _error(
            f"the adapter {entry.name!r} was written for contract {found.contract}, "
            f"this gateway speaks contract {CONTRACT_VERSION}",
            f"upgrade {older}",
        )
    lacking = sorted(found.__abstractmethods__) + ([] if hasattr(found, "Options") else ["Options"])
    if lacking:
        raise _error(
            f"the adapter {entry.name!r} is not complete: {entry.target!r} lacks {', '.join(lacking)}",
            "write what is missing; docs/adapters.md shows each",
        )
    return found
