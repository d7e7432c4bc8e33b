"""A gateway with three sources under a steady load, of which one hangs and comes back: what the others notice of it.

`hung` is an SMB share whose server is stopped, a mount whose file system does not return, or an XDS repository that answers a
byte a second; `near` is a folder, `kept` a folder whose documents come out of the cache. A request is begun every so often
whatever became of those before, so that whoever waits makes nobody else wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gateway.demo.xds import REPOSITORY, letter
from gateway.errors import SOURCE_RESTING, SOURCE_WEDGED
from gateway.ids.sealed import Address, Place, Seal
from tests.support.gateway import Gateway, serving
from tests.support.samba import samba
from tests.support.stalling_fuse import StallingMount
from tests.support.steady_load import Load, Sample, apart, p99
from tests.support.xds import fake_repository

Kind = Literal["smb", "fuse", "soap"]

KINDS: tuple[Kind, ...] = ("smb", "fuse", "soap")

DOCUMENTS = 40
SIZE = 10 * 1024
KEY = bytes(range(32))

AT_ONCE = 0.05
"""Seconds within which a request is refused that need not wait."""

LIMITS = {"max_open": 16, "breaker_failures": 5}


@dataclass(frozen=True, slots=True)
class Trouble:
    """The source that is going to hang: its configuration, the ids of its documents, and the two switches."""

    source: dict[str, Any]
    ids: Sequence[str]
    hang: Callable[[], None]
    resume: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of it. Waiting times in milliseconds; p99 is the 99th of a hundred."""

    kind: Kind
    requests: int
    failed_elsewhere: int
    """Requests of the two other sources that were not answered with their document."""
    near: tuple[float, float]
    kept: tuple[float, float]
    """p99 before and while it hung."""
    opened_after: float
    """Seconds until the first request was refused at once."""
    refused: int
    refused_p99: float
    late: int
    """Requests for the hung source that were let through to find out whether it is back, once refusing had begun."""
    threads: int
    """The most that the process had."""
    back_after: float | None
    """Seconds from the return of the archive to its first document."""
    ended_in: float | None
    """Seconds from SIGTERM, while it hung, to the end of the process; None where Linux itself does not let a process end."""

    def __str__(self) -> str:
        back = "never" if self.back_after is None else f"{self.back_after:.2f} s"
        ended = "" if self.ended_in is None else f", ended {self.ended_in:.2f} s after SIGTERM"
        return (
            f"{self.kind:5} {self.requests} requests, {self.failed_elsewhere} failed elsewhere; p99 of the folder "
            f"{self.near[0]:.1f} -> {self.near[1]:.1f} ms, of the cache {self.kept[0]:.1f} -> {self.kept[1]:.1f} ms; refusing "
            f"after {self.opened_after:.2f} s, {self.refused} refused with p99 {self.refused_p99:.1f} ms, {self.late} let "
            f"through; {self.threads} threads; back after {back}{ended}"
        )


async def hanging(
    kind: Kind, folder: Path, *, rate: float = 100, before: float, away: float, after: float, patience: str = "1s"
) -> Figures:
    """Run the load for `before`, `away` and `after` seconds around a hang: `rate` a second for the hung source, half as many
    for each of the others. In the end it hangs again, and the gateway is told to stop. `patience` is how long opening may take
    and how long the archive is given a rest."""
    async with AsyncExitStack() as stack:
        trouble, gateway, load = await _read_once(stack, kind, folder, patience)
        running = asyncio.ensure_future(_steady(load, trouble, rate, before + away + after))
        await asyncio.sleep(before)
        await asyncio.to_thread(trouble.hang)
        went = time.monotonic()
        threads = 0
        while time.monotonic() < went + away:
            await asyncio.sleep(0.25)
            threads = max(threads, _threads(gateway.pid))
        await asyncio.to_thread(trouble.resume)
        returned = time.monotonic()
        await running
        ended = None if kind == "fuse" else await _ended(gateway, load, trouble)
    return _figures(kind, load.samples, went, returned, threads, ended)


@dataclass(frozen=True, slots=True)
class Noticed:
    """What two other sources noticed of one that hung and came back in turns: p99 in ms, at rest and hung."""

    kind: Kind | Literal["none"]
    requests: int
    failed_elsewhere: int
    near: tuple[float, float]
    kept: tuple[float, float]

    def __str__(self) -> str:
        (near, near_hung), (kept, kept_hung) = self.near, self.kept
        return (
            f"{self.kind:5} {self.requests} requests, {self.failed_elsewhere} failed elsewhere; p99 of the folder "
            f"{near:.2f} -> {near_hung:.2f} ms ({near_hung / near:.2f} x), of the cache {kept:.2f} -> {kept_hung:.2f} ms "
            f"({kept_hung / kept:.2f} x)"
        )


async def in_turns(
    kind: Kind, folder: Path, *, turns: int, seconds: float, rate: float = 100, control: bool = False
) -> Noticed:
    """The load of `hanging`, with the source at rest and hung for so many seconds each, `turns` times: what changes with the
    machine changes for both alike. The first second of a turn, in which the change is found out, counts.

    Requests come from a process of their own, and where there are two processors the gateway has the first to itself. Both are
    kept awake: a processor that sleeps between requests answers the later the less it has to do, and a hung archive leaves less
    to do. As a `control` nothing ever hangs: what differs then is the machine's doing.
    """
    spans: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    async with AsyncExitStack() as stack:
        stack.enter_context(_awake())
        first, rest = _processors()
        trouble, gateway, _load = await _read_once(stack, kind, folder, "1s", before=first)
        rates = {"hung": rate, "near": rate / 2, "kept": rate / 2}
        running = asyncio.ensure_future(apart(gateway, _ids(trouble), rates, 2 * turns * seconds, before=rest))
        for turn in range(2 * turns):
            hung = turn % 2 == 1
            await asyncio.to_thread(trouble.hang if hung and not control else trouble.resume)
            began = time.monotonic()
            await asyncio.sleep(seconds)
            spans[hung].append((began, time.monotonic()))
        await asyncio.to_thread(trouble.resume)
        samples = await running

    def over(source: str, hung: bool) -> float:
        return p99(
            [
                one
                for one in samples
                if one.source == source and any(start <= one.begun < stop for start, stop in spans[hung])
            ]
        )

    others = [one for one in samples if one.source != "hung"]
    return Noticed(
        "none" if control else kind,
        len(samples),
        sum(bool(one.code) for one in others),
        (over("near", False), over("near", True)),
        (over("kept", False), over("kept", True)),
    )


@contextlib.contextmanager
def _awake() -> Iterator[None]:
    """Keep every processor from sleeping, by work that gives way to all other (sched(7), SCHED_IDLE)."""
    idly = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); os.sched_setaffinity(0, {%d})"
    running = [
        subprocess.Popen([sys.executable, "-c", f"{idly % number}\nwhile True: pass"])
        for number in os.sched_getaffinity(0)
    ]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def _processors() -> tuple[Sequence[str], Sequence[str]]:
    """Words that keep a command to the first processor, and to the second one."""
    if len(os.sched_getaffinity(0)) < 2:
        return (), ()
    first, second, *_ = sorted(os.sched_getaffinity(0))
    return ("taskset", "-c", str(first)), ("taskset", "-c", str(second))


async def _read_once(
    stack: AsyncExitStack, kind: Kind, folder: Path, patience: str, *, before: Sequence[str] = ()
) -> tuple[Trouble, Gateway, Load]:
    """The archive that is going to hang, the gateway before it, and a load that has read every document once.

    `before` are words put before the gateway's command.
    """
    trouble = await stack.enter_async_context(_TROUBLES[kind](folder))
    stack.callback(trouble.resume)
    configuration = _configuration(folder, trouble, patience)
    gateway = stack.enter_context(serving(configuration, folder / "gateway", before=before))
    load = Load(gateway)
    stack.push_async_callback(load.close)
    ids = _ids(trouble)
    await load.once([(source, id) for source in ids for id in ids[source]])
    load.samples.clear()
    return trouble, gateway, load


async def _steady(load: Load, trouble: Trouble, rate: float, seconds: float) -> None:
    await load.run(_ids(trouble), {"hung": rate, "near": rate / 2, "kept": rate / 2}, seconds)


def _ids(trouble: Trouble) -> dict[str, Sequence[str]]:
    near, kept = ([f"{prefix}.{number}" for number in range(DOCUMENTS)] for prefix in "nk")
    return {"hung": trouble.ids, "near": near, "kept": kept}


async def _ended(gateway: Gateway, load: Load, trouble: Trouble) -> float:
    """Seconds that the process takes to end while requests wait for the archive."""
    await asyncio.to_thread(trouble.hang)
    asking = [asyncio.ensure_future(load.ask("hung", id)) for id in list(trouble.ids)[:8]]
    await asyncio.sleep(0.2)
    began = time.monotonic()
    status = await asyncio.to_thread(gateway.terminate)
    took = time.monotonic() - began
    assert status == 0, f"the gateway ended with {status}"
    await asyncio.gather(*asking)
    return took


def _threads(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


def _figures(
    kind: Kind, samples: list[Sample], went: float, returned: float, threads: int, ended: float | None
) -> Figures:
    at_once = {SOURCE_RESTING.code, SOURCE_WEDGED.code}
    hung = [one for one in samples if one.source == "hung" and went <= one.begun < returned]
    opened = min((one.begun + one.took for one in hung if one.code in at_once), default=returned)
    refused = [one for one in hung if one.begun > opened and one.code in at_once]
    late = [one for one in hung if one.begun > opened and one.code not in at_once]
    back = [one for one in samples if one.source == "hung" and one.begun >= returned and not one.code]
    others = [one for one in samples if one.source != "hung"]

    def around(source: str) -> tuple[float, float]:
        mine = [one for one in others if one.source == source]
        return p99([one for one in mine if one.begun < went]), p99(
            [one for one in mine if went <= one.begun < returned]
        )

    return Figures(
        kind,
        requests=len(samples),
        failed_elsewhere=sum(bool(one.code) for one in others),
        near=around("near"),
        kept=around("kept"),
        opened_after=opened - went,
        refused=len(refused),
        refused_p99=p99(refused),
        late=len(late),
        threads=threads,
        back_after=min((one.begun + one.took for one in back), default=None)
        and min(one.begun for one in back) - returned,
        ended_in=ended,
    )


# --- configurations --------------------------------------------------------------------------------------------------


def _configuration(folder: Path, trouble: Trouble, patience: str) -> dict[str, Any]:
    ids = {"scheme": "template", "pattern": "{id}.pdf"}
    written(folder / "documents")
    limits = LIMITS | {"open_timeout": patience, "breaker_pause": patience}
    here = {"adapter": "filesystem", "ids": ids, "options": {"root": str(folder / "documents")}}
    return {
        "cache": {"backend": "memory"},
        "server": {"limits": {"drain": "3s", "keep_alive": "10m"}},
        "sources": {
            "hung": trouble.source | {"prefix": "h.", "limits": limits, "cache": False},
            "near": here | {"prefix": "n."},
            "kept": here | {"prefix": "k.", "read": "fill", "cache": True},
        },
    }


def written(folder: Path) -> Path:
    """Documents `0.pdf`, `1.pdf` and so on in a folder."""
    folder.mkdir(exist_ok=True)
    for number in range(DOCUMENTS):
        (folder / f"{number}.pdf").write_bytes(b"%PDF-1.4\n" + random.Random(number).randbytes(SIZE))
    return folder


@asynccontextmanager
async def _smb(folder: Path) -> AsyncIterator[Trouble]:
    with samba(folder / "smb") as server:
        written(server.folder())
        source = {
            "adapter": "smb",
            "ids": {"scheme": "template", "pattern": "{id}.pdf"},
            "options": {"server": server.host, "port": server.port, "share": "letters", "username": server.user}
            | {"password_file": str(server.password_file), "require_encryption": False},
        }
        ids = [f"h.{number}" for number in range(DOCUMENTS)]
        yield Trouble(source, ids, server.pause, server.resume)


@asynccontextmanager
async def _fuse(folder: Path) -> AsyncIterator[Trouble]:
    with StallingMount(written(folder / "mounted"), folder / "mount") as mount:
        order = contextlib.ExitStack()
        source = {
            "adapter": "filesystem",
            "ids": {"scheme": "template", "pattern": "{id}.pdf"},
            "options": {"root": str(mount.mountpoint)},
        }
        ids = [f"h.{number}" for number in range(DOCUMENTS)]
        yield Trouble(source, ids, lambda: order.enter_context(mount.hanging("open", "getattr")), order.close)  # type: ignore[func-returns-value]


@asynccontextmanager
async def _soap(folder: Path) -> AsyncIterator[Trouble]:
    letters = [letter(number) for number in range(1, DOCUMENTS + 1)]
    key = folder / "seal.key"
    key.write_bytes(KEY)
    async with fake_repository(*letters) as fake, _Tarpit(fake.host, fake.port) as tarpit:
        url = fake.endpoint("repository").replace(f":{fake.port}", f":{tarpit.port}")
        source = {
            "adapter": "xds",
            "ids": {"scheme": "sealed", "key_file": str(key)},
            "options": {"endpoints": [{"alias": "a", "url": url, "repository_unique_ids": [REPOSITORY]}]},
        }
        seal = Seal("h.", [KEY], {"a": [Place(None, REPOSITORY)]})
        ids = [seal.encode(Address.of(None, one.repository, one.unique_id)) for one in letters]
        yield Trouble(source, [id for id in ids if id], tarpit.hang, tarpit.resume)


class _Tarpit:
    """A relay before a server that passes everything on, or of each answer a byte a second."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._slow = False
        self._tasks: set[asyncio.Task[None]] = set()

    def hang(self) -> None:
        self._slow = True

    def resume(self) -> None:
        self._slow = False

    async def __aenter__(self) -> _Tarpit:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._relayed(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relayed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copied(reader, upstream_writer))
                group.create_task(self._copied(upstream_reader, writer, dripping=True))
        except* OSError:
            pass
        finally:
            writer.transport.abort()
            upstream_writer.transport.abort()

    async def _copied(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, dripping: bool = False
    ) -> None:
        while data := await reader.read(65536):
            while dripping and self._slow and data:
                writer.write(data[:1])
                data = data[1:]
                await asyncio.sleep(1)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


_TROUBLES = {"smb": _smb, "fuse": _fuse, "soap": _soap}
