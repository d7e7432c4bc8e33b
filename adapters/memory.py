"""The memory adapter: documents held in this process. The reference implementation; authors read it first.

Rules of this module: the shortest code that obeys every rule of `adapters.contract`, and nothing clever. It serves
tests, demonstrations, programs that embed the gateway, and configurations with a handful of fixed documents.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from adapters.contract import MAX_CHUNK, Adapter, Caller, Capabilities, Content, Descriptor, Digest, Services, Span
from adapters.errors import Ambiguous, Changed, Deleted, NotFound, SpanNotSatisfiable

CHUNK_SIZE = 196_608
"""192 KiB in bytes: large enough to hide a chunk's fixed cost; a multiple of 3, so that base64 never carries."""


class Inline(BaseModel):
    """One document written into the configuration: either `text` or `base64`, and what is known about it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    text: str | None = Field(default=None, repr=False, description="The document as text; it is stored as UTF-8.")
    base64: str | None = Field(default=None, repr=False, description="The document's bytes in base64; may be wrapped.")
    media_type: str | None = Field(default=None, description="What the document is, for example `image/tiff`.")
    title: str | None = Field(default=None, repr=False, description="A title for people.")
    modified: AwareDatetime | None = Field(default=None, description="When it was last changed, with a time zone.")

    @field_validator("base64")
    @classmethod
    def _decodable(cls, value: str | None) -> str | None:
        if value is not None:
            _decoded(value)
        return value

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if (self.text is None) == (self.base64 is None):
            raise ValueError("a document has either `text` or `base64`")
        return self

    @property
    def data(self) -> bytes:
        """The document's bytes."""
        return _decoded(self.base64) if self.base64 is not None else (self.text or "").encode()


class MemoryOptions(BaseModel):
    """The options of the memory adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    documents: Mapping[str, Inline] = Field(
        default_factory=dict,
        repr=False,
        description="Documents by locator: plain text, or `{base64: ..., media_type: image/tiff}`.",
    )
    chunk_size: int = Field(default=CHUNK_SIZE, ge=1, le=MAX_CHUNK, description="Bytes handed over at a time.")

    @field_validator("documents", mode="before")
    @classmethod
    def _plain_text(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        plain = {"media_type": "text/plain; charset=utf-8"}
        return {key: {"text": entry, **plain} if isinstance(entry, str) else entry for key, entry in value.items()}


@dataclass(frozen=True, slots=True)
class _Document:
    data: bytes
    descriptor: Descriptor


class MemoryAdapter(Adapter):
    """Documents in a dictionary: given in the options, or added with `put` by the program that owns the adapter."""

    Options = MemoryOptions

    def __init__(self, name: str, options: MemoryOptions, services: Services) -> None:
        super().__init__(name, options, services)
        self._chunk_size = options.chunk_size
        self._documents: dict[str, _Document | None] = {}
        for locator, given in options.documents.items():
            self.put(locator, given.data, given.media_type, title=given.title, modified=given.modified)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            local=False,
            spans=True,
            cheap_stat=True,
            strong_versions=True,
            immutable=False,
            per_caller=False,
            max_open=None,
        )

    @asynccontextmanager
    async def open(
        self,
        locator: str,
        span: Span | None = None,
        *,
        version: str | None = None,
        caller: Caller | None = None,
    ) -> AsyncIterator[Content]:
        document = self._find(locator)
        size = len(document.data)
        if version is not None and version != document.descriptor.version:
            raise Changed("the document was replaced")
        if span is not None and span.start >= size:
            raise SpanNotSatisfiable(size)
        carried = (span or Span(0)).within(size)
        async with aclosing(self._chunks(document.data, carried)) as chunks:
            yield Content(document.descriptor, carried, chunks)

    async def stat(self, locator: str, *, caller: Caller | None = None) -> Descriptor:
        return self._find(locator).descriptor

    async def resolve(self, stem: str, suffixes: tuple[str, ...] | None = None) -> str:
        if suffixes is None:
            found = [locator for locator in self._documents if locator.rpartition(".")[0] == stem]
        else:
            found = [stem + suffix for suffix in suffixes if stem + suffix in self._documents]
        if not found:
            raise NotFound("no document begins with this key")
        if len(found) > 1:
            raise Ambiguous(f"{len(found)} documents begin with this key")
        return found[0]

    async def probe(self) -> None:
        """Nothing to ask: memory is always there."""

    def put(
        self,
        locator: str,
        data: bytes,
        media_type: str | None = None,
        *,
        title: str | None = None,
        modified: datetime | None = None,
    ) -> None:
        """Add or replace a document. Open reads keep the bytes they began with. `modified` needs a time zone."""
        if modified is not None and modified.tzinfo is None:
            raise ValueError("`modified` needs a time zone")
        hashed = hashlib.sha256(data)
        descriptor = Descriptor(
            size=len(data),
            media_type=media_type,
            modified=modified.astimezone(UTC) if modified else None,
            digest=Digest("sha256", hashed.digest()),
            title=title,
            version=hashed.hexdigest(),
        )
        self._documents[locator] = _Document(bytes(data), descriptor)

    def remove(self, locator: str) -> None:
        """Forget a document: from now on `NotFound`. Raises `KeyError` when there is none."""
        del self._documents[locator]

    def withdraw(self, locator: str) -> None:
        """Take a document back but remember that it was there: from now on `Deleted`."""
        self._documents[locator] = None

    def _find(self, locator: str) -> _Document:
        if locator not in self._documents:
            raise NotFound("no such document")
        document = self._documents[locator]
        if document is None:
            raise Deleted("the document was withdrawn")
        return document

    async def _chunks(self, data: bytes, carried: Span) -> AsyncGenerator[bytes, None]:
        stop = len(data) if carried.stop is None else carried.stop
        for start in range(carried.start, stop, self._chunk_size):
            yield data[start : min(start + self._chunk_size, stop)]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise ValueError(f"not base64: {error}") from None
