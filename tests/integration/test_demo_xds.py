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
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.xds.probe import NOBODYS
from gateway.cli.demonstrating import TRY, TRY_XDS
from gateway.demo import archive_directory
from gateway.demo.xds import FakeRepository, letter
from gateway.demo.xds.background import in_background
from gateway.demo.xds.vendors import PERSONALITIES
from tests.support.process import Server, running

PROJECT = Path(__file__).resolve().parents[2]
LETTER = (archive_directory() / "discharge" / "2021" / "discharge-0417.pdf").read_bytes()


@contextmanager
def demonstrating(folder: Path, *options: str) -> Iterator[Server]:
    """A running demonstration, in the directory "demo"."""
    command = [
        sys.executable,
        "-m",
        "gateway",
        "demo",
        "--port",
        "0",
        "--admin-port",
        "0",
        "--large",
        "64KiB",
        *options,
    ]
    with running(
        "the demonstration",
        [*command, "--directory", folder / "demo"],
        log=folder / "demo.log",
        ready=lambda server: "Ctrl-C" in server.out.read_text(),
        cwd=PROJECT,
    ) as server:
        yield server


@pytest.fixture
def demonstration(tmp_path: Path) -> Iterator[Server]:
    with demonstrating(tmp_path, "--xds") as server:
        yield server


def requests(server: Server) -> list[str]:
    """The requests that are printed for the repository."""
    return re.findall(r"^  (curl .*)$", server.out.read_text(), re.MULTILINE)[len(TRY) :]


def run(command: str, where: Path) -> bytes:
    return subprocess.run(["sh", "-c", command], cwd=where, capture_output=True, check=False, timeout=20).stdout


def test_the_requests_work_as_they_are_printed(demonstration: Server, tmp_path: Path) -> None:
    assert shutil.which("curl"), "This test needs curl: apt-get install curl"
    printed = requests(demonstration)
    assert len(printed) == len(TRY_XDS)
    native, head, same, part, envelope, deprecated, forged, overview = [run(command, tmp_path) for command in printed]
    assert native == b""
    assert (tmp_path / shlex.split(printed[0])[2]).read_bytes() == LETTER
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"\r\nContent-Length: {len(LETTER)}\r\n".encode() in head
    assert same.startswith(b"HTTP/1.1 304 ")
    assert part.startswith(b"HTTP/1.1 206 ")
    assert f"\r\nContent-Range: bytes 0-99/{len(LETTER)}\r\n".encode() in part
    assert LETTER[:8] in part
    assert envelope.startswith(b'{"resourceType":"Binary"')
    assert deprecated.startswith(b"HTTP/1.1 410 ")
    assert forged.startswith(b"HTTP/1.1 404 ")
    assert b"GW-DOC-001" in forged
    assert b"/personality/" in overview
    # What the registry knows was not read, and an id that does not open was nobody's question.
    url = shlex.split(printed[-1])[-1]
    with urllib.request.urlopen(f"{url}requests", timeout=20) as answer:
        record = json.load(answer)
    read = [document for one in record for _, _, document in one["documents"] if document != NOBODYS]
    assert len(read) == 3
    assert len(set(read)) == 1
    assert len([one for one in record if one["endpoint"] == "registry"]) >= 2


@pytest.mark.parametrize("name", ["wcf", "soap11", "plain-soap12"])
def test_a_repository_that_answers_as_another_product(tmp_path: Path, name: str) -> None:
    with demonstrating(tmp_path, "--personality", name) as server:
        fetch, *_ = requests(server)
        run(fetch, tmp_path)
        assert (tmp_path / "discharge-0417.pdf").read_bytes() == LETTER
        assert f"/personality/{name}/repository" in (tmp_path / "demo" / "demo.yaml").read_text()


def test_a_repository_that_breaks_off(tmp_path: Path) -> None:
    with demonstrating(tmp_path, "--personality", "cxf+truncated") as server:
        fetch, *_ = requests(server)
        run(fetch, tmp_path)
    answer = (tmp_path / "discharge-0417.pdf").read_bytes()
    assert answer.startswith(b'{"resourceType":"OperationOutcome"'), "a part of a letter must not look whole"


def test_the_help_names_the_personalities_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    def demo(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", "demo", "--large", "64KiB", "--directory", str(tmp_path), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, cwd=PROJECT)

    told = demo("--help").stdout
    assert [name for name in PERSONALITIES if not re.search(rf"^  {name} ", told, re.MULTILINE)] == []
    refused = demo("--personality", "wfc")
    assert refused.returncode == 2
    assert "there is no 'wfc'" in refused.stderr


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
