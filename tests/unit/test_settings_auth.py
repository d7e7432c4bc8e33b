"""Mistakes in `auth`: each is told where it is, with what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings import Problem, Settings, SettingsError, load

SOURCES = {"letters": {"adapter": "memory", "ids": {"scheme": "template", "pattern": "{id}"}}}
ISSUER = {"issuer": "https://i.test", "audience": "a", "jwks_url": "https://i.test/jwks", "algorithms": ["ES256"]}
SMART = {"token_endpoint": "https://i.test/token"}
JWT = {"mode": "jwt", "issuers": [ISSUER]}


def loaded(directory: Path, auth: Any, **more: Any) -> Settings:
    path = directory / "gateway.yaml"
    path.write_text(yaml.safe_dump({"auth": auth, "audit": {"mode": "none"}, "sources": SOURCES, **more}))
    (directory / "clients").write_text("")
    (directory / "jwks.json").write_text("")
    return load(path, {})


def problem(directory: Path, auth: Any, **more: Any) -> Problem:
    with pytest.raises(SettingsError) as refused:
        loaded(directory, auth, **more)
    (found,) = refused.value.problems
    assert found.line
    return found


def changed(**changes: Any) -> dict[str, Any]:
    """Mode jwt with these changes to its issuer; None takes a key away."""
    whole = {name: value for name, value in {**ISSUER, **changes}.items() if value is not None}
    return {"mode": "jwt", "issuers": [whole]}


WRONG: dict[str, tuple[Any, str, str, str]] = {
    "nothing": ({}, "auth.mode", "`mode` is missing", "mode: none"),
    "misspelt": ({"mode": "jwtt"}, "auth.mode", "`jwtt`", "`jwt`"),
    "both": ({"mode": "jwt", "modes": ["jwt"], "issuers": [ISSUER]}, "auth.modes", "twice", "Remove one"),
    "no mode in the list": ({"modes": []}, "auth.modes", "nothing here", "at least one"),
    "none among others": ({**JWT, "mode": None, "modes": ["jwt", "none"]}, "auth.modes", "nobody", "Remove none"),
    "the same twice": ({**JWT, "mode": None, "modes": ["jwt", "jwt"]}, "auth.modes", "listed twice", "once"),
    "jwt without issuers": ({"mode": "jwt"}, "auth.issuers", "`issuers` is needed", "jwks_url"),
    "issuers without jwt": ({"mode": "none", "issuers": [ISSUER]}, "auth.issuers", "not chosen", "add jwt"),
    "bearer without a file": ({"mode": "bearer"}, "auth.keys_file", "`keys_file` is needed", "new-key"),
    "a file without bearer": ({**JWT, "keys_file": "clients"}, "auth.keys_file", "not chosen", "add bearer"),
    "missing key file": ({"mode": "bearer", "keys_file": "no"}, "auth.keys_file", "no file", "directory of the"),
    "two of one name": ({"mode": "jwt", "issuers": [ISSUER, ISSUER]}, "auth.issuers", "same issuer", "one entry"),
    "HMAC": (changed(algorithms=["HS256"]), "auth.issuers[0].algorithms", "Anybody could make", "ES256"),
    "algorithm none": (changed(algorithms=["none"]), "auth.issuers[0].algorithms", "Anybody could make", "ES256"),
    "unknown algorithm": (changed(algorithms=["RS257"]), "auth.issuers[0].algorithms[0]", "`RS257`", "`RS256`"),
    "no algorithm": (changed(algorithms=[]), "auth.issuers[0].algorithms", "nothing here", "at least one"),
    "algorithms left out": (changed(algorithms=None), "auth.issuers[0].algorithms", "missing", "ES256"),
    "audience left out": (changed(audience=None), "auth.issuers[0].audience", "missing", "documents.trust"),
    "empty audience": (changed(audience=[]), "auth.issuers[0].audience", "nothing here", "at least one"),
    "no keys": (changed(jwks_url=None), "auth.issuers[0].jwks_url", "neither is given", "one of the two"),
    "two key sets": (changed(jwks_file="jwks.json"), "auth.issuers[0].jwks_url", "both are given", "one of the two"),
    "missing key set": (changed(jwks_url=None, jwks_file="x"), "auth.issuers[0].jwks_file", "no file", "directory of"),
    "without TLS": (changed(jwks_url="http://i.test/jwks"), "auth.issuers[0].jwks_url", "not protected", "https://"),
    "no address": (changed(jwks_url="i.test/jwks"), "auth.issuers[0].jwks_url", "no", "scheme"),
    "a file as an address": (changed(jwks_url="file:///etc/passwd"), "auth.issuers[0].jwks_url", "web address", "https"),
    "a password": (changed(jwks_url="https://me:pass@i.test/"), "auth.issuers[0].jwks_url", "web address", "https"),
    "certificates for a file": (
        changed(jwks_url=None, jwks_file="jwks.json", ca="ca.pem"), "auth.issuers[0].ca", "no TLS", "Remove",
    ),
    "leeway": (changed(leeway="31s"), "auth.issuers[0].leeway", "at most 30s", "ahead"),
    "keep": (changed(keep="1h"), "auth.issuers[0].keep", "at least 24h", "last good"),
    "misspelt key": (changed(jwks="x"), "auth.issuers[0].jwks", "no key `jwks`", "jwks_url"),
    "smart without the endpoint": ({**JWT, "smart": {}}, "auth.smart.token_endpoint", "missing", "get tokens"),
    "smart launch": (
        {**JWT, "smart": {**SMART, "capabilities": ["launch-ehr"]}},
        "auth.smart.authorization_endpoint", "need `authorization_endpoint`", "Add",
    ),
    "smart without an address": ({**JWT, "smart": SMART}, "fhir.public_url", "not known here", "public_url"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_explained_where_it_is(tmp_path: Path, name: str) -> None:
    auth, key, cause, cure = WRONG[name]
    found = problem(tmp_path, auth, fhir={})
    assert (found.key, cause in found.cause, cure in found.cure) == (key, True, True), str(found)
    assert "pass@" not in str(found)


@pytest.mark.parametrize(
    "auth",
    [
        JWT,
        {"modes": ["jwt"], "issuers": [ISSUER]},
        {"modes": ["jwt", "bearer"], "issuers": [ISSUER], "keys_file": "clients"},
        {"mode": "bearer", "keys_file": "clients", "metadata": "open"},
        changed(jwks_url=None, jwks_file="jwks.json", leeway="0s", audience=["a", "b"]),
        changed(jwks_url="http://127.0.0.1:9/jwks"),
        changed(jwks_url="http://localhost/jwks", types=["at+jwt"], claims="nhs"),
    ],
)
def test_what_is_right_loads_and_listens_anywhere(tmp_path: Path, auth: Any) -> None:
    settings = loaded(tmp_path, auth, server={"host": "0.0.0.0"})
    assert settings.auth.chosen


def test_the_mode_can_come_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump({"auth": {"mode": "none"}, "audit": {"mode": "none"}, "sources": SOURCES}))
    (tmp_path / "clients").write_text("")
    environ = {"GATEWAY__AUTH__MODE": "bearer", "GATEWAY__AUTH__KEYS_FILE": str(tmp_path / "clients")}
    assert load(path, environ).auth.chosen == ("bearer",)
