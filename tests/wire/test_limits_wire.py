"""Clients that ask too often, guess ids, or come from a page of another origin: what they are told, on the wire."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from aiohttp import web

from gateway.protocol.interactions import Interaction
from gateway.security import Identity
from gateway.security.authentication import Authentication
from gateway.security.cors import Cors
from gateway.security.door import Door
from gateway.security.mtls import MutualTls
from gateway.security.peers import TrustedPeers, peer_of
from gateway.security.rates import REMEMBERED, Enumeration, Rates
from gateway.settings.mtls import MtlsSettings
from tests.support.raw_http import Answer, connect, request
from tests.support.scripted import Script
from tests.support.service import MakeAdapter, Service, scripted, service

ORIGIN = "https://viewer.trust.test"


class Time:
    """A clock that stands until it is moved; in seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Said:
    """Believes what a caller says of itself."""

    async def identify(self, request: web.BaseRequest, interaction: Interaction) -> Identity:
        who = request.headers["X-Who"]
        return Identity(who, who, frozenset({"system/*.read"}), method="bearer")


def archive() -> dict[str, MakeAdapter]:
    return {"letters": scripted({"a": Script([b"letter"])})}


async def ask(at: Service, target: str = "/R4/Binary/a", *, source: str = "127.0.0.1", **headers: str) -> Answer:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    async with connect(at.host, at.port, source=source) as connection:
        await connection.send(request(target, fields=fields))
        return await connection.answer()


# --- how often --------------------------------------------------------------------------------------------------------


@pytest.mark.attack("A client that asks without pause", "429 with Retry-After; others are served")
async def test_a_client_that_asks_too_often_is_told_when_to_come_again_and_others_are_served() -> None:
    clock = Time()
    door = Door(rates=Rates(60, 3, clock))
    async with service(archive(), door=door) as at:
        assert [(await ask(at)).status for _ in range(3)] == [200, 200, 200]
        answer = await ask(at)
        assert (answer.status, answer.field("Retry-After")) == (429, "1")
        (issue,) = answer.json()["issue"]
        assert (answer.json()["resourceType"], issue["code"]) == ("OperationOutcome", "throttled")
        assert (await ask(at, source="127.0.0.2")).status == 200
        clock.now += 1
        assert (await ask(at)).status == 200
        assert (await ask(at)).status == 429


@pytest.mark.attack("X-Forwarded-For, Forwarded and their like, to be counted as somebody else", "no effect")
async def test_no_header_makes_another_client_of_one() -> None:
    """Who asks is the one at the other end of the connection, whatever it writes."""
    door = Door(rates=Rates(60, 1, Time()))
    async with service(archive(), door=door) as at:
        assert (await ask(at)).status == 200
        spoofed = [
            {"X_Forwarded_For": "10.0.0.1"}, {"Forwarded": "for=10.0.0.1"}, {"X_Real_IP": "10.0.0.1"},
            {"True_Client_IP": "10.0.0.1"}, {"X_Forwarded_Host": "other"}, {"Via": "1.1 other"}, {"X_Request_Id": "other"},
        ]  # fmt: skip
        for headers in spoofed:
            assert (await ask(at, **headers)).status == 429


async def test_clients_that_proved_who_they_are_are_counted_by_that() -> None:
    door = Door(authentication=Said(), rates=Rates(60, 1, Time()))
    async with service(archive(), door=door) as at:
        assert [(await ask(at, X_Who=who)).status for who in ("a", "b", "a")] == [200, 200, 429]
        assert (await ask(at, X_Who="a", source="127.0.0.2")).status == 429


@pytest.mark.attack("Proofs of identity tried one after the other", "429 after the burst")
async def test_guessing_who_to_be_counts_as_well() -> None:
    known = MutualTls(MtlsSettings.model_validate({"clients": [{"client": "pacs", "names": ["DNS:pacs"]}]}))
    door = Door(authentication=Authentication([known], takes_tokens=False), rates=Rates(60, 2, Time()))
    async with service(archive(), door=door) as at:
        assert [(await ask(at)).status for _ in range(3)] == [403, 403, 429]


@pytest.mark.attack("Requests of more addresses than can be remembered", "bounded memory")
def test_of_many_clients_a_bounded_number_is_remembered() -> None:
    clock = Time()
    rates, alarms = Rates(60, 1, clock), Enumeration(2, 60, clock)
    for number in range(REMEMBERED + 500):
        assert rates.wait(str(number)) == 0
        assert not alarms.alarming(str(number))
    assert len(rates._buckets) == len(alarms._seen) == REMEMBERED
    assert rates.wait(str(REMEMBERED + 499)) == 1


# --- guessing ids -----------------------------------------------------------------------------------------------------


@pytest.mark.attack("Ids tried one after the other", "404 each, and one warning in a window")
async def test_many_unknown_ids_of_one_client_are_an_alarm_once_in_a_window() -> None:
    clock = Time()
    door = Door(enumeration=Enumeration(5, 60, clock))
    async with service(archive(), door=door) as at:
        door.log = at.telemetry.log
        for number in range(4):
            assert (await ask(at, f"/R4/Binary/guess-{number}")).status == 404
        assert (await ask(at, "/R4/Binary/a")).status == 200
        assert (await ask(at, "/elsewhere")).status == 404
        await at.lines(6)
        assert "do not exist" not in at.log.getvalue()
        for number in range(8):
            await ask(at, f"/R4/Binary/more-{number}")
        (line,) = await at.events("one client asks for many ids that do not exist")
        assert (line["level"], line["client"]) == ("warning", "127.0.0.1")
        clock.now += 60
        for number in range(5):
            await ask(at, f"/R4/Binary/later-{number}")
        assert len(await at.events("one client asks for many ids that do not exist", 2)) == 2
        assert "guess" not in at.log.getvalue()


class Known:
    """Everybody is this caller."""

    def __init__(self, subject: str, client: str) -> None:
        self.identity = Identity(subject, client, frozenset({"system/*.read"}), method="jwt")

    async def identify(self, request: web.BaseRequest, interaction: Interaction) -> Identity:
        return self.identity


@pytest.mark.parametrize("client", ["pas-prod", "sub-of-a-person"])
async def test_the_alarm_names_programs_and_leads_to_people_by_the_trail_alone(client: str) -> None:
    door = Door(
        authentication=Authentication([Known("sub-of-a-person", client)]), enumeration=Enumeration(2, 60, Time())
    )
    async with service(archive(), door=door) as at:
        door.log = at.telemetry.log
        for number in range(2):
            await at.ask(f"/R4/Binary/guess-{number}", X_Request_Id=f"request-{number}")
        (line,) = await at.events("one client asks for many ids that do not exist")
        assert (line["client"], line["request_id"]) == ("pas-prod" if client == "pas-prod" else "", "request-1")
        assert "sub-of-a-person" not in at.log.getvalue()


# --- pages of other origins -------------------------------------------------------------------------------------------


def preflight(target: str = "/R4/Binary/a", *, method: str = "GET", origin: str = ORIGIN) -> bytes:
    fields = (
        ("Origin", origin),
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", "authorization"),
    )
    return request(target, method="OPTIONS", fields=fields)


@pytest.fixture
def door() -> Door:
    return Door(authentication=Said(), cors=Cors([ORIGIN], max_age=600), rates=Rates(60, 1, Time()))


async def test_a_preflight_is_answered_before_anybody_is_asked_who_they_are(door: Door) -> None:
    async with service(archive(), door=door) as at, connect(at.host, at.port) as connection:
        for target in ("/R4/Binary/a", "/R4/Binary/none", "/STU3/metadata"):
            await connection.send(preflight(target))
            answer = await connection.answer("OPTIONS")
            assert (answer.status, answer.body) == (204, b"")
            assert answer.field("Access-Control-Allow-Origin") == ORIGIN
            assert "GET" in (answer.field("Access-Control-Allow-Methods") or "")
            assert "Authorization" in (answer.field("Access-Control-Allow-Headers") or "")
            assert answer.field("Access-Control-Max-Age") == "600"
            assert answer.field("Access-Control-Allow-Credentials") is None
            assert answer.field("X-Content-Type-Options") == "nosniff"
            assert answer.field("Vary") == "Accept, Origin"


async def test_an_allowed_page_may_read_the_answer_errors_included(door: Door) -> None:
    async with service(archive(), door=door) as at:
        for target, who, status in (("a", "one", 200), ("none", "two", 404), ("a", "one", 429)):
            answer = await ask(at, f"/R4/Binary/{target}", Origin=ORIGIN, X_Who=who)
            assert answer.status == status
            assert answer.field("Access-Control-Allow-Origin") == ORIGIN
            assert "ETag" in (answer.field("Access-Control-Expose-Headers") or "")
            assert answer.field("Vary") == "Accept, Origin"


@pytest.mark.attack("A page of an origin that is nearly one on the list", "no permission to read; its preflight is 405")
@pytest.mark.parametrize(
    "origin",
    ["https://evil.test", "null", ORIGIN + ".evil.test", ORIGIN.upper(), "http://viewer.trust.test", ORIGIN + ":8443"],
)
async def test_a_page_that_is_not_on_the_list_learns_nothing(door: Door, origin: str) -> None:
    async with service(archive(), door=door) as at:
        answer = await ask(at, Origin=origin, X_Who="one")
        assert answer.field("Access-Control-Allow-Origin") is None
        assert answer.field("Vary") == "Accept, Origin"
        async with connect(at.host, at.port) as connection:
            await connection.send(preflight(origin=origin).replace(b"\r\n\r\n", b"\r\nX-Who: two\r\n\r\n"))
            answer = await connection.answer("OPTIONS")
        assert (answer.status, answer.field("Access-Control-Allow-Origin")) == (405, None)
        assert answer.json()["resourceType"] == "OperationOutcome"


async def test_options_that_is_no_preflight_is_a_method_like_any_other(door: Door) -> None:
    async with service(archive(), door=door) as at, connect(at.host, at.port) as connection:
        fields = (("Origin", ORIGIN), ("X-Who", "one"))
        await connection.send(request("/R4/Binary/a", method="OPTIONS", fields=fields))
        answer = await connection.answer("OPTIONS")
        assert (answer.status, answer.field("Allow")) == (405, "GET, HEAD")


async def test_without_origins_nothing_of_all_this_is_said() -> None:
    async with service(archive()) as at:
        answer = await ask(at, Origin=ORIGIN)
        assert answer.field("Vary") == "Accept"
        assert not any(name.lower().startswith("access-control") for name, _ in answer.fields)


# --- who is at the other end --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        (("10.0.0.7", 1), "10.0.0.7"),
        (("::ffff:10.0.0.7", 1, 0, 0), "10.0.0.7"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        ("", "unix"),
        (b"\0abstract", "unix"),
    ],
)
def test_a_peer_is_an_address_a_network_or_the_unix_socket(name: object, peer: str) -> None:
    assert peer_of(name) == peer


def peers() -> Iterator[tuple[tuple[str, ...], object, bool]]:
    names = (("10.0.0.7", 1), ("::ffff:10.0.0.7", 1, 0, 0), ("10.0.1.7", 1), ("::1", 1, 0, 0), "")
    wanted = {("10.0.0.0/24",): (1, 1, 0, 0, 0), ("::1",): (0, 0, 0, 1, 0), ("unix",): (0, 0, 0, 0, 1), (): (0,) * 5}
    for trusted, verdicts in wanted.items():
        yield from zip(itertools.repeat(trusted), names, map(bool, verdicts), strict=False)


@pytest.mark.parametrize(("trusted", "name", "verdict"), [*peers()])
def test_a_peer_is_trusted_when_it_is_named(trusted: tuple[str, ...], name: object, verdict: bool) -> None:
    assert (name in TrustedPeers(trusted)) is verdict
