"""The benchmarks notice what would make their figures worthless: a wrong document, a stranger's port, a missed goal."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from pathlib import Path

import pytest

from benchmarks import clients
from benchmarks.clients import Request, WrongAnswer, verify
from benchmarks.results import Goal, Result, Spread, in_turns, markdown
from benchmarks.rig import Contender
from tests.support.nginx import Nginx, file_server
from tests.support.ports import LOOPBACK


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module")
def peer(archive: Path, tmp_path_factory: pytest.TempPathFactory):
    with file_server(tmp_path_factory.mktemp("nginx"), archive) as running:
        yield running


def asked(peer: Nginx, name: str, data: bytes, *, enveloped: bool = False) -> Request:
    return Request(peer.port, f"/{name}", len(data), hashlib.sha256(data).digest(), enveloped=enveloped)


def test_only_the_document_itself_counts(peer, archive):
    data = os.urandom(100_000)
    (archive / "letter").write_bytes(data)
    verify(asked(peer, "letter", data))
    (archive / "letter").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(WrongAnswer):
        verify(asked(peer, "letter", data))
    with pytest.raises(WrongAnswer, match="404"):
        verify(asked(peer, "nothing", data))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9_999, 10_000, 10_001])
@pytest.mark.parametrize(
    ("before", "after"),
    [(b'{"resourceType":"Binary","data":"', b'"}'), (b'<Binary><id value="a"/><content value="', b'"/></Binary>')],
)
@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_the_document_is_found_in_its_envelope(peer, archive, monkeypatch, size, before, after, piece):
    monkeypatch.setattr(clients, "PIECE", piece)
    data = os.urandom(size)
    (archive / "envelope").write_bytes(before + base64.b64encode(data) + after)
    verify(asked(peer, "envelope", data, enveloped=True))
    (archive / "envelope").write_bytes(before + base64.b64encode(data))
    with pytest.raises(WrongAnswer):
        verify(asked(peer, "envelope", data, enveloped=True))


def test_a_port_must_belong_to_the_contender(peer):
    Contender("nginx", peer.server.pid, peer.port).check()
    with socket.create_server((LOOPBACK, 0)) as stranger, pytest.raises(RuntimeError, match=str(os.getpid())):
        Contender("nginx", peer.server.pid, stranger.getsockname()[1]).check()


def test_contenders_take_turns_in_both_orders_after_a_warm_up():
    calls: list[str] = []

    def measure(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    figures = in_turns(2, {"a": lambda: measure("a"), "b": lambda: measure("b")})
    assert calls == ["a", "b", "a", "b", "b", "a"]
    assert figures["a"].values == (3.0, 6.0)


def test_the_goal_judges_the_median_of_the_ratios():
    figures = {"gateway": Spread((90.0, 10.0, 99.0)), "nginx": Spread((100.0, 100.0, 100.0))}
    result = Result(
        "n", "native", "MB/s", 0, figures, Goal(0.8, at_least=True), {"gateway": "1 s/GB", "nginx": "2 s/GB"}
    )
    assert result.ratio is not None
    assert result.ratio.median == 0.9
    assert result.met
    table = markdown([result], {"kernel": "Linux 6"}, "3 rounds.")
    measured = "| native | 90 (10..99) MB/s | 100 (100..100) MB/s | 0.90 (0.10..0.99) | >= 0.8 x | met |"
    assert f"{measured} gateway 1 s/GB; nginx 2 s/GB |" in table
    memory = Result("m", "memory", "MiB", 0, {"gateway": Spread((183.0,))}, Goal(182, at_least=False))
    assert memory.row() == ["memory", "183 MiB", "", "", "<= 182 MiB", "missed", ""]
