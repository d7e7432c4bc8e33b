"""The benchmarks notice what would make their figures worthless: a wrong document, a stranger's port, a missed goal."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import caching, chart, clients, fills, machine, repository, run, scaling, small, xds
from benchmarks.clients import Request, WrongAnswer, verify
from benchmarks.results import Cost, Goal, Result, Spread, footer, in_turns, look, markdown, spliced
from benchmarks.rig import Contender, Rig, binary
from benchmarks.scenarios import Plan
from benchmarks.share import ENCRYPTED, PLAIN, SIGNED, distance
from benchmarks.share import archive as share_of
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
    goal = Goal(0.8, at_least=True, peer="nginx")
    result = Result("n", "native", "MB/s", 0, figures, [goal], {"gateway": Cost("1 s/GB"), "nginx": Cost("2 s/GB")})
    assert result.ratio("nginx").median == 0.9
    assert all(result.verdicts)
    table = markdown([result], footer({"kernel": "Linux 6"}, "3 rounds."))
    measured = "| native | 90 (10..99) MB/s | nginx 100 (100..100) MB/s | 0.90 (0.10..0.99) | >= 0.8 x | met |"
    assert f"{measured} gateway 1 s/GB; nginx 2 s/GB |" in table
    memory = Result("m", "memory", "MiB", 0, {"gateway": Spread((183.0,))}, [Goal(182, at_least=False)])
    assert memory.rows() == [["memory", "183 MiB", "", "", "<= 182 MiB", "missed", ""]]


def test_each_peer_has_its_own_goal_and_one_that_is_missed_is_missed():
    waits = {"gateway": (4.0, 4.0), "smbclient": (10.0, 10.0), "rclone": (5.0, 5.0), "ceiling": (1.0, 1.0)}
    figures = {name: Spread(values) for name, values in waits.items()}
    goals = [Goal(0.5, at_least=False, peer="smbclient"), Goal(0.5, at_least=False, peer="rclone")]
    result = Result("w", "wait", "ms", 1, figures, goals, dict.fromkeys(figures, Cost("1 s")))
    near, far = result.rows()
    assert (near[2], near[5], far[2], far[5]) == (
        "smbclient 10.0 (10.0..10.0) ms",
        "met",
        "rclone 5.0 (5.0..5.0) ms",
        "missed",
    )
    assert near[6] == "gateway 1 s; smbclient 1 s; ceiling 1.0 (1.0..1.0) ms, 1 s"
    assert result.verdicts == [True, False]
    assert [(goal["peer"], goal["met"]) for goal in result.plain()["goals"]] == [("smbclient", True), ("rclone", False)]


def test_rows_of_a_part_replace_those_of_the_same_and_no_others():
    def table(*rows: tuple[str, float]) -> list[Result]:
        goal = [Goal(5, at_least=False)]
        return [Result(name, name, "MiB", 0, {"gateway": Spread((value,))}, goal) for name, value in rows]

    every = markdown(table(("idle", 3), ("old", 4), ("far", 9)), footer({"kernel": "1"}, "2026-01-01, 9 rounds."))
    once = spliced(every, table(("old", 1), ("new", 6)), footer({"kernel": "2"}, "2026-01-02, 7 rounds.", ["xds"]))
    titles = [line.split(" | ")[:2] for line in once.splitlines()[2:6]]
    assert titles == [["| idle", "3 MiB"], ["| old", "1 MiB"], ["| far", "9 MiB"], ["| new", "6 MiB"]]
    assert once.splitlines()[6:] == [
        "", "2026-01-01, 9 rounds. Median (lowest..highest).", "", "kernel 1.",
        "", "`xds`, 2026-01-02, 7 rounds. Median (lowest..highest).", "", "kernel 2.",
    ]  # fmt: skip
    again = spliced(once, table(("new", 2)), footer({"kernel": "3"}, "2026-01-03, 5 rounds.", ["xds"]))
    assert again == once.replace(
        "| new | 6 MiB |  |  | <= 5 MiB | missed |", "| new | 2 MiB |  |  | <= 5 MiB | met |"
    ).replace("2026-01-02, 7", "2026-01-03, 5").replace("kernel 2", "kernel 3")


def test_a_goal_for_processor_time_is_judged_by_it():
    figures = {"gateway": Spread((9.0,)), "nginx": Spread((10.0,))}
    cost = {"gateway": Cost("0.3 s/GB", 0.3), "nginx": Cost("0.2 s/GB", 0.2)}
    goals = [Goal(0.8, at_least=True, peer="nginx"), Goal(1.2, at_least=False, peer="nginx", processor=True)]
    result = Result("n", "native", "MB/s", 0, figures, goals, cost)
    assert not all(result.verdicts)
    assert result.rows()[1] == [
        "native: processor time", "0.3 s/GB", "nginx 0.2 s/GB", "1.50", "<= 1.2 x", "missed", "",
    ]  # fmt: skip
    changed = replace(result, cost={**cost, "gateway": Cost("0.2 s/GB", 0.2)})
    table = spliced(markdown([result], footer({}, "1 round.")), [changed], footer({}, "1 round.", ["files"]))
    assert table.count("| native") == 2, "both rows were replaced"
    assert "0.3 s/GB" not in table


def test_what_has_no_goal_is_neither_met_nor_missed():
    figures = {"gateway": Spread((9.0,)), "varnish": Spread((10.0,))}
    result = Result("n", "hit", "requests/s", 0, figures, [look("varnish")])
    assert all(result.verdicts)
    assert result.rows()[0][3:6] == ["0.90", "", ""]


def test_the_picture_shows_every_goal_and_on_which_side_of_it_the_figure_lies():
    figures = {"gateway": Spread((9.0,)), "nginx": Spread((10.0,))}
    results = [
        Result("n", "native & json", "MB/s", 0, figures, [Goal(0.8, at_least=True, peer="nginx"), look("nginx")]),
        Result("i", "idle", "MiB", 0, {"gateway": Spread((160.0,))}, [Goal(80, at_least=False)]),
    ]
    met, missed = chart.bars(markdown(results, ""))
    assert (met.title, met.times, met.met) == ("native & json / nginx", 1.125, True)
    assert (missed.title, missed.times, missed.met) == ("idle", 0.5, False)
    picture = ElementTree.fromstring(chart.svg([met, missed]))
    fills = [one.get("fill") for one in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert fills == ["white", chart.MET, chart.MISSED]


# --- the programs in C -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return Rig(tmp_path_factory.mktemp("rig"), pin=False)


def test_the_reading_client_counts_what_it_was_answered(rig, peer, archive):
    for number, size in enumerate((10, 200_000, 3_000)):
        (archive / f"letter-{number}.pdf").write_bytes(os.urandom(size))
    reading = rig.sink.read(Request(peer.port, "/letter-*.pdf", 0, b""), connections=2, repeats=3)
    assert (reading.size, reading.responses) == (2 * 203_010, 6)
    assert 0 < reading.median <= reading.seconds
    with pytest.raises(WrongAnswer, match="404"):
        rig.sink.read(Request(peer.port, "/letter-*.pdf", 0, b""), repeats=4)


def chunked(*chunks: bytes, rest: bytes = b"0\r\n\r\n") -> bytes:
    """A whole response."""
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + rest


@pytest.mark.parametrize("step", [1, 7, 1_000_000])
def test_the_reading_client_counts_what_comes_in_chunks(rig, step):
    whole = chunked(b"x" * 10, b"\r\n0\r\n\r\n" * 9000, b"y")
    with ThreadPoolExecutor() as pool, socket.create_server((LOOPBACK, 0)) as server:
        answered = pool.submit(answer_once, server, whole, step if step > 7 else 40 * step)
        began = time.monotonic()
        reading = rig.sink.read(Request(server.getsockname()[1], "/", 0, b""))
        answered.result(10)
    assert (reading.size, reading.responses) == (63_011, 1)
    assert began < reading.first < time.monotonic()


@pytest.mark.parametrize("wrong", [chunked(b"x", rest=b"0\r\n"), chunked(b"x", rest=b"?\r\n"), chunked(b"x") + b"more"])
def test_the_reading_client_refuses_chunks_that_do_not_end(rig, wrong):
    with ThreadPoolExecutor() as pool, socket.create_server((LOOPBACK, 0)) as server:
        pool.submit(answer_once, server, wrong, 1_000_000)
        with pytest.raises(WrongAnswer):
            rig.sink.read(Request(server.getsockname()[1], "/", 0, b""))


def answer_once(server: socket.socket, data: bytes, step: int) -> None:
    """Send this to the first client, `step` bytes at a time."""
    with server.accept()[0] as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(65536)
        for at in range(0, len(data), step):
            connection.sendall(data[at : at + step])


def test_readers_stall_after_their_first_bytes(peer, archive):
    (archive / "long").write_bytes(bytes(20_000_000))
    with clients.stalled(asked(peer, "long", b""), readers=3, first=100_000):
        pass
    refused = clients.stalled(asked(peer, "nothing", b""), readers=3, first=100_000)
    with pytest.raises(WrongAnswer, match="404"), refused:
        pass


@pytest.fixture
def far(rig: Rig):
    """Both ends of a connection with a round trip of 0.2 s."""
    with (
        socket.create_server((LOOPBACK, 0)) as listener,
        distance(rig, listener.getsockname()[1], 0.2) as port,
    ):
        listener.accept()[0].close()  # the question whether the port is there
        with socket.create_connection((LOOPBACK, port), timeout=10) as here, listener.accept()[0] as there:
            there.settimeout(10)
            yield here, there


def test_a_distance_takes_its_time_in_each_direction(far):
    here, there = far
    for sender, receiver in (far, far[::-1]):
        began = time.monotonic()
        sender.sendall(b"?")
        assert receiver.recv(1) == b"?"
        assert time.monotonic() - began >= 0.1
    here.shutdown(socket.SHUT_WR)
    assert there.recv(1) == b"", "the end is passed on"
    there.sendall(b"!")
    assert here.recv(1) == b"!", "in one direction only"


def test_a_distance_does_not_limit_the_bandwidth(far):
    """Pieces of 256 KiB that waited for each other would be on their way for longer than the deadlines here."""
    data = random.Random(1).randbytes(16 << 20) * 2
    with ThreadPoolExecutor() as pool:
        received = [pool.submit(received_exactly, one, len(data)) for one in far]
        sent = [pool.submit(one.sendall, data) for one in far]
        for one in sent:
            one.result(10)
        assert [one.result(10) for one in received] == [data, data]


def received_exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += connection.recv(1 << 20)
    return bytes(data)


# --- other peers, and what grows with what ---

TINY = Plan(rounds=1, repeats=1, rate_seconds=1, medium=600_000, large=3_000_000, stalled=2, rows=5_000)


@pytest.mark.parametrize("name", ["10k", "smallest", "memory-hit", "json-naive"])
def test_each_scenario_of_small_documents_measures_all_its_peers(rig, name):
    result = small.SCENARIOS[name](rig, TINY)
    assert result.name == name
    assert set(result.figures) >= {goal.peer for goal in result.goals} | {"gateway"}
    assert all(spread.low > 0 for spread in result.figures.values())


@pytest.mark.parametrize("name", ["stalled-json", "size-memory", "manifest"])
def test_each_scenario_of_growth_measures(rig, monkeypatch, name):
    monkeypatch.setattr(scaling, "SIZES", (300_000, 600_000))
    result = scaling.SCENARIOS[name](rig, TINY)
    assert result.name == name
    assert result.rows()


# --- a Windows share -------------------------------------------------------------------------------------------------


def test_smbclient_counts_when_it_reads_the_document(rig, tmp_path):
    document = rig.document(300_000)
    with share_of(rig, PLAIN) as share, share.smbclient() as client:
        client.verify(document, tmp_path / "copy")
        assert client.read(document).size == 300_000
        assert client.processor_seconds() >= 0
        with pytest.raises(WrongAnswer):
            client.read(replace(document, size=300_001))
        with pytest.raises(WrongAnswer):
            client.verify(replace(document, digest=bytes(32)), tmp_path / "copy")
        with pytest.raises(WrongAnswer, match="NOT_FOUND"):
            client.read(replace(document, id="nothing"))


@pytest.mark.parametrize("protection", [PLAIN, SIGNED, ENCRYPTED], ids=lambda one: one.name)
def test_the_server_says_how_connections_are_protected(rig, protection):
    document = rig.document(300_000)
    with share_of(rig, protection) as share:
        with pytest.raises(WrongAnswer, match="0 clients"):
            share.check_protection(clients=1)
        with share.smbclient() as client:
            client.read(document)
            share.check_protection(clients=1)
            for other in (PLAIN, SIGNED, ENCRYPTED):
                if other is not protection:
                    with pytest.raises(WrongAnswer, match=other.name):
                        replace(share, protection=other).check_protection(clients=1)


def test_a_share_must_be_the_servers_own(rig):
    with ExitStack() as stranger, pytest.raises(RuntimeError, match="belongs to"), share_of(rig, PLAIN) as share:
        share.server.stop()
        stranger.enter_context(socket.create_server((LOOPBACK, share.server.port)))


# --- an XDS repository -----------------------------------------------------------------------------------------------

FEW = Plan(rounds=1, readers=3, stalled=2, retrieved=12_000_000)


@pytest.mark.parametrize("packing", ["xop", "inline"])
def test_all_contenders_for_a_repository_deliver_the_document(rig, packing):
    answer = repository.prepared(rig, packing, 1_000_000)
    with repository.origin(rig, answer) as far, ExitStack() as stack:
        ours = stack.enter_context(repository.gateway(rig, far.port))
        verify(binary(ours, answer.document))
        verify(repository.passed_on(stack.enter_context(repository.proxy(rig, far.port)), answer))
        peer = binary(stack.enter_context(repository.zeep(rig, far.port, answer.document)), answer.document)
        verify(replace(peer, target="/document"))
        for wrong in (binary(ours, answer.document), replace(peer, target="/document")):
            with pytest.raises(WrongAnswer):
                verify(replace(wrong, digest=bytes(32)))


@pytest.mark.parametrize(
    ("name", "contenders"),
    [
        ("xds-xop-json", {"gateway", "nginx", "zeep"}),
        ("xds-inline-native", {"gateway", "nginx"}),
        ("xds-memory-xop-native", {"gateway"}),
        ("xds-readers-inline-json", {"gateway"}),
        ("xds-stalled-xop-native", {"gateway"}),
    ],
)
def test_each_scenario_of_a_repository_measures(rig, name, contenders):
    result = xds.SCENARIOS[name](rig, FEW)
    assert result.name == name
    assert set(result.figures) == contenders
    assert all(spread.low > 0 for spread in result.figures.values())


@pytest.mark.parametrize("representation", ["native", "json"])
def test_the_first_byte_is_one_of_the_document_and_no_second_passes_before_it(rig, representation):
    (row,) = xds.SCENARIOS[f"xds-first-inline-{representation}"](rig, FEW).figures.values()
    assert 0 < row.median < repository.SLOW_BYTES / 1e6 * 1e3, "the slow megabyte is not waited for"


def test_what_is_spooled_is_counted(rig, tmp_path):
    with (tmp_path / "file").open("wb") as file:
        file.write(bytes(70_000))
        file.flush()
        before = machine.unlinked(os.getpid())
        (tmp_path / "file").unlink()
        assert machine.unlinked(os.getpid()) - before == 70_000


# --- caches and fills --------------------------------------------------------------------------------------------------

BRIEF = Plan(rounds=1, repeats=1, rate_seconds=1, medium=600_000, stalled=2, crowd=20)


@pytest.fixture
def stored(rig: Rig):
    with caching.kept(rig, caching.redis_alone, 100_000) as (ours, document):
        yield ours, document


def test_only_hits_count(rig, stored):
    ours, document = stored
    with ours.hitting():
        verify(binary(ours.contender, document))
    with pytest.raises(WrongAnswer, match="not all"), ours.hitting():
        ours.purge()
        verify(binary(ours.contender, document))
    with pytest.raises(WrongAnswer, match="not all"), ours.hitting():
        pass


@pytest.mark.parametrize(
    ("name", "contenders"),
    [
        ("redis-10k", {"gateway", "local files"}),
        ("redis-64k", {"gateway", "nginx"}),
        ("disk-sealed", {"gateway", "nginx"}),
        ("redis-stalled-json", {"gateway"}),
    ],
)
def test_each_scenario_of_a_cache_measures(rig, name, contenders):
    result = caching.SCENARIOS[name](rig, BRIEF)
    assert result.name == name
    assert set(result.figures) == contenders
    # A few readers may find all the memory that they need.
    assert all(spread.low >= 0 if "stalled" in name else spread.low > 0 for spread in result.figures.values())


def test_misses_at_once_are_measured_from_the_first_byte_of_one_to_that_of_the_last(rig, monkeypatch):
    monkeypatch.setattr(fills, "SIZE", 1 << 20)
    monkeypatch.setattr(fills, "PACE", repository.Pace(pause=0.2, size=1 << 20, rate=1 << 20, piece=16 << 10))
    rows = {name: scenario(rig, BRIEF) for name, scenario in fills.SCENARIOS.items()}
    assert rows["misses-opens"].figures["gateway"].values == (1,)
    first, whole = rows["misses-first"].figures, rows["misses-whole"].figures
    assert 0 < first["gateway"].median < 1000 * whole["gateway"].median
    assert whole["gateway"].median >= 1.1, "nobody has it before the archive has given it"
    assert first["nginx"].median > 500, "whoever waits for the lock waits for the end"


def test_a_probe_is_no_read_of_a_slow_repository(rig):
    answer = repository.prepared(rig, "xop", 100_000)
    with repository.SlowRepository(answer).serving() as far:
        for asked in (repository.NOBODYS, answer.document.id):
            with socket.create_connection((LOOPBACK, far.port), timeout=10) as connection:
                connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(asked) + asked.encode())
                assert bool(connection.recv(1)) is (asked == answer.document.id)
        assert len(far.began) <= 1


def test_a_run_of_some_scenarios_keeps_the_figures_of_the_others():
    before = [{"name": "jwt", "figures": 1}, {"name": "start", "figures": 2}]
    measured = [{"name": "jwt", "figures": 3}, {"name": "audit-rate", "figures": 4}]
    kept = {one["name"]: one["figures"] for one in run.merged(before, measured)}
    assert kept == {"jwt": 3, "start": 2, "audit-rate": 4}


def test_no_two_scenarios_on_the_page_bear_one_title():
    """One that is measured again replaces the rows of its title, and would take those of the other away."""
    titles = [
        line.split(" | ")[0]
        for line in run.PAGE.read_text().splitlines()
        if line.startswith("| ") and "---" not in line
    ]
    runs = [title for title, _rows in itertools.groupby(titles)]
    assert len(runs) > 50
    assert len(set(runs)) == len(runs)
