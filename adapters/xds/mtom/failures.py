"""What can be wrong with an answer that arrived.

Rules of this module: classes alone. All of them mean `Corrupt` to the gateway; they differ in what an operator has to do. Their
text holds nothing of the answer but numbers and what its form demands (C12).
"""

from __future__ import annotations

from adapters.errors import Corrupt


class Malformed(Corrupt):
    """The answer breaks the rules of its format in a way that leaves its meaning open."""


class LimitExceeded(Corrupt):
    """The answer is larger or more deeply nested than its format has a use for. `limit` names the limit."""

    def __init__(self, limit: str, most: int) -> None:
        super().__init__(f"the answer exceeds the limit of {most} {limit}")
        self.limit = limit


class ForbiddenReference(Corrupt):
    """The answer asks to fetch the document from somewhere else (CVE-2022-46364): nothing but a part of itself is read."""

    def __init__(self) -> None:
        super().__init__("the answer refers to a document outside itself; only cid: references are followed")
