"""What `check` finds wrong with an xds source, and the cure that it names: `probe` raises exactly the sentences it prints."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import AccessDenied, AdapterError, Busy, CredentialsRejected, NotFound, TimedOut, Unavailable
from adapters.xds import XdsAdapter
from adapters.xds.probe import NOBODYS
from gateway.demo.xds import FAULTS, HOME, PERSONALITIES, REPOSITORY, FakeRepository, letter
from tests.support.ports import free_port
from tests.support.xds import Authority, assertion, fake_repository
from tests.support.xds_source import endpoint, locator, read, source


async def found(adapter: XdsAdapter) -> AdapterError:
    """What the probe raises."""
    with pytest.raises(AdapterError) as raised:
        await adapter.probe()
    return raised.value


@pytest.fixture
async def fake() -> AsyncIterator[FakeRepository]:
    async with fake_repository(letter(1), letter(2)) as running:
        yield running


async def test_a_sound_source_passes_and_no_patients_document_is_touched(fake: FakeRepository) -> None:
    async with source(endpoint(fake), registry={"url": fake.endpoint("registry")}) as adapter:
        await adapter.probe()
    asked = [exchange.documents for exchange in fake.exchanges if exchange.endpoint == "repository"]
    assert [[one.document for one in documents] for documents in asked] == [[NOBODYS]]
    queries = [exchange.request.body for exchange in fake.exchanges if exchange.endpoint == "registry"]
    assert len(queries) == 1
    assert NOBODYS.encode() in queries[0]
    assert not any(exchange.payload for exchange in fake.exchanges)


@pytest.mark.parametrize("name", PERSONALITIES)
async def test_every_personality_passes(fake: FakeRepository, name: str) -> None:
    fake.personality = PERSONALITIES[name]
    encoding = "mtom" if "mtom" in fake.personality.accepts else sorted(fake.personality.accepts)[0]
    async with source(endpoint(fake, request_encoding=encoding)) as adapter:
        await adapter.probe()


async def test_a_gateway_without_repositories_of_its_own_passes(fake: FakeRepository) -> None:
    """It is asked for a repository that nobody has, and says so."""
    given = endpoint(fake.endpoint("gateway"), transaction="iti39", home_community_id=HOME, repository_unique_ids=[])
    fake.next("XDSUnknownRepositoryId", at="gateway")
    async with source(given) as adapter:
        await adapter.probe()


async def test_a_gateway_of_another_community_passes(fake: FakeRepository) -> None:
    given = endpoint(
        fake.endpoint("gateway"), transaction="iti39", home_community_id=HOME, repository_unique_ids=[REPOSITORY]
    )
    async with source(given) as adapter:
        await adapter.probe()


# --- the address ---------------------------------------------------------------------------------------------------


async def test_a_wrong_path(fake: FakeRepository) -> None:
    async with source(endpoint(f"{fake.url}/xds/services/repositry")) as adapter:
        error = await found(adapter)
    assert isinstance(error, Unavailable)
    assert error.detail == "endpoint a: there is no service at this path of the server: correct `url` (HTTP 404)"


async def test_a_wrong_port() -> None:
    async with source(endpoint(f"http://127.0.0.1:{free_port()}/repository")) as adapter:
        error = await found(adapter)
    assert isinstance(error, Unavailable)
    assert error.detail == "endpoint a: nothing answers at this address: correct `url`, or start the service"


async def test_a_name_that_nobody_knows() -> None:
    async with source(endpoint("https://xds.invalid/repository")) as adapter:
        error = await found(adapter)
    assert isinstance(error, Unavailable)
    assert error.detail == "endpoint a: the server's name is not known here: correct `url`, or the name service"


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("redirect-login", Unavailable, "sends requests elsewhere, perhaps to log on: correct `url`"),
        ("html-login", Unavailable, "answers with HTML in place of a SOAP message: correct `url`"),
        ("json-200", Unavailable, "in place of a SOAP message: correct `url`"),
        ("not-http", Unavailable, "sends no HTTP that can be read: correct `url`, which may need https"),
        ("http-403", AccessDenied, "have the gateway's account or certificate allowed there"),
        ("http-503", Busy, "come back later"),
        ("XDSRepositoryBusy", Busy, "XDSRepositoryBusy"),
        ("XDSUnknownRepositoryId", Unavailable, "correct `repository_unique_ids`"),
        ("XDSUnavailableCommunity", Unavailable, "another service"),
        ("fault-not-understood", Unavailable, "set `must_understand: false`, or shorten `ws_addressing`"),
        ("fault-500-soap12", Unavailable, "answered with a fault (Receiver)"),
        ("http-401", CredentialsRejected, "set or renew `saml.assertion_file`"),
        ("requires-security", CredentialsRejected, "saml.assertion_file"),
        ("fault-expired", CredentialsRejected, "set the clocks right"),
        ("reset-start", Unavailable, "ended the connection without an answer"),
        ("truncated", None, ""),
        ("XDSRepositoryError", None, ""),
        ("XDSMissingDocument", None, ""),
    ],
)
async def test_what_stands_in_the_way_of_documents(
    fake: FakeRepository, fault: str, kind: type[AdapterError] | None, words: str
) -> None:
    fake.next(FAULTS[fault], times=100)
    async with source(endpoint(fake)) as adapter:
        if kind is None:
            await adapter.probe()
            return
        error = await found(adapter)
    assert isinstance(error, kind)
    assert not isinstance(error, NotFound)
    assert words in error.detail


async def test_a_registrys_address_in_place_of_a_repositorys(fake: FakeRepository) -> None:
    for encoding in ("mtom", "soap12", "soap11"):
        async with source(endpoint(fake.endpoint("registry"), request_encoding=encoding)) as adapter:
            error = await found(adapter)
        assert isinstance(error, Unavailable)
        assert error.detail.startswith("endpoint a: `url` is that of a registry: give the repository's own")


async def test_a_registry_that_answers_everything_with_a_registry_response() -> None:
    """Some do not look at the action of a request that they do not know."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                asked = await reader.readexactly(length)
                body = _registry_response(b"AdhocQueryRequest" in asked)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with source(endpoint(f"http://127.0.0.1:{port}/x")) as adapter:
            error = await found(adapter)
    assert error.detail.startswith("endpoint a: `url` is that of a registry")


def _registry_response(query: bool) -> bytes:
    status = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType"
    rs = "urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0"
    body = (
        f'<q:AdhocQueryResponse xmlns:q="urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0" status="{status}:Success"/>'
        if query
        else f'<rs:RegistryResponse xmlns:rs="{rs}" status="{status}:Failure"><rs:RegistryErrorList>'
        '<rs:RegistryError errorCode="XDSRegistryError" codeContext="?"/></rs:RegistryErrorList></rs:RegistryResponse>'
    )
    return (
        f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>{body}</s:Body></s:Envelope>'.encode()
    )


async def test_a_repositorys_address_in_place_of_a_registrys(fake: FakeRepository) -> None:
    async with source(endpoint(fake), registry={"url": fake.endpoint("repository")}) as adapter:
        error = await found(adapter)
    assert error.detail.startswith(
        "registry: the service does not know this operation: `url` is that of another service"
    )


async def test_a_repository_that_has_another_id(fake: FakeRepository) -> None:
    async with source(endpoint(fake, repository_unique_ids=["1.2.3.4711"])) as adapter:
        error = await found(adapter)
    assert isinstance(error, Unavailable)
    assert "correct `repository_unique_ids`" in error.detail


async def test_every_repository_is_asked_until_all_were_well(fake: FakeRepository) -> None:
    """A probe comes round every few seconds: each goes into the repository's own records."""
    fake.shelf.put(replace(letter(3), repository="1.2.3.4711"))
    async with source(endpoint(fake, repository_unique_ids=[REPOSITORY, "1.2.3.4711"])) as adapter:
        await adapter.probe()
        await adapter.probe()
    assert [one.repository for exchange in fake.exchanges for one in exchange.documents] == [
        REPOSITORY, "1.2.3.4711", REPOSITORY
    ]  # fmt: skip


async def test_other_ways_of_asking_are_tried_once(fake: FakeRepository) -> None:
    fake.personality = FAULTS["fault-500-soap12"].on(fake.personality)
    async with source(endpoint(fake)) as adapter:
        await found(adapter)
        first = len(fake.exchanges)
        await found(adapter)
    assert 3 < first < 15
    assert len(fake.exchanges) - first <= 3


async def test_several_faults_are_told_together(fake: FakeRepository) -> None:
    wrong = endpoint(f"http://127.0.0.1:{free_port()}/x", alias="b", repository_unique_ids=["1.2.3"])
    async with source(endpoint(f"{fake.url}/nothing"), wrong, registry={"url": f"{fake.url}/nothing"}) as adapter:
        error = await found(adapter)
    assert error.detail.count("; ") == 2
    assert all(
        place in error.detail for place in ("endpoint a: there is no", "endpoint b: nothing", "registry: there is no")
    )


async def test_a_server_that_does_not_answer() -> None:
    async with silent() as port:
        timeouts = {"connect": "100ms", "first_byte": "100ms"}
        async with source(endpoint(f"http://127.0.0.1:{port}/x", timeouts=timeouts)) as adapter:
            error = await found(adapter)
        async with source(endpoint(f"https://127.0.0.1:{port}/x", timeouts=timeouts)) as adapter:
            handshake = await found(adapter)
    assert isinstance(error, TimedOut)
    assert "`timeouts.first_byte`" in error.detail
    assert isinstance(handshake, TimedOut)
    assert "`timeouts.connect`" in handshake.detail


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """The port of a server that accepts, and says nothing."""
    left = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await left.wait()
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        left.set()
        server.close()
        await server.wait_closed()


# --- who is who ----------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def over_tls(tls: ssl.SSLContext, **options: Any) -> AdapterError | None:
    """What a probe of a repository behind `tls` raises, if it does."""
    async with fake_repository(letter(1), tls=tls) as fake, source(endpoint(fake, tls=options)) as adapter:
        try:
            await adapter.probe()
        except AdapterError as error:
            return error
    return None


async def test_mutual_tls(authority: Authority) -> None:
    client = authority.issue("gateway", client=True)
    tls = authority.server(clients=True)
    async with fake_repository(letter(1), tls=tls) as fake:
        options = {"ca": authority.file, "certificate": client.certificate, "key": client.key}
        async with source(endpoint(fake, tls=options)) as adapter:
            await adapter.probe()
            got = await read(adapter, locator(letter(1)))
        assert got.data == letter(1).data
        assert fake.exchanges[0].client is not None


async def test_a_missing_client_certificate(authority: Authority) -> None:
    error = await over_tls(authority.server(clients=True), ca=authority.file)
    assert isinstance(error, CredentialsRejected)
    assert error.detail == "endpoint a: the server wants a client certificate: set `tls.certificate` and `tls.key`"


async def test_a_client_certificate_of_a_stranger(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "Stranger").issue("gateway", client=True)
    options = {"ca": authority.file, "certificate": stranger.certificate, "key": stranger.key}
    error = await over_tls(authority.server(clients=True), **options)
    assert isinstance(error, CredentialsRejected)
    assert "does not know who issued the client certificate" in error.detail


async def test_a_server_that_nobody_vouches_for(authority: Authority, tmp_path: Path) -> None:
    error = await over_tls(authority.server(), ca=Authority(tmp_path, "Another").file)
    assert isinstance(error, Unavailable)
    assert "give the authority's certificate in `tls.ca`" in error.detail
    of_the_system = await over_tls(authority.server())
    assert of_the_system is not None
    assert of_the_system.detail == error.detail


async def test_a_server_of_another_name(authority: Authority) -> None:
    error = await over_tls(authority.server("elsewhere.trust.local"), ca=authority.file)
    assert isinstance(error, Unavailable)
    assert "set `tls.server_hostname`" in error.detail
    named = await over_tls(
        authority.server("elsewhere.trust.local"), ca=authority.file, server_hostname="elsewhere.trust.local"
    )
    assert named is None


async def test_https_to_a_server_that_speaks_http(fake: FakeRepository) -> None:
    timeouts = {"connect": "2s", "first_byte": "1s"}
    async with source(endpoint(fake.endpoint().replace("http:", "https:"), timeouts=timeouts)) as adapter:
        error = await found(adapter)
    assert isinstance(error, TimedOut)
    assert "TLS on that port" in error.detail


async def test_http_to_a_server_that_speaks_https(authority: Authority) -> None:
    async with fake_repository(letter(1), tls=authority.server()) as fake:
        timeouts = {"connect": "2s", "first_byte": "1s"}
        async with source(endpoint(fake.endpoint().replace("https:", "http:"), timeouts=timeouts)) as adapter:
            error = await found(adapter)
    assert isinstance(error, TimedOut)
    assert "or expects https" in error.detail


async def test_an_assertion_goes_with_each_request_byte_for_byte(fake: FakeRepository, tmp_path: Path) -> None:
    fake.personality = FAULTS["requires-security"].on(fake.personality)
    file = tmp_path / "assertion.xml"
    file.write_text(f"<?xml version='1.0'?>\n{assertion(text='ward é')}\n")
    for encoding in ("mtom", "soap12", "soap11"):
        given = endpoint(fake, saml={"assertion_file": file}, request_encoding=encoding)
        async with source(
            given, registry={"url": fake.endpoint("registry"), "saml": {"assertion_file": file}}
        ) as adapter:
            await adapter.probe()
    assert [exchange.asked and exchange.asked.assertion for exchange in fake.exchanges] == [
        assertion(text="ward é").encode()
    ] * 6


async def test_an_expired_assertion_is_found_before_it_is_sent(fake: FakeRepository, tmp_path: Path) -> None:
    ended = datetime.now(UTC) - timedelta(minutes=1)
    file = tmp_path / "assertion.xml"
    file.write_text(assertion(ends=f"{ended:%Y-%m-%dT%H:%M:%SZ}"))
    async with source(endpoint(fake, saml={"assertion_file": file})) as adapter:
        error = await found(adapter)
    assert isinstance(error, CredentialsRejected)
    assert error.detail == (
        f"endpoint a: the SAML assertion expired at {ended:%Y-%m-%d %H:%M:%S} UTC: put a fresh one into the file that "
        "`saml.assertion_file` names"
    )
    assert fake.exchanges == []
