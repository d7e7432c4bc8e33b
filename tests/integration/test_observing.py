"""What an operator sees of a running gateway on its admin listener: the status page, the numbers, the level of the log.

One gateway with a folder, an archive that is away, a cache and an audit trail; all is asked through the wire.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from gateway.cli import main
from gateway.metrics.catalogue import NAMES
from tests.support.gateway import Gateway, serving
from tests.support.ports import free_port

LETTER = b"%PDF-1.7 a letter"


@dataclass
class Running:
    """A gateway, where it is asked, and by which configuration."""

    gateway: Gateway
    admin: int
    config: Path

    def get(self, path: str) -> tuple[int, Any]:
        return asked(self.admin, "GET", path)

    def status(self) -> dict[str, Any]:
        code, said = self.get("/status")
        assert code == 200
        return dict(said)

    def numbers(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        connection = HTTPConnection("127.0.0.1", self.admin, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return found

    def read(self, id: str, method: str = "GET") -> int:
        connection = HTTPConnection("127.0.0.1", self.gateway.port, timeout=10)
        try:
            connection.request(method, f"/R4/Binary/{id}")
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def command(self, *words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, [*words, "--config", str(self.config)])
        return done.exit_code, done.output


def asked(port: int, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    sent = {"Content-Type": "application/json"} | headers if body is not None else headers
    try:
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if answer.getheader("Content-Type") == "application/json" else data
    finally:
        connection.close()


def source(folder: Path, **more: Any) -> dict[str, Any]:
    ids = {"scheme": "template", "pattern": "{id}.*"}
    return {"adapter": "filesystem", "ids": ids, "options": {"root": str(folder)}, **more}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("observing")
    folder = directory / "archive"
    folder.mkdir()
    (folder / "letter.pdf").write_bytes(LETTER)
    away = source(folder, prefix="away.")
    away["options"]["require_mount"] = True  # which it is not: as if its share were not mounted
    admin = free_port()
    configuration = {
        "admin": {"port": admin},
        "audit": {"directory": str(directory / "audit")},
        "cache": {"backend": "memory"},
        "sources": {"letters": source(folder, read="fill"), "scans": away},
    }
    with serving(configuration, directory) as gateway:
        yield Running(gateway, admin, directory / "gateway.yaml")


# --- the status page -------------------------------------------------------------------------------------------------


def test_the_status_page_names_what_is_away_and_the_cure(running: Running) -> None:
    assert running.read("letter") == 200
    assert running.read("away.letter") == 503
    status = running.status()
    assert status["status"] == "ready", "an archive that is away is no reason not to be"
    letters, scans = status["sources"]["letters"], status["sources"]["scans"]
    assert (letters["state"], letters["error"], letters["in_flight"]) == ("ok", None, 0)
    assert letters["latency_ms"]["p99"] > 0
    assert scans["state"] == "away"
    assert scans["error"]["code"].startswith("GW-SRC-")
    assert len(scans["error"]["cure"]) > 20
    assert "mount" in scans["error"]["detail"]
    assert status["uptime_seconds"] > 0
    assert status["config"]["state"] == "ok"


def test_the_status_page_tells_of_the_cache_and_the_trail(running: Running) -> None:
    before = running.status()
    assert [running.read("letter") for _ in range(3)] == [200] * 3
    after = running.status()
    assert after["cache"]["backend"] == "memory"
    assert after["cache"]["entries"] == 1
    assert after["cache"]["hits"] >= before["cache"]["hits"] + 2
    assert 0 < after["sources"]["letters"]["cache_hit_ratio"] <= 1
    assert after["sources"]["scans"]["cache_hit_ratio"] is None
    assert after["audit"]["state"] == "written"
    assert after["audit"]["records"] > before["audit"]["records"]


def test_the_status_in_a_terminal(running: Running) -> None:
    code, text = running.command("status")
    assert code == 0
    for line in (r"letters +ok", r"scans +away", "GW-SRC-[0-9]+", "mount", "memory", "written"):
        assert re.search(line, text), f"{line} in\n{text}"
    code, text = running.command("status", "--json")
    assert (code, json.loads(text)["status"]) == (0, "ready")
    code, text = running.command("health", "--verbose")
    assert code == 0
    assert "scans" in text


def test_the_status_of_a_gateway_that_is_not_there(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(f"admin: {{port: {free_port()}}}\n")
    for words in (["status"], ["log"]):
        done = CliRunner().invoke(main, [*words, "--config", str(config)])
        assert done.exit_code == 1
        assert "running" in done.output


# --- probes ----------------------------------------------------------------------------------------------------------


def test_probes_are_for_machines_and_verbose_for_people(running: Running) -> None:
    for path, word in (("/livez", "alive"), ("/readyz", "ready"), ("/startupz", "started")):
        code, said = running.get(path)
        assert (code, said.keys()) == (200, {"status", "version"})
        assert said["status"] == word
        code, said = running.get(f"{path}?verbose")
        assert code == 200
        assert said["sources"] == {"letters": "ok", "scans": "away"}
        assert said["cache"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "code", "allow"),
    [("POST", "/livez", 405, "GET, HEAD"), ("DELETE", "/metrics", 405, "GET, HEAD"), ("GET", "/cache/purge", 405, "POST"),
     ("PUT", "/log", 405, "GET, HEAD, POST"), ("GET", "/elsewhere", 404, None)],
)  # fmt: skip
def test_what_the_admin_listener_does_not_have(
    running: Running, method: str, path: str, code: int, allow: str | None
) -> None:
    connection = HTTPConnection("127.0.0.1", running.admin, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    assert (answer.status, answer.getheader("Allow")) == (code, allow)
    assert code != 404 or {"/status", "/metrics", "/log", "/cache", "/audit", "/readyz"} <= {*said["paths"]}


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_what_readers_do_can_be_seen_in_the_numbers(running: Running) -> None:
    def value(numbers: dict[str, Any], name: str, **labels: str) -> float:
        return float(numbers.get(name, {}).get(tuple(sorted(labels.items())), 0))

    before = running.numbers()
    assert running.read("letter") == 200
    assert running.read("letter", "HEAD") == 200
    assert running.read("unknown") == 404
    assert running.read("away.letter") == 503
    after = running.numbers()

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    read = {"source": "letters", "interaction": "read"}
    assert grown("gateway_requests_total", method="GET", code="200", **read) == 1
    assert grown("gateway_requests_total", method="HEAD", code="200", **read) == 1
    assert grown("gateway_requests_total", method="GET", code="404", **read) == 1
    assert grown("gateway_requests_total", method="GET", code="503", source="scans", interaction="read") == 1
    assert grown("gateway_cache_requests_total", source="letters", cache="hit") == 2
    assert grown("gateway_ttfb_seconds_count", source="letters", cache="hit") == 2
    assert grown("gateway_request_duration_seconds_bucket", source="letters", cache="hit", le="+Inf") == 2
    assert grown("gateway_audit_records_total") > 0
    assert grown("gateway_response_bytes_total", source="letters") > len(LETTER)
    assert value(after, "gateway_source_up", source="letters") == 1
    assert value(after, "gateway_source_up", source="scans") == 0
    assert value(after, "gateway_ready") == 1
    assert value(after, "gateway_cache_fill_bytes_total", source="letters") >= len(LETTER)
    assert value(after, "gateway_process_resident_memory_bytes") > 1e7


def test_nothing_is_exposed_that_the_page_does_not_have(running: Running) -> None:
    running.read("letter")
    exposed = running.numbers().keys()
    assert exposed <= NAMES
    assert len(exposed) > 30


# --- the log ---------------------------------------------------------------------------------------------------------


def test_the_level_of_the_log_changes_while_it_runs(running: Running) -> None:
    def lines(event: str) -> int:
        return sum(line.get("event") == event for line in running.gateway.lines())

    def changed(times: int) -> None:
        """Wait until the log says so, and with it everything from before: lines are written a moment later."""
        end = time.monotonic() + 10
        while lines("log level changed") < times:
            assert time.monotonic() < end
            time.sleep(0.02)

    said = asked(running.admin, "POST", "/log", {"level": "error"})
    assert said == (200, {"level": "error", "configured": "info", "until": None})
    changed(1)
    before = lines("request")
    assert running.read("letter") == 200
    code, text = running.command("log", "--level", "debug", "--for", "10m")
    assert code == 0
    assert "debug" in text
    assert running.get("/log")[1]["until"] is not None
    assert running.read("letter") == 200
    code, text = running.command("log", "--reset")
    assert code == 0
    assert running.get("/log")[1] == {"level": "info", "configured": "info", "until": None}
    changed(3)
    assert lines("request") == before + 1, "all but the one below its level"


@pytest.mark.parametrize(
    "body",
    [{}, {"level": "loud"}, {"level": "debug", "for": "soon"}, {"level": "debug", "for": 5}, {"level": ["debug"]},
     {"level": "debug", "for": "0s"}, {"level": "debug", "for": "999999999d"}, {"level": "debug", "also": 1}, [], "debug"],
)  # fmt: skip
def test_a_level_that_is_none_changes_nothing(running: Running, body: object) -> None:
    before = running.get("/log")
    code, said = asked(running.admin, "POST", "/log", body)
    assert code == 400
    assert "level" in said["cure"]
    assert running.get("/log") == before


def test_no_page_in_a_browser_changes_the_log(running: Running) -> None:
    before = running.get("/log")
    assert asked(running.admin, "POST", "/log", {"level": "error"}, Origin="https://site.test")[0] == 403
    assert asked(running.admin, "POST", "/log", {"level": "error"}, **{"Content-Type": "text/plain"})[0] == 400
    assert running.get("/log") == before
