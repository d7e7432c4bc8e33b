"""What holds for every test.

* The event loop may not block inside the product's code: blockbuster turns a blocking call there into a failure. Marker
  `blocking_allowed` lifts that for a test that blocks on purpose.
* A test leaves nothing behind: no task, no thread, no file descriptor.
* Tests run in several processes at once (`make test`, docs/testing.md), the tests of a file in one of them and in their order.
  What a test shares with the machine it gets from where nobody else gets it: folders from `tmp_path`, ports from
  `tests.support.ports.free_port`. All processes must collect the same tests: no test's name is made of chance or time.
* Property tests are reproducible: no deadline, derived seeds, `HYPOTHESIS_PROFILE=thorough` for more examples.
* `@pytest.mark.attack("a token without a signature", "401")` says which attack a test tries and what is to come of it; the page
  docs/security-tests.md is made of them.
* `@pytest.mark.requirement("FR-66", ...)` says which numbered requirements a test shows to be met;
  `--conformance-report FILE` writes what came of them as JSON {number: [{"test": id, "outcome": word}]}.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import re
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from blockbuster import BlockBuster
from blockbuster.blockbuster import BlockBusterFunction

import adapters
import adapters.testing
import gateway
from adapters.testing.suite import list_of_process
from tests.support.gateway import DRAIN_DELAY
from tests.support.ports import free_port

# Where this is set, each process that a test starts would compile the whole product again. `make` takes it away, too.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Debian's own /etc/krb5.conf names a realm of somebody else's; a log-on in a test must not look for it.
os.environ["KRB5_CONFIG"] = os.devnull

# Nobody here watches /readyz to send clients elsewhere; tests of that say their own delay, without this variable.
os.environ.setdefault(DRAIN_DELAY, "0s")

hypothesis.settings.register_profile("quick", deadline=None, max_examples=60, derandomize=True, database=None)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=5000, database=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

PRODUCT = [gateway, adapters]

NUMBER = re.compile(r"[A-Z]{2,3}-[0-9]{1,3}[a-z]?")
"""A requirement's number as docs/conformance.md writes it."""

REQUIREMENTS = pytest.StashKey[dict[str, tuple[str, ...]]]()
OUTCOMES = pytest.StashKey[dict[str, str]]()

LEAK_PATIENCE = 10.0
"""Seconds that threads and descriptors of a finished test get to end by themselves, beside other tests' work."""


# --- the loop does not block ---------------------------------------------------------------------------------------


def _watchdog() -> BlockBuster:
    """Blocking calls of the product on a running loop are errors, but for those that are fast by decision."""
    # A harness is a test's own hand on the archive: it may wait for a server or a proxy.
    watchdog = BlockBuster(PRODUCT, excluded_modules=[adapters.testing])
    for name in ("os.open", "os.pread", "os.preadv", "os.fsync", "os.scandir", "builtins.open"):
        # Calls that blockbuster does not know by itself.
        kind = BlockBusterFunction(None, name, scanned_modules=PRODUCT)
        if name == "os.preadv":
            # With RWF_NOWAIT it answers from the page cache or not at all.
            kind.can_block_predicate = _answers_at_once
        if name == "os.open":
            # Python's own: reading a package's version or a lazily loaded module while importing.
            kind.can_block_in("<frozen importlib._bootstrap>", {"_find_and_load"})
        watchdog.functions[name] = kind
    for name, path, functions in ALLOWED:
        watchdog.functions[name].can_block_in(path, functions)
    return watchdog


def _answers_at_once(*arguments: Any) -> bool:
    flags = arguments[3] if len(arguments) > 3 else 0
    return bool(flags & os.RWF_NOWAIT)


ALLOWED: list[tuple[str, str, set[str]]] = []
"""Deliberate calls on the loop: (call, end of the file's path, functions there that may), each with its reason."""


@pytest.fixture(scope="session")
def loop_watchdog() -> BlockBuster:
    return _watchdog()


@pytest.fixture(autouse=True)
def _loop_does_not_block(request: pytest.FixtureRequest, loop_watchdog: BlockBuster) -> Iterator[None]:
    if not _is_async(request) or request.node.get_closest_marker("blocking_allowed"):
        yield
        return
    loop_watchdog.activate()
    try:
        yield
    finally:
        loop_watchdog.deactivate()


def _is_async(request: pytest.FixtureRequest) -> bool:
    function = getattr(request, "function", None)
    return inspect.iscoroutinefunction(inspect.unwrap(function)) if function else False


# --- nothing is left behind ----------------------------------------------------------------------------------------


@pytest.fixture
async def task_watch() -> AsyncIterator[None]:
    """Tasks that a test started have ended when its other fixtures are gone."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    left = {task for task in left if not task.done()}
    if left:
        await asyncio.wait(left, timeout=0.1)
        left = {task for task in left if not task.done()}
    assert not left, "tasks that still run after the test:\n" + "\n".join(map(repr, left))


@pytest.fixture(autouse=True)
def _no_task_left(request: pytest.FixtureRequest, _nothing_left_behind: None) -> None:
    if _is_async(request):
        request.getfixturevalue("task_watch")


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Ends after the test's event loop, whose default executor and sockets are gone by then."""
    threads, descriptors = set(threading.enumerate()), _descriptors()
    yield
    deadline, pause = time.monotonic() + LEAK_PATIENCE, 0.0005
    while left := _left(threads, descriptors):
        if time.monotonic() > deadline:
            pytest.fail("left behind after the test:\n" + "\n".join(left), pytrace=False)
        # A thread that is about to end needs the interpreter for it; only what stays can be waiting for a collection.
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
        if pause > 0.005:
            gc.collect()


def _left(threads: set[threading.Thread], descriptors: dict[int, str]) -> list[str]:
    new_threads = [f"thread {one.name}" for one in threading.enumerate() if one not in threads]
    new_files = [f"descriptor {fd}: {target}" for fd, target in _descriptors().items() if descriptors.get(fd) != target]
    return new_threads + new_files


def _descriptors() -> dict[int, str]:
    """Open file descriptors and what they stand for."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the listing's own descriptor
            continue
    return found


# --- fixtures ------------------------------------------------------------------------------------------------------


@pytest.fixture
def port() -> int:
    """A free port of the loopback address."""
    return free_port()


# --- processes -----------------------------------------------------------------------------------------------------

COARSE_FIRST = ("meta", "faults", "conformance", "integration", "wire", "unit")
"""Folders in the order in which their files are handed out: the last are small, so that all processes end together."""


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: three for two processors, since every third moment is a wait for a server; a few chosen tests run in one.

    Each process collects all tests for itself, which takes longer than a choice does.
    """
    if config.option.keyword or config.option.collectonly or not all(Path(word).is_dir() for word in config.args):
        return 0
    processors = len(os.sched_getaffinity(0))
    return processors + (processors + 1) // 2


def pytest_collection_finish() -> None:
    """What was collected lives to the end: hundreds of thousands of objects that no later collection need visit."""
    gc.collect()
    gc.freeze()


# --- requirements --------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--conformance-report", type=Path, metavar="FILE", help="write the outcome of each numbered requirement as JSON"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REQUIREMENTS] = {}
    config.stash[OUTCOMES] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Folders of tests that are not named come first, and files stay together in their order.
    items.sort(key=lambda item: _place(config, item))
    for item in items:
        numbers = [number for marker in item.iter_markers("requirement") for number in marker.args]
        for number in numbers:
            if not isinstance(number, str) or not NUMBER.fullmatch(number):
                raise pytest.UsageError(f"{item.nodeid}: {number!r} is not the number of a requirement (like FR-66)")
        if numbers:
            config.stash[REQUIREMENTS][item.nodeid] = tuple(dict.fromkeys(numbers))


def _place(config: pytest.Config, item: pytest.Item) -> int:
    folders = item.path.relative_to(config.rootpath).parts if item.path.is_relative_to(config.rootpath) else ()
    return next((place for place, name in enumerate(COARSE_FIRST) if name in folders), -1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    outcomes = item.config.stash[OUTCOMES]
    if report.failed:
        outcomes[item.nodeid] = "failed"
    elif report.skipped:
        outcomes.setdefault(item.nodeid, "skipped")
    elif report.when == "call":
        outcomes.setdefault(item.nodeid, "passed")
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """In the process that hands out the tests: what came of them in one that has ended. One that broke says nothing."""
    said = getattr(node, "workeroutput", {}).get("conformance", {"requirements": {}, "outcomes": {}})
    node.config.stash[REQUIREMENTS] |= said["requirements"]
    node.config.stash[OUTCOMES] |= said["outcomes"]
    list_of_process(node)


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    path: Path | None = config.getoption("--conformance-report")
    if path is None:
        return
    requirements, outcomes = config.stash[REQUIREMENTS], config.stash[OUTCOMES]
    if (said := getattr(config, "workeroutput", None)) is not None:
        said["conformance"] = {
            "requirements": requirements,
            "outcomes": {test: outcome for test, outcome in outcomes.items() if test in requirements},
        }
        return
    table: dict[str, list[dict[str, str]]] = defaultdict(list)
    for test, numbers in requirements.items():
        for number in numbers:
            table[number].append({"test": test, "outcome": outcomes.get(test, "not run")})
    path.write_text(json.dumps(dict(sorted(table.items())), indent=1) + "\n")
