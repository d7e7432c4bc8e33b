"""Disks that fail under a running gateway: full ones, and a cache directory that somebody else writes to. No reader notices."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.cached_gateway import Place, keeping, read
from tests.support.gateway import Gateway, serving
from tests.support.process import require

SIZES = {"small": 3_000, "middling": 400_000, "large": 3_000_000}
DOCUMENTS = {name: random.Random(name).randbytes(size) for name, size in SIZES.items()}

HALF_FULL = 200_000
"""Bytes that fit into a file on a disk that is full: smaller documents, and parts of the others."""


@contextmanager
def front(place: Place, *, before: tuple[str, ...] = (), spool: dict[str, Any] | None = None) -> Iterator[Gateway]:
    archive = place.folder / "archive"
    archive.mkdir(exist_ok=True)
    for name, data in DOCUMENTS.items():
        (archive / f"{name}.bin").write_bytes(data)
    source = {
        "adapter": "filesystem",
        "read": "fill",
        "ids": {"scheme": "template", "pattern": "{id}.bin"},
        "options": {"root": str(archive)},
    }
    configuration = {
        "cache": place.cache(),
        "admin": {"port": place.admin},
        "spool": {"memory": "64KiB", **(spool or {})},
        "sources": {"letters": source},
    }
    with serving(configuration, place.folder / "run", before=before) as gateway:
        yield gateway


def all_right(gateway: Gateway) -> None:
    for name, data in DOCUMENTS.items():
        answer = read(gateway.url, name)
        assert (answer.status, answer.body == data) == (200, True), name
        part = read(gateway.url, name, Range=f"bytes=1000-{len(data) - 1}")
        assert (part.status, part.body == data[1000:]) == (206, True), name


def state(place: Place) -> Any:
    return json.loads(place.command("cache", "stat", "--json", config=place.folder / "run" / "gateway.yaml").stdout)


@pytest.mark.parametrize("encrypted", [True, False], ids=["sealed", "plain"])
def test_a_full_disk_costs_copies_and_no_reader_notices(tmp_path: Path, encrypted: bool) -> None:
    """Whatever is written ends at a limit: what a read is spooled to, and what is stored."""
    with keeping("disk", tmp_path) as place:
        if not encrypted:
            place.more["encryption"] = {"mode": "none"}
        (tmp_path / "spool").mkdir()
        full = (require("prlimit"), f"--fsize={HALF_FULL}", "--")
        with front(place, before=full, spool={"directory": str(tmp_path / "spool")}) as gateway:
            for _ in range(3):
                all_right(gateway)
                time.sleep(0.2)
            said = state(place)
            assert said["entries"] == 1, "only the small one fits"
            assert list((tmp_path / "spool").iterdir()) == []
            assert not any((tmp_path / "cache" / ".incoming").iterdir())


def test_a_spool_that_is_not_full_and_a_cache_that_is(tmp_path: Path) -> None:
    with keeping("disk", tmp_path) as place:
        full = (require("prlimit"), f"--fsize={HALF_FULL}", "--")
        with front(place, before=full, spool={"memory": "8MiB"}) as gateway:
            for _ in range(3):
                all_right(gateway)
                time.sleep(0.2)
            said = state(place)
            assert said["entries"] == 1
            assert said["since_start"]["faults"].get("EFBIG"), said


def entries(place: Place) -> list[Path]:
    return [path for path in (place.folder / "cache" / "letters").rglob("*") if path.is_file() and not path.suffix]


def kept(place: Place, gateway: Gateway) -> list[Path]:
    for _ in range(100):
        all_right(gateway)
        if len(found := entries(place)) == len(DOCUMENTS):
            return found
        time.sleep(0.05)
    raise AssertionError(f"not all is kept: {state(place)}")


def flipped(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(3):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)


def cut(path: Path, dice: random.Random) -> None:
    os.truncate(path, dice.randrange(path.stat().st_size))


def lengthened(path: Path, dice: random.Random) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def foreign(path: Path, dice: random.Random) -> None:
    path.write_bytes(dice.randbytes(dice.randrange(5000)))


def exchanged(path: Path, dice: random.Random) -> None:
    others = [one for one in path.parents[1].rglob("*") if one.is_file() and one != path]
    path.write_bytes(dice.choice(others).read_bytes())


def removed(path: Path, dice: random.Random) -> None:
    path.unlink()


def replaced_by_a_folder(path: Path, dice: random.Random) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("encrypted", [True, False], ids=["sealed", "plain"])
def test_a_directory_that_somebody_else_writes_to(tmp_path: Path, encrypted: bool) -> None:
    """One kind of damage after the other, under the same process."""
    dice = random.Random(3)
    with keeping("disk", tmp_path) as place:
        if not encrypted:
            place.more["encryption"] = {"mode": "none"}
        with front(place) as gateway:
            for spoil in (flipped, cut, lengthened, foreign, exchanged, removed, flipped, cut, replaced_by_a_folder):
                for path in kept(place, gateway):
                    # The gateway itself may have found the damage of before only now, and taken the file away.
                    with suppress(FileNotFoundError):
                        spoil(path, dice)
                (tmp_path / "cache" / "letters" / "notes.txt").write_text("not ours")
                all_right(gateway)
            assert state(place)["since_start"]["damaged"] > 5
