"""The fault proxy of the conformance kit, between blocking clients and real TCP servers.

The server of most tests speaks one line of protocol: it answers "NUMBER\\n" with so many bytes of a pattern.
"""

from __future__ import annotations

import hashlib
import http.client
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from adapters.testing.proxy import LoopbackProxy
from tests.support.nginx import file_server
from tests.support.ports import accepts, free_port

PATTERN = hashlib.shake_256(b"letters").digest(1 << 20)
DEADLINE = 10.0
"""Seconds after which a wait in these tests has failed."""

SHORT = 0.15
"""Seconds for which something that must not happen is waited for."""


class Answering(socketserver.StreamRequestHandler):
    """Writes as many bytes as each line asks for, until the client's end."""

    server: Server

    def handle(self) -> None:
        self.server.open += 1
        try:
            for line in self.rfile:
                self.server.asked += 1
                self._answer(int(line))
            self.wfile.write(b"bye")
        except OSError:
            self.server.broken += 1
        finally:
            self.server.open -= 1

    def _answer(self, count: int) -> None:
        while count:
            count -= (sent := self.request.send(PATTERN[:count]))
            self.server.sent += sent

    def finish(self) -> None:
        self.rfile.close()  # the base class flushes what cannot be sent any more


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128
    asked = sent = open = broken = 0


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Answering) as running:
        yield running


@pytest.fixture
def proxy(server: Server) -> Iterator[LoopbackProxy]:
    with LoopbackProxy(*server.server_address) as running:
        yield running


@contextmanager
def connected(proxy: LoopbackProxy) -> Iterator[socket.socket]:
    with socket.create_connection((proxy.host, proxy.port), timeout=DEADLINE) as client:
        yield client


def ask(client: socket.socket, count: int) -> None:
    client.sendall(b"%d\n" % count)


def taken(client: socket.socket, most: int) -> tuple[int, str]:
    """How many bytes came until there were `most`, or until the connection ended, and how it ended."""
    got = 0
    try:
        while got < most:
            data = client.recv(min(1 << 18, most - got))
            if not data:
                return got, "closed"
            got += len(data)
    except ConnectionResetError:
        return got, "reset"
    return got, "open"


def works(proxy: LoopbackProxy) -> bool:
    with connected(proxy) as client:
        ask(client, 1000)
        return taken(client, 1000) == (1000, "open")


def eventually(met: Callable[[], bool]) -> bool:
    end = time.monotonic() + DEADLINE
    while not met() and time.monotonic() < end:
        time.sleep(0.002)
    return met()


# --- relaying --------------------------------------------------------------------------------------------------------


def test_bytes_pass_unchanged_in_both_directions(tmp_path: Path) -> None:
    letter = PATTERN * 3 + b"the end"
    root = tmp_path / "root"
    root.mkdir()
    (root / "letter").write_bytes(letter)
    with file_server(tmp_path / "nginx", root) as nginx, LoopbackProxy("localhost", nginx.port) as proxy:
        client = http.client.HTTPConnection(proxy.host, proxy.port, timeout=DEADLINE)
        for _ in range(2):  # one connection that is used again
            client.request("GET", "/letter")
            assert client.getresponse().read() == letter
        client.close()


def test_an_end_is_passed_on_and_the_other_side_may_still_speak(server: Server, proxy: LoopbackProxy) -> None:
    with connected(proxy) as client:
        ask(client, 2_000_000)
        client.shutdown(socket.SHUT_WR)
        assert taken(client, 10_000_000) == (2_000_003, "closed")
    assert eventually(lambda: proxy.connections == 0 and server.open == 0)


def test_a_client_that_leaves_is_gone_at_the_server_too(server: Server, proxy: LoopbackProxy) -> None:
    with connected(proxy) as client:
        ask(client, 1_000_000_000)
        taken(client, 1000)
        assert proxy.connections == 1
    assert eventually(lambda: proxy.connections == 0 and server.open == 0)
    assert server.broken == 1


def test_a_reset_by_the_client_is_passed_on(server: Server, proxy: LoopbackProxy) -> None:
    with connected(proxy) as client:
        ask(client, 10)
        taken(client, 10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert eventually(lambda: server.broken == 1)
    assert eventually(lambda: proxy.connections == 0)


def test_a_reader_that_takes_nothing_holds_up_the_server(server: Server, proxy: LoopbackProxy) -> None:
    with connected(proxy) as client:
        ask(client, 1_000_000_000)
        sent = -1
        while sent < server.sent:  # until it stands still
            sent = server.sent
            time.sleep(SHORT)
        assert 0 < sent < 100_000_000
        assert taken(client, 2 * sent) == (2 * sent, "open")


def test_a_server_that_is_away_shows_as_a_reset() -> None:
    with LoopbackProxy("127.0.0.1", free_port()) as proxy:
        with pytest.raises(ConnectionResetError), connected(proxy) as client:  # while connecting, or afterwards
            client.recv(1)
        assert eventually(lambda: proxy.connections == 0)


def test_a_name_with_both_kinds_of_address_means_ipv4(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    port = server.server_address[1]
    both = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
    ]
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        proxy = LoopbackProxy("server.test", port)
    with proxy:
        assert works(proxy)


def test_it_listens_where_it_is_told(server: Server) -> None:
    port = free_port()
    with LoopbackProxy(*server.server_address, listen=("127.0.0.2", port)) as proxy:
        assert (proxy.host, proxy.port) == ("127.0.0.2", port)
        assert works(proxy)
        with pytest.raises(OSError, match="in use"):
            LoopbackProxy(*server.server_address, listen=("127.0.0.2", port))


def test_closing_resets_connections_and_frees_the_port(server: Server) -> None:
    proxy = LoopbackProxy(*server.server_address)
    with connected(proxy) as client:
        ask(client, 10)
        taken(client, 10)
        proxy.close()
        assert taken(client, 1) == (0, "reset")
    proxy.close()
    assert not accepts(proxy.port)
    with pytest.raises(RuntimeError, match="the proxy is closed"):
        proxy.reset()


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 250_001, 399_999])
def test_it_cuts_after_a_count(proxy: LoopbackProxy, count: int) -> None:
    with connected(proxy) as client:
        ask(client, 5)
        assert taken(client, 5) == (5, "open")
        with proxy.cut_after(count):
            ask(client, 400_000)
            assert taken(client, 400_000) == (count, "reset")
    assert works(proxy)


def test_what_is_within_the_count_does_not_break(proxy: LoopbackProxy) -> None:
    with proxy.cut_after(1000):
        assert works(proxy)


def test_a_count_is_shared_and_begins_anew_after_the_break(proxy: LoopbackProxy) -> None:
    with connected(proxy) as one, connected(proxy) as other, proxy.cut_after(1000):
        ask(one, 600)
        assert taken(one, 600) == (600, "open")
        ask(other, 600)
        assert taken(other, 600) == (400, "reset")
        assert taken(one, 1) == (0, "reset")
        with connected(proxy) as later:
            ask(later, 5000)
            assert taken(later, 5000) == (1000, "reset")


def test_an_orderly_cut_looks_like_the_end(proxy: LoopbackProxy) -> None:
    with connected(proxy) as client, proxy.cut_after(300_000, orderly=True):
        ask(client, 400_000)
        assert taken(client, 400_000) == (300_000, "closed")


def test_offline_resets_and_refuses(server: Server, proxy: LoopbackProxy) -> None:
    with connected(proxy) as client:
        ask(client, 10)
        taken(client, 10)
        with proxy.offline():
            assert taken(client, 1) == (0, "reset")
            with pytest.raises(ConnectionRefusedError), connected(proxy):
                pass
    assert eventually(lambda: server.open == 0)
    assert works(proxy)


def test_nobody_is_given_the_port_of_a_proxy_that_refuses(proxy: LoopbackProxy) -> None:
    with proxy.refuse(), socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((proxy.host, proxy.port))


def test_refusing_leaves_open_connections_alone(proxy: LoopbackProxy) -> None:
    with connected(proxy) as client:
        ask(client, 10)
        taken(client, 10)
        with proxy.refuse():
            with pytest.raises(ConnectionRefusedError), connected(proxy):
                pass
            ask(client, 10)
            assert taken(client, 10) == (10, "open")


def test_a_reset_happens_once(proxy: LoopbackProxy) -> None:
    with connected(proxy) as client:
        ask(client, 10)
        taken(client, 10)
        proxy.reset()
        assert taken(client, 1) == (0, "reset")
        assert works(proxy)


def test_a_stall_accepts_and_passes_nothing_on(server: Server, proxy: LoopbackProxy) -> None:
    with ExitStack() as stack:
        old = stack.enter_context(connected(proxy))
        ask(old, 10)
        taken(old, 10)
        with proxy.stall():
            new = stack.enter_context(connected(proxy))
            for client in (old, new):
                ask(client, 10)
                client.settimeout(SHORT)
                with pytest.raises(TimeoutError):
                    client.recv(1)
                client.settimeout(DEADLINE)
            assert server.asked == 1
        for client in (old, new):
            assert taken(client, 10) == (10, "open")


def test_a_stall_holds_back_what_is_under_way(proxy: LoopbackProxy) -> None:
    with connected(proxy) as client, proxy.latency(SHORT):
        ask(client, 10)
        assert eventually(lambda: len(proxy.turns) == 2)  # the answer has reached the proxy
        with proxy.stall():
            time.sleep(SHORT)  # it is due
            with connected(proxy):  # and something else happens
                client.settimeout(SHORT)
                with pytest.raises(TimeoutError):
                    client.recv(1)
        client.settimeout(DEADLINE)
        assert taken(client, 10) == (10, "open")


def test_a_stall_takes_no_more_than_a_network_would(proxy: LoopbackProxy) -> None:
    with connected(proxy) as client, proxy.stall():
        client.settimeout(SHORT)
        with pytest.raises(TimeoutError):
            client.sendall(bytes(64 << 20))


def test_latency_delays_each_direction(proxy: LoopbackProxy) -> None:
    with connected(proxy) as client, proxy.latency(SHORT):
        begin = time.monotonic()
        ask(client, 10)
        taken(client, 10)
        assert time.monotonic() - begin >= 2 * SHORT


def test_latency_does_not_limit_the_bandwidth(proxy: LoopbackProxy) -> None:
    """With one piece under way at a time, 64 MiB in pieces of 256 KiB would take over a minute."""
    with connected(proxy) as client, proxy.latency(0.25):
        begin = time.monotonic()
        ask(client, 64 << 20)
        assert taken(client, 64 << 20) == (64 << 20, "open")
        assert time.monotonic() - begin < DEADLINE


def test_faults_end_with_their_context_also_after_an_error(proxy: LoopbackProxy) -> None:
    faults = proxy.offline, proxy.refuse, proxy.stall, lambda: proxy.cut_after(0), lambda: proxy.latency(60)
    for fault in faults:
        with pytest.raises(KeyError), fault():
            raise KeyError
        assert works(proxy)


# --- what was seen ---------------------------------------------------------------------------------------------------


def test_it_counts_round_trips(proxy: LoopbackProxy) -> None:
    with connected(proxy) as client, proxy.latency(0.01):
        for _ in range(3):
            ask(client, 1000)
            taken(client, 1000)
        assert [(turn.sender, turn.size) for turn in proxy.turns] == [("client", 5), ("server", 1000)] * 3
        assert proxy.round_trips == 3
        proxy.forget()
        client.sendall(b"100\n200\n")  # two requests at once
        taken(client, 300)
        assert proxy.round_trips == 1
        assert [(turn.sender, turn.size) for turn in proxy.turns] == [("client", 8), ("server", 300)]


def test_the_record_begins_anew_in_the_middle_of_a_turn(proxy: LoopbackProxy) -> None:
    with connected(proxy) as client:
        client.sendall(b"1")
        assert eventually(lambda: len(proxy.turns) == 1)
        proxy.forget()
        client.sendall(b"0\n")
        taken(client, 10)
        assert [(turn.sender, turn.size) for turn in proxy.turns] == [("client", 2), ("server", 10)]


def test_a_greeting_is_no_round_trip() -> None:
    class Greeting(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"220 ready\r\n")
            self.request.recv(1)

    with serving(Greeting) as greeting, LoopbackProxy(*greeting.server_address) as proxy:
        with connected(proxy) as client:
            assert taken(client, 11) == (11, "open")
        assert [turn.sender for turn in proxy.turns] == ["server"]
        assert proxy.round_trips == 0


def test_it_counts_connections(proxy: LoopbackProxy) -> None:
    with connected(proxy), connected(proxy):
        assert eventually(lambda: proxy.connections == 2)
    assert eventually(lambda: proxy.connections == 0)
    assert proxy.accepted == 2
