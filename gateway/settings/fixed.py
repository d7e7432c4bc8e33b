"""What a running gateway cannot take from a changed configuration: it is refused with a sentence, never quietly left out.

Pure judgement on two settings that are right by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gateway.settings.models import Settings

FIXED: tuple[tuple[str, ...], ...] = (
    ("server", "host"),
    ("server", "port"),
    ("server", "unix_socket"),
    ("server", "tls"),
    ("server", "workers"),
    ("admin",),
    ("audit",),
    ("spool",),
    ("tracing",),
    ("log", "format"),
    ("log", "key_file"),
)
"""What is bound, opened or begun once in the life of a process."""

KeyPath = tuple[str | int, ...]


def fixed_changes(old: Settings, new: Settings) -> Iterator[tuple[KeyPath, str, str]]:
    """Every key whose change needs a restart, with cause and cure."""
    for path in FIXED:
        for key, before in _differences(_at(old, path), _at(new, path), path):
            yield key, "This cannot change while the gateway runs.", f"Restart the gateway, or put back {before}."


def _differences(old: Any, new: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if old == new:
        return
    if isinstance(old, BaseModel) and type(old) is type(new):
        for name, field in type(old).model_fields.items():
            before = getattr(old, name)
            if field.repr:
                yield from _differences(before, getattr(new, name), (*path, name))
            elif before != getattr(new, name):
                yield (*path, name), "what was there"
    else:
        yield path, _shown(old)


def _shown(value: Any) -> str:
    if value is None:
        return "`null` (or leave the key out)"
    plain = isinstance(value, str | int | Path) and len(str(value)) <= 60
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if plain else "what was there"


def _at(settings: Settings, path: tuple[str, ...]) -> Any:
    found: Any = settings
    for name in path:
        found = getattr(found, name)
    return found
