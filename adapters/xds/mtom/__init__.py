"""MIME multipart and XOP as legacy SOAP stacks write them: bytes in, events out.

Rules of this package: no I/O, no XML, no word of XDS or SOAP; it may not know what a part is for. Sources: RFC 2046 section 5.1
(multipart), RFC 2387 (related), RFC 2045 section 6 (transfer encodings), RFC 2392 (cid), https://www.w3.org/TR/xop10/.

    kind = media_type('multipart/related; boundary="uuid:1"; start="<root>"')
    splitter = Splitter(kind.boundary)
    for event in splitter.feed(chunk):
        match event:
            case Part(): ...       # a part begins; its headers
            case bytes(): ...      # the next piece of it, transfer encoding undone, never empty
            case PartEnd(): ...    # whole, or not
    splitter.end(complete=True)    # the last events
"""

from adapters.xds.mtom.base64 import Base64Decoder
from adapters.xds.mtom.content_id import matches, names_part
from adapters.xds.mtom.failures import ForbiddenReference, LimitExceeded, Malformed
from adapters.xds.mtom.headers import MediaType, media_type
from adapters.xds.mtom.splitter import Part, PartEnd, Splitter

__all__ = [
    "Base64Decoder",
    "ForbiddenReference",
    "LimitExceeded",
    "Malformed",
    "MediaType",
    "Part",
    "PartEnd",
    "Splitter",
    "matches",
    "media_type",
    "names_part",
]
