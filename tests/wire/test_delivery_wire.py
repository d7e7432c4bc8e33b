"""What a reader's socket sees when an archive breaks: never a second answer, never a short body that looks whole.

The four measured disasters (an error written into the document, a late OperationOutcome, a short body that swallows the next
patient's answer, a hung-up reader blamed on the archive) are each asked for here and must not happen.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import socket
from pathlib import Path

import pytest

from adapters.contract import Digest
from adapters.errors import Corrupt, Unavailable
from adapters.filesystem import FilesystemAdapter
from tests.support.nginx import proxy
from tests.support.raw_http import Answer, Ending, connect, request
from tests.support.scripted import Script
from tests.support.service import MakeAdapter, Service, scripted, service

CHUNK = bytes(range(256)) * 256
"""64 KiB that start differently from any status line."""

LATE_FAULTS = {
    "raises": Script([CHUNK, CHUNK, Corrupt("broke")], size=len(CHUNK) * 4),
    "raises foreign": Script([CHUNK, CHUNK, KeyError("broke")], size=len(CHUNK) * 4),
    "ends early": Script([CHUNK, CHUNK], size=len(CHUNK) * 4),
    "sends more": Script([CHUNK, CHUNK, CHUNK], size=len(CHUNK) * 2),
    "wrong digest": Script([CHUNK, CHUNK], digest=Digest("sha256", bytes(32))),
    "empty piece": Script([CHUNK, CHUNK, b"", CHUNK]),
    "unknown size raises": Script([CHUNK, CHUNK, Unavailable("lost")], size=None),
}

FORMS = {"native": "", "json": "?_format=json", "xml": "?_format=xml"}


def folder(root: Path, **options: object) -> MakeAdapter:
    return lambda name, lent: FilesystemAdapter(name, FilesystemAdapter.Options(root=root, **options), lent)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fault", LATE_FAULTS)
async def test_a_late_fault_resets_the_connection_and_writes_nothing_else(fault: str, form: str) -> None:
    async with service(
        {"letters": scripted({"a": LATE_FAULTS[fault], "b": Script([b"SECRET-OF-NEXT-PATIENT"])})}
    ) as at:
        async with connect(at.host, at.port) as connection:
            await connection.send(request(f"/R4/Binary/a{FORMS[form]}") + request("/R4/Binary/b"))
            answer = await connection.answer()
            rest = await connection.rest()
        assert answer.status == 200
        assert not answer.complete
        assert connection.ending is Ending.RESET
        assert b"HTTP/1.1" not in answer.body
        assert b"SECRET" not in answer.body + rest
        if form == "native":
            assert (CHUNK * 4).startswith(answer.body)
        (line,) = await at.lines()
        assert (line["outcome"], line["status"]) == ("aborted", 200)
        assert line["code"].startswith("GW-END") or line["code"].startswith("GW-")
        assert "detail" in line


@pytest.mark.parametrize("size", [10, None], ids=["of known size", "of unknown size"])
@pytest.mark.parametrize("form", FORMS)
async def test_a_fault_before_the_first_byte_is_an_outcome_and_the_connection_lives(
    form: str, size: int | None
) -> None:
    scripts = {"a": Script([Corrupt("at once")], size=size), "b": Script([b"next"])}
    async with service({"letters": scripted(scripts)}) as at, connect(at.host, at.port) as connection:
        await connection.send(request(f"/R4/Binary/a{FORMS[form]}"))
        answer = await connection.answer()
        assert answer.status == 502
        assert answer.field("Transfer-Encoding") is None
        assert int(answer.field("Content-Length") or 0) == len(answer.body) > 0
        await connection.send(request("/R4/Binary/b"))
        assert (await connection.answer()).body == b"next"


async def test_pipelined_requests_are_answered_in_order_with_their_own_bytes() -> None:
    scripts = {name: Script([name.encode() * 1000, name.encode() * 500]) for name in "abcdef"}
    async with service({"letters": scripted(scripts)}) as at, connect(at.host, at.port) as connection:
        await connection.send(b"".join(request(f"/R4/Binary/{name}") for name in "abcdef"))
        for name in "abcdef":
            answer = await connection.answer()
            assert answer.body == name.encode() * 1500


async def test_head_is_followed_by_the_next_answer_and_no_body() -> None:
    async with service({"letters": scripted({"a": Script([CHUNK, CHUNK])})}) as at:
        async with connect(at.host, at.port) as connection:
            await connection.send(request("/R4/Binary/a", method="HEAD") + request("/R4/Binary/a"))
            head = await connection.answer("HEAD")
            whole = await connection.answer()
        assert head.field("Content-Length") == whole.field("Content-Length") == str(2 * len(CHUNK))
        assert whole.body == CHUNK * 2


@pytest.mark.parametrize("form", FORMS)
async def test_a_reader_that_half_closes_and_stops_gets_no_good_end(tmp_path: Path, form: str) -> None:
    (tmp_path / "a").write_bytes(CHUNK * 256)
    async with service({"letters": folder(tmp_path)}) as at:
        async with connect(at.host, at.port, receive_buffer=4096) as connection:
            await connection.send(request(f"/R4/Binary/a{FORMS[form]}", version="1.0"))
            await asyncio.sleep(0.2)
            connection.finish()
            received = await connection.rest()
        assert len(received) < len(CHUNK) * 256
        assert connection.ending is Ending.RESET
        (line,) = await at.lines()
        assert line["outcome"] == "aborted"
        assert line["bytes"] < len(CHUNK) * 256


# --- HTTP/1.0 ------------------------------------------------------------------------------------------------------


async def test_http_1_0_gets_an_unknown_length_with_its_length() -> None:
    async with service({"letters": scripted({"a": Script([CHUNK, CHUNK, b"end"], size=None)})}) as at:
        answer = await at.ask("/R4/Binary/a", version="1.0")
        assert answer.framing == "length"
        assert answer.complete
        assert answer.body == CHUNK * 2 + b"end"
        chunked = await at.ask("/R4/Binary/a")
        assert (chunked.framing, chunked.body) == ("chunked", CHUNK * 2 + b"end")


async def test_http_1_0_fault_of_an_unknown_length_is_an_error_not_a_short_document() -> None:
    async with service({"letters": scripted({"a": LATE_FAULTS["unknown size raises"]})}) as at:
        answer = await at.ask("/R4/Binary/a", version="1.0")
        assert answer.status == 503
        assert answer.json()["resourceType"] == "OperationOutcome"


async def test_http_1_0_unknown_length_beyond_the_spool_is_refused_and_the_spool_is_given_back() -> None:
    scripts = {"big": Script([CHUNK] * 20, size=None), "fits": Script([CHUNK] * 10, size=None)}
    async with service({"letters": scripted(scripts)}, spool_bytes=11 * len(CHUNK)) as at:
        assert (await at.ask("/R4/Binary/big", version="1.0")).status == 502
        assert (await at.ask("/R4/Binary/fits", version="1.0")).body == CHUNK * 10
        assert (await at.ask("/R4/Binary/fits", version="1.0")).body == CHUNK * 10


async def test_http_1_0_known_length_breaks_with_a_reset() -> None:
    async with service({"letters": scripted({"a": LATE_FAULTS["ends early"]})}) as at:
        async with connect(at.host, at.port) as connection:
            await connection.send(request("/R4/Binary/a", version="1.0"))
            answer = await connection.answer()
            await connection.rest()
        assert not answer.complete
        assert connection.ending is Ending.RESET


@pytest.mark.parametrize("fault", ["raises", "ends early", "unknown size raises"])
async def test_behind_nginx_as_it_comes_a_broken_document_does_not_look_whole(tmp_path: Path, fault: str) -> None:
    async with service({"letters": scripted({"a": LATE_FAULTS[fault], "b": Script([b"other"])})}) as at:
        with proxy(tmp_path, at.url) as front:
            async with connect("127.0.0.1", front.port) as connection:
                await connection.send(request("/R4/Binary/a"))
                answer = await connection.answer()
            assert not (answer.status == 200 and answer.complete), "a truncated document looks whole"
            async with connect("127.0.0.1", front.port) as connection:
                await connection.send(request("/R4/Binary/b"))
                assert (await connection.answer()).body == b"other"


# --- readers -------------------------------------------------------------------------------------------------------


async def test_a_reader_that_hangs_up_is_not_the_archives_fault_and_frees_it() -> None:
    never = asyncio.Event()
    script = Script([CHUNK, never], size=10 * len(CHUNK))
    async with service({"letters": scripted({"a": script})}) as at:
        async with connect(at.host, at.port) as connection:
            await connection.send(request("/R4/Binary/a"))
            # The last piece is held back, so nothing but the opening can be seen here.
            for _ in range(100):
                if script.open_now:
                    break
                await asyncio.sleep(0.01)
        await at.idle()
        assert script.open_now == 0
        (line,) = await at.lines()
        assert (line["outcome"], line["level"]) == ("aborted", "info")


async def test_a_reader_that_stalls_is_cut_off_and_its_permit_comes_back() -> None:
    script = Script([CHUNK] * 400)
    async with service({"letters": scripted({"a": script})}, reader_timeout=0.3) as at:
        async with connect(at.host, at.port, receive_buffer=4096) as connection:
            await connection.send(request("/R4/Binary/a"))
            await at.lines()
            await at.idle()
            received = await connection.rest()
        assert len(received) < len(CHUNK) * 400
        assert connection.ending is Ending.RESET
        (line,) = await at.lines()
        assert line["outcome"] == "aborted"
        assert script.open_now == 0


async def test_a_stalled_reader_does_not_stop_the_others() -> None:
    script = Script([CHUNK] * 200)
    async with service({"letters": scripted({"a": script})}) as at:
        stalled = connect(at.host, at.port, receive_buffer=4096)
        async with stalled as reader:
            await reader.send(request("/R4/Binary/a"))
            answers = await asyncio.gather(*(at.ask("/R4/Binary/a") for _ in range(5)))
            assert all(answer.body == CHUNK * 200 for answer in answers)


# --- local files: the sendfile path --------------------------------------------------------------------------------

LARGE = 24 * 1024 * 1024


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "archive" / "large.bin"
    path.parent.mkdir()
    path.write_bytes(random.Random(7).randbytes(LARGE))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


async def _while_reading(at: Service, change: object, target: str = "/R4/Binary/large.bin") -> tuple[Answer, Ending]:
    """Begin to read slowly, run `change`, read to the end."""
    async with connect(at.host, at.port, receive_buffer=65536) as connection:
        await connection.send(request(target))
        first = await connection.receive()
        await asyncio.to_thread(change)  # type: ignore[arg-type]
        rest = await connection.rest()
        head, _, body = (first + rest).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        announced = int(re.search(rb"Content-Length: ([0-9]+)", head)[1])  # type: ignore[index]
        return Answer(
            "1.1", 200, "OK", (), body, "length", len(body) >= announced, connection.ending
        ), connection.ending


@pytest.mark.parametrize("target", ["/R4/Binary/large.bin", "/R4/Binary/large.bin?_format=json"])
@pytest.mark.parametrize("change", ["truncated", "appended", "rewritten"])
async def test_a_file_that_changes_while_it_is_read_is_never_delivered_whole(
    large: Path, change: str, target: str
) -> None:
    def act() -> None:
        if change == "truncated":
            os.truncate(large, LARGE // 2)
        elif change == "appended":
            with large.open("ab") as file:
                file.write(b"more")
        else:
            with large.open("r+b") as file:
                file.seek(LARGE - 100)
                file.write(b"x" * 100)

    async with service({"letters": folder(large.parent)}) as at:
        answer, ending = await _while_reading(at, act, target)
        assert not answer.complete
        assert ending is Ending.RESET
        (line,) = await at.lines()
        assert line["outcome"] == "aborted"


async def test_a_file_replaced_by_rename_while_it_is_read_is_delivered_as_it_was(large: Path) -> None:
    original = large.read_bytes()

    def act() -> None:
        other = large.with_name("new")
        other.write_bytes(b"new letter")
        other.rename(large)

    async with service({"letters": folder(large.parent)}) as at:
        async with connect(at.host, at.port, receive_buffer=65536) as connection:
            await connection.send(request("/R4/Binary/large.bin"))
            first = await connection.receive()
            await asyncio.to_thread(act)
            received = bytearray(first)
            while len(received) < LARGE:
                received += await connection.receive()
        assert bytes(received).partition(b"\r\n\r\n")[2] == original
        assert (await at.ask("/R4/Binary/large.bin")).body == b"new letter"


@pytest.mark.parametrize("size", [300_000, 1_000_000, 3_000_000])
async def test_bytes_already_sent_do_not_change_with_the_file(tmp_path: Path, size: int) -> None:
    """Bytes that wait in a socket must be copies: the reader takes them after the file was overwritten in place."""
    path = tmp_path / "letter.bin"
    path.write_bytes(b"A" * size)
    async with service({"letters": folder(tmp_path)}) as at, connect(at.host, at.port) as connection:
        await connection.send(request("/R4/Binary/letter.bin"))
        first = await connection.receive()
        await asyncio.sleep(0.2)
        with path.open("r+b") as file:
            file.write(b"B" * size)
        received = bytearray(first)
        while connection.ending is Ending.OPEN and len(received.partition(b"\r\n\r\n")[2]) < size:
            received += await connection.receive()
        body = received.partition(b"\r\n\r\n")[2]
        assert b"B" not in body
        assert len(body) == size or connection.ending is Ending.RESET


async def test_a_slow_reader_that_keeps_reading_is_not_cut_off(large: Path) -> None:
    """The kernel calls a socket writable only when a third of its queue is free: slowness alone is not a stall."""
    async with service({"letters": folder(large.parent)}, reader_timeout=0.4) as at:
        async with connect(at.host, at.port, receive_buffer=16384) as connection:
            await connection.send(request("/R4/Binary/large.bin"))
            for _ in range(30):
                await asyncio.sleep(0.05)
                assert await connection.receive()
            assert at.pipeline.in_flight == 1
            assert connection.ending is Ending.OPEN


async def test_a_small_document_that_nobody_takes_is_not_called_complete(tmp_path: Path) -> None:
    (tmp_path / "small.bin").write_bytes(bytes(250_000))
    async with service({"letters": folder(tmp_path)}, reader_timeout=0.3) as at:
        async with connect(at.host, at.port, receive_buffer=4096) as connection:
            await connection.send(request("/R4/Binary/small.bin?_format=json") * 40)
            for _ in range(300):
                if any(line["outcome"] == "aborted" for line in await at.lines()):
                    break
                await asyncio.sleep(0.02)
            lines = await at.lines()
            assert lines[-1]["outcome"] == "aborted"
            await at.idle()
            await connection.rest()
            assert connection.ending is Ending.RESET


async def test_what_a_reader_got_of_a_body_that_broke_off_is_not_counted_too_low(tmp_path: Path) -> None:
    """The audit trail says how much was disclosed: a piece that was taken in part was taken."""
    (tmp_path / "large.bin").write_bytes(bytes(6_000_000))
    async with service({"letters": folder(tmp_path)}, reader_timeout=0.4) as at:
        # As little as a kernel under pressure takes at a time.
        at.listening[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        async with connect(at.host, at.port, receive_buffer=65536) as connection:
            await connection.send(request("/R4/Binary/large.bin"))
            received = 0
            while received < 400_000:
                received += len(await connection.receive())
            (line,) = await at.lines(1)
        assert line["outcome"] == "aborted"
        assert received - 1000 <= line["bytes"] < 6_000_000


@pytest.mark.parametrize("span", ["0-0", "1000-5000000", "20000000-", "-7000000"])
async def test_ranges_of_a_large_file_are_its_own_bytes(large: Path, span: str) -> None:
    original = large.read_bytes()
    first, _, last = span.partition("-")
    wanted = original[-int(last) :] if not first else original[int(first) : int(last) + 1 if last else None]
    async with service({"letters": folder(large.parent)}) as at:
        answer = await at.ask("/R4/Binary/large.bin", Range=f"bytes={span}")
        assert answer.status == 206
        assert answer.body == wanted
        start = LARGE - len(wanted) if not first else int(first)
        assert answer.field("Content-Range") == f"bytes {start}-{start + len(wanted) - 1}/{LARGE}"


async def test_a_cold_file_arrives_whole(large: Path) -> None:
    original = large.read_bytes()
    descriptor = os.open(large, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    async with service({"letters": folder(large.parent)}) as at:
        assert (await at.ask("/R4/Binary/large.bin")).body == original


# --- what is no request --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE 9434765919\r\n\r\n",
        b"FOO /R4/Binary/secret-id HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /R4/Binary/secret-id HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /R4/Binary/secret-id HTTP/1.1\r\nHost: x\r\nA\x00b: c\r\n\r\n",
        b"GET /R4/Binary/secret-id HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /R4/Binary/secret-id HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET /R4/Binary/" + b"secret-id" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
@pytest.mark.requirement("FR-158")
async def test_bytes_that_are_no_request_get_an_outcome_that_repeats_nothing(data: bytes) -> None:
    async with service({"letters": scripted({})}) as at:
        async with connect(at.host, at.port) as connection:
            await connection.send(data)
            answer = await connection.answer()
            await connection.rest()
        assert answer.status in (400, 414, 431)
        assert json.loads(answer.body)["resourceType"] == "OperationOutcome"
        assert answer.field("Content-Type") == "application/fhir+json;charset=utf-8"
        await at.lines()
        for secret in ("secret", "9434765919", "GARBAGE", "yyyy"):
            assert secret.encode() not in answer.body
            assert secret not in at.log.getvalue()


async def test_a_connection_that_never_finishes_its_headers_is_closed() -> None:
    async with service({"letters": scripted({})}) as at:
        at_once = asyncio.get_running_loop().time()
        async with connect(at.host, at.port) as connection:
            await connection.send(b"GET /R4/Binary/a HTTP/1.1\r\nHost: x\r\n")
            await connection.rest()
        assert connection.ending is not Ending.OPEN
        assert asyncio.get_running_loop().time() - at_once < 20
