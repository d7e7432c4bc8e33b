"""The fake XDS repository for tests, with certificates and with requests that are written by hand.

    async with fake_repository(letter(1)) as fake:
        fake.next("truncated")
        answer = await ask(fake, retrieve(letter(1)))

`gateway.demo.xds` is the server and says what it can do. Requests are put together here from text, so that the server is
tried without the client that it was made for.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.demo.xds import STANDARD, Document, FakeRepository, Personality
from tests.support.raw_http import Answer, exchange, request

RETRIEVE = "urn:ihe:iti:2007:RetrieveDocumentSet"
CROSS_RETRIEVE = "urn:ihe:iti:2007:CrossGatewayRetrieve"
STORED_QUERY = "urn:ihe:iti:2007:RegistryStoredQuery"
FIND_DOCUMENTS = "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d"
GET_DOCUMENTS = "urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4"
APPROVED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"

SOAP = {
    "mtom": "http://www.w3.org/2003/05/soap-envelope",
    "soap12": "http://www.w3.org/2003/05/soap-envelope",
    "soap11": "http://schemas.xmlsoap.org/soap/envelope/",
}
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"

MTOM = (
    'multipart/related; boundary="b-1"; type="application/xop+xml"; start="<root@test>"; '
    'start-info="application/soap+xml"; action="{action}"'
)


@asynccontextmanager
async def fake_repository(
    *documents: Document, personality: Personality = STANDARD, tls: ssl.SSLContext | None = None
) -> AsyncIterator[FakeRepository]:
    """A fake repository that listens on a free loopback port while the context lasts."""
    async with FakeRepository(documents, personality=personality, tls=tls).serving() as fake:
        yield fake


# --- requests ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    """A request's header fields and body."""

    fields: tuple[tuple[str, str], ...]
    body: bytes

    def message(self, target: str, *, extra: tuple[tuple[str, str], ...] = ()) -> bytes:
        """The whole request; its connection ends afterwards."""
        length = ("Content-Length", str(len(self.body)))
        fields = (*self.fields, length, ("Connection", "close"), *extra)
        return request(target, method="POST", fields=fields, body=self.body)


def retrieve(
    *documents: Document,
    encoding: str = "mtom",
    action: str = RETRIEVE,
    home: str | None = None,
    headers: str = "wsa",
    prefix: str = "",
) -> Written:
    """RetrieveDocumentSet for these documents. `headers` is "wsa", or the blocks themselves as XML."""
    asked = "".join(
        "<x:DocumentRequest>"
        + (f"<x:HomeCommunityId>{escape(home)}</x:HomeCommunityId>" if home else "")
        + f"<x:RepositoryUniqueId>{escape(prefix + one.repository)}</x:RepositoryUniqueId>"
        + f"<x:DocumentUniqueId>{escape(one.unique_id)}</x:DocumentUniqueId></x:DocumentRequest>"
        for one in documents
    )
    body = f'<x:RetrieveDocumentSetRequest xmlns:x="urn:ihe:iti:xds-b:2007">{asked}</x:RetrieveDocumentSetRequest>'
    return written(body, encoding=encoding, action=action, headers=headers)


def query(query_id: str, *, returns: str = "LeafClass", home: str | None = None, **slots: str) -> Written:
    """A stored query; a slot's name is written without its $XDSDocumentEntry, its value as the registry wants it."""
    values = "".join(
        f'<r:Slot name="$XDSDocumentEntry{name}"><r:ValueList><r:Value>{escape(value)}</r:Value></r:ValueList></r:Slot>'
        for name, value in slots.items()
    )
    of_home = f" home={quoteattr(home)}" if home else ""
    body = (
        '<q:AdhocQueryRequest xmlns:q="urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0" '
        'xmlns:r="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0">'
        f'<q:ResponseOption returnType="{returns}" returnComposedObjects="true"/>'
        f'<r:AdhocQuery id="{query_id}"{of_home}>{values}</r:AdhocQuery></q:AdhocQueryRequest>'
    )
    return written(body, encoding="soap12", action=STORED_QUERY)


def written(body: str, *, encoding: str, action: str, headers: str = "wsa") -> Written:
    """A SOAP request with this XML inside its body."""
    if headers == "wsa":
        headers = addressing(action)
    envelope = (
        f'<s:Envelope xmlns:s="{SOAP[encoding]}"><s:Header>{headers}</s:Header><s:Body>{body}</s:Body></s:Envelope>'
    ).encode()
    match encoding:
        case "mtom":
            head = (
                b"--b-1\r\nContent-Type: application/xop+xml; charset=UTF-8; "
                b'type="application/soap+xml"\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <root@test>\r\n\r\n'
            )
            return Written((("Content-Type", MTOM.format(action=action)),), head + envelope + b"\r\n--b-1--\r\n")
        case "soap12":
            return Written((("Content-Type", f'application/soap+xml; charset=UTF-8; action="{action}"'),), envelope)
        case _:
            fields = (("Content-Type", "text/xml; charset=UTF-8"), ("SOAPAction", f'"{action}"'))
            return Written(fields, envelope)


def addressing(action: str, *, leave_out: str = "", more: str = "") -> str:
    """The WS-Addressing headers, but for one that is left out, and more header blocks behind them."""
    blocks = {
        "To": "https://repository.test/",
        "MessageID": "urn:uuid:0d3c1c9e-1111-4222-8333-9a8b7c6d5e4f",
        "Action": action,
        "ReplyTo": "<a:Address>http://www.w3.org/2005/08/addressing/anonymous</a:Address>",
    }
    binding = 'xmlns:a="http://www.w3.org/2005/08/addressing"'
    said = (f"<a:{name} {binding}>{text}</a:{name}>" for name, text in blocks.items() if name != leave_out)
    return "".join(said) + more


def security(assertion: str) -> str:
    """A wsse:Security block around this assertion."""
    return f'<o:Security xmlns:o="{WSSE}">{assertion}</o:Security>'


def assertion(*, ends: str = "2999-01-01T00:00:00Z", text: str = "somebody") -> str:
    """A SAML assertion that nobody signed. `ends` is an instant in UTC."""
    return (
        '<saml2:Assertion xmlns:saml2="urn:oasis:names:tc:SAML:2.0:assertion" ID="_1" Version="2.0">\n'
        f'  <saml2:Conditions NotBefore="2020-01-01T00:00:00Z"   NotOnOrAfter="{ends}"/>'
        f"<saml2:Subject><saml2:NameID>{escape(text)}</saml2:NameID></saml2:Subject></saml2:Assertion>"
    )


async def ask(fake: FakeRepository, said: Written, path: str = "/repository") -> Answer:
    """One request on a connection of its own, read by a strict HTTP client."""
    (answer,) = await exchange(fake.host, fake.port, said.message(path), methods=("POST",))
    return answer


# --- certificates --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority of a test; its files lie in `directory`."""

    def __init__(self, directory: Path, name: str = "Test authority", *, below: Authority | None = None) -> None:
        """`below` is who certifies this authority; itself, when nobody does."""
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = below or self
        builder = _builder(self._name, issuer._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        self._certificate = builder.add_extension(usage, critical=True).sign(issuer._key, hashes.SHA256())
        self.file = directory / f"{name.replace(' ', '-').lower()}.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, *, client: bool = False, expired: bool = False, known_as: tuple[x509.GeneralName, ...] = ()
    ) -> Pair:
        """A certificate for a server of this host name or address, or for a client of this name.

        `known_as` are further subject alternative names.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = _builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), self._name, key, expired=expired)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        names = [*([] if client else [_host(name)]), *known_as]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        pair = Pair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair

    def server(self, name: str = "127.0.0.1", *, clients: bool = False, expired: bool = False) -> ssl.SSLContext:
        """A server's context; `clients` wants a certificate of this authority from each client (mutual TLS)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair = self.issue(name, expired=expired)
        context.load_cert_chain(pair.certificate, pair.key)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context

    def client(self, pair: Pair | None = None) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        context = ssl.create_default_context(cafile=self.file)
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, expired: bool = False
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    days = -1 if expired else 1
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=3 if expired else 0, hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
