"""The xds adapter: the documents of an IHE XDS.b repository, or of a gateway of another community (XCA).

    from adapters.xds import XdsAdapter

The rest of this package may move. Each module has one idea.

What answers say: `mtom` (MIME multipart and XOP references), `soap` (envelopes, faults, and where a document is in an answer),
`retrieval` (what a RetrieveDocumentSetResponse means), `registry_answer` (what a registry knows of a document), `outcome` (what
error codes mean). What is asked: `request` (any SOAP request as bytes), `transactions` (those of XDS). Who asks: `assertion`,
`certificates`. One service over HTTP is `service`, what goes wrong with it `failures`; they know nothing of XDS, and with
`request` and `soap` they are the engine for other SOAP archives. `endpoint`, `registry`, `routing`, `arrival` and `document`
make a repository's document of it, `adapter` the contract, `probe` the diagnosis.
"""

from adapters.xds.adapter import XdsAdapter
from adapters.xds.options import XdsOptions

__all__ = ["XdsAdapter", "XdsOptions"]
