"""Clients known by their certificate: a subject alternative name that is on the list makes an identity.

The chain was checked before anything here runs: by the TLS handshake (`server.tls.client_ca`), or by a proxy that is named
in `auth.mtls.forwarded.peers` and nobody else. What such a proxy hands on is all that counts on its connections: its own
certificate says nothing about who asks. From all others the header is ignored. The common name never counts (RFC 9525 2).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from gateway import errors
from gateway.errors import Problem
from gateway.protocol.interactions import Interaction
from gateway.security import Identity
from gateway.security.forwarded import Certified, Unreadable, read_pem, read_xfcc
from gateway.security.peers import TrustedPeers
from gateway.settings.mtls import MtlsSettings

_READERS = {"pem": read_pem, "xfcc": read_xfcc}


class MutualTls:
    """The authenticator of mode `mtls`."""

    def __init__(self, settings: MtlsSettings) -> None:
        self._clients = {
            name: Identity(name, client.client, frozenset(client.scopes), method="mtls")
            for client in settings.clients
            for name in client.names
        }
        forwarded = settings.forwarded
        self._believed = TrustedPeers(forwarded.peers if forwarded else ())
        self._field = forwarded.field_name if forwarded else ""
        self._read = _READERS[forwarded.format] if forwarded else read_pem

    async def identify(self, request: web.BaseRequest, interaction: Interaction) -> Identity | None:
        """Whose certificate came with the request; None when none did.

        Raises `Problem` for a certificate that is not on the list or not valid now, and for a header that cannot be read.
        """
        shown = self._forwarded(request) if self._comes_by_proxy(request) else _of_connection(request)
        if shown is None:
            return None
        found = [name for name in shown.names if name in self._clients]
        if not found:
            raise Problem(errors.CERTIFICATE_NOT_LISTED, "no name of the certificate is on the list")
        if not shown.valid_at(datetime.now(UTC)):
            raise Problem(errors.CERTIFICATE_NOT_LISTED, "the certificate is not valid at this time")
        return self._clients[min(found)]

    def _comes_by_proxy(self, request: web.BaseRequest) -> bool:
        transport = request.transport
        return bool(self._field) and transport is not None and transport.get_extra_info("peername") in self._believed

    def _forwarded(self, request: web.BaseRequest) -> Certified | None:
        values = request.headers.getall(self._field, [])
        if len(values) > 1:
            # Which of them the proxy wrote, and which the client, nobody can tell.
            raise Problem(errors.CERTIFICATE_UNREADABLE, "the header came more than once")
        try:
            return self._read(values[0]) if values else None
        except Unreadable as error:
            raise Problem(errors.CERTIFICATE_UNREADABLE, str(error)) from error


def _of_connection(request: web.BaseRequest) -> Certified | None:
    """What the certificate of the TLS connection says; it was checked in the handshake."""
    transport = request.transport
    given: Mapping[str, Any] | None = transport.get_extra_info("peercert") if transport is not None else None
    if not given:
        return None
    names = frozenset(
        f"DNS:{text.lower()}" if kind == "DNS" else f"URI:{text}"
        for kind, text in given.get("subjectAltName", ())
        if kind in ("DNS", "URI")
    )
    # A connection may live longer than the certificate that it began with.
    return Certified(names, ends=datetime.fromtimestamp(ssl.cert_time_to_seconds(given["notAfter"]), UTC))
