"""What wrong adapters have in common.

Rules of this module: no mistakes, no tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from adapters.contract import Caller, Capabilities, Content, Span
from tests.meta.shelf import (
    CAPABILITIES,
    PASSWORD,
    ShelfAdapter,
    ShelfHarness,
)


class Wrong(ShelfAdapter):
    caught_by: ClassVar[str]
    secrets: ClassVar[tuple[str, ...]] = (PASSWORD,)
    declares: ClassVar[Capabilities] = CAPABILITIES

    @asynccontextmanager
    async def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None, caller: Caller | None = None
    ) -> AsyncIterator[Content]:
        async with super().open(locator, span, version=version) as content, self.around(locator, content) as changed:
            yield changed

    @asynccontextmanager
    async def around(self, locator: str, content: Content) -> AsyncIterator[Content]:
        """What happens between the right `open` and its reader."""
        yield content


def never_was(locator: str) -> bool:
    """Not a document that was withdrawn: those are the business of another check."""
    return locator == ShelfHarness.missing
