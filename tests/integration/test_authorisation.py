"""Who may read what, once it is known who asks: scopes, patients, keys of clients, and what is open to all."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.fhir import Version
from gateway.security import client_keys
from tests.integration.archive import composed, every_version, outcome, resource
from tests.integration.tokens import EXISTING, UNKNOWN, at, issuer
from tests.support.issuer import Issuer, publishing, rsa_key
from tests.support.raw_http import Answer
from tests.support.service import Service

attack = pytest.mark.attack

__all__ = ["at", "issuer"]

pytestmark = pytest.mark.blocking_allowed

PATIENT, OTHER = "9990123456", "9990999999"

MANIFEST = f"""\
id,path,patient,status
mine,mine.pdf,{PATIENT},
theirs,theirs.pdf,{OTHER},
nobodys,nobodys.pdf,,
mine-gone,mine.pdf,{PATIENT},withdrawn
theirs-gone,theirs.pdf,{OTHER},withdrawn
"""

PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"


@asynccontextmanager
async def patients(directory: Path, issuer: Issuer, *, kept: bool = False) -> AsyncIterator[Service]:
    """A folder with a manifest that says whose its documents are, and one of the prefix "p." without; `kept` in a cache."""
    archive = directory / "archive"
    archive.mkdir()
    for name in ("mine", "theirs", "nobodys"):
        (archive / f"{name}.pdf").write_bytes(PDF + name.encode())
    (directory / "index.csv").write_text(MANIFEST)
    folder = {"adapter": "filesystem", "options": {"root": str(archive)}}
    sources = {
        "known": {**folder, "ids": {"scheme": "manifest", "file": "index.csv"}},
        "plain": {**folder, "prefix": "p.", "ids": {"scheme": "template", "pattern": "{id}.*"}},
    }
    if kept:
        sources = {name: {**source, "read": "fill", "cache": True} for name, source in sources.items()}
    cache = {"backend": "memory"} if kept else None
    async with composed(directory, auth=issuer.auth(), sources=sources, cache=cache) as at:
        yield at


def comparable(answer: Answer) -> tuple[object, ...]:
    fields = {name: value for name, value in answer.fields if name not in ("Date", "X-Request-Id")}
    return answer.status, fields, answer.body


# --- scopes -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CC-21", "FR-156", "FR-231", "FR-233", "ROW-15", "TK-03", "GP-119", "FR-254")
@attack("A good token without a scope that covers a read", "403 insufficient_scope, the same for every document")
async def test_a_token_without_the_scope_is_refused_whatever_it_asks_for(at: Service, issuer: Issuer) -> None:
    for scope in ("system/DocumentReference.rs", "system/Binary.write", "openid launch", "", None):
        headers = {"Authorization": f"Bearer {issuer.token(scope=scope)}"}
        answers = [await at.ask(target, **headers) for target in (EXISTING, UNKNOWN, EXISTING + "/_history/1")]
        for answer in answers:
            assert answer.status == 403
            assert re.fullmatch(
                'Bearer realm="fhir", error="insufficient_scope", error_description="[^"]+", scope="system/Binary.r"',
                answer.field("WWW-Authenticate") or "",
            )
            issue = outcome(answer)
            assert issue["code"] == "forbidden"
            assert [coding["code"] for coding in issue["details"]["coding"]] == ["GW-SEC-006", "ACCESS DENIED"]
        assert comparable(answers[0]) == comparable(answers[1])
    good = {"Authorization": f"Bearer {issuer.token(scope='openid user/Binary.read')}"}
    assert (await at.ask(EXISTING, **good)).status == 200
    assert (await at.ask(UNKNOWN, **good)).status == 404


async def test_the_log_says_who_was_refused_without_naming_them(at: Service, issuer: Issuer) -> None:
    token = issuer.token(scope="openid", sub="jane.doe@trust.test", client_id="pas-of-jane")
    await at.ask(EXISTING, Authorization=f"Bearer {token}")
    await at.ask(EXISTING, Authorization=f"Bearer {issuer.token(sub='x', client_id='pas-of-jane')}")
    refused, read = await at.lines(2)
    assert (refused["code"], refused["detail"], refused["auth"]) == (
        "GW-SEC-006",
        "no scope covers a read of Binary",
        "jwt",
    )
    assert refused["caller"] == read["caller"]
    assert "jane" not in at.log.getvalue()


# --- patients ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("FR-231", "FR-232")
async def test_a_patients_scope_reads_that_patients_documents(tmp_path: Path, issuer: Issuer) -> None:
    async with patients(tmp_path, issuer) as at:
        for claim in (PATIENT, f"Patient/{PATIENT}"):
            headers = {"Authorization": f"Bearer {issuer.token(scope='patient/Binary.rs', patient=claim)}"}
            answer = await at.ask("/R4/Binary/mine", **headers)
            assert (answer.status, answer.body) == (200, PDF + b"mine")
            assert (await at.ask("/R4/Binary/mine-gone", **headers)).status == 410
        everything = {"Authorization": f"Bearer {issuer.token(scope='patient/*.rs user/*.rs', patient=PATIENT)}"}
        assert (await at.ask("/R4/Binary/theirs", **everything)).status == 200


@pytest.mark.requirement("FR-232", "FR-233")
@attack(
    "A patient's token that asks for the documents of another patient",
    "404, in status, header and body that of an unknown id",
)
async def test_documents_of_others_are_unknown_to_a_patient(tmp_path: Path, issuer: Issuer) -> None:
    async with patients(tmp_path, issuer) as at:
        # Somebody who may has read them: nothing of that changes the answer.
        all_of_them = {"Authorization": f"Bearer {issuer.token()}"}
        etag = (await at.ask("/R4/Binary/theirs", **all_of_them)).field("ETag") or ""
        headers = {"Authorization": f"Bearer {issuer.token(scope='patient/*.read', patient=PATIENT)}"}
        for more in ({}, {"If_None_Match": etag}, {"Range": "bytes=0-3"}, {"Accept": "application/fhir+json"}):
            for method in ("GET", "HEAD"):
                unknown = await at.ask("/R4/Binary/unknown", method=method, **headers, **more)
                assert unknown.status == 404
                for id in ("theirs", "nobodys", "theirs-gone"):
                    answer = await at.ask(f"/R4/Binary/{id}", method=method, **headers, **more)
                    assert comparable(answer) == comparable(unknown), id
        assert PATIENT not in at.log.getvalue()
        assert OTHER not in at.log.getvalue()


@attack(
    "Callers who may not read a document that lies in the cache", "no byte; answered as for an unknown id, cold or warm"
)
async def test_a_warm_cache_gives_nothing_to_those_who_may_not_read(tmp_path: Path, issuer: Issuer) -> None:
    async with patients(tmp_path, issuer, kept=True) as at:
        callers: dict[str, dict[str, str]] = {
            "a patient": {"Authorization": f"Bearer {issuer.token(scope='patient/*.read', patient=PATIENT)}"},
            "without scope": {"Authorization": f"Bearer {issuer.token(scope='openid')}"},
            "nobody": {},
        }

        async def answers() -> list[tuple[object, ...]]:
            asked = [(id, headers) for id in ("theirs", "unknown") for headers in callers.values()]
            return [comparable(await at.ask(f"/R4/Binary/{id}", **headers)) for id, headers in asked]

        cold = await answers()
        for _ in range(2):
            read = await at.ask("/R4/Binary/theirs", Authorization=f"Bearer {issuer.token()}")
            assert (read.status, read.body) == (200, PDF + b"theirs")
        assert "hit" in (read.field("Cache-Status") or "")
        warm = await answers()
        assert warm == cold
        assert warm[:3] == warm[3:], "of a document that exists as of one that does not"
        assert [status for status, *_ in warm[:3]] == [404, 403, 401]


@attack("Values of patients in every claim and header of tokens, good and bad", "in no answer and no log line")
async def test_nothing_of_a_token_is_logged_or_repeated(at: Service, issuer: Issuer) -> None:
    canary = "CANARY-9990123456"
    scope = f"{canary} system/Binary.r"
    claims = {"sub": canary, "client_id": canary + "c", "patient": canary, "name": canary, "scope": scope}
    said = []
    for changes in ({}, {"aud": canary}, {"iss": canary}, {"exp": canary}, {"nbf": canary}, {"scope": canary}):
        for header in ({}, {"kid": canary}, {"typ": canary}, {"jku": canary}, {"other": canary}):
            token = issuer.token(header=header, **{**claims, **changes})
            said.append(await at.ask(EXISTING, Authorization=f"Bearer {token}"))
        said.append(await at.ask(EXISTING, Authorization=canary))
        said.append(await at.ask(EXISTING, Authorization=f"Bearer {canary}"))
    await at.lines(len(said))
    assert {answer.status for answer in said} == {200, 401, 403}
    assert canary not in repr(said) + at.log.getvalue()


@pytest.mark.requirement("FR-232")
@attack(
    "A patient's scope on a source that does not know whose its documents are",
    "403 for every id; the archive is not asked",
)
async def test_without_a_mapping_a_patients_scope_reads_nothing(tmp_path: Path, issuer: Issuer) -> None:
    async with patients(tmp_path, issuer) as at:
        headers = {"Authorization": f"Bearer {issuer.token(scope='patient/*.read', patient=PATIENT)}"}
        existing, unknown = [await at.ask(f"/R4/Binary/p.{id}", **headers) for id in ("mine", "unknown")]
        assert existing.status == 403
        assert comparable(existing) == comparable(unknown)


@attack("A patient's scope in a token that names no patient", "403 for every id")
async def test_a_patients_scope_needs_a_patient(tmp_path: Path, issuer: Issuer) -> None:
    async with patients(tmp_path, issuer) as at:
        for patient in (None, "", "Patient/"):
            headers = {"Authorization": f"Bearer {issuer.token(scope='patient/*.read', patient=patient)}"}
            for id in ("mine", "nobodys", "unknown"):
                assert (await at.ask(f"/R4/Binary/{id}", **headers)).status in (401, 403)


@pytest.mark.requirement("FR-234", "GP-98", "NR-18", "CC-58", "CC-60")
async def test_tokens_of_the_nhs_are_read_by_the_profile(tmp_path: Path) -> None:
    with publishing(Issuer(key=rsa_key("k1"), algorithm="RS256")) as issuer:
        nhs = {"reason_for_request": "directcare", "requested_scope": "patient/*.read", "scope": None}
        for profile, changes, wanted in (
            ("nrl", {}, 200),
            ("care-connect", {"claims": "nhs"}, 200),
            ("care-connect", {}, 403),
        ):
            async with composed(tmp_path, auth=issuer.auth(**changes), profile=profile) as at:
                token = issuer.token(**nhs)
                assert (await at.ask(EXISTING, Authorization=f"Bearer {token}")).status == wanted, profile
                if wanted == 200:
                    for wrong, status in (
                        ({"requested_scope": "organization/*.read"}, 403),
                        ({"reason_for_request": "x"}, 401),
                    ):
                        token = issuer.token(**{**nhs, **wrong})
                        assert (await at.ask(EXISTING, Authorization=f"Bearer {token}")).status == status


# --- keys of clients --------------------------------------------------------------------------------------------------


def key_file(directory: Path, **clients: str) -> Path:
    """A key file of these clients and keys."""
    path = directory / "clients"
    lines = [client_keys.line_for(name, key, ("system/Binary.r",)) for name, key in clients.items()]
    path.write_text("# who may read\n\n" + "\n".join(lines) + "\n")
    return path


async def test_a_client_with_a_key_reads(tmp_path: Path) -> None:
    pas, pacs = client_keys.new_key(), client_keys.new_key()
    auth = {"mode": "bearer", "keys_file": str(key_file(tmp_path, pas=pas, pacs=pacs))}
    async with composed(tmp_path, auth=auth) as at:
        for key in (pas, pacs):
            assert (await at.ask(EXISTING, Authorization=f"Bearer {key}")).status == 200
        first, second = await at.lines(2)
        assert first["auth"] == "bearer"
        assert first["caller"] != second["caller"]
        assert not re.search(f"{pas}|{pacs}|fgk_", at.log.getvalue())


@attack("A key that is not in the file, the hash of one that is, and a JWT where keys are asked for", "401")
async def test_other_keys_are_refused(tmp_path: Path, issuer: Issuer) -> None:
    key = client_keys.new_key()
    path = key_file(tmp_path, pas=key)
    hashed = path.read_text().split()[-2]
    async with composed(tmp_path, auth={"mode": "bearer", "keys_file": str(path)}) as at:
        for wrong in (
            client_keys.new_key(),
            hashed.replace(":", "."),
            hashed[7:],
            key[:-1],
            key + "A",
            key.upper(),
            issuer.token(),
        ):
            answer = await at.ask(EXISTING, Authorization=f"Bearer {wrong}")
            assert answer.status == 401
            assert 'error="invalid_token"' in (answer.field("WWW-Authenticate") or "")


async def test_a_changed_key_file_is_noticed_and_a_bad_one_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_keys, "LOOK_SECONDS", 0.02)
    old, new = client_keys.new_key(), client_keys.new_key()
    path = key_file(tmp_path, pas=old)
    async with composed(tmp_path, auth={"mode": "bearer", "keys_file": str(path)}) as at:
        assert (await at.ask(EXISTING, Authorization=f"Bearer {old}")).status == 200
        path.write_text("pas no-hash system/Binary.r\n")
        await at.logged("key file refused, the old one stays")
        assert (await at.ask(EXISTING, Authorization=f"Bearer {old}")).status == 200
        key_file(tmp_path, pas=new)
        await at.logged("key file read again")
        assert (await at.ask(EXISTING, Authorization=f"Bearer {new}")).status == 200
        assert (await at.ask(EXISTING, Authorization=f"Bearer {old}")).status == 401


@pytest.mark.attack("A key whose line, the last of the file, was taken out", "401 within seconds")
async def test_the_last_key_can_be_taken_away_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_keys, "LOOK_SECONDS", 0.02)
    key = client_keys.new_key()
    path = key_file(tmp_path, pas=key)
    whole = path.read_text()
    async with composed(tmp_path, auth={"mode": "bearer", "keys_file": str(path)}) as at:
        for number in (1, 2):
            assert (await at.ask(EXISTING, Authorization=f"Bearer {key}")).status == 200
            path.write_text("# nobody any more\n")
            await at.events("key file read again", 2 * number - 1)
            assert (await at.ask(EXISTING, Authorization=f"Bearer {key}")).status == 401
            path.write_text(whole)
            lines = await at.events("key file read again", 2 * number)
            assert [line["count"] for line in lines] == [0, 1] * number, "each is said once"


async def test_several_ways_work_beside_each_other(tmp_path: Path, issuer: Issuer) -> None:
    key = client_keys.new_key()
    both = {"modes": ["bearer", "jwt"], "issuers": [issuer.settings()], "keys_file": str(key_file(tmp_path, pas=key))}
    async with composed(tmp_path, auth=both) as at:
        for good in (key, issuer.token()):
            assert (await at.ask(EXISTING, Authorization=f"Bearer {good}")).status == 200
        for bad in (client_keys.new_key(), issuer.token(aud="x"), "x"):
            assert (await at.ask(EXISTING, Authorization=f"Bearer {bad}")).status == 401
        assert (await at.ask(EXISTING)).status == 401


# --- metadata and discovery -------------------------------------------------------------------------------------------


@every_version
@pytest.mark.requirement("CC-31", "CC-59", "ROW-8", "FR-185")
async def test_the_metadata_are_closed_unless_a_setting_opens_them(
    tmp_path: Path, issuer: Issuer, version: Version
) -> None:
    target = f"/{version.name}/metadata"
    async with composed(tmp_path, auth=issuer.auth()) as at:
        assert (await at.ask(target)).status == 401
        answer = await at.ask(target, Authorization=f"Bearer {issuer.token(scope='openid')}")
        security = resource(answer, "CapabilityStatement", version)["rest"][0]["security"]
        assert [coding["code"] for service in security["service"] for coding in service["coding"]] == ["OAuth"]
        assert "OAuth 2.0" in security["description"]
    async with composed(tmp_path, auth={**issuer.auth(), "metadata": "open"}) as at:
        assert (await at.ask(target)).status == 200
        assert (await at.ask(EXISTING)).status == 401


SMART = {"token_endpoint": "https://login.trust.test/token"}


def discovery(by: Issuer, **smart: Any) -> Mapping[str, Any]:
    return {**by.auth(), "smart": {**SMART, **smart}}


@every_version
@pytest.mark.requirement("FR-220", "FR-221", "FR-222", "FR-223", "FR-224", "FR-226", "FR-229", "FR-235")
async def test_the_smart_configuration_is_open_and_complete(tmp_path: Path, issuer: Issuer, version: Version) -> None:
    target = f"/{version.name}/.well-known/smart-configuration"
    auth = discovery(issuer, introspection_endpoint="https://login.trust.test/introspect")
    async with composed(tmp_path, auth=auth, public_url="https://documents.trust.test") as at:
        for accept in (None, "application/json", "application/fhir+xml", "text/html", "application/pdf"):
            answer = await at.ask(
                target, **({} if accept is None else {"Accept": accept}), X_Forwarded_Host="evil.test"
            )
            assert (answer.status, answer.field("Content-Type")) == (200, "application/json")
        value = answer.json()
        assert value["token_endpoint"] == "https://login.trust.test/token"
        assert value["grant_types_supported"] == ["client_credentials"]
        assert value["code_challenge_methods_supported"] == ["S256"]
        assert {"permission-v1", "permission-v2", "client-confidential-asymmetric"} <= set(value["capabilities"])
        assert "system/Binary.r" in value["scopes_supported"]
        assert all(str(address).startswith("https://") for name, address in value.items() if name.endswith("endpoint"))
        head = await at.ask(target, method="HEAD")
        assert (head.status, head.body, head.field("Content-Length")) == (200, b"", str(len(answer.body)))
        refused = await at.ask(target, method="POST", Authorization=f"Bearer {issuer.token()}")
        assert (refused.status, refused.field("Allow")) == (405, "GET, HEAD")
        statement = await at.ask(f"/{version.name}/metadata", Authorization=f"Bearer {issuer.token()}")
        service = resource(statement, "CapabilityStatement", version)["rest"][0]["security"]["service"]
        assert [coding["code"] for one in service for coding in one["coding"]] == ["OAuth", "SMART-on-FHIR"]
    async with composed(tmp_path, auth=issuer.auth()) as at:
        assert (await at.ask(target)).status == 404


@pytest.mark.requirement("FR-225")
async def test_what_the_capabilities_demand_is_there(tmp_path: Path, issuer: Issuer) -> None:
    auth = discovery(
        issuer,
        capabilities=["launch-standalone", "sso-openid-connect"],
        grant_types=["authorization_code"],
        authorization_endpoint="https://login.trust.test/authorize",
        issuer="https://login.trust.test",
        jwks_uri="https://login.trust.test/jwks",
    )
    async with composed(tmp_path, auth=auth, public_url="https://documents.trust.test") as at:
        value = json.loads((await at.ask("/R4/.well-known/smart-configuration")).body)
    assert value["issuer"] == "https://login.trust.test"
    assert value["jwks_uri"] == "https://login.trust.test/jwks"
    assert value["authorization_endpoint"] == "https://login.trust.test/authorize"
    assert value["response_types_supported"] == ["code"]
