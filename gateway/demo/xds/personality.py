"""How a repository writes its answers and what it asks of requests: one frozen set of switches.

Rules of this module: data only. Every default is what the profile says (IHE ITI TF-2 3.43, SOAP 1.2, XOP, RFC 2387), so
that a personality names what is special about it. `vendors` holds the personalities, `faults` what can go wrong;
a fault is nothing but other switches, so any fault works on any personality.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gateway.demo.xds.contents import Inline

SUCCESS = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"
FAILURE = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Failure"
PARTIAL = "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"
OASIS_PARTIAL = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:PartialSuccess"
ERROR = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Error"
WARNING = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Warning"


class Absent(enum.Enum):
    """Says that something is left out where None means the ordinary value."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Canned:
    """An answer that is not SOAP at all. A `media_type` of None sends no Content-Type."""

    status: int
    body: bytes = b""
    media_type: str | None = "text/html; charset=utf-8"
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SoapFault:
    """A SOAP fault in the terms of SOAP 1.2; SOAP 1.1 says the same in its own.

    `code` is "Sender", "Receiver", "MustUnderstand" or "VersionMismatch"; `subcode` a name with a prefix the envelope
    binds (`wsse:InvalidSecurity`). `status` is the HTTP status, None for the binding's own.
    """

    code: str
    reason: str
    subcode: str | None = None
    status: int | None = None
    not_understood: str | None = None
    """The header block that was not understood, as {namespace}local."""
    multipart: bool = False


@dataclass(frozen=True, slots=True)
class RegistryError:
    """One entry of a RegistryErrorList (ebRS 3.0, section 2.1.6)."""

    code: str
    context: str = "Invented for software tests"
    severity: str = ERROR
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Break:
    """Where an answer stops, and what happens then.

    Places: "start" before any byte; "head" after the HTTP head; "payload" after `after` bytes of the document as it
    goes over the wire (None for half of it); "end" after everything but the end of the framing. "stall" sends nothing
    more until `FakeRepository.release` or until the reader leaves, then goes on; "close" ends in order; "reset" aborts.
    """

    how: Literal["stall", "close", "reset"]
    where: Literal["start", "head", "payload", "end"] = "payload"
    after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefixes:
    """The namespace prefixes of a stack; "" makes it the default namespace of the element."""

    soap: str = "soap"
    wsa: str = "wsa"
    xdsb: str = "xdsb"
    rs: str = "rs"
    rim: str = "rim"
    query: str = "query"
    xop: str = "xop"
    wsse: str = "wsse"


Encoding = Literal["mtom", "soap12", "soap11"]

ENCODINGS: frozenset[Encoding] = frozenset({"mtom", "soap12", "soap11"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Personality:
    """The switches. `whole` says whether a careful reader gets the true document out of the answer."""

    name: str
    about: str = ""
    whole: bool = True

    # What is asked of requests
    accepts: frozenset[Encoding] = ENCODINGS
    addressing: Literal["required", "optional", "refused"] = "required"
    """Whether WS-Addressing headers must be there; "refused" answers a mustUnderstand fault to them."""
    security: Literal["required", "optional", "refused"] = "optional"
    """The same for wsse:Security, which holds the SAML assertion (XUA)."""
    address: str | None = None
    """What wsa:To must say; anything if None."""
    most_documents: int = 1000
    repository_prefix: bool | None = None
    """Whether repository ids must (True) or must not (False) begin with urn:oid:."""

    # HTTP
    instead: Canned | None = None
    status: int = 200
    framing: Literal["length", "chunked", "close"] = "length"
    fields: tuple[tuple[str, str], ...] = ()
    interim: bool = False
    """Send 100 Continue before every answer, asked or not."""
    expects: bool = True
    """Answer `Expect: 100-continue`."""
    gzip: bool = False
    gzip_label: bool = True
    length_lie: int = 0
    """Added to the Content-Length."""
    keep_alive: bool = True
    delay: float = 0
    """Seconds before the first byte."""
    drip: tuple[int, float] | None = None
    """Bytes at a time and the seconds between them."""
    breaks: Break | None = None

    # MIME. Placeholders: {boundary} {start} {root_id} {soap_type} {action} {charset}; of a part {part_id}
    # {escaped_part_id} {number} {media_type}
    packaging: Literal["follow", "mtom", "unoptimised", "plain", "swa"] = "follow"
    """"follow" answers a multipart request with MTOM and a plain one with plain SOAP (ITI TF-2 appendix V.3.6)."""
    multipart_type: str = (
        'multipart/related; boundary="{boundary}"; type="application/xop+xml"; start="{start}"; '
        'start-info="{soap_type}"; action="{action}"'
    )
    plain_type: str = "{soap_type}; charset={charset}"
    boundary: str = "MIMEBoundary_3f1a7d5c"
    root_type: str = 'application/xop+xml; charset={charset}; type="{soap_type}"'
    root_id: str = "root@repository.example"
    root_id_header: str = "<{root_id}>"
    start: str = "<{root_id}>"
    part_id: str = "{number}@repository.example"
    part_id_header: str = "<{part_id}>"
    href: str = "cid:{escaped_part_id}"
    part_type: str = "application/octet-stream"
    root_encoding: str | None = "binary"
    part_encoding: str | None = "binary"
    """The Content-Transfer-Encoding; base64 and quoted-printable encode, anything else is a word."""
    header_case: Literal["title", "lower", "upper"] = "title"
    header_padding: int = 0
    """Bytes of a needless header field in each part."""
    eol: bytes = b"\r\n"
    preamble: bytes = b""
    epilogue: bytes = b""
    close: Literal["whole", "missing", "no-eol-before", "no-eol-after"] = "whole"
    part_length: int | None = None
    """Send a Content-Length in each part, wrong by so many bytes."""
    root_last: bool = False
    idle_parts: int = 0
    """Parts that nothing refers to, between the root and the documents."""
    duplicate_part: bool = False
    """Each document's part comes a second time, with other bytes under the same Content-ID."""

    # SOAP
    soap: Literal["same", "1.1", "1.2", "other"] = "same"
    prefixes: Prefixes = field(default_factory=Prefixes)
    declared: Literal["envelope", "use"] = "use"
    pretty: bool = False
    declaration: str = '<?xml version="1.0" encoding="{charset}"?>'
    charset: str = "UTF-8"
    declared_charset: str | None = None
    bom: bool = False
    lead: bytes = b""
    """Before the envelope."""
    root_blanks: int = 0
    """Blanks inside the envelope, for sizes that nobody should hold."""
    nesting: int = 0
    """Elements inside each other, in a header block."""
    doctype: Literal["none", "plain", "entities", "external"] = "none"
    response_action: str | Absent | None = None
    """The wsa:Action of answers: the profile's if None."""
    relates: bool = True

    # The answer to a retrieval
    fault: SoapFault | None = None
    registry_status: str | None = None
    errors: tuple[RegistryError, ...] | Absent | None = None
    """None for the errors there are; ABSENT leaves the list out even where the status is a failure."""
    empty_error_list: bool = False
    answers: Literal["asked", "none", "two", "another"] = "asked"
    """"another" sends somebody else's document under its own id; "two" sends that one first and then the right one."""
    deferred: bool = False
    says_document: str | Absent | None = None
    says_repository: str | Absent | None = None
    says_home: str | Absent | None = None
    media_type: str | Absent | None = None
    empty_document: bool = False
    text: Literal["base64", "escaped", "cdata"] = "base64"
    """How a document stands in the envelope where it is not a part of its own; the others hold the XML itself."""
    inline: Inline = field(default_factory=Inline)
    include_around: str = ""
    home_tag: str = "HomeCommunityId"

    # The answer to a query
    too_many: int | None = None
    """XDSTooManyResults above this number of objects."""
    unknown_is_error: bool = False
    """GetDocuments of an unknown id answers XDSRegistryError where the profile says an empty list."""
    entry_changes: tuple[tuple[str, str | None], ...] = ()
    """Slots and attributes of document entries that are other than the truth; None leaves one out."""

    def but(self, **changes: Any) -> Personality:
        """This personality with other switches."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong, as switches. `where` names the endpoint that it is meant for."""

    name: str
    about: str
    changes: dict[str, Any]
    whole: bool = False
    where: Literal["repository", "registry"] = "repository"

    def on(self, personality: Personality) -> Personality:
        """The personality with this fault."""
        whole = personality.whole and self.whole
        return personality.but(
            name=f"{personality.name}+{self.name}", about=self.about, **({"whole": whole} | self.changes)
        )

    def but(self, **changes: Any) -> Fault:
        """This fault with other switches as well."""
        return replace(self, changes={**self.changes, **changes})
