"""One request from its first byte to its log line.

A `Call` collects what the canonical log line says and what every response repeats (the request's ids). Client-supplied ids
are echoed only when they are short and plain (https://hl7.org/fhir/R4/http.html#custom): they go into headers and logs.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gateway import errors
from gateway.fhir import Version
from gateway.protocol import negotiation, parameters
from gateway.protocol.interactions import Bases, Interaction
from gateway.protocol.negotiation import Wishes
from gateway.protocol.parameters import ParameterError, Parameters
from gateway.protocol.profile import Profile
from gateway.reply import Reply
from gateway.security import ANONYMOUS, Identity

if TYPE_CHECKING:
    from gateway.audit.record import Act
    from gateway.routing import Location

_plain_id = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,99}").fullmatch

_numbers_in = re.compile(r"(?<![0-9])([0-9]{3})[-._:]?([0-9]{3})[-._:]?([0-9]{4})(?![0-9])").findall
_is_uuid = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}").fullmatch

_NO_ADAPTERS: Mapping[str, str] = {}

_process = os.urandom(6).hex()
_numbers = itertools.count(1)


def new_request_id() -> str:
    """An id for a request that brought none: short, plain, and of no other process."""
    return f"{_process}-{next(_numbers):x}"


def shown_id(id: str) -> str:
    """A client's id as logs and the audit trail show it: the same, unless an NHS number stands in it (TK-14).

    Such an id is echoed to the client as it came, and known here by a digest of it.
    """
    found = _numbers_in(id)
    if not found or _is_uuid(id) or not any(_checks("".join(digits)) for digits in found):
        return id
    return "id-" + hashlib.sha256(id.encode()).hexdigest()[:24]


class Call:
    """The state of one request. Attributes start as "nothing happened yet" and are filled in as it is served."""

    __slots__ = (
        "act",
        "address",
        "began",
        "cache",
        "correlation_id",
        "denied",
        "detail",
        "ended_at",
        "entry",
        "first_byte_at",
        "identity",
        "interaction",
        "location",
        "logged_id",
        "method",
        "outcome",
        "parameters",
        "reply",
        "request_id",
        "secure",
        "sent",
        "source",
        "stamped",
        "standing",
        "status",
        "trace_id",
        "wishes",
    )

    def __init__(self, request: web.BaseRequest, bases: Bases, profile: Profile) -> None:
        self.began = time.perf_counter()
        headers = request.headers
        given = headers.get("X-Request-Id")
        self.request_id = given if given and _plain_id(given) else new_request_id()
        self.logged_id = self.request_id if not given else shown_id(self.request_id)
        correlation = headers.get("X-Correlation-Id")
        self.correlation_id = correlation if correlation and _plain_id(correlation) else None
        self.identity: Identity = ANONYMOUS
        self.address = request.remote
        self.location: Location | None = None
        self.act: Act | None = None
        self.method = request.method
        self.interaction: Interaction = bases.interaction(self.method, request.raw_path)
        query = self.interaction.query
        self.parameters: Parameters | ParameterError = _parameters(query)
        wanted = self.parameters.format if isinstance(self.parameters, Parameters) else _format_alone(query)
        accept = headers.getall("Accept", None)
        self.wishes: Wishes = negotiation.parse(
            None if accept is None else accept[0] if len(accept) == 1 else ", ".join(accept),
            wanted,
            version=self.version,
            profile=profile,
            content_type=headers.get("Content-Type"),
        )
        self.standing: Mapping[str, str] = {}
        self.stamped = False
        """Whether what every answer says stands in its head already."""
        self.source: str | None = None
        self.cache: str | None = None
        self.reply: Reply | None = None
        self.trace_id: str | None = None
        self.secure = request.secure
        self.status = 0
        self.first_byte_at = self.ended_at = 0.0
        self.sent = 0
        self.outcome = "complete"
        self.entry: errors.Entry | errors.Abort | None = None
        self.detail = ""
        self.denied: str | None = None

    @property
    def version(self) -> Version:
        """The FHIR version of the answer: that of the base, R4 for errors outside every base."""
        return self.interaction.version or Version.R4

    @property
    def known_method(self) -> str:
        """The method where HTTP knows it: any other text comes from a stranger."""
        return self.method if self.method in _METHODS else "other"

    def sending(self) -> None:
        """The first byte of the answer is about to leave."""
        if not self.first_byte_at:
            self.first_byte_at = time.perf_counter()

    def end(self) -> None:
        """The request is over, one way or another."""
        self.ended_at = time.perf_counter()

    @property
    def duration(self) -> float:
        """How long it took, in seconds."""
        return (self.ended_at or time.perf_counter()) - self.began

    @property
    def first_byte(self) -> float | None:
        """After how many seconds the first byte of the answer left; None when none did."""
        return self.first_byte_at - self.began if self.first_byte_at else None

    def begin(self, reply: Reply) -> None:
        """Note what is about to be sent and put this request's ids among its headers."""
        self.reply = reply
        self.status = reply.status
        self.stamp(reply.headers)

    def stamp(self, headers: dict[str, str]) -> None:
        """Add what every answer to this request says, whatever it is."""
        self.stamped = True
        headers["X-Request-Id"] = self.request_id
        if self.standing:
            headers.update(self.standing)
        if self.correlation_id is not None:
            headers["X-Correlation-Id"] = self.correlation_id

    def failed(self, entry: errors.Entry | errors.Abort, detail: str, *, outcome: str) -> None:
        """Note an error; `detail` is for operators and holds no patient data."""
        self.entry, self.detail, self.outcome = entry, detail, outcome

    def fields(
        self, document: str | None, caller: str | None = None, adapters: Mapping[str, str] = _NO_ADAPTERS
    ) -> dict[str, Any]:
        """The canonical log line. `document` is the hash that stands for the id, `caller` that for the client.

        `adapters` are the kinds of the sources.
        """
        interaction = self.interaction
        line: dict[str, Any] = {
            "request_id": self.logged_id,
            "method": self.known_method,
            "interaction": interaction.kind.value,
            "status": self.status,
            "outcome": self.outcome,
            "bytes": self.sent,
            "duration_ms": int(self.duration * 1e6) / 1000,
        }
        first_byte = self.first_byte
        if first_byte is not None:
            line["first_byte_ms"] = int(first_byte * 1e6) / 1000
        if self.trace_id is not None:
            line["trace_id"] = self.trace_id
        if interaction.version is not None:
            line["base"] = interaction.version.name
        if self.correlation_id is not None:
            line["correlation_id"] = shown_id(self.correlation_id)
        if self.source is not None:
            line["source"] = self.source
            if self.source in adapters:
                line["adapter"] = adapters[self.source]
        if caller is not None:
            line["auth"], line["caller"] = self.identity.method, caller
        if document is not None:
            line["document"] = document
        if self.cache is not None:
            line["cache"] = self.cache
        if self.reply is not None:
            line["representation"] = self.reply.representation
        if self.entry is not None:
            line |= self._failure(self.entry)
        return line

    def _failure(self, entry: errors.Entry | errors.Abort) -> dict[str, Any]:
        """What the line of a request that failed says of that."""
        line = {"code": entry.code}
        if self.detail:
            line["detail"] = self.detail
        if self.denied is not None:
            line["reason"] = self.denied
        elif isinstance(entry, errors.Abort):
            line["reason"] = entry.title.rpartition(": ")[2]
        return line


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})


def _checks(number: str) -> bool:
    """Whether the last digit is the check digit of the nine before it, modulus 11."""
    rest = 11 - sum(int(digit) * weight for digit, weight in zip(number, range(10, 1, -1), strict=False)) % 11
    return rest % 11 == int(number[9]) and rest != 10


def _parameters(query: str) -> Parameters | ParameterError:
    try:
        return parameters.parse(query)
    except ParameterError as error:
        return error


def _format_alone(query: str) -> str | None:
    """`_format` of a query that has an error elsewhere: the answer to it has a format too (FR-150)."""
    found = _parameters("&".join(pair for pair in query.split("&") if pair.startswith("_format=")))
    return found.format if isinstance(found, Parameters) else None
