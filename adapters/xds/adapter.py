"""The xds adapter itself: the contract, told in terms of the other modules of this package.

Rules of this module: nothing is sent here and no answer judged. A document comes whole or with an error; XDS knows no spans, so
the whole is returned and said to be (C3).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from adapters.contract import WHOLE, Adapter, Caller, Capabilities, Content, Descriptor, Services, Span
from adapters.errors import AdapterError, Changed, Deleted, NotFound
from adapters.xds.arrival import Arrival
from adapters.xds.body import Room
from adapters.xds.document import descriptor, refuse_deprecated
from adapters.xds.endpoint import Endpoint
from adapters.xds.failures import attributed
from adapters.xds.locator import DocumentKey
from adapters.xds.options import XdsOptions
from adapters.xds.probe import probe
from adapters.xds.registry import Registry
from adapters.xds.registry_answer import Entry
from adapters.xds.retrieval import RetrievalReader, WrongDocument
from adapters.xds.routing import Routes
from adapters.xds.service import Answer, Call
from adapters.xds.soap import Tolerance
from adapters.xds.spool import LARGEST, Spool


class XdsAdapter(Adapter):
    """The documents of XDS.b repositories and of gateways to other communities.

    A locator is `home^repository^document`, as `adapters.xds.locator` has it.
    """

    Options = XdsOptions
    options: XdsOptions

    def __init__(self, name: str, options: XdsOptions, services: Services) -> None:
        super().__init__(name, options, services)
        room = Room()
        self._endpoints = [
            Endpoint(endpoint, services, number=number, room=room) for number, endpoint in enumerate(options.endpoints)
        ]
        self._routes = Routes((endpoint.options, endpoint) for endpoint in self._endpoints)
        self._registry = None if options.registry is None else Registry(options.registry, services)
        self._uses = frozenset(options.registry.use_for if options.registry else ())
        stable = not any(endpoint.on_demand for endpoint in options.endpoints)
        self._capabilities = Capabilities(
            local=False,
            spans=False,
            cheap_stat="stat" in self._uses,
            strong_versions=stable,
            immutable=stable,
            per_caller=False,
            max_open=options.max_open,
            reads_ahead=True,
        )

    async def __aenter__(self) -> Self:
        try:
            for endpoint in self._endpoints:
                await endpoint.service.enter()
            if self._registry is not None:
                await self._registry.service.enter()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for endpoint in self._endpoints:
            await endpoint.service.aclose()
        if self._registry is not None:
            await self._registry.service.aclose()

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
        return _Opening(self, locator, version)

    async def stat(self, locator: str, *, caller: Caller | None = None) -> Descriptor:
        """From the registry where it is used for that, answers and knows the document as it is; else from the repository."""
        if "stat" in self._uses:
            key = DocumentKey.parse(locator)
            endpoint = self._routes.find(key)
            entry = await self._known(endpoint.asked(key))
            # Of what is made when it is asked for the registry knows less than the repository says on opening, and the
            # two must not disagree about the version.
            if entry is not None and (entry.settled or self._by_hash):
                return descriptor(key, endpoint.options, entry=entry, by_hash=self._by_hash)
        return await super().stat(locator)

    async def probe(self) -> None:
        """Ask every service for a document that nobody has."""
        await probe(self._endpoints, self._registry, within=self.services.open_timeout)

    @property
    def _by_hash(self) -> bool:
        return "verify" in self._uses

    async def _consulted(self, asked: DocumentKey) -> Entry | None:
        """The registry's entry, where reading relies on it."""
        if not self._uses & {"verify", "availability"}:
            return None
        entry = await self._entry(asked)
        if entry is None:
            raise NotFound("the registry has no entry for this document")
        return entry

    async def _known(self, asked: DocumentKey) -> Entry | None:
        """The registry's entry, None also when it fails: the repository knows the facts too, at a higher price."""
        try:
            return await self._entry(asked)
        except Deleted:
            raise
        except AdapterError as error:
            self.services.log.warning("registry asked in vain, the repository is asked instead", detail=error.detail)
            return None

    async def _entry(self, asked: DocumentKey) -> Entry | None:
        assert self._registry is not None
        entry = await self._registry.entry(asked)
        if entry is not None and "availability" in self._uses and self._registry.options.deprecated == "refuse":
            refuse_deprecated(entry)
        return entry

    def _arrival(self, endpoint: Endpoint, asked: DocumentKey, answer: Answer, entry: Entry | None) -> Arrival:
        options = endpoint.options
        most = options.max_document
        return Arrival(
            answer,
            RetrievalReader(
                asked,
                answer.status,
                answer.content_type,
                tolerance=Tolerance(raw_text=options.allow_raw_text, no_close=answer.sized),
            ),
            spool=lambda: Spool(self.services, self.options.spool_directory, most=most or LARGEST),
            most=most,
            corrections=options.error_map,
            size=None if entry is None else entry.size,
            digest=None if entry is None else entry.digest,
        )


class _Opening:
    """The context of one open document. A class, not a generator: this runs for every request."""

    __slots__ = ("_adapter", "_arrival", "_call", "_endpoint", "_locator", "_version")

    def __init__(self, adapter: XdsAdapter, locator: str, version: str | None) -> None:
        self._adapter = adapter
        self._locator = locator
        self._version = version
        self._call: Call | None = None
        self._arrival: Arrival | None = None
        self._endpoint: Endpoint

    async def __aenter__(self) -> Content:
        adapter = self._adapter
        key = DocumentKey.parse(self._locator)
        self._endpoint = adapter._routes.find(key)
        asked = self._endpoint.asked(key)
        entry = await adapter._consulted(asked)
        try:
            with attributed(self._endpoint.name), self._endpoint.guard():
                return await self._opened(key, asked, entry if adapter._by_hash else None)
        except BaseException as error:
            if isinstance(error, WrongDocument):
                self._endpoint.note_wrong_document()
            await self.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        arrival, self._arrival = self._arrival, None
        if arrival is not None:
            arrival.close()
            self._endpoint.note_quirks(arrival.quirks)
        call, self._call = self._call, None
        if call is not None:
            await call.__aexit__(kind, error, trace)

    async def _opened(self, key: DocumentKey, asked: DocumentKey, entry: Entry | None) -> Content:
        options = self._endpoint.options
        call = self._endpoint.retrieve(asked)
        answer = await call.__aenter__()
        self._call = call
        arrival = self._arrival = self._adapter._arrival(self._endpoint, asked, answer, entry)
        try:
            document = await arrival.begin(wait_for_all=options.verification == "spool")
        except AdapterError:
            self._endpoint.note_misconfigured(arrival.code)
            raise
        facts = descriptor(
            key,
            options,
            entry=entry,
            document=document,
            size=arrival.size,
            estimate=answer.length,
            by_hash=self._adapter._by_hash,
        )
        if self._version is not None and self._version != facts.version:
            raise Changed("the document has another version by now")
        return Content(
            facts, WHOLE if facts.size is None else Span(0, facts.size), _Pieces(arrival, self._endpoint.name)
        )


class _Pieces:
    """The bytes of a document, to its end or an error."""

    __slots__ = ("_arrival", "_place")

    def __init__(self, arrival: Arrival, place: str) -> None:
        self._arrival = arrival
        self._place = place

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with attributed(self._place):
            piece = await self._arrival.next()
        if not piece:
            raise StopAsyncIteration
        return piece
