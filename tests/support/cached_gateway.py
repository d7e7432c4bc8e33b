"""Real gateways over a cache that outlives or does not outlive them, with documents that stand in their configuration.

    with keeping("disk", tmp_path) as place, place.gateway() as gateway:
        gateway.read("letter-1")
        place.command("cache", "stat")

The archive is the memory adapter: it is asked at each read and never fails, so that all that differs is the cache.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from gateway.cli import main
from tests.support.gateway import Gateway, serving
from tests.support.ports import free_port
from tests.support.redis import RedisServer, redis

LETTERS = {f"letter-{number}": f"Dear colleague, this is letter {number}.\n" * 50 for number in range(1, 13)}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def cached(self) -> bool:
        """Whether it came out of the cache."""
        return "; hit" in self.headers.get("cache-status", "")


def read(url: str, id: str, **headers: str) -> Answer:
    """One read, on a connection of its own."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", f"/R4/Binary/{id}", headers=headers)
        answer: HTTPResponse = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, fields, answer.read())


@dataclass
class Place:
    """Configurations of one cache; `redis` is there for that backend."""

    backend: str
    folder: Path
    redis: RedisServer | None = None
    more: dict[str, Any] = field(default_factory=dict)
    admin: int = field(default_factory=free_port)

    def configuration(self, *, admin: int | None = None) -> Path:
        """A file that a gateway serves and commands read."""
        number = admin or self.admin
        index = self.folder / "index.csv"
        index.write_text("id,path\n" + "".join(f"{id},{id}\n" for id in LETTERS))
        whole = {
            "auth": {"mode": "none"},
            "server": {"port": 0},
            "admin": {"port": number},
            "cache": self.cache(),
            "sources": {
                "letters": {
                    "adapter": "memory",
                    "prefix": "",
                    "ids": {"scheme": "manifest", "file": str(index)},
                    "options": {"documents": LETTERS},
                }
            },
        }
        path = self.folder / f"gateway-{number}.yaml"
        path.write_text(yaml.safe_dump(whole))
        return path

    def cache(self) -> dict[str, Any]:
        """The key `cache`."""
        return self._kind() | self.more

    def _kind(self) -> dict[str, Any]:
        if self.backend == "memory":
            return {"backend": "memory"}
        key = self.folder / "cache.key"
        key.write_bytes(bytes(range(32)))
        encryption = {"mode": "aes-256-gcm", "keys": [{"id": "k1", "file": str(key)}]}
        if self.backend == "disk":
            return {"backend": "disk", "directory": str(self.folder / "cache"), "encryption": encryption}
        assert self.redis is not None
        return {"backend": "redis", "url": self.redis.url, "encryption": encryption}

    @contextmanager
    def gateway(self, *, admin: int | None = None) -> Iterator[Gateway]:
        """A gateway that runs; another `admin` port makes a replica."""
        path = self.configuration(admin=admin)
        with serving(path, self.folder / f"run-{path.stem}") as gateway:
            yield gateway

    def command(
        self, *words: str, admin: int | None = None, config: Path | None = None, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command of `fhir-gateway` as it is typed, without a terminal; in this process, which has all that it imports."""
        path = config or self.configuration(admin=admin)
        typed = [*words, "--config", str(path)]
        hidden = {name: None for name in os.environ if name.startswith("GATEWAY")}
        done = CliRunner(env=hidden).invoke(main, typed, input=input)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return subprocess.CompletedProcess(typed, done.exit_code, done.stdout, done.stderr)


@contextmanager
def keeping(backend: str, folder: Path, *redis_options: str) -> Iterator[Place]:
    """A place for this backend; a Redis server of its own where it needs one."""
    with ExitStack() as stack:
        server = stack.enter_context(redis(folder, *redis_options)) if backend == "redis" else None
        yield Place(backend, folder, server)
