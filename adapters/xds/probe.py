"""Whether the services of a source would answer, and what is wrong with the options if they do not.

Rules of this module: each service is asked for one document that nobody has, so no patient's is touched; that it says so is the
good answer. What is found is told with the cure, for `check` as for an operator's log.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence

from adapters.errors import AdapterError, Corrupt, CredentialsRejected, NotFound, TimedOut, Unavailable
from adapters.xds.alternatives import alternatives
from adapters.xds.endpoint import Endpoint, packed
from adapters.xds.failures import attributed, refused_by_fault
from adapters.xds.locator import DocumentKey
from adapters.xds.options import Endpoint as EndpointOptions
from adapters.xds.outcome import deciding, misconfigured, refused
from adapters.xds.registry import Registry
from adapters.xds.registry_answer import QUERY_RESPONSE
from adapters.xds.request import Packing
from adapters.xds.retrieval_errors import Statement
from adapters.xds.service import Answer, SoapService
from adapters.xds.soap import Fault, Malformed, MessageReader, NotSoap, Opened
from adapters.xds.transactions import STORED_QUERY, get_documents

NOBODYS = "2.25.160543712884652073912340980137465920183"
"""An id made once from a random UUID (ITU-T X.667), for no document and no repository: what a probe asks for."""

RETRIEVE_RESPONSE = "{urn:ihe:iti:xds-b:2007}retrievedocumentsetresponse"

PATIENCE = 0.9
"""The part of the gateway's own deadline that each service gets."""

ADVISING = 0.75
"""The part of it in which other ways of asking are tried, so that there is time left to tell what was found."""

NOT_UNDERSTOOD = (400, 415, 500, 501)
"""HTTP statuses of services that may answer when they are asked in another way."""

LONGEST_ANSWER = 1 << 20
"""Bytes of an answer that brings nothing."""

_REGISTRYS = "`url` is that of a registry: give the repository's own, which its WSDL or its operators name"

_code = re.compile(r"\([^()]*\)$").search


async def probe(endpoints: Sequence[Endpoint], registry: Registry | None, *, within: float | None = None) -> None:
    """Ask all of them at once. `within`: seconds after which the gateway gives the probe up; each service gets less, so that
    one that is silent does not hide what was found about the others.

    Raises the only error there is, or one that tells all of them and has them as `parts`.
    """
    patience = None if within is None else PATIENCE * within
    asked = [_probe_endpoint(endpoint, patience) for endpoint in endpoints]
    if registry is not None:
        asked.append(_probe_registry(registry, patience))
    found = await asyncio.gather(*asked, return_exceptions=True)
    errors = [error for error in found if isinstance(error, AdapterError)]
    for error in found:
        if error is not None and not isinstance(error, AdapterError):
            raise error
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    leading = next((error for error in errors if isinstance(error, CredentialsRejected)), errors[0])
    together = type(leading)("; ".join(error.detail for error in errors), retry_after=leading.retry_after)
    together.parts = tuple(errors)
    raise together


async def _probe_registry(registry: Registry, patience: float | None) -> None:
    try:
        async with asyncio.timeout(patience):
            await registry.probe(DocumentKey(None, NOBODYS, NOBODYS))
    except TimeoutError:
        with attributed("registry", at="registry"):
            raise _silent(registry.service, patience) from None


async def _probe_endpoint(endpoint: Endpoint, patience: float | None) -> None:
    with attributed(endpoint.name, at=endpoint.place), endpoint.guard():
        try:
            async with asyncio.timeout(patience):
                await _probe_repositories(endpoint, None if patience is None else patience * ADVISING)
        except TimeoutError:
            raise _silent(endpoint.service, patience) from None
        except Corrupt as error:
            # Whatever is wrong there: a document could not be read from it.
            raise Unavailable(error.detail, exhausted=error.exhausted) from error


def _silent(service: SoapService, patience: float | None) -> TimedOut:
    https = "" if service.secure else ", which may need https"
    return TimedOut(
        f"no answer within {patience:.3g} s: correct `url`{https}, or raise `limits.open_timeout` of the source where the "
        "service takes its time"
    )


async def _probe_repositories(endpoint: Endpoint, seconds: float | None) -> None:
    """Every repository of an endpoint, or the first of them when all were well once: a probe comes round every few seconds.

    What is more than asking for the first is done within `seconds`, or not at all.
    """
    until = None if seconds is None else asyncio.get_running_loop().time() + seconds
    repositories = endpoint.options.repository_unique_ids
    await _probe_repository(endpoint, 0, until)
    if not endpoint.proven:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                for number in range(1, len(repositories)):
                    await _probe_repository(endpoint, number, until)
    endpoint.proven = True


async def _probe_repository(endpoint: Endpoint, number: int, until: float | None) -> None:
    """One of the endpoint's repositories by its number; the one that nobody has where it has none."""
    repositories = endpoint.options.repository_unique_ids
    key = endpoint.asked(DocumentKey(None, repositories[number] if repositories else NOBODYS, NOBODYS))
    try:
        await _ask(endpoint, key)
    except _NotUnderstood as error:
        meaning = await _advised(endpoint, key, error.meaning, until)
        if meaning is None:
            return
        if error.unknown_repository and repositories and meaning is error.meaning:
            meaning.option = f"{endpoint.place}.repository_unique_ids.{number}"
        raise meaning from error


class _NotUnderstood(Exception):
    """The service was reached, and another way of asking may do. `meaning` is what to raise when none does."""

    def __init__(self, meaning: AdapterError, *, unknown_repository: bool = False) -> None:
        super().__init__()
        self.meaning = meaning
        self.unknown_repository = unknown_repository


async def _advised(
    endpoint: Endpoint, key: DocumentKey, meaning: AdapterError, until: float | None
) -> AdapterError | None:
    """What to raise when the service did not understand: `meaning`, or what to write instead. None when it does by now."""
    if endpoint.advice is None:
        endpoint.advice = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                endpoint.advice = await _advice(endpoint, key)
        if endpoint.advice and await _answers(endpoint, key):
            endpoint.advice = None
            return None
    if not endpoint.advice:
        return meaning
    code = _code(meaning.detail)
    told = f" {code[0]}" if code else ""
    return Unavailable(f"the service refuses requests like this, and answers to others: set {endpoint.advice}{told}")


async def _advice(endpoint: Endpoint, key: DocumentKey) -> str:
    """What to write so that the service answers, "" if nothing helps."""
    for keys, otherwise in alternatives(endpoint.options):
        if await _answers(endpoint, key, otherwise):
            return keys
    return ""


async def _answers(endpoint: Endpoint, key: DocumentKey, otherwise: EndpointOptions | None = None) -> bool:
    try:
        await _ask(endpoint, key, otherwise)
    except (AdapterError, _NotUnderstood):
        return False
    return True


async def _ask(endpoint: Endpoint, key: DocumentKey, otherwise: EndpointOptions | None = None) -> None:
    async with endpoint.retrieve(key, otherwise=otherwise) as answer:
        reader = await _read(answer)
    await _judge(endpoint, reader, suspect=otherwise is None)


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
        refusal = answer.refusal
        if refusal is not None and answer.status in NOT_UNDERSTOOD and not isinstance(refusal, CredentialsRejected):
            raise _NotUnderstood(refusal) from error
        if refusal is not None:
            raise refusal from error
        if isinstance(error, NotSoap):
            raise Unavailable(
                f"the server answers with {error.instead} in place of a SOAP message: correct `url`"
            ) from error
        raise
    return reader


async def _judge(endpoint: Endpoint, reader: _Reader, *, suspect: bool) -> None:
    """Raise what speaks against reading documents from this endpoint. `suspect`: find out whether it is a registry."""
    stated, fault = reader.statement, reader.fault
    error = deciding(stated.errors)
    retrieves = RETRIEVE_RESPONSE in reader.names
    if fault is not None:
        meant: AdapterError = refused_by_fault(fault)
        if isinstance(meant, CredentialsRejected):
            raise meant
        raise Unavailable(_REGISTRYS) if suspect and await _is_registry(endpoint) else _NotUnderstood(meant)
    if QUERY_RESPONSE in reader.names or (not retrieves and suspect and await _is_registry(endpoint)):
        raise Unavailable(_REGISTRYS)
    if not retrieves and stated.status is None:
        raise Unavailable("the service answers, and not as a repository does: correct `url`")
    cure = None if error is None else misconfigured(error.code)
    # Without ids of its own, the endpoint is asked for a repository that nobody has.
    of_repository = error is not None and "Repository" in error.code
    if error is not None and cure is not None and (endpoint.options.repository_unique_ids or not of_repository):
        raise _NotUnderstood(Unavailable(f"{cure} ({error.code})"), unknown_repository=of_repository)
    if error is not None:
        meant = refused(stated.status, stated.errors, deferred=stated.deferred, corrections=endpoint.options.error_map)
        # "Not found" is the good answer, and repositories have many codes for it; so is that nobody has this repository.
        if misconfigured(error.code) is None and not isinstance(meant, NotFound | Corrupt):
            raise meant


async def _is_registry(endpoint: Endpoint) -> bool:
    """Whether what is at this address answers a registry's question."""
    question = get_documents(NOBODYS, leaf_class=False)
    for packing in (packed(endpoint.options), Packing("soap12")):
        try:
            async with endpoint.service.call(STORED_QUERY, question, packing=packing) as answer:
                if QUERY_RESPONSE in (await _read(answer)).names:
                    return True
        except (AdapterError, _NotUnderstood):
            pass
    return False
