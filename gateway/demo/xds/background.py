"""The fake repository on a thread of its own, for programs that have no event loop to spare.

Rules of this module: the thread ends with the context, and nothing else may be touched from outside while it runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from gateway.demo.xds.server import FakeRepository


@contextmanager
def in_background(fake: FakeRepository, port: int = 0) -> Iterator[str]:
    """Serve until the context is left; yields the URL. Raises `OSError` when the port is taken."""
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stopped = asyncio.Event()
        async with fake.serving(port):
            ready.set_result((asyncio.get_running_loop(), stopped))
            await stopped.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except OSError as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=run, name="fake-repository", daemon=True)
    thread.start()
    loop, stopped = ready.result()
    try:
        yield fake.url
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
