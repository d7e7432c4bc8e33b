"""The settings of the audit trail: what fits together, and what is said of what does not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from gateway.settings import AuditSettings, SettingsError, load
from gateway.settings.conflicts import conflicts


def loaded(tmp_path: Path, audit: Any) -> AuditSettings:
    source = {
        "adapter": "filesystem",
        "ids": {"scheme": "template", "pattern": "{id}.pdf"},
        "options": {"root": str(tmp_path)},
    }
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump({"auth": {"mode": "none"}, "audit": audit, "sources": {"letters": source}}))
    return load(path, {}).audit


def refused(tmp_path: Path, audit: Any) -> str:
    with pytest.raises(SettingsError) as error:
        loaded(tmp_path, audit)
    (problem,) = error.value.problems
    return str(problem)


def test_a_directory_is_enough(tmp_path: Path) -> None:
    audit = loaded(tmp_path, {"directory": "trail", "fail": "open", "retention": "3650d"})
    assert (audit.kept, audit.directory, audit.fail) == (True, tmp_path / "trail", "open")
    assert audit.retention == 3650 * 86_400
    assert not loaded(tmp_path, {"mode": "none"}).kept
    assert not loaded(tmp_path, {}).kept


FHIR = {"kind": "fhir", "name": "repository", "url": "https://audit.test/fhir"}


@pytest.mark.parametrize(
    ("audit", "said"),
    [
        ({"mode": "files"}, "The trail has no place."),
        ({"mode": "none", "directory": "trail"}, "`mode: none` says that no trail is kept"),
        ({"sinks": [FHIR]}, "there is none"),
        ({"directory": "trail", "sinks": [FHIR, FHIR]}, "Two receivers have the same name."),
        ({"directory": "trail", "sinks": [FHIR | {"url": "http://audit.test/fhir"}]}, "would carry them in the open"),
        ({"directory": "trail", "sinks": [FHIR | {"url": "https://a:b@audit.test/fhir"}]}, "not the address"),
        ({"directory": "trail", "sinks": [FHIR | {"url": "audit"}]}, "not the address"),
        ({"directory": "trail", "sinks": [{"kind": "syslog", "name": "siem", "address": "siem"}]}, "not an address"),
        ({"directory": "trail", "sinks": [FHIR | {"tls": {"key": "a"}}]}, "a private key and no certificate"),
        ({"directory": "trail", "sinks": [{"kind": "kafka", "name": "k"}]}, "Known here: `fhir`, `syslog`."),
        ({"directory": "trail", "fail": "shut"}, "`closed`"),
        ({"directory": "trail", "key_file": "nowhere"}, "There is no file"),
        ({"directory": "trail", "rotate_size": "1KiB"}, "at least 4KiB"),
        ({"directroy": "trail"}, "Did you mean `directory`?"),
    ],
)
def test_what_does_not_fit_is_said_with_its_cure(tmp_path: Path, audit: Any, said: str) -> None:
    assert said in refused(tmp_path, audit)


def test_a_repository_on_this_machine_may_be_plain(tmp_path: Path) -> None:
    audit = loaded(tmp_path, {"directory": "trail", "sinks": [FHIR | {"url": "http://127.0.0.1:8090/fhir/"}]})
    assert audit.sinks[0].url == "http://127.0.0.1:8090/fhir"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("auth", "audit", "missing"),
    [
        ({"mode": "none"}, {}, False),
        ({"mode": "jwt"}, {}, True),
        ({"mode": "jwt"}, {"mode": "none"}, False),
        ({"mode": "jwt"}, {"directory": Path("trail")}, False),
        ({"mode": None, "modes": ["mtls", "jwt"]}, {}, True),
    ],
)
def test_where_callers_prove_who_they_are_a_trail_must_be_kept_or_refused(
    auth: dict[str, Any], audit: dict[str, Any], missing: bool
) -> None:
    sections = {"auth": SimpleNamespace(allow_anonymous=True, **auth), "audit": AuditSettings(**audit)}
    assert [found.code for found in conflicts(sections)] == (["no-audit"] if missing else [])
