"""Base64 and quoted-printable in pieces, judged against the standard library's decoders of the whole."""

from __future__ import annotations

import base64
import binascii
import quopri
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.xds.mtom import Base64Decoder, Malformed
from adapters.xds.mtom import base64 as module
from adapters.xds.mtom.transfer import Decoder, decoder_for
from tests.unit.xds.answers import cut

CUTS = st.lists(st.integers(min_value=0), max_size=12)


def decoded(decoder: Decoder, text: bytes, places: list[int]) -> bytes:
    return b"".join([decoder.feed(piece) for piece in cut(text, places)]) + decoder.end()


def wrapped(data: bytes, columns: int, eol: bytes) -> bytes:
    text = base64.b64encode(data)
    return b"".join(text[at : at + columns] + eol for at in range(0, len(text), columns))


@pytest.fixture(params=["fast", "standard"])
def _both_decoders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "standard":
        monkeypatch.setattr(module, "b64decode", lambda text, validate: binascii.a2b_base64(text, strict_mode=True))


@given(
    st.binary(max_size=400), st.sampled_from([1, 4, 5, 76, 1000]), st.sampled_from([b"", b"\n", b"\r\n", b" \t"]), CUTS
)
def test_base64_in_pieces_is_the_whole(data: bytes, columns: int, eol: bytes, places: list[int]) -> None:
    assert decoded(Base64Decoder(), wrapped(data, columns, eol), places) == data


@given(st.binary(max_size=100), CUTS)
def test_base64_of_other_habits_is_forgiven(data: bytes, places: list[int]) -> None:
    text = base64.urlsafe_b64encode(data)
    for written in (text, text.rstrip(b"="), b"\n  " + text + b"\r\n", text.rstrip(b"=") + b"\n"):
        assert decoded(Base64Decoder(), written, places) == data


@pytest.mark.usefixtures("_both_decoders")
@pytest.mark.parametrize(
    "text",
    [
        b"QUJ*",
        b"QUJD!",
        b"QUJDQ",
        b"QQ==QQ==",
        b"QQ==Q",
        b"QQ==QQ",
        b"QUJD\x00",
        b"QUJD\xff\xff\xff\xff",
        b"=",
        b"Q===",
        b"QQ=Q",
        b"====",
    ],
)
@pytest.mark.parametrize("step", [None, 1, 3])
def test_what_is_not_base64_is_refused(text: bytes, step: int | None) -> None:
    decoder = Base64Decoder()
    with pytest.raises(Malformed):
        for piece in cut(text, step):
            decoder.feed(piece)
        decoder.end()


@pytest.mark.usefixtures("_both_decoders")
def test_both_decoders_read_the_same() -> None:
    data = random.Random(3).randbytes(100_000)
    for eol in (b"", b"\r\n"):
        text = wrapped(data, 76, eol)
        assert decoded(Base64Decoder(), text, list(range(0, len(text), 4099))) == data


@given(st.binary(max_size=300), st.booleans(), CUTS)
def test_quoted_printable_in_pieces_is_the_whole(data: bytes, quote_tabs: bool, places: list[int]) -> None:
    text = quopri.encodestring(data, quotetabs=quote_tabs)
    assert decoded(decoder_for("Quoted-Printable"), text, places) == quopri.decodestring(text)
    text = text.replace(b"\n", b"\r\n")
    assert decoded(decoder_for("quoted-printable"), text, places) == quopri.decodestring(text)


@pytest.mark.parametrize("encoding", ["", "binary", "8bit", "7BIT", "x-unknown", "binary; charset=utf-8"])
def test_other_encodings_are_the_bytes_themselves(encoding: str) -> None:
    data = b"=3D\r\nQUJD\x00\xff"
    decoder: Decoder = decoder_for(encoding)
    assert decoder.feed(data) is data
    assert decoder.end() == b""


@given(st.binary(max_size=200), CUTS)
def test_quoted_printable_never_fails(data: bytes, places: list[int]) -> None:
    decoded(decoder_for("quoted-printable"), data, places)


def test_decoders_hold_back_only_a_few_bytes() -> None:
    feeds: list[tuple[Callable[[bytes], bytes], bytes]] = [
        (Base64Decoder().feed, b"QUJD" * 5000 + b"Q"),
        (decoder_for("quoted-printable").feed, b" " * 20_000),
        (decoder_for("quoted-printable").feed, b"x" * 20_000 + b"="),
    ]
    for feed, text in feeds:
        assert len(feed(text)) >= len(text) * 3 // 4 - 1100
