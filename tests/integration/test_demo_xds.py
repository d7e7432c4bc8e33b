"""`fhir-gateway demo --xds`: the gateway in front of the fake repository, both as they ship."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.demonstrating import TRY, TRY_XDS
from gateway.demo import archive_directory
from gateway.demo.xds import FakeRepository, letter
from gateway.demo.xds.background import in_background
from tests.support.process import Server, running

PROJECT = Path(__file__).resolve().parents[2]
LETTER = (archive_directory() / "discharge" / "2021" / "discharge-0417.pdf").read_bytes()


@pytest.fixture
def demonstration(tmp_path: Path) -> Iterator[Server]:
    """A running demonstration, in the directory "demo"."""
    command = [sys.executable, "-m", "gateway", "demo", "--port", "0", "--admin-port", "0", "--large", "64KiB", "--xds"]
    with running(
        "the demonstration",
        [*command, "--directory", tmp_path / "demo"],
        log=tmp_path / "demo.log",
        ready=lambda server: "Ctrl-C" in server.out.read_text(),
        cwd=PROJECT,
    ) as server:
        yield server


def run(command: str, where: Path) -> bytes:
    return subprocess.run(["sh", "-c", command], cwd=where, capture_output=True, check=False, timeout=20).stdout


def test_the_requests_work_as_they_are_printed(demonstration: Server, tmp_path: Path) -> None:
    assert shutil.which("curl"), "This test needs curl: apt-get install curl"
    printed = re.findall(r"^  (curl .*)$", demonstration.out.read_text(), re.MULTILINE)
    assert len(printed) == len(TRY) + len(TRY_XDS)
    native, head, envelope, deprecated, overview = [run(command, tmp_path) for command in printed[len(TRY) :]]
    assert native == b""
    assert (tmp_path / shlex.split(printed[len(TRY)])[2]).read_bytes() == LETTER
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"\r\nContent-Length: {len(LETTER)}\r\n".encode() in head
    assert envelope.startswith(b'{"resourceType":"Binary"')
    assert deprecated.startswith(b"HTTP/1.1 410 ")
    assert b"/personality/" in overview
    # The head came from the registry alone.
    url = shlex.split(printed[-1])[-1]
    with urllib.request.urlopen(f"{url}requests", timeout=20) as answer:
        asked = [one["endpoint"] for one in json.load(answer)]
    assert asked.count("repository") == 2
    assert asked.count("registry") >= 2


def test_ids_and_check_work_beside_it(demonstration: Server, tmp_path: Path) -> None:
    printed = demonstration.out.read_text()
    config = tmp_path / "demo" / "demo.yaml"
    (id,) = set(re.findall(r"Binary/(x\.a\.\w+)$", printed, re.MULTILINE)[:1])

    def gateway(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", *words, "--config", str(config)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, cwd=PROJECT)

    facts = json.loads(gateway("ids", "decode", id, "--json").stdout)
    place = ("--source", "shared-care", "--repository", facts["repository"], "--document", facts["document"])
    assert gateway("ids", "encode", *place).stdout.split() == [id]
    checked = gateway("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_key_that_is_none_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "seal.key").write_text("not a key")
    command = [sys.executable, "-m", "gateway", "demo", "--xds", "--large", "64KiB", "--directory", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, cwd=PROJECT)
    assert done.returncode == 2
    assert "seal.key" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_thread_of_a_fake_repository_ends_with_it() -> None:
    with in_background(FakeRepository([letter(1)])) as url:
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert letter(1).unique_id in answer.read().decode()
        assert "fake-repository" in {thread.name for thread in threading.enumerate()}
        taken = int(url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            with in_background(FakeRepository(), taken):
                pass
    assert "fake-repository" not in {thread.name for thread in threading.enumerate()}
