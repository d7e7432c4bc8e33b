"""deploy/systemd: a unit that is hardened, starts the command that exists, and leaves time to end.

Where systemd is installed its own judges look at the unit, too; the rules below hold everywhere.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.cli import console, main
from gateway.settings.server import ServerLimits

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT = (SYSTEMD / "fhir-gateway.service").read_text()
ACCOUNT = "fhir-gateway"
MARGIN = 5.0
"""Seconds that are left after draining, to write the audit trail and end."""

WORST = 20
"""What `systemd-analyze security` may say at most, in tenths: 0 is closed, 100 is open."""

Unit = Mapping[str, list[str]]


def read(text: str) -> Unit:
    """The settings of the section [Service]; one that is given several times has several values."""
    found: dict[str, list[str]] = {}
    for line in text.partition("[Service]")[2].partition("\n[")[0].splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


ON = (
    *(
        "NoNewPrivileges",
        "ProtectHome",
        "PrivateTmp",
        "PrivateDevices",
        "PrivateUsers",
        "ProtectHostname",
        "ProtectClock",
    ),
    *("ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "RemoveIPC"),
    *("RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "MemoryDenyWriteExecute"),
)
EXACT = {
    "ProtectSystem": "strict",
    "ProtectProc": "invisible",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "UMask": "0077",
    "LimitCORE": "0",
    "SystemCallArchitectures": "native",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "User": ACCOUNT,
    "Group": ACCOUNT,
    "StateDirectory": "fhir-gateway",
    "CacheDirectory": "fhir-gateway",
    "RuntimeDirectory": "fhir-gateway",
}


def faults(text: str) -> set[str]:
    """The settings of a unit that are not as they should be, by name."""
    unit = read(text)
    found = {name for name in ON if unit.get(name) != ["yes"]}
    found |= {name for name, value in EXACT.items() if unit.get(name) != [value]}
    limits = ServerLimits()
    ending = limits.drain_delay + limits.drain + MARGIN
    (stop,) = unit.get("TimeoutStopSec", ["0s"])
    rules = {
        "TimeoutStopSec": float(stop.removesuffix("s")) >= ending,
        "RestartPreventExitStatus": unit.get("RestartPreventExitStatus") == [str(console.WRONG)],
        "Type": unit.get("Type") == ["notify"],
        "ExecReload": _runs(unit.get("ExecReload", [""])[0], "reload"),
        "Restart": unit.get("Restart") == ["on-failure"],
        "SystemCallFilter": unit.get("SystemCallFilter") == ["@system-service", "~@privileged @resources"],
        "LimitNOFILE": int(unit.get("LimitNOFILE", ["0"])[0]) >= 2 * limits.max_connections,
        "ExecStart": _runs(unit.get("ExecStart", [""])[0], "serve"),
        "MemoryMax": "MemoryMax" in unit,
    }
    return found | {name for name, kept in rules.items() if not kept}


def _runs(command: str, word: str) -> bool:
    program, *words = command.split() or [""]
    return (
        program.startswith("/")
        and program.endswith("/bin/fhir-gateway")
        and word in main.commands
        and words == [word, "--config", "/etc/fhir-gateway/gateway.yaml"]
    )


def test_the_unit_keeps_the_rules():
    assert faults(UNIT) == set()


@pytest.mark.parametrize(
    "name", [*ON, *EXACT, "Type", "ExecReload", "TimeoutStopSec", "SystemCallFilter", "ExecStart", "MemoryMax"]
)
def test_a_setting_that_is_missing_is_noticed(name: str):
    broken, count = re.subn(rf"^{name}=.*\n", "", UNIT, flags=re.MULTILINE)
    assert count
    assert name in faults(
        broken if name != "ExecStart" else broken.replace("[Service]", "[Service]\nExecStart=/bin/true x")
    )


def test_systemd_has_nothing_against_it(tmp_path: Path):
    """`systemd-analyze verify` and `security`, where they are: containers that run the suite have no systemd."""
    unit = tmp_path / "fhir-gateway.service"
    command = Path(sysconfig.get_path("scripts")) / "fhir-gateway"
    unit.write_text(UNIT.replace("/opt/fhir-gateway/bin/fhir-gateway", str(command)))
    assert command.exists()
    if analyze := shutil.which("systemd-analyze"):
        for words in (["verify", "--man=no", unit], ["security", "--offline=yes", f"--threshold={WORST}", unit]):
            done = subprocess.run([analyze, *words], capture_output=True, text=True, timeout=50)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "Unknown" not in done.stderr


def test_the_account_and_its_folders_are_made():
    (account,) = lines("fhir-gateway.sysusers.conf")
    assert re.fullmatch(rf'u {ACCOUNT} - "[^"]+" /var/lib/fhir-gateway -', account)
    folders = [line.split() for line in lines("fhir-gateway.tmpfiles.conf")]
    assert [folder[1] for folder in folders] == ["/etc/fhir-gateway", "/etc/fhir-gateway/secrets"]
    # The administrator's to write, the gateway's to read, nobody else's.
    assert {(kind, mode, owner, group, age) for kind, _, mode, owner, group, age in folders} == {
        ("d", "0750", "root", ACCOUNT, "-")
    }


def lines(name: str) -> list[str]:
    text = (SYSTEMD / name).read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]
