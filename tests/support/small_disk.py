"""A program on a file system of four mebibytes: what a disk cache does when its disk is full.

Runs in a mount namespace of its own (`unshare -m`, `-r` without privileges), so that nothing of it is seen outside and
nothing is left. Argument: a directory to mount on. Prints what happened as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from gateway.cache import Scope
from tests.conformance.cache_kit.documents import look
from tests.support.cache_killing import KEYS, cache_at, put, self_proving

SIZE = 600_000


async def main(directory: Path) -> dict[str, object]:
    async with cache_at(directory / "cache", "sealed") as cache:
        documents = {key: self_proving(SIZE, key) for key in KEYS}
        (directory / "filler").write_bytes(bytes(2_000_000))
        stored = [await put(cache, key, data) for key, data in documents.items()]
        found = [await look(cache, key) == data for key, data in documents.items()]
        said = {"stored": stored, "found": found, "faults": dict(cache.counts.faults), "damaged": cache.counts.damaged}
        said["left"] = os.listdir(directory / "cache" / ".incoming")
        await cache.purge(Scope())
        (directory / "filler").unlink()
        said["again"] = [await put(cache, key, data) for key, data in documents.items()]
        said["state"] = (await cache.stats()).state
    return said


if __name__ == "__main__":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", sys.argv[1]], check=True)
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
