"""The bodies of the SMB2 requests that reading a share takes ([MS-SMB2] 2.2.7 to 2.2.33).

Rules of this module: pure encoders; a body is what follows the header (`messages.request`). Nothing here opens a file for
anything but reading, and every open lets others read, write and delete.
"""

from __future__ import annotations

import struct

from adapters.smb.wire.messages import HEADER_SIZE

# StructureSize, SecurityFlags, RequestedOplockLevel, ImpersonationLevel, SmbCreateFlags, Reserved, DesiredAccess,
# FileAttributes, ShareAccess, CreateDisposition, CreateOptions, NameOffset, NameLength, CreateContextsOffset and -Length
_CREATE = struct.Struct("<HBBIQQIIIIIHHII")
# StructureSize, Padding, Flags, Length, Offset, FileId, MinimumCount, Channel, RemainingBytes, ReadChannelInfo, Buffer
_READ = struct.Struct("<HBBIQ16sIIIHHB")
# StructureSize, Flags, Reserved, FileId
_CLOSE = struct.Struct("<HHI16s")
# StructureSize, FileInformationClass, Flags, FileIndex, FileId, FileNameOffset, FileNameLength, OutputBufferLength
_QUERY_DIRECTORY = struct.Struct("<HBBI16sHHI")

_IMPERSONATION = 2
_READ_ACCESS = 0x00000001 | 0x00000080 | 0x00100000
"""FILE_READ_DATA (of a folder: FILE_LIST_DIRECTORY), FILE_READ_ATTRIBUTES, SYNCHRONIZE ([MS-SMB2] 2.2.13.1)."""
_SHARE_ALL = 0x00000007
_FILE_OPEN = 1
_DIRECTORY_FILE = 0x00000001
_SEQUENTIAL_ONLY = 0x00000004
_NON_DIRECTORY_FILE = 0x00000040

# Next, NameOffset, NameLength, Reserved, DataOffset, DataLength, Name, padding to 8 bytes
_QUERY_ON_DISK_ID = struct.pack("<IHHHHI4s4x", 0, 16, 4, 0, 0, 0, b"QFid")

_POSTQUERY_ATTRIB = 0x0001
_RESTART_SCANS = 0x01
_FILE_DIRECTORY_INFORMATION = 1

_READ_DATA_OFFSET = HEADER_SIZE + 16
_FOUR_BYTES = struct.pack("<HH", 4, 0)


def _name(text: str) -> bytes:
    """UTF-16 as it goes on the wire. Raises ValueError for a lone surrogate, and for more than a length field can say."""
    encoded = text.encode("utf-16-le")
    if len(encoded) > 0xFFFE:
        raise ValueError("the name is longer than an SMB2 request can carry")
    return encoded


def create(path: str, *, folder: bool = False, disk_id: bool = True) -> bytes:
    r"""Open an existing file, or an existing folder, for reading ([MS-SMB2] 2.2.13).

    `path` is relative to the share with `\` between its parts; empty means the share's root. `disk_id` asks what the
    server calls the file on disk (SMB2_CREATE_QUERY_ON_DISK_ID, 2.2.13.2.9). No oplock is asked for, so nothing comes
    unasked. Raises ValueError for a path that cannot be written.
    """
    name = _name(path)
    # The buffer is never empty (2.2.13), and contexts begin at a multiple of 8.
    buffer = name or b"\0\0"
    contexts, start = b"", 0
    if disk_id:
        buffer += bytes(-len(buffer) % 8)
        contexts, start = _QUERY_ON_DISK_ID, HEADER_SIZE + _CREATE.size + len(buffer)
    options = _DIRECTORY_FILE if folder else _NON_DIRECTORY_FILE | _SEQUENTIAL_ONLY
    fixed = _CREATE.pack(
        57, 0, 0, _IMPERSONATION, 0, 0, _READ_ACCESS, 0, _SHARE_ALL, _FILE_OPEN, options,
        HEADER_SIZE + _CREATE.size, len(name), start, len(contexts),
    )  # fmt: skip
    return fixed + buffer + contexts


def read(file_id: bytes, offset: int, length: int) -> bytes:
    """Read up to `length` bytes at `offset` ([MS-SMB2] 2.2.19). Costs `messages.charge(length)` credits."""
    return _READ.pack(49, _READ_DATA_OFFSET, 0, length, offset, file_id, 0, 0, 0, 0, 0, 0)


def close(file_id: bytes) -> bytes:
    """Close a file and ask for its facts as they are then ([MS-SMB2] 2.2.15)."""
    return _CLOSE.pack(24, _POSTQUERY_ATTRIB, 0, file_id)


def query_directory(file_id: bytes, pattern: str, *, length: int, restart: bool) -> bytes:
    """The next names of a folder that match `pattern`, in at most `length` bytes ([MS-SMB2] 2.2.33).

    `restart` begins anew. Costs `messages.charge(length)` credits. Raises ValueError for a pattern that cannot be written.
    """
    name = _name(pattern)
    flags = _RESTART_SCANS if restart else 0
    start = HEADER_SIZE + _QUERY_DIRECTORY.size
    fixed = _QUERY_DIRECTORY.pack(33, _FILE_DIRECTORY_INFORMATION, flags, 0, file_id, start, len(name), length)
    return fixed + name


def echo() -> bytes:
    """Is the server there ([MS-SMB2] 2.2.28)."""
    return _FOUR_BYTES


def logoff() -> bytes:
    """End the session ([MS-SMB2] 2.2.7)."""
    return _FOUR_BYTES


def tree_disconnect() -> bytes:
    """Let go of the share ([MS-SMB2] 2.2.11)."""
    return _FOUR_BYTES


def cancel() -> bytes:
    """Give up a request ([MS-SMB2] 2.2.30). Its header carries that request's ids, costs no credit and gets no reply."""
    return _FOUR_BYTES
