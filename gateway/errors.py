"""The one error table: everything that can go wrong for a request, once.

A row says what a reader gets (status, FHIR issue code, Spine code, one public sentence) and what an operator needs
(title, cause, cure). Status codes, issue codes and public sentences for failures live here and nowhere else; other
modules raise `Problem(errors.NOT_FOUND)` or let an `AdapterError` become one through `problem_for`. The pages that
explain a code (`fhir-gateway explain`, `docs/errors.md`) are made from the same rows. No HTTP objects, no FHIR models,
no I/O.

Sentences are fixed text: nothing of a request, a locator or an exception can reach a reader through them. They keep two
opposite statements apart: "there is no such document" (`GW-DOC`) and "it is not known, because the archive could not be
asked" (`GW-SRC`, `GW-SYS`). Codes are stable: a code is never given a new meaning, a retired one is not used again.

Sources: RFC 9110 section 15 (statuses), https://hl7.org/fhir/R4/valueset-issue-type.html and its STU3 twin (issue
codes), the code system `Spine-ErrorOrWarningCode-1` and the error tables of GP Connect and NRL (Spine codes).
"""

from __future__ import annotations

import difflib
import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from adapters import errors as archive

Severity = Literal["fatal", "error", "warning", "information"]
IssueCode = Literal[
    "invalid", "value", "forbidden", "processing", "not-supported", "not-found", "deleted", "multiple-matches",
    "too-long", "conflict", "transient", "exception", "timeout", "throttled", "login", "expired",
]  # fmt: skip
"""The FHIR issue types in use. `deleted` and `multiple-matches` exist in R4 only (FR-154)."""


class Spine(NamedTuple):
    """A code of `Spine-ErrorOrWarningCode-1` with its display."""

    code: str
    display: str


# One code is spelled with a space in the code system itself (CG-16).
_ACCESS_DENIED = Spine("ACCESS DENIED", "Access has been denied to process this request")
_BAD_REQUEST = Spine("BAD_REQUEST", "Bad request")
_INVALID_PARAMETER = Spine("INVALID_PARAMETER", "Invalid parameter")
_NO_RECORD_FOUND = Spine("NO_RECORD_FOUND", "No record found")
_NOT_IMPLEMENTED = Spine("NOT_IMPLEMENTED", "FHIR resource or operation not implemented at server")
_SERVER_ERROR = Spine("INTERNAL_SERVER_ERROR", "Unexpected internal server error")
_UNSUPPORTED_MEDIA_TYPE = Spine("UNSUPPORTED_MEDIA_TYPE", "Unsupported Media Type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row: an answer that a reader can get.

    `issue_stu3` is the issue code on STU3 where R4's does not exist there. `alert` means that a person has to act,
    since it will not mend itself. `retry_after` is the default of the header in seconds.
    """

    code: str
    status: int
    issue: IssueCode
    title: str
    sentence: str
    cause: str
    cure: str
    issue_stu3: IssueCode | None = None
    severity: Severity = "error"
    spine: Spine | None = None
    alert: bool = False
    retry_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """Why a body ended early. Stands in logs only: the status line had gone out, so the connection was reset."""

    code: str
    title: str
    cause: str
    cure: str
    alert: bool = False


# fmt: off
# ---- GW-REQ: the request itself ------------------------------------------------------------------------------

MALFORMED_REQUEST = Entry(
    code="GW-REQ-001", status=400, issue="invalid", spine=_BAD_REQUEST,
    title="The request is not well-formed HTTP",
    sentence="The request could not be understood as HTTP, so nothing was looked up. Correct the request and send it "
    "again.",
    cause="The HTTP parser refused the request line, a header or the framing; port scanners and TLS sent to a plain "
    "port do this too.",
    cure="Compare what the client sends with RFC 9112; when the client speaks TLS, configure server.tls or put TLS in "
    "front.",
)
INVALID_PARAMETER = Entry(
    code="GW-REQ-002", status=400, issue="invalid", spine=_INVALID_PARAMETER,
    title="A parameter has an invalid value",
    sentence="A parameter of the request has a value that this service does not understand, so nothing was looked up. "
    "Correct the parameter or leave it out.",
    cause="The value of _format, _pretty, _summary, _elements or of a header is not one that FHIR defines, or two of "
    "them exclude each other.",
    cure="Correct the client; the answer names the parameter.",
)
UNKNOWN_PARAMETER = Entry(
    code="GW-REQ-003", status=400, issue="not-supported", spine=_INVALID_PARAMETER,
    title="A parameter is not supported and strict handling was asked for",
    sentence="The request carries a parameter that this service does not support and asks for strict handling. Leave "
    "the parameter out, or ask for lenient handling.",
    cause="The client sent Prefer: handling=strict together with a parameter that a read does not have.",
    cure="Remove the parameter or the Prefer header in the client.",
)
BODY_NOT_ALLOWED = Entry(
    code="GW-REQ-004", status=400, issue="invalid", spine=_BAD_REQUEST,
    title="A read request carries a body",
    sentence="A read takes no request body, so the request was refused. Send it again without a body.",
    cause="The client or a proxy sent Content-Length or Transfer-Encoding with GET or HEAD, which is a way to smuggle "
    "requests.",
    cure="Correct the client; when it sends no body, look for a proxy that adds one.",
)
NO_ENDPOINT = Entry(
    code="GW-REQ-005", status=404, issue="not-found", spine=_BAD_REQUEST,
    title="No endpoint at this address",
    sentence="There is no service at this address, and no document was looked up. Check the address; documents are at "
    "Binary and an identifier below a service base.",
    cause="The path lies outside every service base (fhir.bases), or below one but is neither metadata nor Binary and "
    "an id.",
    cure="Compare the client's base URL with fhir.bases and with what the proxy in front strips or adds; paths are "
    "case-sensitive.",
)
RESOURCE_NOT_SERVED = Entry(
    code="GW-REQ-006", status=404, issue="not-supported", spine=_NOT_IMPLEMENTED,
    title="The resource type is not served",
    sentence="This service provides documents as Binary and no other resource type. Read its metadata for what it "
    "offers.",
    cause="The client asked for a FHIR resource type other than Binary.",
    cure="Send such requests to the FHIR server that holds those resources.",
)
METHOD_NOT_ALLOWED = Entry(
    code="GW-REQ-007", status=405, issue="not-supported", spine=_BAD_REQUEST,
    title="The method is not allowed here",
    sentence="This service is read-only: documents can be read but not created, changed or deleted. Use GET or HEAD.",
    cause="The client used a method other than those that the Allow header of the answer lists.",
    cure="Correct the client; nothing was changed.",
)
SEARCH_NOT_SUPPORTED = Entry(
    code="GW-REQ-008", status=405, issue="not-supported", spine=_NOT_IMPLEMENTED,
    title="Binary cannot be searched",
    sentence="Documents cannot be searched here; a document is read by its identifier. Search for references to "
    "documents where those are kept.",
    cause="FHIR defines no search on Binary; the client sent Binary with a query, or Binary/_search.",
    cure="Let the client take the document's address from a DocumentReference or a registry.",
)
HISTORY_NOT_SUPPORTED = Entry(
    code="GW-REQ-009", status=405, issue="not-supported", spine=_NOT_IMPLEMENTED,
    title="No list of versions",
    sentence="This service keeps no history and cannot list the versions of a document. Read the document itself for "
    "its current version.",
    cause="The client asked for the history interaction of Binary.",
    cure="Correct the client; the metadata says which interactions are offered.",
)
NOT_ACCEPTABLE = Entry(
    code="GW-REQ-010", status=406, issue="not-supported", spine=_UNSUPPORTED_MEDIA_TYPE,
    title="Not available in the format asked for",
    sentence="This is not available in the format that was asked for. Accept any format to get a document as it is "
    "stored, or ask for application/fhir+json or application/fhir+xml.",
    cause="The Accept header names neither the stored type, nor a FHIR format, nor a wildcard; nothing is ever "
    "converted.",
    cure="Let the client accept */* or a FHIR format; when the stored type is wrong, correct it in the manifest.",
)
UNSUPPORTED_MEDIA_TYPE = Entry(
    code="GW-REQ-011", status=415, issue="invalid", spine=_UNSUPPORTED_MEDIA_TYPE,
    title="The format asked for is not supported",
    sentence="The format that was asked for is not supported here. Ask for application/fhir+json or "
    "application/fhir+xml.",
    cause="As GW-REQ-010 and GW-REQ-012, in a profile that answers 415 in these cases (gp-connect, nrl).",
    cure="Correct the client, or choose the profile that fits it (fhir.profile).",
)
UNKNOWN_FORMAT = Entry(
    code="GW-REQ-012", status=406, issue="not-supported", spine=_UNSUPPORTED_MEDIA_TYPE,
    title="The _format parameter names no format of this service",
    sentence="The _format parameter names a format that is not supported here. Use json or xml, or leave the "
    "parameter out to get the document as it is stored.",
    cause="On Binary, _format chooses between the FHIR formats; a document type such as application/pdf cannot be "
    "asked for with it.",
    cure="Correct the client: _format=json, _format=xml, or no _format at all.",
)
VERSION_NOT_SERVED = Entry(
    code="GW-REQ-013", status=406, issue="not-supported", spine=_UNSUPPORTED_MEDIA_TYPE,
    title="The FHIR version asked for is not served at this base",
    sentence="The FHIR version that was asked for is not served at this address. Use the service base of that "
    "version, or leave out the fhirVersion parameter.",
    cause="The fhirVersion parameter of a media type names another version than the base that was addressed.",
    cure="Point the client at the base of its version (fhir.bases).",
)
PRECONDITION_FAILED = Entry(
    code="GW-REQ-014", status=412, issue="conflict", spine=_BAD_REQUEST,
    title="The request's condition does not hold",
    sentence="The condition in the request's If-Match or If-Unmodified-Since header does not hold, so the document was "
    "not sent. Read it without the condition to get the current version.",
    cause="If-Unmodified-Since is earlier than the last change, or If-Match names an ETag: every ETag here is weak, and "
    "If-Match compares strongly (RFC 9110 section 13.1.1), so that only If-Match: * can hold.",
    cure="Nothing to do; the client asked for exactly this answer.",
)
ADDRESS_TOO_LONG = Entry(
    code="GW-REQ-016", status=414, issue="too-long", spine=_BAD_REQUEST,
    title="The address is too long",
    sentence="The address of the request is longer than this service takes, so nothing was looked up. Shorten the "
    "address.",
    cause="The request line exceeds the limit of the HTTP parser.",
    cure="Correct the client; no address of this service needs more than a few hundred characters.",
)
HEADERS_TOO_LARGE = Entry(
    code="GW-REQ-017", status=431, issue="too-long", spine=_BAD_REQUEST,
    title="The request headers are too large",
    sentence="The headers of the request are larger than this service takes, so nothing was looked up. Send fewer or "
    "shorter headers.",
    cause="One header, or all together, exceed the limit of the HTTP parser; oversized cookies and tokens are the "
    "usual reason.",
    cure="Remove cookies and unneeded headers in the client or in the proxy in front.",
)

# ---- GW-SEC: who may ask -------------------------------------------------------------------------------------

UNAUTHENTICATED = Entry(
    code="GW-SEC-001", status=401, issue="login", spine=_ACCESS_DENIED,
    title="No credentials were sent",
    sentence="This service answers only those who say who they are, so nothing was looked up. Send an access token in "
    "the Authorization header.",
    cause="The request has no Authorization header, or one of a scheme other than Bearer; a misspelt header "
    "(Authorisation) counts as none.",
    cure="Let the client ask its authorization server for a token; when it does send one, look for a proxy that takes the "
    "header off.",
)
INVALID_TOKEN = Entry(
    code="GW-SEC-002", status=401, issue="login", spine=_ACCESS_DENIED,
    title="The token is not accepted",
    sentence="The access token is not one that this service accepts, so nothing was looked up. Ask the authorization "
    "server for a new one.",
    cause="The token is damaged, unsigned, signed by another key or algorithm, not yet valid, or meant for another service; "
    "or the key of a client is not in the key file. The detail of the log line says which check failed.",
    cure="Run 'fhir-gateway auth explain --config FILE' with the token on its standard input; it names the check and the "
    "setting.",
)
EXPIRED_TOKEN = Entry(
    code="GW-SEC-003", status=401, issue="expired", spine=_ACCESS_DENIED,
    title="The token has expired",
    sentence="The access token was valid and has expired, so nothing was looked up. Ask the authorization server for a "
    "new one.",
    cause="The time of the claim exp has passed. This happens to every client; a client that never gets over it does not "
    "renew its tokens, or its clock, the issuer's or the gateway's is wrong.",
    cure="Let the client renew its token before it expires; check the clocks when fresh tokens are refused.",
)
CREDENTIALS_TWICE = Entry(
    code="GW-SEC-004", status=400, issue="invalid", spine=_BAD_REQUEST,
    title="Credentials were sent more than once",
    sentence="The request has more than one Authorization header, so it was refused. Send one.",
    cause="The client and a proxy both added the header, or somebody tries to have one checked and another one used.",
    cure="Let either the client or the proxy add the header.",
)
TOKEN_IN_QUERY = Entry(
    code="GW-SEC-005", status=400, issue="invalid", spine=_BAD_REQUEST,
    title="A token was sent in the address",
    sentence="Access tokens are not taken from the address, where everything on the way writes them down. Send the token in "
    "the Authorization header, and ask for a new one, since this one may be known to others.",
    cause="The query of the request has the parameter access_token (RFC 6750 section 2.3).",
    cure="Change the client to send the Authorization header; have the token revoked.",
)
INSUFFICIENT_SCOPE = Entry(
    code="GW-SEC-006", status=403, issue="forbidden", spine=_ACCESS_DENIED,
    title="The token does not allow this",
    sentence="What you proved does not allow to read documents here. Ask for an access token with a scope that does, or for "
    "such a scope for your certificate.",
    cause="No scope of the caller covers a read of Binary; or its scope is for one patient, and the token names no patient or "
    "the source does not know whose its documents are.",
    cure="Grant the client a scope such as system/Binary.r (for certificates: auth.mtls.clients.scopes); for scopes of a "
    "patient, serve the documents by a manifest with the column patient.",
)
KEYS_UNAVAILABLE = Entry(
    code="GW-SEC-007", status=503, issue="transient", spine=_SERVER_ERROR, retry_after=30, alert=True,
    title="Tokens cannot be checked at the moment",
    sentence="The keys to check this access token with cannot be had, so it is not known whether it is good. Try again "
    "shortly with the same token.",
    cause="The issuer's key set was never read since the start, or not for longer than auth.issuers.keep.",
    cure="Run 'fhir-gateway check --config FILE' on the gateway's machine; it reads every key set and says what fails.",
)
CERTIFICATE_REQUIRED = Entry(
    code="GW-SEC-011", status=403, issue="forbidden", spine=_ACCESS_DENIED,
    title="No client certificate was shown",
    sentence="This service answers only those who show a client certificate, so nothing was looked up. Connect with the "
    "certificate that you were given.",
    cause="The client connected without a certificate; or a proxy in front did not hand one on, or is not among "
    "auth.mtls.forwarded.peers.",
    cure="Configure the client with its certificate and key; behind a proxy, let it hand the certificate on and name its "
    "address in auth.mtls.forwarded.peers.",
)
CERTIFICATE_NOT_LISTED = Entry(
    code="GW-SEC-012", status=403, issue="forbidden", spine=_ACCESS_DENIED,
    title="The client certificate is not on the list",
    sentence="The client certificate is not one that this service lets in, so nothing was looked up.",
    cause="No subject alternative name (DNS or URI) of the certificate is among auth.mtls.clients, or the certificate is "
    "not valid at this time. The common name does not count.",
    cure="Show the names of the certificate with 'openssl x509 -noout -ext subjectAltName -dates -in FILE' and add the one "
    "that stands for the client to auth.mtls.clients.",
)
CERTIFICATE_UNREADABLE = Entry(
    code="GW-SEC-013", status=400, issue="invalid", spine=_BAD_REQUEST,
    title="A forwarded client certificate cannot be read",
    sentence="The client certificate that a proxy handed on cannot be read, so the request was refused.",
    cause="The header of auth.mtls.forwarded came twice, or does not hold what auth.mtls.forwarded.format says.",
    cure="Let the proxy set the header itself, in place of one that a client sends; compare its form with "
    "auth.mtls.forwarded.format.",
)
TOO_MANY_REQUESTS = Entry(
    code="GW-SEC-020", status=429, issue="throttled", spine=_SERVER_ERROR, retry_after=1,
    title="A client asks too often",
    sentence="Too many requests came from this client, so this one was not looked up. Wait as long as Retry-After says and "
    "ask again.",
    cause="The client asked for more than clients.requests_per_minute after its burst was used up; clients that prove "
    "nothing are counted by their address, so that all readers behind one proxy are one client.",
    cure="Let the client wait as it is told; raise clients.requests_per_minute and clients.burst when the use is wanted.",
)
TOO_MANY_CONNECTIONS = Entry(
    code="GW-SEC-021", status=503, issue="throttled", spine=_SERVER_ERROR, retry_after=5,
    title="Too many connections are open",
    sentence="This service has as many connections as it takes, so nothing was looked up. Ask again shortly, and use one "
    "connection for many requests.",
    cause="server.limits.max_connections, or max_connections_per_peer for this address, is reached.",
    cure="Find out who holds them (ss -tn); raise the limit, and with it the number of files that the process may open, when "
    "the use is wanted.",
)

# ---- GW-DOC: a definite statement about the document ---------------------------------------------------------

NOT_FOUND = Entry(
    code="GW-DOC-001", status=404, issue="not-found", spine=_NO_RECORD_FOUND,
    title="No such document",
    sentence="There is no document with this identifier. Check the identifier, or take a current link from the system "
    "that refers to the document.",
    cause="The id belongs to no source, its scheme refuses it, or the archive was asked and has no such document. The "
    "reader cannot tell these apart; the log line can.",
    cure="Run 'fhir-gateway fetch ID --explain' to see the route; when a manifest names the file, check that it is "
    "where the manifest says.",
)
WITHDRAWN = Entry(
    code="GW-DOC-002", status=410, issue="deleted", issue_stu3="not-found", spine=_NO_RECORD_FOUND,
    title="The document was withdrawn",
    sentence="This document existed and has been withdrawn. Ask the organisation that holds it whether another "
    "document replaces it.",
    cause="The manifest marks the document as withdrawn, or the archive says that it deleted it.",
    cure="Nothing to do when the withdrawal is meant; otherwise correct the row's status in the manifest and reload.",
)
VERSION_NOT_KEPT = Entry(
    code="GW-DOC-003", status=404, issue="not-found", spine=_NO_RECORD_FOUND,
    title="The version is not the current one",
    sentence="This version of the document is not available: history is not supported and only the current version is "
    "kept. Read the document without naming a version.",
    cause="The client read a version by its id, and the document has another version now or never had that one.",
    cure="Nothing to do; let the client read the document without _history.",
)
ACCESS_DENIED = Entry(
    code="GW-DOC-004", status=403, issue="forbidden", spine=_ACCESS_DENIED,
    title="The archive refuses this document",
    sentence="Access to this document is refused. That does not mean that it is missing; ask the organisation that "
    "holds it for access.",
    cause="The archive denies this one document to the gateway's account: file permissions, a share's access list, a "
    "consent rule.",
    cure="Give the gateway's account read permission on the document, or leave it refused on purpose.",
)
TOO_LARGE = Entry(
    code="GW-DOC-005", status=404, issue="not-found", spine=_NO_RECORD_FOUND,
    title="The document exceeds the size limit",
    sentence="This document is larger than this service is allowed to send, so it cannot be read here. Ask the "
    "organisation that holds it for a copy by another route.",
    cause="The profile limits the size of a document (GP Connect: 5 MB) and demands 404 with NO_RECORD_FOUND above it.",
    cure="Raise the limit when the profile allows it, or provide the document by another route.",
)
RANGE_NOT_SATISFIABLE = Entry(
    code="GW-DOC-006", status=416, issue="value", spine=_BAD_REQUEST,
    title="The range lies outside the document",
    sentence="The part that was asked for lies outside the document. The Content-Range header gives the document's "
    "length; ask for a part within it.",
    cause="The Range header begins at or past the end; a client that resumes a finished download does this.",
    cure="Nothing to do; when it happens often, the document may have become shorter since the client began.",
)
EMPTY_DOCUMENT = Entry(
    code="GW-DOC-007", status=502, issue="processing", spine=_SERVER_ERROR, alert=True,
    title="An empty document cannot be expressed in FHIR STU3",
    sentence="The archive holds this document with no content at all, which FHIR STU3 cannot express. Report the "
    "empty document to the organisation that holds it; it can be read only in its own format.",
    cause="The stored document has zero bytes; STU3 demands content (1..1) and FHIR allows no empty value.",
    cure="Find out why the archive holds an empty file: an interrupted copy or a failed scan is the usual reason.",
)
UNSIZED_DOCUMENT = Entry(
    code="GW-DOC-008", status=502, issue="processing", spine=_SERVER_ERROR,
    title="A document of unknown length cannot be sent safely to an HTTP/1.0 reader",
    sentence="The length of this document is not known in advance, and over HTTP/1.0 a cut document would look whole, "
    "so nothing was sent. Ask again over HTTP/1.1.",
    cause="The archive does not state the document's length and the document was too large to be gathered first; "
    "nginx speaks HTTP/1.0 to its upstreams unless told otherwise.",
    cure="Set proxy_http_version 1.1 in the proxy in front, or raise the limits of the spool.",
)

# ---- GW-SRC: the archive could not be asked, or its answer cannot be used ------------------------------------

SOURCE_UNAVAILABLE = Entry(
    code="GW-SRC-001", status=503, issue="transient", spine=_SERVER_ERROR, retry_after=30,
    title="The archive cannot be reached",
    sentence="The archive cannot be reached, so it is not known whether this document exists. Try again shortly, and "
    "do not take this answer for a missing document.",
    cause="The archive is down, restarting, not mounted, or the network to it is interrupted.",
    cure="Run 'fhir-gateway check --config FILE' on the gateway's machine; it probes every source and names what "
    "fails.",
)
SOURCE_BUSY = Entry(
    code="GW-SRC-002", status=503, issue="throttled", spine=_SERVER_ERROR, retry_after=5,
    title="The archive is busy",
    sentence="The archive has too much to do at the moment, so it is not known whether this document exists. Try "
    "again in a few seconds.",
    cause="Every place of the source (limits.max_open) is in use and its queue is full (limits.max_queued) or does not move "
    "(limits.queue_timeout), or the archive itself asked to slow down.",
    cure="Raise limits.max_open when the archive can take more; otherwise slow the clients down or add a cache.",
)
SOURCE_TIMED_OUT = Entry(
    code="GW-SRC-003", status=504, issue="timeout", spine=_SERVER_ERROR,
    title="The archive did not answer in time",
    sentence="The archive did not answer in time, so it is not known whether this document exists. Try again later, "
    "and do not take this answer for a missing document.",
    cause="A deadline of the source (limits.open_timeout, limits.idle_timeout) passed: a stalled mount, a slow disk, "
    "an overloaded server.",
    cure="Look at the archive's own load and at the network; raise the deadline only when the archive is slow by "
    "nature.",
)
SOURCE_WEDGED = Entry(
    code="GW-SRC-004", status=503, issue="transient", spine=_SERVER_ERROR, retry_after=60, alert=True,
    title="The archive has stopped answering",
    sentence="The archive has stopped answering, so it is not known whether this document exists. Try again later, "
    "and do not take this answer for a missing document.",
    cause="Every worker of the source is stuck in a call that does not come back, as happens on a network mount whose "
    "server is gone.",
    cure="Bring the file server or the mount back; stuck calls then return by themselves, otherwise restart the "
    "gateway.",
)
CREDENTIALS_REJECTED = Entry(
    code="GW-SRC-005", status=502, issue="exception", spine=_SERVER_ERROR, alert=True,
    title="The archive refuses the gateway's own account",
    sentence="The archive does not let this service in, so it is not known whether this document exists. The "
    "operators of the service have to act first; trying again will not help.",
    cause="The password, key or certificate of the gateway's service account is wrong, expired or locked.",
    cure="Renew the secret that the source's options name, then run 'fhir-gateway check --config FILE'.",
)
CORRUPT = Entry(
    code="GW-SRC-006", status=502, issue="exception", spine=_SERVER_ERROR, alert=True,
    title="The archive's answer is incomplete or damaged",
    sentence="What the archive sent is incomplete or damaged, so nothing was passed on. Do not take this answer for a "
    "missing document; report it to the operators of the service.",
    cause="The document was shorter than stated, its digest does not fit, or the archive's answer is malformed.",
    cure="Read the document with the archive's own tools; when it is whole there, look at what stands between archive "
    "and gateway.",
)
AMBIGUOUS = Entry(
    code="GW-SRC-007", status=502, issue="multiple-matches", issue_stu3="processing", spine=_SERVER_ERROR, alert=True,
    title="More than one document fits the identifier",
    sentence="More than one document fits this identifier, and the service does not choose between them. Report this "
    "to the operators of the service.",
    cause="The id scheme's pattern matches several files, such as a PDF and a TIFF with the same name.",
    cure="Name the extensions in the order wanted, as in '{id}.{pdf,tif}', or use a manifest, which refuses "
    "duplicates.",
)
CHANGED_REPEATEDLY = Entry(
    code="GW-SRC-008", status=503, issue="transient", spine=_SERVER_ERROR, retry_after=5,
    title="The document keeps changing while it is read",
    sentence="The document was being changed while it was read, so no whole copy of it could be sent. Try again in a "
    "few seconds.",
    cause="The file was replaced or written to during both attempts to read it.",
    cure="Let the writing system write a new file and rename it into place; it then never shows a half-written "
    "document.",
)
NOT_SUPPORTED = Entry(
    code="GW-SRC-009", status=501, issue="not-supported", spine=_NOT_IMPLEMENTED,
    title="The archive cannot do this",
    sentence="The archive behind this service cannot do what was asked, and trying again will not help. Ask the "
    "operators of the service for another way to the document.",
    cause="The adapter has no such ability, for instance looking a document up by the beginning of its key.",
    cure="Use an id scheme or an adapter that fits; 'fhir-gateway adapters' lists what each one can do.",
)
SOURCE_RESTING = Entry(
    code="GW-SRC-010", status=503, issue="transient", spine=_SERVER_ERROR, retry_after=5,
    title="The archive is not asked for the moment",
    sentence="The archive has failed to answer, so it is not asked again for a few seconds and it is not known whether this "
    "document exists. Try again shortly, and do not take this answer for a missing document.",
    cause="Several calls in a row failed or were not answered in time (limits.breaker_failures). Calls are stopped for "
    "limits.breaker_pause, then one finds out whether the archive is back.",
    cure="Look for the log line 'calls to the archive are stopped': it names the endpoint and the reason. Bring the "
    "archive back; calls go on by themselves.",
)

# ---- GW-SYS: the gateway itself ------------------------------------------------------------------------------

INTERNAL = Entry(
    code="GW-SYS-001", status=500, issue="processing", spine=_SERVER_ERROR, alert=True,
    title="The gateway failed",
    sentence="The service failed while it handled this request, so it is not known whether this document exists. Try "
    "again, and if it happens again give the operators the value of the X-Request-Id header.",
    cause="A fault in the gateway or in an adapter: an exception that nobody expected. The log has it under the "
    "request's id.",
    cure="Report the log line with its traceback to the maintainers; for an adapter of your own, run the conformance "
    "kit.",
)

AUDIT_UNAVAILABLE = Entry(
    code="GW-SYS-002", status=503, issue="transient", spine=_SERVER_ERROR, retry_after=10, alert=True,
    title="The audit trail cannot be written",
    sentence="The service cannot record who reads what at the moment, so it gives nothing out, and it is not known "
    "whether this document exists. Try again later.",
    cause="The disk of audit.directory is full or hangs, or its files cannot be written; with audit.fail closed nothing "
    "is answered unrecorded.",
    cure="Make room or mend the disk; the gateway goes on by itself. GET /audit on the admin listener and the log say "
    "what the system answered.",
)

# ---- GW-END: bodies that ended early (logs only) -------------------------------------------------------------

ENDED_BY_SOURCE = Abort(
    code="GW-END-001",
    title="Body aborted: the archive broke off",
    cause="After the first byte the archive failed, stalled past the deadline, or gave fewer or more bytes than "
    "stated. The connection was reset, so that no reader takes the part for the whole.",
    cure="Look at the archive at that time; the detail of the log line says what failed. The client may simply ask "
    "again.",
)
ENDED_BY_CHANGE = Abort(
    code="GW-END-002",
    title="Body aborted: the document changed while it was sent",
    cause="The file was replaced, cut or written to while a reader was receiving it; the connection was reset.",
    cure="Let the writing system write a new file and rename it into place. The client may simply ask again.",
)
ENDED_BY_STALL = Abort(
    code="GW-END-003",
    title="Body aborted: the reader stopped taking bytes",
    cause="The reader kept the connection open but made no progress for the allowed time, while it held a permit of "
    "the source.",
    cure="Look at the client and at proxies that buffer; raise the stall deadline only for links that are slow by "
    "nature.",
)
ENDED_BY_READER = Abort(
    code="GW-END-004",
    title="Body ended: the reader left",
    cause="The reader closed the connection before the document was complete, as a closed browser tab does. Not the "
    "archive's fault.",
    cure="Nothing to do.",
)
ENDED_BY_SHUTDOWN = Abort(
    code="GW-END-005",
    title="Body aborted: the gateway stopped",
    cause="The time allowed for finishing the bodies under way had passed when the process stopped; the connection "
    "was reset.",
    cure="Allow more time to drain, in the gateway and in the orchestrator's grace period.",
)
ENDED_BY_FAULT = Abort(
    code="GW-END-006", alert=True,
    title="Body aborted: the gateway failed",
    cause="A fault in the gateway after the first byte; the connection was reset.",
    cure="Report the log line with its traceback to the maintainers.",
)

# fmt: on

_ROWS = [row for row in tuple(globals().values()) if isinstance(row, Entry | Abort)]

TABLE: Mapping[str, Entry] = MappingProxyType({row.code: row for row in _ROWS if isinstance(row, Entry)})
"""Every answer, by code, in the order of this file."""

ABORTS: Mapping[str, Abort] = MappingProxyType({row.code: row for row in _ROWS if isinstance(row, Abort)})
"""Every early end, by code."""

NAMES = frozenset(
    {
        "_format", "_pretty", "_summary", "_elements", "fhirVersion", "Accept", "Prefer", "Range", "If-Range",
        "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Host", "Content-Length",
        "Transfer-Encoding",
    }
)  # fmt: skip
"""The parameters and headers that an answer may name. A closed set: names out of a request are not repeated."""

LONGEST_RETRY_AFTER = 3600
"""Seconds. An archive that asks for more is not believed: a reader would take hours of waiting for an outage."""


class Wedged(archive.Busy):
    """Every thread of the source has hung for longer than its deadline: nothing can be asked until one returns."""


class Resting(archive.Unavailable):
    """The archive has failed several times in a row, and is not asked until its pause is over."""


_BY_ERROR: Mapping[type[archive.AdapterError], Entry] = {
    archive.AdapterError: INTERNAL,
    archive.NotFound: NOT_FOUND,
    archive.Deleted: WITHDRAWN,
    # The reader gets the row of an unknown id: what exists must not be told from what an id looks like (FR-03).
    archive.InvalidLocator: NOT_FOUND,
    archive.AccessDenied: ACCESS_DENIED,
    archive.CredentialsRejected: CREDENTIALS_REJECTED,
    archive.Unavailable: SOURCE_UNAVAILABLE,
    archive.Busy: SOURCE_BUSY,
    Wedged: SOURCE_WEDGED,
    Resting: SOURCE_RESTING,
    archive.TimedOut: SOURCE_TIMED_OUT,
    archive.Changed: CHANGED_REPEATEDLY,
    archive.SpanNotSatisfiable: RANGE_NOT_SATISFIABLE,
    archive.Ambiguous: AMBIGUOUS,
    archive.Corrupt: CORRUPT,
    archive.Unsupported: NOT_SUPPORTED,
    archive.OptionError: INTERNAL,
}


class Problem(Exception):
    """A request that ends in a row of the table, before its first byte.

    `detail` is operator text for the log and is never public. `headers` go out with the answer (Allow, Content-Range);
    Retry-After is filled in from the row. `detail_name` is the parameter or header at fault, None unless it is in
    `NAMES`. `source` is the configured name of the archive that was asked.
    """

    def __init__(
        self,
        entry: Entry,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        source: str | None = None,
        detail_name: str | None = None,
    ) -> None:
        super().__init__(f"{entry.code} {entry.title}" + (f": {detail}" if detail else ""))
        self.entry = entry
        self.detail = detail
        self.headers = dict(headers or {})
        if entry.retry_after is not None:
            self.headers.setdefault("Retry-After", str(entry.retry_after))
        self.source = source
        self.detail_name = detail_name if detail_name in NAMES else None


def problem_for(error: archive.AdapterError) -> Problem:
    """The problem that an archive's error becomes, the nearest class of its MRO deciding; `error` is its cause."""
    entry = next(_BY_ERROR[kind] for kind in type(error).__mro__ if kind in _BY_ERROR)
    headers = {}
    if isinstance(error, archive.SpanNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    if entry.retry_after is not None and error.retry_after is not None and math.isfinite(error.retry_after):
        headers["Retry-After"] = str(min(max(math.ceil(error.retry_after), 1), LONGEST_RETRY_AFTER))
    problem = Problem(entry, error.detail, headers=headers, source=error.source)
    problem.__cause__ = error
    return problem


class UnknownCode(LookupError):
    """A code that no row has; the message says what it may have been meant to be."""


def explain(code: str) -> str:
    """What a code means, for a terminal: lines of at most 100 characters. Any case and "_" for "-" will do.

    Raises `UnknownCode` whose message names the nearest codes, or the codes behind an HTTP status.
    """
    wanted = code.strip().upper().replace("_", "-")
    row = TABLE.get(wanted) or ABORTS.get(wanted)
    if row is None:
        near = [row.code for row in TABLE.values() if str(row.status) == wanted]
        near = near or difflib.get_close_matches(wanted, [*TABLE, *ABORTS])
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Codes look like {NOT_FOUND.code}."
        raise UnknownCode(f"There is no code {wanted[:40]!a}. {hint}")
    lines = [f"{row.code}  {row.title}", ""]
    for name, text in _facts(row):
        lines += textwrap.wrap(text, 100, initial_indent=f"  {name + ':':<13}", subsequent_indent=" " * 15)
    return "\n".join(lines)


def _facts(row: Entry | Abort) -> Iterator[tuple[str, str]]:
    """What a row says, as pairs of a name and a sentence or list."""
    if isinstance(row, Entry):
        yield "Answer", f"HTTP {row.status}" + (f", Retry-After {row.retry_after} s" if row.retry_after else "")
        yield "FHIR issue", row.issue + (f" (STU3: {row.issue_stu3})" if row.issue_stu3 else "")
        if row.spine:
            yield "Spine code", row.spine.code
        yield "Readers see", row.sentence
    else:
        yield "Answer", "none, since the body had begun: the connection is reset and the code stands in the log"
    yield "Cause", row.cause
    yield "Cure", row.cure
    if row.alert:
        yield "Alert", "yes, a person has to act"


_AREAS = {
    "REQ": "The request",
    "SEC": "Who may ask",
    "DOC": "A definite answer about the document",
    "SRC": "The archive could not be asked, or its answer cannot be used",
    "SYS": "The gateway itself",
    "END": "Bodies that ended early",
}


def render_docs() -> str:
    """The page `docs/errors.md`, made from the table."""
    lines = [
        "# Error codes",
        "",
        "<!-- Generated from gateway/errors.py; a test keeps it fresh. Write it anew with:",
        "     python -c 'from gateway import errors; print(errors.render_docs(), end=\"\")' > docs/errors.md -->",
        "",
        *textwrap.wrap(
            "Every failure has a stable code. It stands in the log line, and in the OperationOutcome as "
            "`issue.details.coding`; `fhir-gateway explain CODE` prints what follows here. `GW-DOC` codes are definite "
            'statements about a document. `GW-SRC` and `GW-SYS` codes say the opposite of "not found": nothing is '
            "known, because nobody could be asked.",
            118,
            break_on_hyphens=False,
        ),
        "",
    ]
    for area, heading in _AREAS.items():
        rows = [row for row in _ROWS if row.code.split("-")[1] == area]
        lines += [f"## {heading}", "", "| code | status | FHIR issue | title |", "|---|---|---|---|"]
        for row in rows:
            status, issue = (str(row.status), row.issue) if isinstance(row, Entry) else ("reset", "")
            lines.append(f"| [{row.code}](#{row.code.lower()}) | {status} | {issue} | {row.title} |")
        for row in rows:
            lines += ["", f"### {row.code}", "", f"**{row.title}.**", ""]
            lines += [f"- {name}: {text}" for name, text in _facts(row)]
        lines.append("")
    return "\n".join(lines)
