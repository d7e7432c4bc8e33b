"""Who logs on, with a password that is read when it is needed and never tried again and again when it is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.contract import Services
from adapters.errors import CredentialsRejected
from adapters.smb.credentials import HELD_BACK
from adapters.smb.failures import Refused
from adapters.smb.wire import status as nt
from adapters.testing.harness import RecordingLog
from tests.support.folder import lent
from tests.unit.smb.fake_archive import DATA, FakeArchive, entered


@pytest.fixture
def archive() -> FakeArchive:
    found = FakeArchive()
    found.put("letters\\a.pdf", DATA)
    return found


@pytest.fixture
def services() -> Iterator[Services]:
    with lent() as given:
        yield given


@pytest.mark.parametrize(
    ("given", "username"),
    [
        ({}, "svc"),
        ({"domain": "TRUST"}, "TRUST\\svc"),
        ({"username": "TRUST\\svc"}, "TRUST\\svc"),
        ({"username": "svc@trust.local"}, "svc@trust.local"),
        ({"domain": "TRUST.LOCAL", "auth": "kerberos"}, "svc@TRUST.LOCAL"),
    ],
)
async def test_the_account_as_servers_take_it(
    archive: FakeArchive, services: Services, given: dict[str, Any], username: str
) -> None:
    async with entered(archive, services, **given):
        [login] = archive.logins
        assert (login.username, login.password) == (username, "secret-0815")
        assert "secret-0815" not in repr(login)


@pytest.mark.parametrize("text", ["first", "first\n", "first\r\n"])
async def test_the_password_file_is_read_for_each_connection(
    archive: FakeArchive, services: Services, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "password"
    file.write_text(text, newline="")
    async with entered(archive, services, password=None, password_file=file) as adapter:
        file.write_text("  second with spaces ")
        archive.shares[0].sever("cable")
        await adapter.stat("letters/a.pdf")
        assert [login.password for login in archive.logins] == ["first", "  second with spaces "]


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"x" * 5000])
async def test_a_password_file_without_a_password_is_told(
    archive: FakeArchive, services: Services, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CredentialsRejected, match="`password_file`"):
        async with archive.adapter(services, password=None, password_file=file):
            pass
    assert archive.attempts == 0


async def test_a_wrong_password_is_held_back_so_that_the_account_is_not_locked_out(
    archive: FakeArchive, tmp_path: Path
) -> None:
    now = [1000.0]
    file = tmp_path / "password"
    file.write_text("wrong")
    with lent() as given:
        services = Services(given.executor, RecordingLog(), lambda: now[0])
        adapter = archive.adapter(services, password=None, password_file=file)

        async def attempts(fault: int | None) -> int:
            before = archive.attempts
            archive.connecting = [] if fault is None else [Refused(fault, "fake")]
            for _ in range(5):
                with pytest.raises(CredentialsRejected):
                    await adapter.__aenter__()
            return archive.attempts - before

        assert await attempts(nt.STATUS_LOGON_FAILURE) == 1
        now[0] += HELD_BACK - 1
        assert await attempts(None) == 0
        now[0] += 2
        assert await attempts(nt.STATUS_WRONG_PASSWORD) == 1
        file.write_text("right")
        archive.connecting = []
        async with adapter:
            assert archive.logins[-1].password == "right"


async def test_other_refusals_of_the_account_are_asked_again(archive: FakeArchive, services: Services) -> None:
    adapter = archive.adapter(services)
    for status in (nt.STATUS_PASSWORD_EXPIRED, nt.STATUS_ACCOUNT_LOCKED_OUT):
        archive.connecting = [Refused(status, "fake")]
        with pytest.raises(CredentialsRejected):
            await adapter.__aenter__()
    async with adapter:
        assert archive.attempts == 3
