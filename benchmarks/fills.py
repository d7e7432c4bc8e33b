"""Many readers at once of a document that nobody has yet: one read of the archive for all of them, beside nginx.

The archive is a repository that takes seconds for a document. The peer is nginx with `proxy_cache` and its lock in front of
the same repository: of requests for the same document one alone goes there, and the others wait for what it stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from benchmarks.caching import Keeping
from benchmarks.clients import Reading, Request, WrongAnswer, verify
from benchmarks.repository import Pace, SlowRepository, gateway, passed_on, prepared
from benchmarks.results import Cost, Goal, Result, Spread, in_turns
from benchmarks.rig import MIB, Contender, Rig, binary
from benchmarks.scenarios import Plan, Scenario, size_text
from tests.support.nginx import nginx
from tests.support.ports import LOOPBACK, free_port

SIZE = 8 * MIB
PACE = Pace(pause=0.5, size=SIZE, rate=SIZE / 3.5, piece=16 << 10)
"""A document that takes four seconds, half a second of them before its first byte: all readers have asked by then."""

MOST_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Misses:
    """What came of all readers asking at once, round by round, by contender.

    `opens` is how often the archive was asked, `spread` milliseconds from the first reader's first byte to the last one's,
    `seconds` how long it took until all had everything; `peak` the gateway's memory in bytes.
    """

    opens: Mapping[str, Spread]
    spread: Mapping[str, Spread]
    seconds: Mapping[str, Spread]
    peak: int


@contextmanager
def locked(rig: Rig, port: int) -> Iterator[Contender]:
    """nginx that keeps what the repository answers, and lets one request alone ask for it."""
    directory = rig.directory / "locked"
    path = f"    proxy_cache_path {directory}/kept keys_zone=letters:10m max_size=1g;"
    statements = (
        f"        location / {{ proxy_pass http://{LOOPBACK}:{port}; proxy_method POST; proxy_cache letters;\n"
        "        proxy_cache_key $request_uri; proxy_cache_valid 200 1h;\n"
        "        proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s; }\n"
    )
    with nginx(directory, server=statements, http=f"    sendfile on;\n{path}", connections=4096) as server:
        contender = Contender("nginx", server.server.pid, server.port)
        contender.check()
        yield contender
        contender.check()


@contextmanager
def collapsing(rig: Rig, port: int) -> Iterator[Keeping]:
    """The gateway with this repository, and a cache in its memory."""
    admin = free_port()
    sections = {"cache": {"backend": "memory"}, "admin": {"host": LOOPBACK, "port": admin}}
    with gateway(rig, port, sections=sections) as contender:
        yield Keeping(contender, admin)
        contender.check()


_measured: dict[tuple[Path, Plan], Misses] = {}
"""What was measured in a run: three scenarios look at the same turns."""


def misses(rig: Rig, plan: Plan) -> Misses:
    """Let all readers ask each contender for a document that it does not have, in turns."""
    key = rig.directory, plan
    if key not in _measured:
        _measured[key] = _measure(rig, plan)
    return _measured[key]


def _measure(rig: Rig, plan: Plan) -> Misses:
    answer = prepared(rig, "xop", SIZE)
    sink, numbers = replace(rig.sink, before=()), count()
    with (
        SlowRepository(answer, PACE).serving() as far,
        collapsing(rig, far.port) as ours,
        locked(rig, far.port) as theirs,
    ):
        turns: dict[str, list[tuple[float, Reading]]] = {"gateway": [], "nginx": []}

        def read(name: str, asked: Request) -> float:
            before = len(far.began)
            # Nobody reads on until all have begun: what the client does then is not to delay the others' first bytes.
            reading = sink.read(asked, connections=plan.crowd, pause_bytes=1)
            if reading.responses != plan.crowd or reading.size != plan.crowd * asked.size:
                raise WrongAnswer(f"{reading.responses} responses of {plan.crowd}, {reading.size} bytes")
            turns[name].append((len(far.began) - before, reading))
            return reading.seconds

        def from_gateway() -> float:
            ours.purge()
            return read("gateway", binary(ours.contender, answer.document))

        def from_nginx() -> float:
            return read("nginx", replace(passed_on(theirs, answer), target=f"/{next(numbers)}"))

        verify(binary(ours.contender, answer.document))
        verify(passed_on(theirs, answer))
        in_turns(min(plan.rounds, MOST_ROUNDS), {"gateway": from_gateway, "nginx": from_nginx})
        peak = ours.contender.memory("VmHWM")

    def spreads(figure: Callable[[float, Reading], float]) -> dict[str, Spread]:
        # The first turn of each was its warm-up.
        return {name: Spread(tuple(figure(*turn) for turn in found[1:])) for name, found in turns.items()}

    return Misses(
        opens=spreads(lambda opens, _reading: opens),
        spread=spreads(lambda _opens, reading: (reading.latest - reading.first) * 1e3),
        seconds=spreads(lambda _opens, reading: reading.seconds),
        peak=peak,
    )


def scenario(name: str, what: str, unit: str, digits: int, goal: Goal, figures: Figures) -> Scenario:
    """One thing that is looked at when all readers miss at once."""

    def measure(rig: Rig, plan: Plan) -> Result:
        title = (
            f"{plan.crowd:,} misses at once, {size_text(SIZE)} that take {PACE.pause + SIZE / PACE.rate:.0f} s: {what}"
        )
        found = figures(misses(rig, plan))
        cost = {peer: Cost("") for peer in found if peer not in ("gateway", goal.peer)}
        return Result(name, title, unit, digits, found, [goal], cost)

    return measure


Figures = Callable[[Misses], Mapping[str, Spread]]

SCENARIOS: dict[str, Scenario] = {
    "misses-opens": scenario(
        "misses-opens", "how often the archive is read", "times", 0, Goal(1, at_least=False), lambda found: found.opens
    ),
    "misses-first": scenario(
        "misses-first", "last reader's first byte after the first one's", "ms", 0, Goal(20, at_least=False),
        lambda found: found.spread,
    ),
    "misses-whole": scenario(
        "misses-whole", "until all have everything", "s", 1, Goal(1, at_least=False, peer="nginx"),
        lambda found: found.seconds,
    ),
    "misses-memory": scenario(
        "misses-memory", "peak memory", "MiB", 0, Goal(150 + 1000, at_least=False),
        lambda found: {"gateway": Spread((found.peak / MIB,))},
    ),
}  # fmt: skip
