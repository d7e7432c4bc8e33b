"""The bodies of the SMB2 replies that reading a share meets ([MS-SMB2] 2.2.14 to 2.2.34).

Rules of this module: pure decoders of ONE message each, header included and not an ERROR response (`messages.is_error`).
The server may be anybody: what does not lie inside the message raises `Malformed`, and no loop runs longer than the
message is.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from adapters.smb.share import Entry
from adapters.smb.wire.messages import HEADER_SIZE, Buffer, Malformed

# StructureSize, OplockLevel, Flags, CreateAction, the four times, AllocationSize, EndofFile, FileAttributes, Reserved2,
# FileId, CreateContextsOffset, CreateContextsLength
_CREATE = struct.Struct("<H6xQ8xQQ8xQI4x16sII")
# Next, NameOffset, NameLength, Reserved, DataOffset, DataLength
_CONTEXT = struct.Struct("<IHHHHI")
# StructureSize, Flags, Reserved, the four times, AllocationSize, EndofFile, FileAttributes
_CLOSE = struct.Struct("<HH4xQ8xQQ8xQI")
# StructureSize, DataOffset, Reserved, DataLength, DataRemaining, Reserved2
_READ = struct.Struct("<HBxI8x")
# StructureSize, OutputBufferOffset, OutputBufferLength
_QUERY_DIRECTORY = struct.Struct("<HHI")
# FileDirectoryInformation ([MS-FSCC] 2.4.10): NextEntryOffset, FileIndex, the four times, EndOfFile, AllocationSize,
# FileAttributes, FileNameLength
_ENTRY = struct.Struct("<I36xQ8xII")

_QUERY_ON_DISK_ID = b"QFid"
_DISK_ID_SIZE = 32
_MOST_CONTEXTS = 16
"""A server answers the contexts it was asked for, and only one was."""
_POSTQUERY_ATTRIB = 0x0001


class Created(NamedTuple):
    """An opened file ([MS-SMB2] 2.2.14). Times are FILETIMEs; `disk_id` is empty when the server does not say."""

    file_id: bytes
    created: int
    written: int
    changed: int
    size: int
    attributes: int
    disk_id: bytes


class Closed(NamedTuple):
    """A file as it was when it was closed ([MS-SMB2] 2.2.16). Times are FILETIMEs."""

    created: int
    written: int
    changed: int
    size: int
    attributes: int


def created(message: Buffer) -> Created:
    """The reply to CREATE. Raises `Malformed`."""
    size, born, written, changed, end, attributes, file_id, start, length = _fixed(_CREATE, message, "CREATE response")
    if size != 89:
        raise Malformed("CREATE response: wrong StructureSize")
    disk_id = b""
    if length:
        _within(message, start, length, HEADER_SIZE + _CREATE.size, "CREATE response contexts")
        disk_id = _disk_id(memoryview(message)[start : start + length])
    return Created(file_id, born, written, changed, end, attributes, disk_id)


def _disk_id(contexts: memoryview) -> bytes:
    """The on-disk id among the contexts of a CREATE response ([MS-SMB2] 2.2.14.2.9), empty when it is not there."""
    what = "CREATE response context"
    for _ in range(_MOST_CONTEXTS):
        if len(contexts) < _CONTEXT.size:
            raise Malformed(f"{what}: outside the message")
        after, name_at, name_size, _reserved, data_at, data_size = _CONTEXT.unpack_from(contexts)
        _within(contexts, name_at, name_size, _CONTEXT.size, what)
        if data_size:
            _within(contexts, data_at, data_size, _CONTEXT.size, what)
        if after and (after & 7 or not _CONTEXT.size <= after < len(contexts)):
            raise Malformed(f"{what}: Next does not lead to a context")
        if contexts[name_at : name_at + name_size] == _QUERY_ON_DISK_ID and data_size == _DISK_ID_SIZE:
            return bytes(contexts[data_at : data_at + data_size])
        if not after:
            return b""
        contexts = contexts[after:]
    raise Malformed(f"{what}: more of them than were asked for")


def closed(message: Buffer) -> Closed | None:
    """The reply to CLOSE; None when the server states no facts in it. Raises `Malformed`."""
    size, flags, born, written, changed, end, attributes = _fixed(_CLOSE, message, "CLOSE response")
    if size != 60:
        raise Malformed("CLOSE response: wrong StructureSize")
    return Closed(born, written, changed, end, attributes) if flags & _POSTQUERY_ATTRIB else None


def read_data(message: Buffer, asked: int) -> memoryview:
    """The bytes of a reply to READ, as a view of `message`: at least one, at most `asked` ([MS-SMB2] 2.2.20).

    Raises `Malformed` when they are none, more than asked for, or outside the message.
    """
    size, start, length = _fixed(_READ, message, "READ response")
    if size != 17:
        raise Malformed("READ response: wrong StructureSize")
    if not 0 < length <= asked:
        raise Malformed("READ response: no data, or more than was asked for")
    _within(message, start, length, HEADER_SIZE + _READ.size, "READ response data")
    return memoryview(message)[start : start + length]


def listed(message: Buffer) -> list[Entry]:
    r"""The names in a reply to QUERY_DIRECTORY, without `.` and `..`. Raises `Malformed`.

    Names that nobody could ask for are left out: those that are not Unicode (NTFS keeps lone surrogates), and those with
    a separator or NUL in them, which no honest server sends ([MS-FSCC] 2.1.5).
    """
    size, start, length = _fixed(_QUERY_DIRECTORY, message, "QUERY_DIRECTORY response")
    if size != 9:
        raise Malformed("QUERY_DIRECTORY response: wrong StructureSize")
    if not length:
        return []
    what = "QUERY_DIRECTORY response entry"
    _within(message, start, length, HEADER_SIZE + _QUERY_DIRECTORY.size, what)
    entries, at, stop = [], start, start + length
    while True:
        if stop - at < _ENTRY.size:
            raise Malformed(f"{what}: outside the message")
        after, end_of_file, attributes, name_size = _ENTRY.unpack_from(message, at)
        name_at = at + _ENTRY.size
        # An entry ends where the next begins; were they to overlap, a small message could hold a great many long names.
        if name_size & 1 or name_at + name_size > (at + after if after else stop):
            raise Malformed(f"{what}: the name is outside the entry")
        name = _text(message[name_at : name_at + name_size])
        if name:
            entries.append(Entry(name, attributes, end_of_file))
        if not after:
            return entries
        at += after


def _text(name: Buffer) -> str | None:
    """A name as text, None when it is none of a document or folder."""
    try:
        text = bytes(name).decode("utf-16-le")
    except UnicodeDecodeError:
        return None
    return None if text in (".", "..") or any(sign in text for sign in "\\/\0") else text


def _fixed(layout: struct.Struct, message: Buffer, what: str) -> tuple[Any, ...]:
    """The fixed part of a body. Raises `Malformed` when the message is too short for it."""
    if len(message) < HEADER_SIZE + layout.size:
        raise Malformed(f"{what}: too short")
    return layout.unpack_from(message, HEADER_SIZE)


def _within(message: Buffer, start: int, length: int, first: int, what: str) -> None:
    """Raise `Malformed` unless [start, start + length) lies in `message`, not before `first`."""
    if start < first or start + length > len(message):
        raise Malformed(f"{what}: outside the message")
