"""What happens to a request before anything is looked up for it: who asks, how often, from which page.

The door knows requests and answers with an `Identity` or a `Problem`. Clients are counted by what they proved, else by the
address at the other end of the connection; what a header says about addresses or hosts has no effect on anything. Callers who
fail to prove who they are count as well, so that guessing is not free.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway import errors
from gateway.asking import ASKING
from gateway.errors import Problem
from gateway.protocol.interactions import Interaction
from gateway.security import ANONYMOUS, Identity
from gateway.security.authentication import Authentication
from gateway.security.cors import Cors
from gateway.security.peers import peer_of
from gateway.security.rates import Enumeration, Rates


class Door:
    """Lets requests in."""

    def __init__(
        self,
        *,
        authentication: Authentication | None = None,
        rates: Rates | None = None,
        enumeration: Enumeration | None = None,
        cors: Cors | None = None,
        standing: Mapping[str, str] | None = None,
        log: Any = None,
    ) -> None:
        """`standing` are headers of every answer. Without `authentication` everybody is `ANONYMOUS`."""
        self._authentication = authentication
        self._rates = rates or Rates(None, 1, time.monotonic)
        self._enumeration = enumeration or Enumeration(None, 1.0, time.monotonic)
        self._cors = cors or Cors()
        self.standing: Mapping[str, str] = standing or {}
        self.log = log

    def headers(self, request: web.BaseRequest) -> Mapping[str, str]:
        """What every answer to this request says."""
        of_page = self._cors.headers(request.headers)
        return {**self.standing, **of_page} if of_page else self.standing

    def preflight(self, request: web.BaseRequest) -> dict[str, str] | None:
        """The headers of the answer when this is a preflight that is allowed, before anybody is asked who they are."""
        return self._cors.preflight(request.method, request.headers)

    async def admit(self, request: web.BaseRequest, interaction: Interaction) -> Identity:
        """Who asks. Raises `Problem`: nobody that is let in, or one that asks too often."""
        try:
            authentication = self._authentication
            identity = ANONYMOUS if authentication is None else await authentication.identify(request, interaction)
        except Problem:
            self._count(_address(request))
            raise
        client = _client(request, identity)
        self._count(client)
        # Who waits with many requests waits for itself.
        ASKING.set(client)
        return identity

    def unknown(self, request: web.BaseRequest, identity: Identity, request_id: str) -> None:
        """Note that an id led this client to no document."""
        client = _client(request, identity)
        if self._enumeration.alarming(client) and self.log is not None:
            # A token that names no program is a person's, whom the audit trail alone names.
            shown = "" if identity.method == "jwt" and client == identity.subject else client
            event = "one client asks for many ids that do not exist"
            self.log.warning(event, client=shown, request_id=request_id)

    def _count(self, client: str) -> None:
        wait = self._rates.wait(client)
        if wait:
            raise Problem(errors.TOO_MANY_REQUESTS, headers={"Retry-After": str(wait)})


def _client(request: web.BaseRequest, identity: Identity) -> str:
    return _address(request) if identity.method == "none" else identity.client


def _address(request: web.BaseRequest) -> str:
    transport = request.transport
    return peer_of(transport.get_extra_info("peername") if transport is not None else None)
