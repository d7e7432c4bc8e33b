"""The public face for adapter authors: the contract and its errors. Everything else may move.

    from adapters import Adapter, Capabilities, Content, Descriptor, Span
    from adapters.errors import NotFound

Implementations live beside this file and are found through the entry point group `fhir_gateway.adapters`; importing this
package imports none of them.
"""

from adapters.contract import (
    CONTRACT_VERSION,
    MAX_CHUNK,
    WHOLE,
    Adapter,
    Caller,
    Capabilities,
    Content,
    Descriptor,
    Digest,
    LocalFile,
    Services,
    Span,
)

__all__ = [
    "CONTRACT_VERSION",
    "MAX_CHUNK",
    "WHOLE",
    "Adapter",
    "Caller",
    "Capabilities",
    "Content",
    "Descriptor",
    "Digest",
    "LocalFile",
    "Services",
    "Span",
]
