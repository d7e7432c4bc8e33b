"""The facts of a document, from what the repository and the registry state about it.

Rules of this module: pure. A version is promised only where equal versions mean equal bytes: a stable document never changes
under its DocumentUniqueId (IHE ITI TF-1 10.4.1), one that is made when it is asked for is another each time.
"""

from __future__ import annotations

import hashlib

from adapters.contract import Descriptor
from adapters.errors import Deleted
from adapters.xds.locator import DocumentKey
from adapters.xds.media import believed
from adapters.xds.options import Endpoint
from adapters.xds.registry_answer import Entry
from adapters.xds.retrieval_answer import Document


def descriptor(
    key: DocumentKey,
    options: Endpoint,
    *,
    entry: Entry | None = None,
    document: Document | None = None,
    size: int | None = None,
    estimate: int | None = None,
    by_hash: bool,
) -> Descriptor:
    """The facts of a document. `entry` and `document` are what registry and repository state, None where they were not asked.

    `size` is that of a document that is there as a whole, `estimate` what its answer is long. `by_hash`: whether both `stat`
    and `open` know the entry, so that its hash may stand in the version.
    """
    stated = [source.media_type for source in (document, entry) if source is not None]
    return Descriptor(
        size=size if size is not None or entry is None else entry.size,
        media_type=believed(options.media_types, *stated),
        digest=entry.digest if entry is not None else None,
        estimate=estimate,
        version=_version(key, options, entry, document, by_hash=by_hash),
    )


def _version(
    key: DocumentKey, options: Endpoint, entry: Entry | None, document: Document | None, *, by_hash: bool
) -> str | None:
    if document is not None and document.new_document not in (None, document.document):
        return None
    if entry is not None and not entry.settled:
        return None
    if by_hash and entry is not None and entry.digest is not None:
        return entry.digest.value.hex()
    if options.on_demand:
        return None
    # The ids hold what may be patient data, and an ETag is seen by many.
    return hashlib.sha256(f"{key.repository}^{key.document}".encode()).hexdigest()[:32]


def refuse_deprecated(entry: Entry) -> None:
    """Raise `Deleted` for a document that the registry calls deprecated."""
    if entry.deprecated:
        raise Deleted("the registry states that the document was deprecated")
