r"""Where a path of a DFS namespace really lies: referrals, and what is remembered of them ([MS-DFSC]).

Rules of this module: it asks where documents are and opens none. Whoever opens them says how:

    namespace = Namespace(Target(server, port, share), servers=dfs_servers, ask=ask, clock=services.clock)

    async def attempt(target: Target, path: str) -> OpenFile:          # raises `Refused` and `Lost` as the engine does
        return await (await pool.share(target)).open(path, 0, length)

    file = await namespace.follow(path, attempt)

where `ask(target, path)` is `adapters.smb.referral.referral` with a login of that moment.

What goes on the wire, the same for both engines:

* TREE_CONNECT as ever, `\\server\share`. `SMB2_SHARE_CAP_DFS` (0x08) in the answer's Capabilities makes it a DFS share
  ([MS-SMB2] 2.2.10, 3.2.5.5).
* On a DFS share a CREATE bears `SMB2_FLAGS_DFS_OPERATIONS` (0x10000000; smbprotocol sets it in every request), and its name
  is `server\share\path`: no backslash in front, none at the end, `server\share` alone for the root (3.2.4.3, 2.2.13).
  `server` and `share` are those of the tree connect: what the operator configured, or what the referral said, an address
  where that is an address. The server strips the first two names whatever they are, and looks for links in the rest.
* A link on the way is answered with STATUS_PATH_NOT_COVERED. The client then asks the same server, on its share IPC$, by
  FSCTL_DFS_GET_REFERRALS with FileId all ones, for `\server\share\path` (one backslash in front, ended by a zero).
  PathConsumed in the answer counts bytes of that name; they are replaced by a target, and the rest of the path stays.
* A domain-based namespace (`server` is a domain, `share` a namespace) is refused at TREE_CONNECT with
  STATUS_BAD_NETWORK_NAME. Asked at the domain's name for `\server\share` alone, a domain controller gives the root's servers.

A target names no port: it is that of the configured server. Windows gives NetBIOS names unless it is set up to use DNS
(DfsDnsConfig), and they must be resolvable here. A referral decides who gets our account's answer to a challenge, so
none is followed to a server that the operator did not name.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from adapters.errors import AccessDenied, TimedOut, Unavailable
from adapters.smb.failures import Lost, Refused
from adapters.smb.referral import NoReferral, Place, Referral, place_of
from adapters.smb.session import Target
from adapters.smb.wire.status import (
    STATUS_BAD_NETWORK_NAME,
    STATUS_DFS_UNAVAILABLE,
    STATUS_INSUFF_SERVER_RESOURCES,
    STATUS_NETWORK_NAME_DELETED,
    STATUS_PATH_NOT_COVERED,
    STATUS_REQUEST_NOT_ACCEPTED,
    STATUS_SERVER_UNAVAILABLE,
    STATUS_SHARE_UNAVAILABLE,
    STATUS_TOO_MANY_SESSIONS,
    name_of,
)

Result = TypeVar("Result")

MOST_HOPS = 8
"""Referrals followed from one to the next. Real namespaces need three; a circle needs an end."""

NO_ROOT_TTL = 30.0
"""Seconds in which a server is not asked again about a share that is neither there nor a namespace."""

MOST_ENTRIES = 1024
"""Referrals remembered; a server that gives a new one for each document does not fill the memory."""

_ELSEWHERE = frozenset(
    {
        STATUS_BAD_NETWORK_NAME,
        STATUS_DFS_UNAVAILABLE,
        STATUS_INSUFF_SERVER_RESOURCES,
        STATUS_NETWORK_NAME_DELETED,
        STATUS_REQUEST_NOT_ACCEPTED,
        STATUS_SERVER_UNAVAILABLE,
        STATUS_SHARE_UNAVAILABLE,
        STATUS_TOO_MANY_SESSIONS,
    }
)
"""Refusals that are about one server or share and not about the document or the account: another target may do better."""


class Circular(Unavailable):
    """Referrals that never arrive."""


@dataclass(slots=True)
class _Entry:
    """A referral that is remembered until `expires`; the target that worked last comes first."""

    prefix: Place
    targets: tuple[Place, ...]
    expires: float

    def prefer(self, target: Place) -> None:
        if target != self.targets[0]:
            self.targets = (target, *(one for one in self.targets if one != target))


class Namespace:
    """The one configured share and everything that referrals make of it.

    `servers` may be followed to besides the configured one; names are compared as they are written, but for capitals.
    """

    def __init__(
        self,
        origin: Target,
        *,
        servers: Iterable[str],
        ask: Callable[[Target, str], Awaitable[Referral]],
        clock: Callable[[], float],
    ) -> None:
        self._origin = origin
        self._allowed = {_caseless(server) for server in (origin.server, *servers)}
        self._ask = ask
        self._clock = clock
        self._entries: dict[Place, _Entry] = {}
        self._no_roots: dict[Place, float] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def route(self, path: str) -> tuple[Target, str]:
        """Where `path` of the configured share lies as far as is known; nobody is asked. Raises as `follow` does."""
        place = place_of(self._origin, path)
        for _ in range(MOST_HOPS + 1):
            entry = self._known(place)
            if entry is None:
                return self._target(place)
            place = (*self._permitted(entry)[0], *place[len(entry.prefix) :])
        raise _circular()

    async def follow(self, path: str, attempt: Callable[[Target, str], Awaitable[Result]]) -> Result:
        """What `attempt(target, path)` returns, made where `path` of the configured share really lies.

        `attempt` raises `Refused` and `Lost` as the engines do. It is called again elsewhere when the server says that the
        path lies there, and for the next of several targets when one is away. Raises what its last call raised;
        `AccessDenied` when a referral leads to a server that is not allowed; `Unavailable` when referrals lead nowhere.
        """
        return await self._reach(place_of(self._origin, path), attempt, 0)

    async def _reach(self, place: Place, attempt: Callable[[Target, str], Awaitable[Result]], hops: int) -> Result:
        entry = self._known(place)
        if entry is None:
            try:
                return await attempt(*self._target(place))
            except Refused as error:
                refused = error
            entry = await self._referred(place, refused)
        if hops == MOST_HOPS:
            raise _circular()
        return await self._any_of(entry, place[len(entry.prefix) :], attempt, hops + 1)

    async def _any_of(
        self, entry: _Entry, rest: Place, attempt: Callable[[Target, str], Awaitable[Result]], hops: int
    ) -> Result:
        failure: Exception
        for target in self._permitted(entry):
            try:
                result = await self._reach((*target, *rest), attempt, hops)
            except Circular:
                raise
            except (Lost, TimedOut, Unavailable) as error:
                failure = error
            except Refused as error:
                if error.status not in _ELSEWHERE:
                    raise
                failure = error
            else:
                entry.prefer(target)
                return result
        self._forget(entry)
        raise failure

    # --- what is known ---------------------------------------------------------------------------------------------

    async def _referred(self, place: Place, refused: Refused) -> _Entry:
        """Where the server that refused `place` says it lies. Raises `refused` when that was not about DFS."""
        root = refused.status == STATUS_BAD_NETWORK_NAME
        if not root and refused.status != STATUS_PATH_NOT_COVERED:
            raise refused
        # One at a time for each server: of many readers who meet a new link one asks, and the others read it here.
        async with self._asking[_caseless(place[0])]:
            entry = self._known(place)
            if entry is not None:
                return entry
            if root and self._clock() < self._no_roots.get(_key(place[:2]), 0.0):
                raise refused
            try:
                found = await self._ask(*self._target(place[:2] if root else place))
            except NoReferral as error:
                if root:
                    self._no_roots[_key(place[:2])] = self._clock() + NO_ROOT_TTL
                    raise refused from None
                raise Unavailable(f"the server gives no DFS referral: {name_of(error.status)}") from None
            return self._remember(found, refused if root else None)

    def _remember(self, found: Referral, refused: Refused | None) -> _Entry:
        """Raises `refused`, or `Unavailable`, when it leads nowhere; a root that is its own target does."""
        targets = tuple(target for target in found.targets if _key(target) != _key(found.prefix))
        if not targets:
            raise refused or Unavailable("a DFS link without a target that is online: enable one in the namespace")
        entry = _Entry(found.prefix, targets, self._clock() + found.ttl)
        if len(self._entries) >= MOST_ENTRIES:
            self._entries.clear()
        self._entries[_key(found.prefix)] = entry
        return entry

    def _known(self, place: Place) -> _Entry | None:
        """The entry with the longest prefix of `place`, name by name and without regard to capitals."""
        if not self._entries:
            return None
        key = _key(place)
        for length in range(len(key), 1, -1):
            entry = self._entries.get(key[:length])
            if entry is not None:
                if self._clock() < entry.expires:
                    return entry
                del self._entries[key[:length]]
        return None

    def _forget(self, entry: _Entry) -> None:
        if self._entries.get(_key(entry.prefix)) is entry:
            del self._entries[_key(entry.prefix)]

    def _permitted(self, entry: _Entry) -> tuple[Place, ...]:
        permitted = tuple(target for target in entry.targets if _caseless(target[0]) in self._allowed)
        if not permitted:
            raise AccessDenied(
                f"a DFS referral leads to the server {entry.targets[0][0]!r}, which this source may not ask: add it to "
                "`dfs_servers` if it is yours"
            )
        return permitted

    def _target(self, place: Place) -> tuple[Target, str]:
        return Target(place[0], self._origin.port, place[1]), "\\".join(place[2:])


def _circular() -> Circular:
    return Circular("DFS referrals lead in a circle: correct the links of the namespace")


def _key(place: Place) -> Place:
    return tuple(map(_caseless, place))


def _caseless(name: str) -> str:
    """Letters without capitals, where a pair of them is certain. To miss one costs a question; to invent one, a document."""
    if name.isascii():
        return name.lower()
    return "".join(one.lower() if one.lower().upper() == one else one for one in name)
