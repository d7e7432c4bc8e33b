"""Encryption: in agreement with Microsoft's published messages and with smbprotocol, and nothing else opens."""

from __future__ import annotations

import os
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import assume, given
from hypothesis import strategies as st
from smbprotocol.connection import SMB2TransformHeader

from adapters.smb.wire import (
    ASYNC,
    ECHO,
    READ,
    SERVER_TO_REDIR,
    SIGNED,
    UNSOLICITED,
    Forged,
    Malformed,
    Protection,
    echo,
    header_of,
    request,
)
from adapters.smb.wire.status import STATUS_PENDING
from tests.unit.smb.wire import server
from tests.unit.smb.wire.sessions import (
    CIPHERS,
    KEY,
    LONG_KEY,
    OTHER,
    SESSION,
    compound,
    content,
    keys_for,
    sealed,
    sign_reply,
    signed,
    split,
    theirs,
)

# --- Microsoft's published messages --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cipher", "key", "session", "frame", "plain"),
    [
        # "Encryption in SMB 3.0: A protocol perspective", Microsoft Open Specifications, 2012: WRITE request and response
        (
            "AES-128-CCM",
            "261B72350558F2E9DCF613070383EDBF",
            0x8E40014000011,
            "FD534D4281A286535415445DAE393921E44FA42E66E69A111892584FB5ED524A744DA3EE87000000000001001100001400E40800"
            "25C8FEE16605A437832D1CD52DA9F4645333482A175FE5384563F45FCDAFAEF38BC62BA4D5C62897996625A44C29BE5658DE2E61"
            "17585779E7B59FFD971278D08580D7FA899E410E910EABF5AA1DB43050B33B49182637759AC15D84BFCDF5B6B238993C0F4CF4D6"
            "012023F6C627297075D84B7803912D0A9639634453595EF3E33FFE4E7AC2AB",
            "FE534D4240000100000000000900400008000000000000000400000000000000FFFE0000010000001100001400E4080000000000"
            "000000000000000000000000310070001700000000000000000000001501000039000002010000003902000000000000000000007"
            "000000000000000536D623320656E6372797074696F6E2074657374696E67",
        ),
        (
            "AES-128-CCM",
            "8FE2B57EC34D2DB5B1A9727F526BBDB5",
            0x8E40014000011,
            "FD534D42A6015530A18F6D9AFFE22AFAE8E6648486000000000000001100001400E4080050000000000001001100001400E40800"
            "DBF46435C5F14169293CE079E344479BF670227E49873F458672C3098DAC467DD5809F369D674091665157871483E01F7BECD020"
            "64EAC3E235F913668BBC2F097980D4B378F1993EFF6E60D177309E5B",
            "FE534D4240000100000000000900210009000000000000000400000000000000FFFE0000010000001100001400E4080000000000"
            "00000000000000000000000011000000170000000000000000000000",
        ),
        # "SMB 3.1.1 Encryption in Windows 10", Microsoft Open Specifications, 2015: WRITE request and response
        (
            "AES-128-GCM",
            "A2F5E80E5D59103034F32E52F698E5EC",
            0x100000000025,
            "FD534D42BD73D97D2BC9001BCAFAC0FDFF5FEEBCC7D6822D269CAF48904C664C0000000087000000000001002500000000100000"
            "6ECDD2A7AFC7B47763057A041B8FD4DAFFE990B70C9E09D36C084E02D14EF247F8BDE38ACF6256F8B1D3B56F77FBDEB312FEA5E9"
            "2CBCC1ED8FB2EBBFAA75E49A4A394BB44576545567C24D4C014D47C9FBDFDAFD2C4F9B72F8D256452620A299F48E29E53D6B61D1"
            "C13A19E91AF013F00D17E3ABC2FC3D36C8C1B6B93973253852DBD442E46EE8",
            "FE534D4240000100000000000900010008000000000000000500000000000000FFFE000001000000250000000010000000000000"
            "00000000000000000000000031007000170000000000000000000000060000000400000001000000040000000000000000000000700"
            "0000000000000536D623320656E6372797074696F6E2074657374696E67",
        ),
        (
            "AES-128-GCM",
            "748C50868C90F302962A5C35F5F9A8BF",
            0x100000000025,
            "FD534D42ACBE1CB7ED343ADF1725EF144D90D4B0E06831DD2E8EB7B4000000000000000050000000000001002500000000100000"
            "26BBBF949983A6C1C796559D0F2C510CB651D1F7B6AC8DED32A2A0B8F2D793A815C6F6B848D69767A215841A42D400AE6DDB5F0B"
            "44173A014973321FDD7950DA6179159B82E03C9E18A050FF0EA1C967",
            "FE534D4240000100000000000900010001000000000000000500000000000000FFFE000001000000250000000010000000000000"
            "00000000000000000000000011000000170000000000000000000000",
        ),
    ],
)
def test_microsofts_encrypted_messages_open(cipher: str, key: str, session: int, frame: str, plain: str) -> None:
    protection = Protection(
        session, signing=None, signing_key=b"", cipher=cipher, seal_key=bytes(16), open_key=bytes.fromhex(key),
        required=True,
    )  # fmt: skip
    assert bytes(protection.incoming(bytearray.fromhex(frame))) == bytes.fromhex(plain)


# --- encryption ----------------------------------------------------------------------------------------------------


def opened_by_smbprotocol(cipher: str, frame: bytearray) -> bytes:
    dialect, identifier = CIPHERS[cipher]
    connection = theirs(dialect, cipher=identifier)
    connection.session_table[SESSION] = SimpleNamespace(decryption_key=keys_for(cipher)[0])
    transform = SMB2TransformHeader()
    transform.unpack(bytes(frame))
    plain: bytes = connection._decrypt(transform)
    return plain


def sealed_by_smbprotocol(cipher: str, plain: bytes) -> bytearray:
    dialect, identifier = CIPHERS[cipher]
    session = SimpleNamespace(session_id=SESSION, encryption_key=keys_for(cipher)[1])
    return bytearray(theirs(dialect, cipher=identifier)._encrypt(plain, session).pack())


@pytest.mark.parametrize("cipher", CIPHERS)
def test_smbprotocol_opens_what_is_sealed(cipher: str) -> None:
    messages = compound()
    plain = b"".join(messages)
    frame = content(sealed(cipher).outgoing(messages))
    assert opened_by_smbprotocol(cipher, frame) == plain
    assert plain not in frame
    assert [one[16] & SIGNED for one in split(plain)] == [0, 0, 0], "what is sealed is not signed (3.1.4.1)"


@pytest.mark.parametrize("cipher", CIPHERS)
@given(data=st.binary(min_size=1, max_size=300))
def test_what_smbprotocol_seals_is_opened(cipher: str, data: bytes) -> None:
    plain = bytes(server.read(data))
    frame = sealed_by_smbprotocol(cipher, plain)
    kept = bytes(frame)
    protection = sealed(cipher)
    message = protection.incoming(frame)
    assert bytes(message) == plain
    protection.check(message, header_of(message))
    assert frame == kept, "the caller's buffer is left as it is"


@pytest.mark.parametrize("cipher", CIPHERS)
def test_a_large_reply_comes_through_both_ways(cipher: str) -> None:
    plain = bytes(server.read(os.urandom(1 << 20)))
    assert bytes(sealed(cipher).incoming(sealed_by_smbprotocol(cipher, plain))) == plain
    view = memoryview(content(sealed(cipher, peer=True).outgoing([bytearray(plain)])))
    assert bytes(sealed(cipher).incoming(view)) == plain


@pytest.mark.parametrize("cipher", CIPHERS)
@given(
    changes=st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 255)), max_size=4),
    cut=st.integers(0, 60),
    more=st.binary(max_size=3),
)
def test_a_sealed_frame_that_was_changed_does_not_open(
    cipher: str, changes: list[tuple[int, int]], cut: int, more: bytes
) -> None:
    original = sealed_by_smbprotocol(cipher, bytes(server.read(b"the letter as it was written")))
    frame = bytearray(original)
    for at, mask in changes:
        frame[at % len(frame)] ^= mask
    frame = frame[: len(frame) - cut] + more
    assume(frame != original)
    with pytest.raises(Forged):
        sealed(cipher).incoming(frame)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_no_byte_of_a_large_sealed_frame_can_be_turned(cipher: str) -> None:
    # Large frames are opened another way.
    protection = sealed(cipher)
    original = sealed_by_smbprotocol(cipher, bytes(server.read(os.urandom(100_000))))
    for at in (*range(52), 52, 5000, 60_000, len(original) - 1):
        frame = bytearray(original)
        frame[at] ^= 1
        with pytest.raises(Forged):
            protection.incoming(frame)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_no_bit_of_a_sealed_frame_can_be_turned(cipher: str) -> None:
    protection = sealed(cipher)
    original = sealed_by_smbprotocol(cipher, bytes(server.read(b"letter")))
    for bit in range(8 * len(original)):
        frame = bytearray(original)
        frame[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Forged):
            protection.incoming(frame)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xfdSMB", b"\xfcSMB", b"\xfeSMB"]))
def test_no_bytes_open_by_chance(data: bytes, start: bytes) -> None:
    with pytest.raises(Forged):
        sealed("AES-128-GCM").incoming(bytearray(start + data))


def transform(plain: bytes, *, flags: int = 1, session: int = SESSION, size: int | None = None) -> bytearray:
    """A frame that the right key seals, with a header as told."""
    nonce = bytes(range(12))
    length = len(plain) if size is None else size
    authenticated = nonce + bytes(4) + struct.pack("<IHHQ", length, 0, flags, session)
    result = AESGCM(OTHER).encrypt(nonce, plain, authenticated)
    return bytearray(b"\xfdSMB" + result[-16:] + authenticated + result[:-16])


def test_a_sealed_frame_must_be_of_this_session_and_say_its_size() -> None:
    plain = bytes(server.read(b"letter"))
    protection = sealed("AES-128-GCM")
    assert bytes(protection.incoming(transform(plain))) == plain
    for frame in (
        transform(plain, flags=0),
        transform(plain, flags=2),
        transform(plain, session=SESSION + 1),
        transform(plain, size=len(plain) - 1),
        transform(plain, size=len(plain) + 1),
    ):
        with pytest.raises(Forged, match="wrong flag, session or size"):
            protection.incoming(frame)
    for short in (b"", plain[:63]):
        with pytest.raises(Forged, match="too short"):
            protection.incoming(transform(short))


@pytest.mark.parametrize("inner", [b"\xfdSMB", b"\xfcSMB"])
def test_a_frame_within_a_sealed_frame_is_no_message(inner: bytes) -> None:
    message = sealed("AES-128-GCM").incoming(transform(inner + bytes(100)))
    with pytest.raises(Malformed):
        header_of(message)


@pytest.mark.parametrize(
    "message",
    [
        server.read(b"letter"),
        sign_reply(server.read(b"letter"), "AES-CMAC"),
        server.reply(READ, bytes(9), status=STATUS_PENDING, flags=SERVER_TO_REDIR | ASYNC),
        server.reply(18, bytes(24), message_id=UNSOLICITED),
    ],
)
def test_nothing_in_the_clear_passes_in_an_encrypted_session(message: bytearray) -> None:
    with pytest.raises(Forged, match="in the clear"):
        sealed("AES-128-GCM").incoming(message)


def test_encrypted_and_compressed_frames_pass_only_where_they_were_agreed() -> None:
    protection = signed("AES-GMAC")
    assert not protection.sealed
    assert sealed("AES-128-GCM").sealed
    with pytest.raises(Forged, match="no key"):
        protection.incoming(transform(bytes(server.read(b"letter"))))
    for one in (protection, sealed("AES-128-GCM")):
        with pytest.raises(Forged, match="compress"):
            one.incoming(bytearray(b"\xfcSMB" + bytes(100)))


# --- nonces --------------------------------------------------------------------------------------------------------


def nonces(protection: Protection, count: int) -> list[bytes]:
    message = request(ECHO, echo(), message_id=1, charge=1, credits=1, session_id=SESSION, tree_id=3)
    return [bytes(content(protection.outgoing([message]))[20:36]) for _ in range(count)]


@pytest.mark.parametrize(("cipher", "size"), [("AES-128-GCM", 12), ("AES-256-GCM", 12), ("AES-128-CCM", 11)])
def test_a_nonce_never_serves_twice(cipher: str, size: int) -> None:
    used = nonces(sealed(cipher), 2000) + nonces(sealed(cipher), 2000)
    assert len(set(used)) == 4000
    assert {nonce[size:] for nonce in used} == {bytes(16 - size)}, "the rest of the field is zero (2.2.41)"


@pytest.mark.parametrize("cipher", ["AES-128-GCM", "AES-128-CCM"])
def test_nonces_go_on_past_the_largest(cipher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: b"\xff" * size)
    protection = sealed(cipher)
    monkeypatch.undo()
    assert len(set(nonces(protection, 300))) == 300


# --- what cannot be ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"signing": "AES-MAGIC"},
        {"signing": "AES-CMAC", "signing_key": b"short"},
        {"signing": "AES-GMAC", "signing_key": b"short"},
        {"signing": None, "required": True},
        {"cipher": "AES-512-GCM"},
        {"cipher": "AES-128-GCM", "seal_key": LONG_KEY},
        {"cipher": "AES-256-CCM", "seal_key": LONG_KEY, "open_key": KEY},
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any]) -> None:
    fitting = {"signing": "AES-CMAC", "signing_key": KEY, "cipher": None, "seal_key": KEY, "open_key": KEY}
    with pytest.raises(ValueError):
        Protection(SESSION, **{**fitting, "required": False, **options})


@pytest.mark.parametrize("protection", [signed("AES-CMAC"), sealed("AES-128-GCM")])
def test_a_frame_too_long_for_its_prefix_is_refused(protection: Protection) -> None:
    message = request(ECHO, bytes(1 << 24), message_id=1, charge=1, credits=1, session_id=SESSION, tree_id=3)
    with pytest.raises(ValueError):
        protection.outgoing([message])
