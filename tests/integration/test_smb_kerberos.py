"""A share is read with Kerberos tickets of a real realm, on both engines: keytab, ticket cache, password.

What was tested is an MIT KDC and a standalone smbd with a keytab; see docs/smb.md for what that leaves open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.errors import CredentialsRejected
from adapters.smb import SmbAdapter, SmbOptions
from tests.support.kerberos import HOST, Realm, kerberos_realm, require_library
from tests.support.samba import Samba, samba
from tests.support.smb_share import lent

LETTER = b"Dear colleague"


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    with kerberos_realm(tmp_path_factory.mktemp("realm")) as running:
        yield running


@pytest.fixture(scope="module")
def server(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    with samba(tmp_path_factory.mktemp("smb"), settings=realm.settings, environ=realm.environ) as running:
        (running.folder() / "letter.pdf").write_bytes(LETTER)
        yield running


@pytest.fixture(autouse=True)
def _in_realm(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    require_library()
    for name, value in realm.environ.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["native", "library"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def options(server: Samba, engine: str, **account: object) -> SmbOptions:
    where = {"server": server.host, "port": server.port, "share": "letters", "kerberos_host": HOST}
    return SmbOptions.model_validate(
        where | {"auth": "kerberos", "engine": engine, "require_encryption": False} | account
    )


async def read(chosen: SmbOptions) -> bytes:
    with lent() as services:
        async with SmbAdapter("letters", chosen, services) as adapter, adapter.open("letter.pdf") as content:
            return b"".join([piece async for piece in content.chunks])


@pytest.mark.parametrize("kind", ["keytab", "ticket_cache", "password"])
async def test_document_is_read_with(server: Samba, realm: Realm, engine: str, kind: str) -> None:
    principal = realm.principal()
    account: dict[str, object] = {"username": principal}
    if kind == "keytab":
        account["keytab"] = realm.keytab()
    elif kind == "ticket_cache":
        account["ticket_cache"] = realm.ccache()
    else:
        account["password"] = realm.passwords["svc-fhir"]
    assert await read(options(server, engine, **account)) == LETTER


async def test_encrypted_session_from_a_ticket(realm: Realm, engine: str, tmp_path: Path) -> None:
    with samba(tmp_path / "s", settings=realm.settings, environ=realm.environ, encryption="required") as server:
        (server.folder() / "letter.pdf").write_bytes(LETTER)
        chosen = options(server, engine, username=realm.principal(), keytab=realm.keytab(), require_encryption=True)
        assert await read(chosen) == LETTER


async def test_missing_and_expired_tickets_are_the_accounts_fault(
    server: Samba, realm: Realm, engine: str, tmp_path: Path
) -> None:
    with pytest.raises(CredentialsRejected):
        await read(options(server, engine, ticket_cache=tmp_path / "no such cache"))
    expired = realm.ccache(lifetime="1s")
    await asyncio.sleep(1.5)
    with pytest.raises(CredentialsRejected):
        await read(options(server, engine, ticket_cache=expired))


async def test_session_that_ends_with_its_ticket_is_made_anew(server: Samba, realm: Realm, engine: str) -> None:
    cache = realm.ccache(lifetime="2s")
    with lent() as services:
        chosen = options(server, engine, ticket_cache=cache)
        async with SmbAdapter("letters", chosen, services) as adapter:
            async with adapter.open("letter.pdf") as content:
                assert b"".join([piece async for piece in content.chunks]) == LETTER
            await asyncio.sleep(2.5)
            cache.write_bytes(realm.ccache().read_bytes())
            async with adapter.open("letter.pdf") as content:
                assert b"".join([piece async for piece in content.chunks]) == LETTER
