"""Binary id -> the source that has the document and the key it has there.

Rules of this module:
1. Pure: no file, no socket, no clock. What needs one (a manifest) is a `Scheme` under `gateway/ids`.
2. An id is text from a stranger. What is not a FHIR id (R4 and STU3 datatypes, `id`) never reaches a scheme, so that no
   scheme has to think of a slash, NUL or percent sign in it.
3. The longest prefix decides alone: when its source does not know the id, no other source is asked, for an id must
   never change its document because another archive was out of order (FR-08).
4. Every id that leads nowhere gives `NotFound`; its text says nothing about the id (contract rule C12).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

from adapters.errors import Deleted, NotFound

ID_PATTERN = r"[A-Za-z0-9\-.]{1,64}"
"""The FHIR datatype `id`, STU3 and R4."""

MAX_ID = 64
"""Characters of the longest id."""

_names_resource = re.compile(rf"(?!\.\.?\Z){ID_PATTERN}").fullmatch
_is_prefix = re.compile(rf"[A-Za-z0-9\-.]{{0,{MAX_ID - 1}}}").fullmatch

NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


@dataclass(slots=True)  # made for every request: a frozen one takes three times as long
class Location:
    """Where a document is, and what the index of the archive says about it.

    `source` is the configured name of the archive, `locator` the archive's own key. `media_type` is what the index
    states, `modified` is in UTC, `attributes` are further columns for the policy. None means that the index says
    nothing. All but `source` may hold patient data, so the representation does not show it.
    """

    source: str
    locator: str = field(repr=False)
    media_type: str | None = field(default=None, repr=False)
    title: str | None = field(default=None, repr=False)
    modified: datetime | None = field(default=None, repr=False)
    patient: str | None = field(default=None, repr=False)
    attributes: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES, repr=False)


class Withdrawn(Deleted):
    """The index knows this document and says that it was withdrawn.

    `location` lets a policy judge the caller before anything, even "gone", is said about the document. Its `locator`
    may be empty.
    """

    def __init__(self, location: Location) -> None:
        super().__init__("the index marks this document as withdrawn")
        self.location = location
        self.source = location.source


class Scheme(Protocol):
    """How one source turns the rest of an id, after the prefix, into a location."""

    async def locate(self, rest: str) -> Location:
        """Raises `NotFound`, `Deleted`, `Ambiguous`, and what the archive raises when it has to be asked."""


@dataclass(frozen=True, slots=True)
class Route:
    """The ids of one source: those that begin with `prefix`, which may be empty, read by `scheme`."""

    prefix: str
    scheme: Scheme


def valid_id(text: str) -> bool:
    """Whether `text` can name a resource. "." and ".." are within the pattern and name none (FR-04)."""
    return _names_resource(text) is not None


class Router:
    """Finds the source of an id by the longest matching prefix, then the location by the scheme of that source."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        """`routes` by source name. Raises `ValueError` when a prefix cannot begin an id or two sources share one."""
        owners: dict[str, str] = {}
        for source, route in routes.items():
            if not _is_prefix(route.prefix):
                raise ValueError(
                    f"The prefix of source {source!r} cannot begin an id: use at most {MAX_ID - 1} letters, digits, "
                    "hyphens and dots."
                )
            if route.prefix in owners:
                raise ValueError(
                    f"Sources {owners[route.prefix]!r} and {source!r} have the same prefix {route.prefix!r}: an id "
                    "must lead to one source. Give one of them another prefix."
                )
            owners[route.prefix] = source
        lengths = sorted({len(prefix) for prefix in owners}, reverse=True)
        self._owners = tuple(
            (length, {prefix: source for prefix, source in owners.items() if len(prefix) == length})
            for length in lengths
        )
        self._tables = tuple(
            (length, {route.prefix: route.scheme for route in routes.values() if len(route.prefix) == length})
            for length in lengths
        )

    def source(self, id: str) -> str | None:
        """The source whose prefix decides for `id`; None where there is none. Nobody is asked."""
        return next((owners[id[:length]] for length, owners in self._owners if id[:length] in owners), None)

    async def locate(self, id: str) -> Location:
        """Where the document `id` is. Raises `NotFound`, `Withdrawn` and whatever else the scheme raises."""
        if not _names_resource(id):
            raise NotFound("not an id")
        scheme, length = self._scheme(id)
        if scheme is None:
            raise NotFound("no source has this prefix")
        if len(id) == length:
            raise NotFound("nothing follows the prefix")
        return await scheme.locate(id[length:])

    def knows_patients(self, id: str) -> bool | None:
        """Whether the scheme of `id` says whose documents there are; None when the id leads to no scheme. Asks nobody."""
        scheme, _ = self._scheme(id)
        # Of all schemes one that reads an index alone can say so; the others need not know of the question.
        return None if scheme is None else bool(getattr(scheme, "knows_patients", False))

    def _scheme(self, id: str) -> tuple[Scheme | None, int]:
        """The scheme whose prefix is the longest that `id` begins with, and the length of that prefix."""
        for length, schemes in self._tables:
            scheme = schemes.get(id[:length])
            if scheme is not None:
                return scheme, length
        return None, 0
