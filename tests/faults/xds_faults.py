"""What a reader and an operator get for everything that can be wrong with a repository's answer, as one table.

The statuses, codes and words are written out here and not taken from the product: `test_xds_every_fault` holds the two against
each other over HTTP, and docs/xds-interoperability.md prints the table. A fault of the fake repository without a row fails.
"""

from __future__ import annotations

from dataclasses import dataclass

SERVER_ERROR = "INTERNAL_SERVER_ERROR"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader gets: HTTP status, FHIR issue code, Spine code, and the gateway's own code, which the log has too.

    `level` is that of the request's log line; "error" is what alerts are raised for.
    """

    status: int
    issue: str
    spine: str
    code: str
    level: str


UNKNOWN = Answer(404, "not-found", "NO_RECORD_FOUND", "GW-DOC-001", "info")
WITHDRAWN = Answer(410, "deleted", "NO_RECORD_FOUND", "GW-DOC-002", "info")
FORBIDDEN = Answer(403, "forbidden", "ACCESS DENIED", "GW-DOC-004", "info")
AWAY = Answer(503, "transient", SERVER_ERROR, "GW-SRC-001", "warning")
BUSY = Answer(503, "throttled", SERVER_ERROR, "GW-SRC-002", "warning")
LATE = Answer(504, "timeout", SERVER_ERROR, "GW-SRC-003", "warning")
NOT_LET_IN = Answer(502, "exception", SERVER_ERROR, "GW-SRC-005", "error")
UNUSABLE = Answer(502, "exception", SERVER_ERROR, "GW-SRC-006", "error")


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. `answer` is None where the true document comes all the same.

    `says` is in the detail of the request's log line. `event` begins a log line of its own, before it, whose `quirk` or `code`
    is `key`. `retry_after` is the header in seconds. `empty`: the document comes without bytes, as the repository has it.
    """

    fault: str
    answer: Answer | None
    says: str = ""
    retry_after: int | None = None
    event: str = ""
    key: str | None = None
    empty: bool = False


FORGIVEN = "the answers of this endpoint have an oddity"
ALERT = "ALERT: another document than the one asked for came"
LATER = 30
"""Seconds that a reader is asked to wait for an archive that is away."""


def _fine(*faults: str) -> tuple[Row, ...]:
    return tuple(Row(fault, None) for fault in faults)


def _forgiven(fault: str, quirk: str) -> Row:
    return Row(fault, None, event=FORGIVEN, key=quirk)


CONNECTION = (
    Row("connect-refused", AWAY, "nothing answers at this address", LATER),
    Row("tls-other-name", AWAY, "made out to another address", LATER),
    Row("tls-unknown-authority", AWAY, "not vouched for by an authority", LATER),
    Row("tls-certificate-missing", NOT_LET_IN, "the server wants a client certificate"),
    Row("reset-start", AWAY, "ended the connection without an answer", LATER),
    Row("close-start", AWAY, "ended the connection without an answer", LATER),
    Row("reset-head", AWAY, "the connection ended before the answer did", LATER),
    Row("reset", AWAY, "the connection ended before the answer did", LATER),
    Row("truncated", AWAY, "the connection ended before the answer did", LATER),
    Row("stall-start", LATE, "`timeouts.first_byte`"),
    Row("stall-head", LATE, "`timeouts.first_byte`"),
    Row("stall", LATE, "`timeouts.between_bytes`"),
    Row("drip", LATE, "`timeouts.between_bytes`"),
    *_fine("slow-drip", "slow-start", "crumbs", "interim", "no-continue", "cookies", "cut-at-the-end", "length-long"),
    Row("length-short", AWAY, "sends no HTTP that can be read", LATER),
    Row("not-http", AWAY, "sends no HTTP that can be read", LATER),
    Row("huge-header", AWAY, "sends no HTTP that can be read", LATER),
    Row("gzip-unlabelled", UNUSABLE, "compressed data in place of a SOAP message"),
    Row("gzip-bomb", UNUSABLE, "exceeds the limit of 4194304 characters in the envelope"),
    Row("huge-root", UNUSABLE, "exceeds the limit of 4194304 characters in the envelope"),
)

HTTP = (
    Row("http-401", NOT_LET_IN, "(HTTP 401)"),
    Row("http-403", FORBIDDEN, "(HTTP 403)"),
    Row("html-404", AWAY, "no service at this path of the server: correct `url` (HTTP 404)", LATER),
    Row("redirect-login", AWAY, "sends requests elsewhere, perhaps to log on: correct `url` (HTTP 302)", LATER),
    Row("html-login", UNUSABLE, "HTML in place of a SOAP message"),
    Row("html-500", UNUSABLE, "(HTTP 500)"),
    Row("empty-200", UNUSABLE, "answered with nothing, not even an envelope"),
    Row("empty-202", UNUSABLE, "nothing in place of a SOAP message"),
    Row("http-503", BUSY, "(HTTP 503)", 7),
    Row("http-429", BUSY, "(HTTP 429)", 3),
    Row("json-200", UNUSABLE, "something else than XML in place of a SOAP message"),
)

SOAP = (
    Row("fault-500-soap11", UNUSABLE, "answered with a fault (Server)"),
    Row("fault-500-soap12", UNUSABLE, "answered with a fault (Receiver)"),
    Row("fault-other-version", UNUSABLE, "answered with a fault (Server)"),
    Row("fault-sender", UNUSABLE, "does not know this operation"),
    Row("fault-200", UNUSABLE, "answered with a fault (Receiver)"),
    Row("fault-multipart", UNUSABLE, "answered with a fault (Receiver)"),
    Row("fault-not-understood", UNUSABLE, "`must_understand: false`"),
    Row("fault-invalid-token", NOT_LET_IN, "(fault Sender, InvalidSecurityToken)"),
    Row("fault-failed-authentication", NOT_LET_IN, "(fault Sender, FailedAuthentication)"),
    Row("fault-failed-check", NOT_LET_IN, "(fault Sender, FailedCheck)"),
    Row("fault-expired", NOT_LET_IN, "(fault Sender, MessageExpired)"),
    Row("fault-action", UNUSABLE, "(fault Sender, ActionNotSupported)"),
    Row("requires-security", NOT_LET_IN, "(fault Sender, InvalidSecurity)"),
    Row("refuses-addressing", UNUSABLE, "`ws_addressing`"),
    Row("wants-oid-prefix", AWAY, "`repository_id_style: urn`", LATER, "the repository does not know itself",
        "XDSUnknownRepositoryId"),
    *_fine("refuses-security", "mtom-only", "one-document"),
)  # fmt: skip

STATED = (
    Row("XDSDocumentUniqueIdError", UNKNOWN, "no such document (XDSDocumentUniqueIdError)"),
    Row("XDSUnknownRepositoryId", AWAY, "(XDSUnknownRepositoryId)", LATER, "the repository does not know itself",
        "XDSUnknownRepositoryId"),
    Row("XDSUnknownCommunity", AWAY, "(XDSUnknownCommunity)", LATER, "the gateway does not know this community",
        "XDSUnknownCommunity"),
    Row("XDSUnavailableCommunity", AWAY, "(XDSUnavailableCommunity)", LATER),
    Row("XDSMissingHomeCommunityId", UNUSABLE, "(XDSMissingHomeCommunityId)"),
    Row("XDSRepositoryBusy", BUSY, "(XDSRepositoryBusy)", 5),
    Row("XDSRepositoryOutOfResources", BUSY, "(XDSRepositoryOutOfResources)", 5),
    Row("XDSRepositoryError", UNUSABLE, "(XDSRepositoryError)"),
    Row("XDSResultNotSinglePatient", UNUSABLE, "(XDSResultNotSinglePatient)"),
    Row("XDSRegistryBusy", BUSY, "(XDSRegistryBusy)", 5),
    Row("XDSRegistryError", UNUSABLE, "(XDSRegistryError)"),
    Row("XDSRegistryOutOfResources", BUSY, "(XDSRegistryOutOfResources)", 5),
    Row("XDSRegistryNotAvailable", AWAY, "(XDSRegistryNotAvailable)", LATER),
    Row("XDSMissingDocument", UNKNOWN, "no such document (XDSMissingDocument)"),
    Row("XDSRepositoryWrongRepositoryUniqueId", AWAY, "(XDSRepositoryWrongRepositoryUniqueId)", LATER,
        "the repository has another id", "XDSRepositoryWrongRepositoryUniqueId"),
    Row("XDSSqlError", UNUSABLE, "(XDSSqlError)"),
    Row("VendorSpecific-4711", UNUSABLE, "(VendorSpecific-4711)"),
    Row("code-as-urn", UNKNOWN, "no such document (XDSDocumentUniqueIdError)"),
    Row("failure-without-list", UNUSABLE, "states Failure and brings neither the document nor an error"),
    Row("failure-empty-list", UNUSABLE, "states Failure and brings neither the document nor an error"),
    Row("success-without-documents", UNUSABLE, "states Success and brings neither the document nor an error"),
    Row("success-with-errors", UNKNOWN, "no such document (XDSDocumentUniqueIdError)"),
    Row("wrong-id", UNUSABLE, "another document than the one asked for", None, ALERT),
    Row("missing-id", UNUSABLE, "another document than the one asked for", None, ALERT),
    Row("deferred", BUSY, "brings the document later", 60),
    _forgiven("wrong-repository", "repository-differs"),
    _forgiven("wrong-home", "home-differs"),
    *_fine("success-two-documents", "success-warning", "partial", "partial-oasis", "unknown-status"),
    Row("empty-document", None, empty=True),
)  # fmt: skip

MIME = (
    Row("dangling-cid", UNUSABLE, "in a part that the answer does not have"),
    Row("http-include", UNUSABLE, "only cid: references are followed"),
    Row("file-include", UNUSABLE, "only cid: references are followed"),
    Row("dup-cid", UNUSABLE, "two parts of the answer have the id of the document's part"),
    Row("many-parts", UNUSABLE, "exceeds the limit of 64 parts"),
    Row("huge-part-header", UNUSABLE, "exceeds the limit of 16384 bytes in the header fields of a part"),
    _forgiven("start-wrong", "start"),
    _forgiven("boundary-missing", "boundary"),
    _forgiven("boundary-wrong", "boundary"),
    _forgiven("labelled-xml", "multipart-undeclared"),
    _forgiven("labelled-multipart", "no-multipart"),
    _forgiven("no-close", "no-close"),
    _forgiven("close-glued", "no-line-end-before-close"),
    _forgiven("wrong-part-length", "part-length"),
    _forgiven("part-length-long", "part-length"),
    *_fine("start-missing", "start-unbracketed", "type-wrong", "no-preamble-crlf", "close-without-eol"),
)

ENVELOPE = (
    Row("inline-invalid", UNUSABLE, "holds characters that are not base64"),
    Row("raw-text", UNUSABLE, "holds characters that are not base64"),
    Row("doctype", UNUSABLE, "declares a document type, which SOAP forbids"),
    Row("entities", UNUSABLE, "declares a document type, which SOAP forbids"),
    Row("external-entity", UNUSABLE, "declares a document type, which SOAP forbids"),
    Row("nested", UNUSABLE, "exceeds the limit of 64 levels of elements"),
    _forgiven("charset-wrong", "encoding"),
    *_fine(
        "inline-wrapped", "inline-crlf", "inline-blank", "inline-unpadded", "inline-url-safe", "media-type-injection",
        "media-type-missing", "media-type-empty", "media-type-undefined", "media-type-odd",
    ),
)  # fmt: skip

REGISTRY = (
    Row("too-many", UNUSABLE, "(XDSTooManyResults)"),
    Row("wrong-size", UNUSABLE, "another size than the registry states"),
    Row("wrong-hash", UNUSABLE, "another hash than the registry states"),
    Row("deprecated", WITHDRAWN, "the document was deprecated"),
    *_fine("unknown-is-error", "delayed-assembly", "no-hash", "bad-size", "unknown-availability", "offline"),
)

SECTIONS = {
    "The connection": CONNECTION,
    "HTTP": HTTP,
    "SOAP and security": SOAP,
    "What the repository states": STATED,
    "MIME": MIME,
    "The envelope": ENVELOPE,
    "The registry": REGISTRY,
}

ROWS = {row.fault: row for rows in SECTIONS.values() for row in rows}
"""By fault."""

OUTSIDE = {
    "connect-refused": "nothing listens at the address",
    "tls-other-name": "a certificate that is made out to another name",
    "tls-unknown-authority": "a certificate of an authority that is not trusted",
    "tls-certificate-missing": "a server that wants a client certificate, and none is configured",
}
"""Faults that begin below HTTP, which the fake repository has no name for, and what they are."""
