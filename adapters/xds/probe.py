"""Whether the services of a source would answer, and what is wrong with the options if they do not.

Rules of this module: each service is asked for one document that nobody has, so no patient's is touched; that it says so is the
good answer. What is found is told with the cure, for `check` as for an operator's log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from adapters.errors import AdapterError, Corrupt, CredentialsRejected, NotFound, Unavailable
from adapters.xds.endpoint import Endpoint
from adapters.xds.failures import attributed, refused_by_fault
from adapters.xds.locator import DocumentKey
from adapters.xds.outcome import deciding, misconfigured, refused
from adapters.xds.registry import Registry
from adapters.xds.registry_answer import QUERY_RESPONSE
from adapters.xds.retrieval_errors import Statement
from adapters.xds.service import Answer
from adapters.xds.soap import Fault, Malformed, MessageReader, NotSoap, Opened
from adapters.xds.transactions import STORED_QUERY, get_documents

NOBODYS = "2.25.160543712884652073912340980137465920183"
"""An id made once from a random UUID (ITU-T X.667), for no document and no repository: what a probe asks for."""

RETRIEVE_RESPONSE = "{urn:ihe:iti:xds-b:2007}retrievedocumentsetresponse"

LONGEST_ANSWER = 1 << 20
"""Bytes of an answer that brings nothing."""

_REGISTRYS = "`url` is that of a registry: give the repository's own, which its WSDL or its operators name"


async def probe(endpoints: Sequence[Endpoint], registry: Registry | None) -> None:
    """Ask all of them at once. Raises the first error there is, with what was found about the others in its text."""
    asked = [_probe_endpoint(endpoint) for endpoint in endpoints]
    if registry is not None:
        asked.append(registry.probe(DocumentKey(None, NOBODYS, NOBODYS)))
    found = await asyncio.gather(*asked, return_exceptions=True)
    errors = [error for error in found if isinstance(error, BaseException)]
    for error in errors:
        if not isinstance(error, AdapterError):
            raise error
    if errors:
        first = next((error for error in errors if isinstance(error, CredentialsRejected)), errors[0])
        assert isinstance(first, AdapterError)
        first.detail = "; ".join(error.detail for error in errors if isinstance(error, AdapterError))
        first.args = (first.detail,)
        raise first


async def _probe_endpoint(endpoint: Endpoint) -> None:
    options = endpoint.options
    repository = next(iter(options.repository_unique_ids), NOBODYS)
    asked = endpoint.asked(DocumentKey(None, repository, NOBODYS))
    with attributed(endpoint.name):
        try:
            async with endpoint.retrieve(asked) as answer:
                reader = await _read(answer)
            await _judge(endpoint, reader)
        except Corrupt as error:
            # Whatever is wrong there: a document could not be read from it.
            raise Unavailable(error.detail, exhausted=error.exhausted) from error


class _Reader:
    """An answer that brings no document: what is in the SOAP body, and what it states."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.statement = Statement()
        self.fault: Fault | None = None

    def read(self, event: object) -> None:
        match event:
            case Opened(name):
                self.names.add(name)
                self.statement.read(event)
            case Fault():
                self.fault = event


async def _read(answer: Answer) -> _Reader:
    message, reader, left = MessageReader(answer.content_type), _Reader(), LONGEST_ANSWER
    try:
        while (data := await answer.read()) and left > 0:
            left -= len(data)
            for event in message.feed(data):
                reader.read(event)
        for event in message.end(complete=answer.framed):
            reader.read(event)
    except Malformed as error:
        if answer.refusal is not None:
            raise answer.refusal from error
        if isinstance(error, NotSoap):
            raise Unavailable(
                f"the server answers with {error.instead} in place of a SOAP message: correct `url`"
            ) from error
        raise
    return reader


async def _judge(endpoint: Endpoint, reader: _Reader) -> None:
    """Raise what speaks against reading documents from this endpoint."""
    stated, fault = reader.statement, reader.fault
    error = deciding(stated.errors)
    retrieves = RETRIEVE_RESPONSE in reader.names
    if fault is not None:
        meant: AdapterError = refused_by_fault(fault)
        if isinstance(meant, CredentialsRejected):
            raise meant
        raise Unavailable(_REGISTRYS) if await _is_registry(endpoint) else meant
    if QUERY_RESPONSE in reader.names or (not retrieves and await _is_registry(endpoint)):
        raise Unavailable(_REGISTRYS)
    if not retrieves and stated.status is None:
        raise Unavailable("the service answers, and not as a repository does: correct `url`")
    cure = None if error is None or not endpoint.options.repository_unique_ids else misconfigured(error.code)
    if error is not None and cure is not None:
        raise Unavailable(f"{cure} ({error.code})")
    if error is not None:
        meant = refused(stated.status, stated.errors, deferred=stated.deferred, corrections=endpoint.options.error_map)
        # "Not found" is the good answer, and repositories have many codes for it.
        if not isinstance(meant, NotFound | Corrupt):
            raise meant


async def _is_registry(endpoint: Endpoint) -> bool:
    """Whether what is at this address answers a registry's question."""
    try:
        async with endpoint.service.call(STORED_QUERY, get_documents(NOBODYS, leaf_class=False)) as answer:
            return QUERY_RESPONSE in (await _read(answer)).names
    except AdapterError:
        return False
