"""Adapters are found through entry points, loaded one at a time, and refused with a sentence and a cure."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from adapters import registry
from adapters.contract import CONTRACT_VERSION
from adapters.errors import OptionError
from adapters.memory import MemoryAdapter

Install = Callable[..., None]

COMPLETE = """
from adapters.memory import MemoryAdapter
class Acme(MemoryAdapter): ...
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution with one adapter on the path, the way pip would."""
    modules = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def put(
        source: str | None,
        *,
        distribution: str = "acme-archive",
        name: str = "acme",
        target: str = "acme_archive:Acme",
        extras: tuple[str, ...] = (),
    ) -> None:
        facts = tmp_path / f"{distribution.replace('-', '_')}-2.5.dist-info"
        facts.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {distribution}", "Version: 2.5"]
        (facts / "METADATA").write_text("\n".join([*lines, *(f"Provides-Extra: {extra}" for extra in extras)]) + "\n")
        (facts / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{name} = {target}\n")
        if source is not None:
            (tmp_path / "acme_archive.py").write_text(source)

    yield put
    for name in set(sys.modules) - modules:
        if name.startswith("acme_archive"):
            del sys.modules[name]


def refused(name: str) -> OptionError:
    with pytest.raises(OptionError) as caught:
        registry.load(name)
    assert caught.value.option == "adapter"
    assert caught.value.cure
    return caught.value


def test_the_built_in_adapters_use_the_entry_point_group() -> None:
    declared = {point.name: point.value for point in entry_points(group=registry.GROUP)}
    assert declared["memory"] == "adapters.memory:MemoryAdapter"
    entry = registry.available()["memory"]
    assert (entry.name, entry.distribution, entry.target, entry.rivals) == (
        "memory",
        "fhir-document-gateway",
        "adapters.memory:MemoryAdapter",
        (),
    )
    assert registry.load("memory") is MemoryAdapter


def test_listing_imports_no_adapter_and_loading_imports_one() -> None:
    script = """
import sys
from adapters import registry
def imported(): return {name for name in registry.available() if f"adapters.{name}" in sys.modules}
assert len(registry.available()) >= 2
assert imported() == set(), imported()
registry.load("memory")
assert imported() == {"memory"}, imported()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_adapter_of_another_distribution_is_listed_without_importing_it_and_loaded(install: Install) -> None:
    install(COMPLETE)
    entry = registry.available()["acme"]
    assert (entry.distribution, entry.version, entry.target) == ("acme-archive", "2.5", "acme_archive:Acme")
    assert "acme_archive" not in sys.modules
    assert registry.load("acme").__name__ == "Acme"


def test_an_unknown_name_gets_the_nearest_and_the_list() -> None:
    error = refused("memroy")
    assert error.detail == "there is no adapter 'memroy'"
    assert error.cure is not None
    assert error.cure.startswith("did you mean 'memory'? installed adapters: ")
    assert "filesystem" in error.cure


def test_a_name_like_no_other_gets_the_list_alone() -> None:
    cure = refused("zzzz").cure
    assert cure is not None
    assert cure.startswith("installed adapters: ")


def test_a_name_offered_twice_names_both_and_harms_no_other(install: Install) -> None:
    install(COMPLETE)
    install(None, distribution="other-archive")
    assert refused("acme").detail == "the adapter 'acme' is offered by acme-archive and other-archive"
    entry = registry.available()["acme"]
    assert {entry.distribution, *entry.rivals} == {"acme-archive", "other-archive"}
    assert registry.load("memory") is MemoryAdapter


def test_a_name_of_a_built_in_adapter_cannot_be_taken_over(install: Install) -> None:
    install(COMPLETE, name="memory")
    assert refused("memory").detail == "the adapter 'memory' is offered by acme-archive and fhir-document-gateway"


def test_a_missing_library_with_an_extra_names_the_command(install: Install) -> None:
    install("import acme_no_such_library\n", extras=("acme",))
    error = refused("acme")
    assert error.detail == "the adapter 'acme' needs what the extra 'acme' of acme-archive installs"
    assert error.cure == f"run: {sys.executable} -m pip install 'acme-archive[acme]' (in a checkout of it '.[acme]')"


def test_a_missing_library_without_an_extra_is_named(install: Install) -> None:
    install("import acme_no_such_library\n")
    assert (
        refused("acme").detail == "the adapter 'acme' needs the module 'acme_no_such_library', which is not installed"
    )


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        (None, "acme_archive:Acme", "the adapter 'acme' has no module 'acme_archive'"),
        ("x = 1", "acme_archive.deep:Acme", "the adapter 'acme' has no module 'acme_archive.deep'"),
        ("def broken(:", "acme_archive:Acme", "the adapter 'acme' cannot be imported: SyntaxError"),
        ("raise ValueError('on import')", "acme_archive:Acme", "cannot be imported: ValueError: on import"),
        ("x = 1", "acme_archive:Acme", "the adapter 'acme' is not in its module"),
        ("Acme = 3", "acme_archive:Acme", "the adapter 'acme' is no adapter"),
        ("class Acme: ...", "acme_archive:Acme", "the adapter 'acme' is no adapter"),
        (COMPLETE, "acme_archive", "the adapter 'acme' is not in its module"),
    ],
)
def test_a_wrong_entry_point_is_explained(source: str | None, target: str, sentence: str, install: Install) -> None:
    install(source, target=target)
    assert sentence in refused("acme").detail


def test_an_incomplete_class_is_told_what_it_lacks(install: Install) -> None:
    install("from adapters import Adapter\nclass Acme(Adapter):\n    async def probe(self): ...\n")
    assert refused("acme").detail.endswith("lacks capabilities, open, Options")


@pytest.mark.parametrize(
    ("theirs", "older"), [(CONTRACT_VERSION - 1, "acme-archive"), (CONTRACT_VERSION + 1, "fhir-document-gateway")]
)
def test_another_contract_version_shows_both_numbers_and_who_is_older(
    theirs: int, older: str, install: Install
) -> None:
    install(f"{COMPLETE.strip()[:-3]}\n    contract = {theirs}\n")
    error = refused("acme")
    assert error.detail == (
        f"the adapter 'acme' was written for contract {theirs}, this gateway speaks contract {CONTRACT_VERSION}"
    )
    assert error.cure == f"upgrade {older}"
