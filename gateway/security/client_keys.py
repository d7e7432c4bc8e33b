"""Keys of clients, for sites without an authorization server: a file of names, hashes and scopes.

    # name     hash of the key     scopes
    pas-prod   sha256:5f3c...      system/Binary.r

Only keys that `new_key` makes are accepted: 256 random bits need no slow hash, and nobody can choose a password instead. A
key is looked up by its hash, so the time that takes says nothing about the keys there are.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from gateway import errors
from gateway.following import Follower
from gateway.security import Identity
from gateway.security.fetching import Fetch, Unreadable
from gateway.security.tokens import refused

PREFIX = "fgk_"
"""What a key begins with, so that scanners for leaked secrets know one."""

MAX_FILE = 1 << 20
"""Bytes of the largest key file: some ten thousand clients."""

LOOK_SECONDS = 5.0
"""How often the file is looked at for a change."""

is_key = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII).fullmatch
_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII).fullmatch
_hash = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII).fullmatch
_scope = re.compile(r"(system|user)/\S+", re.ASCII).fullmatch


class UnusableKeys(Exception):
    """A key file that cannot be used; the text names lines, never what stands there."""


class NoKeys(UnusableKeys):
    """A key file without a key: a mistake at the start, and later perhaps what is left when the last key was taken away."""


def new_key() -> str:
    """A new random key."""
    return PREFIX + secrets.token_urlsafe(32)


def line_for(name: str, key: str, scopes: tuple[str, ...]) -> str:
    """The line of the key file for this client. Raises `ValueError` with a sentence for a name or scope that cannot be."""
    if not _name(name):
        raise ValueError("A client's name is 1 to 64 letters, digits, dots, hyphens and underscores.")
    if not scopes or not all(map(_scope, scopes)):
        raise ValueError(
            "A scope of a client is one such as system/Binary.r; scopes of patients need a token that names one."
        )
    return f"{name} sha256:{hashlib.sha256(key.encode('ascii')).hexdigest()} {' '.join(scopes)}"


def read_clients(text: bytes) -> Mapping[bytes, Identity]:
    """The clients in a key file by the hash of their keys. Raises `UnusableKeys` with every line that is wrong."""
    if len(text) > MAX_FILE:
        raise UnusableKeys(f"the file is larger than {MAX_FILE >> 20} MiB")
    found: dict[bytes, Identity] = {}
    problems = []
    try:
        lines = text.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UnusableKeys("the file is not text in UTF-8") from None
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        problem = _problem(words)
        if problem is None:
            digest = bytes.fromhex(words[1].removeprefix("sha256:"))
            problem = "this hash stands in the file already" if digest in found else None
            found[digest] = Identity(words[0], words[0], frozenset(words[2:]), method="bearer")
        if problem is not None:
            problems.append(f"line {number}: {problem}")
    if problems:
        raise UnusableKeys("; ".join(problems[:5]))
    if not found:
        raise NoKeys("there is no key in the file")
    return found


def _problem(words: list[str]) -> str | None:
    if len(words) < 3:
        return "a line has a name, a hash and at least one scope"
    if not _name(words[0]):
        return "a name is 1 to 64 letters, digits, dots, hyphens and underscores"
    if not _hash(words[1]):
        if is_key(words[1]):
            return "this is a key itself, which everybody who reads the file could use; replace it, and write its hash"
        return "a hash is written sha256: and 64 hexadecimal digits"
    if not all(map(_scope, words[2:])):
        return "a scope is one such as system/Binary.r, and begins with system/ or user/"
    return None


class ClientKeys:
    """The keys of a file that may change. An asynchronous context: entering reads it."""

    method = "bearer"

    def __init__(self, fetch: Fetch, log: Any) -> None:
        self._fetch = fetch
        self._log = log
        self._text: bytes | None = None
        self._failure: str | None = None
        self._emptied = False
        self._follower = Follower(self._look, lambda: LOOK_SECONDS, name="keys of clients", failed=self._refused)
        self.clients: Mapping[bytes, Identity] = {}

    async def __aenter__(self) -> Self:
        """Raises `UnusableKeys`: a mistake that waiting does not mend."""
        try:
            await self.refresh()
        except Unreadable as error:
            raise UnusableKeys(str(error)) from None
        self._follower.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._follower.stop()

    async def verify(self, token: str) -> Identity:
        """Which client has this key. Raises `Problem` with its challenge."""
        found = self.clients.get(hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest())
        if found is None:
            raise refused(errors.INVALID_TOKEN, "the key is not in the key file")
        return found

    async def refresh(self) -> None:
        """Read the file anew. Raises `Unreadable`, `UnusableKeys`; the keys in use then stay."""
        text = await self._fetch()
        if text != self._text:
            self.clients = read_clients(text)
            self._text = text

    async def _look(self) -> None:
        before = self.clients
        try:
            await self.refresh()
        except NoKeys:
            # An editor may be in the middle of writing; the same at the next look is meant.
            if self._emptied and self.clients:
                self.clients, self._text = {}, None
                self._log.warning("key file read again", count=0)
            self._emptied = True
            return
        self._emptied = False
        self._failure = None
        if self.clients is not before:
            self._log.info("key file read again", count=len(self.clients))

    def _refused(self, error: Exception) -> None:
        failure = str(error) if isinstance(error, Unreadable | UnusableKeys) else type(error).__name__
        if failure != self._failure:
            self._log.warning("key file refused, the old one stays", detail=failure)
        self._failure = failure
