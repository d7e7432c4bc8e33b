"""`fhir-gateway auth`, `check` and `serve` about keys and tokens: what they say, and their exit codes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.support.gateway import serving
from tests.support.issuer import Fault, Issuer, ec_key, publishing
from tests.support.ports import free_port
from tests.support.process import ServerFailed
from tests.support.xds import Authority

SOURCES = {
    "letters": {
        "adapter": "memory",
        "ids": {"scheme": "template", "pattern": "{id}"},
        "options": {"documents": {"letter": "Dear colleague"}},
    }
}


def written(directory: Path, auth: Any) -> Path:
    path = directory / "gateway.yaml"
    path.write_text(yaml.safe_dump({"auth": auth, "audit": {"mode": "none"}, "sources": SOURCES}))
    return path


def run(*words: str, given: str = "") -> Result:
    return CliRunner().invoke(main, list(words), input=given)


# --- keys of clients --------------------------------------------------------------------------------------------------


def test_a_new_key_is_shown_once_and_its_line_can_be_appended(tmp_path: Path) -> None:
    made = run("auth", "new-key", "pas-prod", "--scope", "system/Binary.r", "--scope", "user/*.rs")
    assert made.exit_code == 0
    (tmp_path / "clients").write_text(made.stdout)
    key = made.stderr.split()[-1]
    assert key.startswith("fgk_")
    assert key not in made.stdout
    config = written(tmp_path, {"mode": "bearer", "keys_file": "clients"})
    explained = run("auth", "explain", "--config", str(config), given=f"Bearer {key}\n")
    assert explained.exit_code == 0
    assert "mode bearer, client pas-prod" in explained.stdout
    assert "system/Binary.r user/*.rs" in explained.stdout
    assert "every document" in explained.stdout
    assert run("check", "--config", str(config)).exit_code == 0


def test_a_name_that_cannot_be_is_refused() -> None:
    refused = run("auth", "new-key", "the ward")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "1 to 64 letters" in refused.stderr


# --- auth explain -----------------------------------------------------------------------------------------------------


def test_a_token_is_explained(tmp_path: Path) -> None:
    with publishing(Issuer()) as issuer:
        config = str(written(tmp_path, issuer.auth()))
        good = run("auth", "explain", "--config", config, given=issuer.token())
        assert good.exit_code == 0
        assert "accepted   mode jwt, client pas" in good.stdout
        wrong = run("auth", "explain", "--config", config, given=issuer.token(aud="https://other.test", sub="jane doe"))
        assert wrong.exit_code == 1
        assert "because    aud is another service" in wrong.stdout
        assert "aud        https://other.test" in wrong.stdout
        assert "jane" not in wrong.stdout
        old = run("auth", "explain", "--config", config, given=issuer.token(exp=int(time.time()) - 100))
        assert "100 seconds ago" in old.stdout or "101 seconds ago" in old.stdout
        narrow = run("auth", "explain", "--config", config, given=issuer.token(scope="openid"))
        assert "nothing: no scope covers a read of Binary" in narrow.stdout
        assert run("auth", "explain", "--config", config, given="x").exit_code == 1
        issuer.fault = Fault(status=500)
        away = run("auth", "explain", "--config", config, given=issuer.token())
        assert away.exit_code == 1
        assert "503 GW-SEC-007" in away.stdout
        assert run("auth", "explain", "--config", config, given="").exit_code == 2
    assert run("auth", "explain", "--config", str(written(tmp_path, {"mode": "none"})), given="x").exit_code == 2


# --- check and serve --------------------------------------------------------------------------------------------------


def credential(config: Path, code: int) -> Any:
    result = run("check", "--config", str(config), "--json")
    found = json.loads(result.stdout)
    assert found["code"] == result.exit_code == code
    (one,) = found["credentials"]
    return one


def test_check_reads_the_key_set_and_says_which_keys_are_not_used(tmp_path: Path) -> None:
    with publishing(Issuer()) as issuer:
        issuer.published.append(ec_key("other", "P-384"))
        config = written(tmp_path, issuer.auth())
        found = credential(config, 0)
        assert (found["state"], found["keys"], found["key"]) == ("ok", 1, "auth.issuers[0].jwks_url")
        assert found["notes"] == ["key 2 is not used: it is for none of ES256"]
        said = run("check", "--config", str(config)).stdout
        assert f"issuer {issuer.name}  ok" in said
        assert "key 2 is not used" in said


FAULTS: dict[str, tuple[Fault, int, str, str]] = {
    "404": (Fault(status=404), 1, "the answer is HTTP 404", "Compare the address with `jwks_uri` in https://login"),
    "redirect": (Fault(status=302), 1, "a redirect, which is not followed", "openid-configuration"),
    "page": (Fault(body=b"<html>"), 2, "The key set is not JSON.", "issuer's metadata"),
    "metadata": (Fault(body=b'{"jwks_uri": "x"}'), 2, "this is the issuer's metadata", "Compare the address"),
    "no key": (Fault(body=b'{"keys": []}'), 2, "no key for ES256", "`algorithms` with what it signs with"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_check_says_what_is_wrong_with_a_key_set(tmp_path: Path, name: str) -> None:
    fault, code, problem, cure = FAULTS[name]
    with publishing(Issuer()) as issuer:
        issuer.fault = fault
        found = credential(written(tmp_path, issuer.auth()), code)
    assert found["state"] == ("away" if code == 1 else "wrong")
    assert problem in found["problem"]
    assert cure in found["cure"]


def test_check_says_that_an_issuer_cannot_be_reached_or_trusted(tmp_path: Path) -> None:
    issuer = Issuer()
    issuer.url = f"http://127.0.0.1:{free_port()}/jwks"
    found = credential(written(tmp_path, issuer.auth()), 1)
    assert "it cannot be reached: Connect" in found["problem"]
    assert "starts, and answers tokens of this issuer with 503" in found["cure"]
    authority, other = Authority(tmp_path, "Trust CA"), Authority(tmp_path, "Other CA")
    with publishing(issuer, tls=authority.server()):
        found = credential(written(tmp_path, issuer.auth(ca=str(other.file))), 1)
        assert "its certificate is not trusted" in found["problem"]
        assert "Give the certificates" in found["cure"]
        (tmp_path / "empty.pem").write_text("nothing")
        found = credential(written(tmp_path, issuer.auth(ca=str(tmp_path / "empty.pem"))), 2)
        assert found["key"] == "auth.issuers[0].ca"
        assert credential(written(tmp_path, issuer.auth(ca=str(authority.file))), 0)["keys"] == 1


@pytest.mark.parametrize(
    ("auth", "key", "cause"),
    [
        ({"mode": "bearer", "keys_file": "bad"}, "auth.keys_file", "line 1: a line has a name, a hash"),
        (
            {"mode": "jwt", "issuers": [Issuer().settings(jwks_url=None, jwks_file="bad")]},
            "auth.issuers[0].jwks_file",
            "the key set is not JSON",
        ),
    ],
)
def test_a_file_that_cannot_be_used_keeps_the_gateway_from_starting(
    tmp_path: Path, auth: Any, key: str, cause: str
) -> None:
    (tmp_path / "bad").write_text("letmein\n")
    config = written(tmp_path, auth)
    with pytest.raises(ServerFailed) as failed, serving(config, tmp_path / "run"):
        pass
    assert f"{config}:" in str(failed.value)
    assert key in str(failed.value)
    assert cause in str(failed.value)
    assert credential(config, 2)["state"] == "wrong"


def test_a_served_gateway_asks_for_a_token(tmp_path: Path) -> None:
    """The whole service in its own process, with an issuer in another."""
    import urllib.error
    import urllib.request

    with publishing(Issuer()) as issuer, serving({"auth": issuer.auth(), "sources": SOURCES}, tmp_path) as gateway:
        url = f"{gateway.url}/R4/Binary/letter"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(url)
        asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {issuer.token()}"})
        with urllib.request.urlopen(asked) as answer:
            assert answer.read() == b"Dear colleague"
        assert gateway.terminate() == 0
