"""A token is read in one way or not at all."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.security.jose import Refused, taken_apart


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(header: Any, claims: Any = None, signature: bytes = b"s" * 64) -> str:
    pieces = [json.dumps(header).encode(), json.dumps(claims or {}).encode(), signature]
    return ".".join(b64(piece) for piece in pieces)


def test_a_token_is_taken_apart() -> None:
    parts = taken_apart(token({"alg": "ES256", "kid": "k1"}, {"iss": "x"}))
    assert (parts.algorithm, parts.key_id, parts.claims, parts.signature) == ("ES256", "k1", {"iss": "x"}, b"s" * 64)
    assert parts.signed == token({"alg": "ES256", "kid": "k1"}, {"iss": "x"}).rpartition(".")[0].encode()


@pytest.mark.parametrize(
    "header",
    [{}, {"alg": None}, {"alg": 5}, {"alg": ["ES256"]}, {"alg": "ES256", "crit": []}, {"alg": "ES256", "b64": False},
     {"alg": "ES256", "kid": ""}, {"alg": "ES256", "kid": 5}, {"alg": "ES256", "kid": "ü"}, {"alg": "ES256", "typ": 1}, []],
)  # fmt: skip
def test_a_header_that_is_not_plain_is_refused(header: Any) -> None:
    with pytest.raises(Refused):
        taken_apart(token(header))


def test_base64_has_one_form_only() -> None:
    """The last letter of a piece has bits that count for nothing: another letter there must not be the same token."""
    good = token({"alg": "ES256"}, signature=b"x")
    assert good.endswith("eA")
    for other in ("eB", "eA=", "eA==", "e A", "eA\n", "e+", "e/"):
        with pytest.raises(Refused):
            taken_apart(good[:-2] + other)


@given(st.text(max_size=200))
def test_text_of_any_kind_is_refused_and_nothing_else(text: str) -> None:
    ascii_text = text.encode("ascii", "replace").decode()
    with pytest.raises(Refused):
        taken_apart(ascii_text)


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_bytes_of_any_kind_are_refused_or_read(one: bytes, two: bytes, three: bytes) -> None:
    try:
        parts = taken_apart(".".join(map(b64, (one, two, three))))
    except Refused:
        return
    assert isinstance(parts.header["alg"], str)
