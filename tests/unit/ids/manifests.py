"""Manifests for tests: written, read, and refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import NotFound
from gateway.ids import ManifestError, ManifestIds
from gateway.ids.manifest_index import Index, load
from gateway.routing import Location, Withdrawn


class LogLines:
    """A logger that keeps (level, event, fields)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(("warning", event, fields))


def settings(directory: Path, **options: Any) -> ManifestIds:
    return ManifestIds.model_validate({"scheme": "manifest", "file": directory / "index.csv", **options})


def write(directory: Path, text: str | bytes, encoding: str = "utf-8") -> Path:
    path = directory / "index.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


@contextmanager
def index(directory: Path, text: str | bytes, *, prefix: str = "", **options: Any) -> Iterator[Index]:
    write(directory, text)
    made = load("letters", settings(directory, **options), prefix, stop=threading.Event())
    try:
        yield made
    finally:
        made.close()


def located(directory: Path, text: str | bytes, id: str = "1", **options: Any) -> Location:
    with index(directory, text, **options) as made:
        return made.find(id)


def everything(made: Index, ids: list[str]) -> dict[str, str]:
    """What each id leads to: a locator, "gone" or "none"."""
    found = {}
    for id in ids:
        try:
            found[id] = made.find(id).locator
        except Withdrawn:
            found[id] = "gone"
        except NotFound:
            found[id] = "none"
    return found


def problems(directory: Path, text: str | bytes, **options: Any) -> list[str]:
    """What is wrong with a manifest, one line each; it has to be wrong."""
    with pytest.raises(ManifestError) as refused, index(directory, text, **options):
        pass
    lines = str(refused.value).split("\n")
    assert len(lines) == len(refused.value.problems) + (refused.value.count > len(refused.value.problems))
    return lines
