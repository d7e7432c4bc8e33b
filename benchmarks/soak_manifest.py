"""A manifest of a million rows: import, memory, look-ups, a reload under readers, and a last row that repeats an id.

Run by `make soak`; `make test` runs it with fewer rows. It prints its figures and fails when one of the limits below is
broken. The limits are for correctness and for the order of magnitude; the figures themselves belong to the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gateway.ids import ManifestError, ManifestIds
from gateway.ids.manifest import ManifestScheme

IMPORT_SECONDS = 30.0
"""On a quiet core of 2020 it is about 5 s; a run beside other work may take several times that."""

MEMORY_MIB = 100.0
"""Above what the process has before the import."""

LATE_MS = 100.0
"""How late the event loop may run at the worst while a reload goes on beside it."""


class Silent:
    """A logger for nobody."""

    def info(self, event: str, **fields: Any) -> None: ...
    def warning(self, event: str, **fields: Any) -> None: ...


def id_of(number: int) -> str:
    """Ids as a keyed hash makes them: in no order."""
    return hashlib.blake2b(b"%d" % number, digest_size=16).hexdigest()


def write(path: Path, rows: int, folder: str, *, last: str = "") -> None:
    """A manifest in which row n leads to `folder`/…/n; `last` is added at the end."""
    with path.open("w") as file:
        file.write("id,path,content_type,title,patient,date,status,site\n")
        file.writelines(
            f"{id_of(n)},{folder}/{n % 100:02d}/{n // 100 % 100:02d}/{n:07d}.tif,image/tiff,Clinic letter {n},"
            f"{9990000000 + n % 100000},2011-0{n % 9 + 1}-1{n % 10},{'withdrawn' if n % 1000 == 7 else 'current'},RXH\n"
            for n in range(rows)
        )
        file.write(last)


def peak_mib() -> float:
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def scheme(path: Path, index: Path | None = None) -> ManifestScheme:
    return ManifestScheme("scans", ManifestIds(scheme="manifest", file=path, index=index), Silent())


async def timed_look_ups(scans: ManifestScheme, rows: int) -> list[float]:
    """Microseconds of look-ups that memory cannot answer, sorted."""
    taken = []
    for number in random.Random(7).sample([n for n in range(rows) if n % 1000 != 7], min(5000, rows // 50)):
        begin = time.perf_counter()
        location = await scans.locate(id_of(number))
        taken.append((time.perf_counter() - begin) * 1e6)
        assert location.locator.endswith(f"/{number:07d}.tif")
    return sorted(taken)


async def lateness(stop: asyncio.Event) -> float:
    """How many milliseconds late the loop woke at the worst."""
    worst = 0.0
    while not stop.is_set():
        begin = time.perf_counter()
        await asyncio.sleep(0.002)
        worst = max(worst, time.perf_counter() - begin - 0.002)
    return worst * 1000


async def read_while_reloading(scans: ManifestScheme, rows: int, stop: asyncio.Event) -> int:
    """Look-ups until told to stop; after the first new answer there must be no old one."""
    seen_new, count = False, 0
    while not stop.is_set():
        number = count * 7919 % rows
        count += 1
        if number % 1000 != 7:
            folder = (await scans.locate(id_of(number))).locator.split("/")[0]
            assert not (seen_new and folder == "old"), "an old row after a new one"
            seen_new = seen_new or folder == "new"
        await asyncio.sleep(0.001)
    return count


async def measure(rows: int, folder: Path) -> None:
    path = folder / "index.csv"
    await asyncio.to_thread(write, path, rows, "old")
    before, begin = peak_mib(), time.perf_counter()
    async with scheme(path) as scans:
        seconds, memory = time.perf_counter() - begin, peak_mib() - before
        print(f"import of {rows} rows ({path.stat().st_size / 1e6:.0f} MB): {seconds:.1f} s, {memory:.0f} MiB more")
        assert scans.rows == rows
        assert seconds < IMPORT_SECONDS
        assert memory < MEMORY_MIB
        taken = await timed_look_ups(scans, rows)
        print(
            f"look-up: median {taken[len(taken) // 2]:.0f} us, 99 of 100 within {taken[len(taken) * 99 // 100]:.0f} us"
        )

        await asyncio.to_thread(write, path, rows, "new")
        stop = asyncio.Event()
        watch = asyncio.ensure_future(lateness(stop))
        readers = [asyncio.ensure_future(read_while_reloading(scans, rows, stop)) for _ in range(4)]
        begin = time.perf_counter()
        assert await scans.refresh()
        seconds = time.perf_counter() - begin
        stop.set()
        late, count = await watch, sum(await asyncio.gather(*readers))
        print(f"reload beside {count} look-ups: {seconds:.1f} s, the loop at most {late:.1f} ms late")
        assert late < LATE_MS
        assert peak_mib() - before < MEMORY_MIB

    kept = folder / "kept.index"
    async with scheme(path, kept):
        pass
    begin = time.perf_counter()
    async with scheme(path, kept) as scans:
        print(f"start with a kept index ({kept.stat().st_size / 1e6:.0f} MB): {time.perf_counter() - begin:.2f} s")

    await asyncio.to_thread(write, path, rows, "new", last=f"{id_of(0)},again.pdf,,,,,,\n")
    refusal = ""
    try:
        async with scheme(path):
            pass
    except ManifestError as error:
        refusal = str(error)
    print(f"refused: {refusal}")
    assert refusal == f"line {rows + 2}: column id repeats the id of line 2"


def main() -> int:
    parser = argparse.ArgumentParser(description="A manifest of a million rows.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fhir-gateway-soak-") as folder:
        asyncio.run(measure(arguments.rows, Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
