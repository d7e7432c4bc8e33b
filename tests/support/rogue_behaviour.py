"""What a rogue file server may do wrong, or oddly, one class each; see `tests.support.rogue_smb`.

A behaviour of a test's own is a subclass of `Behaviour`, or of `Spoiled` when it changes some replies. Tests ask `spoiled`
whether it came to pass.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.smb_messages import (
    ASYNC,
    CLOSE,
    ECHO,
    ECHO_BODY,
    ERROR_BODY,
    PENDING,
    READ,
    SEALED,
    SIGNED,
    SUCCESS,
    Message,
    Request,
    prefixed,
)

NETWORK_NAME_DELETED = 0xC00000C9
NETWORK_SESSION_EXPIRED = 0xC000035C
USER_SESSION_DELETED = 0xC0000203
TOO_MANY_OPENED_FILES = 0xC000011F
INSUFF_SERVER_RESOURCES = 0xC0000205


@dataclass(frozen=True, slots=True)
class Wire:
    """Bytes for the client as they stand, and whether the connection ends after them."""

    data: bytes
    end: bool = False


class Behaviour:
    """Does nothing wrong. Called from the threads of all connections."""

    spoiled = 0
    """How often it did what it is for."""

    def on_requests(self, requests: list[Request]) -> None:
        """The requests of one frame, before smbd sees them; they may be changed."""

    def on_reply(self, command: int, message: Message, request: Request | None) -> list[Message | Wire]:
        """What the client gets instead of this reply to `request`, nothing for an empty list.

        A sealed message has the command `SEALED` and no request. A reply that stays alone stays in its compound.
        """
        return [message]

    def on_quiet(self) -> list[Message]:
        """What was held back and is due, now that smbd has nothing more to say."""
        return []


class Spoiled(Behaviour):
    """Spoils final, successful replies to some commands: from the `nth` on, `times` of them, None for all that follow."""

    def __init__(self, *, commands: Collection[int] = (READ,), nth: int = 1, times: int | None = None) -> None:
        self._commands, self._first = commands, nth
        self._times = times
        self._seen = 0

    def on_reply(self, command: int, message: Message, request: Request | None) -> list[Message | Wire]:
        if command not in self._commands or (command != SEALED and message.status != SUCCESS):
            return [message]
        self._seen += 1
        if self._seen < self._first or (self._times is not None and self.spoiled >= self._times):
            return [message]
        self.spoiled += 1
        return self.spoil(message, request)

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        raise NotImplementedError


# --- what a server may do ------------------------------------------------------------------------------------------


class ShortReads(Spoiled):
    """Gives `most` bytes of what was asked for at most, which a server may."""

    def __init__(self, most: int, **when: Any) -> None:
        super().__init__(**when)
        self._most = most

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        message.payload = message.payload[: self._most]
        return [message]


class PendingFirst(Spoiled):
    """Says "pending" before it answers, and answers asynchronously ([MS-SMB2] 3.3.4.2)."""

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        interim = message.copy()
        interim.replace_body(ERROR_BODY)
        interim.status = PENDING
        message.credits = 0  # they came with the interim reply
        for one in (interim, message):
            one.flags |= ASYNC
            one.async_id = 0x1_0000_0000 + message.id
        return [interim, message]


class ReversedReplies(Spoiled):
    """Holds `count` replies back and gives them in reverse order; fewer when the server has no more to say."""

    def __init__(self, count: int = 4, **when: Any) -> None:
        super().__init__(**when)
        self._count = count
        self._held: list[Message] = []

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        self._held.append(message)
        return [*self.on_quiet()] if len(self._held) == self._count else []

    def on_quiet(self) -> list[Message]:
        held, self._held = self._held, []
        return held[::-1]


class StarvedCredits(Behaviour):
    """Grants no credit while it owes the client another reply; with the last one the client gets all of them."""

    def __init__(self) -> None:
        self._open: set[Request] = set()
        self._owed = 0

    def on_requests(self, requests: list[Request]) -> None:
        self._open.update(requests)

    def on_reply(self, command: int, message: Message, request: Request | None) -> list[Message | Wire]:
        if request in self._open:
            self._owed += message.credits
            if message.status != PENDING:
                self._open.discard(request)
            message.credits = 0 if self._open else self._owed
            self._owed -= message.credits
            self.spoiled += message.credits == 0
        return [message]


class Refused(Behaviour):
    """Answers the `nth` request of a kind, and `times - 1` more, with an error; smbd never hears of them.

    What is related to a refused request in a compound is refused with it.
    """

    def __init__(self, command: int, status: int, *, nth: int = 1, times: int = 1) -> None:
        self._command, self._status = command, status
        self._which = range(nth, nth + times)
        self._seen = 0
        self._refused: set[Request] = set()

    def on_requests(self, requests: list[Request]) -> None:
        cascade = False
        for request in requests:
            if request.command == self._command:
                self._seen += 1
                if self._seen in self._which:
                    self.spoiled += 1
                    cascade = True
            if cascade:
                self._refused.add(request)
                request.command = ECHO  # keeps smbd's count of message ids and credits right
                request.replace_body(ECHO_BODY)

    def on_reply(self, command: int, message: Message, request: Request | None) -> list[Message | Wire]:
        if request in self._refused:
            message.command = command
            message.status = self._status
            message.replace_body(ERROR_BODY)
        return [message]


# --- what no server may do -----------------------------------------------------------------------------------------


class OverlongReads(Spoiled):
    """Gives `extra` bytes more than were asked for."""

    def __init__(self, extra: int = 1, **when: Any) -> None:
        super().__init__(**when)
        self._extra = extra

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        assert request is not None
        message.payload = message.payload.ljust(request.read_length + self._extra, b"!")
        return [message]


class EmptyReads(Spoiled):
    """Says that all went well and gives nothing: who asks again asks for ever."""

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        message.payload = b""
        return [message]


class WildOffsets(Spoiled):
    """Says that the data lie where the message has none: behind its end, or in its header."""

    def __init__(self, offset: int = 255, **when: Any) -> None:
        super().__init__(**when)
        self._offset = offset

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        message.data_offset = self._offset
        return [message]


class OtherFacts(Spoiled):
    """Gives another size, or another time of writing, for a file that nobody touched."""

    def __init__(self, *, size: int = 0, written: int = 0, commands: Sequence[int] = (CLOSE,), **when: Any) -> None:
        super().__init__(commands=commands, **when)
        self._size, self._written = size, written

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        message.size += self._size
        message.written += self._written
        return [message]


class ChangedBytes(Spoiled):
    """Flips one bit in the last byte of a reply, sealed ones of `larger_than` bytes included."""

    def __init__(self, *, larger_than: int = 0, commands: Collection[int] = (READ, SEALED), **when: Any) -> None:
        super().__init__(commands=commands, **when)
        self._larger_than = larger_than

    def on_reply(self, command: int, message: Message, request: Request | None) -> list[Message | Wire]:
        return super().on_reply(command, message, request) if len(message.data) > self._larger_than else [message]

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        message.data[-1] ^= 1
        return [message]


class StrippedSignatures(Spoiled):
    """Takes the signature away, and the flag that announces it."""

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        message.flags &= ~SIGNED
        message.data[48:64] = bytes(16)
        return [message]


class DuplicatedReplies(Spoiled):
    """Answers twice."""

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        return [message, message.copy()]


class WrongMessageIds(Spoiled):
    """Answers a request that nobody made."""

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        message.id += 1_000_000
        return [message]


class DroppedReplies(Spoiled):
    """Never answers."""

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        return []


class TruncatedFrames(Spoiled):
    """Ends the connection in the middle of a frame."""

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        whole = prefixed(message.data)
        return [Wire(whole[: len(whole) // 2], end=True)]


class AbsurdLengths(Spoiled):
    """Announces a frame of `length` bytes, 16 MiB unless told, and goes on as if nothing were."""

    def __init__(self, length: int = 0xFFFFFF, **when: Any) -> None:
        super().__init__(**when)
        self._length = length

    def spoil(self, message: Message, request: Request | None) -> list[Message | Wire]:
        return [Wire(struct.pack(">I", self._length) + message.data)]
