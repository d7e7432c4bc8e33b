"""Answers on the wire: the head, the framing of the body, and everything that transports do to both.

Rules of this module: no document is held; what is written waits for the reader, so that a slow one slows the server. A
switch that breaks an answer off raises `BrokenOff` after it did so.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from gateway.demo.xds.contents import Run, total
from gateway.demo.xds.exchange import Exchange
from gateway.demo.xds.personality import Break, Personality

DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
"""Answers are the same on every run."""


class BrokenOff(Exception):
    """The answer ended as the personality wants it; the connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before its framing."""

    status: int
    media_type: str | None
    runs: Sequence[Run]
    fields: tuple[tuple[str, str], ...] = ()


class Sender:
    """Writes answers to one connection."""

    def __init__(self, writer: asyncio.StreamWriter, released: asyncio.Event) -> None:
        self._writer = writer
        self._released = released
        # Nothing waits in the process: what was written is with the kernel, or the writer waits. A limit of 0 stops TLS.
        writer.transport.set_write_buffer_limits(high=1, low=0)

    async def proceed(self) -> None:
        """The interim answer 100 Continue."""
        await self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def bare(self, data: bytes) -> None:
        """Bytes that are no HTTP."""
        await self._write(data)

    async def send(self, reply: Reply, personality: Personality, exchange: Exchange, *, keep_alive: bool) -> bool:
        """Write the answer; whether the connection can be used again.

        Raises `BrokenOff`, `OSError` when the client is gone.
        """
        p = personality
        if p.delay:
            await asyncio.sleep(p.delay)
        await self._break(p.breaks, "start")
        if p.interim:
            await self.proceed()
        length = None if p.gzip else total(reply.runs)
        framing = "chunked" if length is None and p.framing == "length" else p.framing
        lasting = keep_alive and p.keep_alive and framing != "close" and not p.length_lie
        exchange.status = reply.status
        await self._write(_head(reply, p, framing, length, lasting))
        await self._break(p.breaks, "head")
        await _Body(self, p, exchange, chunked=framing == "chunked").write(reply.runs)
        await self._break(p.breaks, "end")
        if framing == "chunked":
            await self._write(b"0\r\n\r\n")
        return lasting

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def pause(self) -> None:
        """Send nothing more until the test says so, or until the client leaves."""
        await self._released.wait()

    async def _break(self, breaks: Break | None, where: str) -> None:
        if breaks is not None and breaks.where == where:
            await self.stop(breaks)

    async def stop(self, breaks: Break) -> None:
        """Do what the break says; what was written before it has reached the other side."""
        if breaks.how == "stall":
            await self.pause()
            return
        await self._delivered()
        if breaks.how == "reset":
            raw: socket.socket = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        raise BrokenOff

    async def _delivered(self, patience: float = 5.0) -> None:
        """Wait until the kernel has nothing left to send (SIOCOUTQ, tcp(7)): a reset would throw it away."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                # The kernel tells nobody when its queue is empty.
                while _unsent(raw):  # noqa: ASYNC110
                    await asyncio.sleep(0.001)


class _Body:
    """One body on its way: counts it, compresses it, cuts it."""

    def __init__(self, sender: Sender, personality: Personality, exchange: Exchange, *, chunked: bool) -> None:
        self._sender = sender
        self._personality = personality
        self._exchange = exchange
        self._chunked = chunked
        self._packer = zlib.compressobj(wbits=31) if personality.gzip else None

    async def write(self, runs: Sequence[Run]) -> None:
        """Everything, with a break in the payload if there is one."""
        stop = self._stop(runs)
        for run in runs:
            for piece in _pieces(run):
                if not run.payload:
                    await self._put(piece)
                    continue
                before = self._exchange.payload
                if stop is not None and before <= stop < before + len(piece):
                    await self._payload(piece[: stop - before])
                    await self._flush()
                    await self._sender.stop(self._personality.breaks or Break("close"))
                    piece = piece[stop - before :]
                    stop = None
                await self._payload(piece)
        await self._flush(last=True)

    def _stop(self, runs: Sequence[Run]) -> int | None:
        """How many bytes of payload come before the break."""
        breaks = self._personality.breaks
        if breaks is None or breaks.where != "payload":
            return None
        if breaks.after is not None:
            return breaks.after
        return sum(_length(run) for run in runs if run.payload) // 2

    async def _payload(self, piece: bytes) -> None:
        if piece and self._exchange.first_payload is None:
            self._exchange.first_payload = time.monotonic()
        await self._put(piece)
        self._exchange.payload += len(piece)

    async def _put(self, piece: bytes) -> None:
        await self._raw(piece if self._packer is None else self._packer.compress(piece))

    async def _flush(self, *, last: bool = False) -> None:
        if self._packer is not None:
            await self._raw(self._packer.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH))

    async def _raw(self, data: bytes) -> None:
        """Bytes of the body, as fast or as slowly as the personality sends."""
        step, seconds = self._personality.drip or (len(data), 0.0)
        for start in range(0, len(data), step or 1):
            piece = data if step == len(data) else data[start : start + step]
            framed = b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece
            await self._sender.bare(framed)
            self._exchange.sent += len(piece)
            if seconds:
                await asyncio.sleep(seconds)


def _unsent(raw: socket.socket) -> int:
    """Bytes in the kernel's queue. Raises `OSError` when the client is gone."""
    if raw.fileno() < 0:
        raise ConnectionResetError
    return int(struct.unpack("i", fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4)))[0])


def _head(reply: Reply, personality: Personality, framing: str, length: int | None, lasting: bool) -> bytes:
    p = personality
    lines = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}", f"Date: {DATE}"]
    lines += [f"{name}: {value}" for name, value in (*p.fields, *reply.fields)]
    if reply.media_type is not None:
        lines.append(f"Content-Type: {reply.media_type}")
    if p.gzip and p.gzip_label:
        lines.append("Content-Encoding: gzip")
    if framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
    elif framing == "length":
        lines.append(f"Content-Length: {max((length or 0) + p.length_lie, 0)}")
    if not lasting:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _pieces(run: Run) -> Iterator[bytes]:
    return (piece for piece in run.write() if piece)


def _length(run: Run) -> int:
    return run.length if run.length is not None else sum(map(len, run.write()))
