"""A race for the root: names in an archive become links to the outside and plain files again, as fast as a process can.

As a program it exchanges the names (renameat2(2) with RENAME_EXCHANGE, so that they are never absent) until its
standard input ends; as a module it reads through them meanwhile and counts what came back. Whoever checks a path first
and opens it then is caught sooner or later: `checked_then_opened` is that, and shows that the race is a real one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.contract import Adapter

INSIDE = b"a letter of this archive"
OUTSIDE = b"a letter of somebody else"

LOCATORS = ("folder/letter.txt", "letter.txt", "deep/er/folder/letter.txt", "odd.txt")
"""Names that lead to `INSIDE`, and every moment elsewhere: through a link in the middle, at the end, to a FIFO."""

_PAIRS = (
    ("root/folder", "spare/link-to-folder"),
    ("root/letter.txt", "spare/link-to-letter"),
    ("root/deep/er/folder", "spare/link-from-deep"),
    ("root/odd.txt", "spare/fifo"),
)


@dataclass(slots=True)
class Tally:
    """What became of the reads: `served` the right letter, `refused` with an error, `leaked` anything else."""

    served: int = 0
    refused: int = 0
    leaked: int = 0
    seconds: float = 0.0

    @property
    def opens(self) -> int:
        return self.served + self.refused + self.leaked

    def count(self, data: bytes) -> None:
        if data == INSIDE:
            self.served += 1
        else:
            self.leaked += 1

    def __str__(self) -> str:
        return (
            f"{self.opens} opens in {self.seconds:.1f} s: {self.served} served, {self.refused} refused, "
            f"{self.leaked} leaked"
        )


def build(base: Path) -> Path:
    """Make the archive and what lies around it below `base`; its root."""
    for folder in ("root/folder", "root/deep/er/folder"):
        (base / folder).mkdir(parents=True)
        (base / folder / "letter.txt").write_bytes(INSIDE)
    for name in ("root/letter.txt", "root/odd.txt"):
        (base / name).write_bytes(INSIDE)
    for folder in ("outside", "spare"):
        (base / folder).mkdir()
    (base / "outside" / "letter.txt").write_bytes(OUTSIDE)
    (base / "spare" / "link-to-folder").symlink_to("../outside")
    (base / "spare" / "link-to-letter").symlink_to("../outside/letter.txt")
    (base / "spare" / "link-from-deep").symlink_to(base / "outside")
    os.mkfifo(base / "spare" / "fifo")
    return base / "root"


@contextlib.contextmanager
def swapping(base: Path) -> Iterator[Path]:
    """The root of an archive below `base` whose names are exchanged while inside."""
    root = build(base)
    swapper = subprocess.Popen(
        [sys.executable, __file__, str(base)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert swapper.stdin is not None
    assert swapper.stdout is not None
    try:
        if swapper.stdout.readline() != "swapping\n":
            raise AssertionError("the names could not be exchanged")
        yield root
    finally:
        swapper.stdin.close()
        swapper.wait(10)
        swapper.stdout.close()


def checked_then_opened(root: Path, seconds: float) -> Tally:
    """The usual wrong way: realpath(), a comparison of prefixes, open(). Stops at the first leak."""
    tally = Tally()
    began = time.monotonic()
    for locator in cycle(LOCATORS[:3]):
        tally.seconds = time.monotonic() - began
        if tally.seconds > seconds or tally.leaked:
            return tally
        try:
            path = os.path.realpath(root / locator)
            if not path.startswith(f"{root}/"):
                tally.refused += 1
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            tally.refused += 1
            continue
        tally.count(os.read(descriptor, 100))
        os.close(descriptor)
    raise AssertionError


async def raced(adapter: Adapter, seconds: float) -> Tally:
    """Read through an adapter over the root."""
    from adapters.errors import Changed, InvalidLocator, NotFound

    tally = Tally()
    began = time.monotonic()
    for locator in cycle(LOCATORS):
        try:
            async with adapter.open(locator) as content:
                tally.count(b"".join([piece async for piece in content.chunks]))
        except (NotFound, InvalidLocator, Changed):
            tally.refused += 1
        tally.seconds = time.monotonic() - began
        if tally.seconds > seconds:
            break
    return tally


def main(base: str) -> None:
    """Exchange the pairs until standard input ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    current, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    pairs = [(os.fsencode(f"{base}/{one}"), os.fsencode(f"{base}/{other}")) for one, other in _PAIRS]

    def exchange_all() -> None:
        for one, other in pairs:
            if libc.renameat2(current, one, current, other, exchange) != 0:
                raise OSError(ctypes.get_errno(), "renameat2")

    exchange_all()
    print("swapping", flush=True)
    os.set_blocking(0, False)
    while True:
        for _ in range(100):
            exchange_all()
        with contextlib.suppress(BlockingIOError):
            if not os.read(0, 1):
                return


if __name__ == "__main__":
    main(sys.argv[1])
