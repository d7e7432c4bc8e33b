"""`fhir-gateway cache` as operators use it: with a gateway that runs and with none, on every backend."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import console
from tests.support.cached_gateway import LETTERS, Place, keeping, read
from tests.support.gateway import PROJECT
from tests.support.ports import free_port

every_backend = pytest.mark.parametrize("backend", ["memory", "disk", "redis"])
lasting = pytest.mark.parametrize("backend", ["disk", "redis"])


@pytest.fixture
def place(backend: str, tmp_path: Path) -> Iterator[Place]:
    with keeping(backend, tmp_path) as made:
        yield made


def kept(place: Place, url: str, id: str) -> None:
    """Read until it comes out of the cache."""
    for _ in range(100):
        answer = read(url, id)
        assert answer.body == LETTERS[id].encode()
        if answer.cached:
            return
        time.sleep(0.02)
    raise AssertionError(f"{id} is not kept: {place.command('cache', 'stat').stdout}")


# --- a gateway that runs ---------------------------------------------------------------------------------------------


@every_backend
def test_it_is_looked_at_purged_and_warmed(place: Place) -> None:
    with place.gateway() as gateway:
        for id in ("letter-1", "letter-2", "letter-3"):
            kept(place, gateway.url, id)
        state = json.loads(place.command("cache", "stat", "--json").stdout)
        assert (state["backend"], state["entries"], state["state"]) == (place.backend, 3, "ok")
        assert state["since_start"]["stored"] == 3
        shown = place.command("cache", "stat").stdout
        assert re.search(r"^entries +3$", shown, re.MULTILINE), shown

        done = place.command("cache", "purge", "--id", "letter-1")
        assert (done.returncode, done.stdout, done.stderr) == (0, "purged\n", "")
        assert not read(gateway.url, "letter-1").cached
        assert read(gateway.url, "letter-2").cached
        for words in (("--source", "letters"), ("--all",)):
            kept(place, gateway.url, "letter-2")
            assert place.command("cache", "purge", *words).stdout == "purged\n"
            assert not read(gateway.url, "letter-2").cached
        place.command("cache", "purge", "--all")

        done = place.command("cache", "warm", "--source", "letters")
        assert (done.returncode, done.stdout, done.stderr) == (0, "12 stored\n", "")
        assert all(read(gateway.url, id).cached for id in LETTERS)
        assert place.command("cache", "warm", "--source", "letters").stdout == "12 kept\n"


@pytest.mark.parametrize("backend", ["memory"])
def test_ids_that_lead_nowhere_are_counted_and_tell(place: Place) -> None:
    with place.gateway():
        done = place.command("cache", "warm", "--ids", "-", input="letter-1\nletter-99\n\n")
        assert (done.returncode, done.stdout) == (console.FAILED, "1 no such document, 1 stored\n")
        done = place.command("cache", "purge", "--id", "letter-99")
        assert done.returncode == console.FAILED
        assert "no such document" in done.stderr
        done = place.command("cache", "purge", "--source", "letter")
        assert done.returncode == console.FAILED
        assert "no such source" in done.stderr
        assert place.command("cache", "purge").returncode == 2


@pytest.mark.parametrize("backend", ["memory"])
def test_a_terminal_shows_how_warming_proceeds(place: Place) -> None:
    with place.gateway():
        controller, terminal = pty.openpty()
        command = [sys.executable, "-m", "gateway", "cache", "warm", "--source", "letters"]
        command += ["--config", str(place.configuration())]
        environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        try:
            with subprocess.Popen(
                command, cwd=PROJECT, env=environ, stdout=subprocess.PIPE, stderr=terminal
            ) as running:
                os.close(terminal)
                shown = b"".join(_lines(controller))
                assert running.stdout is not None
                assert running.stdout.read() == b"12 stored\n"
            assert running.returncode == 0
        finally:
            os.close(controller)
        assert b"reading documents" in shown
        assert b"12/12" in shown


def _lines(controller: int) -> Iterator[bytes]:
    """What is written to a terminal until nobody has it open any more."""
    while True:
        try:
            data = os.read(controller, 65536)
        except OSError:
            return
        if not data:
            return
        yield data


# --- none that runs --------------------------------------------------------------------------------------------------


@lasting
def test_what_outlives_a_gateway_is_looked_at_and_purged_without_one(place: Place) -> None:
    for words in (("--id", "letter-1"), ("--all",)):
        with place.gateway() as gateway:
            kept(place, gateway.url, "letter-1")
            gateway.terminate()
        state = place.command("cache", "stat", "--json")
        assert json.loads(state.stdout)["entries"] == 1
        done = place.command("cache", "purge", *words)
        assert (done.returncode, done.stdout) == (0, "purged\n")
        with place.gateway() as gateway:
            assert not read(gateway.url, "letter-1").cached


@lasting
def test_what_outlives_a_gateway_is_used_by_the_next_one(place: Place) -> None:
    with place.gateway() as gateway:
        kept(place, gateway.url, "letter-1")
        gateway.kill()
    with place.gateway() as gateway:
        assert read(gateway.url, "letter-1").cached


@pytest.mark.parametrize("backend", ["memory"])
def test_memory_has_nothing_to_forget_without_a_gateway(place: Place) -> None:
    done = place.command("cache", "purge", "--all")
    assert done.returncode == 0
    assert "there is nothing to forget" in done.stdout


@every_backend
def test_nothing_is_warmed_without_a_gateway(place: Place) -> None:
    done = place.command("cache", "warm", "--source", "letters")
    assert done.returncode == console.FAILED
    assert "No gateway is running here" in done.stderr


# --- Redis that is away ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["redis"])
@pytest.mark.parametrize("runs", [True, False], ids=["running", "not running"])
def test_a_purge_is_pending_while_redis_is_away(place: Place, runs: bool) -> None:
    assert place.redis is not None
    with place.gateway() as gateway:
        kept(place, gateway.url, "letter-1")
        if not runs:
            gateway.terminate()
        place.redis.process.signal(signal.SIGSTOP)
        done = place.command("cache", "purge", "--id", "letter-1")
        assert (done.returncode, done.stdout) == (console.FAILED, ""), done.stdout
        assert "pending" in done.stderr
        assert "Run it again when Redis can be reached" in done.stderr
        if runs:
            assert not read(gateway.url, "letter-1").cached
        place.redis.process.signal(signal.SIGCONT)
        ends = time.monotonic() + 20
        while (done := place.command("cache", "purge", "--id", "letter-1")).returncode and time.monotonic() < ends:
            time.sleep(0.2)
        assert (done.returncode, done.stdout) == (0, "purged\n")
        if runs:
            assert not read(gateway.url, "letter-1").cached


# --- two replicas ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["redis"])
def test_a_purge_on_one_replica_holds_on_the_other_when_it_says_so(place: Place) -> None:
    other = free_port()
    with place.gateway() as one, place.gateway(admin=other) as two:
        for number, words in enumerate([("--id", "letter-1"), ("--source", "letters"), ("--all",)] * 2):
            kept(place, one.url, "letter-1")
            assert read(two.url, "letter-1").cached, "both have one cache"
            done = place.command("cache", "purge", *words, admin=other if number % 2 else None)
            assert done.stdout == "purged\n"
            assert not read((one if number % 2 else two).url, "letter-1").cached
