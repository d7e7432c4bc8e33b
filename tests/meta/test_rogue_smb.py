"""The rogue file server does what its behaviours say, and nothing else to the messages that pass."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from cryptography.exceptions import InvalidTag
from smbprotocol.exceptions import SMBException, SMBResponseException

from tests.support import rogue_behaviour as does
from tests.support.ports import LOOPBACK
from tests.support.rogue_smb import RogueSmb
from tests.support.samba import Samba, samba
from tests.support.samba_client import client
from tests.support.smb_messages import (
    ASYNC,
    CANCEL,
    CLOSE,
    CREATE,
    ECHO,
    PENDING,
    READ,
    SIGNED,
    SUCCESS,
    Message,
    chain,
    prefixed,
    split,
)

HEADER = struct.Struct("<4sHHIHHIIQQQ16s")
SMB_3_0_2 = 0x0302
QUERY = 14
PLAIN = {"signing": False, "dialect": SMB_3_0_2}


def request(command: int, number: int, body: bytes = b"", *, flags: int = 0) -> Message:
    return Message(bytearray(HEADER.pack(b"\xfeSMB", 64, 1, 0, command, 1, flags, 0, number, 0, 7, bytes(16)) + body))


def read(number: int, length: int = 100) -> Message:
    return request(READ, number, struct.pack("<HBBIQ16sIIIHHB", 49, 80, 0, length, 0, bytes(16), 0, 0, 0, 0, 0, 0))


class Honest:
    """Answers READ with as many bytes as were asked for, signed, and all else with 60 bytes; two credits each.

    QUERY it calls pending first. What is not SMB2 it sends back.
    """

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _address = self._listener.accept()
        with connection, connection.makefile("rb") as incoming:
            while head := incoming.read(4):
                frame = incoming.read(int.from_bytes(head, "big"))
                self.heard.append(frame)
                if not frame.startswith(b"\xfeSMB"):
                    connection.sendall(prefixed(frame))
                    continue
                asked = [Message(data) for data in split(frame)]
                if asked[0].command == QUERY:
                    interim = self._reply(asked[0])
                    interim.status = PENDING
                    connection.sendall(prefixed(interim.data))
                if asked[0].command != CANCEL:
                    connection.sendall(prefixed(chain([self._reply(one) for one in asked])))

    def _reply(self, asked: Message) -> Message:
        body = struct.pack("<HHIQQQQQQI", 60, 1, 0, *range(6), 0)
        if asked.command == READ:
            body = struct.pack("<HBBIII", 17, 80, 0, asked.read_length, 0, 0) + b"x" * asked.read_length
        reply = request(asked.command, asked.id, body, flags=1 | SIGNED)
        reply.credits = 2
        reply.data[48:64] = b"s" * 16
        return reply

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


class Wire:
    """A client that sends frames and shows what comes back, as messages or as bytes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((LOOPBACK, port), timeout=10)
        self.incoming = self.socket.makefile("rb")

    def send(self, *messages: Message) -> None:
        """Several messages are one compound."""
        self.socket.sendall(prefixed(chain(list(messages))))

    def frame(self) -> list[Message]:
        head = self.incoming.read(4)
        return [Message(data) for data in split(self.incoming.read(int.from_bytes(head, "big")))]

    def ask(self, *messages: Message, frames: int = 1) -> list[list[Message]]:
        self.send(*messages)
        return [self.frame() for _ in range(frames)]


@pytest.fixture
def honest() -> Iterator[Honest]:
    one = Honest()
    yield one
    one.close()


@pytest.fixture
def rogue(honest: Honest) -> Iterator[RogueSmb]:
    with RogueSmb(LOOPBACK, honest.port) as one:
        yield one


@pytest.fixture
def wire(rogue: RogueSmb) -> Iterator[Wire]:
    one = Wire(rogue.port)
    yield one
    one.incoming.close()
    one.socket.close()


def test_what_nobody_spoils_passes_byte_for_byte(rogue: RogueSmb, wire: Wire, honest: Honest):
    # Padded and linked in a way of its own, which a message that was parsed and written anew would not be.
    odd = read(2)
    odd.data += bytes(24)
    odd.next = len(odd.data)
    frame = bytes(odd.data + read(3).data)
    wire.socket.sendall(prefixed(frame))
    assert [one.payload for one in wire.frame()] == [b"x" * 100] * 2
    assert honest.heard == [frame]


def test_sealed_and_strange_frames_pass(rogue: RogueSmb, wire: Wire):
    rogue.behaviour = does.ChangedBytes(larger_than=100)
    for start in (b"\xfdSMB", b"\xfcSMB", b"\xffSMB", b"?"):
        for size in (50, 200):
            frame = prefixed(start.ljust(size, b"."))
            wire.socket.sendall(frame)
            spoilt = start == b"\xfdSMB" and size > 100
            assert wire.incoming.read(len(frame)) == (frame[:-1] + b"/" if spoilt else frame)


@pytest.mark.parametrize(
    ("behaviour", "payloads"),
    [
        (does.ShortReads(10), [b"x" * 10]),
        (does.ShortReads(1000), [b"x" * 100]),
        (does.OverlongReads(), [b"x" * 100 + b"!"]),
        (does.EmptyReads(), [b""]),
        (does.ChangedBytes(), [b"x" * 99 + b"y"]),
        (does.DuplicatedReplies(), [b"x" * 100] * 2),
        (does.ShortReads(10, nth=2), [b"x" * 100]),
    ],
)
def test_spoilt_data(rogue: RogueSmb, wire: Wire, behaviour, payloads):
    rogue.behaviour = behaviour
    got = [message for frame in wire.ask(read(5), frames=len(payloads)) for message in frame]
    assert [(one.payload, one.id, one.status, one.credits) for one in got] == [(p, 5, SUCCESS, 2) for p in payloads]
    assert behaviour.spoiled == (payloads != [b"x" * 100] or behaviour._first == 1)


def test_spoiling_begins_and_ends_as_told(rogue: RogueSmb, wire: Wire):
    rogue.behaviour = does.ShortReads(10, nth=2, times=2)
    assert [len(wire.ask(read(n))[0][0].payload) for n in range(5)] == [100, 10, 10, 100, 100]
    assert rogue.behaviour.spoiled == 2


def test_a_spoilt_message_stays_in_its_compound(rogue: RogueSmb, wire: Wire):
    rogue.behaviour = does.ShortReads(3)
    ((created, read_, closed),) = wire.ask(request(CREATE, 1), read(2), request(CLOSE, 3))
    assert (created.id, read_.payload, closed.id) == (1, b"xxx", 3)
    assert created.next == len(created.data)
    assert read_.next % 8 == 0
    assert closed.next == 0


def test_pending_comes_first_and_brings_the_credits(rogue: RogueSmb, wire: Wire):
    rogue.behaviour = does.PendingFirst(commands=(CREATE, READ))
    frames = wire.ask(request(CREATE, 1), read(2), frames=4)
    messages = [message for frame in frames for message in frame]
    assert [(one.id, one.status, one.credits, bool(one.flags & ASYNC)) for one in messages] == [
        (1, PENDING, 2, True),
        (1, SUCCESS, 0, True),
        (2, PENDING, 2, True),
        (2, SUCCESS, 0, True),
    ]
    assert len(messages[0].data) == 64 + 9
    assert not any(one.next for one in messages)
    assert messages[2].async_id == messages[3].async_id != messages[1].async_id


def test_replies_are_known_by_their_requests_until_the_final_one(rogue: RogueSmb, wire: Wire):
    seen = []

    class Recording(does.Behaviour):
        def on_reply(self, command, message, request):
            seen.append((command, message.status, request and request.id))
            return [message]

    rogue.behaviour = Recording()
    wire.ask(request(QUERY, 9), frames=2)
    wire.ask(request(CLOSE, 10))
    assert seen == [(QUERY, PENDING, 9), (QUERY, SUCCESS, 9), (CLOSE, SUCCESS, 10)]
    (near,) = rogue._connections
    assert not near.asked


def test_replies_come_in_reverse_order_and_none_is_kept(rogue: RogueSmb, wire: Wire):
    rogue.behaviour = does.ReversedReplies(3)
    for number in range(5):
        wire.send(read(number))
    assert [wire.frame()[0].id for _ in range(5)] == [2, 1, 0, 4, 3]


def test_credits_come_with_the_last_reply(rogue: RogueSmb, wire: Wire):
    rogue.behaviour = does.StarvedCredits()
    ((one, two, three),) = wire.ask(read(1), read(2), read(3))
    assert [one.credits, two.credits, three.credits] == [0, 0, 6]
    wire.send(request(CANCEL, 3))  # has no reply of its own
    assert wire.ask(read(4))[0][0].credits == 2


def test_a_refused_request_is_never_seen(rogue: RogueSmb, wire: Wire, honest: Honest):
    rogue.behaviour = does.Refused(CREATE, does.TOO_MANY_OPENED_FILES, nth=2)
    first = wire.ask(request(CREATE, 1), read(2))[0]
    second = wire.ask(request(CREATE, 3), read(4), request(CLOSE, 5))[0]
    third = wire.ask(request(CREATE, 6), read(7))[0]
    assert [one.status for one in first + third] == [SUCCESS] * 4
    assert [(one.status, one.command, one.id) for one in second] == [
        (does.TOO_MANY_OPENED_FILES, CREATE, 3),
        (does.TOO_MANY_OPENED_FILES, READ, 4),
        (does.TOO_MANY_OPENED_FILES, CLOSE, 5),
    ]
    assert [Message(data).command for data in split(honest.heard[1])] == [ECHO] * 3


def test_wrong_in_other_ways(rogue: RogueSmb, wire: Wire):
    rogue.behaviour = does.WrongMessageIds()
    assert wire.ask(read(1))[0][0].id == 1_000_001
    rogue.behaviour = does.StrippedSignatures()
    (message,) = wire.ask(read(2))[0]
    assert not message.flags & SIGNED
    assert not any(message.data[48:64])
    rogue.behaviour = does.WildOffsets()
    (message,) = wire.ask(read(3))[0]
    assert message.data_offset + message.data_length > len(message.data)
    rogue.behaviour = does.OtherFacts(size=5, written=7)
    (message,) = wire.ask(request(CLOSE, 4))[0]
    assert (message.written, message.size) == (2 + 7, 5 + 5)
    rogue.behaviour = does.DroppedReplies(times=1)
    wire.send(read(5))
    assert wire.ask(read(6))[0][0].id == 6


def test_broken_frames(rogue: RogueSmb, wire: Wire):
    rogue.behaviour = does.AbsurdLengths(times=1)
    wire.send(read(1))
    assert wire.incoming.read(4) == b"\0\xff\xff\xff"
    assert len(split(wire.incoming.read(180))) == 1
    rogue.behaviour = does.TruncatedFrames()
    wire.send(read(2))
    assert len(wire.incoming.read()) == (4 + 180) // 2


# --- between a real client and a real server -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    with samba(tmp_path_factory.mktemp("samba"), encryption="offered") as one:
        (one.folder() / "letter.txt").write_bytes(b"Dear colleague" * 1000)
        yield one


@pytest.mark.parametrize("how", [PLAIN, {}, {"encryption": True}], ids=["plain", "signed", "sealed"])
def test_a_real_session_passes(server: Samba, how):
    with RogueSmb(server.host, server.port) as rogue, client(server, port=rogue.port, **how) as one:
        assert one.read("letter.txt") == b"Dear colleague" * 1000


def test_real_replies_are_spoilt(server: Samba):
    with RogueSmb(server.host, server.port) as rogue, client(server, port=rogue.port, **PLAIN) as one:
        file = one.open("letter.txt")
        rogue.behaviour = does.ShortReads(3)
        assert file.read(0, 5000) == b"Dea"
        rogue.behaviour = does.PendingFirst()
        assert file.read(0, 4) == b"Dear"
        assert rogue.behaviour.spoiled == 1
        rogue.behaviour = does.Refused(READ, does.INSUFF_SERVER_RESOURCES)
        with pytest.raises(SMBResponseException) as caught:
            file.read(0, 4)
        assert caught.value.status == does.INSUFF_SERVER_RESOURCES
        rogue.behaviour = does.Refused(CREATE, does.NETWORK_NAME_DELETED)
        assert one.status("letter.txt") == does.NETWORK_NAME_DELETED
        assert server.open_files() == 1
        for _ in range(20):
            assert one.status("letter.txt") == SUCCESS


def test_a_changed_byte_goes_unseen_only_without_protection(server: Samba):
    with RogueSmb(server.host, server.port) as rogue:
        with client(server, port=rogue.port, **PLAIN) as one:
            rogue.behaviour = does.ChangedBytes()
            assert one.read("letter.txt") == b"Dear colleague" * 999 + b"Dear colleagud"
            rogue.behaviour = does.Behaviour()
        with client(server, port=rogue.port) as one:
            rogue.behaviour = does.ChangedBytes()
            with pytest.raises(SMBException, match="signature"):
                one.read("letter.txt")
            rogue.behaviour = does.Behaviour()
        with client(server, port=rogue.port, encryption=True) as one:
            file = one.open("letter.txt")
            rogue.behaviour = does.ChangedBytes(larger_than=1000)
            with pytest.raises(InvalidTag):
                file.read(0, 5000)
            assert rogue.behaviour.spoiled == 1
