"""DFS referrals: who is followed, in which order, and what is remembered."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import AccessDenied, CredentialsRejected, TimedOut, Unavailable
from adapters.smb.dfs import MOST_ENTRIES, NO_ROOT_TTL, Circular, Namespace
from adapters.smb.failures import Lost, Refused
from adapters.smb.referral import NoReferral, Referral
from adapters.smb.session import Target
from adapters.smb.wire.status import (
    STATUS_BAD_NETWORK_NAME,
    STATUS_NOT_FOUND,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_PATH_NOT_COVERED,
)

ROOT = Target("files.trust.local", 4450, "docs")


class Network:
    """Servers that answer as told: links (places that lie elsewhere), roots, servers that are away, and what was asked."""

    def __init__(self) -> None:
        self.links: dict[str, list[str]] = {}
        self.roots: dict[str, list[str]] = {}
        self.away: dict[str, Exception] = {}
        self.now = 0.0
        self.ttl = 600.0
        self.asked: list[str] = []
        self.attempts: list[str] = []

    def namespace(self, *servers: str) -> Namespace:
        return Namespace(ROOT, servers=servers, ask=self.ask, clock=lambda: self.now)

    async def ask(self, target: Target, path: str) -> Referral:
        assert target.port == ROOT.port
        name = unc(target, path)
        self.asked.append(name)
        await asyncio.sleep(0)
        if target.server in self.away:
            raise self.away[target.server]
        for table, asked in ((self.links, covers), (self.roots, same)):
            for prefix, targets in table.items():
                if asked(prefix, name):
                    places = tuple(tuple(one.split("\\")) for one in targets)
                    length = len(prefix.split("\\"))
                    return Referral(tuple(name.split("\\")[:length]), places, self.ttl)
        raise NoReferral(STATUS_NOT_FOUND, "asking")

    async def attempt(self, target: Target, path: str) -> str:
        name = unc(target, path)
        self.attempts.append(name)
        await asyncio.sleep(0)
        if target.server in self.away:
            raise self.away[target.server]
        if any(covers(root, name) for root in self.roots):
            raise Refused(STATUS_BAD_NETWORK_NAME, "connecting")
        if any(covers(link, name) for link in self.links):
            raise Refused(STATUS_PATH_NOT_COVERED, "opening")
        return name


def unc(target: Target, path: str) -> str:
    return "\\".join(part for part in (target.server, target.share, path) if part)


def same(root: str, name: str) -> bool:
    """A root is asked about as such, without a path below it."""
    return root.lower() == name.lower()


def covers(prefix: str, name: str) -> bool:
    return (name.lower() + "\\").startswith(prefix.lower() + "\\")


@pytest.fixture
def network() -> Network:
    return Network()


async def test_source_without_dfs_is_never_asked_about(network: Network) -> None:
    namespace = network.namespace()
    assert await namespace.follow("a\\b.pdf", network.attempt) == "files.trust.local\\docs\\a\\b.pdf"
    assert await namespace.follow("", network.attempt) == "files.trust.local\\docs"
    assert network.asked == []


async def test_link_is_followed_and_remembered(network: Network) -> None:
    network.links = {"files.trust.local\\docs\\Scans": ["fs2\\scans$\\2024"]}
    namespace = network.namespace("FS2")
    assert namespace.route("scans\\a.pdf") == (ROOT, "scans\\a.pdf")
    assert await namespace.follow("scans\\a.pdf", network.attempt) == "fs2\\scans$\\2024\\a.pdf"
    network.attempts.clear()
    assert await namespace.follow("SCANS\\deep\\b.pdf", network.attempt) == "fs2\\scans$\\2024\\deep\\b.pdf"
    assert await namespace.follow("scans", network.attempt) == "fs2\\scans$\\2024"
    assert len(network.attempts) == 2, "asked the namespace's server again"
    assert len(network.asked) == 1
    assert namespace.route("scans\\a.pdf") == (Target("fs2", 4450, "scans$"), "2024\\a.pdf")
    assert namespace.route("scans2\\a.pdf") == (ROOT, "scans2\\a.pdf")


async def test_referral_is_forgotten_in_time_and_never_kept_too_long(network: Network) -> None:
    network.links = {"files.trust.local\\docs\\scans": ["fs2\\scans"]}
    namespace = network.namespace("fs2", "fs3")
    await namespace.follow("scans\\a", network.attempt)
    network.now = 599
    await namespace.follow("scans\\a", network.attempt)
    assert len(network.asked) == 1
    network.now = 600
    network.links["files.trust.local\\docs\\scans"] = ["fs3\\scans"]
    assert await namespace.follow("scans\\a", network.attempt) == "fs3\\scans\\a"
    assert len(network.asked) == 2


async def test_referral_that_may_not_be_kept_is_still_followed(network: Network) -> None:
    network.links, network.ttl = {"files.trust.local\\docs\\scans": ["fs2\\scans"]}, 0
    namespace = network.namespace("fs2")
    for _ in range(2):
        assert await namespace.follow("scans\\a", network.attempt) == "fs2\\scans\\a"
    assert len(network.asked) == 2


async def test_longest_prefix_wins(network: Network) -> None:
    network.links = {
        "files.trust.local\\docs\\a\\b": ["fs2\\deep"],
        "files.trust.local\\docs\\a": ["fs2\\shallow"],
    }
    namespace = network.namespace("fs2")
    assert await namespace.follow("a\\b\\1", network.attempt) == "fs2\\deep\\1"
    assert await namespace.follow("a\\c\\1", network.attempt) == "fs2\\shallow\\c\\1"
    assert namespace.route("a\\b\\2")[0].share == "deep"
    assert namespace.route("a\\bb\\2")[0].share == "shallow"


async def test_namespaces_that_lead_to_others_are_followed(network: Network) -> None:
    network.roots = {"files.trust.local\\docs": ["dc1\\docs"]}
    network.links = {"dc1\\docs\\wales": ["fs2\\wales"], "fs2\\wales\\south": ["fs3\\south\\all"]}
    namespace = network.namespace("dc1", "fs2", "fs3")
    assert await namespace.follow("wales\\south\\a.pdf", network.attempt) == "fs3\\south\\all\\a.pdf"
    assert namespace.route("wales\\south\\b.pdf") == (Target("fs3", 4450, "south"), "all\\b.pdf")
    network.attempts.clear()
    await namespace.follow("wales\\south\\b.pdf", network.attempt)
    assert network.attempts == ["fs3\\south\\all\\b.pdf"]


async def test_share_that_is_gone_is_told_as_such_and_not_asked_about_each_time(network: Network) -> None:
    namespace = network.namespace()
    gone = Refused(STATUS_BAD_NETWORK_NAME, "connecting")

    async def attempt(target: Target, path: str) -> str:
        raise gone

    for _ in range(3):
        with pytest.raises(Refused) as refused:
            await namespace.follow("a", attempt)
        assert refused.value is gone
    assert len(network.asked) == 1
    network.now = NO_ROOT_TTL
    with pytest.raises(Refused):
        await namespace.follow("a", attempt)
    assert len(network.asked) == 2


async def test_root_that_is_its_own_target_leads_nowhere(network: Network) -> None:
    network.roots = {"files.trust.local\\docs": ["FILES.trust.local\\Docs"]}
    with pytest.raises(Refused) as refused:
        await network.namespace().follow("a", network.attempt)
    assert refused.value.status == STATUS_BAD_NETWORK_NAME


@pytest.mark.parametrize(
    "links",
    [
        {"files.trust.local\\docs\\a": ["fs2\\a"], "fs2\\a": ["files.trust.local\\docs\\a"]},
        {"files.trust.local\\docs\\a": ["files.trust.local\\docs\\a\\a"]},
    ],
)
@pytest.mark.parametrize("ttl", [600, 0])
async def test_circles_end(network: Network, links: dict[str, list[str]], ttl: float) -> None:
    network.links, network.ttl = links, ttl
    namespace = network.namespace("fs2")
    for _ in range(2):
        with pytest.raises(Circular, match="circle"):
            await namespace.follow("a\\1", network.attempt)
    assert len(network.asked) <= 20
    if ttl:
        with pytest.raises(Circular):
            namespace.route("a\\1")


async def test_server_that_was_not_named_is_not_followed_and_told_with_the_cure(network: Network) -> None:
    network.links = {"files.trust.local\\docs\\scans": ["evil.example\\scans", "fs2\\scans"]}
    namespace = network.namespace("fs2.trust.local", "example")
    for _ in range(2):
        with pytest.raises(AccessDenied, match=r"'evil\.example'.*`dfs_servers`") as denied:
            await namespace.follow("scans\\patient.pdf", network.attempt)
        assert "patient" not in str(denied.value)
    assert len(network.asked) == 1
    assert all("evil" not in name for name in network.attempts)
    allowed = network.namespace("fs2")
    assert await allowed.follow("scans\\a", network.attempt) == "fs2\\scans\\a"
    assert all("evil" not in name for name in network.attempts)


@pytest.mark.parametrize(
    "failure",
    [Lost("away"), TimedOut("slow"), Unavailable("no"), Refused(STATUS_BAD_NETWORK_NAME, "connecting")],
    ids=["lost", "timed out", "unavailable", "no such share"],
)
async def test_next_target_serves_when_one_is_away_and_is_then_the_first(network: Network, failure: Exception) -> None:
    network.links = {"files.trust.local\\docs\\scans": ["fs2\\scans", "fs3\\scans", "fs4\\scans"]}
    network.away = {"fs2": failure}
    namespace = network.namespace("fs2", "fs3", "fs4")
    assert await namespace.follow("scans\\a", network.attempt) == "fs3\\scans\\a"
    network.attempts.clear()
    assert await namespace.follow("scans\\b", network.attempt) == "fs3\\scans\\b"
    assert network.attempts == ["fs3\\scans\\b"]
    network.away = {"fs3": failure}
    assert await namespace.follow("scans\\c", network.attempt) == "fs2\\scans\\c"


async def test_when_all_targets_are_away_the_server_is_asked_anew(network: Network) -> None:
    network.links = {"files.trust.local\\docs\\scans": ["fs2\\scans", "fs3\\scans"]}
    network.away = {"fs2": Lost("two"), "fs3": Lost("three")}
    namespace = network.namespace("fs2", "fs3", "fs4")
    with pytest.raises(Lost, match="three"):
        await namespace.follow("scans\\a", network.attempt)
    network.links = {"files.trust.local\\docs\\scans": ["fs4\\scans"]}
    assert await namespace.follow("scans\\a", network.attempt) == "fs4\\scans\\a"


@pytest.mark.parametrize(
    "failure",
    [Refused(STATUS_OBJECT_NAME_NOT_FOUND, "opening"), CredentialsRejected("locked")],
    ids=["no such document", "account"],
)
async def test_what_is_about_the_document_or_the_account_is_not_asked_elsewhere(
    network: Network, failure: Exception
) -> None:
    network.links = {"files.trust.local\\docs\\scans": ["fs2\\scans", "fs3\\scans"]}
    network.away = {"fs2": failure}
    namespace = network.namespace("fs2", "fs3")
    with pytest.raises(type(failure)):
        await namespace.follow("scans\\a", network.attempt)
    assert not any(name.startswith("fs3") for name in network.attempts)


async def test_other_root_server_gives_the_referral_when_one_is_away(network: Network) -> None:
    network.roots = {"files.trust.local\\docs": ["dc1\\docs", "dc2\\docs"]}
    network.links = {"dc2\\docs\\scans": ["fs2\\scans"]}
    network.away = {"dc1": Lost("away")}
    namespace = network.namespace("dc1", "dc2", "fs2")
    assert await namespace.follow("scans\\a", network.attempt) == "fs2\\scans\\a"


async def test_link_without_targets_is_unavailable_and_not_missing(network: Network) -> None:
    network.links = {"files.trust.local\\docs\\scans": []}
    with pytest.raises(Unavailable, match="online"):
        await network.namespace().follow("scans\\a", network.attempt)

    async def not_covered(target: Target, path: str) -> str:
        raise Refused(STATUS_PATH_NOT_COVERED, "opening")

    network.links = {}
    with pytest.raises(Unavailable, match="STATUS_NOT_FOUND"):
        await network.namespace().follow("scans\\a", not_covered)


async def test_many_readers_of_a_new_link_ask_once(network: Network) -> None:
    network.links = {"files.trust.local\\docs\\scans": ["fs2\\scans"]}
    namespace = network.namespace("fs2")
    await asyncio.gather(*(namespace.follow(f"scans\\{number}", network.attempt) for number in range(20)))
    assert len(network.asked) == 1


async def test_reader_who_leaves_while_asking_does_not_hold_up_the_others(network: Network) -> None:
    network.links = {"files.trust.local\\docs\\scans": ["fs2\\scans"]}
    answers = asyncio.Event()

    async def ask(target: Target, path: str) -> Referral:
        await answers.wait()
        return await network.ask(target, path)

    namespace = Namespace(ROOT, servers=["fs2"], ask=ask, clock=lambda: 0.0)
    readers = [asyncio.ensure_future(namespace.follow(f"scans\\{number}", network.attempt)) for number in range(5)]
    await asyncio.sleep(0.01)
    readers[0].cancel()
    answers.set()
    async with asyncio.timeout(5):
        found = await asyncio.gather(*readers, return_exceptions=True)
    assert found[1:] == [f"fs2\\scans\\{number}" for number in range(1, 5)]


async def test_memory_is_bounded_however_many_links_a_server_invents(network: Network) -> None:
    async def ask(target: Target, path: str) -> Referral:
        return Referral((target.server, target.share, *path.split("\\")), (("fs2", "scans"),), 600)

    async def attempt(target: Target, path: str) -> str:
        if target == ROOT:
            raise Refused(STATUS_PATH_NOT_COVERED, "opening")
        return path

    namespace = Namespace(ROOT, servers=["fs2"], ask=ask, clock=lambda: 0.0)
    for number in range(MOST_ENTRIES + 10):
        await namespace.follow(f"{number}", attempt)
    kept = sum(namespace.route(f"{number}")[0] != ROOT for number in range(MOST_ENTRIES + 10))
    assert 0 < kept <= MOST_ENTRIES


# --- prefixes, for any names -------------------------------------------------------------------------------------------

names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='\\/:*?"<>|'), min_size=1, max_size=4
).filter(lambda name: name not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=5)


@given(link=paths, path=paths, below=st.lists(names, max_size=3))
def test_prefixes_match_whole_names_in_any_capitals(link: list[str], path: list[str], below: list[str]) -> None:
    async def ask(target: Target, asked: str) -> Referral:
        return Referral((ROOT.server, ROOT.share, *link), (("fs2", "there"),), 600)

    async def attempt(target: Target, path: str) -> tuple[Target, str]:
        if target == ROOT:
            raise Refused(STATUS_PATH_NOT_COVERED, "opening")
        return target, path

    namespace = Namespace(ROOT, servers=["fs2"], ask=ask, clock=lambda: 0.0)
    elsewhere = (Target("fs2", 4450, "there"), "\\".join(below))
    assert asyncio.run(namespace.follow("\\".join(link + below), attempt)) == elsewhere
    assert namespace.route("\\".join(link + below)) == elsewhere
    ascii_swapped = "".join(one.swapcase() if one.isascii() else one for one in "\\".join(link))
    assert namespace.route("\\".join([ascii_swapped, *below])) == elsewhere
    # Names that differ by more than capitals are other names.
    target, rest = namespace.route("\\".join(path))
    if "\\".join(path[: len(link)]).casefold() != "\\".join(link).casefold():
        assert (target, rest) == (ROOT, "\\".join(path))


@pytest.mark.parametrize(
    ("link", "other"), [("straße", "STRASSE"), ("İ", "i̇"), ("ﬁ", "fi"), ("\u212a", "k"), ("ſ", "s")]
)
async def test_letters_that_only_some_call_the_same_are_different(link: str, other: str, network: Network) -> None:
    network.links = {f"files.trust.local\\docs\\{link}": ["fs2\\scans"]}
    namespace = network.namespace("fs2")
    await namespace.follow(f"{link}\\a", network.attempt)
    assert namespace.route(f"{link}\\a")[0] != ROOT
    assert namespace.route(f"{other}\\a")[0] == ROOT


async def test_letters_beyond_ascii_have_capitals_too(network: Network) -> None:
    network.links = {"files.trust.local\\docs\\Größe": ["fs2\\scans"]}
    namespace = network.namespace("fs2")
    await namespace.follow("Größe\\a", network.attempt)
    assert namespace.route("GRÖßE\\a")[0] != ROOT
