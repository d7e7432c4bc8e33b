"""The Windows file servers that tests start are what their tests take them for."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import smbclient
from smbprotocol.exceptions import SMBConnectionClosed, SMBResponseException

from adapters.testing.proxy import LoopbackProxy
from tests.support.ports import accepts, owners
from tests.support.process import ServerFailed
from tests.support.samba import Samba, Share, samba
from tests.support.samba_client import client, refused
from tests.support.samba_processes import alive

PROJECT = Path(__file__).parents[2]

BAD_NETWORK_NAME, NETWORK_NAME_DELETED = 0xC00000CC, 0xC00000C9
SHARING_VIOLATION, INSUFFICIENT_RESOURCES = 0xC0000043, 0xC000009A
ACCESS_DENIED, LOGON_FAILURE, ACCOUNT_DISABLED = 0xC0000022, 0xC000006D, 0xC0000072


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    with samba(tmp_path_factory.mktemp("samba")) as one:
        (one.folder() / "letter.txt").write_bytes(b"Dear colleague")
        yield one


def smbclient_program(server: Samba, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    where = ["smbclient", "-p", str(server.port), f"//{server.host}/letters", "-U", f"{server.user}%{server.password}"]
    return subprocess.run([*where, *words, "-c", command], capture_output=True, text=True, timeout=30, check=False)


def test_it_serves_the_files_of_its_folder_to_who_knows_the_password(server: Samba):
    assert smbclient_program(server, "get letter.txt -").stdout == "Dear colleague"
    with client(server) as one:
        assert one.read("letter.txt") == b"Dear colleague"
    assert refused(server, password=secrets.token_hex()) == LOGON_FAILURE
    assert len(owners(server.port)) == 1


def test_the_options_are_those_of_a_source(server: Samba):
    given = {"server": "127.0.0.1", "port": server.port, "share": "letters", "username": "svc-fhir"}
    assert server.options() == given | {"password": server.password}
    file = server.password_file
    assert server.options(password_file=file) == given | {"password_file": file}
    assert file.read_text() == server.password + "\n"


def test_it_knows_its_open_files_and_connections(server: Samba):
    (server.folder() / "other.txt").write_bytes(b"x")
    assert (server.open_files(), server.connections(), server.clients()) == (0, 0, [])
    with client(server) as one:
        files = [one.open("letter.txt"), one.open("other.txt")]
        # Moved and withdrawn behind the server's back: still open.
        os.replace(server.folder() / "other.txt", server.folder() / "moved.txt")
        (server.folder() / "moved.txt").unlink()
        assert (server.open_files(), server.connections()) == (2, 1)
        for file in files:
            file.close()
        assert (server.open_files(), server.connections()) == (0, 1)


def test_a_file_without_permissions_is_refused_for_root_too(server: Samba):
    (server.folder() / "sealed.txt").write_bytes(b"x")
    (server.folder() / "sealed.txt").chmod(0)
    with client(server) as one:
        assert one.status("sealed.txt") == ACCESS_DENIED


def test_a_restart_ends_connections_and_keeps_the_rest(server: Samba):
    with client(server) as one:
        one.read("letter.txt")
        server.restart()
        with pytest.raises(SMBConnectionClosed):
            one.read("letter.txt")
    with client(server) as one:
        assert one.read("letter.txt") == b"Dear colleague"
    server.stop()
    assert not accepts(server.port)
    server.start()
    assert accepts(server.port)


def test_a_paused_server_accepts_and_says_nothing(server: Samba):
    with client(server) as one:
        one.read("letter.txt")
        server.pause()
        with socket.create_connection((server.host, server.port), timeout=5) as connection:
            connection.sendall(b"\0\0\0\4\xfeSMB")
            assert not select.select([connection], [], [], 0.3)[0]
            server.resume()
            assert select.select([connection], [], [], 10)[0]
        assert one.read("letter.txt") == b"Dear colleague"


def test_clients_can_be_disconnected(server: Samba):
    with client(server) as one:
        one.open("letter.txt")
        before = server.clients()
        server.disconnect_clients()
        assert before
        assert set(before).isdisjoint(server.clients())
        assert server.open_files() == 0
    with client(server) as one:
        assert one.read("letter.txt") == b"Dear colleague"


def test_a_changed_password_and_a_disabled_account(server: Samba):
    old = server.password
    with client(server) as before:
        before.read("letter.txt")
        server.change_password("new pässword%")
        assert before.read("letter.txt") == b"Dear colleague"
    assert refused(server, password=old) == LOGON_FAILURE
    assert server.password_file.read_text() == "new pässword%\n"
    server.account("--account-control=[D]")
    assert refused(server) == ACCOUNT_DISABLED
    server.account("--account-control=[]")
    with client(server) as one:
        assert one.read("letter.txt") == b"Dear colleague"


def test_a_closed_share_throws_its_clients_out_and_a_removed_one_is_gone(server: Samba):
    server.add_share("spare")
    (server.folder("spare") / "a.txt").write_bytes(b"a")
    with client(server, "spare") as one, client(server) as other:
        file = one.open("a.txt")
        server.close_share("spare")
        assert server.open_files() == 0
        with pytest.raises(SMBResponseException):
            file.read(0, 1)
        assert len(server.clients()) == 2
        assert one.status("a.txt") == NETWORK_NAME_DELETED
        assert other.read("letter.txt") == b"Dear colleague"
    folder = server.folder("spare")
    with client(server, "spare") as one:
        server.remove_share("spare")
        assert one.status("a.txt") == NETWORK_NAME_DELETED
    assert refused(server, "spare") == BAD_NETWORK_NAME
    server.add_share(Share("spare", folder))
    with client(server, "spare") as one:
        assert one.read("a.txt") == b"a"


def test_a_dfs_link_leads_to_another_server_on_the_same_port(tmp_path: Path):
    shares = ("letters", Share("archive", options={"msdfs root": "yes"}))
    with samba(tmp_path / "a", shares=shares) as root, samba(tmp_path / "b", host="127.0.0.2", port=root.port) as far:
        far.change_password(root.password)
        (far.folder() / "far.txt").write_bytes(b"far away")
        root.add_link("archive", "Far", r"127.0.0.2\letters")
        login = {"username": root.user, "password": root.password, "port": root.port, "connection_cache": {}}
        with smbclient.open_file(r"\\127.0.0.1\archive\Far\far.txt", mode="rb", **login) as file:
            assert file.read() == b"far away"
        assert (root.connections(), far.connections()) == (1, 1)
        smbclient.reset_connection_cache(connection_cache=login["connection_cache"])


def test_each_user_has_a_password(tmp_path: Path):
    limits = Share("letters", users=("svc-fhir",))
    with samba(tmp_path, users=("svc-fhir", "svc-other"), shares=[limits]) as server:
        (server.folder() / "a.txt").write_bytes(b"a")
        with client(server) as one:
            assert one.read("a.txt") == b"a"
        assert refused(server, username="svc-other", password=server.users["svc-other"]) == ACCESS_DENIED
        assert refused(server, username="svc-other") == LOGON_FAILURE


def test_a_file_can_be_kept_from_others(server: Samba):
    with client(server) as one, client(server) as other:
        file = one.open("letter.txt", share=0)
        assert other.status("letter.txt") == SHARING_VIOLATION
        file.close()
        assert other.status("letter.txt") == 0


def test_limits_are_as_told(tmp_path: Path):
    few = Share("letters", options={"max connections": "1"})
    with samba(tmp_path / "a", shares=[few], settings={"smb2 max credits": "16"}) as server, client(server) as one:
        window = one.connection.sequence_window
        assert window["high"] - window["low"] == 16
        assert refused(server) == INSUFFICIENT_RESOURCES
    with samba(tmp_path / "b", settings={"max smbd processes": "3"}) as server, client(server):
        with socket.create_connection((server.host, server.port), timeout=10) as another:
            assert another.recv(1) == b""


def test_the_kit_s_proxy_counts_the_round_trips_of_a_client(server: Samba):
    with LoopbackProxy(server.host, server.port) as proxy, client(server, port=proxy.port) as one:
        with proxy.latency(0.005):
            proxy.forget()
            one.read("letter.txt")  # CREATE, READ, CLOSE
            assert proxy.round_trips == 3


@pytest.mark.parametrize(
    ("told", "refused", "served"),
    [
        ({}, ["--client-protection=encrypt"], ["--client-protection=sign"]),
        ({"encryption": "offered"}, [], ["--client-protection=encrypt"]),
        ({"encryption": "desired"}, [], ["--client-protection=encrypt"]),
        ({"encryption": "required"}, ["-m", "SMB2_10"], ["-m", "SMB3_00"]),
        ({"settings": {"server min protocol": "SMB3_11"}}, ["-m", "SMB3_00"], ["-m", "SMB3_11"]),
    ],
)
def test_encryption_and_dialects_are_as_told(tmp_path: Path, told, refused, served):
    with samba(tmp_path, **told) as server:
        assert smbclient_program(server, "ls", *served).returncode == 0
        assert not refused or smbclient_program(server, "ls", *refused).returncode != 0


@pytest.mark.parametrize("signing", ["auto", "required"])
@pytest.mark.parametrize("newest", ["SMB2_10", "SMB3_00", "SMB3_11"])
def test_signing_and_the_newest_dialect_are_as_told(tmp_path: Path, signing, newest):
    with samba(tmp_path, signing=signing, settings={"server max protocol": newest}) as server:
        (server.folder() / "a.txt").write_bytes(b"a")
        with client(server) as one:
            connection = one.connection
            assert connection.dialect == {"SMB2_10": 0x0210, "SMB3_00": 0x0300, "SMB3_11": 0x0311}[newest]
            assert bool(connection.server_security_mode & 2) == (signing == "required")


def test_a_mistake_in_its_configuration_is_shown(tmp_path: Path):
    with pytest.raises(ServerFailed, match="interfaces"):
        with samba(tmp_path, settings={"interfaces": "nowhere"}):
            pass


@pytest.mark.parametrize("paused", [False, True])
def test_it_dies_with_the_process_that_started_it(tmp_path: Path, paused):
    script = f"""
import pathlib, time
from tests.support.samba import samba
with samba(pathlib.Path({str(tmp_path)!r})) as server:
    if {paused}: server.pause()
    print(server._up().pid, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        parent.kill()
    try:
        deadline = time.monotonic() + 10
        while alive(group):
            assert time.monotonic() < deadline, "smbd outlived the tests"
            time.sleep(0.01)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
