"""Sealing, pseudonyms and signatures out of one key."""

from __future__ import annotations

import base64

import pytest

from gateway.audit.keys import AuditKeys, Unreadable, signed_by

SECRET = bytes(range(32))


def test_what_is_sealed_is_read_with_the_same_key_alone() -> None:
    keys = AuditKeys(SECRET)
    sealed = keys.sealer().sealed({"id": "letter-1", "patient": "9434765919"})
    assert AuditKeys(SECRET).opened(sealed) == {"id": "letter-1", "patient": "9434765919"}
    with pytest.raises(Unreadable):
        AuditKeys(b"x" * 32).opened(sealed)
    raw = bytearray(base64.b64decode(sealed))
    raw[-1] ^= 1
    with pytest.raises(Unreadable):
        keys.opened(base64.b64encode(raw).decode())
    for nonsense in ("", "a", "é", "AAAA"):
        with pytest.raises(Unreadable):
            keys.opened(nonsense)


def test_no_two_sealed_fields_have_the_same_nonce_in_one_process_or_the_same_key_in_two() -> None:
    keys = AuditKeys(SECRET)
    sealer, other = keys.sealer(), keys.sealer()
    first, second, third = (base64.b64decode(one.sealed({"id": "a"}))[:20] for one in (sealer, sealer, other))
    assert first[:8] == second[:8] != third[:8]
    assert first != second


def test_a_pseudonym_is_the_same_for_one_key_and_tells_nothing_without_it() -> None:
    assert AuditKeys(SECRET).pseudonym("letter-1") == AuditKeys(SECRET).pseudonym("letter-1")
    assert AuditKeys(SECRET).pseudonym("letter-1") != AuditKeys(b"x" * 32).pseudonym("letter-1")
    assert len(AuditKeys(SECRET).pseudonym("\udcff")) == 32


def test_a_signature_holds_for_its_statement_and_its_key() -> None:
    keys, other = AuditKeys(SECRET), AuditKeys(b"x" * 32)
    signature = keys.sign(b"so it is")
    assert signed_by(keys.public, b"so it is", signature)
    assert not signed_by(keys.public, b"so it was", signature)
    assert not signed_by(other.public, b"so it is", signature)
    assert not signed_by(keys.public, b"so it is", "no signature")
    assert not signed_by(b"short", b"so it is", signature)


def test_the_keys_made_from_one_key_differ() -> None:
    keys = AuditKeys(SECRET)
    assert SECRET.hex() not in keys.public.hex() + keys.pseudonym("a")
