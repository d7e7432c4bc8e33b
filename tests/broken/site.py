"""The machine that the broken configurations are about: files of every wrong kind, and servers to be mistaken for others.

One site serves all cases, which only read it or make what they remove. It lies where ordinary accounts can reach it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.security.client_keys import line_for, new_key
from tests.support.ports import LOOPBACK, free_port
from tests.support.redis import redis, sentinel
from tests.support.samba import samba

PASSWORD = "correct-horse-battery"
"""The password of the Redis server, which no answer may repeat."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the files lie, the port of each server by name, and the process ids of those that may be named."""

    directory: Path
    ports: dict[str, int]
    pids: tuple[int, ...]


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """A site that is gone afterwards."""
    with TemporaryDirectory(prefix="fgw-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)
        _write_files(directory)
        _write_certificates(directory)
        (directory / "servers").mkdir()
        named = ("--unixsocket", str(directory / "in-use.sock"))
        keeper = stack.enter_context(redis(directory / "servers", "--requirepass", PASSWORD, *named))
        watcher = stack.enter_context(sentinel(directory / "servers", keeper.port))
        share = stack.enter_context(samba(directory / "smb"))
        (directory / "redis.password").write_text(PASSWORD)
        (directory / "samba.password").write_text(share.password)
        (share.folder() / "one.pdf").write_bytes(b"%PDF-1.7")
        ports = {
            "redis": keeper.port,
            "sentinel": watcher.port,
            "samba": share.port,
            "web": stack.enter_context(_web()),
            "closed": free_port(),
        }
        try:
            yield Site(directory, ports, (keeper.process.pid,))
        finally:
            # So that whoever is not an administrator can remove it.
            (directory / "closed").chmod(0o700)


def _write_files(directory: Path) -> None:
    archive, closed = directory / "archive", directory / "closed"
    for folder in (archive, closed):
        folder.mkdir()
    (archive / "one.pdf").write_bytes(b"%PDF-1.7")
    texts = {
        "letter.txt": "Dear colleague\n",
        "empty.txt": "",
        "good.key": "6b" * 32,
        "short.key": "6b" * 16,
        "long.key": "6b" * 64,
        "clients": line_for("pas", new_key(), ("system/Binary.r",)),
        "bad-clients": f"pas {new_key()} system/Binary.r\npacs secret system/Binary.r\nris sha256:{'0' * 64}\n",
        "good.json": json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": _X, "y": _Y}]}),
        "symmetric.json": json.dumps({"keys": [{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}]}),
        "index.csv": "id,path\none,one.pdf\n",
        "columns.csv": "document,file\none,one.pdf\n",
        "rows.csv": "id,path\none,one.pdf\none,two.pdf\ntwo,../two.pdf\nthree four,three.pdf\nfive,\n",
    }
    for name, text in texts.items():
        (directory / name).write_text(text)
    (directory / "latin.csv").write_bytes("id,path,title\none,one.pdf,Übergabe\n".encode("latin-1"))
    closed.chmod(0)


_X = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
_Y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
"""RFC 7515 A.3."""


def _write_certificates(directory: Path) -> None:
    now = datetime.now(UTC)
    year = timedelta(days=365)
    _certificate(directory / "tls", now - year, now + year)
    _certificate(directory / "expired", datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC))
    _certificate(directory / "future", datetime(2998, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC))
    key = serialization.load_pem_private_key((directory / "tls.key").read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"password")
    form = serialization.PrivateFormat.PKCS8
    (directory / "encrypted.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))
    certificate = x509.load_pem_x509_certificate((directory / "tls.pem").read_bytes())
    (directory / "der.crt").write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    shutil.copy(directory / "tls.key", directory / "closed.key")
    (directory / "closed.key").chmod(0)


def _certificate(path: Path, begins: datetime, ends: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway.trust.local")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)
    certificate = builder.sign(key, hashes.SHA256())
    path.with_suffix(".pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form, open_key = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.with_suffix(".key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, open_key))


@contextlib.contextmanager
def _web() -> Iterator[int]:
    """A web server that has no page."""

    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Nothing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
