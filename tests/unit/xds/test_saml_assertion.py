"""The SAML assertion: read from a file that something else keeps fresh, passed on as it is, not sent when it has expired."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.contract import Services
from adapters.errors import CredentialsRejected
from adapters.testing.harness import RecordingLog
from adapters.xds.assertion import LARGEST, Assertion, AssertionFile

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
SAML = 'xmlns:s="urn:oasis:names:tc:SAML:2.0:assertion"'


def assertion(conditions: str = "", *, id: str = "_1") -> bytes:
    return f'<s:Assertion {SAML} ID="{id}">\n <s:Issuer>x</s:Issuer>{conditions}\n</s:Assertion>'.encode()


def limited(not_on_or_after: str, not_before: str = "2024-03-01T11:00:00Z", **more: str) -> bytes:
    return assertion(f'<s:Conditions NotBefore="{not_before}" NotOnOrAfter="{not_on_or_after}"/>', **more)


@pytest.mark.parametrize(
    "before", [b"", b"\xef\xbb\xbf", b"<?xml version='1.0'?>", b'\n<?xml version="1.0" encoding="utf-8"?>\r\n', b"\n  "]
)
def test_the_bytes_are_those_of_the_file_without_what_an_envelope_cannot_have(before: bytes) -> None:
    assert Assertion.parse(before + assertion() + b"\n\n").xml == assertion()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is empty"),
        (b"\n ", "is empty"),
        (b"<s:Assertion", "not well-formed"),
        (assertion() + assertion(), "not well-formed"),
        (b"<Assertion/>", "something else than one SAML 2.0 assertion"),
        (f"<x>{assertion().decode()}</x>".encode(), "something around it"),
        (assertion().replace(b"2.0", b"1.0"), "something else"),
        (b"<!DOCTYPE x>" + assertion(), "document type declaration"),
        (b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + assertion("&e;"), "document type declaration"),
        (b'<?xml version="1.0" encoding="iso-8859-1"?>' + assertion(), "not in UTF-8"),
        (assertion().replace(b"x<", b"\xe9<"), "not well-formed"),
    ],
)
def test_what_is_no_assertion_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Assertion.parse(raw)


@pytest.mark.parametrize(
    ("ends", "good"),
    [
        ("2024-03-01T12:00:01Z", True),
        ("2024-03-01T12:00:00Z", False),
        ("2024-03-01T12:00:00.001Z", True),
        ("2024-03-01T13:59:59+02:00", False),
        ("2024-03-01T14:00:01+02:00", True),
        ("2024-03-01T12:30:00", True),
        ("2024-03-01T12:00:00.1234567Z", True),
        ("9999-12-31T23:59:59-05:00", True),
        ("soon", True),
    ],
)
def test_the_end_of_validity(ends: str, good: bool) -> None:
    parsed = Assertion.parse(limited(ends))
    if good:
        parsed.refuse_outside(NOON)
    else:
        with pytest.raises(
            CredentialsRejected, match=r"expired at 2024-03-01 1.:..:.. UTC: put a fresh one into the file"
        ):
            parsed.refuse_outside(NOON)


def test_a_clock_that_is_a_little_behind_does_no_harm() -> None:
    Assertion.parse(limited("2024-03-02T00:00:00Z", "2024-03-01T12:04:59Z")).refuse_outside(NOON)
    with pytest.raises(CredentialsRejected, match="not good before 2024-03-01 12:06:00 UTC"):
        Assertion.parse(limited("2024-03-02T00:00:00Z", "2024-03-01T12:06:00Z")).refuse_outside(NOON)


def test_an_assertion_shows_nothing_of_itself() -> None:
    assert "Issuer" not in repr(Assertion.parse(assertion()))


# --- the file ------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def services() -> Iterator[Services]:
    with ThreadPoolExecutor(1) as executor:
        yield Services(executor=executor, log=RecordingLog(), clock=lambda: 0.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "assertion.xml"
    path.write_bytes(limited("2024-03-01T12:10:00Z"))
    return path


async def test_a_rotated_file_is_noticed_at_once(file: Path, services: Services) -> None:
    source = AssertionFile(file, services, now=Clock())
    assert await source.current() == limited("2024-03-01T12:10:00Z")
    fresh = file.with_suffix(".new")
    fresh.write_bytes(limited("2024-03-01T12:20:00Z"))
    os.replace(fresh, file)
    assert await source.current() == limited("2024-03-01T12:20:00Z")


async def test_half_a_file_leaves_the_assertion_from_before_in_use(file: Path, services: Services) -> None:
    clock = Clock()
    source = AssertionFile(file, services, now=clock)
    await source.current()
    file.write_bytes(limited("2024-03-01T12:20:00Z")[:40])
    for _ in range(3):
        assert await source.current() == limited("2024-03-01T12:10:00Z")
    assert isinstance(services.log, RecordingLog)
    assert len(services.log.lines) == 1
    assert "not well-formed" in services.log.lines[0]
    clock.now += timedelta(minutes=10)
    with pytest.raises(
        CredentialsRejected, match=r"`saml.assertion_file` is not well-formed XML: put a fresh assertion there"
    ):
        await source.current()


async def test_an_expired_assertion_is_not_sent(file: Path, services: Services) -> None:
    clock = Clock()
    source = AssertionFile(file, services, now=clock)
    clock.now += timedelta(minutes=10)
    with pytest.raises(CredentialsRejected, match="expired at 2024-03-01 12:10:00 UTC"):
        await source.current()


async def test_a_missing_file_says_which_option_names_it(tmp_path: Path, services: Services) -> None:
    source = AssertionFile(tmp_path / "secret-name.xml", services, now=Clock())
    with pytest.raises(
        CredentialsRejected, match=r"`saml.assertion_file` cannot be read \(FileNotFoundError\)"
    ) as refused:
        await source.current()
    assert "secret-name" not in refused.value.detail


async def test_a_huge_file_is_not_an_assertion(file: Path, services: Services) -> None:
    file.write_bytes(assertion(" " * LARGEST))
    with pytest.raises(CredentialsRejected, match="too long for an assertion"):
        await AssertionFile(file, services, now=Clock()).current()
