"""The names of the protocols: namespaces, actions, query ids.

Rules of this module: constants only, each from its standard: SOAP 1.1 and 1.2, WS-Addressing 1.0, XOP, ebRS/ebRIM 3.0,
IHE ITI TF-2 3.18, 3.38, 3.39, 3.43.
"""

from __future__ import annotations

SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"
ANONYMOUS = f"{WSA}/anonymous"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
XDSB = "urn:ihe:iti:xds-b:2007"
RS = "urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0"
RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
QUERY = "urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0"
XOP = "http://www.w3.org/2004/08/xop/include"

RETRIEVE = "urn:ihe:iti:2007:RetrieveDocumentSet"
CROSS_RETRIEVE = "urn:ihe:iti:2007:CrossGatewayRetrieve"
STORED_QUERY = "urn:ihe:iti:2007:RegistryStoredQuery"
CROSS_QUERY = "urn:ihe:iti:2007:CrossGatewayQuery"

MEDIA_TYPES = {SOAP11: "text/xml", SOAP12: "application/soap+xml"}

FIND_DOCUMENTS = "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d"
GET_DOCUMENTS = "urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4"

UNIQUE_ID_SCHEME = "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab"
PATIENT_ID_SCHEME = "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427"
"""The identification schemes of a document entry's external identifiers (ITI TF-3 4.2.5.1)."""

RESPONSE_SLOTS = ("DeferredProcessingRequired", "DeferredProcessingEstimatedCompletion")
