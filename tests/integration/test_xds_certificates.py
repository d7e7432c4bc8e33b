"""Certificates of an xds source: files that cannot work stop the start, files that change are read without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from adapters.errors import CredentialsRejected, OptionError, Unavailable
from adapters.testing.harness import RecordingLog
from adapters.xds import XdsAdapter, certificates
from gateway.demo.xds import letter
from tests.support.xds import Authority, Pair, fake_repository
from tests.support.xds_source import endpoint, locator, read, source

ELSEWHERE = "https://127.0.0.1:1/repository"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def looked_at_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at for each connection, not every other second."""
    monkeypatch.setattr(certificates, "LOOK_AGAIN", 0.0)


def encrypted(pair: Pair, password: str) -> Path:
    """The key of `pair` in a file that needs a password."""
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    file = pair.key.with_suffix(".encrypted")
    kind = serialization.BestAvailableEncryption(password.encode())
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kind))
    return file


async def refused(**tls: Any) -> OptionError:
    with pytest.raises(OptionError) as raised:
        async with source(endpoint(ELSEWHERE, tls=tls)):
            pass
    return raised.value


async def test_files_that_cannot_work_name_their_option(authority: Authority, tmp_path: Path) -> None:
    one, other = authority.issue("one", client=True), authority.issue("other", client=True)
    text = tmp_path / "secret-4711.pem"
    text.write_text("no certificate")
    torn = tmp_path / "torn.pem"
    torn.write_bytes(one.certificate.read_bytes()[:200] + b"\n-----END CERTIFICATE-----\n")
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"ca": tmp_path / "secret-4711"}, "ca", "is not there"),
        ({"ca": tmp_path}, "ca", "cannot be read"),
        ({"ca": text}, "ca", "holds no certificates"),
        ({"certificate": tmp_path / "secret-4711"}, "certificate", "is not there"),
        ({"certificate": tmp_path}, "certificate", "cannot be read (IsADirectoryError)"),
        ({"certificate": text}, "certificate", "holds no certificate"),
        ({"certificate": one.certificate}, "key", "holds no private key"),
        ({"certificate": one.certificate, "key": tmp_path / "secret-4711"}, "key", "is not there"),
        ({"certificate": one.certificate, "key": one.certificate}, "key", "holds no private key"),
        ({"certificate": one.key, "key": one.certificate}, "certificate", "holds no certificate"),
        ({"certificate": torn, "key": one.key}, "certificate", "is damaged"),
        ({"certificate": one.certificate, "key": other.key}, "certificate", "does not belong to the private key"),
        ({"certificate": one.certificate, "key": encrypted(one, "secret-4711")}, "key", "cannot be decrypted"),
    ]
    for tls, option, words in wrong:
        error = await refused(**tls)
        assert error.option == f"endpoints.0.tls.{option}"
        assert words in error.detail
        assert error.cure
        assert "secret-4711" not in f"{error.detail} {error.cure}"


async def test_an_encrypted_key(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("gateway", client=True)
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    tls = {"ca": authority.file, "certificate": pair.certificate, "key": encrypted(pair, "open sesame")}
    async with fake_repository(letter(1), tls=authority.server(clients=True)) as fake:
        async with source(endpoint(fake, tls=tls | {"key_password_file": password})) as adapter:
            await adapter.probe()
    password.write_text("wrong")
    assert (await refused(**tls, key_password_file=password)).option == "endpoints.0.tls.key"
    assert (await refused(**tls, key_password_file=tmp_path / "none")).option == "endpoints.0.tls.key_password_file"


async def test_a_registry_has_certificates_of_its_own() -> None:
    with pytest.raises(OptionError) as raised:
        async with source(endpoint(ELSEWHERE), registry={"url": ELSEWHERE, "tls": {"ca": "/nowhere"}}):
            pass
    assert raised.value.option == "registry.tls.ca"


async def test_a_renewed_authority_is_trusted_without_a_restart(
    authority: Authority, tmp_path: Path, looked_at_always: None
) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(Authority(tmp_path, "Old").file.read_bytes())
    async with fake_repository(letter(1), tls=authority.server()) as fake:
        async with source(endpoint(fake, tls={"ca": trusted})) as adapter:
            with pytest.raises(Unavailable, match=r"`tls\.ca`"):
                await adapter.probe()
            trusted.write_bytes(authority.file.read_bytes())
            await adapter.probe()


async def test_a_renewed_client_certificate_is_used_for_the_next_document(
    authority: Authority, tmp_path: Path, looked_at_always: None
) -> None:
    stranger = Authority(tmp_path, "Stranger").issue("stranger", client=True)
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    install = _installer(certificate, key)
    install(stranger)
    tls = {"ca": authority.file, "certificate": certificate, "key": key}
    async with fake_repository(letter(1), tls=authority.server(clients=True)) as fake:
        async with source(endpoint(fake, tls=tls)) as adapter:
            with pytest.raises(CredentialsRejected):
                await adapter.probe()
            install(authority.issue("gateway", client=True))
            assert (await read(adapter, locator(letter(1)))).data == letter(1).data
            assert "read anew" in " ".join(_log(adapter))


async def test_half_of_a_renewed_pair_leaves_the_old_one_in_use(
    authority: Authority, tmp_path: Path, looked_at_always: None
) -> None:
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    install = _installer(certificate, key)
    install(authority.issue("gateway", client=True))
    tls = {"ca": authority.file, "certificate": certificate, "key": key}
    async with fake_repository(letter(1), tls=authority.server(clients=True)) as fake:
        async with source(endpoint(fake, tls=tls)) as adapter:
            await adapter.probe()
            fresh = authority.issue("fresh", client=True)
            certificate.write_bytes(fresh.certificate.read_bytes())
            for _ in range(3):
                await adapter.probe()
            told = [line for line in _log(adapter) if "not usable" in line]
            assert len(told) == 1
            assert "does not belong to the private key" in told[0]
            key.write_bytes(fresh.key.read_bytes())
            await adapter.probe()
            async with fake.deaf():
                pass
            await adapter.probe()
        subjects = [exchange.client and exchange.client["subject"] for exchange in fake.exchanges]
    assert subjects[0] == ((("commonName", "gateway"),),)
    assert subjects[-1] == ((("commonName", "fresh"),),)


async def test_files_are_not_looked_at_for_every_document(authority: Authority, tmp_path: Path) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.file.read_bytes())
    async with fake_repository(letter(1), tls=authority.server()) as fake:
        async with source(endpoint(fake, tls={"ca": trusted})) as adapter:
            trusted.unlink()
            await asyncio.gather(*(adapter.probe() for _ in range(5)))
            assert _log(adapter) == []


def _installer(certificate: Path, key: Path) -> Callable[[Pair], None]:
    def install(pair: Pair) -> None:
        certificate.write_bytes(pair.certificate.read_bytes())
        key.write_bytes(pair.key.read_bytes())

    return install


def _log(adapter: XdsAdapter) -> list[str]:
    log = adapter.services.log
    assert isinstance(log, RecordingLog)
    return log.lines
