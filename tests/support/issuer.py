"""A real issuer of tokens on loopback: it signs with joserfc, publishes its key set over HTTP, rotates, and can misbehave.

Its server is a thread, so that a gateway in this process and one in another can both ask it, and a slow answer holds up
nobody else. Every request to it is counted.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

AUDIENCE = "https://documents.trust.test"
ISSUER = "https://login.trust.test"

Key = ECKey | RSAKey | OKPKey


def ec_key(kid: str, curve: str = "P-256") -> ECKey:
    return ECKey.generate_key(curve, {"kid": kid, "use": "sig"})


def rsa_key(kid: str, bits: int = 2048) -> RSAKey:
    return RSAKey.generate_key(bits, {"kid": kid, "use": "sig"})


def signed(header: Mapping[str, Any], claims: Mapping[str, Any] | str | bytes, key: Any) -> str:
    """A token in the compact form, whatever its header says: only the signature is the library's."""
    payload = claims if isinstance(claims, str | bytes) else json.dumps(claims)
    pieces = [json.dumps(header).encode(), payload.encode() if isinstance(payload, str) else payload]
    text = b".".join(urlsafe_b64encode(piece).rstrip(b"=") for piece in pieces)
    signature = jws.JWSRegistry.algorithms[header["alg"]].sign(text, key)
    return (text + b"." + urlsafe_b64encode(signature).rstrip(b"=")).decode()


@dataclass(slots=True)
class Fault:
    """How the key set is answered. `delay` in seconds."""

    status: int = 200
    body: bytes | None = None
    delay: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


class Issuer:
    """An issuer with one key to begin with. `name` is its iss."""

    def __init__(self, name: str = ISSUER, *, key: Key | None = None, algorithm: str = "ES256") -> None:
        self.name = name
        self.algorithm = algorithm
        self.key: Key = key or ec_key("k1")
        self.published: list[Key] = [self.key]
        self.fault = Fault()
        self.asked = 0
        self.url = ""
        self._lock = threading.Lock()

    def rotate(self, kid: str, *, keep: bool = False) -> None:
        """Sign with a new key from now on; the old one stays published where `keep` says so."""
        new = ec_key(kid)
        with self._lock:
            self.published = [*self.published, new] if keep else [new]
            self.key = new

    def key_set(self) -> bytes:
        """What it publishes."""
        with self._lock:
            return json.dumps({"keys": [key.as_dict(private=False) for key in self.published]}).encode()

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Good claims with these changes; None takes one away."""
        now = int(time.time())
        good = {
            "iss": self.name,
            "sub": "user-1",
            "client_id": "pas",
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 300,
            "scope": "system/Binary.rs",
        }
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def token(self, *, header: Mapping[str, Any] | None = None, key: Key | None = None, **changes: Any) -> str:
        """A token signed with the current key, with these changes to its claims and header; None takes one away."""
        key = key or self.key
        whole = {"alg": self.algorithm, "kid": key.kid, "typ": "at+jwt", **(header or {})}
        return signed({name: value for name, value in whole.items() if value is not None}, self.claims(**changes), key)

    def settings(self, **changes: Any) -> dict[str, Any]:
        """The entry of `auth.issuers` for this issuer."""
        return {
            "issuer": self.name,
            "audience": AUDIENCE,
            "jwks_url": self.url,
            "algorithms": [self.algorithm],
            **changes,
        }

    def auth(self, **changes: Any) -> dict[str, Any]:
        """The section `auth` with this issuer alone."""
        return {"mode": "jwt", "issuers": [self.settings(**changes)]}

    def saved(self, directory: Path) -> Path:
        """The key set as a file."""
        path = directory / "jwks.json"
        path.write_bytes(self.key_set())
        return path


@contextmanager
def publishing(issuer: Issuer, tls: ssl.SSLContext | None = None) -> Iterator[Issuer]:
    """Serve the key set of `issuer` on a free loopback port; `issuer.url` is its address."""
    handler = type("Handler", (_Handler,), {"issuer": issuer})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = False
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="issuer")
    thread.start()
    issuer.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/jwks"
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    issuer: Issuer

    def do_GET(self) -> None:
        issuer = self.issuer
        issuer.asked += 1
        fault = issuer.fault
        body = issuer.key_set() if fault.body is None else fault.body
        time.sleep(fault.delay)
        try:
            self.send_response(fault.status)
            for name, value in {"Content-Type": "application/jwk-set+json", **fault.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            # The reader of a slow answer has left.
            return

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read counts, not lines."""
