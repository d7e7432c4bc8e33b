"""The arrows of the design hold, and the check that says so is shown to refuse what goes against them.

Beside the arrows: every module can be imported alone and says what it is for, rooms stay small, and `serve` does not
load what it may never need.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.meta.architecture import Tree, covered, violations
from tests.support.gateway import serving

PROJECT = Path(__file__).parents[2]
TREE = Tree.read(PROJECT)

FILE_LINES = 350
FUNCTION_LINES = 60
TABLES = ("gateway.errors", "gateway.demo", "gateway.metrics.catalogue")
"""Modules that are mostly data or prose, whose length says nothing about complexity."""

LOADED_LATER = ("redis", "smbprotocol", "fhir", "lxml", "reportlab", "PIL", "prometheus_client", "opentelemetry")
"""What `serve` must not import before something asks for it: time to first answer, and idle memory.

Not rich: structlog loads it by itself wherever it is installed."""


def tree(root: Path, sources: Mapping[str, str]) -> Tree:
    """A tree of modules out of {path: source}."""
    for name, source in sources.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return Tree.read(root)


def test_the_arrows_hold():
    assert violations(TREE) == []


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("adapters/smb.py", "import gateway", "not the gateway"),
        ("adapters/smb.py", "from gateway.settings import load", "not the gateway"),
        ("adapters/smb.py", "def f():\n    import gateway.app", "not the gateway"),
        ("adapters/smb.py", "import importlib\nimportlib.import_module('gateway.app')", "not the gateway"),
        ("adapters/xds/wire.py", "from aiohttp import web", "not the gateway"),
        ("adapters/smb.py", "from adapters.registry import load", "does not know the registry"),
        ("adapters/smb.py", "from . import registry", "does not know the registry"),
        ("adapters/smb.py", "from adapters import testing", "does not know the registry or the tests' kit"),
        ("adapters/contract.py", "import pydantic", "standard library alone"),
        ("adapters/errors.py", "from adapters import registry", "standard library alone"),
        ("gateway/protocol/ranges.py", "import asyncio", "no I/O"),
        ("gateway/protocol/ranges.py", "from gateway.source import Source", "no I/O"),
        ("gateway/routing.py", "from os import path", "no I/O"),
        ("gateway/cache/policy.py", "import redis", "no I/O"),
        ("gateway/source.py", "from adapters.smb import Smb", "by their contract"),
        ("gateway/source.py", "from adapters import registry", "by their contract"),
        ("gateway/app.py", "import adapters.smb", "from the registry"),
        ("gateway/handlers.py", "from gateway.app import serve", "starts the composition root"),
        ("gateway/source.py", "from gateway.cli import fetch", "knows its commands"),
        ("gateway/app.py", "from gateway import cli", "knows the command line"),
        ("gateway/documents.py", "import redis.asyncio", "redis lives in gateway.cache.redis"),
        ("gateway/source.py", "import structlog", "structlog lives in gateway.telemetry"),
        ("gateway/handlers.py", "from fhir.resources.R4B import binary", "fhir lives in gateway.fhir"),
        ("adapters/smb.py", "from lxml import etree", "lxml lives in gateway.fhir and adapters.xds"),
        ("gateway/source.py", "import aiohttp", "aiohttp lives in"),
        ("gateway/security/jwt.py", "import aiohttp", "aiohttp lives in"),
        ("gateway/security/claims.py", "import asyncio", "no I/O"),
        ("gateway/security/jwt.py", "from joserfc import jwk", "joserfc lives in gateway.security.keyset"),
    ],
)
def test_an_import_against_the_arrows_is_refused(tmp_path, module, source, reason):
    others = (
        "adapters/testing/__init__.py",
        "adapters/registry.py",
        "gateway/cli.py",
        "gateway/app.py",
        "gateway/cli/fetch.py",
    )
    found = violations(tree(tmp_path, dict.fromkeys(others, "") | {module: source}))
    assert [line for line in found if reason in line and module in line], found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("adapters/smb.py", "import smbprotocol\nfrom adapters import Adapter\nfrom adapters.errors import NotFound"),
        ("adapters/testing/kit.py", "from adapters.testing import harness"),
        ("gateway/protocol/ranges.py", "import re\nfrom gateway.fhir import Version\nfrom adapters import contract"),
        ("gateway/app.py", "from adapters import registry\nfrom gateway.cache import redis"),
        ("gateway/cli/serve.py", "from gateway.app import serve\nimport click, rich.table"),
        ("gateway/cache/redis.py", "import redis.asyncio"),
        ("adapters/xds/client.py", "from aiohttp import ClientSession\nfrom lxml import etree"),
    ],
)
def test_imports_along_the_arrows_are_fine(tmp_path, module, source):
    others = {"gateway/fhir/__init__.py": "class Version: ...", "adapters/testing/harness.py": ""}
    assert violations(tree(tmp_path, others | {module: source})) == []


@pytest.mark.timeout(180)
def test_every_module_can_be_imported_alone():
    """Each without any other, so that no other module's import hides a circle."""
    modules = [name for name in TREE.modules if name != "gateway.__main__"]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *modules], cwd=PROJECT, capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(done.stdout.split()) == sorted(modules)


ALONE = """
import contextlib, gc, os, sys, tempfile, traceback

def child(act):
    # Whether it went well, in a process that begins with what is imported here.
    if not (pid := os.fork()):
        try:
            act()
            status = 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        os._exit(status)
    return os.waitpid(pid, 0)[1] == 0

def others():
    # What is not the project's is shared by all; everything of the project is imported anew.
    for module in sys.argv[1:]:
        with contextlib.suppress(Exception):
            __import__(module)
    names = [name for name in sys.modules if name.partition(".")[0] not in ("gateway", "adapters")]
    print(*names, file=found, flush=True)

def alone(module):
    # To import a.b is to import a, then b: the modules of a package begin where the package has got to.
    __import__(module)
    print(module, flush=True)
    assert all([child(lambda: alone(one)) for one in sorted(sys.argv[1:]) if one.rpartition(".")[0] == module])

found = tempfile.TemporaryFile("w+")
child(others)
found.seek(0)
for name in found.read().split():
    with contextlib.suppress(Exception):
        __import__(name)
assert not {"gateway", "adapters"} & set(sys.modules)
gc.freeze()
sys.exit(not all([child(lambda: alone(one)) for one in sorted(sys.argv[1:]) if "." not in one]))
"""


def functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (one for one in ast.walk(node) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    said = function.body[0] if ast.get_docstring(function, clean=False) is not None else None
    docstring = said.end_lineno - said.lineno + 1 if said and said.end_lineno else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


@pytest.mark.parametrize("module", TREE.modules)
def test_a_module_is_small_and_says_what_it_is_for(module):
    path = TREE.modules[module]
    text = path.read_text()
    parsed = ast.parse(text)
    assert ast.get_docstring(parsed), f"{path}: begin with a docstring of the module's rules"
    if covered(module, TABLES):
        return
    assert len(text.splitlines()) <= FILE_LINES, f"{path}: split it by idea"
    long = [f"{one.name}: {length(one)} lines" for one in functions(parsed) if length(one) > FUNCTION_LINES]
    assert not long, f"{path}: {long}"


def test_serve_loads_only_what_it_needs(tmp_path):
    (tmp_path / "archive").mkdir()
    letters = {
        "adapter": "filesystem",
        "ids": {"scheme": "template", "pattern": "{id}.pdf"},
        "options": {"root": str(tmp_path / "archive")},
    }
    with serving({"sources": {"letters": letters}}, tmp_path / "run", interpreter=("-X", "importtime")) as gateway:
        report = gateway.server.log.read_text()
    imported = {line.rpartition("|")[2].strip() for line in report.splitlines() if line.startswith("import time:")}
    assert "adapters.filesystem.adapter" in imported, "the report of imports shows what serve loads"
    assert {name for name in imported if name.partition(".")[0] in LOADED_LATER} == set()
