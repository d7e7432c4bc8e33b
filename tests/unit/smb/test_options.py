"""What an operator may write for an smb source, and the sentence for what cannot work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from adapters.smb import SmbOptions
from adapters.smb.options import LARGEST_WINDOW, SMALLEST_WINDOW
from gateway.settings import SettingsError, load

LEAST: dict[str, Any] = {"server": "archive", "share": "letters", "username": "svc-fhir", "password": "secret-0815"}


def options(**given: Any) -> SmbOptions:
    """`LEAST` with `given`; None takes a key away."""
    return SmbOptions.model_validate({key: value for key, value in (LEAST | given).items() if value is not None})


def refusal(**given: Any) -> tuple[tuple[int | str, ...], str]:
    """The key and the words with which `options` refuses."""
    with pytest.raises(ValidationError) as refused:
        options(**given)
    [finding] = refused.value.errors()
    assert "secret-0815" not in str(refused.value)
    return finding["loc"], finding["msg"]


def test_the_least_has_safe_defaults() -> None:
    least = options()
    assert (least.port, least.path, least.auth, least.engine) == (445, "", "negotiate", "native")
    assert (least.require_encryption, least.require_signing, least.minimum_dialect) == (True, True, "3.0")
    assert (least.dfs_servers, least.reparse_points) == ((), "refuse")
    assert (least.connections, least.idle_timeout, least.window, least.settle) == (4, 60.0, 8 << 20, 0.0)
    assert least.max_open is None


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"server": "10.1.2.3"}, "server", "10.1.2.3"),
        ({"server": "fd00::7"}, "server", "fd00::7"),
        ({"server": "file_server-1.trust.local"}, "server", "file_server-1.trust.local"),
        ({"share": "Clinical Letters$"}, "share", "Clinical Letters$"),
        ({"share": "D$"}, "share", "D$"),
        ({"path": "archive/letters"}, "path", "archive/letters"),
        ({"path": "archive\\letters"}, "path", "archive/letters"),
        ({"path": "/archive/letters/"}, "path", "archive/letters"),
        ({"path": "\\archive"}, "path", "archive"),
        ({"path": "/"}, "path", ""),
        ({"username": "TRUST\\svc-fhir"}, "username", "TRUST\\svc-fhir"),
        ({"username": "svc-fhir@trust.local"}, "username", "svc-fhir@trust.local"),
        ({"username": "svc-fhir$"}, "username", "svc-fhir$"),
        ({"domain": "TRUST"}, "domain", "TRUST"),
        ({"idle_timeout": "5m"}, "idle_timeout", 300.0),
        ({"settle": "250ms"}, "settle", 0.25),
        ({"window": "256KiB"}, "window", SMALLEST_WINDOW),
        ({"window": "64MiB"}, "window", LARGEST_WINDOW),
        ({"dfs_servers": ["archive2", "10.0.0.7"]}, "dfs_servers", ("archive2", "10.0.0.7")),
        ({"minimum_dialect": "2.1", "require_encryption": False}, "minimum_dialect", "2.1"),
        ({"minimum_dialect": 3.0}, "minimum_dialect", "3.0"),
        ({"minimum_dialect": 2.1, "require_encryption": False}, "minimum_dialect", "2.1"),
        ({"password": None, "password_file": "/run/secrets/smb"}, "password_file", Path("/run/secrets/smb")),
        ({"password": None, "keytab": "/etc/smb.keytab", "auth": "kerberos"}, "keytab", Path("/etc/smb.keytab")),
        ({"password": None, "username": None, "ticket_cache": "/tmp/krb5cc_7"}, "username", None),
    ],
)
def test_options_as_people_write_them(given: dict[str, Any], name: str, value: object) -> None:
    assert getattr(options(**given), name) == value


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"server": r"\\archive\letters"}, "server", "the server's name or address alone"),
        ({"server": "smb://archive"}, "server", "the server's name or address alone"),
        ({"server": "archive:445"}, "server", "Give the port in the key `port`"),
        ({"server": "[fd00::7]:445"}, "server", "Give the port in the key `port`"),
        ({"server": "[fd00::7]"}, "server", "not the name or the address"),
        ({"server": "fd00:::7"}, "server", "not the name or the address"),
        ({"server": ""}, "server", "not the name or the address"),
        ({"server": "arch ive"}, "server", "not the name or the address"),
        ({"share": "letters/2024"}, "share", "one name without slashes"),
        ({"share": r"\\archive\letters"}, "share", "one name without slashes"),
        ({"share": "ipc$"}, "share", "holds no documents"),
        ({"share": "let:ters"}, "share", "No share can have this name"),
        ({"share": ""}, "share", "No share can have this name"),
        ({"path": "//archive/letters"}, "path", "`server` and `share`"),
        ({"path": "archive/../secret"}, "path", "for a name"),
        ({"path": "archive//letters"}, "path", "empty name"),
        ({"path": "c:/archive"}, "path", "no part of a name"),
        ({"path": "archive. "}, "path", "ends with a dot or a space"),
        ({"username": ""}, "username", "`DOMAIN\\user` or `user@domain`"),
        ({"username": "A\\B\\c"}, "username", "`DOMAIN\\user` or `user@domain`"),
        ({"domain": "TRUST\\svc"}, "domain", "Write it alone"),
        ({"password": ""}, "password", "The password is empty"),
        ({"idle_timeout": "60"}, "idle_timeout", "as in 5s"),
        ({"idle_timeout": 60}, "idle_timeout", "as in 5s"),
        ({"idle_timeout": "0s"}, "idle_timeout", "greater than 0"),
        ({"settle": float("inf")}, "settle", "finite"),
        ({"settle": -1.0}, "settle", "greater than or equal to 0"),
        ({"window": "255KiB"}, "window", "between 256KiB and 64MiB"),
        ({"window": "1GiB"}, "window", "between 256KiB and 64MiB"),
        ({"minimum_dialect": "1.0"}, "minimum_dialect", "'3.1.1', '3.0' or '2.1'"),
        ({"connections": 0}, "connections", "greater than or equal to 1"),
        ({"port": 0}, "port", "greater than or equal to 1"),
        ({"max_open": 0}, "max_open", "greater than or equal to 1"),
        ({"auth": "basic"}, "auth", "'negotiate', 'ntlm' or 'kerberos'"),
        ({"dfs_servers": ["archive2", "archive3:445"]}, "dfs_servers", "Give the port in the key `port`"),
        ({"surely_not_an_option": 1}, "surely_not_an_option", "not permitted"),
    ],
)
def test_what_cannot_work_is_refused_with_a_sentence(given: dict[str, Any], key: str, words: str) -> None:
    where, said = refusal(**given)
    assert where == (key,)
    assert words in said


@pytest.mark.parametrize(
    ("given", "key", "cure"),
    [
        ({"password": None}, "password_file", "Add `password_file`"),
        ({"password_file": "/run/secrets/smb"}, "password", "Keep `password_file` and remove `password`"),
        ({"keytab": "/etc/smb.keytab"}, "password", "Keep one of them"),
        ({"password": None, "keytab": "/k", "ticket_cache": "/t"}, "keytab", "Keep one of them"),
        ({"password": None, "keytab": "/k", "auth": "ntlm"}, "auth", "Set `auth: kerberos`"),
        ({"username": None}, "username", "Add `username"),
        ({"password": None, "username": None, "keytab": "/k"}, "username", "Add `username"),
        ({"username": "TRUST\\svc", "domain": "TRUST"}, "domain", "Remove `domain`"),
        ({"username": "svc@trust.local", "domain": "TRUST"}, "domain", "Remove `domain`"),
        ({"minimum_dialect": "2.1"}, "minimum_dialect", "set `require_encryption: false` to accept signing alone"),
    ],
)
def test_options_that_contradict_each_other_name_the_cure(given: dict[str, Any], key: str, cure: str) -> None:
    where, said = refusal(**given)
    assert where == (key,)
    assert cure in said


def test_every_contradiction_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as refused:
        options(password=None, username=None, minimum_dialect="2.1")
    assert {finding["loc"][0] for finding in refused.value.errors()} == {"password_file", "username", "minimum_dialect"}


def test_the_password_is_shown_nowhere() -> None:
    given = options()
    assert isinstance(given.password, SecretStr)
    assert "secret-0815" not in f"{given} {given!r} {given.model_dump()} {given.model_dump_json()}"


def test_every_option_is_described() -> None:
    model: type[BaseModel] = SmbOptions
    assert all(field.description for field in model.model_fields.values())


# --- in a configuration ----------------------------------------------------------------------------------------------

SOURCE = """\
auth: {{mode: none}}
sources:
  letters: {{adapter: smb, ids: {{scheme: template, pattern: "{{id}}.*"}}, options: {{{options}}}}}
"""


def written(folder: Path, given: str) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(SOURCE.format(options=given))
    return path


def test_a_password_file_is_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "smb-password").write_text("secret-0815\n")
    path = written(tmp_path, "server: archive, share: letters, username: svc, password_file: smb-password")
    found = load(path, {}).sources["letters"].adapter_options
    assert found.password_file == tmp_path / "smb-password"


def test_a_password_may_come_from_the_environment(tmp_path: Path) -> None:
    path = written(tmp_path, "server: archive, share: letters, username: svc")
    found = load(path, {"GATEWAY__SOURCES__LETTERS__OPTIONS__PASSWORD": "secret-0815"}).sources["letters"]
    assert found.adapter_options.password.get_secret_value() == "secret-0815"


def test_a_mistake_is_explained_at_its_key(tmp_path: Path) -> None:
    path = written(tmp_path, "server: 'archive:445', share: a/b, username: svc, password: secret-0815")
    with pytest.raises(SettingsError) as refused:
        load(path, {})
    told = {problem.key.rpartition(".")[2]: (problem.cause, problem.cure) for problem in refused.value.problems}
    assert told["server"] == ("A server and a port were given together.", "Give the port in the key `port`.")
    assert told["share"][0] == "The share is one name without slashes."
    assert "secret-0815" not in str(refused.value.problems)


def test_a_contradiction_is_explained_at_its_key(tmp_path: Path) -> None:
    path = written(tmp_path, "server: archive, share: letters, username: svc, minimum_dialect: '2.1', password: x")
    with pytest.raises(SettingsError) as refused:
        load(path, {})
    [problem] = refused.value.problems
    assert problem.key == "sources.letters.options.minimum_dialect"
    assert "require_encryption: false" in problem.cure
