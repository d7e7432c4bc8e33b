"""A service manager is told when requests are taken, and nobody else is."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.gateway import serving

ARCHIVE = Path(__file__).parents[2] / "config" / "sample-archive" / "results" / "2018"
SOURCES = {
    "letters": {
        "adapter": "filesystem",
        "ids": {"scheme": "template", "pattern": "{id}.*"},
        "options": {"root": str(ARCHIVE)},
    }
}


@contextmanager
def manager(name: str) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        listening.settimeout(10)
        yield listening


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_is_told_when_requests_are_taken(tmp_path: Path, abstract: bool):
    name = f"@fhir-gateway-{os.getpid()}-{time.monotonic_ns()}" if abstract else str(tmp_path / "notify")
    with (
        manager(name) as listening,
        serving({"sources": SOURCES}, tmp_path, environ=os.environ | {"NOTIFY_SOCKET": name}) as gateway,
    ):
        assert listening.recv(100) == b"READY=1"
        with urlopen(f"{gateway.url}/R4/Binary/haematology") as answer:
            assert answer.status == 200


@pytest.mark.parametrize("name", ["/nowhere/notify", "nonsense", ""])
def test_a_manager_that_does_not_listen_keeps_nobody_from_serving(tmp_path: Path, name: str):
    with serving({"sources": SOURCES}, tmp_path, environ=os.environ | {"NOTIFY_SOCKET": name}) as gateway:
        with urlopen(f"{gateway.url}/R4/metadata") as answer:
            assert answer.status == 200
