"""A document of 300 MB in base64 inside the envelope: all of it reaches the reader, none of it stays in the gateway."""

from __future__ import annotations

import hashlib
import http.client
import re
import sys
from pathlib import Path

from gateway.demo.xds import REPOSITORY, large
from gateway.ids.sealed import Address, Place, Seal
from tests.support.gateway import PROJECT, Gateway, serving
from tests.support.process import running

SIZE = 300 << 20
PIECE = 1 << 20
MOST_GROWTH = 24 << 20
"""Bytes by which the gateway may be larger after the document than before it: a twelfth of it."""

KEY = bytes(32)


def peak(gateway: Gateway) -> int:
    """The most memory that the gateway has had so far, in bytes (VmHWM, proc(5))."""
    text = Path(f"/proc/{gateway.pid}/status").read_text()
    (kib,) = re.findall(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return int(kib) << 10


def fetch(gateway: Gateway, id: str) -> tuple[int, str]:
    """The length and the SHA-256 of a document, read piece by piece."""
    connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=60)
    try:
        connection.request("GET", f"/R4/Binary/{id}")
        answer = connection.getresponse()
        assert answer.status == 200
        length, digest = 0, hashlib.sha256()
        while piece := answer.read(PIECE):
            length += len(piece)
            digest.update(piece)
    finally:
        connection.close()
    return length, digest.hexdigest()


def test_a_document_of_300_mb_in_the_envelope_passes_through(tmp_path: Path) -> None:
    key = tmp_path / "seal.key"
    key.write_bytes(KEY)
    command = [sys.executable, "-m", "gateway.demo.xds", "--large", str(SIZE), "--personality", "plain-soap12"]
    with running(
        "the fake repository",
        command,
        log=tmp_path / "repository.log",
        ready=lambda server: server.out.read_text().endswith("\n"),
        cwd=PROJECT,
    ) as repository:
        url = repository.out.read_text().split()[-1]
        endpoint = {"alias": "a", "url": f"{url}/repository", "repository_unique_ids": [REPOSITORY]}
        source = {
            "adapter": "xds",
            "ids": {"scheme": "sealed", "key_file": str(key)},
            "options": {"endpoints": [endpoint]},
        }
        document = large(SIZE)
        seal = Seal("", [KEY], {"a": [Place(None, REPOSITORY)]})
        id = seal.encode(Address.of(None, document.repository, document.unique_id))
        assert id is not None
        with serving({"sources": {"care": source}}, tmp_path / "gateway") as gateway:
            connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=60)
            connection.request("HEAD", f"/R4/Binary/{id}")
            assert connection.getresponse().status == 200
            connection.close()
            before = peak(gateway)
            length, digest = fetch(gateway, id)
            grown = peak(gateway) - before
    true = hashlib.sha256()
    for chunk in document.content.chunks():
        true.update(chunk)
    assert (length, digest) == (SIZE, true.hexdigest())
    assert grown < MOST_GROWTH
