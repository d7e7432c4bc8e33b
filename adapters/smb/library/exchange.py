"""What smbprotocol is asked, and what its answers are: each call here waits for the server and runs on a thread.

Rules of this module: no asyncio, and one call at a time (`turns`). Everything that smbprotocol does otherwise than this
package needs is put right here: it follows symbolic links by itself (they are refused), cuts times to microseconds (a
version of a document is made of them), sends what the credits do not allow, and puts names into its messages.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from smbprotocol.create_contexts import CreateContextName, SMB2CreateContextRequest, SMB2CreateQueryOnDiskIDResponse
from smbprotocol.exceptions import SMBConnectionClosed, SMBResponseException
from smbprotocol.file_info import FileInformationClass
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    DirectoryAccessMask,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
    QueryDirectoryFlags,
    ShareAccess,
)

from adapters.contract import MAX_CHUNK
from adapters.smb.failures import Lost, Refused, Untrusted
from adapters.smb.session import Established
from adapters.smb.share import Entry, Facts
from adapters.smb.wire.status import STATUS_END_OF_FILE, STATUS_NO_MORE_FILES, STATUS_NO_SUCH_FILE

CREDIT = 1 << 16
"""Bytes that one credit pays for ([MS-SMB2] 3.1.5.2)."""

# Both in CREATE's answer and in CLOSE's ([MS-SMB2] 2.2.14, 2.2.16): the times of creation, access, writing and change,
# AllocationSize, EndofFile, FileAttributes
_FACTS = struct.Struct("<8xQQQQQQI")
# StructureSize, DataOffset, Reserved, DataLength ([MS-SMB2] 2.2.20)
_DATA = struct.Struct("<HBxI")
_HEADER = 64
_POSTQUERY_ATTRIB = 1

_READ_FILE = (
    FilePipePrinterAccessMask.FILE_READ_DATA
    | FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES
    | FilePipePrinterAccessMask.SYNCHRONIZE
)
_READ_FOLDER = (
    DirectoryAccessMask.FILE_LIST_DIRECTORY | DirectoryAccessMask.FILE_READ_ATTRIBUTES | DirectoryAccessMask.SYNCHRONIZE
)
_SHARE_ALL = ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE | ShareAccess.FILE_SHARE_DELETE


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that is open on the server. `handle` is smbprotocol's."""

    handle: Any
    facts: Facts


class Exchange:
    """The calls of one connection. They raise `Refused`, `Lost`, and `Untrusted` after dropping the connection."""

    def __init__(self, established: Established) -> None:
        self._established = established
        self._transport = established.transport
        self._connection = established.connection
        self._session = established.session
        self._tree = established.tree

    @property
    def connected(self) -> bool:
        return self._transport.connected

    @property
    def heard(self) -> float:
        return self._transport.heard

    def sever(self) -> None:
        """End the connection, from any thread and without waiting: the call that runs ends with `Lost`."""
        self._transport.sever()

    def part(self) -> None:
        """Close what is open, log off if the connection stands, and let go of it. Never raises."""
        with contextlib.suppress(Exception):
            if self._transport.connected:
                self._connection.disconnect()
        self._transport.close()

    def open(self, name: str, offset: int, length: int) -> tuple[Opened, bytes]:
        """Open a file and read up to `length` bytes at `offset`, in one chain ([MS-SMB2] 3.2.4.1.4)."""
        with self._asking("could not open the document"):
            handle = Open(self._tree, name)
            create, _ = created = _creating(handle, folder=False)
            length = self._affordable(length, spent=1)
            if not length:
                return self._opened(handle, created, self._send(create)), b""
            read, _ = handle.read(offset, length, send=False)
            first, second = self._send_chain(create, read)
            try:
                opened = self._opened(handle, created, first)
            except SMBResponseException:
                self._forget(second)
                raise
            try:
                return opened, _data(self._answer(second), length)
            except SMBResponseException as error:
                if error.status == STATUS_END_OF_FILE:
                    return opened, b""
                self._close(handle)
                raise

    def read(self, opened: Opened, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`, at least one."""
        with self._asking("could not read the document"):
            length = self._affordable(length)
            if not length:
                raise Untrusted("the server grants no credits and owes no answer")
            request, _ = opened.handle.read(offset, length, send=False)
            return _data(self._answer(self._send(request)), length)

    def close(self, opened: Opened) -> Facts | None:
        """Close a file; what the server says of it then."""
        with self._asking("could not close the document"):
            return self._close(opened.handle)

    def open_folder(self, name: str) -> Opened:
        with self._asking("could not open the folder"):
            handle = Open(self._tree, name)
            create, _ = created = _creating(handle, folder=True)
            return self._opened(handle, created, self._send(create))

    def listed(self, folder: Opened, pattern: str, restart: bool = True) -> list[Entry] | None:
        """The next names in a folder; None when there are no more."""
        with self._asking("could not list the folder"):
            request, unpack = folder.handle.query_directory(
                pattern,
                FileInformationClass.FILE_DIRECTORY_INFORMATION,
                flags=QueryDirectoryFlags.SMB2_RESTART_SCANS if restart else 0,
                send=False,
            )
            sent = self._send(request)
            try:
                self._answer(sent)
            except SMBResponseException as error:
                if error.status in (STATUS_NO_MORE_FILES, STATUS_NO_SUCH_FILE):
                    return None
                raise
            return [entry for entry in map(_entry, unpack(sent)) if entry is not None]

    def echo(self) -> None:
        with self._asking("could not ask the server whether it is there"):
            self._connection.echo(sid=self._session.session_id)

    # --- one request -----------------------------------------------------------------------------------------------

    def _send(self, message: Any) -> Any:
        return self._connection.send(message, sid=self._session.session_id, tid=self._tree.tree_connect_id)

    def _send_chain(self, *messages: Any) -> Any:
        return self._connection.send_compound(
            messages, sid=self._session.session_id, tid=self._tree.tree_connect_id, related=True
        )

    def _answer(self, sent: Any) -> bytes:
        """The body of the answer. Raises `SMBResponseException` and anything that ended smbprotocol's reader."""
        return bytes(self._connection.receive(sent, resolve_symlinks=False)["data"].get_value())

    def _forget(self, sent: Any) -> None:
        """Wait for an answer that says nothing new, so that its place in the table of requests is free."""
        with contextlib.suppress(SMBResponseException):
            self._answer(sent)

    def _opened(self, handle: Any, created: Any, sent: Any) -> Opened:
        body = self._answer(sent)
        _, unpack = created
        contexts = unpack(sent) or ()
        disk_ids = (bytes(one.pack()) for one in contexts if isinstance(one, SMB2CreateQueryOnDiskIDResponse))
        return Opened(handle, _facts(body, next(disk_ids, b"")))

    def _close(self, handle: Any) -> Facts | None:
        request, _ = handle.close(get_attributes=True, send=False)
        self._session.open_table.pop(handle.file_id, None)
        body = self._answer(self._send(request))
        return _facts(body) if body[2] & _POSTQUERY_ATTRIB else None

    def _affordable(self, length: int, *, spent: int = 0) -> int:
        """As much of `length` as one READ may ask for, after `spent` credits."""
        _, credits = self._established.sequence
        most = min(length, MAX_CHUNK, self._established.max_read)
        return min(most, (credits - spent) * CREDIT) if self._established.multi_credit else most

    @contextlib.contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        """Turn what smbprotocol raises into what an engine raises; its own messages hold names."""
        try:
            yield
        except SMBResponseException as error:
            raise Refused(error.status, doing) from None
        except (SMBConnectionClosed, OSError):
            self.sever()
            raise Lost(f"{doing}: the connection ended") from None
        except Exception as error:
            # A signature that is wrong, an answer to no question, bytes that are no message: whatever its reader met.
            self.sever()
            if isinstance(error, Lost):
                raise
            raise Untrusted(f"{doing}: the server's answer was not believed ({type(error).__name__})") from None


def _creating(handle: Any, *, folder: bool) -> Any:
    """The CREATE request that opens for reading what is there, and what unpacks its answer ([MS-SMB2] 2.2.13)."""
    disk_id = SMB2CreateContextRequest()
    disk_id["buffer_name"] = CreateContextName.SMB2_CREATE_QUERY_ON_DISK_ID
    return handle.create(
        ImpersonationLevel.Impersonation,
        _READ_FOLDER if folder else _READ_FILE,
        0,
        _SHARE_ALL,
        CreateDisposition.FILE_OPEN,
        CreateOptions.FILE_DIRECTORY_FILE
        if folder
        else CreateOptions.FILE_NON_DIRECTORY_FILE | CreateOptions.FILE_SEQUENTIAL_ONLY,
        create_contexts=None if folder else [disk_id],
        send=False,
    )


def _facts(body: bytes, disk_id: bytes = b"") -> Facts:
    created, _accessed, written, changed, _allocated, size, attributes = _FACTS.unpack_from(body)
    return Facts(size, created, written, changed, attributes, disk_id)


def _data(body: bytes, asked: int) -> bytes:
    """The data of READ's answer. smbprotocol takes them from where they usually are, and fewer than stated if so."""
    _, start, length = _DATA.unpack_from(body)
    data = body[start - _HEADER : start - _HEADER + length]
    if start < _HEADER + _DATA.size or not 0 < len(data) == length <= asked:
        raise Untrusted("the answer to a READ holds other than was asked for")
    return data


def _entry(listed: Any) -> Entry | None:
    """None for the folder itself, the one above, and a name that is not Unicode."""
    try:
        name = listed["file_name"].get_value().decode("utf-16-le")
    except UnicodeDecodeError:
        return None
    if name in (".", ".."):
        return None
    return Entry(name, listed["file_attributes"].get_value(), listed["end_of_file"].get_value())
