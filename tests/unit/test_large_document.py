"""The large document of the sample archive: exact in size, the same everywhere, quick, frugal, and a real TIFF."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageSequence

from gateway.demo import LARGE_DOCUMENT
from gateway.demo.large import DEFAULT_SIZE, write_large

ROOT = Path(__file__).parents[2]


@pytest.fixture
def memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def sizes_of_pages(path: Path) -> list[tuple[int, int]]:
    with Image.open(path) as scan:
        return [page.size for page in ImageSequence.Iterator(scan) if page.load() is not None]


def test_the_large_document_is_made_quickly_and_opens(tmp_path: Path) -> None:
    path = tmp_path / LARGE_DOCUMENT
    begin = time.process_time()
    write_large(path)
    assert time.process_time() - begin < 2
    assert path.stat().st_size == DEFAULT_SIZE == 64 * 1024 * 1024
    pages = sizes_of_pages(path)
    assert len(pages) == 18
    assert set(pages[:-1]) == {(1654, 2340)}
    pixels = sum(width * height for width, height in pages)
    assert DEFAULT_SIZE - pixels < 30_000  # nearly all of the file is picture
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_large_document_is_made_in_little_memory(tmp_path: Path, memory: None) -> None:
    write_large(tmp_path / "large.tif", size=16 << 20)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20


@pytest.mark.parametrize("size", [2408, 65_000, 1_000_001, 3_870_360 + 786, 5_000_000])
def test_any_size_is_met_exactly_and_opens(tmp_path: Path, size: int) -> None:
    path = tmp_path / "large.tif"
    write_large(path, size=size)
    assert path.stat().st_size == size
    assert sizes_of_pages(path)


def test_the_large_document_has_the_same_bytes_everywhere(tmp_path: Path) -> None:
    write_large(tmp_path / "large.tif", size=5_000_000)
    digest = hashlib.sha256((tmp_path / "large.tif").read_bytes()).hexdigest()
    assert digest == "ea739773aa4dcb7b7e40129ffb362aba87e47264caf10948764444684ca1c9cd"


def test_pages_of_the_large_document_differ(tmp_path: Path) -> None:
    write_large(tmp_path / "large.tif", size=9_000_000)
    with Image.open(tmp_path / "large.tif") as scan:
        pages = {page.tobytes()[:1_000_000] for page in ImageSequence.Iterator(scan)}
    assert len(pages) == 3


def test_progress_is_told_up_to_the_end(tmp_path: Path) -> None:
    told: list[int] = []
    write_large(tmp_path / "large.tif", size=5_000_000, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 5_000_000
    assert len(told) > 50


def test_an_interrupted_set_up_leaves_no_half_document(tmp_path: Path) -> None:
    def interrupt(written: int) -> None:
        if written > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_large(tmp_path / "large.tif", size=5_000_000, progress=interrupt)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [-1, 0, 2407 - 700, 1 << 32])
def test_an_impossible_size_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(ValueError, match="large document"):
        write_large(tmp_path / "large.tif", size=size)
    assert not list(tmp_path.iterdir())


def test_set_up_needs_only_the_standard_library() -> None:
    script = (
        "import sys; before = set(sys.modules)\n"
        "import gateway.demo.large\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['gateway']"
