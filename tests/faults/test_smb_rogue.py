"""What a client of the gateway gets from a file server that does wrong: the document as it is, or an error; never another.

The server is a real smbd with somebody in the middle who changes its answers. Where the connection is neither signed nor
encrypted everything passes that is well formed and consistent; signed or encrypted, any change is noticed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.smb import SmbAdapter, SmbOptions
from tests.support import rogue_behaviour as rogue
from tests.support.raw_http import Answer
from tests.support.rogue_smb import RogueSmb
from tests.support.samba import Samba, samba
from tests.support.service import Service, service
from tests.support.smb_messages import CLOSE, CREATE, READ

LETTER = bytes(range(256)) * 40
LARGE = bytes(range(251)) * (20 << 12)

PROTECTIONS: dict[str, dict[str, object]] = {
    "plain": {"require_encryption": False, "require_signing": False},
    "signed": {"require_encryption": False, "require_signing": True},
    "encrypted": {"require_encryption": True},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    with samba(tmp_path_factory.mktemp("smb"), settings={"server smb encrypt": "if_required"}) as running:
        (running.folder() / "letter.pdf").write_bytes(LETTER)
        (running.folder() / "large.pdf").write_bytes(LARGE)
        yield running


@pytest.fixture
def between(server: Samba) -> Iterator[RogueSmb]:
    with RogueSmb(server.host, server.port) as rogue_server:
        yield rogue_server


class Served:
    """A gateway in front of the rogue, with one protection."""

    def __init__(self, server: Samba, between: RogueSmb) -> None:
        self._options = server.options(port=between.port)
        self._between = between

    @asynccontextmanager
    async def protected(self, protection: str) -> AsyncIterator[Service]:
        options = SmbOptions.model_validate(self._options | PROTECTIONS[protection])
        async with service({"share": lambda name, lent: SmbAdapter(name, options, lent)}, suffix=".pdf") as running:
            yield running


@pytest.fixture
def served(server: Samba, between: RogueSmb) -> Served:
    return Served(server, between)


async def asked(running: Service, between: RogueSmb, behaviour: rogue.Behaviour, name: str = "large") -> Answer:
    """One answer while the server behaves like this, and then again a good one."""
    assert (await running.ask("/R4/Binary/letter")).body == LETTER
    between.behaviour = behaviour
    try:
        answer = await running.ask(f"/R4/Binary/{name}")
    finally:
        between.behaviour = rogue.Behaviour()
    assert (await running.ask("/R4/Binary/letter")).body == LETTER, "what one connection suffered stays with it"
    assert behaviour.spoiled, "the fault never happened"
    return answer


def looks_whole(answer: Answer) -> bool:
    """Whether a client would take this for the document."""
    return answer.status == 200 and answer.complete


@pytest.mark.parametrize(
    "behaviour",
    [
        lambda: rogue.ShortReads(most=70_001),
        lambda: rogue.PendingFirst(commands=(CREATE, READ, CLOSE)),
        lambda: rogue.ReversedReplies(count=3),
        rogue.StarvedCredits,
    ],
    ids=["short reads", "pending first", "any order", "few credits"],
)
async def test_what_a_server_may_do_changes_nothing(served: Served, between: RogueSmb, behaviour: Any) -> None:
    async with served.protected("plain") as running:
        answer = await asked(running, between, behaviour())
    assert answer.status == 200
    assert answer.body == LARGE


@pytest.mark.parametrize(
    "behaviour",
    [
        lambda: rogue.OverlongReads(extra=7, nth=3),
        lambda: rogue.EmptyReads(nth=3),
        lambda: rogue.WildOffsets(nth=3),
        lambda: rogue.DuplicatedReplies(nth=3),
        lambda: rogue.WrongMessageIds(nth=3),
        lambda: rogue.DroppedReplies(nth=3),
        lambda: rogue.TruncatedFrames(nth=3),
        lambda: rogue.AbsurdLengths(nth=3),
        lambda: rogue.OtherFacts(written=1),
    ],
    ids=["more bytes", "no bytes", "outside", "twice", "wrong id", "silence", "cut frame", "endless", "other facts"],
)
async def test_document_that_a_server_spoils_in_mid_read_never_looks_whole(
    served: Served, between: RogueSmb, behaviour: Any
) -> None:
    async with served.protected("plain") as running:
        answer = await asked(running, between, behaviour())
    assert not looks_whole(answer)


@pytest.mark.parametrize("protection", ["signed", "encrypted"])
@pytest.mark.parametrize("nth", [1, 20])
async def test_changed_bytes_are_noticed(served: Served, between: RogueSmb, protection: str, nth: int) -> None:
    kinds = {"signed": (READ,), "encrypted": (rogue.SEALED,)}
    async with served.protected(protection) as running:
        answer = await asked(running, between, rogue.ChangedBytes(commands=kinds[protection], nth=nth))
    assert not looks_whole(answer)


async def test_removed_signature_is_noticed(served: Served, between: RogueSmb) -> None:
    async with served.protected("signed") as running:
        answer = await asked(running, between, rogue.StrippedSignatures(commands=(READ,), nth=3))
    assert not looks_whole(answer)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0xC000011F, 503),  # STATUS_TOO_MANY_OPENED_FILES: the connection table is full
        (0xC0000205, 503),  # STATUS_INSUFF_SERVER_RESOURCES
        (0xC0000043, 503),  # STATUS_SHARING_VIOLATION
        (0xC0000022, 403),  # STATUS_ACCESS_DENIED
        (0xC0000056, 404),  # STATUS_DELETE_PENDING
    ],
)
async def test_refusals_of_the_server_reach_the_client(
    served: Served, between: RogueSmb, status: int, expected: int
) -> None:
    async with served.protected("plain") as running:
        answer = await asked(running, between, rogue.Refused(CREATE, status, times=10), name="letter")
    assert answer.status == expected
    assert (answer.field("Retry-After") is not None) is (expected == 503)


@pytest.mark.parametrize("status", [0xC00000C9, 0xC0000203, 0xC000035C], ids=["share", "session", "expired"])
async def test_session_that_ends_costs_nobody_an_error(served: Served, between: RogueSmb, status: int) -> None:
    async with served.protected("plain") as running:
        answer = await asked(running, between, rogue.Refused(CREATE, status), name="letter")
    assert answer.body == LETTER
