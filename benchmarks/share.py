"""A Samba share over the run's documents, the clients that are compared on it, and a distance between it and them.

Samba stays on the first processor; whoever is measured may use all, and so may the client that reads from it. Every
contender goes through the same server, and the server says how each connection is protected.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from benchmarks.clients import Reading, WrongAnswer
from benchmarks.machine import processor_seconds
from benchmarks.rig import Contender, Document, Rig
from tests.support.ports import LOOPBACK, free_port, owners
from tests.support.process import port_ready, require, running
from tests.support.samba import Samba, samba
from tests.support.samba_conf import Encryption, Share, Signing

SHARE = "letters"

GOT = re.compile(r"getting file \S+ of size (\d+) ")


@dataclass(frozen=True, slots=True)
class Protection:
    """How documents travel: what the server demands, what the gateway and smbclient are told, what comes of it.

    `client` is for --client-protection; `degrees` is what smbstatus has to say of each connection.
    """

    name: str
    encryption: Encryption
    signing: Signing
    options: Mapping[str, bool]
    client: str
    degrees: Mapping[str, str]


PLAIN = Protection(
    "plain",
    encryption="off",
    signing="auto",
    options={"require_encryption": False, "require_signing": False},
    client="off",
    degrees={"encryption": "none", "signing": "none"},
)
SIGNED = Protection(
    "signed",
    encryption="off",
    signing="required",
    options={"require_encryption": False, "require_signing": True},
    client="sign",
    degrees={"encryption": "none", "signing": "full"},
)
ENCRYPTED = Protection(
    "encrypted",
    encryption="required",
    signing="auto",
    options={"require_encryption": True},
    client="encrypt",
    degrees={"encryption": "full"},
)


@dataclass(frozen=True, slots=True)
class Archive:
    """The share as contenders reach it: `port` is Samba's, or that of the distance in front of it."""

    rig: Rig
    server: Samba
    protection: Protection
    port: int

    @contextlib.contextmanager
    def gateway(self) -> Iterator[Contender]:
        """The gateway with this share as its only source."""
        options = self.server.options(password_file=str(self.server.password_file))
        source = {
            "adapter": "smb",
            "ids": {"scheme": "template", "pattern": "{id}.pdf"},
            "options": options | {"port": self.port} | dict(self.protection.options),
        }
        with self.rig.gateway("gateway-smb", source=source, pinned=False) as contender:
            yield contender

    @contextlib.contextmanager
    def rclone(self) -> Iterator[Contender]:
        """`rclone serve http` over the share, one file after the other and nothing asked for that is not served."""
        configuration = self.rig.directory / "rclone.conf"
        configuration.touch()
        obscure = [require("rclone"), "obscure", "-"]
        told = subprocess.run(obscure, input=self.server.password, capture_output=True, text=True, check=True)
        environ = os.environ | {
            "RCLONE_CONFIG": str(configuration),
            "RCLONE_SMB_HOST": self.server.host,
            "RCLONE_SMB_PORT": str(self.port),
            "RCLONE_SMB_USER": self.server.user,
            "RCLONE_SMB_PASS": told.stdout.strip(),
        }
        port = free_port()
        options = ["--read-only", "--no-modtime", "--no-checksum", "--vfs-read-chunk-size=off", "--dir-cache-time=24h"]
        command = [require("rclone"), "serve", "http", f":smb:{SHARE}", f"--addr={LOOPBACK}:{port}", *options]
        log = self.rig.directory / "rclone.log"
        with running("rclone", command, log=log, ready=port_ready(port), environ=environ) as process:
            contender = Contender("rclone", process.pid, port)
            contender.check()
            yield contender

    @contextlib.contextmanager
    def smbclient(self) -> Iterator[SmbClient]:
        """smbclient, which stays logged in and waits for commands."""
        account = self.rig.directory / "account"
        account.touch(0o600)
        account.write_text(f"username={self.server.user}\npassword={self.server.password}\n")
        options = [f"--configfile={self.server.conf}", f"--port={self.port}", f"--authentication-file={account}"]
        # Without --stderr it keeps what it has to say against a command in a buffer.
        options += ["--stderr", f"--client-protection={self.protection.client}"]
        command = [require("smbclient"), f"//{self.server.host}/{SHARE}", *options]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            try:
                yield SmbClient(process)
            finally:
                process.kill()

    def check_protection(self, *, clients: int) -> None:
        """All `clients` that are connected are protected as they should be, says the server. Raises `WrongAnswer`."""
        command = [require("smbstatus"), f"--configfile={self.server.conf}", "--json"]
        status = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        found = [one for one in status["tcons"].values() if one["service"] == SHARE]
        if len(found) != clients:
            raise WrongAnswer(f"{len(found)} clients are connected to the share instead of {clients}")
        for one in found:
            for what, wanted in self.protection.degrees.items():
                if one[what]["degree"] != wanted:
                    raise WrongAnswer(
                        f"a connection that is to be {self.protection.name}: {what} {one[what]['degree']}"
                    )


class SmbClient:
    """A running smbclient: a contender that serves nobody and reads for itself."""

    name = "smbclient"

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def read(self, document: Document, into: str = os.devnull) -> Reading:
        """`get`: from the command to its report, the first time with the log-in. Raises `WrongAnswer`."""
        assert self._process.stdin is not None
        began = time.monotonic()
        self._process.stdin.write(f'get "{document.id}.pdf" "{into}"\n'.encode())
        self._process.stdin.flush()
        while True:
            line = self._output.readline().decode(errors="replace")
            if "NT_STATUS" in line or not line:
                raise WrongAnswer(f"smbclient: {line.strip() or 'it ended'}")
            if (got := GOT.search(line)) is not None:
                break
        seconds = time.monotonic() - began
        if int(got[1]) != document.size:
            raise WrongAnswer(f"smbclient: {line.strip()}")
        return Reading(seconds, document.size, 1)

    def verify(self, document: Document, path: Path) -> None:
        """Read it once into a file and compare its digest. Raises `WrongAnswer`."""
        self.read(document, str(path))
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
        path.unlink()
        if found != document.digest:
            raise WrongAnswer(f"smbclient: {document.id} is not the document's bytes")

    def processor_seconds(self) -> float:
        return processor_seconds(self._process.pid)

    @property
    def _output(self) -> BufferedReader:
        assert isinstance(self._process.stdout, BufferedReader)
        return self._process.stdout


@contextlib.contextmanager
def archive(rig: Rig, protection: Protection, round_trip: float = 0.0) -> Iterator[Archive]:
    """The run's documents as a share, `round_trip` seconds away; the proof that it is smbd that answers."""
    folder = Path(tempfile.mkdtemp(prefix="smb-", dir=rig.directory))
    share = Share(SHARE, rig.archive)
    with (
        samba(folder, shares=[share], encryption=protection.encryption, signing=protection.signing) as server,
        distance(rig, server.port, round_trip) if round_trip else contextlib.nullcontext(server.port) as port,
    ):
        _smbd(server)
        yield Archive(rig, server, protection, port)
        _smbd(server)


@contextlib.contextmanager
def distance(rig: Rig, port: int, round_trip: float) -> Iterator[int]:
    """A port that leads to `port` and is `round_trip` seconds away from it."""
    here = free_port()
    command: list[str | Path] = [rig.delay, str(here), str(port), str(round(round_trip / 2 * 1e6))]
    log = rig.directory / "delay.log"
    with running("delay", command, log=log, ready=port_ready(here)) as process:
        contender = Contender("delay", process.pid, here)
        contender.check()
        yield here
        contender.check()


def _smbd(server: Samba) -> set[int]:
    """Who holds the port: processes that run with this server's configuration. Raises `RuntimeError` if they do not."""
    holders = owners(server.port)
    for pid in holders:
        if str(server.conf).encode() not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            raise RuntimeError(f"the port {server.port} of smbd belongs to the process {pid}")
    if not holders:
        raise RuntimeError(f"nobody holds the port {server.port} of smbd")
    return holders
