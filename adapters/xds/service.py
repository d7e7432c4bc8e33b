"""One SOAP service over HTTP: a request goes out, and its answer comes in as it arrives.

Rules of this module: the only one that holds a session of aiohttp; nothing of XDS. No redirects, cookies, proxies of the
environment, nor decompression that was not bounded. Each wait has its own deadline, and a transfer that goes on has none.
Leaving the context of a call that is not at its end closes the connection, so that a service stops working for a reader who
left. A request goes out a second time only when nothing of an answer came to the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import TracebackType

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from adapters.contract import Services
from adapters.errors import AdapterError, Busy, Corrupt, TimedOut, Unavailable
from adapters.xds import inflate
from adapters.xds.assertion import Assertions
from adapters.xds.body import Rest, Room, rest
from adapters.xds.certificates import Certificates
from adapters.xds.failures import broken_off, refused_by_status, unreached
from adapters.xds.request import Packing, message, new_message_id
from adapters.xds.resolver import ExecutorResolver
from adapters.xds.service_options import Service

KEEP_ALIVE = 15.0
"""Seconds that an idle connection is kept: less than services and firewalls commonly do."""

CONNECTING = 0.8
"""The part of the gateway's own deadline that a connection may use up."""

LONGEST_RETRY_AFTER = 3600.0

SURPLUS_SECONDS = 0.02
"""How long bytes behind an answer are waited for, where its stated length alone says that it is whole."""

_ACCEPT = "multipart/related, application/xop+xml, application/soap+xml, text/xml"


class SoapService:
    """A service at one address. Used between `enter` and `aclose`."""

    def __init__(
        self,
        options: Service,
        services: Services,
        *,
        packing: Packing,
        assertions: Assertions | None = None,
        place: str,
        room: Room | None = None,
    ) -> None:
        self._options = options
        self._url = URL(options.url, encoded=True)
        self._packing = packing
        self._assertions = assertions
        self._services = services
        self._certificates = Certificates(options.tls, services, place=f"{place}.tls") if self.secure else None
        self._permits = asyncio.Semaphore(options.max_connections)
        self._room = room or Room()
        self._session: aiohttp.ClientSession | None = None

    @property
    def secure(self) -> bool:
        return self._url.scheme == "https"

    @property
    def presenting(self) -> bool:
        """Whether the gateway has a client certificate for this service."""
        return self._options.tls.certificate is not None

    @property
    def _connect(self) -> float:
        """Seconds that a connection may take: short enough for its failure to be told before the gateway gives up."""
        connect, whole = self._options.timeouts.connect, self._services.open_timeout
        return connect if whole is None else min(connect, CONNECTING * whole)

    async def enter(self) -> None:
        """Get ready; nothing is sent. Raises `OptionError` for certificates that cannot be used."""
        if self._certificates is not None:
            await self._certificates.load()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, resolver=ExecutorResolver(self._services), keepalive_timeout=KEEP_ALIVE
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._connect, sock_connect=self._connect),
            headers={"Accept": _ACCEPT, "Accept-Encoding": "identity", "User-Agent": "fhir-document-gateway"},
        )

    async def aclose(self) -> None:
        """Close every connection. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def call(self, action: str, body: bytes, *, packing: Packing | None = None) -> Call:
        """The answer to the operation `action`, as a context. Entering waits for its first bytes. `packing` is for this
        request alone.

        Raises on entering: `Busy`, `CredentialsRejected`, `TimedOut`, `Unavailable`, `Corrupt` for an answer without a byte.
        """
        return Call(self, action, body, packing or self._packing)

    async def _permit(self) -> None:
        try:
            async with asyncio.timeout(self._options.timeouts.connect):
                await self._permits.acquire()
        except TimeoutError:
            raise Busy("`max_connections` requests are under way at this service", retry_after=2.0) from None

    async def _answer(self, action: str, body: bytes, packing: Packing) -> Answer:
        """The first bytes of an answer. A kept connection may have been closed by the service, so one that brings nothing at
        all is followed by a fresh one."""
        try:
            return await self._asked(action, body, packing)
        except _Unanswered:
            pass
        try:
            return await self._asked(action, body, packing)
        except _Unanswered as error:
            error.meaning.exhausted = True
            raise error.meaning from error.__cause__
        except AdapterError as error:
            error.exhausted = True
            raise

    async def _asked(self, action: str, body: bytes, packing: Packing) -> Answer:
        assertion = None if self._assertions is None else await self._assertions.current()
        context = None if self._certificates is None else await self._certificates.current()
        session, options = self._session, self._options
        if session is None:
            raise Unavailable("this source is closed")
        to = options.wsa_to or options.url
        sent = message(packing, action=action, to=to, body=body, id=new_message_id(), assertion=assertion)
        headers = {"Content-Type": sent.content_type}
        if sent.soap_action is not None:
            headers["SOAPAction"] = sent.soap_action
        parent = self._services.traceparent()
        if parent is not None:
            headers["traceparent"] = parent
        response: aiohttp.ClientResponse | None = None
        connection = None
        try:
            async with asyncio.timeout(options.timeouts.connect + options.timeouts.first_byte):
                response = await session.post(
                    self._url,
                    data=sent.body,
                    headers=headers,
                    allow_redirects=False,
                    ssl=True if context is None else context,
                    server_hostname=None if context is None else options.tls.server_hostname,
                )
                connection = response.connection and response.connection.protocol
                first = await response.content.readany()
            if not first and response.status == 200:
                empty = Corrupt("the service answered with nothing, not even an envelope")
                raise _Unanswered(empty)
            between = options.timeouts.between_bytes
            return Answer(
                response, connection, first, room=self._room, between_bytes=between, presenting=self.presenting
            )
        except BaseException as error:
            if response is not None:
                response.close()
            meant = self._meaning(error, answered=response is not None)
            if meant is error:
                raise
            raise meant from error

    def _meaning(self, error: BaseException, *, answered: bool) -> BaseException:
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
            perhaps = "" if self.secure else ", or expects https"
            return TimedOut(
                f"no answer within `timeouts.first_byte`: the service is slow, or lets requests wait{perhaps}"
            )
        if not isinstance(error, Exception) or isinstance(error, AdapterError | _Unanswered):
            return error
        if answered:
            return broken_off(error)
        meant = unreached(error, secure=self.secure, presenting=self.presenting)
        lost = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
        if lost and not isinstance(error, aiohttp.ClientConnectorError) and type(meant) is Unavailable:
            return _Unanswered(meant)
        return meant


class _Unanswered(Exception):
    """Nothing of an answer came, and a fresh connection may bring one. `meaning` is what to raise when it does not."""

    def __init__(self, meaning: AdapterError) -> None:
        super().__init__()
        self.meaning = meaning


class Call:
    """The context of one call."""

    __slots__ = ("_action", "_answer", "_body", "_packing", "_service")

    def __init__(self, service: SoapService, action: str, body: bytes, packing: Packing) -> None:
        self._service = service
        self._action = action
        self._body = body
        self._packing = packing
        self._answer: Answer | None = None

    async def __aenter__(self) -> Answer:
        await self._service._permit()
        try:
            self._answer = await self._service._answer(self._action, self._body, self._packing)
        except BaseException:
            self._service._permits.release()
            raise
        return self._answer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._answer is not None
        self._answer.close()
        self._service._permits.release()


_TOO_LONG = "the answer goes on behind the length that it states"


class Answer:
    """An HTTP answer whose first bytes are there. `content_type` is the header field, as it stands there."""

    __slots__ = (
        "_between", "_body", "_connection", "_first", "_pieces", "_presenting", "_response", "_rest", "_room",
        "content_type", "status",
    )  # fmt: skip

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        connection: ResponseHandler | None,
        first: bytes,
        *,
        room: Room,
        between_bytes: float,
        presenting: bool,
    ) -> None:
        self._response = response
        self._connection = connection
        self._first = first
        self._room = room
        self._rest: Rest | None = None
        self._between = between_bytes
        self._presenting = presenting
        self._body = inflate.body(response.headers.get("Content-Encoding"))
        self._pieces: Iterator[bytes] = self._body.feed(first)
        self.status = response.status
        self.content_type = response.headers.get("Content-Type")

    @property
    def framed(self) -> bool:
        """Whether HTTP itself says where the body ends; else a lost connection looks like its end."""
        headers = self._response.headers
        return "Content-Length" in headers or "chunked" in headers.get("Transfer-Encoding", "").lower()

    @property
    def sized(self) -> bool:
        """Whether the service said beforehand how long the body is. One that breaks off behind a proxy may be `framed`: the
        proxy ends its own chunks in good order."""
        headers = self._response.headers
        return "Content-Length" in headers and "Transfer-Encoding" not in headers

    @property
    def length(self) -> int | None:
        """What the service said that the body is long, in bytes as they travel; None when it did not say."""
        return self._response.content_length if self.sized else None

    @property
    def refusal(self) -> AdapterError | None:
        """What the HTTP status says where the body says nothing."""
        retry_after = _seconds(self._response.headers.get("Retry-After"))
        return refused_by_status(self.status, self._first[:4096], retry_after=retry_after, presenting=self._presenting)

    async def read(self) -> bytes:
        """The next bytes of the body, b"" at its end. Raises `TimedOut`, `Unavailable`, `Corrupt`."""
        while True:
            for piece in self._pieces:
                return piece
            data = await self._received(self._between)
            if not data:
                self._body.end()
                return b""
            self._pieces = self._body.feed(data)

    async def settle(self) -> None:
        """Raise `Unavailable` when more comes than the stated length, at the end of an answer that nothing else says is whole.

        A service that counts characters in place of bytes states too small a length; what was read then lacks its end.
        """
        if self._rest is not None:
            if not self._rest.surplus:
                await asyncio.sleep(SURPLUS_SECONDS)
            if self._rest.surplus:
                raise Unavailable(_TOO_LONG)
            return
        if self._connection is None or "Content-Length" not in self._response.headers:
            return
        if self._connection.exception() is None:
            await asyncio.sleep(SURPLUS_SECONDS)
        if isinstance(self._connection.exception(), HttpProcessingError):
            raise Unavailable(_TOO_LONG)

    def close(self) -> None:
        """Let go of the connection: closed, unless the body was read to its end and the session has it back."""
        if self._rest is not None:
            self._rest.give_back()
        self._response.close()

    async def _received(self, seconds: float) -> bytes:
        content = self._response.content
        try:
            if self._rest is None:
                if data := content.read_nowait():
                    return data
                self._rest = rest(self._response, self._room)
            if self._rest is not None:
                return await self._rest.read(seconds)
            async with asyncio.timeout(seconds):
                return await content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise broken_off(error) from error


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds; its other form, a date, is not worth the clocks it compares (RFC 9110 10.2.3)."""
    text = (retry_after or "").strip()
    return min(float(text), LONGEST_RETRY_AFTER) if text.isascii() and text.isdigit() and len(text) < 10 else None
