"""A site's own archive under the kit: documents that lie there are handed out, and nothing is written.

Rules of this module: reading only. The first look at each document is what every later one is compared with: this shows
that an adapter agrees with itself on this archive, and only a harness that stores its own documents shows that its bytes
are right. Texts for a report that leaves the site go through `SiteHarness.redacted`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

from pydantic import BaseModel, SecretBytes, SecretStr

from adapters.contract import Adapter, Caller, Content, Services
from adapters.errors import AdapterError
from adapters.testing.harness import Harness

LARGEST = 8 << 20
"""Bytes of the largest document that a site may give: the checks read it some dozen times, and keep it in memory."""

SHORTEST = 4
"""Characters below which a piece of a locator or a secret is not searched for in texts: too many words contain it."""

CHECK = "`fhir-gateway check --config FILE` says more."

MakeAdapter = Callable[[Services], Adapter]


@dataclass(frozen=True, slots=True)
class Document:
    """A document to check with: its key, the bytes that are due, and the media type it was stored with, if it was."""

    locator: str = field(repr=False)
    data: bytes = field(repr=False)
    media_type: str | None = None


class CannotSurvey(Exception):
    """The kit cannot begin on this archive. `cure` says what to do; neither text names a locator."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cure = cure


class SiteHarness(Harness):
    """An archive with `documents` of its own, the largest first; `survey` makes the class of it.

    Hooks that write, break or count in the archive are missing, so the checks that need them do not apply.
    """

    deadline: ClassVar[float] = 60.0
    patience: ClassVar[float] = 5.0

    make: ClassVar[MakeAdapter]
    documents: ClassVar[Sequence[Document]] = ()

    at_once: ClassVar[int] = 1
    """How many documents this site allows to be open together."""

    @property
    def missing(self) -> str:
        """A key made of a real one: only the archive can say whether it is well formed."""
        folder, slash, name = self.documents[0].locator.rpartition("/")
        stem, dot, ending = name.rpartition(".")
        if not stem:
            stem, dot, ending = name, "", ""
        return f"{folder}{slash}{stem}-no-such-4711{dot}{ending}"

    @property
    def hostile(self) -> Sequence[str]:
        inside = self.documents[0].locator
        return "../../etc/passwd", "/etc/passwd", f"{inside}/../../../../etc/passwd", "..\\..\\x4711", "a" * 4096

    def adapter(self) -> Adapter:
        return type(self).make(self.services())

    def seed(self, data: bytes, *, media_type: str | None = None) -> NoReturn:
        raise NotImplementedError("nothing is written into a site's archive")

    @classmethod
    def redacted(cls, text: str) -> str:
        """`text` without the keys of the site's documents, without the last piece of each, and without secrets."""
        words = [(word, "[locator]") for document in cls.documents for word in _pieces(document.locator)]
        words += [(secret, "[secret]") for secret in cls.secrets]
        for word, instead in sorted(words, key=lambda pair: len(pair[0]), reverse=True):
            for form in (word, repr(word)[1:-1]):
                text = text.replace(form, instead)
        return text


def _pieces(locator: str) -> Iterator[str]:
    """A key, its last piece, and that without its ending, as far as they are long enough to be told from words."""
    name = locator.replace("\\", "/").rpartition("/")[2]
    return (piece for piece in (locator, name, name.rpartition(".")[0]) if len(piece) >= SHORTEST)


async def survey(make: MakeAdapter, documents: Mapping[str, str], *, at_once: int) -> type[SiteHarness]:
    """Read each of `documents` once and learn what the adapter declares: the harness of this archive.

    `documents` maps what the operator calls a document to its locator; `at_once` is how many may be open together.
    Raises `CannotSurvey`.
    """
    facts: dict[str, Any] = {"make": staticmethod(make), "at_once": at_once}
    look = _site(facts)()
    try:
        adapter = look.adapter()
        facts["secrets"] = tuple(_secrets(adapter.options))
        async with asyncio.timeout(look.deadline * (1 + len(documents))), adapter:
            declared = facts["capabilities"] = adapter.capabilities
            facts["at_once"] = min(at_once, declared.max_open or at_once)
            caller = look.caller if declared.per_caller else None
            read = [await _read(adapter, *named, caller) for named in documents.items()]
    except (AdapterError, TimeoutError) as error:
        cause = f"The archive cannot be entered: {getattr(error, 'detail', '') or type(error).__name__}."
        raise CannotSurvey(cause, CHECK) from error
    finally:
        look.release()
    read.sort(key=lambda pair: len(pair[0].data), reverse=True)
    if not read or not read[0][0].data:
        raise CannotSurvey("None of the documents has any bytes.", "Give at least one that is not empty.")
    return _site(facts | {"documents": [document for document, _ in read], "offers_file": read[0][1]})


def _site(facts: Mapping[str, Any]) -> type[SiteHarness]:
    return type("SiteHarness", (SiteHarness,), dict(facts))


async def _read(adapter: Adapter, name: str, locator: str, caller: Caller | None) -> tuple[Document, bool]:
    """The document, and whether it came with `Content.file`."""
    given: dict[str, Any] = {"caller": caller} if caller else {}
    try:
        async with adapter.open(locator, **given) as content:
            return Document(locator, await _whole(content, name)), content.file is not None
    except AdapterError as error:
        why = type(error).__name__ + (f", {error.detail}" if error.detail and locator not in error.detail else "")
        cure = (
            "Give documents that are there and may be read; `fhir-gateway fetch ID --config FILE --explain` shows "
            "where an id leads."
        )
        raise CannotSurvey(f"The document {name} cannot be read: {why}.", cure) from error


async def _whole(content: Content, name: str) -> bytes:
    data = bytearray()
    async for chunk in content.chunks:
        data += chunk
        if len(data) > LARGEST:
            raise CannotSurvey(
                f"The document {name} has more than {LARGEST >> 20} MiB.",
                "Give smaller ones: the checks read each of them many times.",
            )
    return bytes(data)


def _secrets(options: object) -> Iterator[str]:
    """The values of secret options in clear, those of models within models too."""
    for value in dict(options).values() if isinstance(options, BaseModel) else ():
        if isinstance(value, SecretStr | SecretBytes):
            secret = value.get_secret_value()
            text = secret.decode("utf-8", "replace") if isinstance(secret, bytes) else secret
            if len(text) >= SHORTEST:
                yield text
        else:
            yield from _secrets(value)
