"""Asking one server where a path of a DFS namespace lies ([MS-DFSC] 2.2.2, 2.2.4).

Rules of this module: one question, one answer, on a connection of its own; nothing is remembered and nobody is followed.
The answer is the server's word about other servers, so whatever it says is checked here for its form, and by
`adapters.smb.dfs` for who may be believed.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from smbprotocol.exceptions import SMBResponseException
from smbprotocol.ioctl import CtlCode, IOCTLFlags, SMB2IOCTLRequest, SMB2IOCTLResponse

from adapters.contract import Services
from adapters.smb.failures import Lost, Refused, Unconnected, Untrusted
from adapters.smb.session import Demands, Handshake, Login, Target

Place = tuple[str, ...]
"""A server, a share, and the names of a path below it."""

LONGEST_TTL = 3600.0
"""Seconds after which a referral is asked for anew whatever the server said: until then a moved link is not noticed."""

MOST_TARGETS = 64
"""Targets of one referral that are believed; Windows gives a few."""

_REPLY = 56 * 1024
"""Bytes of the largest answer ([MS-DFSC] 3.1.5.4)."""

_VERSION = 4
"""The newest kind of entry that we read."""

_V1_TTL = 300
"""Seconds; entries of version 1 state none."""

_LONGEST = 2 * 1024
"""Bytes of the longest network address that we read."""

_NAME_LIST = 0x0002
"""The entry names domains or their controllers, which we do not ask for."""

# PathConsumed, NumberOfReferrals, ReferralHeaderFlags
_HEAD = struct.Struct("<HHI")
# VersionNumber, Size, ServerType, ReferralEntryFlags
_ENTRY = struct.Struct("<HHHH")
# Proximity, TimeToLive, and the offsets of DFSPath, DFSAlternatePath, NetworkAddress from the start of the entry
_V2 = struct.Struct("<IIHHH")
# TimeToLive, and the same offsets
_V3 = struct.Struct("<IHHH")

_SERVER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
_NAME = re.compile(r'[^\x00-\x1f\ud800-\udfff/\\:*?"<>|]{1,255}')


class NoReferral(Refused):
    """The server was asked and has no referral to give; with which status says little."""


@dataclass(frozen=True, slots=True)
class Referral:
    """What a server answered: `prefix` of the place asked for stands for any of `targets`, best first, for `ttl` seconds."""

    prefix: Place
    targets: tuple[Place, ...]
    ttl: float


async def referral(target: Target, path: str, login: Login, demands: Demands, services: Services) -> Referral:
    """Ask `target.server` where `path` of `target.share` lies, on a connection of its own that ends with the answer.

    Raises `NoReferral`; `Unconnected` when the log-on is refused; `Lost`; and what else setting up a connection raises
    (`session.Handshake.run`). Cancelling it ends the connection and its thread.
    """
    handshake = Handshake(Target(target.server, target.port, "IPC$"), login, demands)
    try:
        asking = services.executor.submit(_ask, handshake, place_of(target, path), demands.deadline)
    except RuntimeError:  # the executor was shut down
        raise Lost("this source is closing") from None
    try:
        return await asyncio.wrap_future(asking)
    except asyncio.CancelledError:
        handshake.abort()
        raise


def _ask(handshake: Handshake, place: Place, deadline: float) -> Referral:
    try:
        established = handshake.run()
    except Refused as error:
        raise Unconnected(error.status, error.doing) from None
    try:
        answer = _exchange(established.connection, established.session, established.tree, place, deadline)
    except SMBResponseException as error:
        raise NoReferral(error.status, "could not get a DFS referral") from None
    except Exception:  # also what ended the library's reader, whatever that was
        raise Lost("the connection ended while a DFS referral was asked for") from None
    finally:
        established.transport.close()
    return parse(answer, place)


def _exchange(connection: Any, session: Any, tree: Any, place: Place, deadline: float) -> bytes:
    request = SMB2IOCTLRequest()
    request["ctl_code"] = CtlCode.FSCTL_DFS_GET_REFERRALS
    request["file_id"] = b"\xff" * 16
    request["max_output_response"] = _REPLY
    request["flags"] = IOCTLFlags.SMB2_0_IOCTL_IS_FSCTL
    # REQ_GET_DFS_REFERRAL ([MS-DFSC] 2.2.2): MaxReferralLevel, RequestFileName
    request["buffer"] = struct.pack("<H", _VERSION) + _name(place).encode("utf-16-le") + b"\0\0"
    sent = connection.send(request, sid=session.session_id, tid=tree.tree_connect_id)
    answer = SMB2IOCTLResponse()
    answer.unpack(connection.receive(sent, timeout=deadline, resolve_symlinks=False)["data"].get_value())
    return bytes(answer["buffer"].get_value())


def parse(answer: bytes, asked: Place) -> Referral:
    """The RESP_GET_DFS_REFERRAL ([MS-DFSC] 2.2.4) to a question about `asked`. Raises `Untrusted` when it makes no sense.

    smbprotocol has a parser, and it cuts names short: it takes any two zeros for the end, also the halves of two letters.
    """
    try:
        consumed, count, _ = _HEAD.unpack_from(answer)
        if count > MOST_TARGETS:
            raise ValueError("too many entries")
        entries = list(_entries(answer, count))
    except (struct.error, ValueError):
        raise Untrusted("a malformed DFS referral") from None
    targets = tuple(_target_place(address) for address, _ in entries)
    ttl = min((ttl for _, ttl in entries), default=0)
    return Referral(_prefix(asked, consumed), targets, min(float(ttl), LONGEST_TTL))


def _entries(answer: bytes, count: int) -> Iterator[tuple[str, int]]:
    """Network address and seconds to live of each entry ([MS-DFSC] 2.2.5). Raises ValueError and struct.error."""
    start = _HEAD.size
    for _ in range(count):
        version, size, _, flags = _ENTRY.unpack_from(answer, start)
        if size < _ENTRY.size or (version > 2 and flags & _NAME_LIST):
            raise ValueError("not an entry of a path")
        if version == 1:
            address, ttl = _ENTRY.size, _V1_TTL
        elif version == 2:
            _, ttl, _, _, address = _V2.unpack_from(answer, start + _ENTRY.size)
        elif version in (3, 4):
            ttl, _, _, address = _V3.unpack_from(answer, start + _ENTRY.size)
        else:
            raise ValueError("a version that was not asked for")
        yield _text(answer, start + address), ttl
        start += size


def _text(answer: bytes, start: int) -> str:
    """The string that begins at `start` and is ended by a zero letter."""
    for end in range(start, min(start + _LONGEST, len(answer) - 1), 2):
        if answer[end] == answer[end + 1] == 0:
            return answer[start:end].decode("utf-16-le")
    raise ValueError("a name without an end")


def _prefix(asked: Place, consumed: int) -> Place:
    name = _name(asked).encode("utf-16-le")
    if consumed <= len(name) and not consumed % 2:
        names = tuple(name[:consumed].decode("utf-16-le", "surrogatepass").rstrip("\\").split("\\")[1:])
        if len(names) >= 2 and names == asked[: len(names)]:
            return names
    raise Untrusted("a DFS referral for something else than was asked for")


def _target_place(address: str) -> Place:
    server, *names = address.strip("\\").split("\\")
    harmless = all(_NAME.fullmatch(name) and name not in (".", "..") for name in names)
    if not names or not harmless or not _SERVER.fullmatch(server) or names[0].upper() == "IPC$":
        raise Untrusted("a DFS referral to an impossible place")
    return (server, *names)


def place_of(target: Target, path: str) -> Place:
    """The place of a path below a share; empty for the share itself."""
    return (target.server, target.share, *(path.split("\\") if path else ()))


def _name(place: Place) -> str:
    return "\\" + "\\".join(place)
