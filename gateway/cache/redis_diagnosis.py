"""What is wrong with a Redis, or with how it is set up for the gateway, in sentences that name the cure.

Values only; whoever asked prints them. Everything that the cache does is tried once with a key of its own, so that an
account without a right is told the command that it lacks. No sentence repeats a password or what Redis says of one.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from gateway.cache import redis_faults
from gateway.cache.redis_faults import Fault
from gateway.cache.redis_servers import Dialler, asked, facts
from gateway.problems import Problem
from gateway.quantities import duration_text

if TYPE_CHECKING:
    from gateway.settings.caching import RedisCaching


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`wrong` keeps the cache from working, `doubtful` does not. `server` says what was found, "" when nothing was."""

    wrong: tuple[Problem, ...] = ()
    doubtful: tuple[Problem, ...] = ()
    server: str = ""


async def diagnosed(settings: RedisCaching, dialler: Dialler, namespace: str) -> Diagnosis:
    """Connect, try everything once, and judge the server's set-up. Raises nothing but `CancelledError`."""
    connection: AbstractConnection | None = None
    try:
        address = await dialler.located()
        connection = dialler.connection(address)
        await connection.connect()  # type: ignore[no-untyped-call]
        about = await _facts(connection)
        wrong = list(_mismatch(settings, about))
        if not wrong:
            wrong = await _rights(settings, connection, namespace)
        server = f"Redis {about.get('redis_version', 'of unknown version')}"
        return Diagnosis(tuple(wrong), tuple(_doubts(about)), server)
    except (OSError, RedisError, Fault, ssl.SSLError, ValueError) as error:
        return Diagnosis((_unreachable(settings, dialler, error),))
    finally:
        if connection is not None:
            # TLS says farewell: a loop that ends meanwhile finds a socket that is still in use. Bounded by the time to connect.
            with suppress(OSError, RedisError):
                await connection.disconnect()


async def _facts(connection: AbstractConnection) -> dict[str, str]:
    """What the server says of itself; of its persistence only what this account may ask."""
    found: dict[str, str] = {}
    await asked(connection, ("PING",))
    for section in ("server", "replication", "memory", "persistence"):
        found |= facts((await asked(connection, ("INFO", section)))[0])
    try:
        _, found["save"] = (part.decode() for part in (await asked(connection, ("CONFIG", "GET", "save")))[0])
    except (ResponseError, ValueError):
        found["save"] = ""
    return found


def _mismatch(settings: RedisCaching, about: dict[str, str]) -> Iterator[Problem]:
    clustered = about.get("redis_mode") == "cluster"
    if clustered and not settings.cluster:
        cure = "Set `cluster: true`."
        yield Problem("redis-cluster", "This server belongs to a Redis Cluster.", cure, "cache.cluster")
    if settings.cluster and not clustered:
        cure = "Set `cluster: false`, or name a server of the cluster in `url`."
        yield Problem("redis-cluster", "This server does not belong to a Redis Cluster.", cure, "cache.cluster")
    if about.get("redis_mode") == "sentinel":
        cure = "Name it in `sentinel.addresses` instead of `url`."
        yield Problem("redis-sentinel", "This server is a sentinel and keeps no data.", cure, "cache.url")
    elif about.get("role", "master") != "master" and not settings.cluster:
        cure = "Name the primary server, or let the sentinels find it with `sentinel`."
        yield Problem("redis-replica", "This server is a replica, which cannot be written to.", cure, "cache.url")


async def _rights(settings: RedisCaching, connection: AbstractConnection, namespace: str) -> list[Problem]:
    """Commands that this account may not use, each as a problem."""
    tag = secrets.token_hex(16)
    key, other, claim = (f"{namespace}:{{{tag}}}:{part}" for part in ("check", "d", "c"))
    tried: list[tuple[str | int, ...]] = [
        ("HSET", key, "m", "0"),
        ("PEXPIRE", key, 1000),
        ("HLEN", key),
        ("HMGET", key, "m", 0),
        ("RENAME", key, other),
        ("SET", claim, tag, "PX", 1000),
        ("GET", claim),
        ("EVAL", "return 1", 0),
        ("EVALSHA", tag.ljust(40, "0"), 0),
        ("UNLINK", key, other, claim),
        ("SCAN", 0, "MATCH", f"{namespace}:g:*", "COUNT", 1),
        ("DBSIZE",),
    ]
    if settings.cluster:
        tried.append(("CLUSTER", "SLOTS"))
    found: dict[str, Problem] = {}
    for command in tried:
        try:
            await asked(connection, command)
        except ResponseError as error:
            problem = _refused(str(command[0]), error, settings)
            if problem is not None:
                found.setdefault(problem.cause, problem)
    return list(found.values())


def _refused(command: str, error: ResponseError, settings: RedisCaching) -> Problem | None:
    kind = redis_faults.of_error(error).kind
    said = f"{error.status_code or ''} {error}"
    if kind == redis_faults.DENIED:
        if " key" in said:
            cause = "The account may not use the keys that begin with the namespace."
            right = f"~{settings.namespace}:*"
        else:
            cause = f"The account may not use the command `{command.lower()}`."
            right = f"+{command.lower()}"
        cure = f"Let it, with ACL SETUSER and {right}; docs/cache.md has all that is needed."
        return Problem("redis-acl", cause, cure, "cache.username")
    if kind == redis_faults.FULL:
        cause = "Redis takes no more: it is full and may not remove anything, or its own saving to disk fails."
        cure = 'Set `maxmemory-policy allkeys-lru`, and `save ""` and `appendonly no`, at Redis.'
        return Problem("redis-full", cause, cure, "cache.url")
    if kind == "unsupported":
        cause = f"The server does not know the command `{command.lower()}`."
        return Problem("redis-version", cause, "Use Redis 6.0 or newer.", "cache.url")
    return None


def _doubts(about: dict[str, str]) -> Iterator[Problem]:
    policy = about.get("maxmemory_policy", "")
    if about.get("maxmemory", "0") == "0":
        cause = "Redis has no limit of memory: it grows until the machine has none left."
        cure = "Set `maxmemory`, and `maxmemory-policy allkeys-lru`, at Redis."
        yield Problem("redis-unlimited", cause, cure, "cache.url")
    elif policy == "noeviction":
        cause = "Redis refuses new documents when it is full, instead of removing old ones."
        yield Problem("redis-eviction", cause, "Set `maxmemory-policy allkeys-lru` at Redis.", "cache.url")
    elif policy == "allkeys-random":
        cause = "Redis forgets at random when it is full, and with a source's tokens all that is kept of that source."
        yield Problem("redis-eviction", cause, "Set `maxmemory-policy allkeys-lru` at Redis.", "cache.url")
    if about.get("aof_enabled") == "1" or about.get("save"):
        cause = "Redis writes what it holds to its disk, where it outlives what was removed or purged."
        cure = 'Set `save ""` and `appendonly no` at Redis; documents are fetched again after its restart.'
        yield Problem("redis-persistence", cause, cure, "cache.url")


def _unreachable(settings: RedisCaching, dialler: Dialler, error: Exception) -> Problem:
    """Why there is no connection."""
    fault = redis_faults.of_error(error)
    where = dialler.socket or "{}:{}".format(*dialler.address)
    said = f"{getattr(error, 'status_code', None) or ''} {error}"
    cause, cure, key = _REASONS.get(fault.kind, _REASONS["error"])
    if fault.kind == "no-primary":
        assert settings.sentinel is not None
        where = settings.sentinel.master
        if "unknown" not in str(fault):
            cause, cure = "None of the sentinels answers.", "Start them, or correct their addresses."
    elif fault.kind == redis_faults.TIMEOUT:
        where = f"{where} within {duration_text(settings.connect_timeout)}"
        if settings.url.startswith("rediss:"):
            cure = f"{cure} Where it expects no TLS, write redis:// in `url`."
    elif fault.kind == "tls":
        untrusted = _untrusted(error)
        if untrusted:
            cause = f"The certificate of {{}} is not accepted: {untrusted}."
            cure, key = "Name the certificates that it is to be checked against in `tls.ca`.", "cache.tls.ca"
    elif fault.kind == redis_faults.DENIED:
        cause, cure, key = _denied(said, settings)
    elif fault.kind == redis_faults.LOST and settings.url.startswith("redis:"):
        cure = "Where it expects TLS, write rediss:// in `url`."
    elif "DB index" in said or "Database" in said:
        cause, cure = "{} has no such database.", "Correct the number at the end of `url`; a cluster has 0 alone."
    return Problem(f"redis-{fault.kind}", cause.format(where), cure, key)


_REASONS = {
    redis_faults.REFUSED: ("Nothing listens at {}.", "Start Redis, or correct `url`.", "cache.url"),
    "name": ("The name in {} cannot be resolved.", "Correct `url`, or the name server.", "cache.url"),
    redis_faults.TIMEOUT: (
        "There is no answer from {}.",
        "See whether Redis hangs or a firewall drops packets; far away, raise `connect_timeout`.",
        "cache.url",
    ),
    "tls": ("{} does not speak TLS as it should.", "Where it expects none, write redis:// in `url`.", "cache.url"),
    redis_faults.LOST: ("{} ends the connection at once.", "See what it logs.", "cache.url"),
    redis_faults.GARBAGE: ("What answers at {} is not Redis.", "Correct host and port in `url`.", "cache.url"),
    redis_faults.READ_ONLY: (
        "{} is a replica, which cannot be written to.",
        "Name the primary server, or let the sentinels find it with `sentinel`.",
        "cache.url",
    ),
    "no-primary": (
        "The sentinels know no working primary server named {}.",
        "Correct `sentinel.master`, or see why they have not promoted one.",
        "cache.sentinel",
    ),
    "loading": ("{} is still reading its own files.", "Wait; until then documents are not cached.", "cache.url"),
    "error": ("{} refuses the connection.", "See what it logs.", "cache.url"),
}
"""Cause, cure and key for each kind of fault; {} is where."""


def _denied(said: str, settings: RedisCaching) -> tuple[str, str, str]:
    if "protected mode" in said:
        cure = "Give Redis a password or an ACL, and let it listen on an address that only the gateway reaches."
        return "{} runs in protected mode and answers its own machine alone.", cure, "cache.url"
    if "no permissions" in said or "NOPERM" in said:
        cure = "Give the account the rights that docs/cache.md lists, `info` and `ping` among them."
        return "The account may not even ask {} how it is.", cure, "cache.username"
    if settings.password_file is None and settings.username is None:
        return "{} wants a password.", "Put it into a file and name that in `password_file`.", "cache.password_file"
    return "{} refuses the account or its password.", "Correct `username` or `password_file`.", "cache.password_file"


def _untrusted(error: BaseException | None) -> str:
    """What OpenSSL holds against a certificate; empty when that is not the matter."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message.rstrip(".")
        error = error.__cause__ or error.__context__
    return ""
