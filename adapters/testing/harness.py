"""What an adapter's author tells the kit: how to get an adapter, and how to reach the archive behind its back.

Rules of this module: no pytest, no checks. A harness writes documents WITHOUT the adapter under test (with plain file
operations, a second client, or straight into a fake server), so that one mistake cannot hide another. What it cannot do
it leaves out: the checks that need it are then listed as not applicable, with the reason.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, ClassVar

from adapters.contract import Adapter, Caller, Capabilities, Services

THREADS = 4
"""Threads of the executor that `Harness.services` lends: few, so that a leak or a deadlock shows soon."""

THREAD_NAME = "conformance-source"
"""How those threads are called: they are the gateway's, so an adapter is not blamed for them."""

Context = AbstractContextManager[Any] | AbstractAsyncContextManager[Any]
"""What `cut_after` and `offline` return: either kind of context manager."""


class RecordingLog:
    """A `contract.Log` that keeps what it is told, so that checks can look for locators and secrets in it (C12)."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(f"{event} {fields}")

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(f"{event} {fields}")


class Harness(ABC):
    """Subclass this; one fresh instance serves one check.

    Always needed: `capabilities`, `missing`, `hostile`, `adapter` and `seed`. The rest is optional; override what your
    archive allows. Methods that change the archive may be plain or `async`.

    Where the archive is a server, a proxy in front of it has the faults:

        def __init__(self): self.proxy = LoopbackProxy(host, port)  # adapters.testing.proxy; the adapter connects to it
        def cut_after(self, count): return self.proxy.cut_after(count)
        def offline(self): return self.proxy.offline()
        def release(self): super().release(); self.proxy.close()
    """

    capabilities: ClassVar[Capabilities]
    """What the adapter is expected to declare. Written out here, so that a capability that gets lost fails a check
    instead of quietly shortening the list of checks."""

    offers_file: ClassVar[bool] = False
    """Whether `Content.file` is offered."""

    secrets: ClassVar[tuple[str, ...]] = ()
    """Values of secret options that `adapter` passes, in clear: no text of the adapter may show them."""

    caller: ClassVar[Caller] = Caller("conformance")
    """On whose behalf documents are read, when the capabilities say `per_caller`."""

    deadline: ClassVar[float] = 10.0
    """Seconds that one check may take; an adapter that hangs fails when they are over."""

    patience: ClassVar[float] = 1.0
    """Seconds within which a release must have reached the archive, and a cancelled call must have ended."""

    @property
    @abstractmethod
    def missing(self) -> str:
        """A well-formed locator of no document. With a digit in it, since error texts are searched for it."""

    @property
    @abstractmethod
    def hostile(self) -> Sequence[str]:
        """Malformed locators and ones that try to leave the archive: `../../etc/passwd`, `con`, 4 KiB of `a`."""

    @abstractmethod
    def adapter(self) -> Adapter:
        """A fresh adapter over the same archive each time, constructed with `self.services()` and not entered."""

    @abstractmethod
    def seed(self, data: bytes, *, media_type: str | None = None) -> str | Awaitable[str]:
        """Store a new document without using the adapter; its locator. An archive without types ignores the type."""

    def live(self) -> int:
        """How many documents (files, streams, cursors) are open in the archive now, by the archive's own count."""
        raise NotImplementedError

    def cut_after(self, count: int) -> Context:
        """While inside, the archive breaks a document off after at most `count` bytes, each time that it is opened."""
        raise NotImplementedError

    def offline(self) -> Context:
        """While inside, the archive cannot be asked: server stopped, share unmounted, port closed."""
        raise NotImplementedError

    def replace(self, locator: str, data: bytes) -> Awaitable[None] | None:
        """Put other bytes behind the same locator, the way documents change in this archive."""
        raise NotImplementedError

    def withdraw(self, locator: str) -> Awaitable[None] | None:
        """Take the document out of the archive, the way documents are withdrawn there."""
        raise NotImplementedError

    def services(self) -> Services:
        """What to construct an adapter with: a bounded executor of its own, a recording log, the real clock."""
        if "_services" not in self.__dict__:
            pool = ThreadPoolExecutor(THREADS, thread_name_prefix=THREAD_NAME)
            self.__dict__["_services"] = Services(executor=pool, log=RecordingLog(), clock=time.monotonic)
        services: Services = self.__dict__["_services"]
        return services

    def release(self) -> None:
        """Give back what `services` lent. The kit calls it after the check; override it to stop what you started too."""
        services: Services | None = self.__dict__.pop("_services", None)
        if services is not None:
            services.executor.shutdown(wait=False, cancel_futures=True)
