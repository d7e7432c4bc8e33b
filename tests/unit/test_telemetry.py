"""Log lines: what may leave the process, what is withheld, and that nobody ever waits for them."""

from __future__ import annotations

import io
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway import telemetry as module
from gateway.telemetry import KEYS, PENDING_LINES, LineWriter, Telemetry, withhold

SECRET = "canary"

PROJECT = Path(__file__).parents[2]


class StuckStream(io.StringIO):
    """A terminal or pipe that nobody reads, until `free` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()
        self.reached = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.free.wait()
        return super().write(text)


class BrokenStream(io.StringIO):
    """A pipe whose reader has gone, until it is `mended`."""

    mended = False

    def write(self, text: str) -> int:
        if not self.mended:
            raise BrokenPipeError
        return super().write(text)


@contextmanager
def logging(stream: io.StringIO | None = None, **options: Any) -> Iterator[tuple[Telemetry, io.StringIO]]:
    stream = stream or io.StringIO()
    made = Telemetry(**({"form": "json", "stream": stream, "key": b"key"} | options))
    with closing(made):
        yield made, stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def written(stream: io.StringIO, count: int) -> list[str]:
    """The lines, once there are `count` of them: a thread writes them in a moment."""
    deadline = time.monotonic() + 5
    while len(found := stream.getvalue().splitlines()) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.005)
    return found


# --- the writer ------------------------------------------------------------------------------------------------------


def test_lines_are_written_in_their_order_without_closing() -> None:
    stream = io.StringIO()
    with closing(LineWriter(stream)) as writer:
        for number in range(1000):
            writer.write(str(number))
        assert written(stream, 1000) == [str(number) for number in range(1000)]
        writer.write("later")
        assert written(stream, 1001)[-1] == "later"


def test_nobody_waits_for_a_stuck_stream_and_what_is_lost_is_counted() -> None:
    stream = StuckStream()
    writer = LineWriter(stream)
    try:
        writer.write("first")
        assert stream.reached.wait(5)
        began = time.monotonic()
        for number in range(PENDING_LINES + 25):
            writer.write(str(number))
        assert time.monotonic() - began < 1
        assert writer.dropped == 25
    finally:
        stream.free.set()
        writer.close()
    found = stream.getvalue().splitlines()
    assert found[: PENDING_LINES + 1] == ["first", *map(str, range(PENDING_LINES))]
    (report,) = map(json.loads, found[PENDING_LINES + 1 :])
    assert (report["event"], report["level"], report["dropped"]) == ("log lines dropped", "warning", 25)
    assert report.keys() <= KEYS


def test_closing_waits_for_a_stuck_stream_no_longer_than_it_says() -> None:
    stream = StuckStream()
    writer = LineWriter(stream)
    writer.write("line")
    assert stream.reached.wait(5)
    began = time.monotonic()
    writer.close()
    assert time.monotonic() - began < 3
    stream.free.set()


def test_a_stream_that_broke_ends_nothing_and_what_is_lost_is_counted() -> None:
    stream = BrokenStream()
    with closing(LineWriter(stream)) as writer:
        for _ in range(3):
            writer.write("lost")
        deadline = time.monotonic() + 5
        while writer.dropped < 3:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        stream.mended = True
        writer.write("kept")
        found = written(stream, 2)
    assert found[0] == "kept"
    assert json.loads(found[1])["dropped"] == 3


def test_a_pipe_that_nobody_reads_holds_nobody_up() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w") as stream:
        writer = LineWriter(stream)
        began = time.monotonic()
        for _ in range(2000):
            writer.write("x" * 200)
        assert time.monotonic() - began < 1
        received = bytearray()
        while len(received) < 2000 * 201:
            received += reader.read1(1 << 16)
        writer.close()
    assert bytes(received) == (b"x" * 200 + b"\n") * 2000


def test_close_writes_what_is_queued_and_ends_the_thread() -> None:
    stream = io.StringIO()
    writer = LineWriter(stream)
    for number in range(500):
        writer.write(str(number))
    writer.close()
    assert len(stream.getvalue().splitlines()) == 500
    assert "log-writer" not in {thread.name for thread in threading.enumerate()}


# --- what is withheld ------------------------------------------------------------------------------------------------


def test_listed_keys_pass_unchanged() -> None:
    fields = {key: key for key in KEYS}
    assert withhold(None, "info", dict(fields)) == fields


def test_a_key_that_is_not_listed_stays_visible_by_name_alone() -> None:
    kept = withhold(None, "info", {"event": "opened", "path": SECRET, "patient": SECRET, "detail": "because"})
    assert kept == {"event": "opened", "detail": "because [withheld: path, patient]"}


@pytest.mark.requirement("FR-10")
def test_a_logger_withholds_whatever_way_a_field_came() -> None:
    with logging() as (telemetry, stream):
        bound = telemetry.log.bind(component="adapter", locator=SECRET)
        bound.info("opened", title=SECRET)
        bound.new(source="letters").warning("lost", error="OSError")
        telemetry.log.bind().error("again", **{"document id": SECRET})
    found = lines(stream)
    assert [line["event"] for line in found] == ["opened", "lost", "again"]
    assert found[0]["detail"] == "[withheld: locator, title]"
    assert SECRET not in stream.getvalue()
    assert all(line.keys() <= KEYS for line in found)


def test_every_line_has_a_level_and_a_time_in_utc() -> None:
    before = time.time()
    with logging() as (telemetry, stream):
        telemetry.log.info("one")
        telemetry.request("warning", {"status": 200})
    for line, level in zip(lines(stream), ("info", "warning"), strict=True):
        assert line["level"] == level
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
        stamp = time.strptime(line["timestamp"][:19], "%Y-%m-%dT%H:%M:%S")
        assert abs(time.mktime(stamp) - time.timezone - before) < 5


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "\ud800", "line\nbreak", None, b"\xff", object()])
def test_no_value_breaks_a_line(value: object) -> None:
    with logging() as (telemetry, stream):
        telemetry.log.info("odd", detail=value, source="letters", status=200)
        telemetry.log.info("next")
    first, second = lines(stream)
    assert (first["event"], first["source"], first["status"], second["event"]) == ("odd", "letters", 200, "next")
    assert "object at" not in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "kept"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_the_level_is_the_least_that_is_logged(level: str, kept: int) -> None:
    with logging(level=level) as (telemetry, stream):
        for one in ("debug", "info", "warning", "error"):
            getattr(telemetry.log, one)("by a logger")
            telemetry.request(one, {"status": 200})
    assert [line["level"] for line in lines(stream)] == [
        one for one in ("debug", "info", "warning", "error")[-kept:] for _ in range(2)
    ]


def test_a_terminal_gets_lines_for_people_and_everything_else_json() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, form, is_json in (
        (Terminal(), "auto", False),
        (io.StringIO(), "auto", True),
        (Terminal(), "json", True),
        (io.StringIO(), "console", False),
    ):
        with logging(stream, form=form) as (telemetry, _):
            telemetry.log.info("opened", source="letters", path=SECRET)
            telemetry.request("info", {"status": 200})
        text = stream.getvalue()
        assert (text.startswith("{")) == is_json
        assert "opened" in text
        assert "letters" in text
        assert "request" in text
        assert SECRET not in text


# --- what stands for a document --------------------------------------------------------------------------------------


def test_a_document_is_called_the_same_with_the_same_key_only() -> None:
    with logging(key=b"k1") as (one, _), logging(key=b"k1") as (same, _), logging(key=b"k2") as (other, _):
        assert one.document("letter-1") == same.document("letter-1") != other.document("letter-1")
        assert one.document("letter-1") != one.document("letter-2")
        assert re.fullmatch("[0-9a-f]{16}", one.document("letter-1"))
        assert one.document("\udcff") == one.document("\udcff"), "whatever an address held"


def test_without_a_key_the_names_of_documents_change_with_every_start() -> None:
    with logging(key=None) as (one, _), logging(key=None) as (other, _):
        assert one.document("letter-1") != other.document("letter-1")


def test_a_fault_of_the_gateway_is_told_by_its_place_and_never_in_its_words() -> None:
    with logging() as (telemetry, stream):
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            telemetry.unexpected(error, request_id="abc")
        telemetry.unexpected(ValueError(SECRET))
    first, second = lines(stream)
    assert (first["event"], first["level"], first["error"]) == ("unexpected error", "error", "KeyError")
    assert first["detail"].startswith("test_telemetry.py:")
    assert first["request_id"] == "abc"
    assert second["error"] == "ValueError"
    assert SECRET not in stream.getvalue()


# --- the list of keys ------------------------------------------------------------------------------------------------


def test_every_field_that_the_code_logs_is_listed() -> None:
    """A field that is not would be withheld in production, and nobody would see what was meant."""
    calls = re.compile(r"\b_?log\.(?:debug|info|warning|error|bind)\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
    logged = set()
    for package in ("gateway", "adapters"):
        for path in (PROJECT / package).rglob("*.py"):
            for arguments in calls.findall(path.read_text()):
                logged |= set(re.findall(r"(?:^|,)\s*([a-z_]+)=(?!=)", arguments))
    assert {"source", "error", "endpoint"} <= logged
    assert logged <= KEYS


def test_no_listed_key_can_hold_an_id_or_a_name() -> None:
    assert not KEYS & {"id", "path", "locator", "title", "name", "patient", "query", "url", "file", "target", "headers"}
    assert module.KEYS is KEYS
