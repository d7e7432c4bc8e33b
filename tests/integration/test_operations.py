"""What an operator relies on (docs/operations.md), seen on the real process: start, probes, log lines, drain."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.errors import ENDED_BY_SHUTDOWN
from gateway.telemetry import KEYS
from tests.support.gateway import Gateway, serving
from tests.support.ports import accepts, free_port
from tests.support.raw_http import Answer, Ending, connect, exchange, request

PROJECT = Path(__file__).parents[2]

LETTER = b"%PDF-1.7\nletter"
BIG = random.Random(0).randbytes(1 << 20) * 32
"""More than the socket buffers of both ends hold."""

CANARY = "canary"
"""Stands in everything that may not be logged: ids, names of files, queries, headers, request lines."""


def archive(directory: Path) -> Path:
    """A folder with a small document and a big one, whose names are ids."""
    folder = directory / "archive"
    folder.mkdir()
    (folder / f"{CANARY}-letter.pdf").write_bytes(LETTER)
    (folder / f"{CANARY}-big.bin").write_bytes(BIG)
    return folder


def source(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "adapter": "filesystem",
        "ids": {"scheme": "template", "pattern": "{id}.*"},
        "options": {"root": str(folder)},
        **more,
    }


def command(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(
        words, cwd=PROJECT, env=os.environ | environ, capture_output=True, text=True, timeout=30, check=False
    )


def refused_to_start(configuration: dict[str, Any], directory: Path) -> subprocess.CompletedProcess[str]:
    """`serve` with a configuration that it cannot serve."""
    path = directory / "gateway.yaml"
    path.write_text(yaml.safe_dump({"auth": {"mode": "none"}, **configuration}))
    done = command("serve", "--config", path)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done


async def ask(port: int, target: str, **fields: str) -> Answer:
    named = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    (answer,) = await exchange("127.0.0.1", port, request(target, fields=named))
    return answer


# --- one gateway that runs, with a source that is away --------------------------------------------------------------


@pytest.fixture(scope="module")
def ports() -> dict[str, str]:
    return {"GATEWAY__SERVER__PORT": str(free_port()), "GATEWAY__ADMIN__PORT": str(free_port())}


@pytest.fixture(scope="module")
def unused_port() -> int:
    """The port that the configuration's file names, and the environment overrides."""
    return free_port()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, str], unused_port: int) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("operations")
    folder = archive(directory)
    away = source(folder, prefix="away.")
    away["options"]["require_mount"] = True  # which it is not: as if its share were not mounted
    configuration = {"server": {"port": unused_port}, "sources": {"letters": source(folder), "scans": away}}
    with serving(configuration, directory, environ=os.environ | ports) as running:
        yield running


def test_the_environment_overrides_the_file(gateway: Gateway, ports: dict[str, str], unused_port: int) -> None:
    assert gateway.url == f"http://127.0.0.1:{ports['GATEWAY__SERVER__PORT']}"
    assert not accepts(unused_port)


def test_nothing_but_the_ready_line_goes_to_standard_output(gateway: Gateway) -> None:
    assert gateway.server.out.read_text() == f"ready {gateway.url}\n"


async def test_probes_say_ready_and_name_the_source_that_is_away(gateway: Gateway, ports: dict[str, str]) -> None:
    admin = int(ports["GATEWAY__ADMIN__PORT"])
    for path in ("/livez", "/startupz", "/readyz"):
        assert (await ask(admin, path)).status == 200
    assert "sources" not in (await ask(admin, "/readyz")).json(), "for machines"
    assert (await ask(admin, "/readyz?verbose")).json()["sources"] == {"letters": "ok", "scans": "away"}
    assert (await ask(admin, f"/R4/Binary/{CANARY}-letter")).status == 404


async def test_probes_are_not_on_the_public_listener(gateway: Gateway) -> None:
    for path in ("/livez", "/startupz", "/readyz"):
        assert (await ask(gateway.port, path)).status == 404


@pytest.mark.requirement("FR-159")
async def test_a_source_that_is_away_answers_503_and_disturbs_no_other(gateway: Gateway) -> None:
    away = await ask(gateway.port, f"/R4/Binary/away.{CANARY}-letter")
    assert away.status == 503
    assert int(away.field("Retry-After") or 0) > 0
    assert away.json()["resourceType"] == "OperationOutcome"
    assert (await ask(gateway.port, f"/R4/Binary/{CANARY}-letter")).body == LETTER


def test_health_of_a_running_gateway_is_0(gateway: Gateway, ports: dict[str, str]) -> None:
    done = command("health", "--config", gateway.server.log.with_name("gateway.yaml"), **ports)
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "ready"), done.stderr


@pytest.mark.requirement("FR-10", "FR-157")
async def test_the_log_has_only_listed_keys_and_nothing_of_what_was_asked(gateway: Gateway) -> None:
    letter, json_type = f"/R4/Binary/{CANARY}-letter", "application/fhir+json"
    told = {"User_Agent": CANARY, "Authorization": f"Bearer {CANARY}", "X_Request_Id": f"no {CANARY} id"}
    targets = [
        letter,
        f"{letter}?_format=json&{CANARY}={CANARY}",
        f"{letter}?_format={CANARY}",
        f"{letter}/_history/{CANARY}",
        f"/R4/Binary/no-{CANARY}",
        f"/R4/Binary/{CANARY * 20}",
        f"/R4/Binary/%00{CANARY}",
        f"/R4/Binary/away.{CANARY}",
        f"/R4/Binary?{CANARY}=1",
        f"/R4/{CANARY.title()}/1",
        f"/{CANARY}",
        "/STU3/metadata",
    ]
    answers = [await ask(gateway.port, target, **told) for target in targets]
    answers.append(await ask(gateway.port, letter, Accept=f"{CANARY}/{CANARY}, {json_type};q=0"))
    answers.append(await ask(gateway.port, letter, X_Request_Id="plain-id", Range="bytes=0-3"))
    malformed = (
        f"{CANARY.upper()} {letter} HTTP/1.1\r\nHost: h\r\n\r\n",
        f"GET /{CANARY} HTTP/{CANARY}\r\n\r\n",
        f"GET {letter} HTTP/1.1\r\nHost: h\r\n{CANARY} bad\r\n\r\n",
    )
    for bytes_sent in malformed:
        answers += await exchange("127.0.0.1", gateway.port, bytes_sent.encode())
    assert {200, 206, 400, 404, 406, 503} <= {answer.status for answer in answers}

    requests = await lines_of(gateway, answers)
    lines = gateway.lines()
    assert {key for line in lines for key in line} <= KEYS
    assert CANARY not in gateway.server.log.read_text().lower()
    assert [line["status"] for line in requests] == [answer.status for answer in answers]
    assert {line["outcome"] for line in requests} == {"complete", "refused"}
    assert "plain-id" in {line.get("request_id") for line in requests}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"]) for line in lines)


def request_lines(gateway: Gateway) -> list[dict[str, Any]]:
    return [line for line in gateway.lines() if line.get("event") == "request"]


async def lines_of(gateway: Gateway, answers: list[Answer]) -> list[dict[str, Any]]:
    """The lines of these answers' requests, once all are there: a thread writes them in a moment."""
    ids = [answer.field("X-Request-Id") for answer in answers]
    async with asyncio.timeout(5):
        while len(found := [line for line in request_lines(gateway) if line["request_id"] in ids]) < len(ids):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return sorted(found, key=lambda line: ids.index(line["request_id"]))


async def test_lines_of_one_document_can_be_matched_but_not_read_back(gateway: Gateway) -> None:
    targets = (f"/R4/Binary/{CANARY}-letter", f"/STU3/Binary/{CANARY}-letter", f"/R4/Binary/other-{CANARY}")
    answers = [await ask(gateway.port, target) for target in targets]
    first, second, other = (line["document"] for line in await lines_of(gateway, answers))
    assert first == second != other


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_sigterm_lets_a_running_download_end_and_refuses_new_ones(tmp_path: Path) -> None:
    """One reader goes on reading and gets the whole; one that stopped reading is cut off when the drain is over."""
    admin = free_port()
    configuration = {
        "server": {"limits": {"drain": "3s"}},
        "admin": {"port": admin},
        "sources": {"letters": source(archive(tmp_path))},
    }
    with serving(configuration, tmp_path / "serving") as gateway:
        big = request(f"/R4/Binary/{CANARY}-big")
        async with (
            connect(gateway.host, gateway.port, receive_buffer=1 << 16) as reading,
            connect(gateway.host, gateway.port, receive_buffer=1 << 16) as stalled,
            connect(gateway.host, gateway.port) as idle,
        ):
            await idle.send(request(f"/R4/Binary/{CANARY}-letter"))
            assert (await idle.answer()).body == LETTER
            begun = []
            for connection in (reading, stalled):
                await connection.send(big)
                begun.append(await connection.receive())
            gateway.server.signal(signal.SIGTERM)
            async with asyncio.timeout(2):
                while (state := await ask(admin, "/readyz")).status == 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert (state.status, state.json()["status"]) == (503, "draining")
            assert (await ask(admin, "/livez")).status == 200
            with pytest.raises(ConnectionRefusedError), socket.create_connection((gateway.host, gateway.port)):
                pass
            health = await asyncio.to_thread(command, "health", "--config", tmp_path / "serving" / "gateway.yaml")
            assert health.returncode == 1
            head, _, body = (begun[0] + await reading.rest()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert (body == BIG, reading.ending) == (True, Ending.CLOSED)
            assert (await idle.rest(), idle.ending) == (b"", Ending.CLOSED)
            assert await asyncio.to_thread(gateway.server.popen.wait, 10) == 0
            assert len(begun[1] + await stalled.rest()) < len(BIG)
            assert stalled.ending is Ending.RESET
        lines = request_lines(gateway)
        assert [line["outcome"] for line in lines] == ["complete", "complete", "aborted"]
        assert lines[-1]["code"] == ENDED_BY_SHUTDOWN.code
        assert 0 < lines[-1]["bytes"] < len(BIG)
        assert [(line["event"], line.get("open")) for line in gateway.lines()][-1] == ("stopped", 1)


# --- failure to start ------------------------------------------------------------------------------------------------


def test_a_port_in_use_is_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        listeners = {"server": {"port": port}, "admin": {"port": 0}}
        done = refused_to_start({**listeners, "sources": {"letters": source(tmp_path)}}, tmp_path)
    assert done.returncode == 2
    assert f"Port {port} on 127.0.0.1 is in use" in done.stderr
    assert "`server.port`" in done.stderr


def test_a_root_that_does_not_exist_is_a_mistake_with_its_place(tmp_path: Path) -> None:
    listeners = {"server": {"port": 0}, "admin": {"port": 0}}
    done = refused_to_start({**listeners, "sources": {"letters": source(tmp_path / "nowhere")}}, tmp_path)
    assert done.returncode == 2
    assert re.match(rf"{tmp_path}/gateway.yaml:\d+:\d+  sources\.letters\.options\.root\n", done.stderr)
    assert "does not exist" in done.stderr


# --- what is loaded when ---------------------------------------------------------------------------------------------

LATE = ("redis.", "smbprotocol.", "fhir.resources.", "lxml.", "rich.")
"""Packages that serving does not load before something needs them."""


def imported(gateway: Gateway) -> set[str]:
    """The packages of `LATE` that the process has loaded: Python tells each module when it is there."""
    modules = set(re.findall(r"^import time:.*\| +(\S+)$", gateway.server.log.read_text(), re.MULTILINE))
    assert "gateway.app" in modules, "Python does not say what it loads"
    return {package for package in LATE for module in modules if module.startswith(package)}


async def test_a_serving_process_loads_what_it_needs_when_it_needs_it(tmp_path: Path) -> None:
    configuration = {"sources": {"letters": source(archive(tmp_path))}}
    with serving(configuration, tmp_path / "serving", interpreter=("-X", "importtime")) as gateway:
        for query in ("", "?_format=json", "?_format=xml"):
            assert (await ask(gateway.port, f"/R4/Binary/{CANARY}-letter{query}")).status == 200
        assert imported(gateway) == set(), "neither the start nor a read needs any of them"
        assert (await ask(gateway.port, "/R4/Binary/none")).status == 404
        assert imported(gateway) == set(), "nor does a refusal, for which nobody has time while an archive hangs"
        assert (await ask(gateway.port, "/R4/Binary/none?_format=xml")).status == 404
        assert imported(gateway) == {"fhir.resources.", "lxml."}
        gateway.server.signal(signal.SIGINT)
        assert await asyncio.to_thread(gateway.server.popen.wait, 10) == 0
