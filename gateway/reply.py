"""What to answer to a read, decided before anything is sent: representation, conditions, range, headers.

Pure: facts in, a `Reply` or a `Problem` out; delivery carries it out. The order is that of DESIGN's request: what can be
offered (RFC 9110 12), the version asked for, the conditions (RFC 9110 13.2.2), the range (RFC 9110 14). Headers come from
what was opened, never from the request (https://hl7.org/fhir/R4/binary.html, "Serving Binary Resources").
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from adapters.contract import Span
from gateway import errors, media
from gateway.document import Facts
from gateway.errors import Problem
from gateway.fhir import Version
from gateway.fhir.binary import Envelope, envelope
from gateway.protocol import conditional, media_type, negotiation, ranges
from gateway.protocol.conditional import Conditions, Decision
from gateway.protocol.interactions import Interaction
from gateway.protocol.negotiation import NotAcceptable, Reason, Wishes
from gateway.protocol.parameters import Parameters
from gateway.protocol.profile import Profile
from gateway.protocol.ranges import ByteRange, Unsatisfiable

SERVER = "fhir-document-gateway"

SAFE_INLINE = frozenset(
    {"application/pdf", "image/jpeg", "image/png", "image/gif", "image/tiff", "image/bmp", "image/webp", "image/jp2",
     "text/plain"}
)  # fmt: skip
"""Types a browser shows without running anything in them; all others are offered as attachments."""

SANDBOX = "default-src 'none'; sandbox"
PDF_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""Chromium refuses its PDF viewer in a sandboxed document, so PDF gets no `sandbox`."""


@dataclass(slots=True, eq=False)  # made for every request: a frozen one takes three times as long
class Asked:
    """One read as it was asked: everything of the request that can change the answer."""

    interaction: Interaction
    version: Version
    wishes: Wishes
    parameters: Parameters
    conditions: Conditions | None
    byte_range: ByteRange | None
    if_range: str | None
    head: bool


@dataclass(slots=True, eq=False)
class Reply:
    """What delivery is to send. `span` is None for the whole; `length` is of the body in bytes, None when unknown."""

    status: int
    headers: dict[str, str]
    length: int | None
    body: bool
    span: Span | None = None
    envelope: Envelope | None = None

    @property
    def representation(self) -> str:
        return "native" if self.envelope is None else "envelope"


def plan(asked: Asked, facts: Facts, profile: Profile) -> Reply:
    """The answer to `asked` given `facts`. Raises `Problem` for everything that is not 200, 206 or 304."""
    size = facts.size
    if profile.max_document is not None and size is not None and size > profile.max_document:
        raise Problem(errors.TOO_LARGE)
    version_id = facts.version_id
    if asked.interaction.version_id and asked.interaction.version_id != version_id:
        raise Problem(errors.VERSION_NOT_KEPT)
    choice = negotiation.choose(asked.wishes, facts.media_type)
    if isinstance(choice, NotAcceptable):
        raise refusal(choice)
    etag = f'W/"{version_id}"' if version_id else None
    modified = facts.modified
    whole = _enveloped(asked, facts, choice.format, profile) if choice.format is not None else None
    headers = dict(_native_headers(facts.media_type, profile) if whole is None else _fhir_headers(choice, profile))
    headers.update(_validators(asked, etag, modified, version_id, profile))
    if asked.conditions is not None:
        match conditional.evaluate(asked.conditions, etag=etag, modified=modified):
            case Decision.NOT_MODIFIED:
                for name in ("Content-Type", "Content-Disposition"):
                    headers.pop(name, None)
                return Reply(304, headers, None, False)
            case Decision.PRECONDITION_FAILED:
                raise Problem(errors.PRECONDITION_FAILED)
    if whole is not None:
        length = whole.length(size) if size is not None else None
        return _sized(200, headers, length, not asked.head, envelope=whole)
    headers["Content-Disposition"] = _disposition(facts.media_type, asked.interaction.id)
    part = _part(asked, facts, etag, modified)
    if part is None:
        return _sized(200, headers, size, not asked.head)
    headers["Content-Range"] = ranges.content_range(part)
    return _sized(206, headers, part.span.length(), True, span=part.span)


def _sized(
    status: int,
    headers: dict[str, str],
    length: int | None,
    body: bool,
    *,
    span: Span | None = None,
    envelope: Envelope | None = None,
) -> Reply:
    if length is not None:
        headers["Content-Length"] = str(length)
    return Reply(status, headers, length, body, span, envelope)


def _part(asked: Asked, facts: Facts, etag: str | None, modified: datetime | None) -> ranges.Part | None:
    """The part to send, None for the whole. Raises `Problem` 416. HEAD has no ranges (RFC 9110 14.2)."""
    if asked.byte_range is None or facts.size is None or asked.head:
        return None
    if asked.if_range is not None and not conditional.range_applies(
        asked.if_range, etag=etag, modified=modified, now=datetime.now(UTC)
    ):
        return None
    part = ranges.resolve(asked.byte_range, facts.size)
    if isinstance(part, Unsatisfiable):
        raise Problem(errors.RANGE_NOT_SATISFIABLE, headers={"Content-Range": ranges.unsatisfied_range(facts.size)})
    return part


def _enveloped(asked: Asked, facts: Facts, form: negotiation.Format, profile: Profile) -> Envelope:
    parameters = asked.parameters
    result = envelope(
        asked.version,
        form,
        id=asked.interaction.id,
        content_type=facts.media_type,
        version_id=facts.version_id,
        last_updated=facts.modified,
        pretty=parameters.pretty,
        summary=parameters.summary,
        elements=parameters.elements,
        empty=facts.size == 0,
    )
    if facts.size == 0 and asked.version is Version.STU3 and result.carries_content:
        raise Problem(errors.EMPTY_DOCUMENT)
    return result


def _validators(
    asked: Asked, etag: str | None, modified: datetime | None, version_id: str | None, profile: Profile
) -> dict[str, str]:
    headers = {}
    if etag is not None:
        headers["ETag"] = etag
        if profile.content_location:
            at = asked.interaction
            headers["Content-Location"] = f"{at.base}/Binary/{at.id}/_history/{version_id}"
    if modified is not None:
        # A file's clock may be ahead; a date later than the response's own must not be sent (RFC 9110 8.8.2.1).
        headers["Last-Modified"] = conditional.http_date(min(modified, datetime.now(UTC)))
    return headers


def refusal(choice: NotAcceptable) -> Problem:
    """The problem of a request whose wishes cannot be met."""
    match choice.reason:
        case Reason.FHIR_VERSIONS_DIFFER:
            return Problem(errors.INVALID_PARAMETER, detail_name="fhirVersion")
        case Reason.FORMAT if choice.status == 400:
            return Problem(errors.INVALID_PARAMETER, detail_name="_format")
        case _ if choice.status == 415:
            return Problem(errors.UNSUPPORTED_MEDIA_TYPE)
        case Reason.FORMAT:
            return Problem(errors.UNKNOWN_FORMAT)
        case Reason.FHIR_VERSION:
            return Problem(errors.VERSION_NOT_SERVED)
    return Problem(errors.NOT_ACCEPTABLE)


@lru_cache(maxsize=512)
def common_headers(profile: Profile) -> dict[str, str]:
    """Headers of every response, errors included (specs of GP Connect and RFC 9110 12.5.5; never cached by default)."""
    return {
        "Server": SERVER,
        "Cache-Control": profile.cache_control,
        "Vary": "Accept",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-site",
    }


@lru_cache(maxsize=512)
def _native_headers(stored_type: str, profile: Profile) -> dict[str, str]:
    policy = PDF_POLICY if media_type.essence(stored_type) == "application/pdf" else SANDBOX
    return common_headers(profile) | {
        "Content-Type": stored_type,
        "Accept-Ranges": "bytes",
        "Content-Security-Policy": policy,
    }


@lru_cache(maxsize=16)
def _fhir_headers(choice: negotiation.Envelope, profile: Profile) -> dict[str, str]:
    return fhir_headers(choice.format, profile)


def fhir_headers(form: negotiation.Format, profile: Profile) -> dict[str, str]:
    """Headers of a response whose body is a FHIR resource."""
    return common_headers(profile) | {
        "Content-Type": form.content_type(profile.charset),
        "Content-Security-Policy": SANDBOX,
    }


def _disposition(stored_type: str, binary_id: str) -> str:
    """Content-Disposition with the opaque id as the name (RFC 6266): never a title, which may name a patient."""
    kind, ending = _shown_as(stored_type)
    if binary_id.lower().endswith(ending):
        ending = ""
    return f'{kind}; filename="{binary_id}{ending}"'


@lru_cache(maxsize=512)
def _shown_as(stored_type: str) -> tuple[str, str]:
    essence = media_type.essence(stored_type)
    return "inline" if essence in SAFE_INLINE else "attachment", media.ending(essence)
