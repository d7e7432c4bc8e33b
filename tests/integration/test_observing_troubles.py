"""An incident seen from the admin listener: Redis gone, a receiver of the trail away, a certificate that expires.

Readers are served all the same, and the status page, the numbers and the log say what is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.integration.test_observing import asked
from tests.support.gateway import Gateway, serving
from tests.support.issuer import Issuer
from tests.support.ports import free_port
from tests.support.redis import RedisServer, redis
from tests.support.xds import Authority


@dataclass
class Incident:
    gateway: Gateway
    admin: int
    token: str
    servers: ExitStack

    def read(self, id: str) -> int:
        connection = HTTPConnection("127.0.0.1", self.gateway.port, timeout=10)
        try:
            connection.request("GET", f"/R4/Binary/{id}", headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        return dict(asked(self.admin, "GET", "/status")[1])

    def number(self, name: str, **labels: str) -> float:
        text = asked(self.admin, "GET", "/metrics")[1].decode()
        wanted = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        start = f"{name}{{{wanted}}} " if wanted else f"{name} "
        return float(next((line for line in text.splitlines() if line.startswith(start)), f"{start}-1").split()[-1])

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.gateway.lines() if line.get("event") == event]


def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Incident]:
    directory = tmp_path_factory.mktemp("incident")
    folder = directory / "archive"
    folder.mkdir()
    (folder / "letter.pdf").write_bytes(b"%PDF-1.7 a letter")
    pair = Authority(directory).issue("client", client=True)
    issuer, admin = Issuer(), free_port()
    with ExitStack() as stack, ExitStack() as servers:
        server: RedisServer = servers.enter_context(redis(directory))
        source = {"adapter": "filesystem", "read": "fill", "ids": {"scheme": "template", "pattern": "{id}.*"}}
        sink = {"kind": "fhir", "name": "repository", "url": f"https://127.0.0.1:{free_port()}/fhir"}
        sink["tls"] = {"certificate": str(pair.certificate), "key": str(pair.key)}  # type: ignore[assignment]
        configuration = {
            "admin": {"port": admin},
            "auth": issuer.auth(jwks_url=None, jwks_file=str(issuer.saved(directory))),
            "audit": {"directory": str(directory / "audit"), "sinks": [sink]},
            "cache": {"backend": "redis", "url": f"redis://127.0.0.1:{server.port}/0", "encryption": {"mode": "none"}},
            "sources": {"letters": source | {"options": {"root": str(folder)}}},
        }
        gateway = stack.enter_context(serving(configuration, directory))
        yield Incident(gateway, admin, issuer.token(), servers)


def test_what_has_to_be_renewed_is_counted_down(incident: Incident) -> None:
    until(lambda: incident.status()["certificates"])
    key = "audit.sinks.0.tls.certificate"
    (certificate,) = incident.status()["certificates"]
    assert (certificate["key"], certificate["days"]) == (key, 0), "it is good for a day, and some of it has passed"
    expiry = incident.number("gateway_certificate_expiry_timestamp_seconds", certificate=key)
    assert abs(expiry - time.time() - 86_400) < 3600
    until(lambda: incident.events("certificate needs attention"))
    assert key in incident.events("certificate needs attention")[0]["detail"]


def test_the_keys_of_an_issuer_are_told(incident: Incident) -> None:
    assert incident.read("letter") == 200
    (keys,) = incident.status()["keys"]
    assert (keys["state"], keys["keys"]) == ("ok", 1)
    assert incident.number("gateway_jwks_keys", issuer=keys["issuer"]) == 1
    assert incident.number("gateway_jwks_expiry_timestamp_seconds", issuer=keys["issuer"]) > time.time() + 3600


def test_what_waits_for_a_receiver_that_is_away_grows_older(incident: Incident) -> None:
    assert incident.read("letter") == 200
    until(lambda: incident.number("gateway_audit_spool_bytes", receiver="repository") > 0)
    first = incident.number("gateway_audit_spool_age_seconds", receiver="repository")
    until(lambda: incident.number("gateway_audit_spool_age_seconds", receiver="repository") > first + 0.2)
    (sink,) = incident.status()["audit"]["sinks"]
    assert sink["state"] == "away"
    assert incident.number("gateway_audit_up") == 1, "the trail itself is written"
    assert incident.number("gateway_audit_lost_total") == 0


def test_redis_that_goes_is_told_once_and_readers_do_not_notice(incident: Incident) -> None:
    until(lambda: incident.read("letter") == 200 and incident.number("gateway_cache_stored_total") == 1)
    assert incident.status()["cache"]["state"] == "ok"
    incident.servers.close()
    until(lambda: incident.read("letter") == 200 and incident.status()["cache"]["state"] == "away")
    assert incident.number("gateway_cache_up") == 0
    assert incident.number("gateway_ready") == 1, "Redis has no say in that"
    until(lambda: incident.events("cache is away"))
    assert {incident.read("letter") for _ in range(20)} == {200}
    assert sum(incident.status()["cache"]["faults"].values()) > 0
    assert len(incident.events("cache is away")) == 1
    assert incident.number("gateway_cache_faults_total", fault="open") > 0
