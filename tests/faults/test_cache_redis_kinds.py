"""Every way to reach Redis: TLS, a socket, an account with few rights, Sentinel, a cluster; and what is said of mistakes."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.cache import PurgePending, Scope
from gateway.cache.redis_diagnosis import Diagnosis
from tests.support.cached import KEY, document, kept, key, look, put
from tests.support.ports import free_port
from tests.support.redis import RedisServer, cache, eventually, redis, sentinel
from tests.support.redis_proxy import wrong_answers
from tests.support.xds import Authority

PAGE = (Path(__file__).parents[2] / "docs" / "cache.md").read_text()


@pytest.fixture(scope="module", autouse=True)
def _libuv() -> None:
    """libuv opens a pipe for its signals once in a process and keeps it: no test left that behind."""
    uvloop.new_event_loop().close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis(tmp_path) as running:
        yield running


async def works(**settings: Any) -> None:
    """Everything that a cache does, without a fault."""
    async with cache(**settings) as one:
        for size in (10, 900_000):
            await kept(one, KEY, document(size))
        assert await one.claim(KEY, 5)
        await one.release(KEY)
        await one.purge(Scope("letters", KEY.locator))
        assert await look(one, KEY) is None
        await one.purge(Scope())
        await one.drop(KEY)
        assert (await one.stats()).state == "ok"
        assert not one.counts.faults, one.counts.faults
        found = await one.diagnose()
        assert not found.wrong, found.wrong


async def diagnosed(**settings: Any) -> Diagnosis:
    async with cache(**settings) as one:
        return await one.diagnose()


async def wrong(**settings: Any) -> str:
    """The one thing that is wrong, as a line."""
    found = await diagnosed(**settings)
    assert len(found.wrong) == 1, found
    (problem,) = found.wrong
    return f"{problem.key}: {problem.cause} {problem.cure}"


async def test_the_loop_that_is_shipped(server: RedisServer) -> None:
    await asyncio.to_thread(lambda: uvloop.run(works(url=server.url)))


# --- the ways --------------------------------------------------------------------------------------------------------


async def test_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with redis(tmp_path, "--unixsocket", str(path)):
        await works(url=f"unix://{path}")
    assert "Nothing listens at" in await wrong(url=f"unix://{tmp_path}/nothing.sock")


async def test_tls_with_an_authority_of_its_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, client = authority.issue("127.0.0.1"), authority.issue("gateway", client=True)
    port = free_port()
    options = [
        "--port", "0", "--tls-port", str(port), "--tls-ca-cert-file", str(authority.file),
        "--tls-cert-file", str(server.certificate), "--tls-key-file", str(server.key),
    ]  # fmt: skip
    url = f"rediss://127.0.0.1:{port}"
    with redis(tmp_path, *options, port=port, ready=False) as running:
        eventually(lambda: b"Ready to accept" in running.process.out.read_bytes())
        shown = {"ca": str(authority.file), "certificate": str(client.certificate), "key": str(client.key)}
        await works(url=url, tls=shown)
        await asyncio.to_thread(lambda: uvloop.run(works(url=url, tls=shown)))
        assert "cache.tls.ca" in await wrong(url=url, tls={})
        assert "does not speak TLS" not in await wrong(url=url.replace("rediss", "redis"))
        assert "rediss://" in await wrong(url=url.replace("rediss", "redis"))
        async with cache(url=url, tls={"ca": str(Authority(tmp_path, "Another").file)}) as one:
            assert await look(one, KEY) is None
            assert one.counts.faults == {"tls": 1}


async def test_files_that_cannot_work_stop_the_start(tmp_path: Path) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("no certificate")
    authority = Authority(tmp_path)
    one, other = authority.issue("one", client=True), authority.issue("other", client=True)
    for tls, said in (
        ({"ca": str(text)}, "letter.txt holds no certificates"),
        ({"certificate": str(one.certificate), "key": str(other.key)}, "do not belong together"),
    ):
        with pytest.raises(ValueError, match=said):
            await cache(url="rediss://127.0.0.1:1", tls=tls).__aenter__()
    with pytest.raises(ValueError, match="is empty"):
        await cache(password_file=password(tmp_path, "")).__aenter__()
    with pytest.raises(OSError, match="nowhere"):
        await cache(password_file=str(tmp_path / "nowhere")).__aenter__()
    with pytest.raises(ValueError, match=r"no file .*nowhere"):
        await cache(url="rediss://127.0.0.1:1", tls={"ca": str(tmp_path / "nowhere.pem")}).__aenter__()


def documented_account() -> list[str]:
    (line,) = re.findall(r"^ACL SETUSER .*$", PAGE, re.MULTILINE)
    return str(line).split()


def password(folder: Path, text: str) -> str:
    """A password file."""
    file = folder / f"password-{text}"
    file.write_text(text + "\n")
    return str(file)


async def test_the_documented_account_is_enough_and_nothing_in_it_is_too_much(
    server: RedisServer, tmp_path: Path
) -> None:
    server.ask(*documented_account())
    account = {"url": server.url, "username": "fhir-gateway", "password_file": password(tmp_path, "change-me")}
    await works(**account)
    for right in documented_account():
        name = right[1:]
        if not right.startswith("+") or name in ("select", "client|setname"):
            continue
        server.ask("ACL", "SETUSER", "fhir-gateway", f"-{name}")
        found = await diagnosed(**account)
        missing = "".join(problem.cause + problem.cure for problem in found.wrong)
        assert f"`{name}`" in missing, f"{name} is not missed: {found}"
        async with cache(**account) as one:
            await put(one, KEY, b"letter")
            await look(one, KEY)
        server.ask("ACL", "SETUSER", "fhir-gateway", right)
    await works(**account)
    server.ask("ACL", "SETUSER", "fhir-gateway", "resetkeys", "~other:*")
    assert "~gateway:*" in await wrong(**account)


async def test_the_documented_configuration_is_free_of_doubts(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```text\n(maxmemory .*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    file = tmp_path / "redis.conf"
    file.write_text(text)
    port = free_port()
    with redis(tmp_path, "--include", str(file), port=port) as server:
        found = await diagnosed(url=server.url)
        assert found.wrong == ()
        assert found.doubtful == (), found.doubtful


async def test_a_cluster(tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                redis(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(bus), name=f"node{bus}")
            )
            for bus in (free_port(), free_port(), free_port())
        ]
        joined(servers)
        first = servers[0]
        assert "cluster: true" in await wrong(url=first.url)
        await works(url=first.url, cluster=True)
        async with cache(url=first.url, cluster=True) as one:
            for number in range(30):
                await kept(one, key(str(number)), document(1000, number))
            assert all(server.names("*:d") for server in servers), "documents are not spread"
            await kept(one, key("large"), document(900_000))
            # One slot moves to another server: whoever asks for it has a miss, and soon none any more.
            name = next(found for found in first.names("*:d"))
            moved(name, servers)
            until = time.monotonic() + 5
            while not all([await put(one, key(str(number)), document(1000, number)) for number in range(30)]):
                assert time.monotonic() < until, one.counts.faults
                await asyncio.sleep(0.05)
            assert one.counts.faults["moved"]
            await one.purge(Scope("letters"))
            assert [await look(one, key(str(number))) for number in range(30)] == [None] * 30


def joined(servers: list[RedisServer]) -> None:
    """Make one cluster of these servers."""
    edges = [0, 5461, 10923, 16384]
    for number, server in enumerate(servers):
        server.ask("CLUSTER", "ADDSLOTSRANGE", edges[number], edges[number + 1] - 1)
        server.ask("CLUSTER", "MEET", "127.0.0.1", servers[0].port, bus_port(servers[0]))
    eventually(lambda: all(b"cluster_state:ok" in server.ask("CLUSTER", "INFO") for server in servers), seconds=15)


def bus_port(server: RedisServer) -> int:
    return int(server.ask("CONFIG", "GET", "cluster-port")[1])


def moved(name: str, servers: list[RedisServer]) -> None:
    """Give the slot of this key, which the first server has, to the second one."""
    slot = servers[0].ask("CLUSTER", "KEYSLOT", name)
    target = servers[1].ask("CLUSTER", "MYID")
    with servers[0].raw() as raw:
        for one in raw("CLUSTER", "GETKEYSINSLOT", slot, 100):
            raw("UNLINK", one)
    for server in (servers[1], servers[0], servers[2]):
        server.ask("CLUSTER", "SETSLOT", slot, "NODE", target)


# --- what is said of mistakes ----------------------------------------------------------------------------------------


async def test_what_is_wrong_is_said_with_its_cure(tmp_path: Path, server: RedisServer) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}"
    assert await wrong(url=nobody) == (
        f"cache.url: Nothing listens at 127.0.0.1:{nobody.rpartition(':')[2]}. Start Redis, or correct `url`."
    )
    assert "cannot be resolved" in await wrong(url="redis://no-such-host.invalid")
    assert "has no such database" in await wrong(url=f"redis://127.0.0.1:{server.port}/99")
    assert "cluster: false" in await wrong(url=server.url, cluster=True)
    tls = await wrong(url=server.url.replace("redis:", "rediss:"), connect_timeout="200ms")
    assert "Where it expects no TLS" in tls
    server.process.signal(signal.SIGSTOP)
    assert "no answer from" in await wrong(url=server.url, connect_timeout="200ms")
    server.process.signal(signal.SIGCONT)
    with redis(tmp_path, "--replicaof", "127.0.0.1", str(server.port), name="replica") as replica:
        assert "is a replica" in await wrong(url=replica.url)
        async with replica.cache() as one:
            assert await look(one, KEY) is None
            assert set(one.counts.faults) == {"read-only"}
    with redis(tmp_path, "--requirepass", "secret-4711", name="locked") as locked:
        assert "cache.password_file: " in await wrong(url=locked.url)
        refused = await wrong(url=locked.url, password_file=password(tmp_path, "wrong-4712"))
        assert "refuses the account" in refused
        assert "wrong-4712" not in refused
        await works(url=locked.url, password_file=password(tmp_path, "secret-4711"))
    async with wrong_answers(server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        for said, cause in (
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not Redis"),
            (b"-DENIED Redis is running in protected mode because\r\n", "protected mode"),
            (b"-LOADING Redis is loading the dataset in memory\r\n", "still reading its own files"),
            (b"-ERR max number of clients reached\r\n", "refuses the connection"),
        ):
            proxy.raw = said
            assert cause in await wrong(url=url, connect_timeout="500ms")


async def test_what_is_doubtful_is_said_with_its_cure(tmp_path: Path) -> None:
    async def doubts(*options: str) -> set[str]:
        with redis(tmp_path, *options) as server:
            return {problem.code for problem in (await diagnosed(url=server.url)).doubtful}

    assert await doubts() == {"redis-unlimited"}
    full = ("--maxmemory", "50mb")
    assert await doubts(*full) == {"redis-eviction"}
    assert await doubts(*full, "--maxmemory-policy", "allkeys-random") == {"redis-eviction"}
    assert await doubts(*full, "--maxmemory-policy", "volatile-lru", "--save", "60 1") == {"redis-persistence"}
    assert await doubts(*full, "--maxmemory-policy", "allkeys-lfu", "--appendonly", "yes") == {"redis-persistence"}


async def test_a_full_redis_is_wrong(tmp_path: Path) -> None:
    with redis(tmp_path, "--maxmemory", "1kb") as server:
        assert "allkeys-lru" in await wrong(url=server.url)


async def test_sentinels_that_do_not_know(tmp_path: Path, server: RedisServer) -> None:
    with sentinel(tmp_path, server.port) as one:
        names = {"master": "letters", "addresses": [f"127.0.0.1:{one.port}"]}
        await works(sentinel=names)
        assert "named lettres" in await wrong(sentinel={**names, "master": "lettres"})
        assert "is a sentinel" in await wrong(url=one.url)
    assert "None of the sentinels answers" in await wrong(sentinel=names)


async def test_a_purge_without_the_right_to_it_is_pending(server: RedisServer, tmp_path: Path) -> None:
    server.ask(*documented_account(), "-unlink")
    file = password(tmp_path, "change-me")
    async with cache(url=server.url, username="fhir-gateway", password_file=file) as one:
        await put(one, KEY, b"letter")
        with pytest.raises(PurgePending, match="denied"):
            await one.purge(Scope("letters"))
        assert await look(one, KEY) is None
