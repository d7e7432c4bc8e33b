"""One document on the native data path: opened for a reader who may leave at any moment, read, closed.

Rules of this module: opening is one round trip, CREATE and the first READ in one chain; closing is another, and its answer
carries the facts that show whether the file was changed meanwhile. Where the first READ is expected to bring all of a file,
CLOSE is in the chain too. A file that was opened for a reader who has left is closed when the answer comes, also long
afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from adapters.smb.failures import Refused
from adapters.smb.native.connection import Request
from adapters.smb.native.reading import Reading
from adapters.smb.share import Facts
from adapters.smb.wire import (
    CLOSE,
    CREATE,
    CREDIT,
    READ,
    RELATED_FILE,
    Closed,
    Created,
    Header,
    Malformed,
    charge,
    close,
    closed,
    created,
    is_error,
    read,
    read_data,
)
from adapters.smb.wire.status import STATUS_END_OF_FILE

if TYPE_CHECKING:
    from adapters.smb.native.share import NativeShare


class NativeFile:
    """One open document, or one that was read as a whole and is closed again: `then` is what the server stated then."""

    def __init__(
        self,
        share: NativeShare,
        opened: Created,
        offset: int,
        head: bytes,
        *,
        still_open: bool,
        then: Facts | None = None,
    ) -> None:
        self._share = share
        self._file_id = opened.file_id
        self._offset = offset
        self._head = head
        self._reading: Reading | None = None
        self._open = still_open
        self._then = then
        self.facts = Facts(
            opened.size, opened.created, opened.written, opened.changed, opened.attributes, opened.disk_id
        )

    def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        skip = start - self._offset
        head = self._head[skip : skip + stop - start] if 0 <= skip < len(self._head) else b""
        self._head = b""
        self._reading = self._share.reading(self._file_id, start, stop, head)
        return self._reading

    async def close(self) -> Facts | None:
        if not self._left():
            then, self._then = self._then, None
            return then
        [(header, message)] = await self._share.connection.ask((CLOSE, close(self._file_id), 1), always=True)
        if is_error(header):
            raise Refused(header.status, "could not close the document")
        return _stated(self._share.parsed(closed, message))

    def abandon(self) -> None:
        self._then = None
        if self._left():
            self._share.close_later(self._file_id)

    def _left(self) -> bool:
        """Let go of everything but the file itself; whether that is still open."""
        if self._reading is not None:
            self._reading.close()
        was_open, self._open = self._open, False
        if was_open:
            self._share.open_count -= 1
        return was_open


def _stated(facts: Closed | None) -> Facts | None:
    return facts and Facts(facts.size, facts.created, facts.written, facts.changed, facts.attributes)


class Opening:
    """CREATE and the first READ in one chain. When nobody waits for it any more, the file is closed as it opens.

    `whole`: CLOSE ends the chain, since the READ is expected to bring the whole file. `refused`: the server opened the file and
    refused what followed in that chain, which it may do with what takes it longer ([MS-SMB2] 3.3.5.2.7).
    """

    def __init__(self, share: NativeShare, offset: int, length: int, *, whole: bool = False) -> None:
        self._share = share
        self._offset = offset
        self._length = length
        self._whole = whole
        self.refused = False
        self._opened: Created | None = None
        self._head = b""
        self._done: asyncio.Future[NativeFile | None] = asyncio.get_running_loop().create_future()

    async def answer(self, body: bytes) -> NativeFile | None:
        """The file; None when `whole` did not bring all of it, and it was closed or is about to be."""
        cost = charge(self._length) if self._length else 0

        def send(credits: int) -> None:
            if self._done.done():
                return
            # A server that never lets out enough credits for the whole chain gets less at a time.
            self._whole = self._whole and credits >= cost + 2
            self._length = min(self._length, (credits - 1) * CREDIT)
            chain = [Request(CREATE, body, 1, self._created, self._share.flags)]
            if self._length:
                first = read(RELATED_FILE, self._offset, self._length)
                chain.append(Request(READ, first, charge(self._length), self._read))
            if self._whole:
                chain.append(Request(CLOSE, close(RELATED_FILE), 1, self._closed))
            self._share.connection.send_now(chain, self._failed)

        self._share.connection.submit(1 + cost + self._whole, send, self._failed, least=1)
        try:
            return await self._done
        except asyncio.CancelledError:
            if self._done.done() and not self._done.cancelled() and self._done.exception() is None:
                file = self._done.result()
                if file is not None:
                    file.abandon()
            raise

    def _created(self, header: Header, message: memoryview) -> None:
        if is_error(header):
            self._failed(Refused(header.status, "could not open the document"))
            return
        self._opened = created(message)
        if not self._length:
            self._finish(b"")

    def _read(self, header: Header, message: memoryview) -> None:
        if not is_error(header):
            self._finish(bytes(read_data(message, self._length)))
        elif header.status == STATUS_END_OF_FILE:
            self._finish(b"")
        elif self._whole:
            self.refused = True
        else:
            self._give_up()
            self._failed(Refused(header.status, "could not read the document"))

    def _finish(self, head: bytes) -> None:
        if self._opened is None:
            raise Malformed("a READ answered before its CREATE")
        if self._whole:
            self._head = head
        elif self._done.done():
            self._give_up()
        else:
            self._share.open_count += 1
            self._done.set_result(NativeFile(self._share, self._opened, self._offset, head, still_open=True))

    def _closed(self, header: Header, message: memoryview) -> None:
        if self._opened is None:
            if not self._done.done():
                raise Malformed("a CLOSE answered before its CREATE")
        elif is_error(header):
            self.refused = True
            self._give_up()
            self._end(None)
        else:
            then = _stated(closed(message))
            complete = not self.refused and self._offset + len(self._head) == self._opened.size
            file = NativeFile(self._share, self._opened, self._offset, self._head, still_open=False, then=then)
            self._end(file if complete else None)

    def _end(self, file: NativeFile | None) -> None:
        if not self._done.done():
            self._done.set_result(file)

    def _give_up(self) -> None:
        if self._opened is not None:
            self._share.close_later(self._opened.file_id)
            self._opened = None

    def _failed(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)
