"""An archive that does what a test tells it to: the shortest adapter whose faults can be chosen.

A document is a list of steps. Bytes are a chunk, an exception is raised, an `asyncio.Event` is waited for. The descriptor
says what the test says, true or not: the gateway is what is under test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from adapters.contract import Adapter, Caller, Capabilities, Content, Descriptor, Digest, Services, Span
from adapters.errors import NotFound

Step = bytes | BaseException | asyncio.Event

MODIFIED = datetime(2024, 3, 1, 12, 0, 0, tzinfo=UTC)


@dataclass
class Script:
    """One document. `size` None means unknown, "true" means the sum of the chunks."""

    steps: Sequence[Step]
    size: int | str | None = "true"
    media_type: str | None = "application/pdf"
    version: str | None = "1"
    modified: datetime | None = MODIFIED
    digest: Digest | None = None
    entering: Sequence[Step] = ()
    opened: int = 0
    open_now: int = 0
    left_with: list[type[BaseException] | None] = field(default_factory=list)
    pulled: int = 0
    spans: list[Span | None] = field(default_factory=list)

    @property
    def descriptor(self) -> Descriptor:
        size = sum(len(step) for step in self.steps if isinstance(step, bytes)) if self.size == "true" else self.size
        assert size is None or isinstance(size, int)
        return Descriptor(size, self.media_type, self.modified, self.digest, None, self.version)


class ScriptedAdapter(Adapter):
    """Serves `scripts` by locator; every open starts the script anew and always answers the whole (no spans)."""

    def __init__(self, name: str, options: Any, services: Services, *, scripts: dict[str, Script]) -> None:
        super().__init__(name, options, services)
        self.scripts = scripts

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            local=False,
            spans=False,
            cheap_stat=False,
            strong_versions=False,
            immutable=False,
            per_caller=False,
            max_open=None,
        )

    @asynccontextmanager
    async def open(
        self, locator: str, span: Span | None = None, *, version: str | None = None, caller: Caller | None = None
    ) -> AsyncIterator[Content]:
        script = self.scripts.get(locator)
        if script is None:
            raise NotFound("no such script")
        script.opened += 1
        script.spans.append(span)
        for step in script.entering:
            await _take(step)
        script.open_now += 1
        try:
            yield Content(script.descriptor, Span(0, script.descriptor.size), self._chunks(script))
        except BaseException as error:
            script.left_with.append(type(error))
            raise
        else:
            script.left_with.append(None)
        finally:
            script.open_now -= 1

    async def _chunks(self, script: Script) -> AsyncIterator[bytes]:
        for step in script.steps:
            if isinstance(step, bytes):
                script.pulled += 1
                yield step
            else:
                await _take(step)

    async def probe(self) -> None:
        return None


async def _take(step: Step) -> None:
    if isinstance(step, BaseException):
        raise step
    if isinstance(step, asyncio.Event):
        await step.wait()
