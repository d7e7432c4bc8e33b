"""What the errors of a repository or a registry mean to a reader (IHE ITI TF-3, table 4.2.4.1-2).

Rules of this module: the one table of XDS error codes. "There is no such document" is said only for codes that say it; what is
not in the table means that the archive failed. Codes go into the texts, a service's own words never do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.errors import (
    AccessDenied,
    AdapterError,
    Busy,
    Corrupt,
    Deleted,
    NotFound,
    Unavailable,
)
from adapters.xds.failures import RETRY_SOON
from adapters.xds.options import Meaning
from adapters.xds.retrieval_errors import RegistryError

RETRY_DEFERRED = 60.0
"""Seconds a reader is asked to wait for a document that another community brings later."""

_MISCONFIGURED: dict[str, str] = {
    "XDSUnknownRepositoryId": "the repository does not know itself by this id: correct `repository_unique_ids`, or try "
    "`repository_id_style: urn`",
    "XDSRepositoryWrongRepositoryUniqueId": "the repository has another id: correct `repository_unique_ids`",
    "XDSUnknownCommunity": "the gateway does not know this community: correct `home_community_id`",
}
"""Codes that no document can be blamed for, with the cure."""

_MEANINGS: dict[str, Meaning] = {
    # The specification has one code for "unknown", "withdrawn" and "not for you".
    "XDSDocumentUniqueIdError": "not_found",
    "XDSMissingDocument": "not_found",
    # These say nothing about the document: it was asked for in the wrong place.
    **dict.fromkeys(_MISCONFIGURED, "unavailable"),
    "XDSRepositoryBusy": "busy",
    "XDSRepositoryOutOfResources": "busy",
    "XDSRegistryBusy": "busy",
    "XDSRegistryOutOfResources": "busy",
    "XDSUnavailableCommunity": "unavailable",
    "XDSRegistryNotAvailable": "unavailable",
    "XDSRepositoryError": "failed",
    "XDSRegistryError": "failed",
    "XDSResultNotSinglePatient": "failed",
    "XDSMissingHomeCommunityId": "failed",
    "XDSTooManyResults": "failed",
}

_WORDS: dict[Meaning, tuple[type[AdapterError], str]] = {
    "not_found": (NotFound, "there is no such document"),
    "deleted": (Deleted, "the document was withdrawn"),
    "denied": (AccessDenied, "the document is refused to the gateway"),
    "busy": (Busy, "the service has too much to do"),
    "unavailable": (Unavailable, "another service that is needed for the answer is away"),
    "failed": (Corrupt, "the service failed"),
}


def misconfigured(code: str) -> str | None:
    """The cure when `code` tells of a mistake in the configuration, else None."""
    return _MISCONFIGURED.get(code)


def deciding(errors: Sequence[RegistryError]) -> RegistryError | None:
    """The error that says why there is no document: the first that is not a mere warning, else the first."""
    return next((error for error in errors if not error.warning), next(iter(errors), None))


def refused(
    status: str | None, errors: Sequence[RegistryError], *, deferred: bool, corrections: Mapping[str, Meaning]
) -> AdapterError:
    """The error to raise for an answer that brings nothing. `corrections` are a site's own meanings of codes."""
    if deferred:
        return Busy("the other community brings the document later", retry_after=RETRY_DEFERRED)
    error = deciding(errors)
    if error is None:
        return Corrupt(f"the service states {status or 'no status'} and brings neither the document nor an error")
    meaning = corrections.get(error.code) or _MEANINGS.get(error.code, "failed")
    kind, words = _WORDS[meaning]
    cure = misconfigured(error.code) if error.code not in corrections else None
    retry_after = RETRY_SOON if kind is Busy else None
    stated = kind(f"{cure or words} ({error.code})", retry_after=retry_after)
    # One community of many may be away, one repository id of many be wrong: the service itself is there.
    stated.answered = True
    return stated
