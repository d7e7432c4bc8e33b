"""What can go wrong between the gateway and Redis, each with one word: the classes of `Counts.faults`.

Pure translation of errors and of error replies; nothing is sent here. A fault carries no key, no address and no byte of a
document: what Redis says about a command may repeat its arguments, so only the first word of it is looked at.
"""

from __future__ import annotations

import socket
import ssl

import redis.exceptions
from redis.asyncio.sentinel import MasterNotFoundError

OPEN = "open"
"""Redis was not asked: it is given up for a moment."""

FULL = "full"
"""Redis has no room and may not make any, or cannot keep what it is given: reading goes on."""

TIMEOUT = "timeout"
NO_SCRIPT = "no-script"
WRONG_TYPE = "wrong-type"
MOVED = "moved"
READ_ONLY = "read-only"
DENIED = "denied"
LOST = "lost"
REFUSED = "refused"
GARBAGE = "garbage"
BUSY = "busy"
CLOSED = "closed"
"""This process is closing the cache."""

HARMLESS = frozenset({OPEN, FULL, NO_SCRIPT, WRONG_TYPE, MOVED, BUSY, CLOSED})
"""Faults that say nothing against asking again at once."""

RECONNECT = frozenset({READ_ONLY, DENIED})
"""Faults after which the server at the other end may be the wrong one: it is looked for anew."""

_WORDS = {
    "OOM": FULL,
    "MISCONF": FULL,
    "NOSCRIPT": NO_SCRIPT,
    "WRONGTYPE": WRONG_TYPE,
    "MOVED": MOVED,
    "ASK": MOVED,
    "TRYAGAIN": MOVED,
    "CROSSSLOT": MOVED,
    "CLUSTERDOWN": "cluster-down",
    "READONLY": READ_ONLY,
    "NOREPLICAS": FULL,
    "MASTERDOWN": "no-primary",
    "LOADING": "loading",
    "NOAUTH": DENIED,
    "WRONGPASS": DENIED,
    "NOPERM": DENIED,
    "DENIED": DENIED,
    "BUSY": BUSY,
}

_ERRORS: tuple[tuple[type[BaseException], str], ...] = (
    (MasterNotFoundError, "no-primary"),
    (redis.exceptions.BusyLoadingError, "loading"),
    (redis.exceptions.AuthenticationError, DENIED),
    (redis.exceptions.InvalidResponse, GARBAGE),
    (ConnectionRefusedError, REFUSED),
    (FileNotFoundError, REFUSED),
    (PermissionError, REFUSED),
    (socket.gaierror, "name"),
    (ssl.SSLError, "tls"),
    (redis.exceptions.TimeoutError, TIMEOUT),
    (TimeoutError, TIMEOUT),
)


class Fault(Exception):
    """Redis did not do what it was asked. `kind` is one of the words above; `certain` that asking on is no use."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(detail or kind)
        self.kind = kind

    @property
    def certain(self) -> bool:
        return self.kind == TIMEOUT


def of_reply(message: str) -> Fault:
    """The fault behind an error reply, whose first word is its class (Redis protocol, "Simple errors")."""
    if "MISCONF" in message:
        return Fault(FULL)
    word = message.partition(" ")[0]
    if word == "ERR" and ("Protocol error" in message or "unknown command" in message):
        return Fault("unsupported")
    if word == "ERR" and ("ACL failure" in message or "user executing the script" in message):
        return Fault(DENIED)
    return Fault(_WORDS.get(word, "error"))


def of_error(error: BaseException) -> Fault:
    """The fault behind an exception, or behind what the library made it from."""
    if "max number of clients" in str(error):
        return Fault("error")
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, Fault):
            return seen
        if isinstance(seen, redis.exceptions.ResponseError):
            return of_reply(f"{seen.status_code} {seen}" if seen.status_code else str(seen))
        for kind, word in _ERRORS:
            if isinstance(seen, kind):
                return Fault(word)
        seen = seen.__cause__ or seen.__context__
    return Fault(LOST if isinstance(error, OSError | EOFError | redis.exceptions.ConnectionError) else "error")
