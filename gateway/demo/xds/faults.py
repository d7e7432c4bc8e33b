"""What goes wrong with real repositories, one switch setting each.

Rules of this module: data only. Every fault works on any personality that can show it: those of MIME need an answer in
parts, those of inline base64 an envelope that holds the document. Faults that begin below HTTP are not here: a refused
connection is `FakeRepository.deaf`, a wrong name or a missing client certificate is the TLS context it is given.
"""

from __future__ import annotations

from typing import Any, Literal

from gateway.demo.xds.contents import Inline
from gateway.demo.xds.documents import EMPTY_SHA1
from gateway.demo.xds.personality import (
    ABSENT,
    FAILURE,
    OASIS_PARTIAL,
    PARTIAL,
    SUCCESS,
    WARNING,
    Break,
    Canned,
    Fault,
    Personality,
    RegistryError,
    SoapFault,
)
from gateway.demo.xds.vendors import PERSONALITIES, STANDARD

RETRIEVE_CODES = (
    "XDSDocumentUniqueIdError",
    "XDSUnknownRepositoryId",
    "XDSUnknownCommunity",
    "XDSUnavailableCommunity",
    "XDSMissingHomeCommunityId",
    "XDSRepositoryBusy",
    "XDSRepositoryOutOfResources",
    "XDSRepositoryError",
    "XDSResultNotSinglePatient",
    "XDSRegistryBusy",
    "XDSRegistryError",
    "XDSRegistryOutOfResources",
    "XDSRegistryNotAvailable",
    "XDSMissingDocument",
    "XDSRepositoryWrongRepositoryUniqueId",
)
"""What a retrieval can answer: ITI TF-3 table 4.2.4.1-2, then codes of products outside it."""

UNKNOWN_CODES = ("XDSSqlError", "VendorSpecific-4711")

_CONTEXT = "Document of THISTLEQUILL, Philomena (9999458076) at java.lang.Thread.run(Thread.java:748)"
"""Errors of real repositories hold such things. No answer, log line or metric of the gateway may."""

_PAGE = b"<!DOCTYPE html>\n<html><head><title>%b</title></head><body><h1>%b</h1><form></form></body></html>\n"


def _page(title: bytes) -> bytes:
    return _PAGE % (title, title)


def _refused(*errors: RegistryError, **changes: Any) -> dict[str, Any]:
    return {"registry_status": FAILURE, "errors": errors, "answers": "none"} | changes


def _error(code: str, **more: Any) -> RegistryError:
    return RegistryError(code, _CONTEXT, **more)


_FAULT = SoapFault("Receiver", "Internal error")

_HTTP = (
    Fault("http-401", "no credentials",
          {"instead": Canned(401, _page(b"Unauthorized"), fields=(("WWW-Authenticate", "Negotiate"),))}),
    Fault("http-403", "forbidden", {"instead": Canned(403, _page(b"Forbidden"))}),
    Fault("html-404", "the wrong path", {"instead": Canned(404, _page(b"HTTP Status 404"))}),
    Fault("redirect-login", "302 to a login page",
          {"instead": Canned(302, b"", fields=(("Location", "/login?from=repository"),))}),
    Fault("html-login", "a login page with 200", {"instead": Canned(200, _page(b"Sign in"))}),
    Fault("html-500", "a proxy's page", {"instead": Canned(500, _page(b"Proxy Error"))}),
    Fault("empty-200", "200 and nothing", {"instead": Canned(200, media_type=None)}),
    Fault("empty-202", "202 and nothing", {"instead": Canned(202, media_type=None)}),
    Fault("http-503", "overloaded", {"instead": Canned(503, b"", None, (("Retry-After", "7"),))}),
    Fault("http-429", "too many requests", {"instead": Canned(429, b"", None, (("Retry-After", "3"),))}),
    Fault("json-200", "another service's answer", {"instead": Canned(200, b'{"status":"UP"}', "application/json")}),
    Fault("not-http", "another protocol answers", {"instead": Canned(0, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")}),
    Fault("huge-header", "a header line of 64 KiB", {"fields": (("X-Trace", "x" * 65_536),)}),
)  # fmt: skip

_SOAP = (
    Fault("fault-500-soap11", "a SOAP 1.1 fault with 500", {"fault": _FAULT, "soap": "1.1", "packaging": "plain"}),
    Fault("fault-500-soap12", "a SOAP 1.2 fault with 500", {"fault": _FAULT, "soap": "1.2", "packaging": "plain"}),
    Fault("fault-other-version", "a fault in the SOAP version nobody asked for", {"fault": _FAULT, "soap": "other"}),
    Fault("fault-sender", "the request is blamed, with 400", {"fault": SoapFault("Sender", "Unexpected element", status=400)}),
    Fault("fault-200", "a fault with 200", {"fault": SoapFault("Receiver", "Internal error", status=200)}),
    Fault("fault-multipart", "a fault inside a multipart with 200 (NIST)",
          {"fault": SoapFault("Receiver", "Internal error", status=200, multipart=True)}),
    Fault("fault-not-understood", "a header block that is not understood",
          {"fault": SoapFault("MustUnderstand", "Header not understood",
                              not_understood="{http://www.w3.org/2005/08/addressing}Action")}),
    Fault("fault-invalid-token", "the assertion is refused",
          {"fault": SoapFault("Sender", "An invalid security token was provided", "wsse:InvalidSecurityToken")}),
    Fault("fault-failed-authentication", "the assertion's signer is not trusted",
          {"fault": SoapFault("Sender", "The security token could not be authenticated", "wsse:FailedAuthentication")}),
    Fault("fault-failed-check", "the signature is wrong",
          {"fault": SoapFault("Sender", "The signature or decryption was invalid", "wsse:FailedCheck")}),
    Fault("fault-expired", "the message is too old",
          {"fault": SoapFault("Sender", "The message has expired", "wsse:MessageExpired")}),
    Fault("fault-action", "the action is not supported",
          {"fault": SoapFault("Sender", "The action cannot be processed at the receiver", "wsa:ActionNotSupported")}),
)  # fmt: skip

_REGISTRY_RESPONSE = (
    *(Fault(code, "a failure with this code", _refused(_error(code))) for code in RETRIEVE_CODES),
    *(Fault(code, "a failure with a code of no standard", _refused(_error(code))) for code in UNKNOWN_CODES),
    Fault("code-as-urn", "the code as a URN, the severity in lower case",
          _refused(_error("urn:ihe:iti:2007:XDSDocumentUniqueIdError", severity="error"))),
    Fault("failure-without-list", "a failure that says nothing more", _refused() | {"errors": ABSENT}),
    Fault("failure-empty-list", "a failure with an empty list", _refused(empty_error_list=True)),
    Fault("success-without-documents", "a success with nothing", {"registry_status": SUCCESS, "errors": (), "answers": "none"}),
    Fault("success-with-errors", "a success with an error and no document",
          _refused(_error("XDSDocumentUniqueIdError"), registry_status=SUCCESS)),
    Fault("success-two-documents", "somebody else's document comes first", {"answers": "two"}, whole=True),
    Fault("wrong-id", "somebody else's document under its own id", {"answers": "another"}),
    Fault("missing-id", "a document without an id", {"says_document": ABSENT}),
    Fault("wrong-repository", "the id of another repository", {"says_repository": "1.2.3.4.5.6"}, whole=True),
    Fault("wrong-home", "the id of another community", {"says_home": "urn:oid:1.2.3.4.5.7"}, whole=True),
    Fault("success-warning", "a document and a warning",
          {"errors": (_error("XDSExtraMetadataNotSaved", severity=WARNING),)}, whole=True),
    Fault("partial", "a document and an error, in IHE's words",
          {"registry_status": PARTIAL, "errors": (_error("XDSDocumentUniqueIdError"),)}, whole=True),
    Fault("partial-oasis", "the same with the prefix of OASIS",
          {"registry_status": OASIS_PARTIAL, "errors": (_error("XDSDocumentUniqueIdError"),)}, whole=True),
    Fault("unknown-status", "a document and a status of no standard",
          {"registry_status": "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Warning"}, whole=True),
    Fault("deferred", "the document will come later", {"deferred": True, "registry_status": PARTIAL, "answers": "none"}),
    Fault("empty-document", "a success with a document of no bytes", {"empty_document": True}),
)  # fmt: skip

_MIME = (
    Fault("dangling-cid", "an Include that names no part", {"href": "cid:nobody@repository.example", "idle_parts": 1}),
    Fault("http-include", "an Include that names a web address", {"href": "http://127.0.0.1:9/document"}),
    Fault("file-include", "an Include that names a file", {"href": "file:///etc/hostname"}),
    Fault("dup-cid", "two parts of one id", {"duplicate_part": True}),
    Fault("start-missing", "no start: the root is the first part",
          {"multipart_type": 'multipart/related; boundary="{boundary}"; type="application/xop+xml"'}, whole=True),
    Fault("start-unbracketed", "start without angle brackets", {"start": "{root_id}"}, whole=True),
    Fault("start-wrong", "start names no part", {"start": "<nobody@repository.example>"}, whole=True),
    Fault("type-wrong", "type and start-info of something else",
          {"multipart_type": 'multipart/related; boundary="{boundary}"; type="text/plain"; start="{start}"; '
                             'start-info="image/png"'}, whole=True),
    Fault("boundary-missing", "no boundary in the header",
          {"multipart_type": 'multipart/related; start="{start}"'}, whole=True),
    Fault("boundary-wrong", "another boundary in the header",
          {"multipart_type": 'multipart/related; boundary="another"; start="{start}"'}, whole=True),
    Fault("labelled-xml", "parts under the label of XML", {"multipart_type": "{soap_type}; charset=utf-8"}, whole=True),
    Fault("labelled-multipart", "an envelope under the label of parts",
          {"packaging": "plain", "plain_type": 'multipart/related; boundary="{boundary}"'}, whole=True),
    Fault("no-preamble-crlf", "the first boundary is the first byte", {"preamble": b""}, whole=True),
    Fault("no-close", "no closing boundary", {"close": "missing"}, whole=True),
    Fault("close-without-eol", "nothing after the closing boundary", {"close": "no-eol-after"}, whole=True),
    Fault("close-glued", "no line end before the closing boundary: it may be part of the document", {"close": "no-eol-before"}),
    Fault("wrong-part-length", "parts that say they are shorter", {"part_length": -7}, whole=True),
    Fault("part-length-long", "parts that say they are longer", {"part_length": 1_000_000}, whole=True),
    Fault("many-parts", "ten thousand parts", {"idle_parts": 10_000}),
    Fault("huge-part-header", "a header of a megabyte in each part", {"header_padding": 1 << 20}),
)  # fmt: skip

_TRANSPORT = (
    Fault("gzip-unlabelled", "compressed, and nobody says so", {"gzip": True, "gzip_label": False, "framing": "chunked"}),
    Fault("gzip-bomb", "256 MiB of blanks, compressed", {"gzip": True, "root_blanks": 256 << 20, "framing": "chunked"}),
    Fault("huge-root", "64 MiB of blanks in the envelope", {"root_blanks": 64 << 20}),
    Fault("drip", "one byte a second", {"drip": (1, 1.0)}, whole=True),
    Fault("slow-drip", "ten bytes every hundredth of a second", {"drip": (10, 0.01)}, whole=True),
    Fault("crumbs", "pieces of 97 bytes", {"drip": (97, 0.0)}, whole=True),
    Fault("slow-start", "the first byte after two seconds", {"delay": 2.0}, whole=True),
    Fault("stall-start", "no answer at all", {"breaks": Break("stall", "start")}),
    Fault("stall-head", "the head, then nothing", {"breaks": Break("stall", "head")}),
    Fault("stall", "half a document, then nothing", {"breaks": Break("stall")}),
    Fault("reset-start", "reset before the first byte", {"breaks": Break("reset", "start")}),
    Fault("close-start", "closed before the first byte", {"breaks": Break("close", "start")}),
    Fault("reset-head", "the head, then a reset", {"breaks": Break("reset", "head")}),
    Fault("reset", "half a document, then a reset", {"breaks": Break("reset")}),
    Fault("truncated", "half a document, then the end", {"breaks": Break("close")}),
    Fault("cut-at-the-end", "everything but the end of the framing", {"breaks": Break("close", "end")}),
    Fault("length-long", "a Content-Length longer than the body", {"length_lie": 1000, "framing": "length"}),
    Fault("length-short", "a Content-Length shorter than the body", {"length_lie": -1000, "framing": "length"}),
    Fault("interim", "100 Continue that nobody asked for", {"interim": True}, whole=True),
    Fault("no-continue", "no 100 Continue when it was asked for", {"expects": False}, whole=True),
    Fault("cookies", "session cookies of a load balancer",
          {"fields": (("Set-Cookie", "JSESSIONID=4711; Path=/"), ("Set-Cookie", "ROUTE=b; Path=/"))}, whole=True),
)  # fmt: skip

_PLAIN: dict[str, Any] = {"packaging": "plain"}

_ENVELOPE = (
    Fault("inline-wrapped", "base64 in lines of 76", _PLAIN | {"inline": Inline(wrap=76)}, whole=True),
    Fault("inline-crlf", "base64 in lines that end in CRLF", _PLAIN | {"inline": Inline(wrap=64, eol=b"\r\n")}, whole=True),
    Fault("inline-blank", "blanks around base64", _PLAIN | {"inline": Inline(around=b" \n\t ")}, whole=True),
    Fault("inline-unpadded", "base64 without padding", _PLAIN | {"inline": Inline(padding=False)}, whole=True),
    Fault("inline-url-safe", "base64 of the other alphabet", _PLAIN | {"inline": Inline(url_safe=True)}, whole=True),
    Fault("inline-invalid", "a character that base64 does not have", _PLAIN | {"inline": Inline(spoil_at=1000)}),
    Fault("raw-text", "XML as escaped text in place of base64", _PLAIN | {"text": "escaped"}),
    Fault("charset-wrong", "declared as UTF-16, sent as UTF-8", {"declared_charset": "UTF-16"}),
    Fault("doctype", "a document type declaration", {"doctype": "plain"}),
    Fault("entities", "entities that expand without end", {"doctype": "entities"}),
    Fault("external-entity", "an entity that names a file", {"doctype": "external"}),
    Fault("nested", "ten thousand elements inside each other", {"nesting": 10_000}),
    Fault("media-type-injection", "line ends in the mimeType",
          {"media_type": "application/pdf\r\nX-Injected: yes"}, whole=True),
    Fault("media-type-missing", "no mimeType", {"media_type": ABSENT}, whole=True),
    Fault("media-type-empty", "an empty mimeType", {"media_type": ""}, whole=True),
    Fault("media-type-undefined", "the word undefined for a mimeType", {"media_type": "undefined"}, whole=True),
    Fault("media-type-odd", "upper case and blanks around", {"media_type": " APPLICATION/PDF "}, whole=True),
)  # fmt: skip

_ASKING = (
    Fault("requires-security", "no answer without an assertion", {"security": "required"}, whole=True),
    Fault("refuses-security", "a fault for every assertion", {"security": "refused"}, whole=True),
    Fault("refuses-addressing", "a fault for WS-Addressing headers", {"addressing": "refused"}, whole=True),
    Fault("mtom-only", "answers to MTOM requests alone", {"accepts": frozenset({"mtom"})}, whole=True),
    Fault("wants-oid-prefix", "repository ids begin with urn:oid:", {"repository_prefix": True}, whole=True),
    Fault("one-document", "one document in each request", {"most_documents": 1}, whole=True),
)


def _registry(name: str, about: str, changes: dict[str, Any], where: Literal["registry"] = "registry") -> Fault:
    return Fault(name, about, changes, whole=True, where=where)


_REGISTRY = (
    _registry("too-many", "more results than it gives", {"too_many": 0}),
    _registry("unknown-is-error", "an error for an unknown id", {"unknown_is_error": True}),
    _registry("delayed-assembly", "the size and hash of a document not made yet",
              {"entry_changes": (("size", "0"), ("hash", EMPTY_SHA1))}),
    _registry("wrong-size", "a size that is not the document's", {"entry_changes": (("size", "1"),)}),
    _registry("wrong-hash", "a hash that is not the document's", {"entry_changes": (("hash", "00" * 20),)}),
    _registry("no-hash", "an entry without size and hash", {"entry_changes": (("size", None), ("hash", None))}),
    _registry("bad-size", "a size that is no number", {"entry_changes": (("size", "about 3 MB"),)}),
    _registry("unknown-availability", "a status of no standard",
              {"entry_changes": (("status", "urn:oasis:names:tc:ebxml-regrep:StatusType:Frozen"),)}),
    _registry("deprecated", "an entry that was replaced",
              {"entry_changes": (("status", "urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated"),)}),
    _registry("offline", "a document that must be fetched from a vault",
              {"entry_changes": (("documentAvailability", "Offline"),)}),
)  # fmt: skip

FAULTS = {
    one.name: one
    for one in (
        *_HTTP, *_SOAP, *_REGISTRY_RESPONSE, *_MIME, *_TRANSPORT, *_ENVELOPE, *_ASKING, *_REGISTRY,
    )
}  # fmt: skip
"""By name."""


def named(text: str) -> Personality:
    """A personality by name, with faults behind plus signs: "cxf", "cxf+lf-only+drip", "truncated".

    Where a name is of a fault or a whole personality alike, the first word means the personality. Raises `KeyError`.
    """
    first, *others = text.split("+")
    personality = PERSONALITIES[first] if first in PERSONALITIES else FAULTS[first].on(STANDARD)
    for name in others:
        personality = FAULTS[name].on(personality)
    return personality
