"""The rules of tests/conftest.py catch what they are for: each is shown a test that breaks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

INNER = """
import asyncio, os, threading, time
import gateway, pytest, tests.conftest

tests.conftest.LEAK_PATIENCE = 0.3

def in_product(source):
    scope = {}
    exec(compile(source, gateway.__path__[0] + "/pretended.py", "exec"), scope)
    return scope["act"]

SLEEP = "import time\\ndef act(): time.sleep(0)"

async def test_product_sleeps():
    in_product(SLEEP)()

async def test_product_opens():
    in_product("import os\\ndef act(): os.close(os.open('/dev/null', os.O_RDONLY))")()

async def test_product_opens_a_file():
    in_product("def act(): open('/dev/null').close()")()

@pytest.mark.parametrize("flags", [0, os.RWF_NOWAIT], ids=["waiting", "nowait"])
async def test_product_reads(flags, tmp_path):
    (tmp_path / "letter").write_bytes(b"a test may prepare its files")
    fd = os.open(tmp_path / "letter", os.O_RDONLY)
    try:
        in_product("import os\\ndef act(fd, flags): os.preadv(fd, [bytearray(1)], 0, flags)")(fd, flags)
    finally:
        os.close(fd)

@pytest.mark.blocking_allowed
async def test_marked_sleeps():
    in_product(SLEEP)()

async def test_thread_sleeps():
    await asyncio.to_thread(in_product(SLEEP))

def test_sleeps_without_a_loop():
    in_product(SLEEP)()

async def test_leaves_a_task():
    test_leaves_a_task.kept = asyncio.create_task(asyncio.sleep(60), name="forgotten-task")

def test_leaves_a_descriptor():
    os.open("/dev/zero", os.O_RDONLY)

def test_leaves_a_thread():
    threading.Thread(target=time.sleep, args=(5,), name="forgotten-thread", daemon=True).start()

async def test_tidy():
    await asyncio.create_task(asyncio.sleep(0))
    threading.Thread(target=time.sleep, args=(0.1,)).start()
    os.close(os.open("/dev/null", os.O_RDONLY))

@pytest.mark.requirement("FR-1", "CC-2")
def test_met(): pass

@pytest.mark.requirement("FR-1")
@pytest.mark.parametrize("size", [1, 2])
def test_half(size): assert size == 1

@pytest.fixture
def without_set_up(): raise RuntimeError("no set-up")

@pytest.mark.requirement("FR-3")
def test_never_ran(without_set_up): pass

@pytest.fixture
def without_end():
    yield
    raise RuntimeError("no end")

@pytest.mark.requirement("FR-4")
def test_fails_afterwards(without_end): pass
"""


@dataclass(frozen=True)
class Run:
    status: int
    output: str
    failed: set[str]
    table: dict[str, list[dict[str, str]]]


def run(directory: Path, source: str, *more: str, chosen: str = "") -> Run:
    (directory / "test_inner.py").write_text(source)
    report = directory / "report.json"
    options = ["-p", "tests.conftest", "-c", PROJECT / "pyproject.toml", "--rootdir", directory, "-rfE", *more]
    command = [sys.executable, "-m", "pytest", *options, "--conformance-report", report, directory / chosen]
    # What says which process of this run it is would be said of the inner one, too.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=100)
    closing = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    failed = {line.split(" - ")[0].rpartition("::")[2] for line in closing}
    table = json.loads(report.read_text()) if report.exists() else {}
    return Run(done.returncode, done.stdout + done.stderr, failed, table)


@pytest.fixture(scope="module", params=[(), ("-n", "2")], ids=["one process", "two processes"])
def inner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Each test goes to whichever process is free, so that what is reported comes from both."""
    return run(tmp_path_factory.mktemp("inner"), INNER, *request.param)


def test_blocking_in_the_product_fails_a_test(inner):
    blocked = {"test_product_sleeps", "test_product_opens", "test_product_opens_a_file", "test_product_reads[waiting]"}
    assert {name for name in inner.failed if "product" in name or "sleeps" in name} == blocked
    for call in ("time.sleep", "os.open", "builtins.open", "os.preadv"):
        assert f"Blocking call to {call}" in inner.output


def test_what_a_test_leaves_behind_fails_it(inner):
    leaky = {"test_leaves_a_task", "test_leaves_a_descriptor", "test_leaves_a_thread"}
    assert {name for name in inner.failed if "leaves" in name or "tidy" in name} == leaky
    for trace in ("forgotten-task", "/dev/zero", "thread forgotten-thread"):
        assert trace in inner.output


def test_the_conformance_report_tells_each_outcome(inner):
    outcomes = {number: sorted(row["outcome"] for row in rows) for number, rows in inner.table.items()}
    assert outcomes == {
        "CC-2": ["passed"],
        "FR-1": ["failed", "passed", "passed"],
        "FR-3": ["failed"],
        "FR-4": ["failed"],
    }
    assert inner.table["CC-2"][0]["test"].endswith("test_inner.py::test_met")


WHERE = """
import os

def test_where(): assert not os.environ.get("PYTEST_XDIST_WORKER"), "in a process of its own"
"""


@pytest.mark.parametrize(
    ("words", "chosen", "several"), [((), "", True), (("-k", "where"), "", False), ((), "test_inner.py", False)]
)
def test_a_choice_of_tests_runs_in_one_process(words, chosen, several, tmp_path):
    done = run(tmp_path, WHERE, "-n", "auto", *words, chosen=chosen)
    assert ("in a process of its own" in done.output, done.status == 0) == (several, not several)


def test_a_mistyped_requirement_is_refused(tmp_path):
    outcome = run(tmp_path, "import pytest\n@pytest.mark.requirement('FR66')\ndef test_met(): pass\n")
    assert outcome.status == pytest.ExitCode.USAGE_ERROR
    assert "'FR66' is not the number of a requirement" in outcome.output
