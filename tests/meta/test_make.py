"""The set-up promise: each command does all of its own set-up, is quick the second time, and says what is missing.

The real scripts run in a copy of the checkout's outer files, in a folder whose name has a space, with stand-ins for the
programs that would reach the network: a `python3` that notes what it is asked, an `apt-get` that does the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import gateway

PROJECT = Path(__file__).parents[2]
TOOLS = (
    "sh",
    "env",
    "sed",
    "cat",
    "rm",
    "mkdir",
    "cp",
    "cksum",
    "dirname",
    "id",
    "make",
    "tee",
    "chmod",
    "find",
    "sleep",
)

PYTHON = r"""#!/bin/sh
# A stand-in for Python: notes its arguments, makes environments, fails when told to.
here=$(dirname "$0")
case "$*" in
"-c "*version_info*3,\ 11*) [ -e "@STATE@/old" ] && exit 1; exit 0 ;;
"-c import ensurepip"*) [ -e "@STATE@/no-venv" ] && exit 1; exit 0 ;;
"-c "*%d.%d*) echo 3.13; exit 0 ;;
--version) echo "Python 3.9.2"; exit 0 ;;
"-c "*) exit 0 ;;
esac
echo "python $*" >>"@STATE@/log"
case "$*" in
"-m venv "*) for home in "$@"; do :; done; mkdir -p "$home/bin" && cp "$0" "$home/bin/python" ;;
"-m pip install"*)
    left=$(cat "@STATE@/pip-failures" 2>/dev/null || echo 0)
    [ "$left" = 0 ] || { echo $((left - 1)) >"@STATE@/pip-failures"; exit 1; } ;;
"-m pytest"*) echo "1 passed in 0.01s" ;;
esac
"""

APT = r"""#!/bin/sh
echo "apt-get $*" >>"@STATE@/log"
case "$*" in *install*python3.13-venv*) rm -f "@STATE@/no-venv" ;; esac
"""


@dataclass
class Checkout:
    """A copy of the outer files with a PATH of its own."""

    root: Path
    tools: Path
    state: Path
    environ: dict[str, str] = field(default_factory=dict)

    def program(self, name: str, script: str) -> None:
        path = self.tools / name
        path.unlink(missing_ok=True)
        path.write_text(script.replace("@STATE@", str(self.state)))
        path.chmod(0o755)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": str(self.tools), "HOME": str(self.state), **self.environ}
        return subprocess.run(command, cwd=self.root, env=environ, capture_output=True, text=True, timeout=100)

    def log(self) -> list[str]:
        """What the stand-ins were asked since the last call."""
        path = self.state / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root, tools, state = (tmp_path / name for name in ("a checkout", "tools", "state"))
    for directory in (root, tools, state):
        directory.mkdir()
    shutil.copy(PROJECT / "Makefile", root)
    shutil.copy(PROJECT / "pyproject.toml", root)
    for folder in ("scripts", "image"):
        shutil.copytree(PROJECT / "deploy" / folder, root / "deploy" / folder)
    (root / "gateway").mkdir()
    shutil.copy(PROJECT / "gateway" / "__init__.py", root / "gateway")
    shutil.copytree(PROJECT / ".ci", root / ".ci")
    for name in TOOLS:
        found = shutil.which(name)
        assert found, name
        (tools / name).symlink_to(found)
    made = Checkout(root, tools, state)
    made.program("python3", PYTHON)
    made.program("sleep", "#!/bin/sh\n")
    for server in SERVERS:
        made.program(server, "#!/bin/sh\n")
    return made


SERVERS = (
    *("nginx", "haproxy", "varnishd", "slowhttptest", "redis-server", "smbd", "smbclient", "fusermount3"),
    *("krb5kdc", "kadmin.local", "kinit", "krb5-config", "cc", "wrk", "rclone", "curl", "openssl"),
)
PACKAGES = (
    "nginx haproxy varnish slowhttptest redis-server samba smbclient fuse3 "
    "krb5-kdc krb5-admin-server krb5-user libkrb5-dev gcc libc6-dev wrk rclone curl openssl"
)
INSTALL = "python -m pip install --quiet --disable-pip-version-check --use-pep517 --editable .[dev]"
SUITE = "python -m pytest -n auto --dist loadfile --no-loadscope-reorder"
KERBEROS = INSTALL.replace("[dev]", "[smb-kerberos]")


def test_help_lists_every_target():
    done = subprocess.run(["make", "--no-print-directory"], cwd=PROJECT, capture_output=True, text=True, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    assert listed == {
        *("help", "install", "demo", "test", "lint", "bench", "bench-quick", "soak", "image", "sbom", "lock", "clean"),
    }


def test_test_sets_everything_up_and_ends_with_the_closing_line(checkout: Checkout):
    done = checkout.run("make", "test", "ARGS=-k ranges")
    assert checkout.log() == ["python -m venv .venv", INSTALL, KERBEROS, f"{SUITE} -k ranges"]
    assert done.stdout.splitlines()[-1] == "1 passed in 0.01s"


def test_compiled_modules_are_kept_whatever_the_machine_says(checkout: Checkout):
    checkout.program("python3", PYTHON + 'case "$*" in *pytest*) echo "${PYTHONDONTWRITEBYTECODE-kept}" ;; esac\n')
    checkout.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    assert checkout.run("make", "test").stdout.splitlines()[-1] == "kept"


def test_the_second_run_installs_nothing(checkout: Checkout):
    checkout.run("make", "test")
    checkout.log()
    checkout.run("make", "test")
    assert checkout.log() == [SUITE]
    checkout.run("make", "demo")
    assert checkout.log() == ["python -m gateway demo"]


def test_the_demo_installs_no_tools_for_development(checkout: Checkout):
    checkout.run("make", "demo", "ARGS=--port 9000")
    assert checkout.log() == [
        "python -m venv .venv",
        INSTALL.replace("[dev]", ""),
        "python -m gateway demo --port 9000",
    ]
    checkout.run("make", "install")
    assert checkout.log() == [INSTALL]


def test_a_changed_project_file_installs_again(checkout: Checkout):
    checkout.run("make", "install")
    checkout.log()
    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("# one more dependency\n")
    checkout.run("make", "install")
    assert checkout.log() == [INSTALL]


def test_a_checkout_that_was_moved_gets_a_new_environment(checkout: Checkout):
    checkout.run("make", "install")
    checkout.log()
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    checkout.run("make", "install")
    assert checkout.log() == ["python -m venv .venv", INSTALL]


def test_a_hiccup_of_the_network_is_tried_again(checkout: Checkout):
    (checkout.state / "pip-failures").write_text("2")
    done = checkout.run("make", "install")
    assert done.returncode == 0
    assert checkout.log().count(INSTALL) == 3
    assert "trying again" in done.stderr


def test_a_network_that_stays_away_is_explained(checkout: Checkout):
    (checkout.state / "pip-failures").write_text("9")
    done = checkout.run("make", "test")
    assert done.returncode != 0
    assert "The installation failed; pip's own words are above." in done.stderr
    assert checkout.log().count(INSTALL) == 3
    (checkout.state / "pip-failures").write_text("0")
    assert checkout.run("make", "test").returncode == 0, "a failed installation is not remembered as done"


def test_an_old_python_is_refused_with_the_cure(checkout: Checkout):
    (checkout.state / "old").touch()
    done = checkout.run("make", "test")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer, and PATH offers Python 3.9.2." in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr
    assert checkout.log() == []


def test_the_newest_tested_python_is_taken(checkout: Checkout):
    for name in ("python3.11", "python3.12"):
        checkout.program(name, PYTHON)
    checkout.program("python3.13", "#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n")
    assert checkout.run("deploy/scripts/find-python").stdout == f"{checkout.tools}/python3.12\n"


def as_root(checkout: Checkout) -> None:
    checkout.program("id", "#!/bin/sh\necho 0\n")
    checkout.program("apt-get", APT)
    # The rule that keeps services from starting is this machine's, not the test's.
    checkout.program("tee", "#!/bin/sh\ncat >/dev/null\n")
    checkout.program("chmod", "#!/bin/sh\n")


def as_user(checkout: Checkout) -> None:
    checkout.program("id", "#!/bin/sh\necho 1000\n")
    checkout.program("sudo", "#!/bin/sh\nexit 1\n")
    checkout.program("apt-get", APT)


def test_a_python_without_environments_gets_the_missing_package(checkout: Checkout):
    (checkout.state / "no-venv").touch()
    as_root(checkout)
    done = checkout.run("make", "install")
    assert done.returncode == 0, done.stderr
    update, install, *rest = checkout.log()
    assert "update" in update
    assert install.endswith(" python3.13-venv")
    assert rest == ["python -m venv .venv", INSTALL]


def test_without_permission_the_missing_package_is_named(checkout: Checkout):
    (checkout.state / "no-venv").touch()
    as_user(checkout)
    done = checkout.run("make", "install")
    assert done.returncode != 0
    assert "As an administrator: apt-get install python3.13-venv" in done.stderr
    assert checkout.log() == []


@pytest.fixture
def without_servers(checkout: Checkout) -> Checkout:
    """A machine that has none of the servers; this one's may lie in sbin, which the script searches too."""
    for server in SERVERS:
        (checkout.tools / server).unlink()
    script = checkout.root / "deploy" / "scripts" / "install-servers"
    script.write_text(script.read_text().replace("/usr/local/sbin:/usr/sbin:/sbin", "/nowhere"))
    return checkout


def test_missing_servers_are_installed(without_servers: Checkout):
    as_root(without_servers)
    done = without_servers.run("make", "test")
    assert done.returncode == 0
    (install,) = [line for line in without_servers.log() if line.startswith("apt-get") and "install" in line]
    assert install.endswith(f" {PACKAGES}")


def test_without_permission_the_suite_still_runs_and_the_cure_is_named(without_servers: Checkout):
    as_user(without_servers)
    done = without_servers.run("make", "test")
    assert done.returncode == 0
    assert f"apt-get install {PACKAGES}" in done.stderr
    log = without_servers.log()
    assert log[-1] == SUITE
    assert not [line for line in log if line.startswith("apt-get")]


def test_the_build_machine_checks_style_first_and_ends_with_the_closing_line(checkout: Checkout):
    done = checkout.run(".ci/run")
    assert done.returncode == 0
    assert [line for line in checkout.log() if "pip" not in line and "venv" not in line] == [
        "python -m ruff check .",
        "python -m ruff format --check .",
        "python -m mypy",
        SUITE,
    ]
    assert done.stdout.splitlines()[-1] == "1 passed in 0.01s"


def test_a_fault_of_style_fails_the_build_after_the_suite_ran(checkout: Checkout):
    checkout.program("python3", PYTHON + '\ncase "$*" in *ruff*) exit 1 ;; esac\n')
    done = checkout.run(".ci/run")
    assert done.returncode != 0
    assert done.stdout.splitlines()[-1] == "1 passed in 0.01s"


def test_the_image_is_built_with_its_version(checkout: Checkout):
    checkout.program("docker", '#!/bin/sh\necho "docker $*" >>"@STATE@/log"\n')
    assert checkout.run("make", "image", "ARGS=--pull").returncode == 0
    arguments = f"--build-arg VERSION={gateway.__version__} --build-arg REVISION=unknown --pull ."
    assert checkout.log() == [f"docker build --tag fhir-document-gateway:{gateway.__version__} {arguments}"]


def test_the_bill_of_materials_is_that_of_the_image(checkout: Checkout):
    done = checkout.run("make", "sbom")
    assert done.returncode == 0, done.stderr
    environment, locked, project, written = checkout.log()[2:]
    assert environment == "python -m venv --without-pip build/image"
    assert locked.startswith("python -m pip --python build/image/bin/python")
    assert locked.endswith("--require-hashes --only-binary :all: --requirement deploy/image/runtime.txt")
    assert project.endswith("--no-deps .")
    assert written.endswith("--output-file build/sbom.cdx.json build/image/bin/python")
    described = tomllib.loads((checkout.root / "build" / "sbom-project.toml").read_text())
    assert described["project"]["version"] == gateway.__version__


def test_the_scripts_name_no_registry():
    for path in (PROJECT / "Makefile", PROJECT / "Dockerfile", *(PROJECT / "deploy" / "scripts").iterdir()):
        assert not {"pypi", "index-url", "pythonhosted"} & set(path.read_text().lower().replace("/", " ").split()), path


def test_scripts_can_be_run():
    for path in (PROJECT / ".ci" / "run", *(PROJECT / "deploy" / "scripts").glob("[!l]*")):
        assert os.access(path, os.X_OK), path
