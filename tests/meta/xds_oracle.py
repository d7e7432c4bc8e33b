"""Reads an XDS repository's answer with the standard library's mail parser and lxml: slow, whole, and nobody's own code.

It looks at bytes before labels, since that is what the labels of odd repositories ask for.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from typing import Any
from urllib.parse import unquote

from lxml import etree

NAMES = {
    "e11": "http://schemas.xmlsoap.org/soap/envelope/",
    "e12": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://www.w3.org/2005/08/addressing",
    "x": "urn:ihe:iti:xds-b:2007",
    "rs": "urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0",
    "rim": "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0",
    "q": "urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0",
    "xop": "http://www.w3.org/2004/08/xop/include",
}


@dataclass(frozen=True, slots=True)
class Found:
    """One DocumentResponse. `data` is None where what it refers to is not there."""

    home: str | None
    repository: str | None
    document: str | None
    new_document: str | None
    media_type: str | None
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer's envelope and its parts, in order; of an answer without parts the envelope is all there is."""

    envelope: Any
    parts: tuple[Message, ...]

    def all(self, path: str) -> list[Any]:
        """What an XPath with the prefixes of `NAMES` finds."""
        return list(self.envelope.xpath(path, namespaces=NAMES))

    def text(self, path: str) -> str | None:
        found = self.all(path)
        return None if not found else str(found[0].text or "")

    @property
    def status(self) -> str:
        """The last word of the registry response's status."""
        return str(self.all("//@status")[0]).rpartition(":")[2]

    @property
    def codes(self) -> list[str]:
        return [str(code) for code in self.all("//rs:RegistryError/@errorCode")]

    @property
    def documents(self) -> list[Found]:
        return [self._found(one) for one in self.all("//x:DocumentResponse")]

    def _found(self, response: Any) -> Found:
        def value(name: str) -> str | None:
            text = response.findtext(f"{{{NAMES['x']}}}{name}")
            return None if text is None else str(text)

        home = value("HomeCommunityId") or value("homeCommunityId")
        element = response.find(f"{{{NAMES['x']}}}Document")
        return Found(
            home, value("RepositoryUniqueId"), value("DocumentUniqueId"), value("NewDocumentUniqueId"),
            value("mimeType"), self._data(element),
        )  # fmt: skip

    def _data(self, element: Any) -> bytes | None:
        include = element.find(f"{{{NAMES['xop']}}}Include")
        text = (element.text or "").strip()
        href = include.get("href") if include is not None else text
        if href.startswith("cid:"):
            wanted = _plain(href[4:])
            return next((_payload(part) for part in self.parts if _plain(part["Content-ID"]) == wanted), None)
        if include is not None:
            return None
        if text.startswith("<"):
            return (element.text or "").encode()
        text = re.sub(r"\s", "", text).translate(str.maketrans("-_", "+/"))
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def read(content_type: str, body: bytes) -> Reading:
    """Take an answer apart. Raises what lxml raises for an envelope that is none."""
    start = body.lstrip(b"\r\n")
    if not re.search(rb"(?m)^--", body) or start.startswith((b"<", b"\xef\xbb\xbf", b"\xff\xfe")):
        return Reading(_xml(body), ())
    boundary = re.findall(rb"(?m)^--(.*?)\r?$", body)[0].decode("latin-1")
    if f"--{boundary}--".encode("latin-1") not in body:
        # Without its close the last part ends where the answer does; the mail parser would take a line end off it.
        body += f"\r\n--{boundary}--".encode("latin-1")
    message = message_from_bytes(f'Content-Type: multipart/related; boundary="{boundary}"\r\n\r\n'.encode() + body)
    parts = tuple(part for part in message.get_payload() if isinstance(part, Message))
    head = Message()
    head["Content-Type"] = content_type
    name = _plain(str(head.get_param("start") or ""))
    root = next((part for part in parts if _plain(part["Content-ID"]) == name), parts[0])
    return Reading(_xml(_payload(root)), parts)


def _plain(content_id: str) -> str:
    return unquote(content_id.strip().strip("<>"))


def _payload(part: Message) -> bytes:
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    return data


def _xml(data: bytes) -> Any:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    return etree.fromstring(data.strip(b"\r\n ") if data[:2] != b"\xff\xfe" else data, parser)
