"""What a test's smbd is told: shares, and the smb.conf made of them.

Rules of this module: values and text; it starts nothing. Everything that smbd writes stays below one folder.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Encryption = Literal["off", "offered", "desired", "required"]
"""What clients that can encrypt get: nothing, what they choose, encryption; the last turns the others away."""

Signing = Literal["auto", "required", "off"]

ENCRYPTION = {"off": "off", "offered": "if_required", "desired": "desired", "required": "required"}
SIGNING = {"auto": "auto", "required": "mandatory", "off": "disabled"}

DOMAIN = "TRUST"

GLOBAL = """\
[global]
server role = standalone server
workgroup = {domain}
netbios name = ARCHIVE
server string = archive
interfaces = {host}/8
bind interfaces only = yes
smb ports = {port}
disable netbios = yes
private dir = {folder}/private
state directory = {folder}/state
cache directory = {folder}/cache
lock directory = {folder}/lock
pid directory = {folder}/pid
ncalrpc dir = {folder}/ncalrpc
binddns dir = {folder}/private
passdb backend = tdbsam:{folder}/private/passdb.tdb
username map = {folder}/users.map
idmap config * : range = 1000000-1999999
load printers = no
printing = bsd
printcap name = /dev/null
disable spoolss = yes
rpc start on demand helpers = no
host msdfs = yes
server min protocol = SMB2_02
server smb encrypt = {encryption}
server signing = {signing}
log level = 1
"""

SHARE = """
[{name}]
path = {path}
read only = yes
force user = {account}
"""

FOLDERS = ("private", "state", "cache", "lock", "pid", "ncalrpc", "shares")


@dataclass(frozen=True, slots=True)
class Share:
    """One share. Without `folder` it gets one of its own, and without `users` it is everybody's.

    `options` are further lines of its section of smb.conf.
    """

    name: str
    folder: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    users: Collection[str] = ()


def account() -> str:
    """The Unix account that the server runs as, which is also the one whose files every share gives out."""
    return pwd.getpwuid(os.geteuid()).pw_name


def unix_accounts(users: Iterable[str]) -> dict[str, str]:
    """A different Unix account of this machine for each SMB user, since smbd knows no user without one.

    The accounts lend their names and own nothing here. Left out are the guest account, with which sessions would be
    anonymous, and root.
    """
    names = [one.pw_name for one in pwd.getpwall() if one.pw_uid != 0 and one.pw_name != "nobody"]
    return dict(zip(users, names, strict=False))


def user_map(accounts: Mapping[str, str]) -> str:
    r"""The `username map` for users and their Unix accounts: as `user`, `TRUST\user` and `user@trust.test`.

    The second is what smbd makes of the principal of a Kerberos ticket, too.
    """
    lines = (rf'{unix} = "{name}" "{DOMAIN}\{name}" "{name}@trust.test"' for name, unix in accounts.items())
    return "\n".join(lines) + "\n"


def configuration(
    folder: Path,
    shares: Iterable[Share],
    *,
    users: Mapping[str, str],
    host: str,
    port: int,
    encryption: Encryption,
    signing: Signing,
    settings: Mapping[str, str],
) -> str:
    """The text of smb.conf; `users` as `unix_accounts` gave them, and each share's `folder` is known by now.

    Of lines with the same name the later one holds.
    """
    text = GLOBAL.format(
        domain=DOMAIN, folder=folder, host=host, port=port, encryption=ENCRYPTION[encryption], signing=SIGNING[signing]
    )
    text += _lines(settings)
    for share in shares:
        text += SHARE.format(name=share.name, path=share.folder, account=account())
        if share.users:
            text += _lines({"valid users": " ".join(users[name] for name in share.users)})
        text += _lines(share.options)
    return text


def _lines(options: Mapping[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in options.items())
