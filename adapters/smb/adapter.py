"""The smb adapter itself: the contract, told in terms of the other modules of this package.

Rules of this module: nothing is sent here and no status decided on. Opening is one round trip and closing another; the last
piece of a document is held back until the server has closed it and said that it is still what was opened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import ClassVar, Self, TypeVar

from adapters.contract import Adapter, Caller, Capabilities, Content, Descriptor, Services, Span
from adapters.errors import AdapterError, Ambiguous, Changed, NotFound, OptionError, SpanNotSatisfiable, Unavailable
from adapters.smb import library, native
from adapters.smb.credentials import Credentials
from adapters.smb.dfs import Namespace
from adapters.smb.document import DIRECTORY, Document, Pieces, descriptor, refuse_stand_in, refuse_unsettled
from adapters.smb.failures import NO_FOLDER, PATH_GONE, Lost, Refused, Unconnected, meaning, no_answer
from adapters.smb.names import fits, split_stem, to_path
from adapters.smb.options import SmbOptions
from adapters.smb.pool import Pool, Pooled
from adapters.smb.referral import Referral, referral
from adapters.smb.session import Demands, Login, Target
from adapters.smb.share import FIRST_READ, Entry, Facts, Share
from adapters.smb.wire.status import STATUS_FILE_IS_A_DIRECTORY, name_of

Result = TypeVar("Result")
Connect = Callable[[Target, Login, Demands, Services], Awaitable[Share]]

LARGEST_OFFSET = (1 << 63) - 1 - FIRST_READ
"""Where the last read may begin: servers count bytes with 63 bits. Whatever begins later is past the end of any file."""

OPENING, LISTING, PROBING = "open the document", "list a folder", "open the source's folder"

_DIALECTS = {"2.1": 0x0210, "3.0": 0x0300, "3.1.1": 0x0311}


class SmbAdapter(Adapter):
    """The documents below one folder of a share. A locator is a path relative to it, with / between folders.

    The server does not tell capitals from small letters, so neither do locators; the version of a document is the same
    whatever its spelling. Symbolic links are refused.
    """

    Options = SmbOptions
    engines: ClassVar[Mapping[str, Connect]] = {"native": native.connect, "library": library.connect}

    options: SmbOptions

    def __init__(self, name: str, options: SmbOptions, services: Services) -> None:
        super().__init__(name, options, services)
        self._folder = to_path(options.path) if options.path else ""
        self._engine = self.engines[options.engine]
        self._credentials = Credentials(options, services)
        self._demands = Demands(
            encryption=options.require_encryption,
            signing=options.require_signing,
            minimum_dialect=_DIALECTS[options.minimum_dialect],
            window=options.window,
        )
        self._namespace = Namespace(
            Target(options.server, options.port, options.share),
            servers=options.dfs_servers,
            ask=self._ask_for_referral,
            clock=services.clock,
        )
        self._pool: Pool | None = None
        self._capabilities = Capabilities(
            local=False,
            spans=True,
            cheap_stat=True,
            strong_versions=True,
            immutable=False,
            per_caller=False,
            max_open=options.max_open,
            reads_ahead=options.engine == "native",
        )

    async def __aenter__(self) -> Self:
        options = self.options
        self._pool = Pool(self._connect, most=options.connections, idle=options.idle_timeout, log=self.services.log)
        try:
            await self.probe()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def open(
        self,
        locator: str,
        span: Span | None = None,
        *,
        version: str | None = None,
        caller: Caller | None = None,
    ) -> AbstractAsyncContextManager[Content]:
        return _Opening(self, locator, span, version)

    async def stat(self, locator: str, *, caller: Caller | None = None) -> Descriptor:
        facts = await self._facts(to_path(locator, self._folder))
        self._refuse(facts)
        return descriptor(facts)

    async def resolve(self, stem: str, suffixes: tuple[str, ...] | None = None) -> str:
        """As `Adapter.resolve`; without `suffixes` the name is in the server's own spelling."""
        found = await (self._with_any_ending(stem) if suffixes is None else self._with_one_of(stem, suffixes))
        if not found:
            raise NotFound("no document begins with this key")
        if len(found) > 1:
            raise Ambiguous(f"{len(found)} documents begin with this key")
        return found[0]

    async def probe(self) -> None:
        """Ask for the source's folder as if it were a document: that it is refused as a folder shows that it is there."""
        try:
            _, file = await self._ask(self._folder, lambda share, path: share.open(path, 0, 0))
        except Refused as error:
            if error.status == STATUS_FILE_IS_A_DIRECTORY:
                return
            if error.status in NO_FOLDER and not isinstance(error, Unconnected):
                missing = Unavailable(
                    "the folder `path` is not in the share: correct the option, or bring the folder back "
                    f"({name_of(error.status)})"
                )
                missing.option = "path"
                raise missing from error
            raise no_answer(error, PROBING) from error
        except Lost as error:
            raise no_answer(error, PROBING) from error
        file.abandon()
        raise Unavailable("`path` names a file: name the folder that holds the documents")

    # --- finding ---------------------------------------------------------------------------------------------------

    async def _with_one_of(self, stem: str, suffixes: tuple[str, ...]) -> list[str]:
        locators = [stem + suffix for suffix in suffixes]
        looked = await asyncio.gather(*map(self._there, locators), return_exceptions=True)
        found: dict[object, str] = {}
        for locator, facts in zip(locators, looked, strict=True):
            if isinstance(facts, BaseException):
                raise facts
            if facts is not None:
                # .pdf and .PDF are one document.
                found.setdefault(facts.disk_id or locator.lower(), locator)
        return list(found.values())

    async def _there(self, locator: str) -> Facts | None:
        try:
            return await self._facts(to_path(locator, self._folder))
        except NotFound:
            return None

    async def _with_any_ending(self, stem: str) -> list[str]:
        folder, beginning = split_stem(stem)
        where = to_path(folder, self._folder) if folder else self._folder
        names = [
            entry.name
            for entry in await self._entries(where, f"{beginning}.*")
            if not entry.attributes & DIRECTORY and fits(entry.name, beginning)
        ]
        exact = [name for name in names if name.startswith(f"{beginning}.")]
        return [f"{folder}/{name}" if folder else name for name in exact or names]

    async def _entries(self, folder: str, pattern: str) -> list[Entry]:
        try:
            _, entries = await self._ask(folder, lambda share, path: share.entries(path, pattern))
        except (Refused, Lost) as error:
            raise await self._told(error, LISTING) from error
        return entries

    # --- one document ----------------------------------------------------------------------------------------------

    async def _opened(self, path: str, offset: int, length: int) -> Document:
        try:
            pooled, file = await self._ask(path, lambda share, there: share.open(there, offset, length))
        except (Refused, Lost) as error:
            raise await self._told(error, OPENING) from error
        return Document(file, pooled, lambda: self._facts(path))

    async def _facts(self, path: str) -> Facts:
        document = await self._opened(path, 0, 0)
        document.abandon()
        return document.facts

    def _refuse(self, facts: Facts) -> None:
        if self.options.reparse_points == "refuse":
            refuse_stand_in(facts)
        if self.options.settle:
            refuse_unsettled(facts, self.options.settle, time.time())

    def _content(self, document: Document, span: Span | None, version: str | None) -> Content:
        facts = document.facts
        self._refuse(facts)
        described = descriptor(facts)
        if version is not None and version != described.version:
            raise Changed("the document has another version by now")
        if span is not None and span.start >= facts.size:
            raise SpanNotSatisfiable(facts.size)
        span = (span or Span(0)).within(facts.size)
        return Content(described, span, Pieces(document, span.start, span.stop or 0))

    # --- the server ------------------------------------------------------------------------------------------------

    async def _ask(self, path: str, question: Callable[[Share, str], Awaitable[Result]]) -> tuple[Pooled, Result]:
        """What `question(share, path there)` gets, where `path` of the configured share really lies."""
        pool = self._pool
        if pool is None:
            raise Lost("this source is closed")

        async def attempt(target: Target, there: str) -> tuple[Pooled, Result]:
            async def asked(pooled: Pooled) -> tuple[Pooled, Result]:
                return pooled, await question(pooled.share, there)

            return await pool.ask(target, asked)

        return await self._namespace.follow(path, attempt)

    async def _told(self, error: Refused | Lost, doing: str) -> Exception:
        """What `error` means to a reader. That a folder is missing is only "not found" when the source's own is there."""
        missing = NO_FOLDER if doing == LISTING else PATH_GONE
        if self._folder and isinstance(error, Refused) and error.status in missing:
            await self.probe()
        return meaning(error, doing)

    async def _connect(self, target: Target) -> Share:
        """A connection. Raises `Unconnected`, since what it is refused with may be about DFS, and `AdapterError`."""
        try:
            return await self._credentials.logged_on(
                target.server, lambda login: self._engine(target, login, self._demands, self.services)
            )
        except Refused as error:
            raise Unconnected(error.status, error.doing) from error
        except Lost as error:
            raise no_answer(error, "connect to the server") from error
        except AdapterError:
            raise
        except ImportError as error:
            raise OptionError(
                "Kerberos needs a library that is not installed",
                option="auth",
                cure="run: pip install 'fhir-document-gateway[smb-kerberos]', or log on with a password",
            ) from error
        except Exception as error:  # what the library makes of an answer that makes no sense
            raise Unavailable(f"could not connect to the server: {type(error).__name__}") from error

    async def _ask_for_referral(self, target: Target, path: str) -> Referral:
        return await self._credentials.logged_on(
            target.server, lambda login: referral(target, path, login, self._demands, self.services)
        )


class _Opening:
    """The context of one open document. A class, not a generator: this runs for every request."""

    __slots__ = ("_adapter", "_document", "_locator", "_span", "_version")

    def __init__(self, adapter: SmbAdapter, locator: str, span: Span | None, version: str | None) -> None:
        self._adapter = adapter
        self._locator = locator
        self._span = span
        self._version = version
        self._document: Document | None = None

    async def __aenter__(self) -> Content:
        adapter, span = self._adapter, self._span
        path = to_path(self._locator, adapter._folder)
        start = 0 if span is None else span.start
        length = FIRST_READ if span is None or span.stop is None else min(span.stop - start, FIRST_READ)
        if start > LARGEST_OFFSET:
            start = length = 0
        document = await adapter._opened(path, start, length)
        try:
            content = adapter._content(document, span, self._version)
        except BaseException:
            document.abandon()
            raise
        self._document = document
        return content

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._document is not None:
            self._document.abandon()
