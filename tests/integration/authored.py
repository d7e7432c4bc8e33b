"""A third party's adapter, installed into this process: what `adapter new` writes, changed in places, with the facts
that pip would leave beside it.

Rules of this module: no tests. A clean environment with real pip is the business of test_third_party_adapter.
"""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.scaffold import Names, write
from gateway.settings.shape import adapter_class

NAME = "acme-edrms"
MODULE = "acme_edrms"

Changes = Mapping[str, Mapping[str, str]]
"""New text for old, by file."""


@contextmanager
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, changes: Changes | None = None) -> Iterator[Path]:
    """The package, written to `folder` and changed; its directory."""
    package = lay_out(folder, changes or {})
    with monkeypatch.context() as patched:
        patched.syspath_prepend(package)
        adapter_class.cache_clear()
        try:
            yield package
        finally:
            for name in [name for name in sys.modules if name.partition(".")[0] == MODULE]:
                del sys.modules[name]
            adapter_class.cache_clear()
    importlib.invalidate_caches()


def lay_out(folder: Path, changes: Changes) -> Path:
    """The package's files and its facts as an installer writes them; importable where `folder` is on the path."""
    package = folder / NAME
    write(Names(NAME), package)
    for place, replacements in changes.items():
        path = package / place
        text = path.read_text()
        for old, new in replacements.items():
            assert text.count(old) == 1, f"{place} has {old!r} {text.count(old)} times"
            text = text.replace(old, new)
        path.write_text(text)
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    facts = package / f"{MODULE}-{project['version']}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project.get("entry-points", {})
    lines = [line for group, points in groups.items() for line in (f"[{group}]", *map(" = ".join, points.items()))]
    (facts / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return package
