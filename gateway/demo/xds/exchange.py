"""The record of one request and its answer, for tests and for the page of requests.

Rules of this module: facts only. Requests are kept byte for byte; of answers, how much went out and how it ended.
"""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field
from typing import Any

from gateway.demo.xds.asking import Asked
from gateway.demo.xds.request import Request
from gateway.demo.xds.retrieval import DocumentRequest


class Ending(enum.Enum):
    """How an exchange ended."""

    OPEN = "open"
    WHOLE = "whole"
    """Everything was handed to the kernel."""
    BROKEN = "broken"
    """A fault of the personality ended it."""
    LEFT = "left"
    """The client went away first."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One request. `connection` numbers the TCP connection, from 1; times are `time.monotonic` of this machine."""

    number: int
    connection: int
    request: Request
    endpoint: str | None
    personality: str
    client: dict[str, Any] | None = None
    """The client's certificate as `ssl.SSLSocket.getpeercert` gives it; None without TLS or certificate."""
    asked: Asked | None = None
    """The SOAP request, as far as it is one."""
    documents: tuple[DocumentRequest, ...] = ()
    status: int | None = None
    sent: int = 0
    """Bytes of the body without its framing, as they were compressed if they were."""
    payload: int = 0
    """Bytes of documents that went out, in whatever encoding they have on the wire."""
    first_payload: float | None = None
    ending: Ending = Ending.OPEN
    _done: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, ending: Ending) -> None:
        """Say how it ended; the first word counts."""
        if self.ending is Ending.OPEN:
            self.ending = ending
            self._done.set()

    async def ended(self) -> Ending:
        """Wait until the exchange is over."""
        await self._done.wait()
        return self.ending

    def facts(self) -> dict[str, Any]:
        """The record as JSON knows it."""
        return {
            "number": self.number,
            "connection": self.connection,
            "method": self.request.method,
            "target": self.request.target,
            "fields": list(map(list, self.request.fields)),
            "body": self.request.body.decode("utf-8", "replace"),
            "endpoint": self.endpoint,
            "personality": self.personality,
            "encoding": self.asked.encoding if self.asked else None,
            "documents": [[one.home, one.repository, one.document] for one in self.documents],
            "status": self.status,
            "sent": self.sent,
            "payload": self.payload,
            "first_payload": self.first_payload,
            "ending": self.ending.value,
        }
