"""What each FHIR interaction does: parse, ask, decide, hand over to delivery. Thin on purpose.

`Handlers.answer` serves every path of the public listener: what a request means is read from its raw target by
`protocol.interactions`, so that routing, refusals and errors speak FHIR alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from aiohttp import web
from multidict import CIMultiDictProxy

from adapters.errors import Changed, InvalidLocator, NotFound
from gateway import errors
from gateway.audit.trail import NO_TRAIL, Trail
from gateway.calls import Call
from gateway.delivery import Delivery
from gateway.document import Document
from gateway.documents import Documents
from gateway.errors import Problem
from gateway.fhir import Version, capability
from gateway.fhir.capability import CapabilityFacts
from gateway.missing import Remembered
from gateway.protocol import conditional, negotiation, parameters, ranges
from gateway.protocol.interactions import Bases, Interaction, Kind
from gateway.protocol.negotiation import NotAcceptable
from gateway.protocol.profile import Profile
from gateway.reply import Asked, Reply, common_headers, fhir_headers, plan, refusal
from gateway.routing import Location, Router, Withdrawn
from gateway.security.locating import locate
from gateway.security.policy import Access
from gateway.security.rules import Judgement
from gateway.timeline import stage

ATTEMPTS = 2
"""How often a document is opened when the archive says it changed between the look and the open."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """The interactions of one gateway."""

    bases: Bases
    router: Router
    documents: Documents
    delivery: Delivery
    profile: Profile
    capabilities: Mapping[Version, CapabilityFacts]
    smart_configuration: bytes | None = None
    policy: Judgement | None = None
    audit: Trail = NO_TRAIL
    adapters: Mapping[str, str] = field(default_factory=dict)
    """The kind of each source, for log lines."""
    request_timeout: float | None = None
    """Seconds until the first byte of an answer; None for no limit."""

    async def answer(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        """The finished response. Raises `Problem` or `AdapterError` before it started, `Aborted` after."""
        interaction = call.interaction
        if interaction.kind is Kind.UNKNOWN_PATH:
            raise Problem(errors.NO_ENDPOINT)
        if interaction.kind is Kind.SMART_CONFIGURATION:
            return self._smart(request, call)
        refused = _REFUSED.get(interaction.kind)
        if refused is not None:
            raise Problem(refused, headers={"Allow": interaction.allow} if refused.status == 405 else None)
        if request.can_read_body or "Transfer-Encoding" in request.headers:
            raise Problem(errors.BODY_NOT_ALLOWED)
        asked = self._asked(request, interaction, call)
        if interaction.kind is Kind.CAPABILITIES:
            return await self._metadata(asked, call)
        due = self.policy.due() if self.policy is not None else None
        try:
            with stage("route"):
                location = await self._located(asked, call)
            return await self._read(request, asked, location, call)
        except (NotFound, InvalidLocator) as error:
            if isinstance(error, Remembered):
                # For the log alone: a reader must not tell what an archive lacks from what is not shown to it.
                call.cache = "remembered"
            if due is not None:
                await due.wait()
            raise
        finally:
            if due is not None:
                due.dismiss()

    def _asked(self, request: web.BaseRequest, interaction: Interaction, call: Call) -> Asked:
        headers = request.headers
        version = interaction.version
        assert version is not None
        given = call.parameters
        if isinstance(given, parameters.ParameterError):
            raise Problem(errors.INVALID_PARAMETER, detail_name=given.name)
        if given.unknown and parameters.prefers_strict(headers.get("Prefer")):
            raise Problem(errors.UNKNOWN_PARAMETER)
        return Asked(
            interaction=interaction,
            version=version,
            wishes=call.wishes,
            parameters=given,
            conditions=conditional.parse(headers) and conditional.parse(_Joined(headers)),
            byte_range=ranges.parse(headers.get("Range")) and ranges.parse(_Joined(headers).get("Range")),
            if_range=headers.get("If-Range"),
            head=request.method == "HEAD",
        )

    async def _located(self, asked: Asked, call: Call) -> Location:
        """Where the document is, if this caller may see it. Raises `NotFound` otherwise, whatever the reason."""
        policy, id = self.policy, asked.interaction.id
        if policy is None:
            location = await locate(self.router, id, call.identity)
            call.source = location.source
            return location
        source = self.router.source(id)
        if source is not None and policy.forbids_source(call.identity, source):
            raise _denied(call, "rule", source)
        gone: Withdrawn | None = None
        try:
            location = await locate(self.router, id, call.identity)
        except Withdrawn as withdrawn:
            location, gone = withdrawn.location, withdrawn
        call.source = location.source
        call.location = location
        access = Access(call.identity, asked.interaction.kind.value, location.source, id, location, gone is not None)
        verdict = await policy.decide(access)
        if not verdict.permit:
            raise _denied(call, verdict.reason, location.source)
        if gone is not None:
            raise gone
        return location

    async def _read(self, request: web.BaseRequest, asked: Asked, location: Location, call: Call) -> web.StreamResponse:
        call.location = location
        capabilities = self.documents.source(location).capabilities
        decides_first = asked.head or asked.conditions is not None or asked.byte_range is not None
        if decides_first:
            async with self.documents.stored(location) as document:
                if document is not None:
                    return await self._send(request, plan(asked, document.facts, self.profile), document, call)
        direct = capabilities.local or not capabilities.cheap_stat or not decides_first
        attempt = self._read_directly if direct else self._read_after_a_look
        for _ in range(ATTEMPTS - 1):
            try:
                return await attempt(request, asked, location, call)
            except Changed:
                continue
        return await attempt(request, asked, location, call)

    async def _read_directly(
        self, request: web.BaseRequest, asked: Asked, location: Location, call: Call
    ) -> web.StreamResponse:
        async with self.documents.open(location) as document:
            reply = plan(asked, document.facts, self.profile)
            return await self._send(request, reply, document, call)

    async def _read_after_a_look(
        self, request: web.BaseRequest, asked: Asked, location: Location, call: Call
    ) -> web.StreamResponse:
        facts = await self.documents.facts(location)
        planned = plan(asked, facts, self.profile)
        if not planned.body:
            return await self._bodyless(planned, call)
        span = planned.span
        strong = self.documents.source(location).capabilities.strong_versions
        version = facts.descriptor.version if strong else None
        # The type was told from the beginning, which the part may not have.
        told = replace(location, media_type=facts.media_type)
        async with self.documents.open(told, span, version=version, known=facts.descriptor) as document:
            # Decided again from what was opened: it may not be what was looked at (C2).
            reply = plan(asked, document.facts, self.profile)
            # What was opened as a whole can be answered in any part; its size may be known now, or no longer vouched for.
            if document.facts.version_id != facts.version_id or (reply.span != span and not document.whole):
                raise Changed("the document changed between the look and the open")
            return await self._send(request, reply, document, call)

    async def _send(self, request: web.BaseRequest, reply: Reply, document: Document, call: Call) -> web.StreamResponse:
        status = document.cache_status
        if status is not None:
            call.cache = status.word
            reply.headers["Cache-Status"] = status.header
        if not reply.body:
            return await self._bodyless(reply, call)
        call.begin(reply)
        await (self.audit.looked if _bare(reply) else self.audit.intended)(call)
        response, call.sent = await self.delivery.send(request, reply, document, call.sending)
        return response

    async def _bodyless(self, reply: Reply, call: Call) -> web.StreamResponse:
        call.begin(reply)
        await self.audit.looked(call)
        return web.Response(status=reply.status, headers=reply.headers)

    def _smart(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        """What the authorization server is, in JSON whatever Accept says (SMART App Launch, Conformance)."""
        body = self.smart_configuration
        if body is None or request.can_read_body:
            raise Problem(errors.NO_ENDPOINT if body is None else errors.BODY_NOT_ALLOWED)
        headers = common_headers(self.profile) | {"Content-Type": "application/json", "Content-Length": str(len(body))}
        call.stamp(headers)
        call.sent = 0 if request.method == "HEAD" else len(body)
        return web.Response(status=200, headers=headers, body=body)

    async def _metadata(self, asked: Asked, call: Call) -> web.StreamResponse:
        """The CapabilityStatement (https://hl7.org/fhir/R4/http.html#capabilities), with an ETag that follows it."""
        if self.profile.metadata_accept == "required" and not asked.wishes.asked:
            raise Problem(errors.NOT_ACCEPTABLE)
        form = negotiation.choose_fhir(asked.wishes)
        if isinstance(form, NotAcceptable):
            raise refusal(form)
        facts = self.capabilities[asked.version]
        await capability.prepare()
        body = capability.render(asked.version, form, facts, pretty=asked.parameters.pretty)
        etag = capability.etag(asked.version, facts)
        headers = fhir_headers(form, self.profile) | {"ETag": etag}
        call.stamp(headers)
        if asked.conditions is not None:
            match conditional.evaluate(asked.conditions, etag=etag, modified=None):
                case conditional.Decision.NOT_MODIFIED:
                    del headers["Content-Type"]
                    return web.Response(status=304, headers=headers)
                case conditional.Decision.PRECONDITION_FAILED:
                    raise Problem(errors.PRECONDITION_FAILED)
        call.sent = 0 if asked.head else len(body)
        return web.Response(status=200, headers=headers | {"Content-Length": str(len(body))}, body=body)


def _denied(call: Call, reason: str, source: str) -> NotFound:
    """What stands for a denial. To whoever asked it is an unknown id; the log line says what it was."""
    call.denied = reason
    error = NotFound(f"denied by policy: {reason}")
    error.source = source
    return error


def _bare(reply: Reply) -> bool:
    """Whether the body holds nothing of the document."""
    return reply.envelope is not None and not reply.envelope.carries_content


class _Joined(Mapping[str, str]):
    """Header fields with repeated ones joined (RFC 9110 5.3); `get` of aiohttp's own gives the first alone."""

    def __init__(self, headers: CIMultiDictProxy[str]) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._headers.getall(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


_REFUSED = {
    Kind.UNKNOWN_RESOURCE: errors.RESOURCE_NOT_SERVED,
    Kind.SEARCH: errors.SEARCH_NOT_SUPPORTED,
    Kind.HISTORY: errors.HISTORY_NOT_SUPPORTED,
    Kind.WRITE: errors.METHOD_NOT_ALLOWED,
}
