"""What `verify` makes of a trail that was cut, changed, or left by a crash: it says so, and only then."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from gateway.audit import chain, record
from gateway.audit.chain import Checkpoint
from gateway.audit.keys import AuditKeys
from gateway.audit.segments import Reading, Segment, listed
from gateway.audit.verifying import verify
from gateway.audit.writing import Entry, Limits
from tests.support.audit import KEYS, act, crashed, found, judged, writing, written


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def only(directory: Path) -> Path:
    (segment,) = listed(directory)
    return segment.path(directory)


def breaks(directory: Path, **options: object) -> list[str]:
    verdict = judged(directory, **options)
    return [*verdict.breaks, *(text for one in verdict.segments for text in one.breaks)]


def test_a_trail_that_was_closed_is_whole_and_vouched_for(directory: Path) -> None:
    written(directory, 20)
    verdict = judged(directory)
    (one,) = verdict.segments
    assert verdict.whole
    assert (one.state, one.records, one.vouched) == ("closed", 43, 40)
    assert "closed" in found(directory)[-1].event


@pytest.mark.parametrize("at", [0, 1, 7, 20, 41, 42])
def test_any_changed_byte_is_found_and_where(directory: Path, at: int) -> None:
    written(directory, 20)
    path = only(directory)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    begin = sum(map(len, lines[:at]))
    for offset in range(begin, begin + len(lines[at]), 13):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        said = breaks(directory)
        assert said, f"byte {offset} was changed unnoticed"
        assert f"record {at}" in said[0] or f"byte {begin}" in said[0]


@pytest.mark.requirement("AU-11")
@pytest.mark.parametrize("change", ["drop", "double", "swap", "insert"])
def test_records_taken_out_put_in_or_moved_are_found(directory: Path, change: str) -> None:
    written(directory, 20)
    path = only(directory)
    lines = path.read_bytes().splitlines(keepends=True)
    match change:
        case "drop":
            del lines[10]
        case "double":
            lines.insert(10, lines[10])
        case "swap":
            lines[10], lines[11] = lines[11], lines[10]
        case "insert":
            lines.insert(10, b'{"n":10,"event":"completed","hash":"' + b"0" * 64 + b'"}\n')
    path.write_bytes(b"".join(lines))
    assert "record 10" in breaks(directory)[0] or "record 11" in breaks(directory)[0]


def test_a_chain_written_anew_without_the_key_is_found_by_its_checkpoint(directory: Path) -> None:
    """Whoever can write the file can make a chain that holds, but not the signature over it."""
    written(directory, 5)
    path = only(directory)
    previous = chain.beginning(path.stem)
    lines = []
    for number, text in enumerate(path.read_bytes().splitlines()):
        body = text.partition(b",")[2][: -len(b',"hash":""}') - 64].replace(b"request-3", b"request-4")
        line, previous = chain.written(number, body, previous)
        lines.append(line)
    path.write_bytes(b"".join(lines))
    assert breaks(directory) == ["the checkpoint in record 11 vouches for something else than what stands before it"]
    stranger = AuditKeys(b"x" * 32)
    assert "was not signed with the key of this trail" in " ".join(
        text for one in verify(directory, stranger.public).segments for text in one.breaks
    )


# --- crashes ---------------------------------------------------------------------------------------------------------


def test_cut_at_every_byte_of_its_last_records_a_crash_leaves_a_whole_trail(directory: Path) -> None:
    """A power cut leaves some beginning of the file: a torn last line is no break, and nothing before it is lost."""
    path = crashed(directory, range(6))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    begin = sum(map(len, lines[:-3]))
    for size in range(begin, len(whole) + 1):
        path.write_bytes(whole[:size])
        verdict = judged(directory)
        (one,) = verdict.segments
        complete = whole[:size].count(b"\n")
        assert verdict.whole, f"{size} bytes: {one.breaks}"
        assert (one.records, one.state) == (complete, "ended")
        assert one.torn == size - sum(map(len, lines[:complete]))


def test_a_torn_line_with_more_behind_it_is_a_break(directory: Path) -> None:
    path = crashed(directory, range(6))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[-2] = lines[-2][:-20] + b"\n"
    path.write_bytes(b"".join(lines))
    assert "record 11" in breaks(directory)[0]


def test_the_next_process_tells_what_a_crash_left_and_then_it_cannot_be_cut_any_more(directory: Path) -> None:
    path = crashed(directory, range(3), open_act=3)
    with path.open("ab") as file:
        file.write(b'{"n":8,"event":"comp')
    written(directory, 1)
    assert judged(directory).whole
    (unknown,) = found(directory, "unknown")
    assert unknown.fields["act"] == "act-3"
    (recovered,) = found(directory, "recovered")
    assert (recovered.fields["last"], recovered.fields["torn"], recovered.fields["unknown"]) == (7, 20, 1)
    whole = path.read_bytes()
    for size in (whole.rindex(b"\n") - 5, len(b"".join(whole.splitlines(keepends=True)[:6])), 0):
        path.write_bytes(whole[:size])
        assert "it ended with record 7 when the next process began" in breaks(directory)[0]


def test_what_a_crash_left_is_told_once(directory: Path) -> None:
    crashed(directory, range(3), open_act=3)
    for _ in range(3):
        written(directory, 1)
    assert len(found(directory, "unknown")) == len(found(directory, "recovered")) == 1


def test_a_process_that_was_killed_while_it_told_is_told_for_by_the_next(directory: Path) -> None:
    crashed(directory, range(3), open_act=3)
    written(directory, 0)
    second = listed(directory)[-1].path(directory)
    lines = second.read_bytes().splitlines(keepends=True)
    assert b'"unknown"' in lines[1]
    second.write_bytes(b"".join(lines[:2]))
    written(directory, 1)
    assert judged(directory).whole
    assert {one.fields["segment"] for one in found(directory, "recovered")} == {
        segment.name for segment in listed(directory)[:2]
    }
    assert {one.fields["act"] for one in found(directory, "unknown")} == {"act-3"}


def test_a_process_that_was_killed_while_it_changed_files_left_two_and_nothing_is_told_twice(directory: Path) -> None:
    """The new file repeats what was under way before the old one is closed; one act ended there, one did not."""
    limits = Limits(rotate_bytes=4096, checkpoint=3600)
    with writing(directory, limits=limits) as (writer, waiting):
        for number in range(30):
            writer.put(Entry(act(number), waiter=number, begins=f"act-{number}"))
            waiting.until(lambda now, number=number: number in now.told)
        writer.put(Entry(act(3, "completed"), waiter=100, ends="act-3"))
        waiting.until(lambda now: 100 in now.told)
    first, second = (segment.path(directory) for segment in listed(directory)[:2])
    assert b'"act":"act-3"' in first.read_bytes()
    assert b'"closed"' in first.read_bytes()
    for segment in listed(directory)[2:]:
        segment.path(directory).unlink()
    for path in (first, second):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if b'"closed"' not in line and b'"checkpoint"' not in line))
    written(directory, 0)
    assert judged(directory).whole, breaks(directory)
    told = [one.fields["act"] for one in found(directory, "unknown")]
    assert len(told) == len(set(told)) > 10
    assert b'"completed"' in second.read_bytes()
    assert "act-3" not in told, "it ended in the file after the one in which it began"


def test_a_file_that_was_broken_before_the_next_process_began_stays_broken(directory: Path) -> None:
    path = crashed(directory, range(6))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    written(directory, 1)
    assert any("it was broken already when the next process began" in text for text in breaks(directory))


def test_an_empty_file_of_a_killed_process_is_no_break(directory: Path) -> None:
    written(directory, 1)
    (directory / "00000002-0123abcd.jsonl").write_bytes(b"")
    written(directory, 1)
    assert judged(directory).whole


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_missed_wherever_it_stood(directory: Path, tmp_path: Path) -> None:
    for _ in range(4):
        written(directory, 2)
    segments = listed(directory)
    for segment in segments[:-1]:
        path, aside = segment.path(directory), tmp_path / "aside"
        shutil.move(path, aside)
        assert f"file {segment.number:08d} is missing" in breaks(directory)
        shutil.move(aside, path)
    assert breaks(directory) == []


def test_the_newest_file_is_missed_by_a_checkpoint_kept_elsewhere(directory: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "checkpoints"
    for _ in range(2):
        written(directory, 2, checkpoints=elsewhere)
    known = [Checkpoint.parsed(line) for line in elsewhere.read_bytes().splitlines()]
    assert breaks(directory, checkpoints=known) == []
    newest = listed(directory)[-1]
    newest.path(directory).unlink()
    assert breaks(directory) == [], "nothing here can tell"
    assert f"the file {newest.name}, which a checkpoint kept elsewhere vouches for, is missing" in breaks(
        directory, checkpoints=known
    )


def test_a_cut_behind_a_checkpoint_kept_elsewhere_is_found(directory: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "checkpoints"
    written(directory, 5, checkpoints=elsewhere)
    known = [Checkpoint.parsed(line) for line in elsewhere.read_bytes().splitlines()]
    path = only(directory)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:8]))
    assert breaks(directory) == [], "it looks like a crash"
    assert "record 10, which a checkpoint kept elsewhere vouches for, is missing" in breaks(
        directory, checkpoints=known
    )


def test_a_forged_checkpoint_is_no_checkpoint(directory: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "checkpoints"
    written(directory, 5, checkpoints=elsewhere)
    genuine = json.loads(elsewhere.read_bytes().splitlines()[0])
    forged = Checkpoint(**genuine | {"last": 4})
    assert "was not signed with the key of this trail" in breaks(directory, checkpoints=[forged])[0]


def test_the_end_of_an_older_file_cannot_be_cut_off_as_if_a_crash_had_done_it(directory: Path) -> None:
    """The file after it was begun when this one was closed, and nobody found it otherwise."""
    written(directory, 5)
    written(directory, 5)
    path = listed(directory)[0].path(directory)
    whole = path.read_bytes().splitlines(keepends=True)
    for kept in (len(whole) - 1, len(whole) - 2, 3):
        path.write_bytes(b"".join(whole[:kept]))
        assert "its end was cut off: it is not closed, and no later process found it so" in breaks(directory)


def test_a_file_under_another_name_or_in_front_of_others_is_found(directory: Path) -> None:
    written(directory, 2)
    written(directory, 2)
    first = listed(directory)[0]
    os.rename(first.path(directory), directory / "00000001-00000000.jsonl")
    assert breaks(directory)


def test_a_directory_without_files_is_not_a_whole_trail(directory: Path) -> None:
    directory.mkdir()
    assert breaks(directory) == ["there are no files"]


def test_what_is_appended_behind_the_end_is_found(directory: Path) -> None:
    written(directory, 2)
    with only(directory).open("ab") as file:
        file.write(b"one more")
    assert "8 bytes stand behind the record that closes the file" in breaks(directory)


def test_files_beside_each_other_of_which_one_process_was_killed_are_whole(directory: Path) -> None:
    """The other process goes on; nobody has begun a file since who could have told."""
    with writing(directory) as (first, waiting):
        first.put(Entry(act(1), waiter=1, begins="act-1"))
        waiting.until(lambda now: 1 in now.told)
        with writing(directory) as (second, beside):
            second.put(Entry(act(2), waiter=2))
            beside.until(lambda now: 2 in now.told)
            copy = directory.with_name("copy")
            shutil.copytree(directory, copy)
            assert [one.state for one in judged(directory).segments] == ["live", "live"]
            assert judged(directory).whole
            assert judged(copy).whole, "a copy has no locks: both look killed"


# --- retention -------------------------------------------------------------------------------------------------------


def test_what_retention_removed_is_not_missing_and_what_else_is_removed_is(directory: Path) -> None:
    for _ in range(4):
        written(directory, 2)
    old = listed(directory)
    for segment in old[:3]:
        os.utime(segment.path(directory), (1, 1))
    limits = Limits(checkpoint=0.05, retention=3600)
    with writing(directory, limits=limits):
        deadline = time.monotonic() + 10
        while len(listed(directory)) > 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    verdict = judged(directory)
    assert verdict.whole, breaks(directory)
    assert (verdict.removed, [one.number for one in listed(directory)]) == (3, [4, 5])
    listed(directory)[0].path(directory).unlink()
    assert "file 00000004 is missing" in breaks(directory)


def test_what_was_not_delivered_is_kept(directory: Path) -> None:
    written(directory, 2)
    os.utime(listed(directory)[0].path(directory), (1, 1))
    with writing(directory, limits=Limits(checkpoint=0.05, retention=3600), delivered=lambda _one: False) as (
        writer,
        told,
    ):
        writer.put(Entry(act(1), waiter=1))
        told.until(lambda now: 1 in now.told)
    assert len(listed(directory)) == 2


def test_the_key_that_verifies_is_public(directory: Path) -> None:
    written(directory, 1)
    assert len(KEYS.public) == 32
    assert found(directory, "opened")[0].fields["public"] == KEYS.public.hex()


# --- somebody who can write the files and has no key -----------------------------------------------------------------


def anew(path: Path, lines: Iterable[bytes]) -> None:
    """Write the file with these records, chained as they must be: that needs no secret."""
    previous, written_anew = chain.beginning(path.stem), []
    for number, text in enumerate(lines):
        body = text.strip().partition(b",")[2][: -len(b',"hash":""}') - 64]
        line, previous = chain.written(number, body, previous)
        written_anew.append(line)
    path.write_bytes(b"".join(written_anew))


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.attack("Records taken out of the audit trail, the chain written anew and its signatures left out", "found")
def test_a_closed_file_without_a_signature_over_its_end_is_found(directory: Path) -> None:
    written(directory, 9)
    written(directory, 1)
    path = listed(directory)[0].path(directory)
    kept = [line for line in lines_of(path) if b'"checkpoint"' not in line and b'"act-4"' not in line]
    anew(path, kept)
    assert breaks(directory) == ["it was closed, and no signed checkpoint says how it ended"]


@pytest.mark.attack(
    "The end of an old audit file cut off, and the gateway started again, which tells of a crash", "found"
)
def test_a_file_that_was_closed_cannot_be_cut_by_letting_the_next_start_tell_of_a_crash(directory: Path) -> None:
    for _ in range(3):
        written(directory, 5)
    first = listed(directory)[0].path(directory)
    first.write_bytes(b"".join(lines_of(first)[:4]))
    written(directory, 1)
    assert len(found(directory, "recovered")) == 1, "the gateway cannot know better"
    second = listed(directory)[1].name
    assert breaks(directory) == [f"its end was cut off: the file {second}, begun after it, found it closed"]


@pytest.mark.attack("An audit file deleted, and a forged one that says that its time had come", "found")
@pytest.mark.parametrize("restarted", [False, True])
def test_a_forged_file_excuses_no_missing_one(directory: Path, restarted: bool) -> None:
    for _ in range(3):
        written(directory, 5)
    first, _, third = listed(directory)
    removed = record.own("removed", segment=first.name, **removal(directory, first))
    opening = {
        "segment": "00000004-0badf00d",
        "previous": head_of(directory, third),
        "beside": [],
        "public": "",
        "pid": 1,
    }
    forged = directory / "00000004-0badf00d.jsonl"
    line, digest = chain.written(0, record.own("opened", **opening), chain.beginning(forged.stem))
    forged.write_bytes(line + chain.written(1, removed, digest)[0])
    first.path(directory).unlink()
    if restarted:
        written(directory, 1)
    assert "file 00000001 is missing" in breaks(directory)


@pytest.mark.attack("A forged file put in between two files of the audit trail", "found")
def test_a_file_that_was_put_in_between_is_found(directory: Path) -> None:
    for _ in range(2):
        written(directory, 3)
    first, _ = listed(directory)
    forged = directory / "00000001-ffffffff.jsonl"
    opening = {"segment": forged.stem, "previous": head_of(directory, first), "beside": [], "public": "", "pid": 1}
    line, digest = chain.written(0, record.own("opened", **opening), chain.beginning(forged.stem))
    forged.write_bytes(line + chain.written(1, act(7), digest)[0])
    said = breaks(directory)
    assert any(text.startswith(f"the file before it, {forged.stem}, is not the one that was there") for text in said)


def head_of(directory: Path, segment: Segment) -> dict[str, str]:
    line = next(iter(Reading(directory, segment).lines()))
    return {"segment": segment.name, "hash": line.digest.hex()}


def removal(directory: Path, segment: Segment) -> dict[str, Any]:
    reading = Reading(directory, segment)
    (first, *_) = list(reading.lines())
    return {"first": first.digest.hex(), "last": reading.number - 1, "head": reading.head}


def test_what_retention_removes_is_signed_before_it_is_gone(directory: Path) -> None:
    written(directory, 2)
    old = listed(directory)[0].path(directory)
    os.utime(old, (time.time() - 1000, time.time() - 1000))
    with writing(directory, limits=Limits(checkpoint=0.05, retention=500)):
        for _ in range(200):
            if not old.exists():
                break
            time.sleep(0.02)
        (path,) = [segment.path(directory) for segment in listed(directory)]
        lines = path.read_bytes().splitlines()
        at = next(number for number, line in enumerate(lines) if b'"removed"' in line)
        assert b'"checkpoint"' in lines[at + 1]
    assert judged(directory).whole
