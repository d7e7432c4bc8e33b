"""A real Kerberos realm on a loopback port: an MIT KDC, its database below one folder, and smbd as a service of it.

    with kerberos_realm(folder / "realm") as realm:
        with samba(folder / "samba", settings=realm.settings, environ=realm.environ) as server: ...

There is no Active Directory in it. The KDC issues tickets without the PAC that a domain controller would add, and smbd
finds the account by the principal's name instead, as it does for a server that is no domain member.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ports import LOOPBACK, free_port
from tests.support.process import Server, port_ready, require, running

REALM = "TRUST.TEST"
HOST = "archive.trust.test"
"""A name for the server that no resolver knows; `smbclient --ip-address` and the like take it with an address."""

CLIENT_CONFIGURATION = """\
[libdefaults]
default_realm = {realm}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
{realm} = {{
  kdc = {host}:{port}
}}
[domain_realm]
.trust.test = {realm}
"""

KDC_CONFIGURATION = """\
[kdcdefaults]
kdc_listen = {host}:{port}
kdc_tcp_listen = {host}:{port}
[realms]
{realm} = {{
  database_name = {folder}/principal
  key_stash_file = {folder}/stash
  acl_file = {folder}/acl
  max_life = {lifetime}
  supported_enctypes = aes256-cts-hmac-sha1-96:normal
  disable_pac = true
}}
[logging]
kdc = STDERR
"""


@dataclass(frozen=True, slots=True)
class Realm:
    """A running realm. `passwords` are its users'; `kdc` can be paused and stopped like any server."""

    folder: Path
    kdc: Server
    passwords: Mapping[str, str]

    @property
    def krb5_conf(self) -> Path:
        """What `KRB5_CONFIG` names for clients."""
        return self.folder / "krb5.conf"

    @property
    def environ(self) -> dict[str, str]:
        """For smbd and for tools: this realm and no other, and no record of tickets outside of it."""
        return {"KRB5_CONFIG": str(self.krb5_conf), "KRB5RCACHENAME": "none:", "KRB5RCACHETYPE": "none"}

    @property
    def settings(self) -> dict[str, str]:
        """What smb.conf needs so that smbd accepts the realm's tickets, beside passwords."""
        keytab = f"FILE:{self.folder}/smbd.keytab"
        return {"realm": REALM, "kerberos method": "dedicated keytab", "dedicated keytab file": keytab}

    def principal(self, user: str = "svc-fhir") -> str:
        return f"{user}@{REALM}"

    def keytab(self, user: str = "svc-fhir") -> Path:
        """A file that proves to be this user without a password."""
        return self.folder / f"{user}.keytab"

    def ccache(self, user: str = "svc-fhir", *, lifetime: str = "1h") -> Path:
        """A cache with a fresh ticket of the user's, as kinit leaves it. `lifetime` as in `10s`."""
        cache = self.folder / f"{user}.ccache"
        keytab = ["-k", "-t", str(self.keytab(user))]
        _run([require("kinit"), "-c", f"FILE:{cache}", "-l", lifetime, *keytab, self.principal(user)], self.environ)
        return cache

    def change_password(self, user: str, new: str) -> None:
        """The old password and every keytab of the user are of no more use; tickets are, until they expire."""
        _kadmin(self.folder, [f'change_password -pw "{new}" {user}'])


@contextmanager
def kerberos_realm(
    folder: Path,
    *,
    hosts: Sequence[str] = (LOOPBACK, HOST),
    users: Sequence[str] = ("svc-fhir",),
    lifetime: str = "10h",
) -> Iterator[Realm]:
    """A KDC that knows these users, and smbd as `cifs/` each of the hosts; gone afterwards.

    `lifetime` is the most that a ticket gets; smbd ends a session with its ticket.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    words = {"folder": folder, "realm": REALM, "host": LOOPBACK, "port": port, "lifetime": lifetime}
    (folder / "krb5.conf").write_text(CLIENT_CONFIGURATION.format(**words))
    (folder / "kdc.conf").write_text(KDC_CONFIGURATION.format(**words))
    passwords = {user: secrets.token_urlsafe(12) for user in users}
    _run([require("kdb5_util"), "create", "-s", "-P", secrets.token_urlsafe(12)], _profile(folder))
    services = [f"cifs/{host}" for host in hosts]
    _kadmin(
        folder,
        [
            *(f'add_principal -pw "{password}" {user}' for user, password in passwords.items()),
            *(f"ktadd -norandkey -k {folder}/{user}.keytab {user}" for user in users),
            *(f"add_principal -randkey {service}" for service in services),
            f"ktadd -k {folder}/smbd.keytab {' '.join(services)}",
        ],
    )
    with running(
        "krb5kdc",
        [require("krb5kdc"), "-n", "-P", folder / "kdc.pid"],
        log=folder / "kdc.log",
        ready=port_ready(port),
        environ=_profile(folder),
    ) as kdc:
        yield Realm(folder, kdc, passwords)


def require_library() -> None:
    """Fails the test with the cure where Python cannot speak Kerberos."""
    if importlib.util.find_spec("gssapi") is None or importlib.util.find_spec("krb5") is None:
        pytest.fail(
            "This test needs the extra `smb-kerberos`, which was not built. `make test` builds it where it finds a C "
            "compiler, Python's headers and libkrb5-dev; as an administrator: apt-get install gcc python3-dev libkrb5-dev",
            pytrace=False,
        )


def _free_port() -> int:
    """Free for TCP and UDP: MIT's clients are told to prefer TCP, and those of Samba's Heimdal begin with UDP."""
    while True:
        port = free_port()
        with suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as probe:
            probe.bind((LOOPBACK, port))
            return port


def _profile(folder: Path) -> dict[str, str]:
    names = {"KRB5_CONFIG": folder / "krb5.conf", "KRB5_KDC_PROFILE": folder / "kdc.conf"}
    return dict(os.environ) | {name: str(path) for name, path in names.items()}


def _kadmin(folder: Path, queries: Sequence[str]) -> None:
    """kadmin.local reports nothing in its exit status; what it failed at it says on standard error."""
    said = _run([require("kadmin.local")], _profile(folder), "".join(f"{query}\n" for query in queries))
    failures = [line for line in said.splitlines() if line and "No policy specified" not in line]
    assert not failures, f"kadmin.local: {failures}"


def _run(command: Sequence[str], environ: Mapping[str, str], text: str = "") -> str:
    done = subprocess.run(
        command,
        input=text,
        env=dict(os.environ) | dict(environ),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, f"{Path(command[0]).name} failed: {done.stderr or done.stdout}"
    return done.stderr
