"""The SMB2 header: read as smbprotocol writes it, written as smbprotocol reads it, and never believed unchecked."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol.header import SMB2HeaderAsync, SMB2HeaderRequest

from adapters.smb.wire import (
    ASYNC,
    CANCEL,
    CLOSE,
    CREATE,
    DFS,
    ECHO,
    HEADER_SIZE,
    QUERY_DIRECTORY,
    READ,
    RELATED,
    SERVER_TO_REDIR,
    SIGNED,
    Header,
    Malformed,
    cancel,
    chain,
    charge,
    close,
    echo,
    header_of,
    is_error,
    request,
)
from adapters.smb.wire import status as codes
from tests.unit.smb.wire import server

U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))
COMMANDS = st.sampled_from([CREATE, CLOSE, READ, ECHO, QUERY_DIRECTORY])


@given(
    command=COMMANDS, status=U32, flags=st.sampled_from([1, 1 | SIGNED, 1 | RELATED, 1 | DFS]), message_id=U64,
    session_id=U64, tree_id=U32, credits=U16,
)  # fmt: skip
def test_a_reply_header_is_read_as_it_was_written(
    command: int, status: int, flags: int, message_id: int, session_id: int, tree_id: int, credits: int
) -> None:
    message = server.reply(
        command, b"body", status=status, flags=flags, message_id=message_id, session_id=session_id, tree_id=tree_id,
        credits=credits,
    )  # fmt: skip
    expected = Header(command, status, flags, 0, message_id, session_id, tree_id, 0, 1, credits)
    assert header_of(message) == header_of(bytes(message)) == header_of(memoryview(message)) == expected


@given(
    command=COMMANDS, body=st.binary(max_size=40), message_id=U64, charge=U16, credits=U16, session_id=U64, tree_id=U32,
    flags=st.sampled_from([0, RELATED, DFS, RELATED | DFS]),
)  # fmt: skip
def test_a_request_is_what_smbprotocol_reads(
    command: int, body: bytes, message_id: int, charge: int, credits: int, session_id: int, tree_id: int, flags: int
) -> None:
    message = request(
        command, body, message_id=message_id, charge=charge, credits=credits, session_id=session_id, tree_id=tree_id,
        flags=flags,
    )  # fmt: skip
    theirs = SMB2HeaderRequest()
    theirs.unpack(bytes(message))
    values = {name: theirs[name].get_value() for name in theirs.fields}
    assert values == {
        "protocol_id": b"\xfeSMB", "structure_size": 64, "credit_charge": charge, "channel_sequence": 0, "reserved": 0,
        "command": command, "credit_request": credits, "flags": flags, "next_command": 0, "message_id": message_id,
        "process_id": 0, "tree_id": tree_id, "session_id": session_id, "signature": bytes(16), "data": body,
    }  # fmt: skip


def test_a_cancel_of_a_pending_request_carries_its_asynchronous_id() -> None:
    message = request(
        CANCEL, cancel(), message_id=5, charge=0, credits=0, session_id=6, tree_id=7, async_id=0x0102030405060708
    )
    theirs = SMB2HeaderAsync()
    theirs.unpack(bytes(message))
    assert theirs["async_id"].get_value() == 0x0102030405060708
    assert theirs["flags"].get_value() == ASYNC
    ours = header_of(message)
    assert (ours.async_id, ours.tree_id, ours.message_id) == (0x0102030405060708, 0, 5)


def _plain(command: int = ECHO, body: bytes = b"\x04\0\0\0") -> bytearray:
    return request(command, body, message_id=1, charge=1, credits=1, session_id=1, tree_id=1)


def test_a_chain_is_aligned_and_each_message_leads_to_the_next() -> None:
    messages = [_plain(CREATE, b"a" * 57), _plain(READ, b"b" * 49), _plain(CLOSE, close(bytes(16)))]
    whole = memoryview(b"".join(chain(messages)))
    found = []
    while True:
        header = header_of(whole)
        found.append((header.command, header.next))
        if not header.next:
            break
        assert bytes(whole[HEADER_SIZE : header.next]).rstrip(b"\0") in (b"a" * 57, b"b" * 49)
        whole = whole[header.next :]
    assert found == [(CREATE, 128), (READ, 120), (CLOSE, 0)]
    assert len(whole) == HEADER_SIZE + 24, "the last message is not padded"


def test_a_chain_of_aligned_messages_gets_no_padding() -> None:
    first, second = chain([_plain(CLOSE, bytes(24)), _plain()])
    assert (len(first), header_of(first + second).next) == (88, 88)


def test_a_single_message_is_a_chain_of_itself() -> None:
    alone = _plain()
    assert chain([alone]) == [_plain()]


@pytest.mark.parametrize("length", [0, 1, 63])
def test_a_message_shorter_than_a_header_is_malformed(length: int) -> None:
    with pytest.raises(Malformed, match="shorter"):
        header_of(_plain()[:length])


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, b"\xffSMB"), (0, b"\xfdSMB"), (0, b"\xfcSMB"), (0, b"\xfeSMC"), (4, b"\x41\0"), (4, b"\0\0")],
)
def test_a_wrong_protocol_or_size_is_malformed(at: int, value: bytes) -> None:
    message = _plain()
    message[at : at + len(value)] = value
    with pytest.raises(Malformed, match="ProtocolId"):
        header_of(message)


@pytest.mark.parametrize("after", [1, 4, 8, 56, 63, 65, 76, 136, 1 << 31, 0xFFFFFFF8])
def test_a_next_command_that_leads_nowhere_is_malformed(after: int) -> None:
    message = _plain(CLOSE, bytes(24)) + bytes(32) + bytes(72)
    assert len(message) == 192
    struct.pack_into("<I", message, 20, after)
    with pytest.raises(Malformed, match="NextCommand"):
        header_of(message)


def test_a_next_command_may_lead_to_the_last_header_that_fits() -> None:
    message = _plain(CLOSE, bytes(64))
    struct.pack_into("<I", message, 20, 64)
    assert header_of(message).next == 64


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_header_or_malformed(data: bytes, plausible: bool) -> None:
    message = b"\xfeSMB\x40\0" + data if plausible else data
    try:
        header = header_of(message)
    except Malformed:
        return
    assert header.next == 0 or (header.next % 8 == 0 and header.next + HEADER_SIZE <= len(message))


@pytest.mark.parametrize(
    ("length", "credits"),
    [(0, 1), (1, 1), (65535, 1), (65536, 1), (65537, 2), (131072, 2), (262144, 4), (1 << 20, 16), (8 << 20, 128)],
)
def test_one_credit_pays_for_64_kib(length: int, credits: int) -> None:
    # [MS-SMB2] 3.1.5.2: (payload size - 1) / 65536 + 1
    assert charge(length) == credits


@pytest.mark.parametrize(
    ("status", "command", "error"),
    [
        (codes.STATUS_SUCCESS, READ, False),
        (codes.STATUS_BUFFER_OVERFLOW, READ, False),
        (codes.STATUS_BUFFER_OVERFLOW, QUERY_DIRECTORY, False),
        (codes.STATUS_BUFFER_OVERFLOW, CREATE, True),
        (codes.STATUS_NO_MORE_FILES, QUERY_DIRECTORY, True),
        (codes.STATUS_STOPPED_ON_SYMLINK, CREATE, True),
        (codes.STATUS_END_OF_FILE, READ, True),
        (codes.STATUS_PENDING, READ, True),
        (codes.STATUS_ACCESS_DENIED, CREATE, True),
    ],
)
def test_whether_a_reply_is_an_error(status: int, command: int, error: bool) -> None:
    assert is_error(header_of(server.reply(command, echo(), status=status, flags=SERVER_TO_REDIR))) is error
