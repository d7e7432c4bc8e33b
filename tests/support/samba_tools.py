"""The tools that come with Samba, run on one server's configuration.

Rules of this module: short-lived processes only.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import require

PATIENCE = 30.0
"""Seconds that a tool gets for what it does in milliseconds."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools for the server with this smb.conf."""

    conf: Path
    environ: Mapping[str, str]

    def account(self, unix: str, *words: str, text: str = "") -> None:
        """Change a user's entry in the server's database: pdbedit(8)."""
        done = self._run("pdbedit", *words, "-u", unix, text=text)
        assert done.returncode == 0, f"pdbedit failed: {done.stderr or done.stdout}"

    def tell(self, pid: int, *message: str) -> bool:
        """Send one process of the server a message, smbcontrol(1), and see it obeyed.

        A process handles its messages in their order, so one that answers a ping has done what it was told before.
        """
        return all(self._run("smbcontrol", str(pid), *words).returncode == 0 for words in (message, ["ping"]))

    def _run(self, program: str, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = [require(program), "-s", str(self.conf), *words]
        return subprocess.run(
            command, input=text, env=self.environ, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
