"""Asking the commands about one case of the shelf, and making their answers the same on every machine."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from string import Template

from click.testing import CliRunner

from gateway.cli import main
from tests.broken.site import Site
from tests.support.folder import unprivileged

SHELF = Path(__file__).with_name("shelf")

ODD: dict[str, bytes] = {
    "odd-empty": b"",
    "odd-utf16": "auth: {mode: none}\n".encode("utf-16"),
    "odd-latin1": "auth: {mode: none}\nsources:\n  # Röntgen\n  letters: {}\n".encode("latin-1"),
    "odd-control": b"auth: {mode: none}\nlog: {level: in\x00fo}\n",
    "odd-zip": b"PK\x03\x04\x14\x00\x08\x08\x08\x00" + bytes(range(256)),
    "odd-bom": b"\xef\xbb\xbfauth: {mode: none}\nlog: {levle: debug}\nsources: {}\n",
}
"""Files that an editor would not keep as they are."""

FULL = """
mkdir -p "$1"
mount -t tmpfs -o size=64k,nr_inodes=2 tmpfs "$1"
head -c 100000 /dev/zero 2>/dev/null > "$1/filler"
exec "$2" -m gateway "$3" --config "$4"
"""
"""A shell script: a command on a machine with a full disk, which only it sees."""

PATIENCE = 15.0
"""Seconds after which a gateway that started is told to end."""

_ACCOUNT = re.compile(r"\(user id \d+\)")
_FREE_ROOM = re.compile(r"\b\d+ MiB are free")
_DURATION = re.compile(r"\bin \d+ ms *")


@dataclass(frozen=True, slots=True)
class Case:
    """A broken configuration. `needs` are the words in the comments at its top."""

    name: str
    text: bytes
    needs: dict[str, str]

    @property
    def answer(self) -> Path:
        return SHELF / f"{self.name}.txt"

    def environment(self, site: Site) -> dict[str, str]:
        given = Template(self.needs.get("environment", "")).substitute(_known(site))
        return dict(one.split("=", 1) for one in given.split())


OTHERS = ("listener-port-of-another-account",)
"""What only an administrator can have: a server that is another account than whoever asks."""


def cases() -> list[Case]:
    """All of them that this account can have, by name."""
    found = [Case(name, text, {}) for name, text in ODD.items()]
    for path in SHELF.glob("*.yaml"):
        needs = dict(re.findall(r"^# (environment|account|disk): (.*)$", path.read_text(), re.MULTILINE))
        found.append(Case(path.stem, path.read_bytes(), needs))
    mine = [case for case in found if os.geteuid() == 0 or case.name not in OTHERS]
    return sorted(mine, key=lambda case: case.name)


def written(case: Case, site: Site) -> Path:
    """The configuration at the site, with the ports of its servers."""
    path = site.directory / f"{case.name}.yaml"
    text = case.text if case.name in ODD else Template(case.text.decode()).substitute(_known(site)).encode()
    path.write_bytes(text)
    return path


def _known(site: Site) -> dict[str, str]:
    return {name: str(port) for name, port in site.ports.items()} | {"full": str(site.directory / "full")}


def asked(command: str, case: Case, site: Site, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command, in this process."""
    config = written(case, site)
    if "disk" in case.needs:
        apart = ["unshare", "-m" if os.geteuid() == 0 else "-mr"]
        script = ["sh", "-c", FULL, "sh", str(site.directory / "full")]
        words = [*apart, *script, sys.executable, command, str(config), *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, stable(done.stdout, site), stable(done.stderr, site)
    runner = CliRunner(env=case.environment(site))
    account = unprivileged() if case.needs.get("account") == "nobody" else contextlib.nullcontext()
    # A gateway that starts where it should not is told to end, so that a failure is one and not a test that hangs.
    told = threading.Timer(PATIENCE, os.kill, (os.getpid(), signal.SIGTERM))
    if command == "serve":
        told.start()
    try:
        with account:
            result = runner.invoke(main, [command, "--config", str(config), *arguments])
    finally:
        told.cancel()
        if command == "serve":
            told.join()
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, stable(result.stdout, site), stable(result.stderr, site)


def stable(text: str, site: Site) -> str:
    """`text` without what differs from run to run: directory, ports, processes, times."""
    text = text.replace(str(site.directory), "SITE")
    for name, port in site.ports.items():
        text = re.sub(rf"\b{port}\b", name.upper(), text)
    for pid in site.pids:
        text = re.sub(rf"\b{pid}\b", "PID", text)
    text = _ACCOUNT.sub("(user id N)", text)
    return _DURATION.sub("in N ms ", _FREE_ROOM.sub("N MiB are free", text))


def answer(case: Case, site: Site) -> str:
    """What `check` says, as it stands on the shelf."""
    code, out, err = asked("check", case, site)
    return f"exit {code}\n\n{err}{out}"
