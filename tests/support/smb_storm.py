"""Readers of a share while everything around it breaks: what they were given, and what the server was left with.

A run counts every read: whole and right, refused or broken off with an error, or wrong. Wrong is what must never happen: bytes
that are not the document's, or too few of them with a clean end.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from adapters.contract import Span
from adapters.errors import AdapterError, Changed
from adapters.smb import SmbAdapter, SmbOptions
from adapters.testing.proxy import LoopbackProxy
from tests.support.samba import Samba
from tests.support.smb_share import lent

SIZES = (0, 1, 10_240, 262_144, 262_145, 3_000_000, 9_000_001)
REWRITTEN = "rewritten.pdf"


@dataclass(slots=True)
class Tally:
    """What came of the reads."""

    right: int = 0
    given_up: int = 0
    wrong: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    left_open: int = 0

    def __str__(self) -> str:
        failed = ", ".join(f"{count} {name}" for name, count in self.errors.most_common())
        return (
            f"{self.right} whole, {self.given_up} given up by the reader, {failed or 'no errors'}; {self.wrong} wrong, "
            f"{self.left_open} left open at the server"
        )


async def storm(server: Samba, seconds: float, *, engine: str = "native", readers: int = 24, seed: int = 1) -> Tally:
    """Read for `seconds` while connections are reset, the server is killed and restarted, and a document is rewritten."""
    documents = {f"{size}.pdf": random.Random(size).randbytes(size) for size in SIZES}
    for name, data in documents.items():
        (server.folder() / name).write_bytes(data)
    tally = Tally()
    with lent() as services, LoopbackProxy(server.host, server.port) as proxy:
        chosen = server.options(port=proxy.port, engine=engine, require_encryption=False)
        async with SmbAdapter("storm", SmbOptions.model_validate(chosen), services) as adapter:
            ends = asyncio.get_running_loop().time() + seconds
            reading = [_reader(adapter, documents, tally, ends, random.Random(seed * 1000 + n)) for n in range(readers)]
            weather = asyncio.ensure_future(_weather(server, proxy, ends - 0.5, random.Random(seed)))
            rewriting = asyncio.ensure_future(_rewrite(server.folder() / REWRITTEN, ends))
            await asyncio.gather(*reading, weather, rewriting)
            async with adapter.open("1.pdf") as content:
                assert [piece async for piece in content.chunks] == [documents["1.pdf"]], "it did not come back"
        for _ in range(200):
            tally.left_open = server.open_files()
            if not tally.left_open:
                break
            await asyncio.sleep(0.02)
    return tally


async def _reader(
    adapter: SmbAdapter, documents: dict[str, bytes], tally: Tally, ends: float, dice: random.Random
) -> None:
    while asyncio.get_running_loop().time() < ends:
        name = dice.choice([*documents, REWRITTEN])
        data = documents.get(name)
        span = None
        if data and dice.random() < 0.4:
            start = dice.randrange(len(data))
            span = Span(start, dice.choice([None, dice.randint(start + 1, len(data))]))
        enough = dice.random() < 0.15
        try:
            async with asyncio.timeout(5), adapter.open(name, span) as content:
                found = bytearray()
                async for piece in content.chunks:
                    found += piece
                    if enough:
                        break
                    if dice.random() < 0.05:
                        await asyncio.sleep(dice.random() / 20)
        except (AdapterError, TimeoutError) as error:
            tally.errors["Changed" if isinstance(error, Changed) else type(error).__name__] += 1
            await asyncio.sleep(0.02)
            continue
        if enough:
            tally.given_up += 1
        elif _right(bytes(found), data, span):
            tally.right += 1
        else:
            tally.wrong += 1


def _right(found: bytes, data: bytes | None, span: Span | None) -> bool:
    if data is None:
        # Every version of the rewritten document is one letter, over and over.
        return len(set(found)) <= 1 and len(found) in (0, 2_000_000)
    return found == (data if span is None else data[span.start : span.stop])


async def _weather(server: Samba, proxy: LoopbackProxy, ends: float, dice: random.Random) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < ends:
        await asyncio.sleep(dice.uniform(0.05, 0.4))
        kind = dice.random()
        if kind < 0.5:
            proxy.reset()
        elif kind < 0.75:
            server.disconnect_clients()
        elif kind < 0.85:
            await asyncio.to_thread(server.restart)
        else:
            with proxy.latency(0.01):
                await asyncio.sleep(0.2)


async def _rewrite(path: Path, ends: float) -> None:
    loop = asyncio.get_running_loop()
    letter = 0
    while loop.time() < ends:
        letter = (letter + 1) % 26
        # In place, in pieces: a reader in between must never get a mixture that ends as if it were whole.
        with path.open("r+b" if path.exists() else "w+b") as file:
            for _ in range(20):
                file.write(bytes([65 + letter]) * 100_000)
                file.flush()
                await asyncio.sleep(0.001)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.1)
