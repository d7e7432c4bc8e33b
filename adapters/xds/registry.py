"""Asking the registry about one document (ITI-18 GetDocuments).

Rules of this module: one question, one entry. Which of several entries speaks for a document is decided here; what an entry
means for a reader is not.
"""

from __future__ import annotations

from collections.abc import Iterable

from adapters.contract import Services
from adapters.errors import Corrupt, NotFound
from adapters.xds.assertion import AssertionFile
from adapters.xds.failures import attributed, refused_by_fault
from adapters.xds.identifiers import home_on_the_wire, same_document
from adapters.xds.locator import DocumentKey
from adapters.xds.options import Registry as RegistryOptions
from adapters.xds.outcome import refused
from adapters.xds.registry_answer import EntriesReader, Entry
from adapters.xds.request import Packing
from adapters.xds.service import Answer, SoapService
from adapters.xds.soap import Malformed, NotSoap
from adapters.xds.transactions import STORED_QUERY, get_documents

LARGEST_ANSWER = 4 << 20
"""Bytes of an answer about one document."""


class Registry:
    """The registry of one source."""

    def __init__(self, options: RegistryOptions, services: Services) -> None:
        self.options = options
        self._guard = services.endpoint("registry")
        self.service = SoapService(
            options,
            services,
            packing=Packing(options.request_encoding, options.ws_addressing, options.must_understand),
            assertions=None if options.saml is None else AssertionFile(options.saml.assertion_file, services),
            place="registry",
        )

    async def entry(self, key: DocumentKey) -> Entry | None:
        """The entry of a document, None when the registry has none.

        Raises what `SoapService.call` raises, and for errors of the registry what they mean, but never `NotFound`: a registry
        may say "unknown" with an error code in place of an empty list.
        """
        return speaking((await self._ask(key, leaf_class=True)).entries, key)

    async def probe(self, key: DocumentKey) -> None:
        """Ask for a document that no registry has. Raises as `entry`."""
        await self._ask(key, leaf_class=False)

    async def _ask(self, key: DocumentKey, *, leaf_class: bool) -> EntriesReader:
        home = None if key.home is None else home_on_the_wire(key.home)
        body = get_documents(key.document, home, leaf_class=leaf_class)
        with attributed("registry", at="registry"), self._guard():
            async with self.service.call(STORED_QUERY, body) as answer:
                return await read_entries(answer)


async def read_entries(answer: Answer) -> EntriesReader:
    """The whole of an answer to GetDocuments. Raises what it says went wrong, and `Corrupt` when it is no such answer."""
    reader = EntriesReader(answer.content_type)
    left = LARGEST_ANSWER
    try:
        while data := await answer.read():
            left -= len(data)
            if left < 0:
                raise Corrupt("the answer about one document is too long")
            reader.feed(data)
        reader.end(complete=answer.framed)
    except Malformed as error:
        if answer.refusal is not None:
            raise answer.refusal from error
        if isinstance(error, NotSoap):
            raise Corrupt(
                f"the service answered with {error.instead} in place of a SOAP message: correct `url`"
            ) from error
        raise
    if reader.fault is not None:
        raise refused_by_fault(reader.fault)
    if not reader.answered:
        raise Corrupt("the service answers, and not as a registry does: correct the registry's `url`")
    if not reader.entries:
        _refuse_unless_empty(answer, reader)
    return reader


def _refuse_unless_empty(answer: Answer, reader: EntriesReader) -> None:
    """Raise what went wrong, unless the registry says that it has no entry: with success, or with an error that means so."""
    if reader.failed:
        meant = refused(reader.status, reader.errors, deferred=False, corrections={})
        if not isinstance(meant, NotFound):
            raise meant
    elif answer.refusal is not None:
        raise answer.refusal
    elif reader.status != "Success":
        raise Corrupt(f"the registry states {reader.status or 'no status'} and brings neither an entry nor an error")


def speaking(entries: Iterable[Entry], key: DocumentKey) -> Entry | None:
    """The one of `entries` that speaks for a document: there may be several that replaced one another."""
    fitting = (
        entry
        for entry in entries
        if same_document(entry.document, key.document) and entry.repository in (None, key.repository)
    )
    return min(fitting, key=lambda entry: entry.status != "Approved", default=None)
