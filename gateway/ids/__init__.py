"""How the ids of one source lead to its documents: the schemes, their settings, and what a bad index is reported as.

One scheme is one module: `template` (the id is part of the name), `manifest` (a CSV file says) and `sealed` (the id itself
says, to those who have the key). This module holds what the configuration, the composition root and the tools need of
them. Importing it loads no scheme's machinery.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from adapters.contract import Log
from gateway.ids.sealed import bare
from gateway.ids.template import GRAMMAR, Resolve, Template, TemplateScheme
from gateway.quantities import Duration, wrong
from gateway.routing import Scheme

SHOWN_PROBLEMS = 20
"""Problems kept of one manifest: enough to see the pattern of a mistake, few enough to read."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One thing wrong with a manifest. `line` is where the row begins, from 1; None for the file as a whole.

    `text` names the column and the reason, never what stands there: rows are patient data.
    """

    line: int | None
    text: str

    def __str__(self) -> str:
        return self.text if self.line is None else f"line {self.line}: {self.text}"


class ManifestError(Exception):
    """A manifest cannot be used: the first problems, and the number of all.

    `passing` says that the file itself may be good: the same file may load later. `source` is whose it is, where known.
    """

    source: str | None = None

    def __init__(self, problems: Sequence[RowProblem], count: int | None = None, *, passing: bool = False) -> None:
        self.problems = tuple(problems)
        self.count = len(self.problems) if count is None else count
        self.passing = passing
        more = self.count - len(self.problems)
        lines = [*map(str, self.problems), *([f"and {more} more problems"] if more else [])]
        super().__init__("\n".join(lines))


class _Scheme(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TemplateIds(_Scheme):
    """The id is part of the document's name."""

    scheme: Literal["template"] = Field(description="The id is part of the name of the document; `pattern` says how.")
    pattern: str = Field(
        description="The name of a document below the root of the archive. " + GRAMMAR.replace("`", ""),
        examples=["{id}.*", "{id}.{pdf,tif}", "{id[0:2]}/{id}.pdf"],
    )

    @field_validator("pattern")
    @classmethod
    def _readable(cls, pattern: str) -> str:
        try:
            Template.parse(pattern)
        except ValueError as error:
            raise wrong("pattern", str(error), GRAMMAR) from None
        return pattern


class ManifestIds(_Scheme):
    """A CSV file says which id is which document."""

    scheme: Literal["manifest"] = Field(description="A CSV file lists the ids and where their documents are.")
    file: Path = Field(
        description="The CSV file. Its first line names the columns: id and path, and where wanted content_type, "
        "title, patient, date and status; any further column is an attribute of the document."
    )
    index: Path | None = Field(
        default=None,
        description="Where to keep the look-up index made from the CSV file, so that the next start need not make it "
        "again. It holds patient data. Without it the index lives in a temporary file that no other process can open.",
    )
    encoding: str = Field(
        default="utf-8",
        description="The character encoding of the CSV file, such as utf-8, windows-1252 or utf-16. "
        "A byte order mark is understood.",
    )
    delimiter: str = Field(
        default=",",
        description='The one character between two fields, such as ",", ";", "|" or "\\t".',
        min_length=1,
        max_length=1,
    )
    strip: str = Field(
        default="",
        description="A folder, drive or share that paths begin with and that is the root of the archive here, such as "
        "'\\\\server\\share' or /mnt/old; it is taken off.",
    )
    separator: Literal["/", "\\"] = Field(
        default="/",
        description="What stands between folders in the column path. With a backslash paths are read as Windows paths.",
    )
    columns: tuple[str, ...] = Field(
        default=(),
        description="Further columns that the CSV file must have, such as those that a policy of your own decides by; those of "
        "`policy.deny` are demanded anyway.",
    )
    refresh: Duration = Field(
        default=30.0,
        description="How often to look whether the CSV file has changed. A change is read when the file looked the "
        "same twice, so that a file still being written is left alone.",
    )

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        cure = "Write utf-8, windows-1252, iso-8859-1, utf-16 or another encoding that Python knows."
        try:
            # Also refuses what Python calls an encoding and is not one of text, such as base64.
            "id".encode(encoding)
            return codecs.lookup(encoding).name
        except (LookupError, ValueError):
            raise wrong("encoding", "This character encoding is not known.", cure) from None

    @field_validator("delimiter")
    @classmethod
    def _separates(cls, delimiter: str) -> str:
        if delimiter in '"\r\n\0 \ufeff' or delimiter.isalnum():
            raise wrong("delimiter", "This cannot separate fields.", 'Write "," ";" "|" or "\\t".')
        return delimiter

    @model_validator(mode="after")
    def _apart(self) -> ManifestIds:
        if self.index == self.file:
            raise wrong("index", "`index` and `file` are the same file.", "Give the index a name of its own.")
        return self


def _alias(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,32}", name, re.ASCII):
        cure = "Use 1 to 32 letters, digits and hyphens, as in `a`; each takes room from the document in the id."
        raise wrong("alias", "This cannot be an alias.", cure)
    return name


def _place(name: str) -> str:
    try:
        return bare(name)
    except ValueError as error:
        raise wrong("place", str(error), "Write its object identifier, as in 1.2.3.4.5.") from None


PlaceName = Annotated[str, AfterValidator(_place)]
"""The id of a repository or a community, without `urn:oid:`."""


class Alias(_Scheme):
    """What an alias in an id stands for."""

    repositories: tuple[PlaceName, ...] = Field(
        default=(),
        description="The unique ids of repositories. With none, every repository of the community `home`, each of "
        "which then takes its space in the id.",
        examples=[["1.2.3.4.5"]],
    )
    home: PlaceName | None = Field(
        default=None, description="The id of the community that has them; none for the own one."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Alias:
        if not self.repositories and self.home is None:
            raise wrong("alias", "This alias stands for nothing.", "Give it `repositories`, `home` or both.")
        return self


class SealedIds(_Scheme):
    """The id itself says which document of which repository, to those who have the key."""

    scheme: Literal["sealed"] = Field(
        description="The id holds repository and document, encrypted and sealed; `fhir-gateway ids encode` makes ids."
    )
    key_file: Path = Field(
        description="A file with 32 random bytes (raw, hex or base64). This key makes ids, and opens them.",
        examples=["/run/secrets/seal"],
    )
    former_key_files: tuple[Path, ...] = Field(
        default=(), description="Keys that made ids before and still open them. Without its key an id is unknown."
    )
    aliases: dict[Annotated[str, AfterValidator(_alias)], Alias] | None = Field(
        default=None,
        description="The short names by which ids know repositories, each with `repositories` and where needed `home`. "
        "Without this key they are taken from the options of the adapter, if these have any. An alias that ids were "
        "made with must stay.",
        examples=[{"a": {"repositories": ["1.2.3.4.5"]}}],
    )
    lookup: Path | None = Field(
        default=None,
        description="A file that lists the documents whose own ids do not fit into an id; `fhir-gateway ids encode` "
        "makes it and adds to it. Without it such documents get no id.",
    )


Ids = Annotated[TemplateIds | ManifestIds | SealedIds, Field(discriminator="scheme")]
"""The key `ids` of a source."""

Progress = Callable[[str, int, int, int], None]
"""Called with the source's name, rows read, bytes read and bytes in all, from a thread of the import."""


def open_scheme(
    source: str,
    settings: TemplateIds | ManifestIds | SealedIds,
    *,
    prefix: str,
    resolve: Resolve,
    log: Log,
    progress: Progress | None = None,
) -> AbstractAsyncContextManager[Scheme]:
    """The scheme of `source`, not yet entered. `prefix` is what stands in front of the ids of the source.

    `resolve` is the look-up of the source's archive. Entering reads a manifest or keys and raises `ManifestError`.
    """
    if isinstance(settings, TemplateIds):
        return nullcontext(TemplateScheme(source, settings.pattern, resolve))
    if isinstance(settings, SealedIds):
        from gateway.ids.sealed_scheme import SealedScheme

        return _of(source, SealedScheme(source, settings, log, prefix=prefix))
    # A gateway without manifests does not load SQLite.
    from gateway.ids.manifest import ManifestScheme

    report = None if progress is None else partial(progress, source)
    return _of(source, ManifestScheme(source, settings, log, prefix=prefix, progress=report))


@asynccontextmanager
async def _of(source: str, scheme: AbstractAsyncContextManager[Scheme]) -> AsyncIterator[Scheme]:
    """`scheme`, which says whose it is when it cannot be entered."""
    async with AsyncExitStack() as stack:
        try:
            entered = await stack.enter_async_context(scheme)
        except ManifestError as error:
            error.source = source
            raise
        yield entered
