"""A FHIR audit repository as a receiver (IHE RESTful ATNA, ITI-20 "Send Audit Resource" and "Send Audit Bundle").

The status is the acknowledgement. What a server can mend (5xx, no connection, a token it does not take) is waited for; what no
waiting mends (the resource itself is not taken) is `Refused`. No answer's body gets into a log: it may repeat what was sent.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Sequence

import aiohttp

from gateway.audit.feeding import Away, Refused
from gateway.audit.reading import Record
from gateway.fhir import Version
from gateway.fhir.audit_event import body, render
from gateway.settings.audit import FhirSink

REFUSALS = frozenset({400, 405, 409, 410, 412, 413, 415, 422})

LONGEST_ANSWER = 16 << 20


class FhirReceiver:
    """Posts AuditEvents. `context` is None for plain http to this machine."""

    def __init__(self, sink: FhirSink, context: ssl.SSLContext | None, *, site: str | None) -> None:
        self._sink = sink
        self._context = context
        self._site = site
        self._version = Version[sink.version]
        self._session: aiohttp.ClientSession | None = None

    async def send(self, records: Sequence[Record]) -> int:
        session = await self._connected()
        size = self._sink.batch
        try:
            if size == 1:
                return await self._one_by_one(session, records)
            taken = 0
            for begin in range(0, len(records), size):
                lot = records[begin : begin + size]
                count = await self._bundle(session, lot, first=not taken)
                taken += count
                if count < len(lot):
                    return taken
            return taken
        except Away:
            # The next attempt reads the token anew: one that is no longer taken may have been replaced.
            await self.close()
            raise
        except (aiohttp.ClientError, TimeoutError) as error:
            await self.close()
            raise Away(type(error).__name__) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Accept": "application/fhir+json", "Content-Type": "application/fhir+json"}
            path = self._sink.token_file
            if path is not None:
                try:
                    headers["Authorization"] = f"Bearer {(await asyncio.to_thread(path.read_text)).strip()}"
                except (OSError, ValueError):
                    raise Away("the token file cannot be read") from None
            connector = aiohttp.TCPConnector(limit=1, ssl=self._context if self._context is not None else True)
            timeout = aiohttp.ClientTimeout(total=self._sink.timeout)
            self._session = aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout)
        return self._session

    async def _one_by_one(self, session: aiohttp.ClientSession, records: Sequence[Record]) -> int:
        for taken, record in enumerate(records):
            data = render(self._version, record.id, record.fields, record.sealed or {}, site=self._site)
            url, headers = f"{self._sink.url}/AuditEvent", {"X-Request-Id": record.id}
            async with session.post(url, data=data, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                if not _taken(answer.status):
                    self._judge(answer.status, first=not taken)
                    return taken
        return len(records)

    async def _bundle(self, session: aiohttp.ClientSession, records: Sequence[Record], *, first: bool) -> int:
        """How many of them were taken, from the first on."""
        entries = [
            {
                "resource": body(self._version, record.id, record.fields, record.sealed or {}, site=self._site),
                "request": {"method": "POST", "url": "AuditEvent"},
            }
            for record in records
        ]
        data = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries}).encode()
        async with session.post(self._sink.url, data=data, allow_redirects=False) as answer:
            said = await answer.content.read(LONGEST_ANSWER)
            if not _taken(answer.status):
                self._judge(answer.status, first=first)
                return 0
        statuses = _statuses(said, len(records))
        for taken, status in enumerate(statuses):
            if not _taken(status):
                self._judge(status, first=first and not taken)
                return taken
        return len(records)

    def _judge(self, status: int, *, first: bool) -> None:
        """Raise for the first record; what was taken before another one has to be noted first."""
        if first and status in REFUSALS:
            raise Refused(f"HTTP {status}")
        if first:
            raise Away(f"HTTP {status}")


def _taken(status: int) -> bool:
    return 200 <= status < 300


def _statuses(said: bytes, count: int) -> list[int]:
    """The status of each entry of a Bundle of type batch-response. Raises `Away` when it is none."""
    try:
        entries = json.loads(said)["entry"]
        statuses = [int(str(entry["response"]["status"])[:3]) for entry in entries]
    except (ValueError, KeyError, TypeError):
        raise Away("the answer to a Bundle is no batch-response") from None
    if len(statuses) != count:
        raise Away("the answer to a Bundle has another number of entries")
    return statuses
