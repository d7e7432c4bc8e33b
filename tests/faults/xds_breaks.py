"""The ways in which a document breaks off after its first bytes have gone to the reader.

`test_xds_bodies` shows what becomes of each at the reader's socket; docs/xds-interoperability.md lists them.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.demo.xds import FAULTS, Break, Fault, large
from gateway.demo.xds.contents import Inline


class Broken(NamedTuple):
    """How an answer is packed and framed, what goes wrong in it, and what kind of error the log calls it."""

    personality: str
    fault: Fault
    error: str


LONG = large(2_000_000)
"""Half of it is more than a reader is kept waiting for."""

_PLAIN = {"packaging": "plain"}

BROKEN: dict[str, Broken] = {
    "cut, with a length": Broken("standard", FAULTS["truncated"], "Unavailable"),
    "cut, in chunks": Broken("axis2", FAULTS["truncated"], "Unavailable"),
    "cut, framed by the connection": Broken("closing", FAULTS["truncated"], "Unavailable"),
    "cut, compressed": Broken("gzip", FAULTS["truncated"], "Unavailable"),
    "cut, compressed and framed by the connection": Broken("gzip", FAULTS["truncated"].but(framing="close"), "Corrupt"),
    "cut, inline": Broken("plain-soap12", FAULTS["truncated"], "Unavailable"),
    "cut, inline and framed by the connection": Broken("closing", FAULTS["truncated"].but(**_PLAIN), "Unavailable"),
    "cut, in base64 parts": Broken("base64-cte", FAULTS["truncated"], "Unavailable"),
    "cut, in quoted-printable parts": Broken("quoted-printable", FAULTS["truncated"], "Unavailable"),
    "reset, with a length": Broken("standard", FAULTS["reset"], "Unavailable"),
    "reset, in chunks": Broken("axis2", FAULTS["reset"], "Unavailable"),
    "reset, inline": Broken("inline", FAULTS["reset"], "Unavailable"),
    "reset, framed by the connection": Broken("closing", FAULTS["reset"], "Unavailable"),
    "stalled": Broken("standard", FAULTS["stall"], "TimedOut"),
    "stalled, inline": Broken("inline", FAULTS["stall"], "TimedOut"),
    "one byte missing": Broken("closing", Fault("b", "", {"breaks": Break("close", after=1_999_999)}), "Unavailable"),
    "a length that is too short": Broken("standard", FAULTS["length-short"], "Unavailable"),
    "spoilt base64": Broken(
        "inline",
        Fault("b", "", {"packaging": "plain", "inline": Inline(spoil_at=2_000_000)}),
        "Malformed",
    ),
    "a second part of the same id": Broken("standard", FAULTS["dup-cid"], "Malformed"),
}
