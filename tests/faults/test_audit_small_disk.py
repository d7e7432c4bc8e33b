"""A trail on a disk that gets full: a real file system of two mebibytes, in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.process import require


def test_a_full_disk_refuses_readers_and_breaks_nothing(tmp_path: Path) -> None:
    rights = "-m" if os.geteuid() == 0 else "-mr"
    command = [require("unshare"), rights, sys.executable, "-m", "tests.support.audit_small_disk", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["served"] > 100
    assert said["refused"] == 503
    assert said["unrecorded"] == [], "served when there was no room to record it"
    assert said["again"] == 200, "with room it goes on by itself"
    assert said["whole"], said["breaks"]
    assert said["files"] <= 3, "a full disk is not filled with empty files"
