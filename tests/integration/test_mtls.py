"""Clients known by their certificate, over TLS and as proxies hand certificates on (docs/listener.md)."""

from __future__ import annotations

import asyncio
import itertools
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509

from gateway.security.authentication import Authentication, BearerTokens
from gateway.security.certificates import load
from gateway.security.client_keys import ClientKeys
from gateway.security.door import Door
from gateway.security.mtls import MutualTls
from gateway.settings.mtls import MtlsSettings
from gateway.settings.server import TlsSettings
from tests.support.nginx import nginx
from tests.support.raw_http import Answer, Malformed, connect, connect_tls, request
from tests.support.scripted import Script
from tests.support.service import Service, scripted, service
from tests.support.xds import Authority, Pair

CLIENTS = [
    {"client": "pacs", "names": ["DNS:pacs.trust.local", "URI:spiffe://trust/pacs"]},
    {"client": "viewer", "names": ["dns:Viewer.Trust.Local"]},
]

LISTED = x509.DNSName("pacs.trust.local")
STRANGER = x509.DNSName("evil.trust.local")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


_numbers = itertools.count()


def known_as(authority: Authority, *names: x509.GeneralName, expired: bool = False, common: str | None = None) -> Pair:
    """A client's certificate with these names; its files are its own."""
    return authority.issue(common or f"client {next(_numbers)}", client=True, known_as=names, expired=expired)


@asynccontextmanager
async def serving(authority: Authority | None = None, **forwarded: object) -> AsyncIterator[Service]:
    """A listener for CLIENTS: with TLS where there is an authority, else behind a proxy."""
    given = {"clients": CLIENTS, "forwarded": forwarded or None}
    door = Door(authentication=Authentication([MutualTls(MtlsSettings.model_validate(given))], takes_tokens=False))
    tls = None
    if authority is not None:
        pair = authority.issue("127.0.0.1")
        settings = TlsSettings(certificate=pair.certificate, key=pair.key, client_ca=authority.file)
        tls = (await asyncio.to_thread(load, settings, demand=False)).context
    async with service({"letters": scripted({"a": Script([b"letter"])})}, tls=tls, door=door) as at:
        yield at


async def ask_tls(at: Service, authority: Authority, pair: Pair | None, **headers: str) -> Answer:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    async with connect_tls(at.host, at.port, authority.client(pair)) as connection:
        await connection.send(request("/R4/Binary/a", fields=fields))
        return await connection.answer()


def pem(pair: Pair) -> str:
    """As nginx's $ssl_client_escaped_cert."""
    return quote(pair.certificate.read_text(), safe="")


def is_refused(answer: Answer, status: int, code: str) -> bool:
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert "letter" not in str(outcome)
    return (answer.status, code in str(outcome)) == (status, True)


# --- over TLS ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        (LISTED,),
        (x509.DNSName("PACS.trust.LOCAL"),),
        (STRANGER, x509.UniformResourceIdentifier("spiffe://trust/pacs")),
        (x509.DNSName("viewer.trust.local"),),
    ],
)
async def test_a_name_on_the_list_is_let_in(authority: Authority, names: tuple[x509.GeneralName, ...]) -> None:
    async with serving(authority) as at:
        assert (await ask_tls(at, authority, known_as(authority, *names))).body == b"letter"


@pytest.mark.attack("A client certificate with a name that is nearly on the list, or on it as the common name", "403")
@pytest.mark.parametrize(
    "names",
    [
        (),
        (STRANGER,),
        (x509.DNSName("*.trust.local"),),
        (x509.DNSName("pacs.trust.local.evil.org"),),
        (x509.UniformResourceIdentifier("spiffe://trust/pacs/other"),),
        (x509.UniformResourceIdentifier("DNS:pacs.trust.local"),),
        (x509.RFC822Name("pacs.trust.local"),),
    ],
    ids=str,
)
async def test_a_certificate_that_is_not_on_the_list_is_refused_whatever_its_common_name(
    authority: Authority, names: tuple[x509.GeneralName, ...]
) -> None:
    async with serving(authority) as at:
        pair = known_as(authority, *names, common="pacs.trust.local")
        assert is_refused(await ask_tls(at, authority, pair), 403, "GW-SEC-012")


async def test_without_a_certificate_nothing_is_looked_up(authority: Authority) -> None:
    async with serving(authority) as at:
        assert is_refused(await ask_tls(at, authority, None), 403, "GW-SEC-011")


async def test_who_is_known_by_a_certificate_is_never_challenged_for_a_token(authority: Authority) -> None:
    """A challenge names what would help (RFC 9110 11.6.1); no token would, where none is taken or none was sent."""
    clients = [{"client": "pacs", "names": ["DNS:pacs.trust.local"], "scopes": ["system/Patient.read"]}]
    mutual = MutualTls(MtlsSettings.model_validate({"clients": clients, "forwarded": {"peers": ["127.0.0.1"]}}))
    listed = pem(known_as(authority, LISTED))
    for takes_tokens in (False, True):
        keys = BearerTokens([ClientKeys(lambda: asyncio.sleep(0, b""), None)])
        door = Door(authentication=Authentication([mutual, keys][: 1 + takes_tokens], takes_tokens=takes_tokens))
        async with service({"letters": scripted({"a": Script([b"letter"])})}, door=door) as at:
            answer = await at.ask("/R4/Binary/a", X_SSL_Client_Cert=listed)
            assert is_refused(answer, 403, "GW-SEC-006")
            assert answer.field("WWW-Authenticate") is None
            nothing = await at.ask("/R4/Binary/a")
            assert nothing.status == (401 if takes_tokens else 403)
            assert nothing.field("WWW-Authenticate") == ('Bearer realm="fhir"' if takes_tokens else None)


@pytest.mark.attack("A client certificate of another authority, or one that has expired", "no handshake")
async def test_a_certificate_of_another_authority_or_of_the_past_does_not_get_through_the_handshake(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "Other authority")
    async with serving(authority) as at:
        for pair in (known_as(other, LISTED), known_as(authority, LISTED, expired=True)):
            with pytest.raises((ssl.SSLError, ConnectionResetError, Malformed)):
                await ask_tls(at, authority, pair)
        lines = await at.events("TLS handshakes failed")
        assert all("certificate was refused" in line["reason"] for line in lines)


async def test_a_header_from_a_client_of_the_tls_listener_means_nothing(authority: Authority) -> None:
    async with serving(authority) as at:
        forged = pem(known_as(authority, LISTED))
        for header in ("X_SSL_Client_Cert", "X_Forwarded_Client_Cert"):
            answer = await ask_tls(at, authority, None, **{header: forged})
            assert is_refused(answer, 403, "GW-SEC-011")
            answer = await ask_tls(at, authority, known_as(authority, STRANGER), **{header: forged})
            assert is_refused(answer, 403, "GW-SEC-012")


# --- behind a proxy ---------------------------------------------------------------------------------------------------


async def ask(at: Service, *fields: tuple[str, str], source: str = "127.0.0.1") -> Answer:
    async with connect(at.host, at.port, source=source) as connection:
        await connection.send(request("/R4/Binary/a", fields=fields))
        return await connection.answer()


@pytest.mark.attack("A forwarded client certificate from somebody who is no trusted proxy", "ignored: 403")
async def test_a_forwarded_certificate_counts_from_a_trusted_peer_alone(authority: Authority) -> None:
    good = ("X-SSL-Client-Cert", pem(known_as(authority, LISTED)))
    async with serving(peers=["127.0.0.5"]) as at:
        assert (await ask(at, good, source="127.0.0.5")).body == b"letter"
        assert is_refused(await ask(at, good, source="127.0.0.6"), 403, "GW-SEC-011")
        spoofed = (("X-Forwarded-For", "127.0.0.5"), ("Forwarded", "for=127.0.0.5"), ("X-Real-IP", "127.0.0.5"))
        assert is_refused(await ask(at, good, *spoofed, source="127.0.0.6"), 403, "GW-SEC-011")


async def test_a_forwarded_certificate_is_held_against_the_list_and_the_clock(authority: Authority) -> None:
    async with serving(peers=["127.0.0.0/8"]) as at:
        for pair in (known_as(authority, STRANGER), known_as(authority, LISTED, expired=True)):
            assert is_refused(await ask(at, ("X-SSL-Client-Cert", pem(pair))), 403, "GW-SEC-012")
        assert is_refused(await ask(at, ("X-SSL-Client-Cert", "")), 403, "GW-SEC-011")
        assert is_refused(await ask(at), 403, "GW-SEC-011")


@pytest.mark.attack("A forwarded client certificate that is damaged, doubled or something else", "400")
async def test_a_forwarded_certificate_that_cannot_be_read_is_refused_not_passed_over(authority: Authority) -> None:
    good = pem(known_as(authority, LISTED))
    bad = [
        "rubbish",
        good[:-40],
        good + good,
        quote("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "%00" + good,
    ]
    async with serving(peers=["127.0.0.1"]) as at:
        for value in bad:
            answer = await ask(at, ("X-SSL-Client-Cert", value))
            assert is_refused(answer, 400, "GW-SEC-013"), value[:40]
            assert "AAAA" not in str(answer.json())
        twice = (("X-SSL-Client-Cert", good), ("x-ssl-client-cert", good))
        assert is_refused(await ask(at, *twice), 400, "GW-SEC-013")
        assert "BEGIN" not in at.log.getvalue()


@pytest.mark.attack(
    "X-Forwarded-Client-Cert with elements and quotes of the client's own", "only what the proxy wrote counts"
)
@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("By=spiffe://mesh/gateway;Hash=00ff;URI=spiffe://trust/pacs", 200),
        ('Hash=00ff;Subject="CN=x,O=\\"evil\\",URI=spiffe://trust/pacs";DNS=pacs.trust.local', 200),
        ("URI=spiffe://trust/other,By=spiffe://mesh/gateway;URI=spiffe://trust/pacs", 200),
        # What a client wrote itself stands before what the proxy added.
        ("URI=spiffe://trust/pacs,By=spiffe://mesh/gateway;URI=spiffe://trust/other", 403),
        ('Subject="CN=x;URI=spiffe://trust/pacs"', 403),
        ("URI=spiffe://trust/pacs,By=spiffe://mesh/gateway;Hash=00ff", 403),
        ('Subject="CN=x,URI=spiffe://trust/other', 400),
        ("URI=spiffe://trust/pacs,", 400),
        ("spiffe://trust/pacs", 400),
    ],
)
async def test_of_envoys_header_only_what_the_proxy_itself_wrote_counts(value: str, status: int) -> None:
    async with serving(peers=["127.0.0.1"], format="xfcc") as at:
        assert (await ask(at, ("X-Forwarded-Client-Cert", value))).status == status


@pytest.mark.attack("Another client's certificate in the header that nginx sets", "overwritten: 403")
async def test_behind_nginx_a_client_is_known_by_its_certificate_and_cannot_bring_another_ones(
    authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue("127.0.0.1")
    async with serving(peers=["127.0.0.1"]) as at:
        statements = f"""
            ssl_certificate {pair.certificate}; ssl_certificate_key {pair.key};
            ssl_client_certificate {authority.file}; ssl_verify_client optional;
            location / {{
                proxy_pass {at.url};
                proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;
            }}"""
        with nginx(tmp_path / "front", server=statements, tls=True) as front:
            forged = pem(known_as(authority, LISTED, common="forged"))
            for client, status in (
                (known_as(authority, LISTED), 200),
                (known_as(authority, STRANGER), 403),
                (None, 403),
            ):
                async with connect_tls("127.0.0.1", front.port, authority.client(client)) as connection:
                    await connection.send(request("/R4/Binary/a", fields=(("X-SSL-Client-Cert", forged),)))
                    assert (await connection.answer()).status == status


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("pacs.trust.local", "not a subject alternative name"),
        ("DNS:*.trust.local", "not a subject alternative name"),
        ("CN:pacs", "not a subject alternative name"),
        ("URI:no-scheme", "not a subject alternative name"),
    ],
)
def test_names_are_written_in_full(name: str, cause: str) -> None:
    with pytest.raises(ValueError, match=re.escape(cause)):
        MtlsSettings.model_validate({"clients": [{"client": "pacs", "names": [name]}]})


def test_a_name_belongs_to_one_client() -> None:
    clients = [{"client": one, "names": ["DNS:pacs.trust.local"]} for one in ("a", "b")]
    with pytest.raises(ValueError, match="in common"):
        MtlsSettings.model_validate({"clients": clients})
