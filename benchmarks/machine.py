"""What the kernel says about processes, and what this machine is: figures for the report, from /proc.

Processor time and memory are of a whole process tree, since a peer may do its work in children.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import stat
import subprocess
from importlib.metadata import version
from pathlib import Path

import gateway
from tests.support.process import SEARCH

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


def tree(pid: int) -> list[int]:
    """A process and everything it started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree(int(child))
    return found


def processor_seconds(pid: int) -> float:
    """User and system time that the tree has used so far (proc(5): fields 14 and 15 of stat)."""
    total = 0
    for one in tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory(pid: int, field: str) -> int:
    """Bytes of memory of one process: "VmRSS" for now, "VmHWM" for the most it ever had."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def unlinked(pid: int) -> int:
    """Bytes in files without a name that a process has open: what it has spooled."""
    total = 0
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found = one.stat()
            total += found.st_size if stat.S_ISREG(found.st_mode) and not found.st_nlink else 0
    return total


def forget_peak(pid: int) -> None:
    """Begin "VmHWM" anew from what the process has now (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def pinned(processor: int) -> tuple[str, ...]:
    """Words before a command that keep it on one processor; none where there is only one to share."""
    taskset = shutil.which("taskset")
    if taskset is None or len(os.sched_getaffinity(0)) < 2:
        return ()
    chosen = sorted(os.sched_getaffinity(0))[processor]
    return (taskset, "-c", str(chosen))


def description() -> dict[str, str]:
    """The machine and the exact versions of everything measured."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    total = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert total
    return {
        "processor": f"{len(os.sched_getaffinity(0))} x {model[1] if model else platform.machine()}",
        "memory": f"{int(total[1]) / MIB:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "gateway": gateway.__version__,
        **{name: version(name) for name in ("aiohttp", "uvloop", "pybase64", "cryptography", "lxml", "zeep")},
        "nginx": _said("nginx", "-v", r"nginx/(\S+)"),
        "wrk": _said("wrk", "-v", r"wrk (?:debian/)?(\S+)"),
        "Samba": _said("smbd", "--version", r"Version (\S+)"),
        "rclone": _said("rclone", "version", r"rclone v(\S+)"),
    }


def _said(program: str, option: str, pattern: str) -> str:
    path = shutil.which(program, path=SEARCH)
    if path is None:
        return "not installed"
    said = subprocess.run([path, option], capture_output=True, text=True)
    found = re.search(pattern, said.stdout + said.stderr)
    return found[1] if found else "unknown"
