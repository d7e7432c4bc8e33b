"""Attacks on a share that no fault of an honest server amounts to: forged answers, impossible ranges, servers that give little.

Both engines meet each of them, on a real smbd, with somebody in the middle where it takes one.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.contract import Span
from adapters.errors import AdapterError, Corrupt, CredentialsRejected, SpanNotSatisfiable, Unavailable
from adapters.smb import SmbAdapter, SmbOptions
from adapters.testing.proxy import LoopbackProxy
from tests.support.rogue_behaviour import Behaviour, Wire
from tests.support.rogue_smb import RogueSmb
from tests.support.samba import Samba, samba
from tests.support.smb_messages import ERROR_BODY, READ, SEALED, SIGNED, Message, Request, prefixed
from tests.support.smb_share import content, lent, put

SESSION_SETUP, TREE_CONNECT = 1, 3
OBJECT_NAME_NOT_FOUND = 0xC0000034
LETTER = b"the letter as it was written " * 400
LARGE = content(6 << 20)

both_engines = pytest.mark.parametrize("engine", ["native", "library"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    with samba(tmp_path_factory.mktemp("smb")) as running:
        put(running, "letter.pdf", LETTER)
        put(running, "large.pdf", LARGE)
        yield running


@asynccontextmanager
async def archive(server: Samba, /, **options: object) -> AsyncIterator[SmbAdapter]:
    with lent() as services:
        given = SmbOptions.model_validate(server.options(require_encryption=False) | options)
        async with SmbAdapter("archive", given, services) as adapter:
            yield adapter


async def whole(adapter: SmbAdapter, locator: str) -> bytes:
    async with adapter.open(locator) as opened:
        return b"".join([chunk async for chunk in opened.chunks])


class OtherSession(Behaviour):
    """Forges answers without the session's key: of another session, and said to be answers to SESSION_SETUP."""

    def __init__(self, command: int) -> None:
        self._command = command

    def on_reply(self, command: int, message: Message, request: Request | None) -> list[Message | Wire]:
        if command == self._command:
            self.spoiled += 1
            message.command, message.session = SESSION_SETUP, 0xBAD
            message.flags &= ~SIGNED
            message.data[48:64] = bytes(16)
            if command == READ:
                message.payload = b"!" * len(message.payload)
        return [message]


@both_engines
@pytest.mark.parametrize("command", [TREE_CONNECT, READ])
async def test_an_answer_of_another_session_is_not_believed(server: Samba, engine: str, command: int) -> None:
    with RogueSmb(server.host, server.port, forger := OtherSession(command)) as rogue:
        with pytest.raises(AdapterError):
            async with archive(server, engine=engine, port=rogue.port) as adapter:
                await whole(adapter, "letter.pdf")
    assert forger.spoiled


@both_engines
@pytest.mark.parametrize("start", [len(LARGE), (1 << 63) - 1, 1 << 63, 1 << 64, 10**30])
async def test_a_range_that_no_file_reaches_harms_no_other_reader(server: Samba, engine: str, start: int) -> None:
    async with archive(server, engine=engine, connections=1) as adapter, adapter.open("large.pdf") as other:
        chunks = aiter(other.chunks)
        got = await anext(chunks)
        with pytest.raises(SpanNotSatisfiable):
            async with adapter.open("large.pdf", Span(start)):
                pass
        assert got + b"".join([chunk async for chunk in chunks]) == LARGE


@both_engines
@pytest.mark.parametrize("credits", [2, 4, 9])
async def test_a_server_that_grants_few_credits_serves_documents(tmp_path: Path, engine: str, credits: int) -> None:
    settings = {"smb2 max credits": str(credits)}
    with samba(tmp_path, settings=settings) as miser, LoopbackProxy(miser.host, miser.port) as line:
        put(miser, "large.pdf", LARGE)
        with line.latency(0.004):  # from afar the pieces are larger
            async with archive(miser, engine=engine, port=line.port) as adapter:
                assert await whole(adapter, "large.pdf") == LARGE
                assert await adapter.resolve("large") == "large.pdf"


@pytest.mark.parametrize("encryption", [True, False])
async def test_an_account_that_the_server_takes_for_a_guest_is_told_so(tmp_path: Path, encryption: bool) -> None:
    with samba(tmp_path, settings={"map to guest": "Bad User", "server smb encrypt": "if_required"}) as hospitable:
        with pytest.raises(CredentialsRejected, match="as a guest"):
            async with archive(hospitable, username="nobody-knows", require_encryption=encryption):
                pass


async def test_an_address_that_is_silent_leaves_time_for_the_next_one(
    server: Samba, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = socket.getaddrinfo
    with socket.socket() as silent, contextlib.ExitStack() as stack:
        silent.bind(("127.0.0.9", server.port))
        silent.listen(0)
        for _ in range(3):  # who connects from now on is not answered
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(silent.getsockname())

        def twofold(host: str, *arguments: Any, **more: Any) -> Any:
            hosts = ["127.0.0.9", server.host] if host == "fileserver" else [host]
            return [found for one in hosts for found in addresses(one, *arguments, **more)]

        monkeypatch.setattr(socket, "getaddrinfo", twofold)
        async with archive(server, server="fileserver") as adapter:
            assert await whole(adapter, "letter.pdf") == LETTER


class InTheClear(Behaviour):
    """Says "no such document" in the clear, in place of what the server sealed; the ids of requests are easily guessed."""

    def __init__(self) -> None:
        self.guess: tuple[int, ...] = ()

    def on_reply(self, command: int, message: Message, request: Request | None) -> list[Message | Wire]:
        if command != SEALED or not self.guess:
            return [message]
        self.spoiled += 1
        return [self._forged(number) for number in self.guess]

    @staticmethod
    def _forged(number: int) -> Wire:
        fields = b"\xfeSMB", 64, 1, OBJECT_NAME_NOT_FOUND, SESSION_SETUP, 1, 1, 0, number, 0, 0xBAD, b""
        return Wire(prefixed(struct.pack("<4sHHIHHIIQQQ16s", *fields) + ERROR_BODY))


@both_engines
@pytest.mark.parametrize("first", [4, 5, 6])
async def test_an_answer_in_the_clear_does_not_make_a_document_vanish(tmp_path: Path, engine: str, first: int) -> None:
    with samba(tmp_path, encryption="required") as sealed, RogueSmb(sealed.host, sealed.port) as rogue:
        put(sealed, "letter.pdf", LETTER)
        rogue.behaviour = forger = InTheClear()
        async with archive(sealed, engine=engine, port=rogue.port, require_encryption=True) as adapter:
            forger.guess = first, first + 1
            with pytest.raises((Unavailable, Corrupt)):
                await whole(adapter, "letter.pdf")
        assert forger.spoiled
