"""The splitter: every way to write a multipart body that was seen, and that could have been written by an enemy."""

from __future__ import annotations

import email
import random
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.xds.mtom import LimitExceeded, Malformed, Part, PartEnd, Splitter
from tests.unit.xds.answers import Mime, cut, multipart

BOUNDARY = "uuid:1b2c-3d"
LINE = b"--uuid:1b2c-3d"
EVERY_STEP = [None, 1, 2, 3, 7, 64]

Parts = list[tuple[Part, bytes, PartEnd | None]]


def split(
    body: bytes, step: int | Sequence[int] | None = None, *, complete: bool = True, boundary: str = BOUNDARY
) -> tuple[Parts, Splitter]:
    splitter = Splitter(boundary.encode("latin-1"))
    parts: Parts = []
    events = [event for chunk in cut(body, step) for event in splitter.feed(chunk)]
    for event in events + splitter.end(complete=complete):
        match event:
            case Part():
                parts.append((event, b"", None))
            case bytes():
                assert event, "an empty piece"
                parts[-1] = (parts[-1][0], parts[-1][1] + event, None)
            case PartEnd():
                assert parts[-1][2] is None
                parts[-1] = (*parts[-1][:2], event)
    return parts, splitter


def payloads(parts: Parts) -> list[bytes]:
    return [data for _, data, _ in parts]


def ends(parts: Parts) -> set[PartEnd | None]:
    return {end for _, _, end in parts}


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("eol", [b"\r\n", b"\n"])
def test_parts_come_out_as_they_were_put_in(eol: bytes, step: int | None) -> None:
    data = [b"<xml/>", b"", b"\r\n\n--\r\n--uuid", b"ends with a return\r", b"\x00\xff" * 50]
    body = multipart(*(Mime(one, ["Content-ID: <p>", "X: y"]) for one in data), eol=eol)
    parts, splitter = split(body, step)
    assert payloads(parts) == data
    assert ends(parts) == {PartEnd.DELIMITED}
    assert splitter.closed
    assert [part.number for part, _, _ in parts] == [0, 1, 2, 3, 4]
    assert parts[0][0].fields == {"content-id": "<p>", "x": "y"}
    assert ("lf-line-ends" in splitter.quirks) == (eol == b"\n")


TEXT = st.binary(max_size=80).filter(lambda data: b"\r" not in data)
EOLS = st.sampled_from([b"\r\n", b"\n"])


@given(st.lists(TEXT, min_size=1, max_size=4), EOLS, st.text("abz059'()+_,-./:=?", min_size=1, max_size=70), st.data())
def test_the_standard_library_reads_the_same_parts(
    data: list[bytes], eol: bytes, boundary: str, drawn: st.DataObject
) -> None:
    assume(not any(b"--" + boundary.encode() in one for one in data))
    body = multipart(*(Mime(one, ["Content-Transfer-Encoding: binary"]) for one in data), boundary=boundary, eol=eol)
    head = f'MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="{boundary}"\r\n\r\n'.encode()
    oracle = email.message_from_bytes(head + body)
    expected = [part.get_payload(decode=True) for part in oracle.get_payload()]  # type: ignore[union-attr, unused-ignore]
    parts, _ = split(body, drawn.draw(st.lists(st.integers(0), max_size=10)), boundary=boundary)
    assert payloads(parts) == expected == data


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    "inside",
    [
        LINE,
        b"x\r\n" + LINE + b"x",
        b"x\r\n" + LINE + b"-",
        b"x\r\n" + LINE + b"-\r\n",
        b"x\r\n" + LINE + b"--x\r\n",
        b"x\n" + LINE + b"\n",
        b"x\n" + LINE + b"--\n",
        b"x\r" + LINE + b"\r\n",
        b"x\r\n" + LINE[:-1] + b"\r\n",
        b"x\r\n\r\n-" + LINE + b"\r\n",
        b"x" + LINE + b"--\r\nmore",
        b"x\r\n" + LINE + b" " * 300 + b"\r\n",
        b"x\r\n" + LINE + b" . \r\n",
    ],
)
def test_what_only_looks_like_a_boundary_is_payload(inside: bytes, step: int | None) -> None:
    data = b"before " + inside + b" after"
    parts, splitter = split(multipart(Mime(data), Mime(b"next")), step)
    assert payloads(parts) == [data, b"next"]
    assert splitter.closed


@pytest.mark.parametrize("step", EVERY_STEP)
def test_where_lines_end_with_lf_a_boundary_after_crlf_still_delimits(step: int | None) -> None:
    """The return before it may be the payload's last byte: nothing is dropped that may be."""
    body = LINE + b"\n\ntext\r\n" + LINE + b"--\n"
    parts, _ = split(body, step)
    assert payloads(parts) == [b"text\r"]


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    "preamble", [b"", b"\r\n", b"This is a MIME message.\r\n", b"--other\r\n", b"x" * 8000 + b"\r\n"]
)
@pytest.mark.parametrize("epilogue", [b"", b"\r\n", b"\r\nsome text\r\n" + LINE + b"\r\nX: y\r\n\r\nno part"])
def test_what_stands_around_the_parts_is_skipped(preamble: bytes, epilogue: bytes, step: int | None) -> None:
    parts, splitter = split(multipart(Mime(b"a"), Mime(b"b"), preamble=preamble, epilogue=epilogue), step)
    assert payloads(parts) == [b"a", b"b"]
    assert splitter.closed


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("padding", [b" ", b"\t \t", b" " * 256])
def test_blanks_after_a_boundary_are_padding(padding: bytes, step: int | None) -> None:
    body = LINE + padding + b"\r\n\r\na\r\n" + LINE + padding + b"\r\n\r\nb\r\n" + LINE + b"--" + padding + b"\r\n"
    parts, splitter = split(body, step)
    assert payloads(parts) == [b"a", b"b"]
    assert splitter.closed


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize("body", [b"\r\n", b"", b"X: y\r\n\r\n", b"X: y\r\n\r\n\r\n", b"\r\n\r\n"])
def test_a_part_may_be_empty(body: bytes, step: int | None) -> None:
    """With and without fields; some stacks leave out the line end that belongs to the boundary."""
    part = LINE + b"\r\n" + body + (b"" if body else b"\r\n")
    parts, splitter = split(part + LINE + b"\r\n\r\nnext\r\n" + part + LINE + b"--\r\n", step)
    assert payloads(parts) == [b"", b"next", b""]
    assert splitter.closed
    assert not splitter.quirks


@pytest.mark.parametrize("step", EVERY_STEP)
def test_a_body_without_parts(step: int | None) -> None:
    parts, splitter = split(LINE + b"--\r\n", step)
    assert parts == []
    assert splitter.closed


# --- how it ends ---


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    ("close", "payload", "end", "closed"),
    [
        (b"\r\n" + LINE + b"--", b"data", PartEnd.DELIMITED, True),
        (b"\r\n" + LINE + b"--  ", b"data", PartEnd.DELIMITED, True),
        (LINE + b"--", b"data", PartEnd.DELIMITED, True),
        (LINE + b"--\r\n", b"data", PartEnd.DELIMITED, True),
        (LINE + b"--\r\n\r\n", b"data", PartEnd.DELIMITED, True),
        (LINE + b"--\n", b"data", PartEnd.DELIMITED, True),
        (b"\r\n" + LINE, b"data", PartEnd.DELIMITED, False),
        (b"", b"data", PartEnd.UNDELIMITED, False),
        (b"\r\n", b"data\r\n", PartEnd.UNDELIMITED, False),
        (b"-", b"data-", PartEnd.UNDELIMITED, False),
        (b"--", b"data--", PartEnd.UNDELIMITED, False),
        (b"\r\n-", b"data", PartEnd.CUT, False),
        (b"\r\n" + LINE[:-1], b"data", PartEnd.CUT, False),
        (b"\r\n" + LINE + b"-", b"data", PartEnd.CUT, False),
    ],
)
def test_the_last_part_ends_with_the_body(
    close: bytes, payload: bytes, end: PartEnd, closed: bool, step: int | None
) -> None:
    parts, splitter = split(multipart(Mime(b"data"), close=close), step)
    assert payloads(parts) == [payload]
    assert ends(parts) == {end}
    assert splitter.closed == closed
    assert bool(splitter.quirks & {"no-close", "no-line-end-before-close"}) == (
        end is not PartEnd.CUT and not close.startswith(b"\r\n" + LINE + b"--")
    )


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    ("stated", "end"), [(4, PartEnd.UNDELIMITED), (3, PartEnd.UNDELIMITED), (5, PartEnd.CUT), (10**6, PartEnd.CUT)]
)
def test_a_last_part_that_says_it_is_longer_is_cut(stated: int, end: PartEnd, step: int | None) -> None:
    """Without a boundary behind it nothing else tells where it ends."""
    parts, _ = split(multipart(Mime(b"data", [f"Content-Length: {stated}"]), close=b""), step)
    assert ends(parts) == {end}


@pytest.mark.parametrize("step", EVERY_STEP)
def test_wherever_a_body_breaks_off_no_part_that_is_cut_looks_whole(step: int | None) -> None:
    whole = multipart(Mime(b"<root/>"), Mime(b"\r\n--data--\r\n"))
    for length in range(len(whole) - 1):
        parts, splitter = split(whole[:length], step, complete=False)
        closing = whole[:length].endswith(LINE + b"--") and length > 60
        assert splitter.closed == closing
        for (_, data, end), expected in zip(parts, [b"<root/>", b"\r\n--data--\r\n"], strict=False):
            assert end in (PartEnd.DELIMITED, PartEnd.CUT)
            assert data == expected if end is PartEnd.DELIMITED else expected.startswith(data)


# --- encodings and fields ---


@pytest.mark.parametrize("step", EVERY_STEP)
@pytest.mark.parametrize(
    ("encoding", "written", "data"),
    [
        ("base64", b"QUJD\r\nREVG\r\n", b"ABCDEF"),
        ("BASE64", b"QUI=", b"AB"),
        ("base64", b"QUI", b"AB"),
        ("quoted-printable", b"a=3Db=\r\nc=0D", b"a=bc\r"),
        ("binary", b"QUI=", b"QUI="),
        ("8bit", b"\xff=3D", b"\xff=3D"),
    ],
)
def test_transfer_encodings_are_undone(encoding: str, written: bytes, data: bytes, step: int | None) -> None:
    parts, _ = split(multipart(Mime(written, [f"content-transfer-encoding: {encoding}"]), Mime(b"=3D")), step)
    assert payloads(parts) == [data, b"=3D"]


@pytest.mark.parametrize("stated", [0, 1, 3, 5, 10**6])
def test_a_wrong_content_length_of_a_part_is_not_believed(stated: int) -> None:
    parts, splitter = split(multipart(Mime(b"data", [f"Content-Length: {stated}"]), Mime(b"next")))
    assert payloads(parts) == [b"data", b"next"]
    assert splitter.quirks == {"part-length"}


@pytest.mark.parametrize("stated", ["4", "-4", "four", "4" * 5000, "٤"])
def test_a_right_or_unreadable_content_length_of_a_part_is_no_matter(stated: str) -> None:
    body = LINE + b"\r\nContent-Length: " + stated.encode() + b"\r\n\r\ndata\r\n" + LINE + b"--"
    parts, splitter = split(body)
    assert payloads(parts) == [b"data"]
    assert splitter.quirks == set()


# --- limits ---


@pytest.mark.parametrize("step", [None, 100])
def test_too_many_parts_are_refused(step: int | None) -> None:
    assert len(split(multipart(*[Mime(b"x")] * 64), step)[0]) == 64
    with pytest.raises(LimitExceeded, match="64 parts"):
        split(multipart(*[Mime(b"x")] * 65), step)


@pytest.mark.parametrize("step", [None, 100])
@pytest.mark.parametrize("ends", [True, False])
def test_too_long_header_fields_are_refused(ends: bool, step: int | None) -> None:
    split(multipart(Mime(b"x", ["X: " + "y" * 16_000])), step)
    body = multipart(Mime(b"x", ["X: " + "y" * 17_000]))
    with pytest.raises(LimitExceeded, match="16384 bytes in the header fields"):
        split(body if ends else body[:17_000], step)


@pytest.mark.parametrize("step", [None, 100])
def test_a_boundary_that_does_not_come_is_refused(step: int | None) -> None:
    with pytest.raises(Malformed, match="boundary"):
        split(b"-" * 9000, step)


def test_a_chunk_within_a_payload_is_handed_on_as_it_is() -> None:
    """No copy and no look at each byte: that is what makes it fast."""
    splitter = Splitter(BOUNDARY.encode())
    splitter.feed(LINE + b"\r\n\r\n")
    for chunk in (bytes(1 << 16), b"\r\n" * 5000 + b"x" * 64):
        (piece,) = splitter.feed(chunk)
        assert piece is chunk or piece == chunk
    chunk = bytes(1 << 16)
    assert splitter.feed(chunk)[0] is chunk


@pytest.mark.parametrize(
    "filler", [b"\r\n", b"-", b"\r\n--uuid:1b2c-3", b"\r\n" + LINE + b" " * 250 + b"x", b"\r", b"\n", LINE + b"--"]
)
def test_a_payload_made_to_resemble_boundaries_keeps_memory_flat(filler: bytes) -> None:
    piece = filler * (65536 // len(filler))
    splitter = Splitter(BOUNDARY.encode())
    splitter.feed(LINE + b"\r\n\r\n")
    tracemalloc.start()
    try:
        for _ in range(100):
            splitter.feed(piece)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@given(st.data())
def test_any_payload_in_any_chunks_comes_out_as_it_was(drawn: st.DataObject) -> None:
    draw = drawn.draw
    boundary = draw(st.text("ab-:=", min_size=1, max_size=6).filter(lambda text: text == text.rstrip()))
    eol = draw(EOLS)
    line = eol + b"--" + boundary.encode()
    words = [b"\r", b"\n", b"-", b" ", b"a", line, line[:-1], line + b"-", line[1:], b"--", b"\xff"]
    data = draw(st.lists(st.builds(b"".join, st.lists(st.sampled_from(words), max_size=12)), min_size=1, max_size=3))
    delimits = [line + rest for rest in (b"\r\n", b"\n", b" ", b"\t", b"--")]
    body = multipart(*map(Mime, data), boundary=boundary, eol=eol)
    # A payload that holds a whole delimiter cannot be told from two parts.
    assume(not any(mark in eol + one + eol + b" " for one in data for mark in delimits))
    parts, splitter = split(body, draw(st.lists(st.integers(0), max_size=20)), boundary=boundary)
    assert payloads(parts) == data
    assert splitter.closed


@given(
    st.lists(st.sampled_from([LINE, b"--", b"\r\n", b"\n", b"\r", b" ", b"X: y", b"\x00", b"a"]), max_size=40),
    st.data(),
)
def test_chunks_make_no_difference(words: list[bytes], drawn: st.DataObject) -> None:
    body = b"".join(words)
    complete = drawn.draw(st.booleans())
    whole = split(body, complete=complete)
    pieces = split(body, drawn.draw(st.lists(st.integers(0), max_size=20)), complete=complete)
    assert pieces[0] == whole[0]
    assert (pieces[1].closed, pieces[1].quirks) == (whole[1].closed, whole[1].quirks)


def test_random_payloads_of_real_size() -> None:
    randomness = random.Random(11)
    data = randomness.randbytes(3_000_000)
    parts, _ = split(multipart(Mime(b"<root/>"), Mime(data)), 65_536)
    assert payloads(parts) == [b"<root/>", data]
