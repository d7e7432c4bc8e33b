"""A changed configuration for a gateway that runs: used when it is good as a whole, refused with every reason when it is not.

One process serves all tests of this file; each writes the file anew and asks for a reload as an operator does.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import place
from tests.support.gateway import PROJECT, serving
from tests.support.ports import free_port
from tests.support.raw_http import Answer, Connection, connect, exchange, request
from tests.support.reloading import storm

BIG = bytes(range(256)) * 65_536


class Place(place.Place):
    """The file of a configuration and the gateway that runs on it."""

    def sources(self, **more: Any) -> dict[str, Any]:
        return self.first["sources"] | more

    def reload(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", "reload", "--config", str(self.config), *words]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)

    async def reloaded(self) -> Answer:
        """By the admin listener, which takes less than a process."""
        fields = (("Content-Type", "application/json"), ("Content-Length", "2"))
        asked = request("/reload", method="POST", fields=fields) + b"{}"
        (answer,) = await exchange("127.0.0.1", self.admin, asked, methods=("POST",))
        return answer

    async def state(self) -> dict[str, Any]:
        (answer,) = await exchange("127.0.0.1", self.admin, request("/reload"))
        found = answer.json()
        assert isinstance(found, dict)
        return found

    async def read(self, id: str) -> Answer:
        (answer,) = await exchange(self.gateway.host, self.gateway.port, request(f"/R4/Binary/{id}"))
        return answer

    async def events(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            while len(found := [line for line in self.gateway.lines() if line.get("event") == name]) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return found


def memory(text: str, prefix: str = "", **more: Any) -> dict[str, Any]:
    ids = {"scheme": "template", "pattern": "{id}"}
    return {"adapter": "memory", "prefix": prefix, "ids": ids, "options": {"documents": {"a": text}}, **more}


def folder(root: Path, prefix: str) -> dict[str, Any]:
    ids = {"scheme": "template", "pattern": "{id}.bin"}
    return {"adapter": "filesystem", "prefix": prefix, "ids": ids, "options": {"root": str(root)}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("reload")
    for name in ("old", "new"):
        (directory / name).mkdir()
        (directory / name / "big.bin").write_bytes(BIG if name == "old" else BIG[::-1])
        (directory / name / "name.bin").write_text(name)
    admin = free_port()
    first = {
        "server": {"port": free_port()},
        "admin": {"port": admin},
        "auth": {"mode": "none"},
        "audit": {"mode": "none"},
        "sources": {"letters": memory("letter"), "scans": folder(directory / "old", "s.")},
    }
    path = directory / "gateway.yaml"
    path.write_text(yaml.safe_dump(first, sort_keys=False))
    with serving(path, directory / "run") as gateway:
        yield Place(directory, admin, gateway, first)


@pytest.fixture
async def place(running: Place) -> Place:
    """The gateway on its first configuration."""
    running.write()
    assert (await running.reloaded()).status == 200
    return running


@asynccontextmanager
async def downloading(place: Place, id: str) -> AsyncIterator[tuple[Connection, bytes]]:
    """A reader who has the beginning of a large document, and waits."""
    async with connect(place.gateway.host, place.gateway.port, receive_buffer=1 << 16) as connection:
        await connection.send(request(f"/R4/Binary/{id}"))
        yield connection, await connection.receive()


async def test_a_source_that_comes_is_served_and_one_that_goes_is_not(place: Place) -> None:
    assert (await place.read("n.a")).status == 404
    place.write(sources=place.sources(notes=memory("note", "n.")))
    done = await asyncio.to_thread(place.reload)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()[:3]] == [
        ["kept", "letters"],
        ["kept", "scans"],
        ["new", "notes"],
    ]
    assert (await place.read("n.a")).body == b"note"
    place.write()
    assert (await place.reloaded()).json()["sources"] == {"letters": "kept", "scans": "kept", "notes": "removed"}
    assert (await place.read("n.a")).status == 404
    assert (await place.read("a")).body == b"letter"


async def test_a_download_goes_on_from_the_source_that_it_began_with(place: Place) -> None:
    async with downloading(place, "s.big") as (connection, first):
        place.write(sources=place.sources(scans=folder(place.directory / "new", "s.")))
        assert (await place.reloaded()).json()["sources"]["scans"] == "changed"
        assert (await place.read("s.name")).body == b"new"
        assert (await place.state())["ending"] == 1, "the old configuration is needed still"
        received = bytearray(first)
        while len(received.partition(b"\r\n\r\n")[2]) < len(BIG):
            more = await connection.receive()
            assert more, connection.ending
            received += more
        assert received.partition(b"\r\n\r\n")[2] == BIG
        await connection.send(request("/R4/Binary/s.name"))
        assert (await connection.answer()).body == b"new", "the connection goes on, under the new configuration"
    async with asyncio.timeout(5):
        while (await place.state())["ending"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_everything_that_is_wrong_is_said_everywhere_and_nothing_of_it_is_used(place: Place) -> None:
    before = await place.state()
    place.write(
        sources=place.sources(notes=memory("note", "n.", raed="fill"), scans={"adapter": "filesistem"}),
        clients={"burst": "many"},
    )
    done = await asyncio.to_thread(place.reload)
    assert (done.returncode, done.stdout) == (2, "")
    for words in (
        "Did you mean `read`?",
        "Did you mean `filesystem`?",
        "clients.burst",
        "problems; the gateway goes on",
    ):
        assert words in done.stderr
    assert f"{place.config}:" in done.stderr
    state = await place.state()
    assert (state["status"], state["refused"]) == ("refused", before["refused"] + 1)
    assert state["applied_at"] == before["applied_at"]
    keys = {problem["key"] for problem in state["problems"]}
    assert {"sources.notes.raed", "clients.burst"} <= keys
    told = await place.events("configuration problem", len(state["problems"]))
    assert {"sources.notes.raed", "clients.burst"} <= {line["key"] for line in told}
    assert all(line["cause"] and line["cure"] and line["level"] == "error" for line in told)
    assert (await place.read("n.a")).status == 404
    assert (await place.read("a")).body == b"letter"


async def test_text_that_is_no_yaml_and_a_file_that_is_gone_are_refused(place: Place) -> None:
    place.config.write_text("server: {port: [")
    answer = await place.reloaded()
    assert (answer.status, answer.json()["problems"][0]["code"]) == (422, "syntax")
    place.config.unlink()
    answer = await place.reloaded()
    assert (answer.status, answer.json()["problems"][0]["code"]) == (422, "missing-file")
    assert (await place.read("a")).body == b"letter"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"server": {"port": 1}}, "server.port"),
        ({"admin": {"port": 1}}, "admin.port"),
        ({"spool": {"memory": "2MiB"}}, "spool.memory"),
        ({"audit": {"mode": "none", "retention": "30d"}}, "audit.retention"),
        ({"log": {"format": "console"}}, "log.format"),
    ],
)
async def test_what_cannot_change_is_refused_with_a_sentence(place: Place, change: dict[str, Any], key: str) -> None:
    place.write(**change)
    answer = await place.reloaded()
    assert answer.status == 422
    (problem,) = answer.json()["problems"]
    assert (problem["key"], problem["code"]) == (key, "fixed")
    assert problem["line"], "it names the line"
    assert problem["cure"].startswith("Restart the gateway, or put back")


async def test_a_new_source_that_does_not_answer_is_not_used(place: Place) -> None:
    away = folder(place.directory / "old", "away.")
    away["options"]["require_mount"] = True
    place.write(sources=place.sources(away=away, letters=memory("changed")))
    answer = await place.reloaded()
    assert answer.status == 422
    (problem,) = answer.json()["problems"]
    assert (problem["code"], problem["key"]) == ("away", "sources.away")
    assert (await place.read("a")).body == b"letter"


async def test_options_that_cannot_work_are_refused_with_their_place(place: Place) -> None:
    place.write(sources=place.sources(scans=folder(place.directory / "nowhere", "s.")))
    answer = await place.reloaded()
    assert answer.status == 422
    (problem,) = answer.json()["problems"]
    assert problem["key"] == "sources.scans.options.root"
    assert (await place.read("s.name")).body == b"old"


async def test_sighup_reloads(place: Place) -> None:
    before = (await place.state())["applied"]
    place.write(sources=place.sources(letters=memory("second")))
    os.kill(place.gateway.pid, signal.SIGHUP)
    async with asyncio.timeout(10):
        while (await place.state())["applied"] == before:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (await place.read("a")).body == b"second"


async def test_a_file_that_is_watched_is_read_when_it_changed(place: Place) -> None:
    place.write(reload={"watch": "50ms"})
    assert (await place.reloaded()).status == 200
    # The first look may be a second away, as it was while nothing was watched.
    await asyncio.sleep(1.2)
    place.write(reload={"watch": "50ms"}, sources=place.sources(letters=memory("third")))
    async with asyncio.timeout(10):
        while (await place.read("a")).body != b"third":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    refused = (await place.state())["refused"]
    place.config.write_text("auth: {mode: nobody}")
    async with asyncio.timeout(10):
        while (await place.state())["refused"] == refused:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    assert (await place.state())["refused"] == refused + 1, "a bad file is refused once, not at every look"
    assert (await place.read("a")).body == b"third"


async def test_policy_clients_and_limits_change_without_a_restart(place: Place) -> None:
    place.write(
        policy={"deny": [{"sources": ["scans"]}]}, server=place.first["server"] | {"limits": {"keep_alive": "7s"}}
    )
    assert (await place.reloaded()).status == 200
    assert (await place.read("s.name")).status == 404
    place.write(clients={"requests_per_minute": 1, "burst": 1})
    assert (await place.reloaded()).status == 200
    assert [(await place.read("s.name")).status for _ in range(2)] == [200, 429]


async def test_a_page_in_a_browser_cannot_reload(place: Place) -> None:
    fields = (("Content-Type", "application/json"), ("Content-Length", "2"), ("Origin", "http://evil.test"))
    asked = request("/reload", method="POST", fields=fields) + b"{}"
    (answer,) = await exchange("127.0.0.1", place.admin, asked, methods=("POST",))
    assert answer.status == 403
    plain = request("/reload", method="POST", fields=(("Content-Length", "2"),)) + b"{}"
    (answer,) = await exchange("127.0.0.1", place.admin, plain, methods=("POST",))
    assert answer.status == 400


@pytest.mark.parametrize("workers", [1, 2])
async def test_reloads_good_and_bad_under_load_fail_no_request_and_leave_nothing_behind(
    tmp_path: Path, workers: int
) -> None:
    """`benchmarks/soak_reload.py` does a thousand."""
    seen = await storm(tmp_path, reloads=12, workers=workers, download=1.0)
    assert (seen.failed, seen.wrong) == ([], [])
    assert (seen.applied, seen.refused) == (8, 4)
    assert seen.answered > 20
    assert seen.downloads >= 2
    assert seen.files_after <= seen.files_before + 8


def test_reload_without_a_gateway_says_so(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"admin: {{port: {free_port()}}}\n")
    command = [sys.executable, "-m", "gateway", "reload", "--config", str(path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "No gateway is running here." in done.stderr


def test_the_answer_can_be_had_for_a_machine(running: Place) -> None:
    running.write()
    done = running.reload("--json")
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "applied")


@pytest.mark.parametrize("backend", ["memory", "disk"])
async def test_other_settings_of_the_cache_disturb_nobody_and_keep_what_lies_on_a_disk(
    tmp_path: Path, backend: str
) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "big.bin").write_bytes(BIG)
    source = folder(tmp_path / "archive", "") | {"read": "fill", "cache": True}
    more = {"directory": str(tmp_path / "cache"), "encryption": {"mode": "none"}} if backend == "disk" else {}
    cache = {"backend": backend, "max_bytes": "64MiB"} | more
    admin = free_port()
    first = {"server": {"port": free_port()}, "admin": {"port": admin}, "auth": {"mode": "none"},
             "audit": {"mode": "none"}, "cache": cache, "sources": {"letters": source}}  # fmt: skip
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(first))
    with serving(path, tmp_path / "run") as gateway:
        place = Place(tmp_path, admin, gateway, first)
        assert (await place.read("big")).body == BIG
        async with asyncio.timeout(10):
            while "hit" not in ((answer := await place.read("big")).field("Cache-Status") or ""):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert answer.body == BIG
        async with downloading(place, "big") as (connection, received):
            assert b"; hit" in received
            place.write(cache=cache | {"max_bytes": "96MiB"})
            assert (await place.reloaded()).json()["cache"] == "changed"
            again = (await place.read("big")).field("Cache-Status") or ""
            assert ("hit" in again) == (backend == "disk")
            whole = bytearray(received)
            while len(whole.partition(b"\r\n\r\n")[2]) < len(BIG):
                more_bytes = await connection.receive()
                assert more_bytes, connection.ending
                whole += more_bytes
            assert whole.partition(b"\r\n\r\n")[2] == BIG
        if backend == "disk":
            (tmp_path / "cache").rename(tmp_path / "moved")
            (tmp_path / "cache").write_text("in the way")
            place.write(cache=cache | {"max_bytes": "80MiB"})
            answer = await place.reloaded()
            assert (answer.status, answer.json()["problems"][0]["key"]) == (422, "cache.directory")
            assert (await place.read("big")).body == BIG
