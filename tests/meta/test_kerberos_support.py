"""The Kerberos realm that tests start issues tickets, and their Windows file server takes them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import spnego

from tests.support.kerberos import HOST, Realm, kerberos_realm, require_library
from tests.support.samba import Samba, samba
from tests.support.samba_client import client

SESSION_EXPIRED = 0xC000035C


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    with kerberos_realm(tmp_path_factory.mktemp("realm")) as one:
        yield one


@pytest.fixture(scope="module")
def server(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    with samba(tmp_path_factory.mktemp("samba"), settings=realm.settings, environ=realm.environ) as one:
        (one.folder() / "letter.txt").write_bytes(b"Dear colleague")
        yield one


@pytest.fixture
def in_realm(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is a client of the realm: the Kerberos libraries are told by an environment variable alone."""
    require_library()
    for name, value in realm.environ.items():
        monkeypatch.setenv(name, value)


def ask(server: Samba, realm: Realm, cache: Path | str, *words: str) -> subprocess.CompletedProcess[str]:
    environ = dict(os.environ) | realm.environ | {"KRB5CCNAME": f"FILE:{cache}"}
    where = ["-p", str(server.port), f"//{HOST}/letters", "--ip-address", server.host]
    return subprocess.run(
        ["smbclient", *where, *words, "--use-kerberos=required", "-N", "-c", "get letter.txt -"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_ticket_opens_the_share_and_no_ticket_does_not(server: Samba, realm: Realm, tmp_path: Path):
    assert ask(server, realm, realm.ccache()).stdout.endswith("Dear colleague")
    refused = ask(server, realm, tmp_path / "no such cache")
    assert (refused.returncode, "Dear" in refused.stdout) == (1, False)


def test_the_password_still_opens_it_too(server: Samba):
    with client(server) as one:
        assert one.read("letter.txt") == b"Dear colleague"


@pytest.mark.usefixtures("in_realm")
def test_password_keytab_and_ticket_all_do_for_the_library(server: Samba, realm: Realm):
    me = realm.principal()
    for login in (
        {"username": me, "password": realm.passwords["svc-fhir"]},
        {"username": spnego.KerberosKeytab(str(realm.keytab()), principal=me)},
        {"username": spnego.KerberosCCache(f"FILE:{realm.ccache()}", principal=me)},
    ):
        with client(server, auth="kerberos", **login) as one:
            assert one.read("letter.txt") == b"Dear colleague"


def test_tickets_live_as_long_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    require_library()
    import gssapi

    with kerberos_realm(tmp_path, lifetime="5m") as realm:
        monkeypatch.setenv("KRB5_CONFIG", str(realm.krb5_conf))
        for asked, most in (("1m", 60), ("1h", 300)):
            ticket = gssapi.Credentials(store={"ccache": f"FILE:{realm.ccache(lifetime=asked)}"}, usage="initiate")
            assert most - 30 < ticket.lifetime <= most


@pytest.mark.usefixtures("in_realm")
def test_a_session_ends_with_its_ticket(server: Samba, realm: Realm):
    short = spnego.KerberosCCache(f"FILE:{realm.ccache(lifetime='2s')}", principal=realm.principal())
    with client(server, auth="kerberos", username=short) as one:
        deadline = time.monotonic() + 30
        while not (status := one.status("letter.txt")):
            assert time.monotonic() < deadline, "the session outlives its ticket"
            time.sleep(0.1)
    assert status == SESSION_EXPIRED


def test_a_changed_password_ends_the_keytab(tmp_path: Path):
    with kerberos_realm(tmp_path, users=("svc-other",)) as realm:
        realm.ccache("svc-other")
        realm.change_password("svc-other", "another one")
        with pytest.raises(AssertionError, match="kinit failed"):
            realm.ccache("svc-other")


def test_what_the_realm_cannot_do_is_shown(tmp_path: Path):
    with pytest.raises(AssertionError, match=r"kadmin\.local: .*unknown"):
        with kerberos_realm(tmp_path) as realm:
            realm.change_password("unknown", "x")
