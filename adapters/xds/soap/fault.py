"""SOAP faults of both versions (SOAP 1.1 section 4.4; SOAP 1.2 part 1 section 5.4).

Rules of this module: no XML parser, only what it found. A fault's words are the service's own and may hold a patient's data or
a stack trace: `codes` are fit for a log, `reason` is not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

SOAP_11 = "{http://schemas.xmlsoap.org/soap/envelope/}"
SOAP_12 = "{http://www.w3.org/2003/05/soap-envelope}"

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True, slots=True)
class Fault:
    """`codes` are local names, the general one first: ("Sender", "FailedAuthentication"), or ("Client",) in 1.1.

    `version` is that of the envelope, whatever the request's was. `not_understood` are the headers that the service refused.
    """

    version: Literal["1.1", "1.2"]
    codes: tuple[str, ...]
    reason: str = field(default="", repr=False)
    not_understood: tuple[str, ...] = ()


class FaultReader:
    """Collects a Fault from the leaves below it. `path` holds local names in lower case, from the Fault's child on."""

    def __init__(self, version: Literal["1.1", "1.2"], not_understood: Sequence[str]) -> None:
        self._version = version
        self._not_understood = tuple(not_understood)
        self._codes: list[str] = []
        self._reason = ""

    def leaf(self, path: Sequence[str], text: str) -> None:
        """A leaf element ended."""
        match path:
            case ["faultcode"] | ["code", *_, "value"]:
                self._codes.append(code_name(text))
            case ["faultstring"] | ["reason", "text"] if not self._reason:
                self._reason = text
            case _:
                pass

    def fault(self) -> Fault:
        return Fault(self._version, tuple(self._codes), self._reason, self._not_understood)


def code_name(text: str) -> str:
    """The local part of a code that came as a QName or a URN; a fixed word when it is neither."""
    name = re.split(r"[:#/]", text.strip())[-1]
    return name if _CODE.fullmatch(name) else "unreadable"
