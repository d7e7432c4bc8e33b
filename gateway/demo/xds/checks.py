"""What a repository wants of a request's headers: WS-Addressing, mustUnderstand, a SAML assertion.

Rules of this module: strict where the standards are, and what a personality wants beyond them. A request that fails
raises `Refused` with the fault that a repository would send. Signatures are not verified.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from gateway.demo.xds import names
from gateway.demo.xds.asking import Asked, Refused, sender
from gateway.demo.xds.personality import Canned, Personality, SoapFault


def check(asked: Asked, personality: Personality, expected: str) -> None:
    """Headers, encoding and security as this personality wants them. Raises `Refused`."""
    fault = (
        _encoding(asked, personality)
        or _mandatory(asked, personality)
        or _addressing(asked, personality, expected)
        or _security(asked, personality)
    )
    if fault is not None:
        raise Refused(fault, soap=asked.soap)


def _encoding(asked: Asked, personality: Personality) -> SoapFault | Canned | None:
    if asked.encoding in personality.accepts:
        return None
    return Canned(415, b"This service takes other SOAP messages.\n", "text/plain")


def _mandatory(asked: Asked, personality: Personality) -> SoapFault | None:
    """Header blocks that must be understood and are not (SOAP 1.2 part 1, section 2.4)."""
    understood = set()
    if personality.addressing != "refused":
        understood.add(names.WSA)
    if personality.security != "refused":
        understood.add(names.WSSE)
    for block in asked.header.children if asked.header else []:
        namespace = block.name.lstrip("{").partition("}")[0]
        must = block.attributes.get(f"{{{asked.soap}}}mustUnderstand")
        if must not in (None, "0", "1", "true", "false") or (asked.soap == names.SOAP11 and must in ("true", "false")):
            return sender("mustUnderstand is neither true nor false")
        if must in ("1", "true") and namespace not in understood:
            return SoapFault("MustUnderstand", "A header block was not understood", not_understood=block.name)
    return None


def _addressing(asked: Asked, personality: Personality, expected: str) -> SoapFault | None:
    """WS-Addressing 1.0 SOAP Binding, sections 5 and 6."""
    if personality.addressing == "refused":
        return None
    for local in ("To", "Action", "MessageID", "ReplyTo"):
        found = asked.headers(names.WSA, local)
        if len(found) > 1:
            return SoapFault("Sender", f"wsa:{local} stands twice", "wsa:InvalidAddressingHeader")
        if not found and personality.addressing == "required" and local != "ReplyTo":
            return SoapFault("Sender", f"wsa:{local} is missing", "wsa:MessageAddressingHeaderRequired")
    action = asked.address("Action")
    if action is not None and action != expected:
        return SoapFault("Sender", "The action cannot be processed at the receiver", "wsa:ActionNotSupported")
    if action is not None and asked.action is not None and asked.action != action:
        return SoapFault("Sender", "wsa:Action and the action of HTTP differ", "wsa:InvalidAddressingHeader")
    if personality.address is not None and asked.address("To") != personality.address:
        return SoapFault("Sender", "No such destination", "wsa:DestinationUnreachable")
    message_id = asked.message_id
    if message_id is not None and not _IRI.fullmatch(message_id):
        return SoapFault("Sender", "wsa:MessageID is not an IRI", "wsa:InvalidAddressingHeader")
    for reply in asked.headers(names.WSA, "ReplyTo"):
        if reply.value(f"{{{names.WSA}}}Address") != names.ANONYMOUS:
            return SoapFault("Sender", "Only the anonymous reply address", "wsa:OnlyAnonymousAddressSupported")
    return None


_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


def _security(asked: Asked, personality: Personality) -> SoapFault | None:
    """Whether an assertion came that is still valid, where one must (ITI TF-2 3.40, SAML 2.0 core 2.5.1)."""
    if personality.security != "required":
        return None
    if asked.assertion is None:
        return SoapFault("Sender", "No security token was provided", "wsse:InvalidSecurity")
    ends = _ENDS.search(asked.assertion)
    if ends and datetime.fromisoformat(ends[1].decode()) <= datetime.now(UTC):
        return SoapFault("Sender", "The security token has expired", "wsse:InvalidSecurityToken")
    return None


_ENDS = re.compile(rb"""<(?:\w+:)?Conditions\b[^>]*\bNotOnOrAfter=["']([0-9T:.+-]+Z?)["']""")
