"""A syslog receiver over TLS (RFC 5425, IHE ATNA ITI-20 "Send Audit Event") as a receiver.

Syslog has no acknowledgement. What counts as delivered is what the receiver's system has taken over: nothing is left in this
process or in the kernel's queue. A receiver that crashes may lose that still, so the last lot is sent again on the connection
after a broken one; receivers tell duplicates by the record's id.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import ssl
import sys
import termios
from collections.abc import Sequence

from gateway.audit import dicom
from gateway.audit.feeding import Away
from gateway.audit.reading import Record
from gateway.settings.audit import SyslogSink

_LOOK_SECONDS = 0.01


class SyslogReceiver:
    """Sends DICOM audit messages."""

    def __init__(self, sink: SyslogSink, context: ssl.SSLContext, *, site: str | None) -> None:
        self._sink = sink
        self._context = context
        self._site = site
        self._host = socket.gethostname() or "-"
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._doubtful: list[bytes] = []

    async def send(self, records: Sequence[Record]) -> int:
        frames = [self._frame(record) for record in records]
        try:
            async with asyncio.timeout(self._sink.timeout):
                fresh = self._connection is None or self._connection[0].at_eof()
                reader, writer = await self._connected()
                writer.writelines([*self._doubtful, *frames] if fresh else frames)
                await writer.drain()
                await _handed_over(reader, writer)
        except (OSError, TimeoutError, ssl.SSLError, EOFError) as error:
            await self._drop()
            raise Away(type(error).__name__) from error
        self._doubtful = frames
        return len(records)

    async def close(self) -> None:
        if self._connection is not None:
            _, writer = self._connection
            self._connection = None
            writer.close()
            try:
                async with asyncio.timeout(1):
                    await writer.wait_closed()
            except (OSError, TimeoutError):
                return

    async def _drop(self) -> None:
        if self._connection is not None:
            self._connection[1].transport.abort()
            self._connection = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._connection is not None and self._connection[0].at_eof():
            await self._drop()
        if self._connection is None:
            host, _, port = self._sink.address.rpartition(":")
            self._connection = await asyncio.open_connection(host.strip("[]"), int(port), ssl=self._context)
        return self._connection

    def _frame(self, record: Record) -> bytes:
        text = dicom.message(record.id, record.fields, record.sealed or {}, site=self._site)
        return dicom.framed(text, at=str(record.fields["at"]), host=self._host, process=os.getpid())


async def _handed_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait until nothing is on its way any more (SIOCOUTQ). Raises `EOFError` when the receiver has hung up."""
    connection = writer.get_extra_info("socket")
    while True:
        if reader.at_eof() or writer.transport.is_closing():
            raise EOFError
        queued = int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        if not queued and not writer.transport.get_write_buffer_size():
            return
        await asyncio.sleep(_LOOK_SECONDS)
