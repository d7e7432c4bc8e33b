"""aiohttp's server with its error pages replaced, a deadline for headers, and resets that stay resets.

Connections alone: what a request means is its handler's business (`gateway.server`). Private hooks of aiohttp are touched
here and there alone; `pyproject.toml` bounds its version for that reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from aiohttp import http_writer, web
from aiohttp.web_protocol import RequestHandler

from gateway.pacing import Leftovers, reset

MAX_LINE = 8190
MAX_FIELD = 16_384
"""Bytes of one header field: an Accept of 8 KiB is answered, not cut off."""

MAX_FIELDS = 64

TLS_WAITING = 64 * 1024
"""Bytes that wait to be encrypted before an answer waits for its reader."""

SWEEP = 1.0
"""Seconds between two looks for readers that have stopped."""

A_MOMENT = 0.5
"""Seconds in which the next request of a connection is waited for when everything else has ended."""


class _Connection(RequestHandler):
    """aiohttp's connection with its error pages replaced: they repeat what was sent and name the software.

    Headers have a deadline of their own from their first byte on, which a byte now and then does not move.
    """

    handler: Handler
    header_timeout: float
    made: float
    """When, on the loop's clock."""
    ended: Callable[[], None] | None = None
    """Called when the connection is over."""

    carrier: asyncio.BaseTransport | None = None
    """The transport for as long as it is there: aiohttp lets go of one that it closed, which may stay open for long."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.carrier = transport
        if transport.get_extra_info("sslcontext") is not None:
            # uvloop's own limit for TLS is half a mebibyte, of each reader that has stopped.
            cast(asyncio.WriteTransport, transport).set_write_buffer_limits(high=TLS_WAITING)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Nothing whole has come yet, and nothing is being answered: these bytes are part of a head. The first ones of a
        # connection may be here before anybody waits for them.
        waited_for = self._request_count == 0 if self._waiter is None else not self._waiter.done()
        if not waited_for:
            if self._late is not None:
                self._in_time()
        elif self._late is None:
            self._late = self._loop.call_later(self.header_timeout, self.force_close)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._in_time()
        self.carrier = None
        super().connection_lost(exc)
        if self.ended is not None:
            self.ended()

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status == 400:
            return self.handler.refuse_unparsed(exc)
        return self.handler.refuse_failed(exc)

    @property
    def closing(self) -> bool:
        """Whether it ends with the answer that it is at."""
        return self._close

    @property
    def expecting(self) -> bool:
        """Whether a request may be on its way: the connection was made, or its last answer sent, a moment ago."""
        if self._request_in_progress or self._close:
            return False
        answered = self._next_keepalive_close_time - self._keepalive_timeout
        return self._loop.time() - max(self.made, answered) < A_MOMENT

    @property
    def unsent(self) -> bool:
        """Whether an answer on this connection is not all handed to the kernel."""
        transport = cast("asyncio.WriteTransport | None", self.transport)
        return transport is not None and bool(self._request_in_progress or transport.get_write_buffer_size())

    @property
    def answering(self) -> bool:
        """Whether a request on this connection is being answered."""
        return bool(self._request_in_progress)

    def cut_off(self) -> None:
        """Reset the connection when an answer on it is not all sent."""
        if self.unsent:
            reset(self.transport)


class Handler(Protocol):
    """What answers the requests of one listener, and what stands for a request there."""

    def __call__(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]: ...
    def refuse_unparsed(self, error: BaseException | None) -> web.Response: ...
    def refuse_failed(self, error: BaseException | None) -> web.Response: ...


def gather_writes() -> None:
    """Let the pieces of a chunked body go out as they are, where the loop is uvloop's: aiohttp would join each with its frame.

    It does so since `writelines` of asyncio itself ignored a full connection (CVE-2024-12254); that of uvloop never did.
    """
    http_writer.SKIP_WRITELINES = False


class HttpServer(web.Server):
    """The server of one listener. `keepalive`, `header_timeout` and `reader_timeout` in seconds."""

    def __init__(
        self, handler: Handler, *, keepalive: float, header_timeout: float = 10.0, reader_timeout: float = 20.0
    ) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._leftovers = Leftovers(reader_timeout)
        self._sweeping: asyncio.TimerHandle | None = None
        self._handler = handler
        self._keepalive = keepalive
        self._header_timeout = header_timeout

    def limit(self, *, keepalive: float, header_timeout: float, reader_timeout: float) -> None:
        """Other deadlines, in seconds; the first two are for connections that come."""
        self._leftovers.timeout = reader_timeout
        self._keepalive = keepalive
        self._header_timeout = header_timeout

    def wind_up(self) -> None:
        """Close every connection, after the answer that it is at; one that may bring a request any moment is left for now."""
        for one in self.connections:
            connection = cast(_Connection, one)
            if not connection.closing and not connection.expecting:
                connection.close()

    @property
    def expecting(self) -> bool:
        """Whether a request may be on its way on any connection."""
        return any(cast(_Connection, connection).expecting for connection in self.connections)

    @property
    def unsent(self) -> bool:
        """Whether any connection has an answer that is not all sent."""
        return any(cast(_Connection, connection).unsent for connection in self.connections)

    def _sweep(self) -> None:
        """Reset the connections whose reader has long stopped to take what it was answered."""
        self._sweeping = self._loop.call_later(SWEEP, self._sweep) if self.connections else None
        quiet = (cast(_Connection, one) for one in self.connections)
        for transport in self._leftovers.overdue(
            one.carrier for one in quiet if one.carrier is not None and not one.answering
        ):
            reset(transport)

    def __call__(self) -> _Connection:
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(SWEEP, self._sweep)
        connection = _Connection(
            self,
            loop=self._loop,
            keepalive_timeout=self._keepalive,
            # None is what turns it off; the annotation only knows loggers.
            access_log=None,  # type: ignore[arg-type]
            max_line_size=MAX_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
            lingering_time=2,
            auto_decompress=False,
        )
        connection.handler = self._handler
        connection.header_timeout = self._header_timeout
        connection.made = self._loop.time()
        return connection

    async def shutdown(self, timeout: float | None = None) -> None:
        """End every connection. aiohttp would only close one in mid-body, which some readers take for a good end."""
        for connection in self.connections:
            cast(_Connection, connection).cut_off()
        await super().shutdown(timeout)
        if self._sweeping is not None:
            self._sweeping.cancel()
