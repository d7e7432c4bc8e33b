"""What a file server says, packed by smbprotocol: the other opinion about every structure that `adapters.smb.wire` reads."""

from __future__ import annotations

from smbprotocol.create_contexts import SMB2CreateContextRequest
from smbprotocol.file_info import FileDirectoryInformation
from smbprotocol.header import SMB2HeaderResponse
from smbprotocol.open import (
    SMB2CloseResponse,
    SMB2CreateResponse,
    SMB2QueryDirectoryResponse,
    SMB2ReadResponse,
)
from smbprotocol.structure import Structure

from adapters.smb.wire import CLOSE, CREATE, QUERY_DIRECTORY, READ, SERVER_TO_REDIR

FILE_ID = bytes(range(1, 17))
DISK_ID = bytes(range(64, 96))

BORN, ACCESSED, WRITTEN, CHANGED = (133_500_000_000_000_000 + day * 864_000_000_000 for day in range(4))
"""FILETIMEs of 2024. smbprotocol keeps microseconds, so they are multiples of ten."""


def reply(
    command: int,
    body: Structure | bytes,
    *,
    status: int = 0,
    flags: int = SERVER_TO_REDIR,
    message_id: int = 7,
    session_id: int = 0x1122334455667788,
    tree_id: int = 9,
    credits: int = 3,
) -> bytearray:
    header = SMB2HeaderResponse()
    header["credit_charge"] = 1
    header["status"] = status
    header["command"] = command
    header["credit_response"] = credits
    header["flags"] = flags
    header["message_id"] = message_id
    header["tree_id"] = tree_id
    header["session_id"] = session_id
    header["data"] = body if isinstance(body, bytes) else body.pack()
    return bytearray(header.pack())


def context(name: bytes, data: bytes) -> SMB2CreateContextRequest:
    one = SMB2CreateContextRequest()
    one["buffer_name"] = name
    one["buffer_data"] = data
    return one


def created(*contexts: SMB2CreateContextRequest, size: int = 123_456, attributes: int = 0x20) -> bytearray:
    body = SMB2CreateResponse()
    body["creation_time"], body["last_access_time"] = BORN, ACCESSED
    body["last_write_time"], body["change_time"] = WRITTEN, CHANGED
    body["allocation_size"], body["end_of_file"] = size + 4096, size
    body["file_attributes"] = attributes
    body["file_id"] = FILE_ID
    for one in contexts[:-1]:
        one["next"] = len(one.pack())
    body["buffer"] = list(contexts)
    return reply(CREATE, body)


def closed(*, flags: int = 1, size: int = 123_456, attributes: int = 0x20) -> bytearray:
    body = SMB2CloseResponse()
    body["flags"] = flags
    body["creation_time"], body["last_access_time"] = BORN, ACCESSED
    body["last_write_time"], body["change_time"] = WRITTEN, CHANGED
    body["allocation_size"], body["end_of_file"] = size + 4096, size
    body["file_attributes"] = attributes
    return reply(CLOSE, body)


def read(data: bytes, *, offset: int = 80) -> bytearray:
    body = SMB2ReadResponse()
    body["data_offset"] = offset
    body["buffer"] = data
    return reply(READ, body)


def entry(name: bytes, *, attributes: int = 0x20, size: int = 1000) -> FileDirectoryInformation:
    one = FileDirectoryInformation()
    one["creation_time"], one["last_access_time"] = BORN, ACCESSED
    one["last_write_time"], one["change_time"] = WRITTEN, CHANGED
    one["end_of_file"], one["allocation_size"] = size, size + 4096
    one["file_attributes"] = attributes
    one["file_name"] = name
    return one


def listed(*entries: FileDirectoryInformation) -> bytearray:
    packed = b""
    for number, one in enumerate(entries, 1):
        padding = bytes(-len(one) % 8) if number < len(entries) else b""
        one["next_entry_offset"] = len(one) + len(padding) if number < len(entries) else 0
        packed += one.pack() + padding
    body = SMB2QueryDirectoryResponse()
    body["buffer"] = packed
    return reply(QUERY_DIRECTORY, body)
