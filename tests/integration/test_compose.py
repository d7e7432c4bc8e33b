"""deploy/compose: each step works as processes of this machine, with the very files that its containers would be given."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from gateway.demo.xds.documents import REPOSITORY, from_archive
from tests.support.compose import PROJECT, Topology
from tests.support.gateway import Gateway
from tests.support.redis import Raw
from tests.support.samba import Share, samba

ARCHIVE = PROJECT / "config" / "sample-archive"
DISCHARGE = (ARCHIVE / "discharge" / "2021" / "discharge-0417.pdf").read_bytes()


def read(gateway: Gateway, id: str, *, context: ssl.SSLContext | None = None) -> tuple[bytes, str]:
    """A document, and what the cache had to do with it."""
    request = Request(f"{gateway.url}/R4/Binary/{id}")
    with urlopen(request, timeout=20, context=context) as answer:
        return answer.read(), answer.headers.get("Cache-Status", "")


def test_a_folder(tmp_path: Path):
    with Topology("1-folder", tmp_path) as site:
        done = site.command("check")
        assert done.returncode == 0, done.stdout + done.stderr
        with site.gateway() as gateway:
            assert read(gateway, "discharge-summary")[0] == DISCHARGE


def test_a_folder_with_redis(tmp_path: Path):
    with Topology("2-redis", tmp_path) as site:
        (redis,) = site.start("redis")
        done = site.command("check")
        assert done.returncode == 0, done.stdout + done.stderr
        with site.gateway() as gateway:
            assert read(gateway, "discharge-summary") == (DISCHARGE, "fhir-gateway; fwd=uri-miss")
            assert "hit" in kept(gateway, "discharge-summary")
            with Raw(("127.0.0.1", site.ports["redis"])) as stranger, pytest.raises(Exception, match="NOAUTH"):
                stranger("KEYS", "*")
            redis.stop()
            assert read(gateway, "discharge-summary")[0] == DISCHARGE


def kept(gateway: Gateway, id: str) -> str:
    """What the cache says of a document that was read a moment ago: it is stored behind the answer."""
    for _ in range(200):
        said = read(gateway, id)[1]
        if "hit" in said:
            break
    return said


def test_a_share_beside_it(tmp_path: Path):
    with Topology("3-smb", tmp_path) as site:
        site.start("redis")
        letters = Share("letters", folder=site.places("fileserver")["/srv/letters"])
        with samba(tmp_path / "s", shares=[letters], port=site.ports["fileserver"], encryption="required") as server:
            server.change_password(site.places("gateway")["/run/secrets/smb-password"].read_text())
            done = site.command("check")
            assert done.returncode == 0, done.stdout + done.stderr
            with site.gateway() as gateway:
                original = (ARCHIVE / "letters" / "physiotherapy" / "outpatient.rtf").read_bytes()
                assert read(gateway, "s.outpatient")[0] == original
                assert "hit" in kept(gateway, "s.outpatient")
                assert read(gateway, "discharge-summary")[0] == DISCHARGE


def test_a_repository_behind_mutual_tls(tmp_path: Path):
    with Topology("4-xds", tmp_path) as site:
        redis, *_ = site.start("redis-1", "redis-2", "sentinel-1", "sentinel-2", "sentinel-3", "repository")
        done = site.command("check")
        assert done.returncode == 0, done.stdout + done.stderr
        document = next(one for one in from_archive(ARCHIVE) if one.media_type == "application/pdf")
        named = ("--source", "shared-care", "--repository", REPOSITORY, "--document", document.unique_id)
        id = site.command("ids", "encode", *named).stdout.strip()
        stranger, reader = (trusting(site.folder / "secrets", certificate) for certificate in (None, "reader"))
        with site.gateway() as gateway:
            data, _ = read(gateway, id, context=reader)
            assert hashlib.sha256(data).digest() == hashlib.sha256(document.data).digest()
            while "hit" not in (said := read(gateway, id, context=reader)[1]):
                assert "fwd" in said
            redis.stop()
            assert read(gateway, id, context=reader)[0] == data
            with pytest.raises((URLError, ssl.SSLError, ConnectionError)):
                read(gateway, id, context=stranger)
        verified = site.command("audit", "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr


def trusting(secrets: Path, certificate: str | None) -> ssl.SSLContext:
    """A reader that trusts the step's authority, and shows a certificate of it where one is named."""
    context = ssl.create_default_context(cafile=secrets / "ca.pem")
    if certificate is not None:
        context.load_cert_chain(secrets / f"{certificate}.pem", secrets / f"{certificate}.key")
    return context
