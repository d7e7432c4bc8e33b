"""What a client of the gateway sees when a Windows share fails: a real smbd, a real gateway, and the network between them.

Every fault is told apart: "there is no such document" only where the server said so. A document that broke off never looks
whole, and a share that hangs holds nothing but itself.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from adapters.testing.proxy import LoopbackProxy
from tests.support.gateway import Gateway, serving
from tests.support.ports import LOOPBACK, free_port
from tests.support.samba import Samba, samba

LETTER = b"%PDF-1.7 a letter\n" * 500
LARGE = os.urandom(24 << 20)
GIB = 1 << 30

LIMITS = {
    "open_timeout": "1500ms",
    "idle_timeout": "1500ms",
    "queue_timeout": "500ms",
    "max_open": 8,
    # How long an archive is given a rest is not what is looked at here.
    "breaker_pause": "100ms",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got. `whole` is false when the body broke off."""

    status: int
    body: bytes
    whole: bool
    retry_after: str | None
    seconds: float

    @property
    def code(self) -> str:
        """The gateway's own error code in the OperationOutcome."""
        return str(json.loads(self.body)["issue"][0]["details"]["coding"][0]["code"])


def get(gateway: Gateway, name: str, *, span: str | None = None, patience: float = 20.0) -> Answer:
    """GET Binary/`name` on a connection of its own."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=patience)
    try:
        connection.request("GET", f"/R4/Binary/{quote(name)}", headers={"Range": span} if span else {})
        response = connection.getresponse()
        whole, body = True, b""
        try:
            body = response.read()
        except (http.client.IncompleteRead, ConnectionError):
            whole = False
        return Answer(response.status, body, whole, response.headers["Retry-After"], time.monotonic() - began)
    finally:
        connection.close()


def configuration(
    samba_options: dict[str, object], other: Path, *, read: str = "auto", **limits: Any
) -> dict[str, Any]:
    """A share, and a folder that has nothing to do with it (prefix `f.`)."""
    return {
        "sources": {
            "share": {
                "adapter": "smb",
                "read": read,
                "prefix": "",
                "ids": {"scheme": "template", "pattern": "{id}.pdf"},
                "options": {"require_encryption": False} | samba_options,
                "limits": LIMITS | limits,
            },
            "folder": {
                "adapter": "filesystem",
                "prefix": "f.",
                "ids": {"scheme": "template", "pattern": "{id}.pdf"},
                "options": {"root": str(other)},
            },
        }
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    with samba(tmp_path_factory.mktemp("smb")) as running:
        (running.folder() / "large.pdf").write_bytes(LARGE)
        yield running


@pytest.fixture(autouse=True)
def letter(server: Samba) -> None:
    (server.folder() / "letter.pdf").write_bytes(LETTER)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other")
    (folder / "letter.pdf").write_bytes(LETTER)
    return folder


@pytest.fixture(scope="module")
def line() -> int:
    """The port at which the gateways find the share."""
    return free_port()


@pytest.fixture(autouse=True)
def proxy(server: Samba, line: int) -> Iterator[LoopbackProxy]:
    """The network between share and gateways: a new one for each test, so that no connection outlives one."""
    with LoopbackProxy(server.host, server.port, listen=(LOOPBACK, line)) as between:
        yield between


@pytest.fixture(scope="module")
def both(
    server: Samba, line: int, other: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Gateway]]:
    """Gateways that all tests of this file use: each leaves the share as it found it."""
    options = server.options(port=line)
    with contextlib.ExitStack() as stack:
        yield {
            read: stack.enter_context(serving(configuration(options, other, read=read), tmp_path_factory.mktemp(read)))
            for read in ("auto", "direct")
        }


@pytest.fixture
def gateway(both: dict[str, Gateway], proxy: LoopbackProxy) -> Gateway:
    eventually(both["auto"])
    return both["auto"]


@pytest.fixture
def direct(both: dict[str, Gateway], proxy: LoopbackProxy) -> Gateway:
    """A gateway in which every reader has a read of the share of its own."""
    eventually(both["direct"])
    return both["direct"]


def eventually(gateway: Gateway, name: str = "letter", *, within: float = 10.0) -> Answer:
    """The first whole answer with status 200; fails when there is none in time."""
    deadline = time.monotonic() + within
    while True:
        answer = get(gateway, name)
        if answer.status == 200 and answer.whole:
            return answer
        assert time.monotonic() < deadline, f"still {answer.status} {answer.body[:300]!r}"
        time.sleep(0.1)


# --- what the operator got wrong -----------------------------------------------------------------------------------


WRONG: dict[str, tuple[dict[str, object], int, str]] = {
    "wrong password": ({"password": "wrong-4711"}, 502, "GW-SRC-005"),
    "unknown share": ({"share": "no-such-4711"}, 503, "GW-SRC-001"),
    "no encryption": ({"require_encryption": True}, 503, "GW-SRC-001"),
    "nobody listens": ({"server": "127.0.0.1", "port": 1}, 503, "GW-SRC-001"),
}


@pytest.fixture(scope="module")
def mistaken(server: Samba, other: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway with a share for each mistake, its number before the ids."""
    whole = configuration(server.options(), other)
    share = whole["sources"].pop("share")
    for number, (options, _, _) in enumerate(WRONG.values()):
        wrong = {"require_encryption": False} | server.options(**options)
        whole["sources"][f"share-{number}"] = share | {"prefix": f"{number}.", "options": wrong}
    with serving(whole, tmp_path_factory.mktemp("mistaken")) as running:
        yield running


@pytest.mark.parametrize("wrong", WRONG)
def test_options_that_cannot_work(mistaken: Gateway, wrong: str) -> None:
    _, status, code = WRONG[wrong]
    answer = get(mistaken, f"{list(WRONG).index(wrong)}.letter")
    assert (answer.status, answer.code) == (status, code)
    assert get(mistaken, "f.letter").body == LETTER
    for line in mistaken.lines():
        assert "4711" not in json.dumps(line)


# --- what the server does ------------------------------------------------------------------------------------------


def test_share_that_is_removed_while_serving_and_comes_back(server: Samba, gateway: Gateway) -> None:
    assert get(gateway, "letter").body == LETTER
    server.remove_share()
    answer = get(gateway, "letter")
    assert (answer.status, answer.code) == (503, "GW-SRC-001"), "absent and unreachable are opposite statements"
    assert answer.retry_after
    server.add_share("letters")
    assert eventually(gateway).body == LETTER


def test_document_that_vanishes(server: Samba, gateway: Gateway) -> None:
    assert get(gateway, "letter").status == 200
    (server.folder() / "letter.pdf").unlink()
    assert get(gateway, "letter").status == 404


def test_rebooted_server_is_found_again(server: Samba, gateway: Gateway) -> None:
    assert get(gateway, "letter").status == 200
    server.restart()
    assert get(gateway, "letter").body == LETTER, "an idle connection that died costs nobody an error"
    server.stop()
    assert get(gateway, "letter").status == 503
    server.start()
    assert eventually(gateway).body == LETTER


def test_closed_session_costs_nobody_an_error(server: Samba, gateway: Gateway) -> None:
    assert get(gateway, "letter").status == 200
    server.disconnect_clients()
    assert get(gateway, "letter").body == LETTER
    server.close_share()
    assert get(gateway, "letter").body == LETTER


def test_changed_password_is_read_anew(server: Samba, other: Path, tmp_path: Path) -> None:
    before = server.password
    options = server.options(password_file=str(server.password_file))
    with serving(configuration(options, other), tmp_path / "gateway") as gateway:
        assert get(gateway, "letter").status == 200
        server.change_password("a new one")
        try:
            server.disconnect_clients()
            answer = get(gateway, "letter")
            assert (answer.status, answer.code) == (502, "GW-SRC-005")
            _ = server.password_file
            assert eventually(gateway).body == LETTER
        finally:
            server.change_password(before)


def test_document_replaced_while_it_is_read_never_looks_whole(server: Samba, gateway: Gateway) -> None:
    path = server.folder() / "replaced.pdf"
    path.write_bytes(LARGE)
    connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=20)
    connection.request("GET", "/R4/Binary/replaced")
    response = connection.getresponse()
    begun = response.read(1 << 20)
    with path.open("r+b") as file:
        for offset in range(0, len(LARGE), 1 << 20):
            file.seek(offset)
            file.write(bytes(4096))
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        rest = response.read()
        pytest.fail(f"mixed bytes looked whole: {begun + rest == LARGE}")
    connection.close()


# --- what the network does -----------------------------------------------------------------------------------------


def test_server_that_accepts_and_never_answers(gateway: Gateway, proxy: LoopbackProxy) -> None:
    with proxy.stall():
        proxy.reset()
        answer = get(gateway, "letter")
        assert answer.status in (503, 504)
        assert answer.seconds < 10
        assert get(gateway, "f.letter").body == LETTER
    assert eventually(gateway).body == LETTER


def test_connection_reset_in_mid_read_never_looks_whole(direct: Gateway, proxy: LoopbackProxy) -> None:
    assert get(direct, "letter").status == 200
    with proxy.cut_after(6 << 20):
        answer = get(direct, "large")
    assert not answer.whole
    assert eventually(direct, "large").body == LARGE


def test_connection_reset_in_a_shared_read_is_mended_before_anybody_notices(
    gateway: Gateway, proxy: LoopbackProxy
) -> None:
    assert get(gateway, "letter").status == 200
    with proxy.cut_after(6 << 20), ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: get(gateway, "large"), range(5)))
    assert [(answer.status, answer.whole, answer.body == LARGE) for answer in answers] == [(200, True, True)] * 5


def test_hung_server_holds_only_its_own_source(server: Samba, gateway: Gateway) -> None:
    assert get(gateway, "letter").status == 200
    threads = _threads(gateway)
    server.pause()
    try:
        with ThreadPoolExecutor(40) as pool:
            waiting = [pool.submit(get, gateway, "letter") for _ in range(40)]
            began = time.monotonic()
            while any(not one.done() for one in waiting) and time.monotonic() - began < 1:
                quick = get(gateway, "f.letter")
                assert quick.body == LETTER
                assert quick.seconds < 1, "a share that hangs slows down a folder"
            answers = [one.result() for one in waiting]
        assert {answer.status for answer in answers} <= {503, 504}
        assert all(answer.retry_after for answer in answers if answer.status == 503)
        assert max(answer.seconds for answer in answers) < 12
        assert _threads(gateway) <= threads + 8, "threads pile up behind a server that hangs"
    finally:
        server.resume()
    assert eventually(gateway).body == LETTER


def test_process_ends_in_time_while_a_server_hangs(server: Samba, other: Path, tmp_path: Path) -> None:
    with serving(configuration(server.options(), other, open_timeout="5s"), tmp_path / "gateway") as gateway:
        assert get(gateway, "letter").status == 200
        server.pause()
        try:
            with ThreadPoolExecutor(1) as pool:
                hanging = pool.submit(get, gateway, "letter")
                time.sleep(0.3)
                began = time.monotonic()
                assert gateway.terminate(patience=20) == 0
                assert time.monotonic() - began < 15
                assert hanging.result().status in (503, 504), "whoever asked in time is answered"
        finally:
            server.resume()


def _threads(gateway: Gateway) -> int:
    return len(os.listdir(f"/proc/{gateway.pid}/task"))


# --- what clients do -----------------------------------------------------------------------------------------------


def test_names_that_no_share_can_hold_never_reach_the_server(
    server: Samba, other: Path, proxy: LoopbackProxy, tmp_path: Path
) -> None:
    index = tmp_path / "index.csv"
    names = [*'<>:"|?*', "a:stream", "LETTER~1", "trailing.", "trailing ", "con", "@GMT-2026.11.22-10.00.00", "x\x01y"]
    rows = "".join(f'{number},"{name.replace(chr(34), chr(34) * 2)}/a.pdf"\n' for number, name in enumerate(names))
    index.write_text(f"id,path\n{rows}ok,letter.pdf\n")
    settings = configuration(server.options(port=proxy.port), other)
    settings["sources"]["share"]["ids"] = {"scheme": "manifest", "file": str(index)}
    with serving(settings, tmp_path / "gateway") as gateway:
        assert get(gateway, "ok").body == LETTER
        proxy.forget()
        for number, name in enumerate(names):
            assert get(gateway, str(number)).status == 404, name
        assert proxy.turns == ()


def test_range_at_the_end_of_a_sparse_5_gib_document(server: Samba, gateway: Gateway, proxy: LoopbackProxy) -> None:
    with (server.folder() / "vast.pdf").open("wb") as file:
        file.seek(5 * GIB - 10)
        file.write(b"0123456789")
    proxy.forget()
    answer = get(gateway, "vast", span="bytes=-4")
    assert (answer.status, answer.body) == (206, b"6789")
    answer = get(gateway, "vast", span=f"bytes={5 * GIB - 10}-{5 * GIB - 9}")
    assert answer.body == b"01"
    assert sum(turn.size for turn in proxy.turns) < 1 << 20, "a span reads only what was asked"
    assert get(gateway, "vast", span=f"bytes={5 * GIB}-").status == 416


def test_200_readers_of_an_archive_that_allows_eight(direct: Gateway, proxy: LoopbackProxy) -> None:
    with proxy.latency(0.15), ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda _: get(direct, "letter", patience=60), range(200)))
    served = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status != 200]
    assert served, "nobody was served"
    assert refused, "nobody had to wait too long"
    assert all(answer.whole and answer.body == LETTER for answer in served)
    assert {(answer.status, answer.code) for answer in refused} == {(503, "GW-SRC-002")}
    assert all(int(answer.retry_after or 0) >= 1 for answer in refused)
    assert eventually(direct).body == LETTER


def test_200_readers_share_one_read(gateway: Gateway, proxy: LoopbackProxy) -> None:
    with proxy.latency(0.15), ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda _: get(gateway, "letter", patience=60), range(200)))
    assert {(answer.status, answer.body == LETTER) for answer in answers} == {(200, True)}


def test_small_document_takes_two_round_trips(gateway: Gateway, proxy: LoopbackProxy) -> None:
    assert get(gateway, "letter").status == 200
    with proxy.latency(0.02):
        proxy.forget()
        assert get(gateway, "letter").body == LETTER
        assert proxy.round_trips <= 2
