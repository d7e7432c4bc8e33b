"""Who is at the other end of a connection: the one fact about a request that nobody can claim.

Pure: addresses in, words out. No header is looked at here; `Forwarded` and `X-Forwarded-For` name nobody.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

UNIX = "unix"
"""What whoever comes by a Unix socket is called."""

_V6_SITE = 64
"""Bits of an IPv6 address that stand for one site: whoever has one /64 has every address in it."""


def peer_of(address: object) -> str:
    """The one at the other end, as `unix`, an IPv4 address or an IPv6 /64 network. `address` is a socket's peer name."""
    text = _address(address)
    if text is None:
        return UNIX
    parsed = _parsed(text)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed) >> _V6_SITE << _V6_SITE, _V6_SITE)))
    return str(parsed)


class TrustedPeers:
    """Those whose headers are believed."""

    def __init__(self, peers: Iterable[str]) -> None:
        """`peers` are addresses, networks and the word `unix`. Raises `ValueError`."""
        named = set(peers)
        self._unix = UNIX in named
        self._networks = tuple(ipaddress.ip_network(peer) for peer in sorted(named - {UNIX}))

    def __contains__(self, address: object) -> bool:
        """Whether the peer of this socket name is one of them."""
        text = _address(address)
        if text is None:
            return self._unix
        parsed = _parsed(text)
        return any(parsed in network for network in self._networks)


def _address(name: object) -> str | None:
    """The address in a socket's peer name; None for a Unix socket, whose name is text or bytes, mostly empty."""
    return str(name[0]) if isinstance(name, tuple) else None


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    parsed = ipaddress.ip_address(text.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
