"""Documents out of the cache, beside nginx that serves them from files and beside the gateway's own way to local files.

The archive is a repository, whose documents never change: a hit is answered without asking it. A scenario counts only if every
answer was a hit and nothing went wrong at the cache, as its own counts say.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.clients import Reading, Request, WrongAnswer, many, verify
from benchmarks.repository import as_file, origin, prepared
from benchmarks.repository import source as repository_source
from benchmarks.results import Goal, Result, Spread
from benchmarks.rig import KIB, MIB, Contender, Document, Rig, binary, plain
from benchmarks.scenarios import MEGABYTES, REQUESTS, Plan, Scenario, beside, size_text, stalled_bytes
from tests.support.ports import LOOPBACK, free_port
from tests.support.redis import RedisServer, redis

LARGEST = "128MiB"
"""`max_document` of the caches, so that 100 MiB are kept."""

PATIENCE = 30.0
"""Seconds that storing a document may take."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """A gateway with a cache. `admin` is the port of its admin listener."""

    contender: Contender
    admin: int

    def state(self) -> dict[str, Any]:
        """What it says of its cache."""
        return dict(self._asked("GET", "/cache"))

    def purge(self) -> None:
        """Have everything forgotten. Raises `WrongAnswer`."""
        if self._asked("POST", "/cache/purge", {"all": True}) != {"status": "purged"}:
            raise WrongAnswer("the cache was not purged")

    def keep(self, document: Document) -> None:
        """Have it stored, and see that it is served from there. Raises `WrongAnswer`."""
        asked = binary(self.contender, document)
        before = self.state()["since_start"]["stored"]
        verify(asked)
        self.wait_for(stored=before + 1)
        with self.hitting():
            verify(asked)

    def wait_for(self, *, stored: int) -> None:
        """Wait until it has stored so many documents since it was started. Raises `WrongAnswer`."""
        until = time.monotonic() + PATIENCE
        while self.state()["since_start"]["stored"] < stored:
            if time.monotonic() > until:
                raise WrongAnswer("a document was not stored")
            time.sleep(0.02)

    @contextmanager
    def hitting(self) -> Iterator[None]:
        """Whatever is asked in here has to be a hit. Raises `WrongAnswer`."""
        before = self.state()["since_start"]
        yield
        after = self.state()["since_start"]
        if after != before | {"hits": after["hits"]} or after["hits"] <= before["hits"]:
            raise WrongAnswer(f"not all of it came from the cache: {before} became {after}")

    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection(LOOPBACK, self.admin, timeout=PATIENCE)
        try:
            said = None if body is None else json.dumps(body)
            connection.request(method, path, said, {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def encryption(rig: Rig) -> dict[str, Any]:
    """The section `encryption` with a key of this run."""
    key = rig.directory / "cache-key"
    key.write_bytes(bytes(range(32)))
    return {"mode": "aes-256-gcm", "keys": [{"id": "k1", "file": str(key)}]}


@contextmanager
def keeping(rig: Rig, source: Mapping[str, Any], cache: Mapping[str, Any]) -> Iterator[Keeping]:
    """A gateway that keeps the documents of this source in this cache."""
    admin = free_port()
    sections = {"cache": {"max_document": LARGEST, **cache}, "admin": {"host": LOOPBACK, "port": admin}}
    with rig.gateway("gateway-cache", source=source, sections=sections) as contender:
        yield Keeping(contender, admin)
        contender.check()


@contextmanager
def in_redis(rig: Rig, source: Mapping[str, Any]) -> Iterator[tuple[Keeping, RedisServer]]:
    """The same in a fresh Redis, encrypted. Redis has the client's processor: it is another machine in practice."""
    with redis(rig.directory, before=rig.client_words) as server:
        # A machine that does something else for a quarter of a second must not make hits into misses.
        patience = {"operation_timeout": "2s"}
        cache = {"backend": "redis", "url": server.url, "encryption": encryption(rig), **patience}
        with keeping(rig, source, cache) as ours:
            yield ours, server


@contextmanager
def on_disk(rig: Rig, source: Mapping[str, Any], *, encrypted: bool) -> Iterator[Keeping]:
    """The same in a directory."""
    directory = rig.directory / f"cache-{'sealed' if encrypted else 'open'}"
    chosen = encryption(rig) if encrypted else {"mode": "none"}
    cache = {"backend": "disk", "directory": str(directory), "max_bytes": "1GiB", "encryption": chosen}
    with keeping(rig, source, cache) as ours:
        yield ours


@contextmanager
def in_memory(rig: Rig, source: Mapping[str, Any]) -> Iterator[Keeping]:
    """The same in its own memory."""
    with keeping(rig, source, {"backend": "memory", "max_bytes": "256MiB"}) as ours:
        yield ours


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is measured beside the cache: how it is started, what it is asked, and the goal for the ratio to it."""

    start: Callable[[Rig], AbstractContextManager[Contender]]
    asked: Callable[[Contender, Document], Request]
    goal: float


def nginx(goal: float) -> Peer:
    """nginx over the same files."""
    return Peer(lambda rig: rig.nginx(), plain, goal)


def local_files(goal: float) -> Peer:
    """A gateway that reads the same files for itself, as it does with those of this machine unless told otherwise."""
    return Peer(lambda rig: rig.gateway("gateway-files", label=LOCAL_FILES), binary, goal)


LOCAL_FILES = "local files"

Cached = Callable[[Rig, Mapping[str, Any]], AbstractContextManager[Keeping]]


@contextmanager
def redis_alone(rig: Rig, source: Mapping[str, Any]) -> Iterator[Keeping]:
    with in_redis(rig, source) as (ours, _server):
        yield ours


@contextmanager
def kept(rig: Rig, cached: Cached, size: int) -> Iterator[tuple[Keeping, Document]]:
    """A gateway that has a repository's document of this size in its cache."""
    answer = prepared(rig, "xop", size)
    with origin(rig, answer) as far, cached(rig, repository_source(far.port)) as ours:
        ours.keep(answer.document)
        yield ours, answer.document


def hits(name: str, title: str, cached: Cached, size: int, peer: Peer, *, connections: int | None = None) -> Scenario:
    """Requests per second from so many connections, or MB/s for one reader, beside a peer with the same document."""

    def measure(rig: Rig, plan: Plan) -> Result:
        with kept(rig, cached, size) as (ours, document), peer.start(rig) as theirs:
            file = as_file(rig, prepared(rig, "xop", size))
            asked = {ours.contender: binary(ours.contender, document), theirs: peer.asked(theirs, file)}
            verify(asked[theirs])
            work, unit = (MEGABYTES, "MB/s") if connections is None else (REQUESTS, "requests/s")
            with ours.hitting():
                figures, cost = beside(plan, {one: _reading(rig, plan, asked[one], connections) for one in asked}, work)
            theirs.check()
        goal = Goal(peer.goal, at_least=True, peer=theirs.name)
        return Result(name, f"{title}, {_readers(size, connections)}", unit, 0, figures, [goal], cost)

    return measure


def _reading(rig: Rig, plan: Plan, asked: Request, connections: int | None) -> Callable[[], Reading]:
    if connections is None:
        return partial(rig.sink.read, asked, repeats=plan.repeats)
    return partial(many, asked, connections=connections, seconds=plan.rate_seconds, before=rig.client_words)


def _readers(size: int, connections: int | None) -> str:
    return f"{size_text(size)}, {f'{connections} connections' if connections else 'one reader'}"


def overhead(rig: Rig, plan: Plan) -> Result:
    """How much more memory Redis says that it uses than documents have bytes, in percent, for sizes from 1 MiB on."""
    values = []
    for size, count in ((MIB, 64), (MIB + 1, 64), (8 * MIB, 8), (plan.medium, 1)):
        with in_redis(rig, rig.files() | {"read": "fill", "cache": True}) as (ours, server):
            documents = [rig.document(size, f"letter-{number}") for number in range(count)]
            warm = rig.document(10 * KIB)
            ours.keep(warm)
            before = _used(server)
            for number, document in enumerate(documents, 2):
                verify(binary(ours.contender, document))
                ours.wait_for(stored=number)
            values.append(100 * (_used(server) - before - size * count) / (size * count))
    title = "memory that Redis takes beyond the documents' bytes, encrypted, 1 MiB and more"
    goal = Goal(1, at_least=False)
    return Result("redis-overhead", title, "%", 2, {"gateway": Spread(tuple(values))}, [goal])


def _used(server: RedisServer) -> int:
    """Bytes of memory that Redis has given out, without what it keeps for those who talk with it."""
    lines = server.ask("INFO", "memory").decode().splitlines()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(found["used_memory_dataset"])


def stalled_readers(representation: str) -> Scenario:
    """The memory that readers of a document in Redis cost who stop reading, above what the gateway had, for each."""

    def measure(rig: Rig, plan: Plan) -> Result:
        with kept(rig, redis_alone, plan.medium) as (ours, document):
            contender = ours.contender
            asked = binary(contender, document, representation)
            verify(asked)
            with ours.hitting():
                each = stalled_bytes(contender, asked, plan.stalled, before=plan.stalled)
            verify(asked)
        what = f"Redis hit, encrypted, {representation}, {size_text(document.size)}: "
        figures = {"gateway": Spread((each / KIB,))}
        return Result(
            f"redis-stalled-{representation}",
            f"{what}memory for each of {plan.stalled} stalled readers",
            "KiB",
            0,
            figures,
            [Goal(512, at_least=False)],
        )

    return measure


REDIS = "Redis hit, encrypted"

SCENARIOS: dict[str, Scenario] = {
    "redis-64k": hits("redis-64k", REDIS, redis_alone, 64 * KIB, nginx(0.2), connections=32),
    "redis-1m": hits("redis-1m", REDIS, redis_alone, MIB, nginx(0.22), connections=32),
    "redis-10k": hits("redis-10k", REDIS, redis_alone, 10 * KIB, local_files(0.8), connections=32),
    "redis-100m": hits("redis-100m", REDIS, redis_alone, 100 * MIB, local_files(0.4)),
    "disk-open": hits("disk-open", "disk hit, in the open", partial(on_disk, encrypted=False), 100 * MIB, nginx(0.8)),
    "disk-sealed": hits("disk-sealed", "disk hit, encrypted", partial(on_disk, encrypted=True), 100 * MIB, nginx(0.4)),
    "redis-overhead": overhead,
    "redis-stalled-native": stalled_readers("native"),
    "redis-stalled-json": stalled_readers("json"),
}
