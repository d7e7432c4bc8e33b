"""Wrong about errors and the event loop (C9, C10, C12).

Rules of this module: one mistake per class, see `tests.meta.wrong`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from pydantic import Field

from adapters.contract import Content, Span
from adapters.errors import (
    Corrupt,
    NotFound,
    TimedOut,
    Unavailable,
    translate,
)
from tests.meta.shelf import (
    FOREIGN,
    PASSWORD,
    Handle,
    ShelfOptions,
)
from tests.meta.wrong.base import Wrong


class SocketErrorEscapes(Wrong):
    caught_by = "C9.1"

    def attach(self, locator: str) -> Handle:
        self.shelf.ask()
        return super().attach(locator)


class AwayIsNotFound(Wrong):
    caught_by = "C9.2"

    def attach(self, locator: str) -> Handle:
        with translate({OSError: NotFound}, doing="open the document"):
            return self.shelf.open(locator)


class EofErrorEscapes(Wrong):
    caught_by = "C9.3"

    async def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in super().pieces(handle, carried):
                yield piece
        except Corrupt:
            raise EOFError("unexpected end") from None


class RuntimeErrorOnAChange(Wrong):
    caught_by = "C9.6"

    async def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[bytes, None]:
        async for piece in super().pieces(handle, carried):
            yield piece
            if self.shelf.documents.get(handle.locator, handle.document) is not handle.document:
                raise RuntimeError("the document was replaced")


class BlamesTheArchiveForTheReader(Wrong):
    caught_by = "C9.4"

    @asynccontextmanager
    async def around(self, locator: str, content: Content) -> AsyncIterator[Content]:
        with translate(FOREIGN, doing="read the document"):
            yield content


class SwallowsErrorsOfTheReader(Wrong):
    caught_by = "C9.4"

    @asynccontextmanager
    async def around(self, locator: str, content: Content) -> AsyncIterator[Content]:
        try:
            yield content
        except KeyError:
            return


class TakesCancellationForATimeout(Wrong):
    caught_by = "C9.5"

    @asynccontextmanager
    async def around(self, locator: str, content: Content) -> AsyncIterator[Content]:
        try:
            yield content
        except asyncio.CancelledError:
            raise TimedOut("the archive took too long") from None


class SwallowsCancellation(Wrong):
    caught_by = "C9.5"

    @asynccontextmanager
    async def around(self, locator: str, content: Content) -> AsyncIterator[Content]:
        try:
            yield content
        except asyncio.CancelledError:
            return


class BlocksTheLoop(Wrong):
    caught_by = "C10.1"

    @asynccontextmanager
    async def around(self, locator: str, content: Content) -> AsyncIterator[Content]:
        if (content.descriptor.size or 0) >= 1 << 21:
            time.sleep(0.1)  # noqa: ASYNC251
        yield content


class UsesTheDefaultPool(Wrong):
    caught_by = "C10.2"

    @asynccontextmanager
    async def around(self, locator: str, content: Content) -> AsyncIterator[Content]:
        await asyncio.to_thread(os.getpid)
        yield content


class LocatorInTheMessage(Wrong):
    caught_by = "C12.1"

    def attach(self, locator: str) -> Handle:
        try:
            return super().attach(locator)
        except NotFound:
            raise NotFound(f"no such document: /srv/archive/{locator}") from None


class LocatorInTheLog(Wrong):
    caught_by = "C12.2"

    def attach(self, locator: str) -> Handle:
        self.services.log.info("opening", key=locator)
        return super().attach(locator)


class LocatorInTheRepr(Wrong):
    caught_by = "C12.2"
    last = ""

    def attach(self, locator: str) -> Handle:
        self.last = locator
        return super().attach(locator)

    def __repr__(self) -> str:
        return f"<shelf, last read {self.last}>"


class SecretInTheMessage(Wrong):
    caught_by = "C12.3"

    async def probe(self) -> None:
        try:
            await super().probe()
        except Unavailable:
            raise Unavailable(f"no log-in as svc:{self.options.password.get_secret_value()}") from None


class PinOptions(ShelfOptions):
    pin: str = Field(default=PASSWORD, description="A secret whose name does not say so.")


class SecretInTheRepr(Wrong):
    caught_by = "C12.3"
    Options = PinOptions
