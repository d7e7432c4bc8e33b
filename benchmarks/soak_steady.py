"""Half of what the gateway can do, for an hour: `python -m benchmarks.soak_steady`.

The whole stack (signed tokens, durable audit, a cache in memory that is too small for its documents) first shows how much of a
processor a request takes; then as many requests a second as take half of one are sent at their times, whatever became of those
before: whole documents of 10 KiB to 4 MiB, FHIR JSON and XML, ranges, HEAD, 304 and ids that do not exist. Every answer is
compared with the document. Prints memory, threads, descriptors and waiting times minute by minute, and what the last third has
over the second: the first third fills caches and pools. Exit status 1 when an answer was wrong or one of `LIMITS` is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from benchmarks.machine import memory
from benchmarks.rig import KIB, MIB, Contender, Rig
from benchmarks.security import tokens

SIZES = {"a": 10 * KIB, "b": 60 * KIB, "c": 300 * KIB, "d": 4 * MIB}
SHARES = {"a": 900, "b": 80, "c": 18, "d": 2}
"""How often each size is asked for, of a thousand times."""

LIMITS = {"memory_mib": 16.0, "threads": 2, "descriptors": 8, "median": 1.5}
"""What the last third may have over the second: MiB and numbers more, and the median wait as a ratio."""

PLACES = 40
"""Documents of each size; those in the cache do not fit into it at once."""


@dataclass
class Minute:
    """What was seen in one interval. Times in milliseconds."""

    waits: list[float] = field(default_factory=list)
    late: int = 0
    memory_mib: float = 0
    threads: int = 0
    descriptors: int = 0

    def __str__(self) -> str:
        ordered = sorted(self.waits)
        p99 = ordered[len(ordered) * 99 // 100]
        return (
            f"{len(ordered):7d} answers, median {statistics.median(ordered):6.1f} ms, 99 of 100 within {p99:6.1f} ms, "
            f"{self.memory_mib:6.1f} MiB, {self.threads} threads, {self.descriptors} descriptors, {self.late} not sent in time"
        )


@dataclass(frozen=True)
class Load:
    """The requests: which there are, and what each has to be answered with."""

    url: str
    authorization: str
    documents: Mapping[str, bytes]
    chance: random.Random

    async def one(self, session: aiohttp.ClientSession) -> None:
        """One request of the mix. Raises `ValueError` when its answer is not the one it has to be."""
        (size,) = self.chance.choices([*SHARES], [*SHARES.values()])
        id = f"{self.chance.choice(('', 'k.'))}{size}{self.chance.randrange(PLACES)}"
        kind = self.chance.choices(
            ("whole", "json", "xml", "range", "head", "again", "unknown"), (60, 8, 4, 8, 8, 8, 4)
        )[0]
        data = self.documents[id.removeprefix("k.")]
        await getattr(self, f"_{kind}")(session, f"{self.url}/R4/Binary/{id}", data)

    async def _whole(self, session: aiohttp.ClientSession, url: str, data: bytes) -> None:
        async with session.get(url) as answer:
            _check(answer.status == 200 and await answer.read() == data, answer)

    async def _json(self, session: aiohttp.ClientSession, url: str, data: bytes) -> None:
        async with session.get(url, headers={"Accept": "application/fhir+json"}) as answer:
            _check(base64.b64decode(json.loads(await answer.read())["data"]) == data, answer)

    async def _xml(self, session: aiohttp.ClientSession, url: str, data: bytes) -> None:
        async with session.get(url, headers={"Accept": "application/fhir+xml"}) as answer:
            _check(base64.b64encode(data) in await answer.read(), answer)

    async def _range(self, session: aiohttp.ClientSession, url: str, data: bytes) -> None:
        async with session.get(url, headers={"Range": "bytes=100-8291"}) as answer:
            _check(answer.status == 206 and await answer.read() == data[100:8292], answer)

    async def _head(self, session: aiohttp.ClientSession, url: str, data: bytes) -> None:
        async with session.head(url) as answer:
            _check(answer.status == 200 and answer.headers["Content-Length"] == str(len(data)), answer)

    async def _again(self, session: aiohttp.ClientSession, url: str, data: bytes) -> None:
        async with session.head(url) as answer:
            etag = answer.headers["ETag"]
        async with session.get(url, headers={"If-None-Match": etag}) as answer:
            _check(answer.status == 304 and not await answer.read(), answer)

    async def _unknown(self, session: aiohttp.ClientSession, url: str, data: bytes) -> None:
        async with session.get(f"{url}-not") as answer:
            await answer.read()
            _check(answer.status == 404, answer)


def _check(good: bool, answer: aiohttp.ClientResponse) -> None:
    if not good:
        raise ValueError(f"{answer.method} {answer.url.path} was answered {answer.status}, and not with the document")


@contextlib.contextmanager
def gateway(rig: Rig) -> Iterator[tuple[Contender, str]]:
    """The whole stack over the same folder twice: read directly, and read once for all and kept in memory."""
    auth, authorization = tokens(rig)
    kept = rig.files() | {"prefix": "k.", "read": "fill", "cache": True}
    sections = {
        "cache": {"backend": "memory", "max_bytes": "64MiB"},
        "sources": {"letters": rig.files(), "kept": kept},
        "clients": {"unknown_ids": 1_000_000},
    }
    with rig.gateway("steady", auth=auth, audit=True, sections=sections) as ours:
        yield ours, authorization
        ours.check()


def sizes(pid: int) -> tuple[float, int, int]:
    """MiB of memory, threads and descriptors of a process."""
    process = Path(f"/proc/{pid}")
    return (
        memory(pid, "VmRSS") / MIB,
        sum(1 for _ in (process / "task").iterdir()),
        sum(1 for _ in (process / "fd").iterdir()),
    )


async def cost(load: Load, ours: Contender, seconds: float = 10.0) -> float:
    """Seconds of processor time that a request of the mix takes."""
    answered = 0
    connector = aiohttp.TCPConnector(limit=16)
    async with aiohttp.ClientSession(headers={"Authorization": load.authorization}, connector=connector) as session:

        async def asking() -> None:
            nonlocal answered
            while time.perf_counter() < end:
                await load.one(session)
                answered += 1

        end, before = time.perf_counter() + seconds, ours.processor_seconds()
        await asyncio.gather(*(asking() for _ in range(16)))
    spent: float = ours.processor_seconds() - before
    return spent / answered


async def steady(load: Load, pid: int, *, rate: float, minutes: int, seconds: float) -> tuple[list[Minute], list[str]]:
    """`minutes` intervals of so many seconds, and what was wrong in them."""
    seen: list[Minute] = []
    wrong: list[str] = []
    under_way: set[asyncio.Task[None]] = set()
    headers = {"Authorization": load.authorization}
    connector = aiohttp.TCPConnector(limit=64)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:

        async def timed(minute: Minute) -> None:
            began = time.perf_counter()
            try:
                await load.one(session)
            except (ValueError, KeyError, aiohttp.ClientError) as error:
                wrong.append(f"{type(error).__name__}: {error}")
            minute.waits.append((time.perf_counter() - began) * 1e3)

        due = time.perf_counter()
        for _number in range(minutes):
            minute = Minute()
            end = due + seconds
            while due < end:
                if len(under_way) >= 500:
                    minute.late += 1
                else:
                    task = asyncio.create_task(timed(minute))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                due += 1 / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            minute.memory_mib, minute.threads, minute.descriptors = sizes(pid)
            seen.append(minute)
            print(f"{len(seen):3d}: {minute}", flush=True)
        await asyncio.gather(*under_way)
    return seen, wrong


def growth(seen: list[Minute]) -> dict[str, float]:
    """What the last third has over the second."""
    third = len(seen) // 3
    before, after = seen[third : 2 * third], seen[-third:]

    def middle(minutes: list[Minute], name: str) -> float:
        return statistics.median(getattr(one, name) for one in minutes)

    grown = {name: middle(after, name) - middle(before, name) for name in ("memory_mib", "threads", "descriptors")}
    waits = [statistics.median(wait for one in part for wait in one.waits) for part in (before, after)]
    return grown | {"median": waits[1] / waits[0]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/soak_steady.py", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=60, help="of a minute, to try it out (default 60)")
    parser.add_argument("--rate", type=float, help="requests a second (default: what takes half of a processor)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-steady-") as directory:
        rig = Rig(Path(directory), pin=False)
        documents = {
            f"{letter}{number}": b"%PDF-1.7\n" + random.randbytes(size - 9)
            for letter, size in SIZES.items()
            for number in range(PLACES)
        }
        for id, data in documents.items():
            (rig.archive / f"{id}.pdf").write_bytes(data)
        with gateway(rig) as (ours, authorization):
            load = Load(f"http://127.0.0.1:{ours.port}", authorization, documents, random.Random(1))
            each = asyncio.run(cost(load, ours))
            rate = given.rate or 0.5 / each
            print(f"{each * 1e6:.0f} us of processor for a request; {rate:.0f} are sent a second", flush=True)
            before = ours.processor_seconds()
            seen, wrong = asyncio.run(steady(load, ours.pid, rate=rate, minutes=given.minutes, seconds=given.seconds))
            used = (ours.processor_seconds() - before) / (given.minutes * given.seconds)
    print(f"{used:.0%} of a processor")
    total = sum(len(one.waits) for one in seen)
    grown = growth(seen)
    print(f"{total} answers, {len(wrong)} wrong; the last third over the second: {grown}")
    for line in sorted(set(wrong))[:20]:
        print(line)
    return int(bool(wrong) or any(value > LIMITS[name] for name, value in grown.items()))


if __name__ == "__main__":
    sys.exit(main())
