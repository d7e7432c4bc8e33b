"""deploy/compose: files of the Compose specification, whose mounts, secrets and images exist and whose gateway is hardened.

That the steps work is shown by `tests/integration/test_compose.py`.
"""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import gateway
from gateway.quantities import is_loopback
from gateway.settings.server import ServerLimits
from tests.support.compose import COMPOSE, PROJECT, STEPS, compose, make_secrets
from tests.support.process import require

Compose = dict[str, Any]

IMAGES = {f"fhir-document-gateway:{gateway.__version__}", "redis:8.2-bookworm"}
WRITABLE = {"/tmp"} | set(
    re.findall(r"/var/\S+", (PROJECT / "Dockerfile").read_text().split("RUN install -d")[1].split("\n")[0])
)
"""Folders of the image that belong to its account: a new volume takes over whose the folder is."""

SECONDS = re.compile(r"(\d+)s")


def judged(files: list[Path]) -> str:
    """What the schema of the Compose specification has against these files; empty when nothing."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_each_file_is_one_of_the_compose_specification():
    assert judged([COMPOSE / step / "compose.yaml" for step in STEPS]) == ""


def test_a_file_that_is_none_is_noticed(tmp_path: Path):
    (tmp_path / "compose.yaml").write_text("services: {gateway: {image: a, port: ['8080:8080']}}\n")
    assert "port" in judged([tmp_path / "compose.yaml"])


def faults(step: str, said: Compose) -> set[str]:
    """What is wrong with a step's services."""
    found = of_the_gateway(step, said["services"]["gateway"])
    for name, service in said["services"].items():
        found |= {f"{name}: {wrong}" for wrong in of_mounts(step, service, said)}
        if not {"image", "build"} & service.keys() or ("image" in service and service["image"] not in IMAGES):
            found.add(f"{name}: an image that nobody knows")
        if service.get("image", "").startswith("fhir-document-gateway:") and "build" not in service:
            found.add(f"{name}: an image that no registry has, and nothing to build it from")
        if "build" in service and not (COMPOSE / step / service["build"] / "Dockerfile").exists():
            found.add(f"{name}: nothing to build it from")
        for kind in ("secrets", "networks"):
            found |= {f"{name}: none of the {kind} is {one}" for one in service.get(kind, ()) if one not in said[kind]}
        hardened = service.get("read_only") and service.get("cap_drop") == ["ALL"] and service.get("security_opt")
        if name != "fileserver" and not (hardened and "no-new-privileges:true" in service["security_opt"]):
            found.add(f"{name}: not hardened")
    return found


def of_mounts(step: str, service: Compose, said: Compose) -> Iterator[str]:
    """What is wrong with what a service mounts."""
    for mount in service.get("volumes", ()):
        source, target, *options = mount.split(":")
        if not source.startswith("."):
            if source not in said.get("volumes", {}) or target not in WRITABLE:
                yield f"the volume {source} is not there, or not the gateway's"
        elif not (COMPOSE / step / source).exists():
            yield f"there is no {source}"
        elif options != ["ro"]:
            yield f"{source} can be written to"


def of_the_gateway(step: str, box: Compose) -> set[str]:
    """What is wrong with the gateway's service, seen from its configuration."""
    text = (COMPOSE / step / "gateway.yaml").read_text()
    settings = yaml.safe_load(text)
    server, ports = settings["server"], box["ports"]
    rules = {
        "its secrets are those that its configuration names": set(re.findall(r"/run/secrets/([\w.-]+)", text))
        == set(box.get("secrets", ())),
        "it has time to drain": seconds(box["stop_grace_period"])
        >= ServerLimits().drain_delay + seconds(server["limits"]["drain"]) + 5,
        "where everybody may read, nobody else comes": settings["auth"]["mode"] != "none"
        or all(is_loopback(port.split(":")[0]) for port in ports),
        "its port is published": all(port.endswith(f":{server['port']}") for port in ports),
        "its memory is bounded": "mem_limit" in box,
        "it waits for nothing that it can do without": "depends_on" not in box,
    }
    return {f"gateway: not so: {rule}" for rule, kept in rules.items() if not kept}


def seconds(text: str) -> int:
    (number,) = SECONDS.fullmatch(text).groups()  # type: ignore[union-attr]
    return int(number)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_keeps_the_rules(step: str):
    assert faults(step, compose(step)) == set()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda one: one["gateway"]["volumes"].append("./nothing.yaml:/x:ro"), "there is no ./nothing.yaml"),
        (lambda one: one["gateway"]["volumes"].append("./gateway.yaml:/x"), "./gateway.yaml can be written to"),
        (lambda one: one["gateway"]["volumes"].append("spool:/srv"), "the volume spool"),
        (lambda one: one["gateway"]["volumes"].append("other:/tmp"), "the volume other"),
        (lambda one: one["redis"].update(image="redis:latest"), "an image that nobody knows"),
        (lambda one: one["fileserver"].update(build="./server"), "nothing to build it from"),
        (lambda one: one["gateway"].pop("build"), "an image that no registry has"),
        (lambda one: one["gateway"]["secrets"].append("other"), "none of the secrets is other"),
        (lambda one: one["gateway"]["secrets"].remove("smb-password"), "its secrets are those"),
        (lambda one: one["redis"]["networks"].append("other"), "none of the networks is other"),
        (lambda one: one["redis"].update(read_only=False), "redis: not hardened"),
        (lambda one: one["gateway"].update(cap_drop=["NET_RAW"]), "gateway: not hardened"),
        (lambda one: one["gateway"].update(stop_grace_period="10s"), "it has time to drain"),
        (lambda one: one["gateway"].update(ports=["8080:8080"]), "nobody else comes"),
        (lambda one: one["gateway"].update(ports=["127.0.0.1:8080:8081"]), "its port is published"),
        (lambda one: one["gateway"].update(depends_on=["redis"]), "it waits for nothing"),
    ],
)
def test_a_broken_rule_is_noticed(change: Callable[[Compose], object], fault: str):
    said = copy.deepcopy(compose("3-smb"))
    change(said["services"])
    assert fault in " ".join(faults("3-smb", said))


@pytest.mark.parametrize("step", [step for step in STEPS if "secrets" in compose(step)])
def test_secrets_are_made_once_and_for_one_reader(step: str, tmp_path: Path):
    folder = tmp_path / step
    assert make_secrets(folder).returncode == 0
    made = {path.name: path.read_bytes() for path in (folder / "secrets").iterdir()}
    declared = {Path(one["file"]).name for one in compose(step)["secrets"].values()}
    assert declared <= made.keys()
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert make_secrets(folder).returncode == 0
    assert {path.name: path.read_bytes() for path in (folder / "secrets").iterdir()} == made


def test_a_step_without_secrets_says_so(tmp_path: Path):
    done = make_secrets(tmp_path / "1-folder")
    assert done.returncode == 1
    assert "needs no secrets" in done.stderr


def test_secrets_are_kept_out_of_the_repository():
    done = subprocess.run(["git", "check-ignore", "deploy/compose/2-redis/secrets/cache-key"], cwd=PROJECT, check=False)
    assert done.returncode == 0


def test_samba_takes_the_file_servers_configuration():
    done = subprocess.run(
        [require("testparm"), "-s", COMPOSE / "3-smb" / "fileserver" / "smb.conf"],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert not re.search(r"Unknown|Ignoring|ERROR|WARNING", done.stderr), done.stderr
    assert "server smb encrypt = required" in done.stdout
    given = yaml.safe_load((COMPOSE / "3-smb" / "gateway.yaml").read_text())["sources"]["scans"]["options"]
    assert f"[{given['share']}]" in done.stdout
    assert f"valid users = {given['username']}" in done.stdout
