"""Where the gateway's processor time goes: `python -m benchmarks.profiling [NAME...]` prints a table for each kind of read.

py-spy (extra `profile`) looks 400 times a second at what the event loop's thread does while a client reads. A look that finds
it waiting for the next event is not counted. Shares are of the looks left: `own` of a function itself, `with all` of it
and everything that it calls; calls of C count for the Python function that made them. On a machine that does something else
meanwhile, the figures say where the process was put aside.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.caching import kept, redis_alone
from benchmarks.clients import many, verify
from benchmarks.repository import gateway as of_a_repository
from benchmarks.repository import origin, prepared
from benchmarks.rig import KIB, MIB, Contender, Rig, binary
from benchmarks.share import ENCRYPTED
from benchmarks.share import archive as share_of
from benchmarks.small import whole_stack

SECONDS = 12
LOOP = "run (asyncio/runners.py"
"""In every stack of the event loop's thread."""

Reading = tuple[Contender, Callable[[], object]]


@contextlib.contextmanager
def small(rig: Rig) -> Iterator[Reading]:
    document = rig.document(10 * KIB)
    with whole_stack(rig) as (ours, authorization):
        asked = replace(binary(ours, document), authorization=authorization)
        verify(asked)
        yield ours, partial(many, asked, connections=32, seconds=2, before=rig.client_words)


@contextlib.contextmanager
def large(rig: Rig, representation: str) -> Iterator[Reading]:
    document = rig.document(100 * MIB)
    with rig.gateway() as ours:
        yield ours, partial(rig.sink.read, binary(ours, document, representation), repeats=20)


@contextlib.contextmanager
def redis(rig: Rig) -> Iterator[Reading]:
    with kept(rig, redis_alone, 64 * KIB) as (ours, document):
        asked = binary(ours.contender, document)
        yield ours.contender, partial(many, asked, connections=32, seconds=2, before=rig.client_words)


@contextlib.contextmanager
def repository(rig: Rig) -> Iterator[Reading]:
    answer = prepared(rig, "xop", 300_000_000)
    with origin(rig, answer) as far, of_a_repository(rig, far.port) as ours:
        yield ours, partial(rig.sink.read, binary(ours, answer.document), repeats=2)


@contextlib.contextmanager
def share(rig: Rig) -> Iterator[Reading]:
    document = rig.document(100 * MIB)
    with share_of(rig, ENCRYPTED) as far, far.gateway() as ours:
        yield ours, partial(rig.sink.read, binary(ours, document), repeats=5)


READINGS: dict[str, tuple[str, Callable[[Rig], contextlib.AbstractContextManager[Reading]]]] = {
    "small": ("10 KiB from a folder, tokens, log and metrics, 32 connections", small),
    "native": ("100 MiB from a folder", partial(large, representation="native")),
    "json": ("100 MiB from a folder as FHIR JSON", partial(large, representation="json")),
    "redis": ("64 KiB from Redis, encrypted, 32 connections", redis),
    "share": ("100 MiB from an encrypted share", share),
    "repository": ("300 MB from an XDS repository by XOP", repository),
}


def profiled(reading: Reading, directory: Path) -> Counter[tuple[str, ...]]:
    """Stacks of the event loop's thread and how often each was seen, outermost first, while the reading went on."""
    ours, read = reading
    read()  # unmeasured: warms up
    raw = directory / "stacks"
    command = [str(Path(sys.executable).with_name("py-spy")), "record", "-d", str(SECONDS), "-r", "400", "-f", "raw"]
    with subprocess.Popen(
        [*command, "-o", str(raw), "-p", str(ours.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as watching:
        while watching.poll() is None:
            read()
        if watching.returncode and watching.stderr is not None:
            raise RuntimeError(watching.stderr.read().decode(errors="replace"))
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in raw.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = tuple(frame.rpartition(":")[0] for frame in stack.split(";"))
        if any(LOOP in frame for frame in frames) and LOOP not in frames[-1]:
            stacks[frames] += int(count)
    return stacks


def table(stacks: Counter[tuple[str, ...]], rows: int = 14) -> str:
    """The functions with the largest shares, as a table."""
    total = stacks.total()
    own: Counter[str] = Counter()
    all_of: Counter[str] = Counter()
    for frames, count in stacks.items():
        own[frames[-1]] += count
        for frame in set(frames):
            all_of[frame] += count
    at_root = {frame for frame, count in all_of.items() if count > 0.995 * total}
    lines = ["| function | own | with all |", "| --- | --- | --- |"]
    chosen = [frame for frame, _count in own.most_common(rows)]
    chosen += [frame for frame, _count in all_of.most_common(3 * rows) if frame not in at_root and frame not in chosen]
    for frame in sorted(chosen[: 2 * rows], key=lambda one: -all_of[one]):
        name = frame.replace(" (", "` (") if " (" in frame else frame + "`"
        lines.append(f"| `{name}) | {own[frame] / total:.1%} | {all_of[frame] / total:.1%} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/profiling.py", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*READINGS, []], metavar="NAME", help=", ".join(READINGS))
    chosen = parser.parse_args().names or [*READINGS]
    with tempfile.TemporaryDirectory(prefix="profiling-") as directory:
        rig = Rig(Path(directory))
        for name in chosen:
            title, started = READINGS[name]
            with started(rig) as reading:
                print(f"### {title}\n\n{table(profiled(reading, Path(directory)))}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
