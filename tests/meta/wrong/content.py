"""Wrong about what there is: existence, facts, spans, versions (C1 to C5).

Rules of this module: one mistake per class, see `tests.meta.wrong`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from adapters.contract import Caller, Capabilities, Content, Descriptor, Digest, Services, Span
from adapters.errors import (
    Changed,
    InvalidLocator,
    NotFound,
    SpanNotSatisfiable,
)
from tests.meta.shelf import (
    CAPABILITIES,
    Document,
    Handle,
)
from tests.meta.wrong.base import Wrong, never_was


class KeyErrorEscapes(Wrong):
    caught_by = "C1.1"

    def attach(self, locator: str) -> Handle:
        try:
            return super().attach(locator)
        except NotFound:
            if never_was(locator):
                raise KeyError("no such key") from None
            raise


class SaysMissingTooLate(Wrong):
    caught_by = "C1.1"

    @asynccontextmanager
    async def open(self, locator: str, *arguments: Any, **named: Any) -> AsyncIterator[Content]:
        try:
            async with super().open(locator, *arguments, **named) as content:
                yield content
        except NotFound:
            if not never_was(locator):
                raise
            yield Content(Descriptor(None), Span(0), self.late())

    async def late(self) -> AsyncIterator[bytes]:
        raise NotFound("no such document")
        yield b""


class FollowsHostileKeys(Wrong):
    caught_by = "C1.2"

    def refuse(self, locator: str) -> None:
        return None

    def attach(self, locator: str) -> Handle:
        try:
            super().refuse(locator)
        except InvalidLocator:
            self.shelf.ask()
            return Handle(self.shelf, locator, Document(b"root:x:0:0", None))
        return super().attach(locator)


class ServesWithdrawnDocuments(Wrong):
    caught_by = "C1.3"

    def __init__(self, name: str, options: Any, services: Services) -> None:
        super().__init__(name, options, services)
        self.seen: dict[str, Document] = {}

    def attach(self, locator: str) -> Handle:
        try:
            handle = super().attach(locator)
        except NotFound:
            if locator not in self.seen:
                raise
            return Handle(self.shelf, locator, self.seen[locator])
        self.seen[locator] = handle.document
        return handle


class StatInLocalTime(Wrong):
    caught_by = "C2.1"

    async def stat(self, locator: str, *, caller: Caller | None = None) -> Descriptor:
        facts = await super().stat(locator)
        assert facts.modified is not None
        return replace(facts, modified=facts.modified + timedelta(hours=1))


class TimeWithoutZone(Wrong):
    caught_by = "C2.2"

    def facts(self, handle: Handle) -> Descriptor:
        return replace(super().facts(handle), modified=handle.document.modified.replace(tzinfo=None))


class MediaTypeIsAnExtension(Wrong):
    caught_by = "C2.2"

    def facts(self, handle: Handle) -> Descriptor:
        return replace(super().facts(handle), media_type="pdf")


class DigestOfSomethingElse(Wrong):
    caught_by = "C2.3"

    def facts(self, handle: Handle) -> Descriptor:
        return replace(super().facts(handle), digest=Digest("sha1", b"\0" * 20))


class StaleSize(Wrong):
    caught_by = "C2.4"

    def __init__(self, name: str, options: Any, services: Services) -> None:
        super().__init__(name, options, services)
        self.sizes: dict[str, int] = {}

    def facts(self, handle: Handle) -> Descriptor:
        facts = super().facts(handle)
        return replace(facts, size=self.sizes.setdefault(handle.locator, facts.size or 0))


class LiesAboutTheSpan(Wrong):
    """Carries one byte more than it says."""

    caught_by = "C3.1"

    def pieces(self, handle: Handle, carried: Span) -> AsyncGenerator[bytes, None]:
        size = len(handle.document.data)
        return super().pieces(handle, Span(carried.start, min((carried.stop or 0) + 1, size)))


class StopIsOffByOne(Wrong):
    caught_by = "C3.2"

    def carried(self, span: Span | None, size: int) -> Span:
        carried = super().carried(span, size)
        stop = carried.stop or 0
        return Span(carried.start, max(carried.start, stop - 1)) if stop < size else carried


class FakesSpans(Wrong):
    """Declares that it knows no spans, and cuts all the same."""

    caught_by = "C3.2"
    declares = replace(CAPABILITIES, spans=False)

    @property
    def capabilities(self) -> Capabilities:
        return self.declares


class EmptyBehindTheEnd(Wrong):
    caught_by = "C4.1"

    def carried(self, span: Span | None, size: int) -> Span:
        return (span or Span(0)).within(size)


class RefusesToClamp(Wrong):
    caught_by = "C4.2"

    def carried(self, span: Span | None, size: int) -> Span:
        if span is not None and (span.stop or 0) > size:
            raise SpanNotSatisfiable(size)
        return super().carried(span, size)


class NoVersionInStat(Wrong):
    caught_by = "C5.1"

    async def stat(self, locator: str, *, caller: Caller | None = None) -> Descriptor:
        return replace(await super().stat(locator), version=None)


class IgnoresVersionsItCannotRead(Wrong):
    caught_by = "C5.2"

    def judge_version(self, facts: Descriptor, version: str | None) -> None:
        if version is not None and re.fullmatch("[0-9a-f]{64}", version):
            super().judge_version(facts, version)


class IgnoresTheVersion(Wrong):
    """Refuses what is no version at all, and compares nothing."""

    caught_by = "C5.3"

    def judge_version(self, facts: Descriptor, version: str | None) -> None:
        if version is not None and not re.fullmatch("[0-9a-f]{64}", version):
            raise Changed("that is no version")


class VersionPerProcess(Wrong):
    caught_by = "C5.4"

    def facts(self, handle: Handle) -> Descriptor:
        facts = super().facts(handle)
        return replace(facts, version=f"{facts.version}-{id(self)}")


class VersionIsTheSize(Wrong):
    caught_by = "C5.5"

    def facts(self, handle: Handle) -> Descriptor:
        facts = super().facts(handle)
        return replace(facts, version=f"size-{facts.size}")
