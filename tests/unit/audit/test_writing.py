"""The thread that writes: many for one fsync, rotation, and what is claimed when the disk refuses."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.audit import appending
from gateway.audit.segments import alive, listed
from gateway.audit.writing import MOST_KEPT, Entry, Limits
from tests.support.audit import NEVER, Waiting, act, found, judged, writing, written


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


class Disk:
    """Stands before `fdatasync` and `write` of the trail: counts, refuses, hangs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncs = 0
        self.refuses_sync = self.refuses_write = False
        self.gate = threading.Event()
        self.gate.set()
        self._sync, self._write = os.fdatasync, os.write
        monkeypatch.setattr(appending.os, "fdatasync", self.fdatasync)
        monkeypatch.setattr(appending.os, "write", self.write)

    def fdatasync(self, descriptor: int) -> None:
        self.gate.wait()
        if self.refuses_sync:
            raise OSError(errno.EIO, "Input/output error")
        self.syncs += 1
        self._sync(descriptor)

    def write(self, descriptor: int, data: Any) -> int:
        if self.refuses_write:
            # What a full disk does: some of it fits.
            self._write(descriptor, bytes(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._write(descriptor, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_many_who_wait_share_one_fsync(directory: Path, disk: Disk) -> None:
    with writing(directory) as (writer, waiting):
        disk.gate.clear()
        writer.put(Entry(act(0), waiter=0))
        time.sleep(0.05)
        before = disk.syncs
        for number in range(1, 65):
            writer.put(Entry(act(number), waiter=number))
        disk.gate.set()
        waiting.until(lambda now: len(now.told) == 65)
        assert disk.syncs - before == 2, "the one that hung, and one for the other sixty-four"
    assert [one.fields["act"] for one in found(directory, "intended")] == [f"act-{number}" for number in range(65)]


def test_nobody_is_told_before_it_is_durable(directory: Path, disk: Disk) -> None:
    with writing(directory) as (writer, waiting):
        disk.gate.clear()
        writer.put(Entry(act(1), waiter=1))
        time.sleep(0.1)
        assert waiting.told == {}
        disk.gate.set()
        waiting.until(lambda now: now.told == {1: None})


def test_files_are_for_their_owner_alone(directory: Path) -> None:
    previous = os.umask(0)
    try:
        written(directory, 1)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_a_file_is_locked_while_its_process_writes_it(directory: Path) -> None:
    with writing(directory):
        (segment,) = listed(directory)
        assert alive(directory, segment)
    assert not alive(directory, segment)


def test_files_are_changed_by_size_and_what_is_under_way_is_repeated(directory: Path) -> None:
    limits = Limits(rotate_bytes=4096, checkpoint=3600)
    with writing(directory, limits=limits) as (writer, waiting):
        writer.put(Entry(act(1000), waiter=1000, begins="act-1000"))
        for number in range(100):
            writer.put(Entry(act(number), waiter=number, begins=f"act-{number}"))
            waiting.until(lambda now, number=number: number in now.told)
            writer.put(Entry(act(number, "completed"), ends=f"act-{number}"))
    segments = listed(directory)
    assert len(segments) > 3
    assert judged(directory).whole
    for segment in segments:
        assert b'"act":"act-1000"' in segment.path(directory).read_bytes(), "each file can be understood alone"
    assert {one.fields["act"] for one in found(directory, "completed")} == {f"act-{number}" for number in range(100)}
    assert all(segment.path(directory).stat().st_size < 3 * 4096 for segment in segments)


def test_checkpoints_come_while_nothing_else_does_and_none_without_news(directory: Path) -> None:
    with writing(directory, limits=Limits(checkpoint=0.05)) as (writer, waiting):
        writer.put(Entry(act(1), waiter=1))
        waiting.until(lambda now: 1 in now.told)
        time.sleep(0.5)
        assert 1 <= len(found(directory, "checkpoint")) <= 2


# --- the disk refuses ------------------------------------------------------------------------------------------------


def test_a_full_disk_is_told_of_nothing_of_it_counts_and_the_chain_goes_on(directory: Path, disk: Disk) -> None:
    with writing(directory) as (writer, waiting):
        writer.put(Entry(act(1), waiter=1, keep=False, begins="act-1"))
        waiting.until(lambda now: 1 in now.told)
        disk.refuses_write = True
        writer.put(Entry(act(2), waiter=2, keep=False, begins="act-2"))
        writer.put(Entry(act(1, "completed"), ends="act-1"))
        waiting.until(lambda now: 2 in now.told)
        assert isinstance(waiting.told[2], OSError)
        assert waiting.reports[0][0] == "trail"
        assert judged(directory).whole, "half a batch was written, and taken back"
        assert [one.event for one in found(directory)] == ["opened", "intended"]
        disk.refuses_write = False
        waiting.until(lambda now: now.reports[-1] == ("trail", None))
        assert [one.event for one in found(directory)] == ["opened", "intended", "completed"]
    assert judged(directory).whole
    assert len(listed(directory)) == 1, "the same file goes on"


def test_after_a_failed_fsync_the_chain_goes_on_in_a_new_file(directory: Path, disk: Disk) -> None:
    with writing(directory) as (writer, waiting):
        writer.put(Entry(act(1), waiter=1, begins="act-1"))
        waiting.until(lambda now: 1 in now.told)
        disk.refuses_sync = True
        writer.put(Entry(act(2), waiter=2, keep=False, begins="act-2"))
        waiting.until(lambda now: 2 in now.told)
        time.sleep(0.3)
        assert len(listed(directory)) == 1, "a disk that goes on refusing does not fill with files"
        disk.refuses_sync = False
        writer.put(Entry(act(1, "completed"), waiter=3, ends="act-1"))
        waiting.until(lambda now: now.told.get(3, 0) is None)
    verdict = judged(directory)
    assert verdict.whole, verdict
    assert len(verdict.segments) == 2
    assert {one.fields["act"] for one in found(directory, "unknown")} <= {"act-2"}, "what goes on is not given up"


def test_what_cannot_even_be_kept_is_counted_in_the_trail_itself(
    directory: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.audit.writing.MOST_KEPT", 10)
    with writing(directory) as (writer, waiting):
        disk.refuses_write = True
        writer.put(Entry(act(0), waiter=0))
        waiting.until(lambda now: 0 in now.told)
        for number in range(1, 31):
            writer.put(Entry(act(number), waiter=number))
            time.sleep(0.002)
        time.sleep(0.2)
        assert writer.lost == 21
        disk.refuses_write = False
        waiting.until(lambda now: now.reports[-1] == ("trail", None))
        assert writer.lost == 0
    assert [one.fields["lost"] for one in found(directory, "gap")] == [21]
    assert len(found(directory, "intended")) == 10
    verdict = judged(directory)
    assert not verdict.whole, "nothing was changed, and yet it is not complete"
    assert "21 records before record" in verdict.gaps[0]


def test_what_waits_is_bounded(directory: Path, disk: Disk) -> None:
    with writing(directory) as (writer, waiting):
        disk.gate.clear()
        for number in range(MOST_KEPT + 600):
            writer.put(Entry(act(0), waiter=number))
        assert writer.state()["waiting"] <= MOST_KEPT
        assert writer.lost > 0
        disk.gate.set()
        waiting.until(lambda now: len(now.told) >= MOST_KEPT)


def test_with_little_room_nothing_new_is_begun_and_what_runs_can_still_end(directory: Path) -> None:
    limits = Limits(min_free=1 << 62, checkpoint=3600)
    with writing(directory, limits=limits) as (writer, waiting):
        writer.put(Entry(act(1), waiter=1, keep=False, begins="act-1"))
        writer.put(Entry(act(2, "completed"), ends="act-2"))
        waiting.until(lambda now: 1 in now.told)
        assert "min_free" in str(waiting.told[1])
    assert [one.event for one in found(directory, "intended", "completed")] == ["completed"]


def test_checkpoints_that_cannot_be_kept_elsewhere_are_told_of_and_hold_up_nothing(directory: Path) -> None:
    limits = Limits(checkpoint=0.05)
    with writing(directory, limits=limits, checkpoints=directory / "no" / "such" / "file") as (writer, waiting):
        writer.put(Entry(act(1), waiter=1))
        waiting.until(lambda now: "checkpoints" in [what for what, _ in now.reports])
        writer.put(Entry(act(2), waiter=2))
        waiting.until(lambda now: now.told.get(2, 0) is None)


def test_closing_does_not_wait_for_ever_for_a_disk_that_hangs(directory: Path, disk: Disk) -> None:
    waiting = Waiting()
    with writing(directory, waiting, limits=NEVER) as (writer, _):
        disk.gate.clear()
        writer.put(Entry(act(1), waiter=1))
        began = time.monotonic()
        assert not writer.close(timeout=0.2)
        assert time.monotonic() - began < 2
        disk.gate.set()
