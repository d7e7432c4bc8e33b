"""The arrows of the design as data, and a reader of imports that finds what goes against them.

Patterns are module names in `fnmatch` notation; a pattern covers a module and everything below it. Imports inside
functions and under `TYPE_CHECKING` count like all others: an arrow is an arrow.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

PACKAGES = ("gateway", "adapters")

IO_MODULES = (
    "aiofiles", "aiohttp", "asyncio", "concurrent", "ctypes", "fcntl", "http.client", "http.server", "io", "mmap",
    "multiprocessing", "os", "pathlib", "redis", "selectors", "shutil", "signal", "smbprotocol", "socket", "sqlite3",
    "ssl", "subprocess", "tempfile", "threading", "urllib.request", "uvloop",
)  # fmt: skip

PURE = (
    "gateway.protocol",
    "gateway.routing",
    "gateway.resilience",
    "gateway.cache.policy",
    "gateway.audit.chain",
    "gateway.audit.dicom",
    "gateway.fhir.audit_event",
    "adapters.xds.soap",
    "adapters.xds.mtom",
    "adapters.xds.retrieval",
    "adapters.xds.retrieval_answer",
    "adapters.xds.retrieval_errors",
    "adapters.xds.identifiers",
    "adapters.xds.locator",
    "gateway.security.scopes",
    "gateway.security.jose",
    "gateway.security.claims",
    "gateway.security.tokens",
    "gateway.security.smart",
)

VALUES = ("=gateway.fhir", "gateway.errors", "=gateway.cache", "=gateway.security")
"""Modules of plain values that pure code may use. "=" covers a package alone, without what lies below it."""

COMMANDS = (
    "gateway.cli.check",
    "gateway.cli.check_auth",
    "gateway.cli.check_cache",
    "gateway.cli.check_entrance",
    "gateway.cli.fetch",
    "gateway.cli.reference",
    "gateway.cli.reference_words",
)
"""What commands do, without their words: they may build the service as `serve` does."""

ROOT = ("gateway.app", "gateway.composing", "gateway.archives", "gateway.reloading", "gateway.supervision")

COMPOSERS = (*ROOT, "gateway.cli", *COMMANDS)
"""The composition root and the command line: they know everything, and nothing but each other knows them."""

REGISTRY_READERS = (*COMPOSERS, "gateway.settings", "gateway.settings.*")
"""Who may ask what adapters there are: who builds them, and who checks their options."""

CONTRACT = ("=adapters", "adapters.contract", "adapters.errors")
"""What the rest of the product may know of adapters."""

HTTP_ROOMS = (
    "account",
    "admin",
    "app",
    "audit.fhir_feed",
    "calls",
    "delivery",
    "cli.fetch",
    "handlers",
    "health",
    "http_server",
    "middleware",
    "reply",
    "security.authentication",
    "security.door",
    # The gateway's one client: it asks the issuers of tokens for their keys, at addresses of the configuration.
    "security.fetching",
    "security.mtls",
    "server",
    "supervision.desk",
    "supervision.front",
    "whole",
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Modules in `who`, but not in `but`, may not import what `never` covers, nor what `only` does not cover.

    `only` speaks of the project's own modules, and of all modules but the standard library where `strict` is set.
    """

    because: str
    who: tuple[str, ...]
    but: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    strict: bool = False

    def refuses(self, module: str, target: str) -> bool:
        if not covered(module, self.who) or covered(module, self.but):
            return False
        if covered(target, self.never):
            return True
        if self.only is None or covered(target, self.only):
            return False
        top = target.partition(".")[0]
        return top in PACKAGES or (self.strict and top not in sys.stdlib_module_names)


def home(library: str, *modules: str) -> Rule:
    """A library lives in these modules and nowhere else."""
    return Rule(f"{library} lives in {' and '.join(modules)}", PACKAGES, but=modules, never=(library,))


RULES = (
    Rule("an adapter knows the contract, not the gateway", ("adapters",), never=("gateway", "aiohttp.web")),
    Rule(
        "the contract stands on the standard library alone",
        ("adapters.contract", "adapters.errors"),
        only=("adapters.contract", "adapters.errors"),
        strict=True,
    ),
    Rule(
        "an adapter does not know the registry or the tests' kit",
        ("adapters",),
        but=("adapters.registry", "adapters.testing"),
        never=("adapters.registry", "adapters.testing"),
    ),
    Rule(
        "protocol and decisions do no I/O",
        PURE,
        # Of the C library it calls one function, which looks at the bytes that it is given.
        but=("adapters.xds.mtom.search",),
        never=IO_MODULES,
        only=(*PURE, *CONTRACT, *VALUES),
    ),
    Rule("the gateway knows adapters by their contract", ("gateway",), REGISTRY_READERS, only=("gateway", *CONTRACT)),
    Rule(
        "even the composition root learns of adapters from the registry",
        REGISTRY_READERS,
        but=("gateway.cli.adapter_kit",),
        only=("gateway", *CONTRACT, "adapters.registry"),
    ),
    Rule(
        "only the command `adapter test` runs the conformance kit",
        PACKAGES,
        but=("adapters.testing", "gateway.cli.adapter_kit"),
        never=("adapters.testing",),
    ),
    Rule(
        "only the command line starts the composition root",
        PACKAGES,
        COMPOSERS,
        never=ROOT,
    ),
    Rule("only the command line knows its commands", PACKAGES, COMPOSERS, never=COMMANDS),
    Rule(
        "nothing but `python -m gateway` knows the command line",
        PACKAGES,
        ("gateway.cli", "gateway.__main__"),
        ("gateway.cli",),
    ),
    home("redis", "gateway.cache.redis", "gateway.cache.redis_*"),
    home("hiredis", "gateway.cache.redis_*"),
    home("structlog", "gateway.telemetry"),
    home("opentelemetry", "gateway.tracing"),
    home("prometheus_client", "gateway.metrics.exposition"),
    home("fhir", "gateway.fhir"),
    home("fhir_core", "gateway.fhir"),
    home("pybase64", "gateway.fhir", "adapters.xds.mtom"),
    home("lxml", "gateway.fhir", "adapters.xds"),
    Rule(
        "the fake repository shares nothing with the readers that are tried on it",
        ("gateway.demo.xds",),
        only=("gateway.demo",),
        strict=True,
    ),
    home("smbprotocol", "adapters.smb"),
    home("spnego", "adapters.smb"),
    home(
        "cryptography",
        *("adapters.smb.wire", "gateway.cache.sealing", "gateway.audit"),
        *("gateway.security.keyset", "gateway.security.certificates", "gateway.security.forwarded"),
        "gateway.security.expiries",
    ),
    home("joserfc", "gateway.security.keyset"),
    home("click", "gateway.cli"),
    home("rich", "gateway.cli"),
    home("reportlab", "gateway.demo"),
    home("PIL", "gateway.demo"),
    home("uvloop", "gateway.app"),
    home("aiohttp", *(f"gateway.{room}" for room in HTTP_ROOMS), "adapters.xds"),
)


@dataclass(frozen=True, slots=True)
class Tree:
    """The modules of the two packages below `root`, by dotted name."""

    root: Path
    modules: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> Tree:
        paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
        return cls(root, {_name(path.relative_to(root)): path for path in paths})


def violations(tree: Tree, rules: Sequence[Rule] = RULES) -> list[str]:
    """Every import that a rule refuses, as "file:line: module imports target: reason"."""
    return [
        f"{tree.modules[module].relative_to(tree.root)}:{line}: imports {target}: {rule.because}"
        for module in tree.modules
        for line, target in imports(tree, module)
        for rule in rules
        if rule.refuses(module, target)
    ]


def imports(tree: Tree, module: str) -> Iterator[tuple[int, str]]:
    """What a module imports, with line numbers; names of the project's own modules are complete."""
    path = tree.modules[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Import(names=names):
                for one in names:
                    yield node.lineno, one.name
            case ast.ImportFrom(module=name, names=names, level=level):
                base = (
                    ".".join([*package[: len(package) - level + 1], *([name] if name else [])]) if level else str(name)
                )
                for one in names:
                    yield node.lineno, _target(tree, base, one.name)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"), args=args
            ):
                if args and isinstance(args[0], ast.Constant):
                    yield node.lineno, str(args[0].value)


def _target(tree: Tree, base: str, name: str) -> str:
    """`from base import name` means a module below `base`, or something that `base` holds."""
    whole = f"{base}.{name}"
    return base if base.partition(".")[0] in PACKAGES and whole not in tree.modules else whole


def covered(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns covers this module."""
    return any(_covers(pattern, name) for pattern in patterns)


def _covers(pattern: str, name: str) -> bool:
    if pattern.startswith("="):
        return name == pattern[1:]
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
