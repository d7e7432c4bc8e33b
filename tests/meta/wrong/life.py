"""Wrong about life, options and files (L, O, F).

Rules of this module: one mistake per class, see `tests.meta.wrong`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from adapters.contract import Capabilities, Content, Services
from adapters.errors import (
    Unavailable,
)
from tests.meta.shelf import (
    CAPABILITIES,
    PASSWORD,
    Document,
    FolderAdapter,
    Handle,
    OpenFile,
    ShelfOptions,
)
from tests.meta.wrong.base import Wrong


class ConnectsInTheConstructor(Wrong):
    caught_by = "L.1"

    def __init__(self, name: str, options: Any, services: Services) -> None:
        super().__init__(name, options, services)
        os.close(os.open(os.devnull, os.O_RDONLY))


class ExitsOnce(Wrong):
    caught_by = "L.2"
    exited = False

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.exited:
            raise RuntimeError("the pool is closed")
        self.exited = True


class ExitNeedsAWholeEnter(Wrong):
    caught_by = "L.3"
    pool: list[Any]

    async def __aenter__(self) -> Self:
        await asyncio.sleep(0)
        self.pool = []
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pool.clear()


class ChangesItsCapabilities(Wrong):
    caught_by = "L.4"
    reads = 0

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES if self.reads == 0 else replace(CAPABILITIES, cheap_stat=False)

    @asynccontextmanager
    async def around(self, locator: str, content: Content) -> AsyncIterator[Content]:
        self.reads += 1
        yield content


class ProbeTouchesDocuments(Wrong):
    caught_by = "L.5"

    async def probe(self) -> None:
        await super().probe()
        for document in self.shelf.documents.values():
            document.modified += timedelta(seconds=1)


class ProbeNeedsADocument(Wrong):
    caught_by = "L.5"

    async def probe(self) -> None:
        await super().probe()
        if not self.shelf.documents:
            raise Unavailable("the archive is empty")


class ProbeLeaks(Wrong):
    caught_by = "L.6"

    async def probe(self) -> None:
        await super().probe()
        self.shelf.handles.append(Handle(self.shelf, "", Document(b"", None)))


class ProbeAlwaysPasses(Wrong):
    caught_by = "L.7"

    async def probe(self) -> None:
        return None


class OffersAFileUnasked(Wrong):
    caught_by = "L.8"

    @asynccontextmanager
    async def around(self, locator: str, content: Content) -> AsyncIterator[Content]:
        file: Any = object()
        yield replace(content, file=file)


class LenientOptions(ShelfOptions):
    model_config = ConfigDict(extra="ignore")


class IgnoresUnknownOptions(Wrong):
    caught_by = "O.1"
    Options = LenientOptions


class MutableOptions(ShelfOptions):
    model_config = ConfigDict(frozen=False)


class OptionsThatChange(Wrong):
    caught_by = "O.2"
    Options = MutableOptions


class MuteOptions(ShelfOptions):
    port: int = 445


class UndescribedOptions(Wrong):
    caught_by = "O.3"
    Options = MuteOptions


class OpenOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    shelf: Any = Field(repr=False, description="The archive.")
    password: str = Field(default=PASSWORD, description="What the archive asks for.")


class PasswordIsPlainText(Wrong):
    caught_by = "O.4"
    secrets = ()
    Options = OpenOptions


class ShortReadNow(OpenFile):
    def read_now(self, offset: int, length: int) -> bytes | None:
        data = super().read_now(offset, length)
        return data and data[:65_536]


class FileWithShortReadNow(FolderAdapter):
    caught_by = "F.1"
    file = ShortReadNow


class OptimisticReadInto(OpenFile):
    def read_into(self, view: memoryview, offset: int) -> bool:
        os.preadv(self.fd, [view], offset)
        return True


class FileThatSaysItFilledMore(FolderAdapter):
    caught_by = "F.3"
    file = OptimisticReadInto


class RelativeOffsets(OpenFile):
    async def read(self, offset: int, length: int) -> bytes:
        return await super().read(offset + (self.span.start if self.span else 0), length)


class FileRelativeToTheSpan(FolderAdapter):
    caught_by = "F.2"
    file = RelativeOffsets


class ShortRead(OpenFile):
    async def read(self, offset: int, length: int) -> bytes:
        return os.pread(self.fd, length, offset)


class FileThatEndsQuietly(FolderAdapter):
    caught_by = "F.3"
    file = ShortRead


class Unchecked(OpenFile):
    def check(self) -> None:
        return None


class FileThatNoticesNothing(FolderAdapter):
    caught_by = "F.4"
    file = Unchecked
