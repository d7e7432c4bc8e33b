"""Just enough of SMB2's layout to look into messages and to spoil them ([MS-SMB2] 2.2), apart from the product's code.

Rules of this module: bytes in, bytes out; nothing is verified, since what tests make of it is often wrong on purpose.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

CREATE, CLOSE, READ, CANCEL, ECHO = 5, 6, 8, 12, 13
SEALED = -1
"""Stands for the command of an encrypted message (a TRANSFORM, [MS-SMB2] 2.2.41), which only its ends can see."""

PLAIN, TRANSFORM = b"\xfeSMB", b"\xfdSMB"
HEADER = 64
ASYNC, SIGNED = 0x2, 0x8
SUCCESS, PENDING = 0x0, 0x103

ERROR_BODY = struct.pack("<HBBIB", 9, 0, 0, 0, 0)
ECHO_BODY = struct.pack("<HH", 4, 0)


class Field:
    """A field of a message: a struct format and an offset from the start of the header. Descriptor of `Message`."""

    def __init__(self, form: str, offset: int) -> None:
        self._struct, self._offset = struct.Struct(form), offset

    def __get__(self, message: Message, _owner: object = None) -> int:
        return int(self._struct.unpack_from(message.data, self._offset)[0])

    def __set__(self, message: Message, value: int) -> None:
        self._struct.pack_into(message.data, self._offset, value)


@dataclass(slots=True, eq=False)
class Message:
    """One SMB2 message, header included; its fields can be read and set."""

    data: bytearray

    protocol = Field("<I", 0)
    charge = Field("<H", 6)
    status = Field("<I", 8)
    command = Field("<H", 12)
    credits = Field("<H", 14)
    flags = Field("<I", 16)
    next = Field("<I", 20)
    id = Field("<Q", 24)
    async_id = Field("<Q", 32)
    session = Field("<Q", 40)

    # Of READ requests and replies, [MS-SMB2] 2.2.19 and 2.2.20.
    read_length = Field("<I", 68)
    read_offset = Field("<Q", 72)
    data_offset = Field("<B", 66)
    data_length = Field("<I", 68)

    # Of CREATE and CLOSE replies, [MS-SMB2] 2.2.14 and 2.2.16: laid out alike up to here.
    written = Field("<Q", 88)
    size = Field("<Q", 112)

    def copy(self) -> Message:
        return Message(bytearray(self.data))

    def replace_body(self, body: bytes) -> None:
        """Keep the header and nothing else."""
        self.data[HEADER:] = body

    @property
    def payload(self) -> bytes:
        """The data of a READ reply."""
        return bytes(self.data[self.data_offset : self.data_offset + self.data_length])

    @payload.setter
    def payload(self, value: bytes) -> None:
        self.data[self.data_offset :] = value
        self.data_length = len(value)


@dataclass(slots=True, eq=False)
class Request(Message):
    """A client's request. `connection` counts from 1; `before` are the bytes it came with."""

    connection: int = 0
    before: bytes = field(default=b"")


def split(frame: bytes) -> list[bytearray]:
    """The messages of a frame, each with the padding behind it."""
    messages = []
    while frame:
        (length,) = struct.unpack_from("<I", frame, 20)
        messages.append(bytearray(frame[:length] if length else frame))
        frame = frame[length:] if length else b""
    return messages


def chain(messages: list[Message]) -> bytes:
    """One frame of several messages, as [MS-SMB2] 3.3.4.1.3 has them."""
    for message in messages[:-1]:
        message.data += bytes(-len(message.data) % 8)
        message.next = len(message.data)
    messages[-1].next = 0
    return b"".join(message.data for message in messages)


def prefixed(frame: bytes | bytearray) -> bytes:
    """A frame with the length before it that direct TCP asks for ([MS-SMB2] 2.1)."""
    return struct.pack(">I", len(frame)) + frame
