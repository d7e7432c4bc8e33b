"""The locator of a document in a repository: `home^repository^document` as one text.

Rules of this module: text in, values out, nothing is looked up. There is one locator for one document, so that a cache
never holds a document twice; whatever is not written in exactly that way is refused.

`home` is the homeCommunityId and `repository` the repositoryUniqueId, both without `urn:oid:`; `home` is empty for a
document of the own community. `document` is the DocumentUniqueId (IHE ITI TF-3, 4.2.3.2.26), and everything after the
second "^", so that `OID^extension` needs no escape:

    ^1.2.3.4.5^1.2.3.4.5.6.7
    2.16.1^1.2.3.4.5^1.2.3.4.5.6^SCAN 17
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

from adapters.errors import InvalidLocator

_LOCATOR = re.compile(
    r"(?P<home>(?!(?i:urn:oid:))[!-\]_-~]{0,256})\^(?P<repository>(?!(?i:urn:oid:))[!-\]_-~]{1,256})\^"
    r"(?=\S)(?P<document>[^\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]{1,256})(?<=\S)"
)


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """What a retrieve request names: homeCommunityId or None, repositoryUniqueId, DocumentUniqueId.

    `document` may hold patient data, so the representation does not show it.
    """

    home: str | None
    repository: str
    document: str = field(repr=False)

    @classmethod
    def parse(cls, locator: str) -> Self:
        """Raises `InvalidLocator`."""
        found = _LOCATOR.fullmatch(locator)
        if found is None:
            raise InvalidLocator("the locator is not `home^repository^document`")
        return cls(found["home"] or None, found["repository"], found["document"])

    def format(self) -> str:
        """The locator. Raises `InvalidLocator` when one of the three cannot stand in any."""
        locator = f"{self.home or ''}^{self.repository}^{self.document}"
        if self.parse(locator) != self:
            raise InvalidLocator("a part of the key holds what a locator cannot")
        return locator
