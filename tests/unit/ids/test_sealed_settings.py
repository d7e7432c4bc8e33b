"""`ids: {scheme: sealed, ...}` in the configuration: what it takes, where aliases come from, and what is said of mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from adapters.memory import MemoryAdapter
from gateway.ids import SealedIds
from gateway.ids.sealed import Address, Place
from gateway.ids.sealed_scheme import read_seal
from gateway.problems import Problem, SettingsError
from gateway.settings import Settings, load
from gateway.settings import models as settings_models


class Endpoint(BaseModel):
    """An endpoint as an adapter for repositories has it."""

    alias: str
    repository_unique_ids: tuple[str, ...] = ()
    home_community_id: str | None = None


class Offering(BaseModel):
    """Options that offer aliases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoints: tuple[Endpoint, ...] = ()

    @property
    def id_aliases(self) -> Mapping[str, Any]:
        return {
            one.alias: {"repositories": one.repository_unique_ids, "home": one.home_community_id}
            for one in self.endpoints
        }


@pytest.fixture
def offering(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter whose options offer aliases, in the place of the memory adapter."""
    stand_in = type("OfferingAdapter", (MemoryAdapter,), {"Options": Offering})
    for module in ("gateway.settings.shape", "gateway.settings.models"):
        monkeypatch.setattr(f"{module}.adapter_class", lambda name: stand_in)
    assert settings_models.adapter_class("memory") is stand_in


def configuration(directory: Path, ids: str, options: str = "{}", prefix: str = "x.") -> Path:
    (directory / "seal").write_bytes(bytes(32))
    (directory / "old").write_text("00" * 32)
    path = directory / "gateway.yaml"
    path.write_text(
        "auth: {mode: none}\nsources:\n  care:\n    adapter: memory\n"
        f"    prefix: {prefix}\n    ids: {{{ids}}}\n    options: {options}\n"
    )
    return path


def ids_of(settings: Settings) -> SealedIds:
    ids = settings.sources["care"].ids
    assert isinstance(ids, SealedIds)
    return ids


def problems(path: Path, **environ: str) -> tuple[Problem, ...]:
    with pytest.raises(SettingsError) as refused:
        load(path, environ)
    return refused.value.problems


ALIASES = "aliases: {a: {repositories: ['urn:oid:1.2.3', 1.2.4.5]}, far: {home: 1.9.9}}"
SEALED = "scheme: sealed, key_file: seal"


def test_aliases_and_keys_of_the_section(tmp_path: Path) -> None:
    path = configuration(tmp_path, f"{SEALED}, former_key_files: [old], lookup: listed, {ALIASES}")
    ids = ids_of(load(path, {}))
    assert (ids.key_file, ids.former_key_files, ids.lookup) == (
        tmp_path / "seal",
        (tmp_path / "old",),
        tmp_path / "listed",
    )
    seal = read_seal(ids, "x.")
    for place in (Place(None, "1.2.3"), Place(None, "1.2.4.5"), Place("1.9.9", "1.7")):
        address = Address(place.home, str(place.repository), "1.2")
        assert seal.decode((seal.encode(address) or "").removeprefix("x.")) == address


@pytest.mark.usefixtures("offering")
def test_aliases_come_from_the_options_of_the_adapter(tmp_path: Path) -> None:
    options = (
        "{endpoints: [{alias: a, repository_unique_ids: [1.2.3]}, "
        "{alias: b, repository_unique_ids: [1.2.4], home_community_id: 'urn:oid:1.9.9'}]}"
    )
    ids = ids_of(load(configuration(tmp_path, SEALED, options), {}))
    assert ids.aliases is not None
    assert {name: (alias.home, alias.repositories) for name, alias in ids.aliases.items()} == {
        "a": (None, ("1.2.3",)),
        "b": ("1.9.9", ("1.2.4",)),
    }


@pytest.mark.usefixtures("offering")
def test_aliases_of_the_section_take_the_place_of_those_of_the_options(tmp_path: Path) -> None:
    options = "{endpoints: [{alias: b, repository_unique_ids: [1.2.9]}]}"
    ids = ids_of(load(configuration(tmp_path, f"{SEALED}, {ALIASES}", options), {}))
    assert [*(ids.aliases or {})] == ["a", "far"]


def test_settings_stay_frozen(tmp_path: Path) -> None:
    settings = load(configuration(tmp_path, f"{SEALED}, {ALIASES}"), {})
    with pytest.raises(ValidationError, match="frozen"):
        ids_of(settings).lookup = None  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        settings.sources["care"].ids = ids_of(settings)  # type: ignore[misc]


def test_keys_can_be_named_in_the_environment(tmp_path: Path) -> None:
    path = configuration(tmp_path, f"{SEALED}, {ALIASES}")
    environ = {
        "GATEWAY__SOURCES__CARE__IDS__KEY_FILE": str(tmp_path / "old"),
        "GATEWAY__SOURCES__CARE__IDS__FORMER_KEY_FILES": f"[{tmp_path / 'seal'}]",
    }
    ids = ids_of(load(path, environ))
    assert (ids.key_file, ids.former_key_files) == (tmp_path / "old", (tmp_path / "seal",))


@pytest.mark.parametrize(
    ("ids", "key", "cause", "cure"),
    [
        (f"scheme: sealed, {ALIASES}", "ids.key_file", "is missing", "32 random bytes"),
        (f"scheme: sealed, key_file: none, {ALIASES}", "ids.key_file", "no file", "begin at the directory"),
        (f"scheme: sealed, key_file: gateway.yaml, {ALIASES}", "ids.key_file", "32 bytes", "head -c 32"),
        (f"{SEALED}, former_key_files: [old, none], {ALIASES}", "ids.former_key_files[1]", "no file", ""),
        (f"{SEALED}, former_key_files: [gateway.yaml], {ALIASES}", "ids.former_key_files[0]", "32 bytes", ""),
        (SEALED, "ids.aliases", "No alias stands for a repository", "Add `aliases: {a:"),
        (f"{SEALED}, aliases: {{}}", "ids.aliases", "No alias stands for a repository", "Add `aliases: {a:"),
        (f"{SEALED}, aliases: {{a: {{}}}}", "ids.aliases.a", "stands for nothing", "`repositories`"),
        (f"{SEALED}, aliases: {{a_b: {{home: 1.2.3}}}}", "ids.aliases.a_b", "cannot be an alias", "letters, digits"),
        (f"{SEALED}, aliases: {{'': {{home: 1.2.3}}}}", "ids.aliases.", "cannot be an alias", "letters, digits"),
        (f"{SEALED}, aliases: {{a: {{home: 1 2}}}}", "ids.aliases.a.home", "visible characters", "1.2.3.4.5"),
        (f"{SEALED}, aliases: {{a: {{home: 1.2}}}}", "ids.aliases.a.home", "Text is expected", "quotes"),
        (f"{SEALED}, aliases: {{a: {{repository: 1.2.3}}}}", "ids.aliases.a.repository", "no key", "`repositories`"),
        (f"{SEALED}, keyfile: x, {ALIASES}", "ids.keyfile", "no key", "Did you mean `key_file`?"),
    ],
)
def test_a_mistake_is_explained_where_it_was_made(tmp_path: Path, ids: str, key: str, cause: str, cure: str) -> None:
    found = [problem for problem in problems(configuration(tmp_path, ids)) if problem.key == f"sources.care.{key}"]
    assert len(found) == 1
    assert cause in found[0].cause
    assert cure in found[0].cure
    assert found[0].line == 6


def test_a_prefix_that_leaves_no_room_is_refused(tmp_path: Path) -> None:
    (found,) = problems(configuration(tmp_path, f"{SEALED}, {ALIASES}", prefix="p" * 43))
    assert (found.key, found.line) == ("sources.care.prefix", 5)
    assert "at most 42" in found.cure
    assert load(configuration(tmp_path, f"{SEALED}, {ALIASES}", prefix="p" * 42), {})


@pytest.mark.usefixtures("offering")
@pytest.mark.parametrize("endpoint", ["{alias: a b, repository_unique_ids: [1.2.3]}", "{alias: a}"])
def test_options_that_offer_what_no_id_can_have_are_refused(tmp_path: Path, endpoint: str) -> None:
    (found,) = problems(configuration(tmp_path, SEALED, f"{{endpoints: [{endpoint}]}}"))
    assert (found.key, found.line) == ("sources.care.options", 7)
    assert "alias" in found.cause
