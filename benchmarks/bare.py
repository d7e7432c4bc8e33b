"""The least that a server on aiohttp and uvloop does: `python -m benchmarks.bare PORT FILE` answers FILE to every GET.

A ceiling, not a peer: no file is opened, no id looked up, no header decided, no line logged. What share of it the
gateway keeps says more about the gateway's own work than any other ratio, above all on a machine that is not quiet.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop
from aiohttp import web


async def serve(port: int, body: bytes) -> None:
    """Answer until the process is ended."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/pdf")

    application = web.Application()
    application.router.add_get("/{id}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
