"""What can be found in an envelope, in the order in which it stands there.

Rules of this module: values alone. Names are `{namespace}local` with the local part in lower case, since stacks differ in it
("homeCommunityId"); attributes are named likewise. What prefix a stack chose is not told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.xds.soap.fault import Fault


@dataclass(frozen=True, slots=True)
class Opened:
    """An element begins."""

    name: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Closed:
    """An element ends. `text` is that of an element without children, without the blanks around it, else empty."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ContentOpened:
    """An element that holds a document begins; `content` counts them from 0. Its bytes or its reference follow."""

    content: int
    name: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reference:
    """The document is where `href` says (XOP, or SOAP with Attachments)."""

    content: int
    href: str


@dataclass(frozen=True, slots=True)
class ContentClosed:
    """The element that held a document ends; its bytes are whole."""

    content: int


@dataclass(frozen=True, slots=True)
class EnvelopeClosed:
    """The envelope is whole; what may follow is no part of it."""


EnvelopeEvent = Opened | Closed | ContentOpened | bytes | Reference | ContentClosed | Fault | EnvelopeClosed


def folded(name: str) -> str:
    """`{namespace}local` with the local part in lower case."""
    namespace, brace, local = name.rpartition("}")
    return namespace + brace + local.lower()
