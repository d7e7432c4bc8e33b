"""Many sources with one account, which a domain locks out after a handful of wrong passwords: they try it once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from adapters.contract import Services
from adapters.errors import CredentialsRejected, Unavailable
from adapters.smb.adapter import SmbAdapter
from adapters.smb.credentials import TURN
from adapters.smb.failures import Refused
from adapters.smb.session import Demands, Login, Target
from adapters.smb.wire import status as nt
from tests.support.folder import lent
from tests.unit.smb.fake_archive import DATA, FakeArchive, FakeShare, until

WRONG = Refused(nt.STATUS_LOGON_FAILURE, "fake")


@pytest.fixture
def services() -> Iterator[Services]:
    with lent() as given:
        yield given


@pytest.fixture
def archive() -> FakeArchive:
    found = FakeArchive()
    found.put("letters\\a.pdf", DATA)
    return found


async def enter(archive: FakeArchive, services: Services, *options: dict[str, Any]) -> list[type[BaseException] | None]:
    """Enter one source for each of `options`, all at once, and leave them; what each of them raised."""
    adapters: list[SmbAdapter] = [archive.adapter(services, **each) for each in options]
    async with AsyncExitStack() as stack:
        entered = await asyncio.gather(*map(stack.enter_async_context, adapters), return_exceptions=True)
        return [type(one) if isinstance(one, BaseException) else None for one in entered]


class Refusing(FakeArchive):
    """Calls every password wrong, and takes its time over it."""

    async def connect(self, target: Target, login: Login, demands: Demands, services: Services) -> FakeShare:
        self.attempts += 1
        await asyncio.sleep(0.02)
        raise Refused(nt.STATUS_LOGON_FAILURE, "fake")


async def test_sources_on_one_server_try_a_wrong_password_once(services: Services) -> None:
    archive = Refusing()
    shares = [{"share": f"share{number}"} for number in range(8)]
    assert await enter(archive, services, *shares) == [CredentialsRejected] * 8
    assert archive.attempts == 1
    assert await enter(archive, services, {"password": "another"}) == [CredentialsRejected], "that one is tried"
    assert archive.attempts == 2


async def test_an_account_of_a_domain_is_one_account_on_every_server(archive: FakeArchive, services: Services) -> None:
    archive.connecting = [WRONG]
    servers = [
        {"server": "one", "domain": "TRUST"},
        {"server": "two", "username": "trust\\SVC"},
    ]
    assert await enter(archive, services, *servers) == [CredentialsRejected] * 2
    assert archive.attempts == 1


async def test_an_account_of_a_server_is_another_on_the_next(archive: FakeArchive, services: Services) -> None:
    archive.connecting = [WRONG]
    found = await enter(archive, services, {"server": "one"}, {"server": "two"})
    assert sorted(map(str, found)) == sorted(map(str, [CredentialsRejected, None]))
    assert archive.attempts == 2


async def test_a_server_that_hangs_does_not_keep_the_account_from_the_others(
    archive: FakeArchive, services: Services
) -> None:
    hung = asyncio.Event()
    archive.connecting = [hung]
    first = archive.adapter(services, domain="TRUST", server="hung")
    entering = asyncio.ensure_future(first.__aenter__())
    await until(lambda: archive.attempts)
    async with asyncio.timeout(TURN + 5):
        assert await enter(archive, services, {"domain": "TRUST", "server": "well"}) == [None]
    assert not entering.done()
    entering.cancel()
    await asyncio.wait({entering})
    assert await enter(archive, services, {"domain": "TRUST"}) == [None], "nothing stays taken"


async def test_a_password_that_was_accepted_is_not_queued_for(archive: FakeArchive, services: Services) -> None:
    assert await enter(archive, services, {}) == [None]
    hung = [asyncio.Event() for _ in range(3)]
    archive.connecting = list(hung)
    before = archive.attempts
    entering = [asyncio.ensure_future(archive.adapter(services).__aenter__()) for _ in hung]
    async with asyncio.timeout(TURN / 2):
        await until(lambda: archive.attempts == before + len(hung))
    for event in hung:
        event.set()
    for adapter in await asyncio.gather(*entering):
        await adapter.__aexit__(None, None, None)


async def test_what_is_no_wrong_password_holds_nobody_back(archive: FakeArchive, services: Services) -> None:
    archive.connecting = [Refused(nt.STATUS_BAD_NETWORK_NAME, "fake")]
    found = await enter(archive, services, {"share": "gone"}, {})
    assert found.count(None) + found.count(Unavailable) == 2
    assert None in found
