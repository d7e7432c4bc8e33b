"""The readers of SOAP answers against chance: `python -m benchmarks.soak_xds_readers`.

Random documents in random packings, boundaries and chunks must come out with the same SHA-256. Answers that were damaged at
random may be refused, in the readers' own words and no others; how they are cut into chunks may decide nothing. Memory must not
grow with the document. Exit status 1 when one of that fails; the case's seed is printed.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from adapters.errors import Corrupt
from adapters.xds.retrieval import RetrievalReader
from adapters.xds.soap import Tolerance
from tests.unit.xds.answers import (
    ASKED,
    PLAIN,
    SOAP_11,
    SOAP_12,
    Reading,
    attachment,
    error,
    in_body,
    include,
    inline,
    multipart,
    read,
    related,
    response,
    retrieved,
    root,
)

SLOWEST = 10.0
"""Seconds that one case may take, whatever else the machine does."""

GROWTH_MIB = 24.0
"""Memory of the process while a document is read, above what it had before."""

_BOUNDARY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'()+_,-./:=?"
_WORDS = [
    b"\r\n", b"\n", b"\r", b"--", b"-", b" ", b"\0", b"\xff\xfe", b"<", b">", b"&", b"=", b"]]>", b"<!--", b"-->", b"&amp;",
    b"&#13;", b"--uuid:1b2c-3d", b"--uuid:1b2c-3d--", b"<![CDATA[", b"<!DOCTYPE html>", b"<!ENTITY a 'b'>", b"cid:",
    b"http://127.0.0.1:1/", b"<?xml version='1.0' encoding='utf-16'?>", b"</x:Document>", b"<x:Document>", b"QUJD", b"xmlns=''",
    b"<x:DocumentResponse>",
    b"</x:DocumentResponse>", b"<x:DocumentUniqueId>9.9</x:DocumentUniqueId>", b"<env:Fault>", b"</env:Envelope>",
    b"Content-Type: text/xml\r\n", b"Content-Transfer-Encoding: base64\r\n", b"Content-ID: <doc@x>\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n",
]  # fmt: skip


def payload(chance: random.Random, boundary: str) -> bytes:
    """A document: noise, text, or what resembles a boundary."""
    size = chance.choice([0, 1, 2, 3, 60, 1000, chance.randrange(200_000)])
    match chance.randrange(3):
        case 0:
            return chance.randbytes(size)
        case 1:
            return b"The quick brown fox.\r\n" * (size // 22)
        case _:
            line = b"\r\n--" + boundary.encode()
            words = [b"\r", b"\n", b"-", line[:-1], line[1:-1], line + b"x", b"--", b"\xff", line + b"--x"]
            return b"".join(chance.choices(words, k=size % 300))


def packings(chance: random.Random) -> tuple[bytes, str, bytes]:
    """A document, the Content-Type of an answer that holds it, and that answer's body."""
    boundary = "".join(chance.choices(_BOUNDARY, k=chance.randrange(1, 70)))
    data = payload(chance, boundary)
    envelope = retrieved(response(include("cid:doc@x")), soap=chance.choice([SOAP_11, SOAP_12]))
    eol = chance.choice([b"\r\n", b"\r\n", b"\n"])
    start = chance.choice(["<root@x>", None])
    match chance.randrange(5):
        case 0:
            columns, end = chance.choice([4, 60, 76, 10**6]), chance.choice(["\n", "\r\n", "&#xD;\n", ""])
            text = inline(data)
            text = end.join(text[at : at + columns] for at in range(0, len(text), columns))
            return data, PLAIN, retrieved(response(text))
        case 1:
            encoded = base64.encodebytes(data)
            part = attachment(encoded, "<doc@x>", "Content-Transfer-Encoding: base64")
            body = multipart(root(envelope), part, boundary=boundary, eol=eol)
        case 2:
            start = "<root@x>"
            body = multipart(attachment(data), root(envelope), boundary=boundary, eol=eol)
        case 3:
            # A line end that is the document's last byte would be taken for the boundary's.
            own = eol if data.endswith(b"\n") else chance.choice([eol, b""])
            close = own + b"--" + boundary.encode() + b"--"
            body = multipart(root(envelope), attachment(data), boundary=boundary, eol=eol, close=close)
        case _:
            extra = attachment(chance.randbytes(50), "<other@x>")
            body = multipart(root(envelope), extra, attachment(data), boundary=boundary, eol=eol, preamble=b"\r\n")
    return data, related(boundary, start), body


def delimits(data: bytes, content_type: str) -> bool:
    """Whether the document itself holds a whole delimiter, which no reader could tell from one."""
    line = b"--" + content_type.partition('boundary="')[2].partition('"')[0].encode()
    return any(line + rest in data + b"\r\n" for rest in (b"\r", b"\n", b" ", b"\t", b"--\r", b"--\n", b"--"))


def places(chance: random.Random) -> list[int] | int | None:
    """How a body is cut: not at all, in equal chunks, or anywhere."""
    match chance.randrange(4):
        case 0:
            return None
        case 1:
            return chance.choice([1400, 4096, 65_536])
        case _:
            return [chance.randrange(1 << 30) for _ in range(chance.randrange(1, 40))]


def timed(kind: str, seed: int, run: Callable[[], Reading]) -> Reading:
    begin = time.perf_counter()
    reading = run()
    if time.perf_counter() - begin > SLOWEST:
        raise AssertionError(f"{kind} {seed}: took more than {SLOWEST} s")
    return reading


def documents(count: int, first: int = 0) -> int:
    """Read `count` random answers; how many bytes came out right. Raises AssertionError for the first that did not."""
    total = done = 0
    seed = first
    while done < count:
        seed += 1
        chance = random.Random(seed)
        data, content_type, body = packings(chance)
        if delimits(data, content_type):
            continue
        done += 1
        cuts = places(chance)
        reading = timed("document", seed, lambda body=body, kind=content_type, cuts=cuts: read(body, kind, step=cuts))
        same = hashlib.sha256(reading.data).digest() == hashlib.sha256(data).digest()
        assert same, f"document {seed}: came out otherwise"
        assert type(reading.outcome).__name__ == "Whole", f"document {seed}: {reading.outcome}"
        total += len(data)
    return total


def originals() -> Iterator[tuple[str, bytes]]:
    """Answers to damage."""
    data = b"%PDF-1.7\r\n" + bytes(range(256))
    envelope = retrieved(response(include("cid:doc@x"), home="urn:oid:1.9"))
    other = retrieved(response(include("cid:o"), document="9.9"), response(include("cid:doc@x")))
    yield related(), multipart(root(envelope), attachment(data))
    yield related(), multipart(attachment(data), root(envelope))
    yield related(), multipart(root(other), attachment(b"o", "<o>"), attachment(data), eol=b"\n")
    yield (
        related(),
        multipart(root(envelope), attachment(base64.encodebytes(data), "<doc@x>", "Content-Transfer-Encoding: base64")),
    )
    yield (
        related(),
        multipart(root(envelope), attachment(data, "<doc@x>", "Content-Transfer-Encoding: quoted-printable")),
    )
    yield related(), multipart(root(retrieved(response(inline(data)))))
    yield PLAIN, retrieved(response(inline(data)), response(inline(b"other"), document="9.9"), soap=SOAP_11)
    yield PLAIN, retrieved(response("&#13;\n".join(inline(data))), errors=[error("XDSRepositoryError", "Warning")])
    yield PLAIN, in_body("<env:Fault><env:Code><env:Value>env:Sender</env:Value></env:Code></env:Fault>")
    yield PLAIN, b"<!DOCTYPE html><html></html>"


def damaged(chance: random.Random, body: bytes, others: list[bytes]) -> bytes:
    """`body` with up to six changes."""
    for _ in range(chance.randrange(1, 7)):
        at = chance.randrange(len(body) + 1)
        length = chance.choice([0, 1, 2, 10, 100])
        match chance.randrange(6):
            case 0:
                body = body[:at] + chance.randbytes(chance.randrange(1, 4)) + body[at + length :]
            case 1:
                body = body[:at] + body[at + length :]
            case 2:
                body = body[:at] + body[at : at + length] * 2 + body[at + length :]
            case 3:
                donor = chance.choice(others)
                begin = chance.randrange(len(donor))
                body = body[:at] + donor[begin : begin + chance.choice([10, 100, 1000])] + body[at + length :]
            case 4 if body:
                body = body[:at] if chance.random() < 0.2 else body
            case _:
                body = body[:at] + chance.choice(_WORDS) + body[at + length :]
    return body


def judged(
    body: bytes, content_type: str, cuts: list[int] | int | None, complete: bool, raw: bool
) -> tuple[str, bytes | None]:
    """In a word what came of it, and the document where there is one. Other errors than the readers' own come through."""
    try:
        reading = read(body, content_type, step=cuts, complete=complete, tolerance=Tolerance(raw_text=raw))
    except Corrupt:
        return "refused", None
    word = type(reading.outcome).__name__
    # Which of two wrongs is seen first may depend on the chunks, and so may what libxml2 takes for a break and what for an end.
    return ("refused", None) if word in ("Foreign", "Truncated") else (word, reading.data if word == "Whole" else None)


def damages(count: int, first: int = 0) -> Counter[str]:
    """Read `count` damaged answers; what came of them. Raises what is no `Corrupt`, and AssertionError."""
    kinds = list(originals())
    others = [body for _, body in kinds]
    seen: Counter[str] = Counter()
    for seed in range(first, first + count):
        chance = random.Random(seed)
        content_type, body = chance.choice(kinds)
        body = damaged(chance, body, others)
        complete, raw = chance.random() < 0.7, chance.random() < 0.3
        begin = time.perf_counter()
        try:
            whole = judged(body, content_type, None, complete, raw)
            pieces = judged(body, content_type, places(chance), complete, raw)
            bytewise = judged(body, content_type, 1, complete, raw) if len(body) < 5000 else pieces
        except Exception as failure:
            raise AssertionError(f"damage {seed}: {type(failure).__name__}: {failure}") from failure
        assert time.perf_counter() - begin < SLOWEST, f"damage {seed}: took more than {SLOWEST} s"
        assert whole == pieces == bytewise, f"damage {seed}: {whole[0]}, {pieces[0]} and {bytewise[0]} by chunks"
        seen[whole[0]] += 1
    return seen


CONTENT_TYPES = (
    related(),
    PLAIN,
    related(start=None),
    "multipart/related; boundary=b; start=r",
    "text/html",
    "",
)


def corpus_case(case: bytes) -> str:
    """What came of one case of a fuzzer's corpus: which Content-Type, two flags, the chunks' size, then the body.

    Raises as `damages` does.
    """
    content_type, complete, raw = CONTENT_TYPES[case[0] % len(CONTENT_TYPES)], bool(case[1] & 1), bool(case[1] & 2)
    whole = judged(case[3:], content_type, None, complete, raw)
    pieces = judged(case[3:], content_type, case[2] % 31 + 1, complete, raw)
    assert whole == pieces, f"{whole[0]} and {pieces[0]} by chunks"
    return whole[0]


def resident_mib() -> float:
    """What this process holds in memory now, the parser's own memory too."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


def growth(size: int, *, by_reference: bool, wrapped: bool = False, chunk: int = 256 * 1024) -> float:
    """MiB that the process grew by while a document of `size` bytes was read, made on the fly and not kept."""
    block = random.Random(5).randbytes(3 << 14)
    text = base64.encodebytes(block).replace(b"\n", b"\r\n") if wrapped else base64.b64encode(block)
    if by_reference:
        content_type, (head, _, tail) = related(), _whole_mtom().partition(b"HERE")
        piece = block
    else:
        content_type, (head, _, tail) = PLAIN, retrieved(response("HERE")).partition(b"HERE")
        piece = text
    reader = RetrievalReader(ASKED, 200, content_type)
    received, before, most = 0, resident_mib(), 0.0
    for data in (head, *(piece for _ in range(size // len(block))), tail):
        for at in range(0, len(data), chunk):
            received += sum(len(event) for event in reader.feed(data[at : at + chunk]) if isinstance(event, bytes))
        most = max(most, resident_mib())
    reader.end(complete=True)
    assert received == size // len(block) * len(block)
    return most - before


def _whole_mtom() -> bytes:
    return multipart(root(retrieved(response(include("cid:doc@x")))), attachment(b"HERE"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_xds_readers.py", description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=20_000, help="random answers (default 20000)")
    parser.add_argument("--damages", type=int, default=200_000, help="damaged answers (default 200000)")
    parser.add_argument(
        "--mebibytes", type=int, default=1024, help="size of the documents read for memory (default 1024)"
    )
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    given = parser.parse_args()
    try:
        begin = time.perf_counter()
        size = documents(given.documents, given.first)
        print(
            f"{given.documents} documents, {size / 1e6:.0f} MB, {time.perf_counter() - begin:.0f} s: all as they were"
        )
        begin = time.perf_counter()
        seen = damages(given.damages, given.first)
        print(f"{given.damages} damaged answers, {time.perf_counter() - begin:.0f} s: {dict(seen)}")
        for by_reference, wrapped in ((True, False), (False, False), (False, True)):
            grown = growth(given.mebibytes << 20, by_reference=by_reference, wrapped=wrapped)
            kind = "by reference" if by_reference else "in the envelope, wrapped" if wrapped else "in the envelope"
            print(f"{given.mebibytes} MiB {kind}: {grown:.1f} MiB more memory")
            assert grown < GROWTH_MIB, kind
    except AssertionError as failure:
        print(failure)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
