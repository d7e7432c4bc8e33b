"""What a request asks: the SOAP envelope out of an HTTP request, taken apart.

Rules of this module: strict where the profile is, since a repository that forgives hides a client's mistakes; written
without any code of the gateway's own readers. Bytes in, values out; a request that cannot be answered raises `Refused`
with the fault that a repository would send. Sources: SOAP 1.1, SOAP 1.2 part 2, MTOM section 3, RFC 2387.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from xml.parsers import expat

from gateway.demo.xds import names
from gateway.demo.xds.personality import Canned, Encoding, SoapFault
from gateway.demo.xds.request import Request


class Refused(Exception):
    """The request gets this answer instead."""

    def __init__(self, answer: SoapFault | Canned, *, soap: str = names.SOAP12) -> None:
        super().__init__(str(answer))
        self.answer = answer
        self.soap = soap


@dataclass(slots=True)
class Node:
    """An element as it was read. `start` and `stop` are the bytes of the envelope that it covers."""

    name: str
    attributes: dict[str, str]
    start: int
    stop: int = 0
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def all(self, name: str) -> list[Node]:
        """The children of this {namespace}local."""
        return [child for child in self.children if child.name == name]

    def first(self, name: str) -> Node | None:
        return next(iter(self.all(name)), None)

    def value(self, name: str) -> str | None:
        """The text of the first child of this name, as it stands but for blanks around."""
        child = self.first(name)
        return None if child is None else child.text.strip()


@dataclass(frozen=True, slots=True)
class Asked:
    """A SOAP request. `envelope` holds its bytes as they came, `body` is the one element inside soap:Body."""

    encoding: Encoding
    soap: str
    envelope: bytes
    header: Node | None
    body: Node
    action: str | None
    """What HTTP says: the parameter `action` or the field SOAPAction."""

    def headers(self, namespace: str, local: str) -> list[Node]:
        return self.header.all(f"{{{namespace}}}{local}") if self.header else []

    def address(self, local: str) -> str | None:
        """The text of a WS-Addressing header."""
        found = self.headers(names.WSA, local)
        return found[0].text.strip() if found else None

    @property
    def message_id(self) -> str | None:
        return self.address("MessageID")

    @property
    def security(self) -> bytes | None:
        """The block wsse:Security, byte for byte."""
        found = self.headers(names.WSSE, "Security")
        return self.envelope[found[0].start : found[0].stop] if found else None

    @property
    def assertion(self) -> bytes | None:
        """The SAML assertion, byte for byte."""
        for block in self.headers(names.WSSE, "Security"):
            for one in block.all(f"{{{names.SAML}}}Assertion"):
                return self.envelope[one.start : one.stop]
        return None


# --- HTTP and MIME -------------------------------------------------------------------------------------------------


def read(request: Request) -> Asked:
    """The SOAP request that came. Raises `Refused`."""
    said = request.field("Content-Type") or ""
    media_type, parameters = parameters_of(said)
    match media_type:
        case "multipart/related":
            envelope, action = _root(request.body, parameters)
            encoding: Encoding = "mtom"
        case "application/soap+xml":
            envelope, action, encoding = request.body, parameters.get("action"), "soap12"
        case "text/xml":
            envelope, encoding = request.body, "soap11"
            action = (request.field("SOAPAction") or "").strip('"') or None
            if request.field("SOAPAction") is None:
                raise Refused(sender("SOAPAction is missing"), soap=names.SOAP11)
        case _:
            raise Refused(Canned(415, b"Not a media type of SOAP.\n", "text/plain"))
    root = parse(envelope)
    namespace, _, local = root.name.lstrip("{").partition("}")
    if local != "Envelope" or namespace not in (names.SOAP11, names.SOAP12):
        raise Refused(SoapFault("VersionMismatch", "No SOAP envelope"))
    if namespace != (names.SOAP11 if encoding == "soap11" else names.SOAP12):
        raise Refused(Canned(415, b"The envelope is of another SOAP version than the Content-Type.\n", "text/plain"))
    body = root.first(f"{{{namespace}}}Body")
    if body is None or len(body.children) != 1:
        raise Refused(sender("soap:Body does not hold one element"), soap=namespace)
    header = root.first(f"{{{namespace}}}Header")
    return Asked(encoding, namespace, envelope, header, body.children[0], action)


def parameters_of(value: str) -> tuple[str, dict[str, str]]:
    """A media type in lower case and its parameters."""
    message = Message()
    message["Content-Type"] = value
    (media_type, _), *parameters = message.get_params(failobj=[("", "")])
    return media_type.lower(), {name.lower(): text for name, text in parameters}


def _root(body: bytes, parameters: dict[str, str]) -> tuple[bytes, str | None]:
    """The root part of an MTOM request and the action; everything that MTOM demands is looked at."""
    for name in ("boundary", "start", "start-info"):
        if not parameters.get(name):
            raise Refused(sender(f"multipart/related without {name}"))
    if parameters.get("type") != "application/xop+xml":
        raise Refused(sender("multipart/related of another type than application/xop+xml"))
    if parameters_of(parameters["start-info"])[0] != "application/soap+xml":
        raise Refused(sender("start-info is not application/soap+xml"))
    parts = _parts(body, parameters["boundary"].encode("latin-1"))
    fields, content = next((one for one in parts if one[0].get("content-id") == parameters["start"]), ({}, b""))
    if not fields:
        raise Refused(sender("start names no part"))
    media_type, of_root = parameters_of(fields.get("content-type", ""))
    if media_type != "application/xop+xml" or parameters_of(of_root.get("type", ""))[0] != "application/soap+xml":
        raise Refused(sender("the root part is not application/xop+xml of application/soap+xml"))
    return content, parameters.get("action")


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
    delimiter = b"\r\n--" + boundary
    pieces = (b"\r\n" + body).split(delimiter)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise Refused(sender("the multipart has no closing boundary"))
    for piece in pieces[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = (line.partition(":")[::2] for line in lines)
        yield {name.lower(): value.strip() for name, value in fields}, content


# --- XML -----------------------------------------------------------------------------------------------------------


def parse(data: bytes) -> Node:
    """The tree of an XML document, without document types. Raises `Refused`."""
    parser = expat.ParserCreate(namespace_separator=" ")
    top = Node("", {}, 0)
    stack = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        named = {_clark(key): value for key, value in attributes.items()}
        node = Node(_clark(name), named, parser.CurrentByteIndex)
        stack[-1].children.append(node)
        stack.append(node)

    def end(_name: str) -> None:
        node = stack.pop()
        stop = _tag_end(data, node.start)
        # Where an empty element ends, the parser already points behind it.
        node.stop = stop if data[stop - 2 : stop] == b"/>" else _tag_end(data, parser.CurrentByteIndex)

    def characters(text: str) -> None:
        stack[-1].text += text

    def doctype(*_: object) -> None:
        raise Refused(sender("SOAP does not allow a document type declaration"))

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = characters, doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError:
        raise Refused(sender("not well-formed XML")) from None
    return top.children[0]


def _tag_end(data: bytes, start: int) -> int:
    """Behind the tag that begins at `start`; a bracket inside an attribute's value does not end it."""
    found = _TAG.match(data, start)
    return found.end() if found else start


_TAG = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*>""")


def _clark(name: str) -> str:
    namespace, blank, local = name.rpartition(" ")
    return f"{{{namespace}}}{local}" if blank else name


def sender(reason: str) -> SoapFault:
    """A fault that blames the request."""
    return SoapFault("Sender", reason)
