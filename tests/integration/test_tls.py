"""The certificate of a running gateway, and what `check` and `serve` say of one that cannot be used (docs/listener.md)."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop
import yaml
from click.testing import CliRunner, Result
from cryptography import x509

from gateway.cli import main
from tests.support.gateway import PROJECT, Gateway, serving
from tests.support.raw_http import Answer, Ending, connect_tls, request
from tests.support.xds import Authority, Pair

LETTER = b"%PDF-1.7\nletter"
BIG = random.Random(0).randbytes(1 << 20) * 24


@dataclass(frozen=True, slots=True)
class Site:
    """A directory with an archive and the files of a certificate, and the configuration that names them."""

    directory: Path
    authority: Authority

    @property
    def certificate(self) -> Path:
        return self.directory / "tls.pem"

    @property
    def key(self) -> Path:
        return self.directory / "tls.key"

    def put(self, pair: Pair) -> None:
        """What a renewal does: the certificate, a moment later its key."""
        shutil.copy(pair.certificate, self.certificate)
        shutil.copy(pair.key, self.key)

    def configuration(self, **tls: Any) -> dict[str, Any]:
        source = {
            "adapter": "filesystem",
            "ids": {"scheme": "template", "pattern": "{id}.*"},
            "options": {"root": str(self.directory / "archive")},
        }
        given = {"certificate": str(self.certificate), "key": str(self.key), **tls}
        listener = {"port": 0, "tls": {name: value for name, value in given.items() if value is not None}}
        return {"server": listener, "admin": {"port": 0}, "auth": {"mode": "none"}, "sources": {"letters": source}}


@pytest.fixture(scope="module", autouse=True)
def loop_of_serve() -> None:
    """Its first loop in a process opens what lives as long as the process does, and is no test's leftover."""
    uvloop.new_event_loop().close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "letter.pdf").write_bytes(LETTER)
    (archive / "big.bin").write_bytes(BIG)
    site = Site(tmp_path, Authority(tmp_path))
    site.put(site.authority.issue("127.0.0.1"))
    return site


@pytest.fixture
def gateway(site: Site) -> Iterator[Gateway]:
    with serving(site.configuration(), site.directory / "serving") as running:
        yield running


async def ask(gateway: Gateway, context: ssl.SSLContext, target: str = "/R4/Binary/letter") -> Answer:
    async with connect_tls(gateway.host, gateway.port, context) as connection:
        await connection.send(request(target))
        return await connection.answer()


async def serial(gateway: Gateway, context: ssl.SSLContext) -> str:
    """The serial number of the certificate that a new connection is shown."""
    async with connect_tls(gateway.host, gateway.port, context) as connection:
        shown = connection.tls.getpeercert()
        assert shown is not None
        return str(shown["serialNumber"])


async def event(gateway: Gateway, name: str) -> dict[str, Any]:
    """The first log line of this event, once it is there."""
    async with asyncio.timeout(20):
        while True:
            for line in gateway.lines():
                if line.get("event") == name:
                    return line
            await asyncio.sleep(0.05)


# --- a gateway that runs --------------------------------------------------------------------------------------------


async def test_it_announces_https_and_says_how_long_to_stay_with_it(gateway: Gateway, site: Site) -> None:
    assert gateway.url.startswith("https://127.0.0.1:")
    answer = await ask(gateway, site.authority.client())
    assert (answer.status, answer.body) == (200, LETTER)
    assert answer.field("Strict-Transport-Security") == "max-age=31536000"


async def test_a_document_that_changes_while_it_is_read_is_torn_off_under_tls(gateway: Gateway, site: Site) -> None:
    """On the event loop of a serving process, which is not the one of the tests."""
    async with connect_tls(gateway.host, gateway.port, site.authority.client(), receive_buffer=65536) as connection:
        await connection.send(request("/R4/Binary/big"))
        first = await connection.receive()
        os.truncate(site.directory / "archive" / "big.bin", len(BIG) // 2)
        rest = await connection.rest()
        assert first.startswith(b"HTTP/1.1 200 ")
        assert len(first + rest) < len(BIG)
        assert connection.ending in (Ending.RESET, Ending.TORN)


async def test_a_renewed_certificate_is_used_without_a_restart_and_nobody_is_cut_off(
    gateway: Gateway, site: Site
) -> None:
    client = site.authority.client()
    before = await serial(gateway, client)
    async with connect_tls(gateway.host, gateway.port, client, receive_buffer=65536) as reading:
        await reading.send(request("/R4/Binary/big"))
        first = await reading.receive()
        site.put(site.authority.issue("127.0.0.1"))
        await event(gateway, "TLS files read again")
        assert await serial(gateway, client) != before
        received = bytearray(first.partition(b"\r\n\r\n")[2])
        while len(received) < len(BIG):
            more = await reading.receive()
            assert more, reading.ending
            received += more
        assert received == BIG
        assert await reading.rest() == b""
        assert reading.ending is Ending.CLOSED, "after its answer, so that it comes again and sees the new one"


@pytest.mark.attack("A new certificate whose key does not fit, while running", "the old pair stays")
async def test_a_pair_that_does_not_fit_is_never_used_and_said_once(gateway: Gateway, site: Site) -> None:
    client = site.authority.client()
    before = await serial(gateway, client)
    other = site.authority.issue("localhost")
    shutil.copy(other.certificate, site.certificate)
    line = await event(gateway, "new TLS files cannot be used, the old ones stay in use")
    assert line["level"] == "error"
    assert "does not fit the certificate" in line["detail"]
    await asyncio.sleep(4.5)
    assert await serial(gateway, client) == before
    said = [one for one in gateway.lines() if one["event"].startswith("new TLS files")]
    assert len(said) == 1
    shutil.copy(other.key, site.key)
    await event(gateway, "TLS files read again")
    client.check_hostname = False
    assert await serial(gateway, client) != before


@pytest.mark.attack("A client of an authority that was taken off the list, while running", "no handshake")
async def test_clients_of_an_authority_that_was_taken_off_are_refused_without_a_restart(site: Site) -> None:
    old, new = Authority(site.directory, "Old clients"), Authority(site.directory, "New clients")
    listed = site.directory / "clients.pem"
    shutil.copy(old.file, listed)
    theirs = site.authority.client(old.issue("old", client=True))
    ours = site.authority.client(new.issue("new", client=True))
    with serving(site.configuration(client_ca=str(listed)), site.directory / "serving") as gateway:
        assert (await ask(gateway, theirs)).body == LETTER
        for stranger in (ours, site.authority.client()):
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                await refused(gateway, stranger)
        shutil.copy(new.file, listed)
        await event(gateway, "TLS files read again")
        assert (await ask(gateway, ours)).body == LETTER
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await refused(gateway, theirs)


async def refused(gateway: Gateway, context: ssl.SSLContext) -> None:
    """A connection that must not come to an answer; TLS 1.3 tells the client only after its own handshake."""
    async with connect_tls(gateway.host, gateway.port, context) as connection:
        await connection.send(request("/R4/Binary/letter"))
        assert LETTER not in await connection.rest()
        assert connection.ending is not Ending.CLOSED
        raise ConnectionResetError


# --- files that cannot be used --------------------------------------------------------------------------------------


def run(command: str, site: Site, *options: str, **tls: Any) -> Result:
    """A command in this process. A gateway that starts where it should not is told to end."""
    path = site.directory / "gateway.yaml"
    path.write_text(yaml.safe_dump(site.configuration(**tls), sort_keys=False))
    told = threading.Timer(60, os.kill, (os.getpid(), signal.SIGTERM))
    if command == "serve":
        told.start()
    try:
        done = CliRunner().invoke(main, [command, "--config", str(path), *options])
    finally:
        told.cancel()
        if command == "serve":
            told.join()
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done


def key_that_does_not_fit(site: Site) -> None:
    shutil.copy(site.authority.issue("localhost").key, site.key)


def missing_key(site: Site) -> None:
    site.key.unlink()


def no_pem(site: Site) -> None:
    site.certificate.write_bytes(bytes(range(256)))


def damaged(site: Site) -> None:
    site.certificate.write_text(site.certificate.read_text()[:-200] + "-----END CERTIFICATE-----\n")


def directory_in_its_place(site: Site) -> None:
    site.key.unlink()
    site.key.mkdir()


def broken_chain(site: Site) -> None:
    site.certificate.write_text(site.certificate.read_text() + Authority(site.directory, "Stranger").file.read_text())


def expired(site: Site) -> None:
    site.put(site.authority.issue("127.0.0.1", expired=True))


WRONG = {
    "a key that does not fit": (key_that_does_not_fit, "key", "does not fit", "was issued for", True),
    "a missing key": (missing_key, "key", "is not there", "Correct the path", True),
    "no PEM": (no_pem, "certificate", "no certificate in PEM form", "openssl pkcs12", True),
    "a damaged certificate": (damaged, "certificate", "damaged", "Export", True),
    "a directory": (directory_in_its_place, "key", "is a directory", "Name the file", True),
    "a broken chain": (broken_chain, "certificate", "chain is broken", "intermediate", False),
    "an expired certificate": (expired, "certificate", "expired on", "renewed", False),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_check_names_the_line_the_cause_and_the_cure_of_files_that_clients_would_mind(site: Site, wrong: str) -> None:
    spoil, option, cause, cure, _ = WRONG[wrong]
    spoil(site)
    done = run("check", site)
    assert done.exit_code == 2, done.stdout
    assert f"server.tls.{option}\n" in done.stderr
    assert f"{site.directory}/gateway.yaml:" in done.stderr
    assert cause in done.stderr
    assert cure in done.stderr
    report = json.loads(run("check", site, "--json").stdout)
    assert [problem["key"] for problem in report["problems"]] == [f"server.tls.{option}"]
    assert report["sources"][0]["state"] == "ok", "one mistake hides no other finding"


@pytest.mark.parametrize("wrong", [name for name, words in WRONG.items() if words[-1]])
def test_serve_refuses_to_start_on_files_that_cannot_be_used(site: Site, wrong: str) -> None:
    spoil, option, cause, _, _ = WRONG[wrong]
    spoil(site)
    done = run("serve", site)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"server.tls.{option}\n" in done.stderr
    assert cause in done.stderr


def test_check_reads_what_is_good_without_a_word(site: Site) -> None:
    done = run("check", site, "--json")
    report = json.loads(done.stdout)
    assert (report["code"], report["problems"]) == (0, [])


def test_check_remarks_that_an_intermediate_certificate_is_missing_and_is_content_with_it(site: Site) -> None:
    """A hospital's own root is known to its clients and to nobody else, so this is no mistake by itself."""
    below = Authority(site.directory, "Intermediate", below=site.authority)
    pair = below.issue("127.0.0.1")
    site.put(pair)
    report = json.loads(run("check", site, "--json").stdout)
    assert report["code"] == 0
    assert "chain is missing" in " ".join(remark["cause"] for remark in report["remarks"])
    whole = pair.certificate.read_text() + below.file.read_text() + site.authority.file.read_text()
    site.certificate.write_text(whole)
    report = json.loads(run("check", site, "--json").stdout)
    assert "chain" not in " ".join(remark["cause"] for remark in report["remarks"])


async def test_an_expired_certificate_is_served_with_and_said_at_the_start(site: Site) -> None:
    """A restart must not turn a warning of browsers into a service that is gone."""
    expired(site)
    with serving(site.configuration(), site.directory / "serving") as gateway:
        line = await event(gateway, "TLS certificate needs attention")
        assert (line["level"], "expired on" in line["detail"]) == ("error", True)
        client = site.authority.client()
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        assert (await ask(gateway, client)).body == LETTER


def test_an_encrypted_key_needs_its_password(site: Site) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(site.key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"pass word")
    site.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    done = run("check", site)
    assert done.exit_code == 2
    assert "cannot be decrypted" in done.stderr
    assert "key_password_file" in done.stderr
    secret = site.directory / "password"
    secret.write_text("pass word\n")
    done = run("check", site, key_password_file=str(secret))
    assert (done.exit_code, "pass word" in done.stdout + done.stderr) == (0, False)


def new_key() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "auth", "new-key", "ward"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)


async def test_a_certificate_and_a_key_are_two_ways_in_and_a_wrong_one_ends_the_request(site: Site) -> None:
    made = await asyncio.to_thread(new_key)
    (site.directory / "keys").write_text(made.stdout)
    key = next(word for word in made.stderr.split() if word.startswith("fgk_"))
    configuration = site.configuration(client_ca=str(site.authority.file))
    names = {"clients": [{"client": "pacs", "names": ["DNS:pacs"]}]}
    ways = {"modes": ["mtls", "bearer"], "mtls": names, "keys_file": str(site.directory / "keys")}
    configuration |= {"auth": ways, "audit": {"mode": "none"}}
    listed = site.authority.client(site.authority.issue("a", client=True, known_as=(x509.DNSName("pacs"),)))
    stranger = site.authority.client(site.authority.issue("b", client=True, known_as=(x509.DNSName("evil"),)))
    nobody = site.authority.client()
    with serving(configuration, site.directory / "serving") as gateway:
        for client, fields, status in (
            (listed, (), 200),
            (listed, (("Authorization", f"Bearer {key}"),), 200),
            (listed, (("Authorization", f"Bearer {key}x"),), 401),
            (listed, (("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")), 400),
            (nobody, (("Authorization", f"Bearer {key}"),), 200),
            (nobody, (), 401),
            (nobody, (("Authorization", f"Bearer {key}x"),), 401),
            (stranger, (("Authorization", f"Bearer {key}"),), 403),
        ):
            async with connect_tls(gateway.host, gateway.port, client) as connection:
                await connection.send(request("/R4/Binary/letter", fields=fields))
                assert (await connection.answer()).status == status


# --- a Unix socket instead ------------------------------------------------------------------------------------------


def unix(site: Site) -> dict[str, Any]:
    configuration = site.configuration()
    configuration["server"] = {"unix_socket": str(site.directory / "gateway.sock")}
    return configuration


async def test_a_unix_socket_serves_its_account_and_is_gone_afterwards(site: Site) -> None:
    path = site.directory / "gateway.sock"
    configuration = unix(site)
    names = {"clients": [{"client": "pacs", "names": ["DNS:pacs"]}], "forwarded": {"peers": ["unix"], "format": "xfcc"}}
    configuration |= {"auth": {"mode": "mtls", "mtls": names}, "audit": {"mode": "none"}}
    with serving(configuration, site.directory / "serving") as gateway:
        assert gateway.url == f"unix://{path}"
        assert path.stat().st_mode & 0o777 == 0o660
        for header, status in ((b"X-Forwarded-Client-Cert: DNS=pacs\r\n", b"200"), (b"", b"403")):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"GET /R4/Binary/letter HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + header + b"\r\n")
            answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert answer.endswith(LETTER) is (status == b"200")
        second = run_with(configuration, site)
        assert (second.returncode, "in use" in second.stderr) == (2, True), second.stderr
        assert gateway.terminate() == 0
    assert not path.exists()


def run_with(configuration: dict[str, Any], site: Site) -> subprocess.CompletedProcess[str]:
    path = site.directory / "second.yaml"
    path.write_text(yaml.safe_dump(configuration, sort_keys=False))
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(path)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False)


def test_a_socket_that_a_killed_gateway_left_behind_is_replaced(site: Site) -> None:
    with serving(unix(site), site.directory / "serving") as gateway:
        gateway.kill()
    assert (site.directory / "gateway.sock").exists()
    with serving(unix(site), site.directory / "serving") as gateway:
        assert gateway.url.startswith("unix://")
