"""SOAP answers as they arrive: envelopes of both versions, faults, and documents in them; bytes in, events out.

Rules of this package: no I/O, no word of any service's vocabulary: which elements hold documents and whose they are is told by
a `Meaning`. No DTD, no entities, nothing fetched, whatever an answer says. Sources: SOAP 1.1, SOAP 1.2 part 1, SOAP with
Attachments, https://www.w3.org/TR/soap12-mtom/.

An answer without a document, such as a query's:

    reader = MessageReader(content_type)
    for event in reader.feed(chunk):
        match event:
            case Opened(name, attributes): ...   # "{urn:oasis:…:query:3.0}adhocqueryresponse": local names in lower case
            case Closed(name, text): ...
            case Fault(): ...
    reader.end(complete=True)
    reader.envelope_closed                        # else it broke off

An answer with one: `DocumentReader`, see `adapters.xds.soap.document`.
"""

from adapters.xds.mtom.failures import ForbiddenReference, LimitExceeded, Malformed
from adapters.xds.soap.document import Begun, DocumentReader, Ending, Held, Meaning
from adapters.xds.soap.envelope import EnvelopeReader
from adapters.xds.soap.events import Closed, ContentClosed, ContentOpened, EnvelopeClosed, Opened, Reference
from adapters.xds.soap.failures import NotSoap
from adapters.xds.soap.fault import Fault, code_name
from adapters.xds.soap.limits import Limits, Tolerance
from adapters.xds.soap.message import MessageReader

__all__ = [
    "Begun",
    "Closed",
    "ContentClosed",
    "ContentOpened",
    "DocumentReader",
    "Ending",
    "EnvelopeClosed",
    "EnvelopeReader",
    "Fault",
    "ForbiddenReference",
    "Held",
    "LimitExceeded",
    "Limits",
    "Malformed",
    "Meaning",
    "MessageReader",
    "NotSoap",
    "Opened",
    "Reference",
    "Tolerance",
    "code_name",
]
