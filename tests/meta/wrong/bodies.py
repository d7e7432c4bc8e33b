"""Wrong about the bytes, and about giving back (C6 to C8, C11).

Rules of this module: one mistake per class, see `tests.meta.wrong`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, ClassVar

from adapters.contract import Caller, Content, Span
from adapters.errors import (
    AdapterError,
    Busy,
    Corrupt,
    Unavailable,
    translate,
)
from tests.meta.shelf import (
    FOREIGN,
    Handle,
)
from tests.meta.wrong.base import Wrong


class LosesTheLastFullPiece(Wrong):
    caught_by = "C6.1"

    async def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[bytes, None]:
        stop = carried.stop or 0
        if carried.start == 0 and stop and stop % 65_536 == 0:
            carried = Span(0, stop - 65_536)
        async for piece in super().pieces(handle, carried):
            yield piece


class EmptyChunks(Wrong):
    caught_by = "C6.2"

    async def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[bytes, None]:
        async for piece in super().pieces(handle, carried):
            yield piece
            yield b""


class EverythingInOneChunk(Wrong):
    caught_by = "C6.2"

    async def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[bytes, None]:
        if whole := [piece async for piece in super().pieces(handle, carried)]:
            yield b"".join(whole)


class ChunksOfAnotherType(Wrong):
    caught_by = "C6.2"

    async def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[Any, None]:
        async for piece in super().pieces(handle, carried):
            yield bytearray(piece)


class EndsQuietly(Wrong):
    """Takes the end that the archive reports for the end of the document."""

    caught_by = "C6.3"

    async def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in super().pieces(handle, carried):
                yield piece
        except Corrupt:
            return


class ReadsWhatIsThereNow(Wrong):
    """Opens anew for each piece, by name."""

    caught_by = "C6.4"

    async def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[bytes, None]:
        async for piece in super().pieces(handle, carried):
            yield piece
            if handle.locator in self.shelf.documents:
                handle.document = self.shelf.documents[handle.locator]


class ReadsAgain(Wrong):
    """Continues on a second handle when the first one breaks off."""

    caught_by = "C11.1"

    async def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[bytes, None]:
        start = carried.start
        try:
            async for piece in super().pieces(handle, carried):
                start += len(piece)
                yield piece
        except Corrupt:
            again = self.attach(handle.locator)
            try:
                async for piece in super().pieces(again, Span(start, carried.stop)):
                    yield piece
            finally:
                again.close()


class CarelessClose(Wrong):
    """Decides by how a read ended whether to close the handle."""

    def careful(self, error: BaseException | None, exhausted: bool) -> bool:
        raise NotImplementedError

    @asynccontextmanager
    async def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None, caller: Caller | None = None
    ) -> AsyncIterator[Content]:
        self.refuse(locator)
        handle = self.attach(locator)
        ended: BaseException | None = None
        entered = False
        size = len(handle.document.data)
        try:
            self.judge_version(self.facts(handle), version)
            carried = self.carried(span, size)
            async with aclosing(self.pieces(handle, carried)) as pieces:
                entered = True
                yield Content(self.facts(handle), carried, pieces)
        except BaseException as error:
            ended = error
            raise
        finally:
            if self.careful(ended, handle.given == size) if entered else self.careful_when_refusing():
                handle.close()

    def careful_when_refusing(self) -> bool:
        return True


class ClosesOnlyWhatFailed(CarelessClose):
    caught_by = "C7.1"

    def careful(self, error: BaseException | None, exhausted: bool) -> bool:
        return not exhausted or error is not None


class LeaksWhenAbandoned(CarelessClose):
    caught_by = "C7.2"

    def careful(self, error: BaseException | None, exhausted: bool) -> bool:
        return exhausted or error is not None


class LeaksWhenTheReaderFails(CarelessClose):
    caught_by = "C7.3"

    def careful(self, error: BaseException | None, exhausted: bool) -> bool:
        return not isinstance(error, Exception)


class LeaksWhenCancelled(CarelessClose):
    caught_by = "C7.4"

    def careful(self, error: BaseException | None, exhausted: bool) -> bool:
        return not isinstance(error, asyncio.CancelledError)


class LeaksWhenRefusing(CarelessClose):
    caught_by = "C7.5"

    def careful(self, error: BaseException | None, exhausted: bool) -> bool:
        return True

    def careful_when_refusing(self) -> bool:
        return False


class LeavesATask(Wrong):
    caught_by = "C7.6"

    @asynccontextmanager
    async def around(self, locator: str, content: Content) -> AsyncIterator[Content]:
        self.keep = asyncio.create_task(asyncio.sleep(3600), name="left by a wrong adapter")
        yield content


class LeavesAThread(Wrong):
    caught_by = "C7.7"

    @asynccontextmanager
    async def around(self, locator: str, content: Content) -> AsyncIterator[Content]:
        threading.Thread(target=self.shelf.over.wait, name="left", daemon=True).start()
        yield content


class LeavesADescriptor(Wrong):
    caught_by = "C7.8"
    left: ClassVar[list[int]] = []

    @asynccontextmanager
    async def around(self, locator: str, content: Content) -> AsyncIterator[Content]:
        self.left.append(os.open(os.devnull, os.O_RDONLY))
        yield content


class LeavesItToTheCollector(Wrong):
    caught_by = "C7.9"

    @asynccontextmanager
    async def around(self, locator: str, content: Content) -> AsyncIterator[Content]:
        open(os.devnull)  # noqa: SIM115, ASYNC230
        yield content


class ReusesAHalfReadConnection(Wrong):
    caught_by = "C7.10"
    rest: bytes = b""

    async def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[bytes, None]:
        if self.rest:
            yield self.rest
            self.rest = b""
        async for piece in super().pieces(handle, carried):
            try:
                yield piece
            except GeneratorExit:
                self.rest = handle.read(handle.given, 100)
                raise


class KeepsABrokenConnection(Wrong):
    caught_by = "C7.11"
    broken = False

    def attach(self, locator: str) -> Handle:
        if self.broken:
            raise Unavailable("the connection was lost")
        return super().attach(locator)

    async def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in super().pieces(handle, carried):
                yield piece
        except AdapterError:
            self.broken = True
            raise


class SixteenAtMost(Wrong):
    """Has a limit of its own and declares none."""

    caught_by = "C8.1"

    def attach(self, locator: str) -> Handle:
        if len(self.shelf.handles) >= 16:
            raise Busy("no connection free")
        return super().attach(locator)


class SharesHandles(Wrong):
    caught_by = "C8.2"

    def attach(self, locator: str) -> Handle:
        with translate(FOREIGN, doing="ask the archive"):
            self.shelf.ask()
        return next((one for one in self.shelf.handles if one.locator == locator), None) or super().attach(locator)
