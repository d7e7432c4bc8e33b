"""Loading settings: defaults, paths, and every problem at once with its line, its key and its cure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_validator

from adapters import registry
from adapters.contract import Adapter
from adapters.memory import MemoryAdapter
from gateway.fhir import Version
from gateway.problems import did_you_mean
from gateway.protocol.profile import PROFILES
from gateway.settings import Problem, Settings, SettingsError, load
from gateway.settings.models import Section
from gateway.settings.shape import adapter_class

PROJECT = Path(__file__).parents[2]

GOOD = """\
auth: {mode: none}
sources:
  letters: {adapter: memory, ids: {scheme: template, pattern: "{id}.*"}}
"""


def problems_of(directory: Path, text: str, **environ: str) -> tuple[Problem, ...]:
    path = directory / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load(path, environ)
    return refused.value.problems


def loaded(directory: Path, text: str, **environ: str) -> Settings:
    path = directory / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ)


# --- what is right -------------------------------------------------------------------------------------------------


def test_the_least_configuration_has_defaults_for_all_else(tmp_path: Path) -> None:
    settings = loaded(tmp_path, GOOD)
    assert (settings.server.host, settings.server.port, settings.admin.port) == ("127.0.0.1", 8080, 8081)
    assert settings.fhir.paths == {Version.STU3: "/STU3", Version.R4: "/R4"}
    assert settings.fhir.resolved_profile is PROFILES["care-connect"]
    assert (settings.spool.memory, settings.spool.max_bytes) == (1 << 20, 2 << 30)
    limits = settings.sources["letters"].limits
    assert (limits.max_open, limits.queue_timeout, limits.open_timeout, limits.idle_timeout) == (64, 2, 5, 10)
    assert isinstance(settings.sources["letters"].adapter_options, MemoryAdapter.Options)


def test_a_base_that_is_left_out_is_not_served(tmp_path: Path) -> None:
    assert loaded(tmp_path, GOOD + "fhir: {bases: {R4: /fhir}}\n").fhir.paths == {Version.R4: "/fhir"}


def test_rules_change_single_answers_of_a_profile(tmp_path: Path) -> None:
    text = "fhir: {profile: gp-connect, rules: {max_document: 1MiB, deleted_status: 404}}\n"
    profile = loaded(tmp_path, GOOD + text).fhir.resolved_profile
    assert (profile.max_document, profile.deleted_status) == (1 << 20, 404)
    assert profile.forms == PROFILES["gp-connect"].forms
    assert profile.charset == PROFILES["gp-connect"].charset


def test_relative_paths_begin_at_the_file_also_in_the_options_of_an_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "index.csv").write_text("id,path\n")
    monkeypatch.chdir(tmp_path)
    path = Path("etc", "gateway.yaml")
    path.write_text(
        "auth: {mode: none}\nspool: {directory: spool}\nsources:\n"
        "  a: {adapter: filesystem, ids: {scheme: manifest, file: index.csv}, options: {root: ../archive}}\n"
    )
    settings = load(path, {})
    assert settings.spool.directory == tmp_path / "etc" / "spool"
    ids: Any = settings.sources["a"].ids
    assert ids.file == tmp_path / "etc" / "index.csv"
    assert settings.sources["a"].adapter_options.root == tmp_path / "etc" / ".." / "archive"


def test_settings_never_change(tmp_path: Path) -> None:
    settings = loaded(tmp_path, GOOD)
    with pytest.raises(ValidationError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]


def test_the_environment_alone_is_enough() -> None:
    settings = load(
        None,
        {
            "GATEWAY__AUTH__MODE": "none",
            "GATEWAY__SOURCES__SHARED_CARE__ADAPTER": "memory",
            "GATEWAY__SOURCES__SHARED_CARE__IDS__SCHEME": "template",
            "GATEWAY__SOURCES__SHARED_CARE__IDS__PATTERN": "{id}.pdf",
            "PATH": "/bin",
        },
    )
    assert settings.sources["shared-care"].ids.scheme == "template"


@pytest.mark.parametrize("path", [*sorted((PROJECT / "config").rglob("*.yaml"))], ids=lambda path: path.name)
def test_every_file_in_config_loads(path: Path, tmp_path: Path) -> None:
    """Secrets that a site has are put where this test may; a copy then stands for the file that names them."""
    text = path.read_text()
    if "/run/secrets/" in text:
        for name in re.findall(r"(?<=_file: )/run/secrets/(\w+)", text):
            (tmp_path / name).write_bytes(bytes(32))
        path = tmp_path / path.name
        path.write_text(text.replace("/run/secrets/", f"{tmp_path}/"))
    assert load(path, {}).sources


# --- what is wrong -------------------------------------------------------------------------------------------------

SOURCE = "  letters: {adapter: memory, ids: {scheme: template, pattern: '{id}.*'}}\n"

WRONG: dict[str, tuple[str, int | None, str, str, str]] = {
    # name: (text, line, key, part of the cause, part of the cure)
    "no auth": ("sources:\n" + SOURCE, None, "auth", "missing", "Add `auth: {mode: none}`"),
    "no sources": ("auth: {mode: none}\n", None, "sources", "missing", "adapter: filesystem"),
    "empty sources": ("auth: {mode: none}\nsources: {}\n", 2, "sources", "nothing here", "at least one"),
    "unknown section": (GOOD + "severs: {}\n", 4, "severs", "no key `severs`", "Did you mean `server`?"),
    "unknown key": (GOOD + "server: {prot: 1}\n", 4, "server.prot", "no key `prot`", "Did you mean `port`?"),
    "key far from any": (GOOD + "log: {zzz: 1}\n", 4, "log.zzz", "no key `zzz`", "`level`, `format`, `key_file`"),
    "deep key": (
        GOOD + "server: {limits: {drian: 5s}}\n",
        4,
        "server.limits.drian",
        "no key `drian`",
        "Did you mean `drain`?",
    ),
    "number": (GOOD + "server: {port: 80a}\n", 4, "server.port", "whole number is expected. Found: `80a`.", "TCP port"),
    "fraction": (GOOD + "server: {port: 80.5}\n", 4, "server.port", "whole number is expected. Found: `80.5`.", ""),
    "truth as number": (GOOD + "server: {port: true}\n", 4, "server.port", "not true or false", "whole number"),
    "port too high": (GOOD + "server: {port: 65536}\n", 4, "server.port", "at most 65535", "TCP port"),
    "negative port": (GOOD + "server: {port: -1}\n", 4, "server.port", "at least 0", "TCP port"),
    "no value": (GOOD + "server: {port: }\n", 4, "server.port", "no value", "the default is 8080"),
    "section without value": (GOOD + "server:\n", 4, "server", "no value", "remove the line"),
    "section is a number": (
        GOOD + "server: 8080\n",
        4,
        "server",
        "Keys are expected",
        "`host`, `port`, `unix_socket`, ",
    ),
    "section is a list": (GOOD + "server: [1]\n", 4, "server", "Keys are expected", "`host`"),
    "duration without unit": (GOOD + "server: {limits: {drain: 5}}\n", 4, "server.limits.drain", "no unit", "5s"),
    "zero duration": (GOOD + "server: {limits: {drain: 0s}}\n", 4, "server.limits.drain", "more than 0s", ""),
    "size": (GOOD + "spool: {memory: 3 bananas}\n", 4, "spool.memory", "not a size. Found: `3 bananas`.", "MiB"),
    "negative size": (GOOD + "spool: {max_bytes: -1}\n", 4, "spool.max_bytes", "at least 0", ""),
    "host and port": (GOOD + "server: {host: '127.0.0.1:80'}\n", 4, "server.host", "port were given", "`port`"),
    "host with a space": (GOOD + "server: {host: 'a b'}\n", 4, "server.host", "not an address", "127.0.0.1"),
    "anybody may read": (GOOD + "server: {host: 0.0.0.0}\n", 4, "server.host", "anybody", "allow_anonymous: true"),
    "one port twice": (GOOD + "admin: {port: 8080}\n", 4, "admin.port", "port 8080", "another number"),
    "level": (GOOD + "log: {level: infos}\n", 4, "log.level", "Found: `infos`", "Did you mean `info`?"),
    "level is a number": (GOOD + "log: {level: 3}\n", 4, "log.level", "not one of", "`debug`"),
    "unquoted text": (GOOD + "fhir: {publisher: 12}\n", 4, "fhir.publisher", "Text is expected", "quotes"),
    "empty text": (GOOD + "fhir: {publisher: ''}\n", 4, "fhir.publisher", "at least 1", ""),
    "base version": (GOOD + "fhir: {bases: {R5: /R5}}\n", 4, "fhir.bases.R5", "no key `R5`", "R4"),
    "base with slash": (GOOD + "fhir: {bases: {R4: /R4/}}\n", 4, "fhir.bases.R4", "not the path", "as in /R4"),
    "base without slash": (GOOD + "fhir: {bases: {R4: R4}}\n", 4, "fhir.bases.R4", "not the path", "as in /R4"),
    "same bases": (GOOD + "fhir: {bases: {R4: /x, STU3: /x}}\n", 4, "fhir.bases", "the same path", "own"),
    "no base": (GOOD + "fhir: {bases: {}}\n", 4, "fhir.bases", "nothing here", "at least one"),
    "public url with slash": (
        GOOD + "fhir: {public_url: 'https://a.b/'}\n",
        4,
        "fhir.public_url",
        "slash",
        "https://a.b ",
    ),
    "public url without scheme": (
        GOOD + "fhir: {public_url: a.b}\n",
        4,
        "fhir.public_url",
        "not the address",
        "https://",
    ),
    "profile": (GOOD + "fhir: {profile: gpconnect}\n", 4, "fhir.profile", "not one of", "Did you mean `gp-connect`?"),
    "rule": (
        GOOD + "fhir: {rules: {no_acept: native}}\n",
        4,
        "fhir.rules.no_acept",
        "no key",
        "Did you mean `no_accept`?",
    ),
    "rule's value": (GOOD + "fhir: {rules: {deleted_status: 400}}\n", 4, "fhir.rules.deleted_status", "400", "`410`"),
    "header injection": (
        GOOD + 'fhir: {rules: {cache_control: "no-store\\r\\nX: 1"}}\n',
        4,
        "fhir.rules.cache_control",
        "HTTP header",
        "one line",
    ),
    "rules against each other": (
        GOOD + "fhir: {rules: {forms: native, any_type: envelope}}\n",
        4,
        "fhir.rules",
        "contradict each other",
        "care-connect",
    ),
    "auth mode": (GOOD.replace("mode: none", "mode: jwtt"), 1, "auth.mode", "Found: `jwtt`", "mean `jwt`"),
    "cache backend": (GOOD + "cache: {backend: redys}\n", 4, "cache.backend", "`redys`", "Did you mean `redis`"),
    "empty path": (GOOD + "spool: {directory: ''}\n", 4, "spool.directory", "path is empty", "remove the line"),
    "path is a number": (GOOD + "spool: {directory: 5}\n", 4, "spool.directory", "A path is expected", ""),
    "missing key file": (
        GOOD + "log: {key_file: no.key}\n",
        4,
        "log.key_file",
        "no file",
        "directory of the configuration",
    ),
    "unknown adapter": (
        GOOD.replace("memory", "memroy"),
        3,
        "sources.letters.adapter",
        "no adapter of this name. Found: `memroy`",
        "Did you mean `memory`?",
    ),
    "adapter is missing": (
        GOOD.replace("adapter: memory, ", ""),
        3,
        "sources.letters.adapter",
        "missing",
        "filesystem",
    ),
    "ids are missing": (GOOD.replace("ids:", "xids:").replace("xids", "options"), 3, "", "", ""),
    "scheme is missing": (
        GOOD.replace("scheme: template, ", ""),
        3,
        "sources.letters.ids.scheme",
        "missing",
        "`template`",
    ),
    "unknown scheme": (GOOD.replace("template", "templte"), 3, "sources.letters.ids.scheme", "templte", "`template`"),
    "pattern without id": (GOOD.replace("{id}", "x"), 3, "sources.letters.ids.pattern", "no {id}", "{id[0:2]}"),
    "unquoted pattern": (
        GOOD.replace('"{id}.*"', "{id}"),
        3,
        "sources.letters.ids.pattern",
        "Text is",
        "quotes around",
    ),
    "key of another scheme": (GOOD.replace("scheme:", "file: x, scheme:"), 3, "sources.letters.ids.file", "no key", ""),
    "missing manifest": (
        "auth: {mode: none}\nsources:\n  a: {adapter: memory, ids: {scheme: manifest, file: no.csv}}\n",
        3,
        "sources.a.ids.file",
        "no file",
        "directory of the configuration",
    ),
    "prefix": (GOOD.replace("adapter:", "prefix: a_b, adapter:"), 3, "sources.letters.prefix", "`a_b`", "`x.`"),
    "name": (GOOD.replace("letters", "Letters"), 3, "sources.Letters", "cannot have this name", "small letters"),
    "option is missing": (
        GOOD.replace("memory", "filesystem"),
        3,
        "sources.letters.options.root",
        "`root` is missing",
        "folder",
    ),
    "option is out of bounds": (
        GOOD.replace("memory,", "memory, options: {chunk_size: 0},"),
        3,
        "sources.letters.options.chunk_size",
        "at least 1",
        "Bytes handed over",
    ),
    "options are text": (
        GOOD.replace("memory,", "memory, options: x,"),
        3,
        "sources.letters.options",
        "Keys are expected",
        "`documents`",
    ),
    "same prefix": (GOOD + SOURCE.replace("letters", "b"), 4, "sources.b.prefix", "`letters` has the same", "another"),
    "an archive slower than a request": (
        GOOD
        + SOURCE.replace("letters:", "b:").replace("{id}.*'}}", "{id}.*'}, prefix: b., limits: {open_timeout: 2m}}"),
        4,
        "sources.b.limits.open_timeout",
        "given up before",
        "`server.limits.request_timeout`",
    ),
}
del WRONG["ids are missing"]


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_explained_where_it_is(tmp_path: Path, name: str) -> None:
    text, line, key, cause, cure = WRONG[name]
    (problem,) = problems_of(tmp_path, text)
    assert problem.key == key
    assert problem.line == line
    assert cause in problem.cause
    assert cure in f"{problem.cure} "
    assert problem.file == str(tmp_path / "gateway.yaml")


def test_all_problems_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        "server: {port: x, host: 0.0.0.0}\nauth: {mode: nobody}\nfhir: {profile: x, rules: {charset: 5}}\n"
        "log: {key_file: no.key}\nsources:\n"
        "  a: {adapter: nothing, ids: {scheme: template, pattern: x}, limits: {max_open: 0}}\n"
        "  b: {adapter: filesystem, options: {rot: 1}}\n  c: {}\n" + SOURCE + SOURCE.replace("letters", "d")
    )
    found = problems_of(tmp_path, text, GATEWAY__SERVER__PRT="1")
    assert [(problem.line, problem.key) for problem in found] == [
        (1, "server.port"),
        (2, "auth.mode"),
        (3, "fhir.profile"),
        (3, "fhir.rules.charset"),
        (4, "log.key_file"),
        (6, "sources.a.adapter"),
        (6, "sources.a.ids.pattern"),
        (6, "sources.a.limits.max_open"),
        (7, "sources.b.ids"),
        (7, "sources.b.options.root"),
        (7, "sources.b.options.rot"),
        (8, "sources.c.adapter"),
        (8, "sources.c.ids"),
        (10, "sources.d.prefix"),
        (None, ""),
    ]
    assert found[-1].variable == "GATEWAY__SERVER__PRT"


def test_an_unknown_key_hides_nothing_about_how_the_others_go_together(tmp_path: Path) -> None:
    found = problems_of(tmp_path, GOOD + "server: {unix_socket: a.sock, tls: {certificate: a.pem}, prot: 1}\n")
    assert [(problem.key, problem.code) for problem in found] == [
        ("server", "unix-tls"),
        ("server.prot", "unknown-key"),
    ]
    found = problems_of(tmp_path, GOOD.replace("mode: none", "mode: none, keys_file: gateway.yaml, unknown: 1"))
    assert [problem.key for problem in found] == ["auth.keys_file", "auth.unknown"]


def test_a_rule_across_sections_is_judged_though_another_section_is_wrong(tmp_path: Path) -> None:
    found = problems_of(tmp_path, GOOD + "server: {host: 0.0.0.0}\nlog: {level: x}\n")
    assert [problem.key for problem in found] == ["server.host", "log.level"]


def test_anybody_may_read_where_that_is_said(tmp_path: Path) -> None:
    text = GOOD.replace("mode: none", "mode: none, allow_anonymous: true") + "server: {host: 0.0.0.0}\n"
    assert loaded(tmp_path, text).server.host == "0.0.0.0"


def test_the_rule_about_anybody_holds_for_settings_made_in_code() -> None:
    source = {"adapter": "memory", "ids": {"scheme": "template", "pattern": "{id}"}}
    with pytest.raises(ValidationError, match="anybody"):
        Settings.model_validate({"server": {"host": "::"}, "auth": {"mode": "none"}, "sources": {"a": source}})


# --- secrets -------------------------------------------------------------------------------------------------------

SECRET = "correct-horse-battery"


class VaultOptions(BaseModel):
    """Options of an adapter with secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    password: SecretStr | None = None
    api_token: int | None = None
    url: str = ""

    @field_validator("password")
    @classmethod
    def _long(cls, password: SecretStr | None) -> SecretStr | None:
        if password is not None and len(password.get_secret_value()) < 30:
            raise ValueError("the password is too short")
        return password


class VaultAdapter(MemoryAdapter):
    """Holds a secret."""

    Options: ClassVar[Any] = VaultOptions


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    entry = registry.Entry("vault", "elsewhere", "1", "elsewhere:VaultAdapter")
    real_load, real_available = registry.load, registry.available

    def load_one(name: str) -> type[Adapter]:
        return VaultAdapter if name == "vault" else real_load(name)

    adapter_class.cache_clear()
    monkeypatch.setattr(registry, "load", load_one)
    monkeypatch.setattr(registry, "available", lambda: {**real_available(), "vault": entry})
    yield
    adapter_class.cache_clear()


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize(
    ("options", "key"),
    [
        (f"password: {SECRET}", "password"),
        (f"password: [{SECRET}]", "password"),
        (f"api_token: {SECRET}", "api_token"),
        (f"url: [{SECRET}]", "url"),
        (f"pasword: {SECRET}", "pasword"),
    ],
)
def test_no_problem_repeats_a_secret(tmp_path: Path, options: str, key: str) -> None:
    text = GOOD.replace("memory,", f"vault, options: {{{options}}},")
    (problem,) = problems_of(tmp_path, text)
    assert problem.key == f"sources.letters.options.{key}"
    assert SECRET not in str(problem)


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("key", ["PASSWORD", "API_TOKEN", "PASWORD"])
def test_no_problem_repeats_a_secret_of_the_environment(tmp_path: Path, key: str) -> None:
    variable = f"GATEWAY__SOURCES__LETTERS__OPTIONS__{key}"
    (problem,) = problems_of(tmp_path, GOOD.replace("memory", "vault"), **{variable: SECRET})
    assert problem.variable == variable
    assert SECRET not in str(problem)


def test_no_problem_repeats_what_an_address_may_hold(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, GOOD + f"fhir: {{public_url: 'https://user:{SECRET}@a.b'}}\n")
    assert problem.key == "fhir.public_url"
    assert SECRET not in str(problem)


def test_no_problem_repeats_a_document(tmp_path: Path) -> None:
    text = GOOD.replace(
        "memory,", f"memory, options: {{documents: {{a: {{text: [{SECRET}]}}, b: {{base64: {SECRET}}}}}}},"
    )
    found = problems_of(tmp_path, text)
    assert [problem.key for problem in found] == [
        "sources.letters.options.documents.a.text",
        "sources.letters.options.documents.b.base64",
    ]
    assert SECRET not in "".join(map(str, found))


@pytest.mark.parametrize("content", [b"k" * 32, b"6b" * 32 + b"\n", b"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=\n"])
def test_a_key_file_holds_32_bytes_in_three_ways(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log.key").write_bytes(content)
    assert loaded(tmp_path, GOOD + "log: {key_file: log.key}\n").log.key_file == tmp_path / "log.key"


def test_a_key_file_that_holds_no_key_is_refused_without_repeating_it(tmp_path: Path) -> None:
    (tmp_path / "log.key").write_text(SECRET)
    (problem,) = problems_of(tmp_path, GOOD + "log: {key_file: log.key}\n")
    assert "does not hold a key of 32 bytes" in problem.cause
    assert SECRET not in str(problem)


# --- did you mean --------------------------------------------------------------------------------------------------


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for kind in [*model.__subclasses__()]:
        yield from _models(kind)


def _typos(word: str) -> Iterator[str]:
    """The slips that people make: a letter missing, doubled, swapped with its neighbour or wrong."""
    for at in range(len(word)):
        yield word[:at] + word[at + 1 :]
        yield word[:at] + word[at] + word[at:]
        yield word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]
        yield word[:at] + "q" + word[at + 1 :]
    yield word.replace("_", "-")
    yield word.replace("_", "")
    yield word.upper()


def test_nearly_every_misspelt_key_is_recognised() -> None:
    asked = right = 0
    for model in _models(Section):
        keys = [*model.model_fields]
        for key in keys:
            for typo in {*_typos(key)} - {*keys, ""}:
                asked += 1
                right += did_you_mean(typo, keys) == f"Did you mean `{key}`?"
    assert asked > 1000
    assert right / asked >= 0.97
