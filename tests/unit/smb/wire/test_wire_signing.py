"""Signatures: as smbprotocol writes them, and nothing passes that was changed or left unsigned."""

from __future__ import annotations

import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.smb.wire import (
    ASYNC,
    CANCEL,
    CLOSE,
    CREATE,
    ECHO,
    READ,
    RELATED,
    SERVER_TO_REDIR,
    SIGNED,
    UNSOLICITED,
    Forged,
    Malformed,
    Protection,
    echo,
    header_of,
    read,
    request,
)
from adapters.smb.wire.status import STATUS_ACCESS_DENIED, STATUS_PENDING
from tests.unit.smb.wire import server
from tests.unit.smb.wire.sessions import (
    KEY,
    OTHER,
    SESSION,
    SIGNING,
    compound,
    content,
    sign_reply,
    signed,
    split,
    theirs,
)


@pytest.mark.parametrize("algorithm", SIGNING)
@given(message_id=st.integers(0, (1 << 64) - 1), body=st.binary(max_size=100), command=st.sampled_from([ECHO, CANCEL]))
def test_a_request_is_signed_as_smbprotocol_signs_it(
    algorithm: str, message_id: int, body: bytes, command: int
) -> None:
    message = request(command, body, message_id=message_id, charge=1, credits=1, session_id=SESSION, tree_id=3)
    sent = content(signed(algorithm).outgoing([message]))
    dialect, identifier = SIGNING[algorithm]
    expected = theirs(dialect, signing=identifier)._generate_signature(bytes(sent), KEY, message_id, False, command)
    assert bytes(sent[48:64]) == expected
    assert header_of(sent).flags == SIGNED


@pytest.mark.parametrize("algorithm", SIGNING)
def test_every_message_of_a_compound_is_signed_with_its_padding(algorithm: str) -> None:
    messages = split(content(signed(algorithm).outgoing(compound())))
    assert [header_of(one[:64] + bytes(200)).command for one in messages] == [CREATE, READ, CLOSE]
    dialect, identifier = SIGNING[algorithm]
    for number, one in enumerate(messages, 1000):
        command = (CREATE, READ, CLOSE)[number - 1000]
        expected = theirs(dialect, signing=identifier)._generate_signature(bytes(one), KEY, number, False, command)
        assert bytes(one[48:64]) == expected
        assert one[16] == SIGNED | (RELATED if number > 1000 else 0)


@pytest.mark.parametrize("algorithm", SIGNING)
@given(data=st.binary(min_size=1, max_size=200), message_id=st.integers(0, UNSOLICITED - 1), padding=st.integers(0, 7))
def test_a_reply_that_the_server_signed_passes(algorithm: str, data: bytes, message_id: int, padding: int) -> None:
    message = server.read(data) + bytes(padding)
    struct.pack_into("<Q", message, 24, message_id)
    sign_reply(message, algorithm)
    plain = signed(algorithm).incoming(message)
    signed(algorithm).check(plain, header_of(plain))


@pytest.mark.parametrize("algorithm", SIGNING)
@given(
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 3),
    more=st.binary(max_size=3),
)
def test_a_signed_reply_that_was_changed_does_not_pass(
    algorithm: str, changes: list[tuple[int, int]], cut: int, more: bytes
) -> None:
    original = sign_reply(server.read(b"the letter as it was written" * 4), algorithm)
    message = bytearray(original)
    for at, mask in changes:
        message[at % len(message)] ^= mask
    message = message[: len(message) - cut] + more
    assume(message != original)
    _does_not_pass(signed(algorithm), message)


@pytest.mark.parametrize("algorithm", SIGNING)
def test_no_bit_of_a_signed_reply_can_be_turned(algorithm: str) -> None:
    original = sign_reply(server.read(b"letter"), algorithm)
    for bit in range(8 * len(original)):
        message = bytearray(original)
        message[bit // 8] ^= 1 << bit % 8
        _does_not_pass(signed(algorithm), message)


def _does_not_pass(protection: Protection, message: bytearray) -> None:
    with pytest.raises((Forged, Malformed)):
        plain = protection.incoming(message)
        protection.check(plain, header_of(plain))


@pytest.mark.parametrize("algorithm", SIGNING)
def test_a_reply_signed_with_another_key_does_not_pass(algorithm: str) -> None:
    message = sign_reply(server.read(b"letter"), algorithm)
    other = Protection(
        SESSION, signing=algorithm, signing_key=OTHER, cipher=None, seal_key=b"", open_key=b"", required=True
    )
    with pytest.raises(Forged, match="wrong signature"):
        other.check(memoryview(message), header_of(message))


@pytest.mark.parametrize("algorithm", SIGNING)
def test_our_own_request_sent_back_does_not_pass(algorithm: str) -> None:
    protection = signed(algorithm)
    ours = request(READ, read(bytes(16), 0, 10), message_id=5, charge=1, credits=1, session_id=SESSION, tree_id=3)
    back = protection.incoming(content(protection.outgoing([ours])))
    with pytest.raises(Forged, match="does not come from a server"):
        protection.check(back, header_of(back))


def test_an_unsigned_reply_passes_only_where_signatures_are_not_required() -> None:
    message = server.read(b"letter")
    signed("AES-CMAC", required=False).check(memoryview(message), header_of(message))
    with pytest.raises(Forged, match="without a signature"):
        signed("AES-CMAC").check(memoryview(message), header_of(message))


def test_a_wrong_signature_never_passes_even_where_none_is_required() -> None:
    message = sign_reply(server.read(b"letter"), "AES-CMAC")
    message[-1] ^= 1
    with pytest.raises(Forged, match="wrong signature"):
        signed("AES-CMAC", required=False).check(memoryview(message), header_of(message))


def test_a_session_without_a_key_signs_nothing_and_checks_nothing() -> None:
    protection = Protection(
        SESSION, signing=None, signing_key=b"", cipher=None, seal_key=b"", open_key=b"", required=False
    )
    message = request(ECHO, echo(), message_id=1, charge=1, credits=1, session_id=SESSION, tree_id=3)
    assert content(protection.outgoing([message])) == message
    assert header_of(message).flags == 0
    reply = sign_reply(server.read(b"letter"), "AES-CMAC")
    protection.check(memoryview(reply), header_of(reply))


def test_an_interim_reply_and_what_comes_unasked_need_no_signature() -> None:
    interim = server.reply(READ, bytes(9), status=STATUS_PENDING, flags=SERVER_TO_REDIR | ASYNC)
    signed("AES-GMAC").check(memoryview(interim), header_of(interim))
    unasked = server.reply(18, bytes(24), message_id=UNSOLICITED)
    signed("AES-GMAC").check(memoryview(unasked), header_of(unasked))


@pytest.mark.parametrize(
    ("status", "flags"),
    [(STATUS_PENDING, SERVER_TO_REDIR), (STATUS_ACCESS_DENIED, SERVER_TO_REDIR | ASYNC), (0, SERVER_TO_REDIR | ASYNC)],
)
def test_only_an_asynchronous_pending_is_an_interim_reply(status: int, flags: int) -> None:
    message = server.reply(READ, bytes(9), status=status, flags=flags)
    with pytest.raises(Forged, match="without a signature"):
        signed("AES-GMAC").check(memoryview(message), header_of(message))
