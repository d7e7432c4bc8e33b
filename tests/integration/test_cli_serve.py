"""`fhir-gateway serve`, `health` and `demo`: the whole process, its start and end, and what stops it from starting."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import uvloop
import yaml
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.cli.demonstrating import CONFIGURATION, TRY
from gateway.demo import archive_directory
from tests.support.gateway import PROJECT, serving
from tests.support.process import Server, running

LATE = ("redis", "smbprotocol", "fhir.resources", "lxml", "rich.", "sqlite3")
"""What serving a folder does not load before it is needed. `rich` alone is an attempt that was refused."""


@pytest.fixture(scope="module", autouse=True)
def _libuv() -> None:
    """libuv opens a pipe for its signals once in a process and keeps it: no test left that behind."""
    uvloop.new_event_loop().close()


def run(*arguments: str | Path, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "letter.pdf").write_bytes(b"%PDF-1.4")
    return written(tmp_path, "admin: {port: 0}")


def written(directory: Path, *lines: str) -> Path:
    path = directory / "gateway.yaml"
    source = '{adapter: filesystem, ids: {scheme: template, pattern: "{id}.pdf"}, options: {root: archive}}'
    path.write_text("\n".join(["auth: {mode: none}", "sources:", f"  letters: {source}", *lines]) + "\n")
    return path


# --- serve ---------------------------------------------------------------------------------------------------------


def test_a_served_folder_is_ready_healthy_lean_and_ends_when_told(config: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        admin = free.getsockname()[1]
    config.write_text(config.read_text().replace("admin: {port: 0}", f"server: {{port: 0}}\nadmin: {{port: {admin}}}"))
    with serving(config, tmp_path / "run", interpreter=["-X", "importtime"]) as gateway:
        answer = run("health", "--config", config)
        assert (answer.exit_code, json.loads(answer.stdout)["status"]) == (0, "ready")
        trace = gateway.server.log.read_text(errors="replace")
        assert gateway.server.out.read_text() == f"ready {gateway.url}\n"
        assert gateway.terminate() == 0
    loaded = {line.rsplit("|", 1)[-1].strip() for line in trace.splitlines() if line.startswith("import time:")}
    assert "gateway.app" in loaded
    assert not [module for module in loaded if module.startswith(LATE)]
    answer = run("health", "--config", config)
    assert answer.exit_code == 1
    assert "No answer from" in answer.stderr


def test_a_wrong_configuration_is_not_served(tmp_path: Path) -> None:
    result = run("serve", "--config", written(tmp_path, "server: {prot: 1}"))
    assert result.exit_code == 2
    assert "Did you mean `port`?" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("listener", ["server", "admin"])
def test_a_port_in_use_is_named(tmp_path: Path, listener: str) -> None:
    other = "admin" if listener == "server" else "server"
    (tmp_path / "archive").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("serve", "--config", written(tmp_path, f"{listener}: {{port: {port}}}", f"{other}: {{port: 0}}"))
    assert result.exit_code == 2
    assert f"Port {port} on 127.0.0.1 is in use" in result.stderr
    assert f"(process {os.getpid()})" in result.stderr
    assert f"choose another port in `{listener}.port`" in result.stderr
    assert "Traceback" not in result.output


def test_an_address_of_another_machine_is_named(config: Path) -> None:
    allowed = config.read_text().replace("mode: none", "mode: none, allow_anonymous: true")
    config.write_text(allowed + "server: {host: 192.0.2.1, port: 0}\n")
    result = run("serve", "--config", config)
    assert result.exit_code == 2
    assert "192.0.2.1 is not an address of this machine" in result.stderr


def test_options_that_cannot_work_are_named_with_their_line(tmp_path: Path) -> None:
    result = run("serve", "--config", written(tmp_path, "server: {port: 0}", "admin: {port: 0}"))
    assert result.exit_code == 2
    assert "gateway.yaml:3:" in result.stderr
    assert "sources.letters.options.root" in result.stderr


def test_a_manifest_that_cannot_be_used_is_explained(config: Path, tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("id,path\na,letter.pdf\na,letter.pdf\n")
    ids = '{scheme: template, pattern: "{id}.pdf"}'
    config.write_text(config.read_text().replace(ids, "{scheme: manifest, file: index.csv}") + "server: {port: 0}\n")
    result = run("serve", "--config", config)
    assert result.exit_code == 2
    assert "sources.letters.ids.file" in result.stderr
    assert "Line 3" in result.stderr


# --- health --------------------------------------------------------------------------------------------------------


@contextmanager
def answering(status: int) -> Iterator[int]:
    """An admin listener that answers with this status; yields its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_health_is_the_readiness_of_the_process(tmp_path: Path, status: int, code: int) -> None:
    with answering(status) as port:
        assert run("health", "--config", written(tmp_path, f"admin: {{host: 0.0.0.0, port: {port}}}")).exit_code == code
        assert run("health", GATEWAY__ADMIN__PORT=str(port)).exit_code == code


def test_health_needs_a_port(config: Path) -> None:
    result = run("health", "--config", config)
    assert result.exit_code == 2
    assert "admin.port" in result.stderr


def test_health_is_cheap() -> None:
    script = (
        "import sys; from click.testing import CliRunner; from gateway.cli import main\n"
        "CliRunner().invoke(main, ['health', '--config', 'config/gateway.yaml'])\n"
        "print(sorted({'pydantic', 'aiohttp', 'rich', 'asyncio', 'gateway.settings', 'structlog'} & {*sys.modules}))"
    )
    environ = {**os.environ, "GATEWAY__ADMIN__PORT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


# --- explain and adapters ------------------------------------------------------------------------------------------


def test_a_code_is_explained() -> None:
    result = run("explain", "gw_doc_001")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "GW-DOC-001  No such document")
    result = run("explain", "GW-DOC-999")
    assert result.exit_code == 2
    assert "Did you mean" in result.stderr


def test_adapters_are_listed() -> None:
    listed = json.loads(run("adapters", "--json").stdout)
    assert {"filesystem", "memory"} <= {row["name"] for row in listed if row["usable"]}
    assert "filesystem  The documents below one folder." in run("adapters").stdout


# --- demo ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def printed(tmp_path: Path) -> Iterator[list[str]]:
    """The commands that a running demonstration printed."""
    command = [sys.executable, "-m", "gateway", "demo", "--port", "0", "--admin-port", "0", "--large", "1MiB"]
    place = tmp_path / "demo"
    with running(
        "the demonstration",
        [*command, "--directory", place],
        log=tmp_path / "demo.log",
        ready=lambda server: "Ctrl-C" in server.out.read_text(),
        cwd=PROJECT,
    ) as server:
        assert (place / "sample-archive" / "large" / "large-scan.tif").stat().st_size == 1 << 20
        yield _commands(server)


def _commands(server: Server) -> list[str]:
    return re.findall(r"^  (curl .*)$", server.out.read_text(), re.MULTILINE)


def test_the_requests_of_the_demonstration_work_as_they_are_printed(printed: list[str], tmp_path: Path) -> None:
    assert shutil.which("curl"), "This test needs curl: apt-get install curl"
    assert len(printed) == len(TRY) == 5
    out = [
        subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False, timeout=20).stdout
        for command in printed
    ]
    original = (archive_directory() / "discharge" / "2021" / "discharge-0417.pdf").read_bytes()
    assert (tmp_path / shlex.split(printed[0])[2]).read_bytes() == original
    assert out[1].startswith(b'{"resourceType":"Binary"')
    assert base64.b64encode(original)[:100] in out[1]
    assert ElementTree.fromstring(out[2]).tag == "{http://hl7.org/fhir}Binary"
    assert json.loads(out[3])["resourceType"] == "CapabilityStatement"
    head, _, body = out[4].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 410 ")
    assert json.loads(body)["issue"][0]["code"] == "deleted"


def test_the_demonstration_serves_what_config_demo_yaml_does() -> None:
    shown = yaml.safe_load((PROJECT / "config" / "demo.yaml").read_text())
    used = yaml.safe_load(CONFIGURATION.format(port=8080, admin_port=8081))
    del used["admin"]
    assert used == shown


def test_the_demonstration_names_a_port_in_use_and_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("demo", "--port", str(port), "--admin-port", "0", "--large", "64KiB", "--directory", tmp_path)
    assert result.exit_code == 2
    assert f"Port {port}" in result.stderr
    assert "--port" in result.stderr


@pytest.mark.parametrize("size", ["many", "1B"])
def test_a_large_document_of_no_size_is_refused(tmp_path: Path, size: str) -> None:
    result = run("demo", "--large", size, "--directory", tmp_path)
    assert result.exit_code == 2
    assert "--large" in result.stderr
