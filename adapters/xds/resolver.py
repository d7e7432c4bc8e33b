"""Host names to addresses, on the source's own threads.

Rules of this module: nothing but the look-up. aiohttp by itself asks on the loop's default pool, where a name server that does
not answer would stop name resolution for the whole process (C10).
"""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from adapters.contract import Services


class ExecutorResolver(AbstractResolver):
    """getaddrinfo on `Services.executor`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`. Raises `OSError`, which aiohttp makes its own error of."""
        return await self._services.call(_look_up, host, port, family)

    async def close(self) -> None:
        """Nothing is held."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except UnicodeError as error:  # a label that is empty or too long
        raise OSError("this cannot be the name of a host") from error
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=port,
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, address in found
    ]
