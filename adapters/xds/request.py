"""A SOAP request as bytes: one envelope, packed in one of three ways.

    sent = message(Packing("mtom"), action="urn:x:Do", to="https://host/service", body=b"<Do/>", id=new_message_id())
    sent.content_type, sent.soap_action, sent.body

Rules of this module: pure, and nothing of XDS. Everything is put together as bytes, so that a signed assertion goes into the
envelope exactly as its issuer wrote it. Namespaces are declared where they are used and never as a default: what is spliced in
keeps the meaning that it had where it came from.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

Encoding = Literal["mtom", "soap12", "soap11"]
AddressingHeader = Literal["action", "message_id", "to", "reply_to"]

SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://www.w3.org/2005/08/addressing"
ANONYMOUS = "http://www.w3.org/2005/08/addressing/anonymous"
SECURITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"

# XML 1.0, production Char.
_not_xml = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]").search


@dataclass(frozen=True, slots=True)
class Packing:
    """What one service wants its requests to look like."""

    encoding: Encoding = "mtom"
    addressing: tuple[AddressingHeader, ...] = ("action", "message_id", "to", "reply_to")
    must_understand: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """A request as it is posted. `soap_action` is the header field SOAPAction of SOAP 1.1, None for 1.2."""

    content_type: str
    soap_action: str | None
    body: bytes


def new_message_id() -> str:
    """A wsa:MessageID, by which an answer and the service's own log name the request."""
    return uuid.uuid4().urn


def escaped(text: str) -> str:
    """`text` as it stands in an element or in an attribute between double quotes.

    Raises `ValueError` when it holds what XML 1.0 cannot say.
    """
    if _not_xml(text):
        raise ValueError("the text holds a character that XML does not have")
    return escape(text, {'"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})


def element(name: str, text: str) -> bytes:
    """`<name>text</name>`, with the text escaped. Raises `ValueError` as `escaped` does."""
    return f"<{name}>{escaped(text)}</{name}>".encode()


def message(packing: Packing, *, action: str, to: str, body: bytes, id: str, assertion: bytes | None = None) -> Message:
    """The request `body` for the operation `action`, addressed to `to`.

    `assertion` is a SAML assertion in UTF-8 without an XML declaration; it is spliced into a wsse:Security header.
    """
    xml = _envelope(packing, action, to, body, id, assertion)
    if packing.encoding == "soap11":
        return Message("text/xml; charset=UTF-8", f'"{action}"', xml)
    if packing.encoding == "soap12":
        return Message(f'application/soap+xml; charset=UTF-8; action="{action}"', None, xml)
    return _packaged(xml, action)


def _envelope(packing: Packing, action: str, to: str, body: bytes, id: str, assertion: bytes | None) -> bytes:
    namespace = SOAP11 if packing.encoding == "soap11" else SOAP12
    headers = list(_addressing(packing, action, to, id))
    if assertion is not None:
        headers += [
            f'<wsse:Security xmlns:wsse="{SECURITY}"{_understand(packing)}>'.encode(),
            assertion,
            b"</wsse:Security>",
        ]
    header = b"<soap:Header>" + b"".join(headers) + b"</soap:Header>" if headers else b""
    return b"".join(
        (
            b'<?xml version="1.0" encoding="UTF-8"?>\n',
            f'<soap:Envelope xmlns:soap="{namespace}">'.encode(),
            header,
            b"<soap:Body>",
            body,
            b"</soap:Body></soap:Envelope>",
        )
    )


def _addressing(packing: Packing, action: str, to: str, id: str) -> list[bytes]:
    """WS-Addressing 1.0 SOAP binding, in the order of its specification's examples."""

    def header(name: str, content: str, attributes: str = "") -> bytes:
        return f'<wsa:{name} xmlns:wsa="{ADDRESSING}"{attributes}>{content}</wsa:{name}>'.encode()

    made: dict[AddressingHeader, Callable[[], bytes]] = {
        "action": lambda: header("Action", escaped(action), _understand(packing)),
        "message_id": lambda: header("MessageID", escaped(id)),
        "reply_to": lambda: header("ReplyTo", f"<wsa:Address>{ANONYMOUS}</wsa:Address>"),
        "to": lambda: header("To", escaped(to)),
    }
    return [make() for name, make in made.items() if name in packing.addressing]


def _understand(packing: Packing) -> str:
    return ' soap:mustUnderstand="1"' if packing.must_understand else ""


def _packaged(xml: bytes, action: str) -> Message:
    """The envelope as the root, and only, part of an XOP package (MTOM 1.0, 3.2; RFC 2387)."""
    mark = uuid.uuid4().hex
    boundary, root = f"MIMEBoundary_{mark}", f"<root.{mark}@gateway>"
    head = (
        f"--{boundary}\r\n"
        'Content-Type: application/xop+xml; charset=UTF-8; type="application/soap+xml"\r\n'
        "Content-Transfer-Encoding: binary\r\n"
        f"Content-ID: {root}\r\n\r\n"
    )
    content_type = (
        f'multipart/related; boundary="{boundary}"; type="application/xop+xml"; start="{root}"; '
        f'start-info="application/soap+xml"; action="{action}"'
    )
    return Message(content_type, None, head.encode() + xml + f"\r\n--{boundary}--\r\n".encode())
