"""The personalities: how the answers of known stacks look, and of repositories that are odd but whole.

Rules of this module: data only, each with the product or the habit it is drawn from. A careful reader gets the document
out of every one of them. What goes wrong is in `faults`.
"""

from __future__ import annotations

from gateway.demo.xds.contents import Inline
from gateway.demo.xds.personality import Personality, Prefixes

STANDARD = Personality(name="standard", about="as the profile's text has it")

_JAXB = Prefixes(soap="env", wsa="wsa", xdsb="ns4", rs="ns3", rim="ns2", query="ns5")

AXIS2 = Personality(
    name="axis2",
    about="Apache Axis2 1.6 and later: unquoted boundary, ids of the form N.urn:uuid:...@apache.org, chunked",
    framing="chunked",
    fields=(("Server", "Apache-Coyote/1.1"),),
    boundary="MIMEBoundaryurn_uuid_566EAD10FEBB55C5A61257193478450",
    multipart_type=(
        'multipart/related; boundary={boundary}; type="application/xop+xml"; start="{start}"; '
        'start-info="text/xml; charset=utf-8"; action="{action}"'
    ),
    root_id="0.urn:uuid:566EAD10FEBB55C5A61257193478451@apache.org",
    part_id="{number}.urn:uuid:566EAD10FEBB55C5A6125719347845{number}@apache.org",
    href="cid:{part_id}",
    prefixes=Prefixes(soap="soapenv", wsa="wsa", xdsb="xdsb", rs="rs"),
    declaration="<?xml version='1.0' encoding='{charset}'?>",
)
AXIS2_OLD = AXIS2.but(
    name="axis2-old",
    about="Axis2 1.4: start without angle brackets while the Content-ID has them",
    start="{root_id}",
    multipart_type=(
        'multipart/related; boundary={boundary}; type="application/xop+xml"; start="{start}"; '
        'start-info="application/soap+xml"'
    ),
)
CXF = Personality(
    name="cxf",
    about="Apache CXF 3: an empty line first, charset glued to the type, percent-encoded ids, an action of its own",
    framing="chunked",
    boundary="uuid:803a3a8f-6d8f-4e5c-9d0c-1f2b5a7c9e10",
    multipart_type=(
        'multipart/related; type="application/xop+xml"; boundary="{boundary}"; start="{start}"; '
        'start-info="{soap_type}";charset={charset}'
    ),
    preamble=b"\r\n",
    root_id="root.message@cxf.apache.org",
    part_id="c187f5ae-2f0a-4d3b-8a41-{number}@urn:ihe:iti:xds-b:2007",
    part_id_header="<{escaped_part_id}>",
    declaration="",
    declared="envelope",
    prefixes=_JAXB,
    response_action="\n   urn:ihe:iti:xds-b:2007:DocumentRepository_PortType:RetrieveDocumentSetResponse\n  ",
)
METRO = Personality(
    name="metro",
    about="Metro (JAX-WS RI), as in GlassFish: asterisk in the root's id, no blanks between parameters",
    framing="chunked",
    fields=(("Server", "GlassFish Server Open Source Edition  4.1"), ("X-Powered-By", "Servlet/3.1")),
    boundary="uuid:d1e2f304-5a6b-4c7d-8e9f-0a1b2c3d4e5f",
    multipart_type=(
        'multipart/related;start="{start}";type="application/xop+xml";boundary="{boundary}";start-info="{soap_type}"'
    ),
    root_type='application/xop+xml;charset=utf-8;type="{soap_type}"',
    root_id="rootpart*d1e2f304-5a6b-4c7d-8e9f-0a1b2c3d4e5f@example.jaxws.sun.com",
    part_id="a{number}-5f0e-4b5e@example.jaxws.sun.com",
    declaration="<?xml version='1.0' encoding='{charset}'?>",
    prefixes=Prefixes(soap="S", wsa="", xdsb="", rs="ns3", rim="ns2", query="ns5"),
)
WCF = Personality(
    name="wcf",
    about="Windows Communication Foundation: ids that are web addresses, the action inside start-info, 8bit root",
    fields=(("MIME-Version", "1.0"), ("Server", "Microsoft-IIS/10.0"), ("X-Powered-By", "ASP.NET")),
    boundary="uuid:6d0f4b0e-26a9-4d6f-9c2d-5f3f4f3c8d55+id=1",
    multipart_type=(
        'multipart/related; type="application/xop+xml";start="{start}";boundary="{boundary}";'
        'start-info="{soap_type}; action=\\"{action}\\""'
    ),
    preamble=b"\r\n",
    root_type='application/xop+xml;charset=utf-8;type="{soap_type}; action=\\"{action}\\""',
    root_id="http://tempuri.org/0",
    part_id="http://tempuri.org/{number}/638412345678901234",
    root_encoding="8bit",
    declaration="",
    prefixes=Prefixes(soap="s", wsa="a", xdsb="", rs="", rim="", query=""),
)
NIST = Personality(
    name="nist",
    about="NIST toolkit simulator: a constant boundary and two blanks before type",
    boundary="MIMEBoundary112233445566778899",
    multipart_type=(
        'multipart/related; boundary="{boundary}";  type="application/xop+xml"; start="{start}"; '
        'start-info="application/soap+xml"; action="{action}"'
    ),
    root_id="doc0@ihexds.nist.gov",
    part_id="doc{number}@ihexds.nist.gov",
    pretty=True,
    prefixes=Prefixes(soap="S", wsa="wsa", xdsb="xdsb", rs="rs"),
)
GEMATIK = CXF.but(
    name="gematik",
    about="a connector of the German infrastructure: start-info of the wrong SOAP version",
    boundary="_MIME_MTOM_Boundary_",
    multipart_type=(
        'multipart/related; boundary="{boundary}"; type="application/xop+xml"; start="{start}"; start-info="text/xml"'
    ),
)
SPRING_WS = METRO.but(
    name="spring-ws",
    about="Spring-WS: the @ of the id percent-encoded in the href",
    boundary="----=_Part_42_1204339087.1389024310671",
    multipart_type=(
        'multipart/related; type="application/xop+xml"; boundary="{boundary}"; start="{start}"; start-info="{soap_type}"'
    ),
    part_id="{number}-8c1a@spring.example",
    declared="envelope",
)
LOWER_CASE = AXIS2.but(
    name="lower-case",
    about="header names of parts in lower case, a stray semicolon in the root's type (Swiss Projectathon 2020)",
    header_case="lower",
    root_type='application/xop+xml; charset=UTF-8; type="application/soap+xml;"',
)
INLINE = Personality(
    name="inline",
    about="un-optimised MTOM: a multipart of one part with the document as base64 inside",
    packaging="unoptimised",
    inline=Inline(wrap=76, around=b"\n"),
)
PLAIN_SOAP12 = Personality(
    name="plain-soap12",
    about="answers plain SOAP 1.2 whatever was asked (Carequality gateways)",
    packaging="plain",
    soap="1.2",
    framing="chunked",
    prefixes=_JAXB,
)
SOAP11 = Personality(name="soap11", about="SOAP 1.1 only", accepts=frozenset({"soap11"}), packaging="plain", soap="1.1")
SWA = Personality(
    name="swa",
    about="SOAP with Attachments: the document is a part that the text of an element names, in base64",
    packaging="swa",
    soap="1.1",
    multipart_type='multipart/related; type="text/xml"; boundary="{boundary}"; start="{start}"',
    root_type="text/xml; charset={charset}",
    part_type="{media_type}",
    part_encoding="base64",
)
LF_ONLY = Personality(name="lf-only", about="line ends of MIME without carriage returns", eol=b"\n")
GZIP = Personality(name="gzip", about="a reverse proxy that compresses answers", gzip=True, framing="chunked")
ENCODED_CID = CXF.but(
    name="encoded-cid",
    about="the id percent-encoded in the href and plain in the header (CXF-8698)",
    part_id_header="<{part_id}>",
)
BARE_CID = Personality(
    name="bare-cid",
    about="Content-IDs without angle brackets",
    root_id_header="{root_id}",
    part_id_header=" {part_id} ",
)
ROOT_LAST = Personality(name="root-last", about="the envelope comes after the document; start names it", root_last=True)
BASE64_CTE = Personality(name="base64-cte", about="parts in base64, as mail has them", part_encoding="base64")
QUOTED_PRINTABLE = Personality(
    name="quoted-printable", about="parts in quoted-printable", part_encoding="quoted-printable", framing="chunked"
)
UNSAID_ENCODING = Personality(
    name="unsaid-encoding", about="no Content-Transfer-Encoding at all", root_encoding=None, part_encoding=None
)
STRANGE_BOUNDARY = Personality(
    name="strange-boundary",
    about="every special character that RFC 2046 allows in a boundary, and blanks inside",
    boundary="=_(next) part'+_,-./:=? 0",
)
EPILOGUE = Personality(
    name="epilogue",
    about="words before the first and after the last boundary",
    preamble=b"This is a message in several parts.\r\n",
    epilogue=b"\r\nThis is no part.\r\n",
)
UTF16 = Personality(name="utf-16", about="the envelope in UTF-16 with its mark", charset="UTF-16", bom=True)
BOM = Personality(name="bom", about="a byte order mark before the envelope", bom=True, pretty=True)
LEADING_BLANK = Personality(name="leading-blank", about="empty lines before the XML declaration", lead=b"\r\n \r\n")
CLOSING = Personality(
    name="closing", about="an old server: no length, the connection's end ends the answer", framing="close"
)
HOME_GROWN = Personality(
    name="home-grown",
    about="mislabelled: a multipart sent as text/xml; home ids in an element of the wrong case",
    multipart_type="text/xml; charset=utf-8",
    home_tag="homeCommunityId",
    include_around="\n      ",
)
RAW_XML = Personality(
    name="raw-xml-document",
    about="XML documents stand in the envelope as text, without base64 (seen in a health exchange)",
    packaging="plain",
    text="cdata",
)

PERSONALITIES = {
    one.name: one
    for one in (
        STANDARD, AXIS2, AXIS2_OLD, CXF, METRO, WCF, NIST, GEMATIK, SPRING_WS, LOWER_CASE, INLINE, PLAIN_SOAP12, SOAP11,
        SWA, LF_ONLY, GZIP, ENCODED_CID, BARE_CID, ROOT_LAST, BASE64_CTE, QUOTED_PRINTABLE, UNSAID_ENCODING,
        STRANGE_BOUNDARY, EPILOGUE, UTF16, BOM, LEADING_BLANK, CLOSING, HOME_GROWN, RAW_XML,
    )
}  # fmt: skip
"""By name."""


def boundary_prefixes() -> bytes:
    """Content that holds a near miss of every personality's delimiter: more after it, less of it, other line ends."""
    pieces = [b"%PDF-1.7\n"]
    for boundary in sorted({one.boundary.encode() for one in PERSONALITIES.values()}):
        for eol in (b"\r\n", b"\n"):
            pieces += [eol, b"--", boundary, b"x and more", eol, b"--", boundary[:-1], eol, b" --", boundary, eol]
        pieces += [b"\r\n--", boundary, b"0--\r\n", b"\r\n-", boundary, b"\r\n--"]
    return b"".join(pieces)
