"""Somebody who follows the documentation: types a page's commands in their order, in a directory of their own.

The table `RULES` is all that may be typed. What cannot be run here (an installation, the whole suite) names the test
that runs it. Places and ports of the documentation are changed for those of the test, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.meta.doc_blocks import Block, Page, commands
from tests.support.compose import Topology
from tests.support.ports import free_port
from tests.support.process import ServerFailed, port_ready, require, running

PROJECT = Path(__file__).parents[2]
ARCHIVE = PROJECT / "config" / "sample-archive"

CONFIGURATION = """\
auth: {mode: none}
sources:
  letters: {adapter: filesystem, ids: {scheme: template, pattern: "{id}.*"}, options: {root: /srv/letters}}
"""
"""What a page starts with when it does not write a configuration itself, and what completes a part of one."""


SAVED = re.compile(r"# (gateway\.yaml|redis\.conf)\n")
"""How a block begins that a reader is to save under this name before going on."""


class Untrue(AssertionError):
    """The documentation says something that is not so."""


class Reader:
    """Somebody who types a page's commands, one after the other, in a directory of their own."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home = home
        self.work = home / "work"
        self.public, self.admin, self.redis = free_port(), free_port(), free_port()
        self.share: int | None = None
        self._stack = stack
        self._serving = stack.enter_context(ExitStack())
        for name in ("work/.venv/bin", "bin", "srv/letters", "archive/letters", "archive/scans", "run/secrets"):
            (home / name).mkdir(parents=True)
        for path in (self.work / ".venv" / "bin" / "fhir-gateway", home / "bin" / "fhir-gateway"):
            path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway "$@"\n')
            path.chmod(0o755)
        # With this curl takes an answer that is not a success for a failure.
        (home / ".curlrc").write_text("fail\n")
        for number, document in enumerate(sorted((ARCHIVE / "discharge").rglob("*.pdf"))):
            shutil.copy(document, home / "srv" / "letters" / f"letter-{number}.pdf")
        (home / "archive" / "scans.csv").write_text("id,path\n")
        for name in ("smb", "client.password", "redis-password"):
            (home / "run" / "secrets" / name).write_text("a password\n")
        for name in ("audit-key", "seal", "seal-2026", "cache-key"):
            (home / "run" / "secrets" / name).write_bytes(os.urandom(32))
        (self.work / "clients").touch()
        (home / "run" / "secrets" / "assertion.xml").write_text("<Assertion/>\n")
        (self.work / "gateway.yaml").write_text(self.mapped(CONFIGURATION))
        self.environ = {
            **os.environ,
            "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT),
            "CURL_HOME": str(home),
            "GATEWAY__SERVER__PORT": str(self.public),
            "GATEWAY__ADMIN__PORT": str(self.admin),
        }

    def mapped(self, text: str) -> str:
        """`text` with the documentation's places and ports changed for those of this reader.

        Where there is a file server, on the port `share`, it is the documentation's.
        """
        if self.share is not None:
            there = rf"\1server: 127.0.0.1\n\1port: {self.share}"
            text = re.sub(r"^( +)server: fileserver\.trust\.local$", there, text, flags=re.MULTILINE)
        text = re.sub(r"(?<![\w/])/(srv|archive|run)/", lambda found: f"{self.home}{found[0]}", text)
        ports = {8080: self.public, 8443: self.public, 8081: self.admin, 6379: self.redis}
        return re.sub(
            rf"\b127\.0\.0\.1:({'|'.join(map(str, ports))})\b", lambda found: f"127.0.0.1:{ports[int(found[1])]}", text
        )

    def follow(self, page: Page) -> None:
        """Run every command of `page`, with the configurations that it writes on the way. Raises `Untrue`."""
        for block in page.blocks:
            if saved := SAVED.match(block.text):
                (self.work / saved[1]).write_text(self.mapped(block.text))
            if block.language not in ("sh", "console"):
                continue
            for command, shown in commands(block):
                self.type(command, shown, block)

    def type(self, command: str, shown: str | None, block: Block) -> None:
        act = next((act for pattern, act in RULES if re.fullmatch(pattern, command)), None)
        if act is None:
            raise Untrue(f"{block}: this command is not run by any test: {command}")
        try:
            said = act(self, command)
        except (subprocess.CalledProcessError, ServerFailed) as error:
            raise Untrue(f"{block}: {command}\n{error}\n{getattr(error, 'stderr', '')}") from None
        missing = [line for line in (shown or "").splitlines() if line.strip() and line.strip() not in said]
        if missing:
            raise Untrue(f"{block}: {command}\ndoes not say: {missing}\nbut: {said}")

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", self.mapped(command)],
            cwd=self.work, env=self.environ, capture_output=True, text=True, errors="replace", timeout=100, check=True,
        )  # fmt: skip
        return done.stdout + done.stderr

    def init(self, command: str) -> str:
        """`config init` writes what the page goes on with, so nothing may be there before, and the demonstration is ended."""
        self._serving.close()
        (self.work / "gateway.yaml").unlink(missing_ok=True)
        return self.run(command)

    def curl(self, command: str) -> str:
        """Where a page asks for the status, an answer that is not a success is what it shows."""
        require("curl")
        return self.run(command.replace("curl ", "curl --no-fail ", 1) if "%{http_code}" in command else command)

    def search(self, command: str) -> str:
        """Log lines are written behind the answers that they tell of."""
        for _ in range(100):
            with contextlib.suppress(subprocess.CalledProcessError):
                return self.run(command)
            time.sleep(0.02)
        return self.run(command)

    def serve(self, command: str) -> str:
        return self._start(self.mapped(command), "ready http")

    def composed(self, command: str) -> str:
        """The first step's gateway as a process of this machine."""
        (self.home / "compose").mkdir()
        site = Topology("1-folder", self.home / "compose")
        (self.work / "gateway.yaml").write_text(site.configuration.read_text().replace("0.0.0.0", "127.0.0.1"))
        return self._start("fhir-gateway serve --config gateway.yaml", "ready http")

    def redis_server(self, command: str) -> str:
        """Redis in the background, on this reader's port."""
        require("redis-server")
        started = running(
            command,
            [*command.split(), "--port", str(self.redis), "--bind", "127.0.0.1"],
            log=self.home / "redis.log",
            ready=port_ready(self.redis),
            cwd=self.work,
        )
        return self._stack.enter_context(started).out.read_text()

    def openssl(self, command: str) -> str:
        require("openssl")
        return self.run(command)

    def deployed(self, command: str) -> str:
        """A file of the project that is put in its place on a server."""
        source = PROJECT / command.split()[3]
        if not source.is_file():
            raise Untrue(f"there is no {source}")
        return ""

    def demo(self, command: str) -> str:
        """`make demo` is this command after an installation, which `test_make` shows; its ports are the page's."""
        given = f"--port {self.public} --admin-port {self.admin} --directory demo --large 64KiB"
        said = self._start(f"fhir-gateway demo {given}", "End with Ctrl-C")
        assert len(re.findall(r"^  curl ", said, re.MULTILINE)) == 5
        return said

    def _start(self, command: str, ready: str) -> str:
        """Leave a server running until the page starts another one."""
        self._serving.close()
        started = running(
            command,
            ["sh", "-ec", f"exec {command}"],
            log=self.home / "server.log",
            ready=lambda server: ready in server.out.read_text(),
            environ=self.environ,
            cwd=self.work,
        )
        return self._serving.enter_context(started).out.read_text()


def by_another_test(module: str, name: str) -> Callable[[Reader, str], str]:
    """A command that the test `name` in `module` stands for."""

    def act(reader: Reader, command: str) -> str:
        if f"def {name}(" not in (PROJECT / module).read_text():
            raise Untrue(f"{module} has no {name} that runs: {command}")
        return ""

    return act


RULES: tuple[tuple[str, Callable[[Reader, str], str]], ...] = (
    (r"make demo|fhir-gateway demo", Reader.demo),
    (
        "make test",
        by_another_test("tests/meta/test_make.py", "test_test_sets_everything_up_and_ends_with_the_closing_line"),
    ),
    (r"python3 -m venv \.venv", by_another_test("tests/meta/test_packaging.py", "installed")),
    (r"\.venv/bin/pip install (\.|'\.\[smb\]')", by_another_test("tests/meta/test_packaging.py", "installed")),
    (r"python3 -m venv /opt/fhir-gateway", by_another_test("tests/meta/test_packaging.py", "installed")),
    (
        r"/opt/fhir-gateway/bin/python -m pip install '\.\[smb\]'",
        by_another_test("tests/meta/test_packaging.py", "installed"),
    ),
    (r"install -m 644 deploy/systemd/\S+ /\S+", Reader.deployed),
    (
        r"systemd-sysusers|systemd-tmpfiles --create|systemctl enable --now fhir-gateway|journalctl -u fhir-gateway -o cat"
        r"|sudo -u fhir-gateway /opt/fhir-gateway/bin/fhir-gateway check --config /etc/fhir-gateway/gateway\.yaml",
        by_another_test("tests/meta/test_systemd.py", "test_the_account_and_its_folders_are_made"),
    ),
    (
        r"docker compose --project-directory deploy/compose/1-folder up --build --detach",
        Reader.composed,
    ),
    (
        r"docker compose --project-directory deploy/compose/4-xds .+|deploy/compose/make-secrets deploy/compose/4-xds",
        by_another_test("tests/integration/test_compose.py", "test_a_repository_behind_mutual_tls"),
    ),
    ("make image", by_another_test("tests/meta/test_make.py", "test_the_image_is_built_with_its_version")),
    (
        r"kubectl (kustomize|apply --kustomize) deploy/kubernetes/examples/(sidecar|replicas)",
        by_another_test("tests/meta/test_kubernetes.py", "test_what_is_committed_is_what_the_example_comes_to"),
    ),
    (
        r"kubectl create (namespace viewer|secret generic fhir-gateway --namespace viewer .+)",
        by_another_test(
            "tests/meta/test_kubernetes.py", "test_the_secret_that_is_made_by_hand_holds_what_the_configuration_names"
        ),
    ),
    (
        r"kubectl exec --namespace viewer deploy/viewer --container fhir-gateway -- fhir-gateway (status|check)"
        r" --config /etc/fhir-gateway/gateway\.yaml",
        by_another_test("tests/meta/test_kubernetes.py", "test_the_gateways_pod_keeps_every_rule"),
    ),
    (r"redis-server redis\.conf", Reader.redis_server),
    (r"openssl .+", Reader.openssl),
    (r"grep \S+ gateway\.log", Reader.search),
    (r"(\.venv/bin/)?fhir-gateway serve .+", Reader.serve),
    (r"(\.venv/bin/)?fhir-gateway config init .+", Reader.init),
    (r"(\.venv/bin/)?fhir-gateway .+", Reader.run),
    (r"curl .+", Reader.curl),
    (r"(head -c \d+ /dev/urandom( \| base64)?|printf '[^']+'( \"\$\(tr .+\)\")?) >>? \S+", Reader.run),
    (r"chmod 600 \S+", Reader.run),
)
"""Every command that the documentation may hold, and how it is run. The first that fits decides."""
