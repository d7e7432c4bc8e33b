"""Several worker processes on one address: started, asked, reloaded, killed and drained as one gateway.

One supervisor serves all tests of this file but those about its end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import place
from tests.support.gateway import PROJECT, serving
from tests.support.ports import free_port
from tests.support.raw_http import Answer, Malformed, connect, exchange, request

WORKERS = 2


class Place(place.Place):
    """A supervisor that runs, and its configuration."""

    def pids(self) -> set[int]:
        """The processes of the workers that live."""
        return {pid for pid in children(self.gateway.pid) if alive(pid)}

    async def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> Answer:
        fields = () if body is None else (("Content-Type", "application/json"), ("Content-Length", str(len(body))))
        asked = request(path, method=method, fields=fields) + (body or b"")
        (answer,) = await exchange("127.0.0.1", self.admin, asked, methods=(method,))
        return answer

    async def read(self, id: str) -> Answer:
        (answer,) = await exchange(self.gateway.host, self.gateway.port, request(f"/R4/Binary/{id}"))
        return answer

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", *words, "--config", str(self.config)]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)

    async def until_whole(self) -> None:
        async with asyncio.timeout(20):
            while (await self.ask("/readyz")).json()["workers"]["serving"] < WORKERS:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def alive(pid: int) -> bool:
    with suppress(OSError):
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    return False


def memory(text: str, prefix: str = "") -> dict[str, Any]:
    ids = {"scheme": "template", "pattern": "{id}"}
    documents = {"a": text, "b": text * 2}
    return {"adapter": "memory", "prefix": prefix, "ids": ids, "read": "fill", "cache": True,
            "options": {"documents": documents}}  # fmt: skip


def configuration(directory: Path, **more: Any) -> dict[str, Any]:
    return {
        "server": {"port": free_port(), "workers": WORKERS},
        "admin": {"port": free_port()},
        "auth": {"mode": "none"},
        "audit": {"directory": str(directory / "audit")},
        "cache": {"backend": "memory"},
        "sources": {"letters": memory("letter")},
    } | more


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("workers")
    first = configuration(directory)
    path = directory / "gateway.yaml"
    path.write_text(yaml.safe_dump(first, sort_keys=False))
    with serving(path, directory / "run", timeout=40) as gateway:
        yield Place(directory, first["admin"]["port"], gateway, first)


async def answered_by(place: Place, readers: int = 24) -> None:
    """Many connections at once, so that every worker gets some."""
    answers = await asyncio.gather(*(place.read("a") for _ in range(readers)))
    assert [answer.body for answer in answers] == [b"letter"] * readers


async def test_one_ready_line_for_all_and_all_of_them_serve(place: Place) -> None:
    assert place.gateway.server.out.read_text() == f"ready {place.gateway.url}\n"
    assert len(place.pids()) == WORKERS
    for path in ("/livez", "/startupz", "/readyz"):
        answer = await place.ask(path)
        assert (answer.status, answer.json()["workers"]["serving"]) == (200, WORKERS)
    await answered_by(place)
    async with asyncio.timeout(5):
        while len(lines := [line for line in place.gateway.lines() if line.get("event") == "request"]) < 24:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert {line["worker"] for line in lines} <= {1, 2}
    documents = {line["document"] for line in lines if line.get("document")}
    assert len(documents) == 1, "all workers call a document by the same pseudonym"


async def test_the_admin_listener_speaks_for_all(place: Place) -> None:
    await answered_by(place)
    status = (await place.ask("/status")).json()
    assert status["workers"] == {"answered": WORKERS, "wanted": WORKERS}
    assert status["requests"]["answered"] >= 24
    assert status["sources"]["letters"]["limit"] == 64, "permits are divided, and together they are what was configured"
    text = (await place.ask("/metrics")).body.decode()
    assert f"gateway_workers {float(WORKERS)}" in text
    assert "gateway_requests_total" in text
    cache = (await place.ask("/cache")).json()
    assert (cache["backend"], cache["limit"]) == ("memory", 256 << 20)
    audit = (await place.ask("/audit")).json()
    assert audit["state"] == "written"
    assert (await place.ask("/nowhere")).status == 404
    assert (await place.ask("/cache/purge")).status == 405


async def test_what_acts_is_done_by_all(place: Place) -> None:
    await answered_by(place)
    assert (await place.ask("/cache")).json()["entries"] >= 1
    answer = await place.ask("/cache/purge", "POST", b'{"all": true}')
    assert (answer.status, answer.json()["status"]) == (200, "purged")
    assert (await place.ask("/cache")).json()["entries"] == 0
    assert (await place.ask("/cache/warm", "POST", b'{"id": "b"}')).json()["status"] == "stored"
    assert (await place.ask("/cache")).json()["entries"] == WORKERS, "each worker has a memory of its own"
    assert (await place.ask("/cache/purge", "POST", b'{"source": "none"}')).status == 404
    assert (await place.ask("/log", "POST", b'{"level": "debug"}')).json()["level"] == "debug"
    assert (await place.ask("/log", "POST", b'{"level": null}')).json()["level"] == "info"


async def test_a_reload_is_used_by_all_or_by_none(place: Place) -> None:
    place.write(sources={"letters": memory("letter"), "notes": memory("note", "n.")})
    done = await asyncio.to_thread(place.command, "reload")
    assert (done.returncode, done.stderr) == (0, "")
    answers = await asyncio.gather(*(place.read("n.a") for _ in range(24)))
    assert {answer.body for answer in answers} == {b"note"}
    away = {"adapter": "filesystem", "prefix": "away.", "ids": {"scheme": "template", "pattern": "{id}"},
            "options": {"root": str(place.directory), "require_mount": True}}  # fmt: skip
    for change in ({"sources": {"letters": memory("other"), "away": away}}, {"server": {"port": 1}}, {"audit": {}}):
        place.write(**change)
        done = await asyncio.to_thread(place.command, "reload")
        assert done.returncode == 2, done.stdout
        assert "the gateway goes on with the configuration that it has" in done.stderr
    answers = await asyncio.gather(*(place.read("n.a") for _ in range(24)))
    assert {answer.body for answer in answers} == {b"note"}
    assert (await place.ask("/reload")).json()["status"] == "refused"
    assert "gateway_config_last_reload_success 0.0" in (await place.ask("/metrics")).body.decode()
    assert (await place.ask("/status")).json()["config"]["state"] == "refused"
    assert (await place.ask("/readyz?verbose")).json()["config"] == "refused"
    place.config.write_text("sources: [")
    assert (await place.ask("/reload", "POST", b"{}")).status == 422
    place.write()
    os.kill(place.gateway.pid, signal.SIGHUP)
    async with asyncio.timeout(20):
        while (await place.ask("/reload")).json()["status"] != "applied":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    answers = await asyncio.gather(*(place.read("n.a") for _ in range(24)))
    assert {answer.status for answer in answers} == {404}
    assert "gateway_config_last_reload_success 1.0" in (await place.ask("/metrics")).body.decode()


async def test_a_worker_that_is_killed_is_replaced_and_the_other_goes_on(place: Place) -> None:
    """Whoever was being answered by the killed one is cut off; nobody else notices."""
    await place.until_whole()
    victim = min(place.pids())
    failed: list[str] = []
    done = False

    async def reader() -> int:
        count = 0
        while not done:
            try:
                answer = await place.read("a")
                if answer.body != b"letter":
                    failed.append(str(answer.status))
            except (OSError, Malformed) as error:
                failed.append(type(error).__name__)
            count += 1
        return count

    readers = [asyncio.create_task(reader()) for _ in range(4)]
    await asyncio.sleep(0.3)
    os.kill(victim, signal.SIGKILL)
    await asyncio.sleep(0.1)
    assert (await place.ask("/readyz")).status == 200, "the other one serves"
    await place.until_whole()
    done = True
    assert sum([await task for task in readers]) > 20
    assert len(failed) <= 4, failed
    assert victim not in place.pids()
    assert (await place.ask("/readyz")).json()["workers"] == {"serving": WORKERS, "wanted": WORKERS, "replaced": 1}
    async with asyncio.timeout(5):
        while "worker replaced" not in (events := [line["event"] for line in place.gateway.lines()]):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert events.count("worker ended") == events.count("worker replaced") == 1
    await answered_by(place)


async def test_the_trail_of_all_workers_is_whole(place: Place) -> None:
    """Also after one was killed: the next one says how its file ended."""
    await place.until_whole()
    await answered_by(place)
    done = await asyncio.to_thread(place.command, "audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((place.directory / "audit").glob("*.jsonl"))) >= WORKERS


# --- the end ---------------------------------------------------------------------------------------------------------


def test_what_is_wrong_is_said_once_and_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    broken = memory("x") | {"adapter": "filesystem", "options": {"root": str(tmp_path / "nowhere")}, "read": "auto"}
    path.write_text(yaml.safe_dump(configuration(tmp_path, sources={"letters": broken})))
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("sources.letters.options.root") == 1
    assert "Traceback" not in done.stderr


async def test_a_drain_lets_downloads_of_all_workers_end_on_a_unix_socket_too(tmp_path: Path) -> None:
    big = bytes(range(256)) * 16_384
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "big.bin").write_bytes(big)
    folder = {"adapter": "filesystem", "ids": {"scheme": "template", "pattern": "{id}.bin"},
              "options": {"root": str(tmp_path / "archive")}}  # fmt: skip
    place = tmp_path / "gateway.sock"
    whole = configuration(tmp_path, sources={"letters": folder}, server={"unix_socket": str(place), "workers": WORKERS})
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(whole))
    with serving(path, tmp_path / "run", timeout=40) as gateway:
        assert gateway.url == f"unix://{place}"
        downloads = []
        for _ in range(6):
            reader, writer = await asyncio.open_unix_connection(str(place))
            writer.write(request("/R4/Binary/big"))
            await reader.readuntil(b"\r\n\r\n")
            downloads.append((reader, writer))
        workers = children(gateway.pid)
        # As a service manager does it: every process of the group is told.
        os.killpg(gateway.pid, signal.SIGTERM)
        bodies = []
        for reader, _ in downloads:
            bodies.append(await reader.readexactly(len(big)))
        for reader, writer in downloads:
            assert await reader.read() == b""
            writer.close()
        assert [len(body) for body in bodies] == [len(big)] * 6
        assert set(bodies) == {big}
        assert await asyncio.to_thread(gateway.server.popen.wait, 20) == 0
        assert not any(alive(pid) for pid in workers)
        assert not place.exists()
        assert [line["event"] for line in gateway.lines()].count("stopped") == WORKERS + 1


async def test_workers_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    whole = configuration(tmp_path)
    path.write_text(yaml.safe_dump(whole))
    with serving(path, tmp_path / "run", timeout=40) as gateway:
        workers = children(gateway.pid)
        assert len(workers) == WORKERS
        async with connect(gateway.host, gateway.port) as connection:
            await connection.send(request("/R4/Binary/a"))
            assert (await connection.answer()).body == b"letter"
        gateway.kill()
        async with asyncio.timeout(15):
            while any(alive(pid) for pid in workers):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def test_a_disk_cache_belongs_to_one_process(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    cache = {"backend": "disk", "directory": str(tmp_path / "cache"), "encryption": {"mode": "none"}}
    path.write_text(yaml.safe_dump(configuration(tmp_path, cache=cache)))
    command = [sys.executable, "-m", "gateway", "check", "--config", str(path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "cache.backend" in done.stdout + done.stderr
    assert "server.workers" in done.stdout + done.stderr


def test_a_worker_is_not_started_by_hand() -> None:
    command = [sys.executable, "-m", "gateway", "worker"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False, input="{}")
    assert done.returncode == 2
    assert "server.workers" in done.stderr
    assert json.dumps(None) not in done.stdout


async def test_a_purge_that_a_worker_did_not_hear_is_pending(tmp_path: Path) -> None:
    whole = configuration(tmp_path)
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(whole))
    with serving(path, tmp_path / "run", timeout=40) as gateway:
        place = Place(tmp_path, whole["admin"]["port"], gateway, whole)
        stopped = children(gateway.pid)[0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            answer = await place.ask("/cache/purge", "POST", b'{"all": true}')
            assert (answer.status, answer.json()["status"]) == (503, "pending")
            assert (await place.ask("/readyz")).status == 200
            assert (await place.read("a")).body == b"letter", "the other one serves"
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert (await place.ask("/cache/purge", "POST", b'{"all": true}')).status == 200
