"""Which endpoint answers for a document.

Rules of this module: pure, and generic in what an endpoint is. A document that no endpoint answers for is unknown, and nobody
is asked about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from adapters.errors import Ambiguous, NotFound
from adapters.xds.locator import DocumentKey


class Place(Protocol):
    """What of an endpoint decides: see `options.Endpoint`."""

    @property
    def home_community_id(self) -> str | None: ...

    @property
    def repository_unique_ids(self) -> tuple[str, ...]: ...


Target = TypeVar("Target")


class Routes(Generic[Target]):
    """Endpoints by (homeCommunityId, repositoryUniqueId)."""

    def __init__(self, endpoints: Iterable[tuple[Place, Target]]) -> None:
        self._exact: dict[tuple[str | None, str], Target] = {}
        self._communities: dict[str | None, Target] = {}
        self._repositories: dict[str, list[Target]] = {}
        for place, target in endpoints:
            for repository in place.repository_unique_ids:
                self._exact[place.home_community_id, repository] = target
                self._repositories.setdefault(repository, []).append(target)
            if not place.repository_unique_ids:
                self._communities[place.home_community_id] = target

    def find(self, key: DocumentKey) -> Target:
        """The endpoint of a document. A repository that names its community need not be told it.

        Raises `NotFound` without asking anybody, and `Ambiguous` when several communities have a repository of this id.
        """
        exact = self._exact.get((key.home, key.repository))
        if exact is not None:
            return exact
        if key.home is not None:
            if key.home in self._communities:
                return self._communities[key.home]
        elif found := self._repositories.get(key.repository):
            if len(found) > 1:
                raise Ambiguous("several communities have a repository of this id, and the locator names none of them")
            return found[0]
        raise NotFound("no endpoint answers for this repository: its id is in no `repository_unique_ids`")
