"""What arrived in place of a SOAP envelope.

Rules of this module: classes alone; see `adapters.xds.mtom.failures` for the others.
"""

from __future__ import annotations

from typing import Literal

from adapters.xds.mtom.failures import Malformed

Instead = Literal["nothing", "HTML", "XML that is no SOAP envelope", "compressed data", "something else than XML"]


class NotSoap(Malformed):
    """The body is no SOAP message: a proxy's page, a log-in page, nothing. `instead` says what it is."""

    def __init__(self, instead: Instead) -> None:
        super().__init__(f"the body is {instead}, where a SOAP message was expected")
        self.instead = instead
