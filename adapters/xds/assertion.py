"""Who the gateway says it is: the SAML assertion that goes with each request (IHE XUA, ITI-40; SAML 2.0 core 2.3.3).

Rules of this module: an assertion is bytes. It is looked into, to see that it is one and how long it is good for, and passed on
exactly as it was found: written anew it would lose the namespaces that its signature covers. One that has expired is not sent:
the refusal would be the same, and take longer to understand.

`Assertions` is the seam: a token service (WS-Trust, an exchange for each caller) is another class with the same method.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from lxml import etree  # type: ignore[import-untyped]

from adapters.contract import Services
from adapters.errors import CredentialsRejected

LARGEST = 1 << 20
"""Bytes of the largest assertion file that is read."""

SKEW = timedelta(minutes=5)
"""How far this machine's clock may be behind the issuer's: an assertion is often used within a second of being made."""

_ASSERTION = "{urn:oasis:names:tc:SAML:2.0:assertion}Assertion"
_CONDITIONS = "{urn:oasis:names:tc:SAML:2.0:assertion}Conditions"
_declaration = re.compile(rb"\s*<\?xml\s[^>]*\?>").match
_other_encoding = re.compile(rb"encoding\s*=\s*[\"'](?!utf-8|us-ascii)", re.IGNORECASE).search

_CURE = "put a fresh one into the file that `saml.assertion_file` names"


class Assertions(Protocol):
    """Where assertions come from."""

    async def current(self) -> bytes:
        """The assertion to send now: UTF-8, without an XML declaration. Raises `CredentialsRejected`, `Unavailable`."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion and the time in which it is good, in UTC; None where it does not say."""

    xml: bytes = field(repr=False)
    not_before: datetime | None = None
    not_on_or_after: datetime | None = None

    @classmethod
    def parse(cls, raw: bytes) -> Assertion:
        """Raises `ValueError` with a sentence that begins with a verb and repeats nothing of `raw`."""
        xml = raw.removeprefix(b"\xef\xbb\xbf")
        declared = _declaration(xml)
        if declared is not None:
            if _other_encoding(declared[0]):
                raise ValueError("is not in UTF-8, so it cannot be passed on byte for byte")
            xml = xml[declared.end() :]
        xml = xml.strip()
        if not xml:
            raise ValueError("is empty")
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
        try:
            root = etree.fromstring(xml.decode("utf-8").encode("utf-8"), parser)
        except (UnicodeDecodeError, etree.XMLSyntaxError) as error:
            raise ValueError("is not well-formed XML") from error
        if root.getroottree().docinfo.doctype:
            raise ValueError("has a document type declaration, which SOAP forbids")
        if root.tag != _ASSERTION:
            if root.find(f".//{_ASSERTION}") is not None:
                raise ValueError("holds an assertion and something around it, which must go")
            raise ValueError("holds something else than one SAML 2.0 assertion")
        conditions = root.find(_CONDITIONS)
        limits = {} if conditions is None else conditions.attrib
        return cls(xml, _time(limits.get("NotBefore")), _time(limits.get("NotOnOrAfter")))

    def refuse_outside(self, now: datetime) -> None:
        """Raise `CredentialsRejected` when the assertion is not good at `now`."""
        if self.not_on_or_after is not None and now >= self.not_on_or_after:
            raise CredentialsRejected(f"the SAML assertion expired at {_told(self.not_on_or_after)}: {_CURE}")
        if self.not_before is not None and now + SKEW < self.not_before:
            raise CredentialsRejected(
                f"the SAML assertion is not good before {_told(self.not_before)}: set the clocks of this machine and of "
                "its issuer right"
            )


class AssertionFile:
    """An assertion that something else keeps fresh in a file."""

    def __init__(
        self, path: Path, services: Services, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._path = path
        self._services = services
        self._now = now
        self._seen: tuple[tuple[int, ...], Assertion] | None = None
        self._told: str | None = None

    async def current(self) -> bytes:
        """As `Assertions.current`."""
        assertion = await self._services.call(self._read)
        assertion.refuse_outside(self._now())
        return assertion.xml

    def _read(self) -> Assertion:
        """The assertion in the file. Blocks; raises `CredentialsRejected`."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                mark = (status.st_ino, status.st_mtime_ns, status.st_size)
                if self._seen is not None and self._seen[0] == mark:
                    return self._seen[1]
                raw = file.read(LARGEST + 1)
            if len(raw) > LARGEST:
                raise ValueError("is too long for an assertion")
            assertion = Assertion.parse(raw)
        except OSError as error:
            reason = f"cannot be read ({type(error).__name__})"
        except ValueError as error:
            reason = str(error)
        else:
            self._seen, self._told = (mark, assertion), None
            return assertion
        if self._seen is not None and self._good(self._seen[1]):
            # Found in the middle of being written: the one from before is as good as it was.
            if reason != self._told:
                self._told = reason
                self._services.log.warning("SAML assertion file not usable, the one from before is sent", reason=reason)
            return self._seen[1]
        raise CredentialsRejected(f"the file of `saml.assertion_file` {reason}: put a fresh assertion there")

    def _good(self, assertion: Assertion) -> bool:
        try:
            assertion.refuse_outside(self._now())
        except CredentialsRejected:
            return False
        return True


def _time(text: str | None) -> datetime | None:
    """xs:dateTime; without a zone it is in UTC (SAML 2.0 core 1.3.3)."""
    try:
        time = datetime.fromisoformat((text or "").strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # the end of all times, in a zone behind UTC, means no limit either
        return None


def _told(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
