"""What remains of a configuration that has mistakes: so that one of them hides nothing about the rest.

Only for looking: a gateway never serves what is made here. Whatever a mistake stands in is left out until the rest is right;
where everything would be left out there is nothing to look at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from gateway.marked_yaml import KeyPath
from gateway.settings.models import Settings

ROUNDS = 6
"""How often what is still wrong is left out: taking a key away may leave another one alone."""

_NOBODY: Mapping[str, Any] = {"mode": "none", "allow_anonymous": True}
_NO_SOURCES: Mapping[str, Any] = {"none": {"adapter": "memory", "ids": {"scheme": "template", "pattern": "{id}"}}}


def salvaged(data: Mapping[str, Any], keys: Iterable[str]) -> Settings | None:
    """The settings in `data` without what stands at the dotted `keys`, whose mistakes are known; None when little is left.

    A required section that is left out is made harmless: nobody is asked who they are, and there is no source.
    """
    rest: Any = _copied(data)
    wrong: list[KeyPath] = [_path(key) for key in keys if key]
    for _ in range(ROUNDS):
        # Later items of a list first, so that the earlier ones keep their numbers.
        for path in sorted(wrong, key=str, reverse=True):
            _remove(rest, path)
        rest.setdefault("auth", dict(_NOBODY))
        if not rest.get("sources"):
            rest["sources"] = _NO_SOURCES
        try:
            settings = Settings.model_validate(rest)
        except ValidationError as error:
            wrong = [_within(rest, found["loc"]) for found in error.errors(include_url=False)]
            continue
        return settings.model_copy(update={"sources": {}}) if rest["sources"] is _NO_SOURCES else settings
    return None


def without(data: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """A copy of `data` without what stands at the dotted `keys`."""
    rest: dict[str, Any] = _copied(data)
    for key in keys:
        _remove(rest, _path(key))
    return rest


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(entry) for key, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list) else value


def _path(key: str) -> KeyPath:
    return tuple(int(part) if part.isdecimal() else part for part in re.findall(r"[^.\[\]]+", key))


def _within(data: Any, loc: Iterable[str | int]) -> KeyPath:
    """The part of pydantic's location that is in `data`: it puts names of types in between."""
    path: list[str | int] = []
    for part in loc:
        if _has(data, part):
            path.append(part)
            data = data[part]
    return tuple(path)


def _remove(data: Any, path: KeyPath) -> None:
    """Take away what stands at `path`; where nothing does, something is missing and what is around it goes."""
    around: Any = None
    at: str | int = ""
    for part in path:
        if not _has(data, part):
            break
        around, at, data = data, part, data[part]
    if around is not None:
        del around[at]


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, dict):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)
