"""A compose file's services as processes of this machine: the same configurations, commands and secrets, without containers.

    with Topology("2-redis", tmp_path) as site:
        site.start("redis")
        with site.gateway() as gateway: ...

Host names become loopback ports, and paths of containers the files that are mounted there; nothing else is changed. What
stands for a server of the site's own (the file server) is started by whoever uses this.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import yaml

from tests.support.gateway import Gateway, serving
from tests.support.ports import LOOPBACK, free_port
from tests.support.process import Server, port_ready, require, running

PROJECT = Path(__file__).parents[2]
COMPOSE = PROJECT / "deploy" / "compose"
STEPS = sorted(path.parent.name for path in COMPOSE.glob("*/compose.yaml"))

PORTS = {"redis": 6379, "sentinel": 26379, "repository": 8443, "fileserver": 445}
"""The port that a service listens on, by the beginning of its name."""


def compose(step: str) -> dict[str, Any]:
    """A step's compose file."""
    return dict(yaml.safe_load((COMPOSE / step / "compose.yaml").read_text()))


def make_secrets(folder: Path) -> subprocess.CompletedProcess[str]:
    """What a user runs first."""
    require("openssl")
    return subprocess.run([COMPOSE / "make-secrets", folder], capture_output=True, text=True, timeout=50)


class Topology:
    """One step. Its files are copied below `folder`, so that secrets are made anew and nothing is left behind."""

    def __init__(self, step: str, folder: Path) -> None:
        self.step = step
        self.folder = folder / step
        self.services: dict[str, dict[str, Any]] = compose(step)["services"]
        self._secrets = compose(step).get("secrets", {})
        self._stack = contextlib.ExitStack()
        shutil.copytree(COMPOSE / step, self.folder, ignore=shutil.ignore_patterns("secrets"))
        if self._secrets:
            done = make_secrets(self.folder)
            assert done.returncode == 0, done.stderr
        self.ports = {name: free_port() for name in self.services if name != "gateway"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    # --- where things are ----------------------------------------------------------------------------------------------

    def places(self, service: str) -> dict[str, Path]:
        """Each path of a container that something is mounted at, and what that is here."""
        said, found = self.services[service], {}
        for mount in said.get("volumes", ()):
            source, target = mount.split(":")[:2]
            here = self.folder / source if source.startswith("./") else COMPOSE / self.step / source
            found[target] = here if source.startswith(".") else self._room(service, source)
        for target in said.get("tmpfs", ()):
            found[target] = self._room(service, target.strip("/"))
        for name in said.get("secrets", ()):
            found[f"/run/secrets/{name}"] = self.folder / self._secrets[name]["file"]
        return {target: here.resolve() for target, here in found.items()}

    def _room(self, service: str, name: str) -> Path:
        path = self.folder / "rooms" / service / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def mapped(self, service: str, text: str) -> str:
        """`text` with the paths of a service's container and the addresses of the others changed for those here."""
        places = self.places(service)
        known = "|".join(map(re.escape, sorted(places, key=len, reverse=True)))
        # In one go: the paths here may begin like those of containers.
        text = re.sub(rf"(?<![\w/.])({known})(?![\w-])", lambda found: str(places[found[1]]), text)
        for name, port in self.ports.items():
            usual = self.usual(name)
            text = re.sub(rf"\b{name}([: ]){usual}\b", rf"{LOOPBACK}\g<1>{port}", text)
            text = re.sub(
                rf"^( +)server: {name}\n\1port: {usual}$", rf"\1server: {LOOPBACK}\n\1port: {port}", text, flags=re.M
            )
        return text

    @staticmethod
    def usual(service: str) -> int:
        return next(port for name, port in PORTS.items() if service.startswith(name))

    def _configured(self, service: str) -> None:
        """Write the configuration that is mounted into a service, mapped, over its copy."""
        for here in self.places(service).values():
            if here.parent == self.folder and here.suffix in (".conf", ".yaml"):
                text = self.mapped(service, (COMPOSE / self.step / here.name).read_text())
                here.write_text(
                    re.sub(rf"^port {self.usual(service)}$", f"port {self.ports[service]}", text, flags=re.M)
                )

    # --- what runs -----------------------------------------------------------------------------------------------------

    def start(self, *names: str) -> list[Server]:
        """Start services, each when the one before it answers."""
        return [self._stack.enter_context(self._running(name)) for name in names]

    @contextlib.contextmanager
    def _running(self, name: str) -> Iterator[Server]:
        said = self.services[name]
        self._configured(name)
        words = [self.mapped(name, word) for word in (*said.get("entrypoint", ()), *said["command"])]
        if words[0] == "redis-server":
            # Two words there, one address: --replicaof redis-1 6379
            words = self.mapped(name, "\n".join(words).replace("\n6379", " 6379")).replace(" ", "\n").split("\n")
            words = [LOOPBACK if word == name else word for word in words]
            words += ["--port", str(self.ports[name]), "--bind", LOOPBACK]
        elif words[0] == "python":
            words[0] = sys.executable
            words = [word.replace("0.0.0.0", LOOPBACK).replace("=8443", f"={self.ports[name]}") for word in words]
        require("redis-server")
        log = self.folder / f"{name}.log"
        with running(name, words, log=log, ready=port_ready(self.ports[name]), cwd=PROJECT) as server:
            yield server

    @property
    def configuration(self) -> Path:
        """The gateway's configuration, mapped; everything else of it is as compose mounts it."""
        path = self.folder / "gateway.yaml"
        path.write_text(self.mapped("gateway", (COMPOSE / self.step / "gateway.yaml").read_text()))
        return path

    @property
    def environ(self) -> dict[str, str]:
        """What the gateway's process is given: free ports of the loopback address, and nobody who must learn that it goes."""
        listen = {
            "SERVER__HOST": LOOPBACK,
            "SERVER__PORT": "0",
            "ADMIN__PORT": "0",
            "SERVER__LIMITS__DRAIN_DELAY": "0s",
        }
        return os.environ | {f"GATEWAY__{name}": value for name, value in listen.items()}

    def command(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """`fhir-gateway` with these words, and the step's configuration."""
        command = [sys.executable, "-m", "gateway", *words, "--config", self.configuration]
        return subprocess.run(command, cwd=PROJECT, env=self.environ, capture_output=True, text=True, timeout=50)

    def gateway(self) -> contextlib.AbstractContextManager[Gateway]:
        """The gateway, serving."""
        return serving(self.configuration, self.folder / "gateway", environ=self.environ)
