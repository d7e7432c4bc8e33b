"""Small documents, where the work for a request is everything: beside nginx, rclone, Varnish and what Python usually offers.

"The whole stack" is a gateway as a site runs it: signed tokens are checked, a log line is written and metrics are counted for
every request. Nothing of it can be left out for a measurement; what the peers do for a request is said where they are started.
"""

from __future__ import annotations

import contextlib
import hashlib
import resource
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from benchmarks import peers
from benchmarks.caching import in_memory, kept
from benchmarks.clients import Reading, Request, many, verify
from benchmarks.results import Goal, Result, look
from benchmarks.rig import KIB, MIB, Contender, Document, Rig, binary, plain
from benchmarks.scenarios import MEGABYTES, REQUESTS, Plan, Readers, Scenario, beside, size_text
from benchmarks.security import tokens

STACK = "the whole stack"
FILE_RESPONSE, STARLETTE, ONE_WORKER = "aiohttp FileResponse", "starlette on uvicorn", "one worker"
NAIVE = "read and json.dumps"


@contextlib.contextmanager
def whole_stack(rig: Rig, *, audit: bool = False) -> Iterator[tuple[Contender, str]]:
    """A gateway that asks for tokens, and an Authorization field that it takes."""
    auth, authorization = tokens(rig)
    with rig.gateway(f"stack-{'recorded' if audit else 'plain'}", auth=auth, audit=audit) as ours:
        yield ours, authorization
        ours.check()


def measured(
    rig: Rig,
    plan: Plan,
    asked: dict[Contender, Request],
    connections: int,
    name: str,
    title: str,
    goals: Sequence[Goal],
) -> Result:
    """Requests per second of each, in turns, after every answer was seen to be the document."""
    for one in asked.values():
        verify(one)
    read = partial(many, connections=connections, seconds=plan.rate_seconds, before=rig.client_words)
    figures, cost = beside(plan, {one: partial(read, asked[one]) for one in asked}, REQUESTS)
    return Result(name, title, "requests/s", 0, figures, goals, cost)


def small_documents(rig: Rig, plan: Plan) -> Result:
    """10 KiB from 32 connections. A bare aiohttp handler says what the ceiling of this foundation is."""
    document = rig.document(10 * KIB)
    with (
        whole_stack(rig) as (ours, authorization),
        rig.nginx() as nginx,
        peers.rclone(rig) as rclone,
        peers.python(rig, "file-response", FILE_RESPONSE) as files,
        rig.bare(document) as ceiling,
    ):
        asked = {
            ours: replace(binary(ours, document), authorization=authorization),
            nginx: plain(nginx, document),
            rclone: plain(rclone, document),
            files: binary(files, document),
            ceiling: plain(ceiling, document),
        }
        goals = [Goal(limit, at_least=True, peer=peer) for peer, limit in
                 (("nginx", 0.24), ("rclone", 1.2), (FILE_RESPONSE, 2.0))]  # fmt: skip
        return measured(rig, plan, asked, 32, "10k", f"10 KiB, 32 connections, {STACK}", goals)


def small_recorded(rig: Rig, plan: Plan) -> Result:
    """The same with a durable audit trail."""
    document = rig.document(10 * KIB)
    with whole_stack(rig, audit=True) as (ours, authorization), rig.nginx() as nginx:
        asked = {
            ours: replace(binary(ours, document), authorization=authorization),
            nginx: plain(nginx, document),
        }
        goals = [Goal(0.18, at_least=True, peer="nginx")]
        return measured(rig, plan, asked, 32, "10k-audit", f"10 KiB, 32 connections, {STACK} and durable audit", goals)


def smallest(rig: Rig, plan: Plan) -> Result:
    """100 bytes, beside Starlette with five middlewares on uvicorn, which has the document in memory."""
    document = rig.document(100)
    with whole_stack(rig) as (ours, authorization), peers.python(rig, "starlette", STARLETTE) as theirs:
        asked = {
            ours: replace(binary(ours, document), authorization=authorization),
            theirs: replace(binary(theirs, document), authorization=authorization),
        }
        goals = [Goal(1.0, at_least=True, peer=STARLETTE)]
        return measured(rig, plan, asked, 32, "smallest", f"100 bytes, 32 connections, {STACK}", goals)


def crowd(size: int, connections: int) -> Scenario:
    """A document of this size from so many connections, beside nginx: to look at, no goal."""
    name = f"native-{size_text(size).replace(' ', '').lower()}-{connections}"

    def measure(rig: Rig, plan: Plan) -> Result:
        document = rig.document(size)
        with rig.gateway() as ours, rig.nginx() as theirs:
            asked = {ours: binary(ours, document), theirs: plain(theirs, document)}
            title = f"native, {size_text(size)}, {connections} connection{'s'[: connections > 1]}"
            return measured(rig, plan, asked, connections, name, title, [look("nginx")])

    return measure


def ranges(rig: Rig, plan: Plan) -> Result:
    """64 KiB out of the middle of a large document."""
    document = rig.document(plan.large)
    first = document.size // 2 + 1
    with (rig.archive / f"{document.id}.pdf").open("rb") as file:
        file.seek(first)
        data = file.read(64 * KIB)
    part = Document(document.id, len(data), hashlib.sha256(data).digest())
    within = (first, first + len(data) - 1)
    with rig.gateway() as ours, rig.nginx() as theirs:
        asked = {ours: replace(binary(ours, part), part=within), theirs: replace(plain(theirs, part), part=within)}
        title = f"range of 64 KiB out of {size_text(document.size)}, 32 connections"
        return measured(rig, plan, asked, 32, "range", title, [look("nginx")])


def cached(rig: Rig, plan: Plan) -> Result:
    """Hits of the cache in memory beside Varnish, which has the same document in its own."""
    with kept(rig, in_memory, 10 * KIB) as (ours, document), peers.varnish(rig) as theirs:
        file = rig.document(10 * KIB)
        asked = {ours.contender: binary(ours.contender, document), theirs: plain(theirs, file)}
        with ours.hitting():
            title = "memory hit, 10 KiB, 32 connections"
            return measured(rig, plan, asked, 32, "memory-hit", title, [look("varnish")])


def workers(rig: Rig, plan: Plan) -> Result:
    """Two processes on two processors beside one, the client taking what is left of both."""
    document = rig.document(10 * KIB)
    several = {"server": {"workers": 2}}
    with (
        rig.gateway("two", sections=several, pinned=False) as ours,
        rig.gateway("one", label=ONE_WORKER, pinned=False) as theirs,
    ):
        asked = {ours: binary(ours, document), theirs: binary(theirs, document)}
        goals = [Goal(1.6, at_least=True, peer=ONE_WORKER)]
        return measured(rig, plan, asked, 32, "workers", "two workers, 10 KiB, 32 connections", goals)


def naive_json(rig: Rig, plan: Plan) -> Result:
    """100 MiB as FHIR JSON beside reading the file and `json.dumps`, and beside `base64`, which only encodes."""
    document = rig.document(plan.medium)
    with rig.gateway() as ours, peers.python(rig, "naive-json", NAIVE) as theirs:
        asked = {one: binary(one, document, "json") for one in (ours, theirs)}
        for one in asked.values():
            verify(one)
        floor = Encoder(document.size, [*rig.server_words, "base64", "-w0", str(rig.archive / f"{document.id}.pdf")])
        readers: Readers = {
            ours: partial(rig.sink.read, asked[ours], repeats=plan.repeats),
            theirs: partial(rig.sink.read, asked[theirs]),
            floor: floor.read,
        }
        figures, cost = beside(plan, readers, MEGABYTES)
    title = f"json, {size_text(document.size)}, one reader, beside encoding it whole"
    goals = [Goal(15, at_least=True, peer=NAIVE), look(floor.name)]
    return Result("json-naive", title, "MB/s", 0, figures, goals, cost)


@dataclass(frozen=True, eq=False)
class Encoder:
    """`base64` of a file of `size` bytes into nothing: what encoding alone takes. Its figure is of what comes out."""

    size: int
    command: list[str]
    name = "base64 to /dev/null"

    def processor_seconds(self) -> float:
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return spent.ru_utime + spent.ru_stime

    def read(self) -> Reading:
        began = time.monotonic()
        subprocess.run(self.command, check=True, stdout=subprocess.DEVNULL)
        return Reading(time.monotonic() - began, (self.size + 2) // 3 * 4, 1)


SCENARIOS: dict[str, Scenario] = {
    "json-naive": naive_json,
    "10k": small_documents,
    "10k-audit": small_recorded,
    "smallest": smallest,
    "10k-1": crowd(10 * KIB, 1),
    "10k-256": crowd(10 * KIB, 256),
    "64k-32": crowd(64 * KIB, 32),
    "1m-32": crowd(MIB, 32),
    "range": ranges,
    "memory-hit": cached,
    "workers": workers,
}
