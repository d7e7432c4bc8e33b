"""What an NTSTATUS means to a reader. "There is none" is said only when the server looked and found none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import errors
from adapters.errors import (
    AccessDenied,
    AdapterError,
    Busy,
    Changed,
    Corrupt,
    CredentialsRejected,
    InvalidLocator,
    NotFound,
    TimedOut,
    Unavailable,
    Unsupported,
)
from adapters.smb.failures import Lost, Refused, Unconnected, Untrusted, broken_read, ends_session, meaning, no_answer
from adapters.smb.wire import status as nt

STATUSES = {name: code for name, code in vars(nt).items() if name.startswith("STATUS_")}

SAID = {
    NotFound: "OBJECT_NAME_NOT_FOUND OBJECT_PATH_NOT_FOUND NO_SUCH_FILE NOT_A_DIRECTORY DELETE_PENDING FILE_DELETED "
    "FILE_IS_A_DIRECTORY",
    InvalidLocator: "OBJECT_NAME_INVALID OBJECT_PATH_INVALID OBJECT_PATH_SYNTAX_BAD NAME_TOO_LONG STOPPED_ON_SYMLINK",
    AccessDenied: "ACCESS_DENIED NETWORK_ACCESS_DENIED PRIVILEGE_NOT_HELD VIRUS_INFECTED VIRUS_DELETED",
    CredentialsRejected: "LOGON_FAILURE WRONG_PASSWORD NO_SUCH_USER NO_SUCH_LOGON_SESSION PASSWORD_EXPIRED "
    "PASSWORD_MUST_CHANGE ACCOUNT_DISABLED ACCOUNT_EXPIRED ACCOUNT_LOCKED_OUT ACCOUNT_RESTRICTION INVALID_LOGON_HOURS "
    "INVALID_WORKSTATION LOGON_TYPE_NOT_GRANTED TIME_DIFFERENCE_AT_DC",
    Busy: "SHARING_VIOLATION FILE_LOCK_CONFLICT LOCK_NOT_GRANTED TOO_MANY_OPENED_FILES TOO_MANY_SESSIONS "
    "REQUEST_NOT_ACCEPTED INSUFFICIENT_RESOURCES INSUFF_SERVER_RESOURCES NO_MEMORY NETWORK_BUSY SHARING_PAUSED RETRY "
    "FILE_IS_OFFLINE FILE_NOT_AVAILABLE",
    TimedOut: "IO_TIMEOUT",
    Corrupt: "FILE_CORRUPT_ERROR DISK_CORRUPT_ERROR CRC_ERROR DATA_ERROR DEVICE_DATA_ERROR END_OF_FILE",
    Unsupported: "IO_REPARSE_TAG_NOT_HANDLED IO_REPARSE_TAG_INVALID IO_REPARSE_TAG_MISMATCH IO_REPARSE_DATA_INVALID "
    "REPARSE_POINT_NOT_RESOLVED NOT_SUPPORTED NOT_IMPLEMENTED",
    # These at least; what no table knows comes out the same.
    Unavailable: "BAD_NETWORK_NAME NETWORK_NAME_DELETED USER_SESSION_DELETED NETWORK_SESSION_EXPIRED NO_LOGON_SERVERS "
    "TRUSTED_RELATIONSHIP_FAILURE FILE_CLOSED VOLUME_DISMOUNTED DEVICE_NOT_READY SERVER_UNAVAILABLE NOT_FOUND CANCELLED "
    "UNSUCCESSFUL INVALID_PARAMETER INTERNAL_ERROR PATH_NOT_COVERED BAD_NETWORK_PATH",
}
KINDS = {f"STATUS_{name}": kind for kind, names in SAID.items() for name in names.split()}


@pytest.mark.parametrize("name", sorted(STATUSES))
def test_each_status_says_one_thing(name: str) -> None:
    error = meaning(Refused(STATUSES[name], "fake"), "open the document")
    assert type(error) is KINDS.get(name, Unavailable)
    assert name in error.detail
    assert error.detail.startswith("could not open the document: ")
    assert not error.exhausted


@pytest.mark.parametrize("name", sorted(name for name, kind in KINDS.items() if kind is CredentialsRejected))
def test_each_trouble_with_the_account_has_words_of_its_own(name: str) -> None:
    words = meaning(Refused(STATUSES[name], "fake"), "connect to the share").detail
    others = [
        meaning(Refused(STATUSES[other], "fake"), "connect to the share").detail
        for other, kind in KINDS.items()
        if kind is CredentialsRejected and other != name
    ]
    assert words.partition(" (")[0] not in [other.partition(" (")[0] for other in others]


@given(st.integers(0, 0xFFFFFFFF))
def test_an_unknown_status_is_never_not_found(status: int) -> None:
    error = meaning(Refused(status, "fake"), "open the document")
    if status not in STATUSES.values():
        assert type(error) is Unavailable
        assert f"0x{status:08X}" in error.detail


@pytest.mark.parametrize("status", sorted(STATUSES.values()))
def test_a_busy_server_says_when_to_come_back(status: int) -> None:
    error = meaning(Refused(status, "fake"), "open the document")
    assert (error.retry_after is not None) == isinstance(error, Busy)
    if status in (nt.STATUS_FILE_IS_OFFLINE, nt.STATUS_FILE_NOT_AVAILABLE):
        other = meaning(Refused(nt.STATUS_SHARING_VIOLATION, "fake"), "open the document")
        assert (error.retry_after or 0) > (other.retry_after or 0)


@pytest.mark.parametrize("status", sorted(STATUSES.values()))
def test_what_breaks_a_body_is_of_the_kinds_that_may(status: int) -> None:
    error = broken_read(Refused(status, "fake"))
    assert isinstance(error, Changed | Corrupt | Unavailable | TimedOut)


@pytest.mark.parametrize("status", sorted(STATUSES.values()))
def test_a_refused_connection_says_nothing_of_a_document(status: int) -> None:
    for error in (
        no_answer(Refused(status, "fake"), "open the source's folder"),
        meaning(Unconnected(status, "fake"), "open the document"),
        broken_read(Unconnected(status, "fake")),
    ):
        assert isinstance(error, AccessDenied | CredentialsRejected | Unavailable | TimedOut)
    assert "document" not in meaning(Unconnected(nt.STATUS_ACCESS_DENIED, "fake"), "open the document").detail


def test_a_lost_connection_is_unavailable_and_one_that_lied_is_corrupt() -> None:
    assert type(meaning(Lost("the server went away"), "open the document")) is Unavailable
    assert type(meaning(Untrusted("a READ reply without data"), "open the document")) is Corrupt
    assert type(broken_read(Lost("x"))) is Unavailable
    assert type(broken_read(Untrusted("x"))) is Corrupt
    assert type(no_answer(Untrusted("x"), "connect")) is Unavailable
    assert "the server went away" in meaning(Lost("the server went away"), "open the document").detail


@pytest.mark.parametrize("error", [Refused(nt.STATUS_ACCESS_DENIED, "fake"), Lost("x"), Untrusted("x")])
def test_what_was_tried_twice_says_so(error: Refused | Lost) -> None:
    error.again = True
    assert meaning(error, "open the document").exhausted
    assert no_answer(error, "open the document").exhausted


def test_a_connection_ends_with_its_session_and_with_nothing_less() -> None:
    ending = {name.removeprefix("STATUS_") for name, code in STATUSES.items() if ends_session(code)}
    assert ending == {
        "USER_SESSION_DELETED",
        "NETWORK_SESSION_EXPIRED",
        "NETWORK_NAME_DELETED",
        "CONNECTION_DISCONNECTED",
        "CONNECTION_RESET",
        "CONNECTION_ABORTED",
        "SHARE_UNAVAILABLE",
    }


def test_the_words_are_for_operators() -> None:
    for name, kind in KINDS.items():
        said = meaning(Refused(STATUSES[name], "fake"), "open the document")
        assert isinstance(said, AdapterError)
        assert issubclass(kind, errors.AdapterError)
        assert re.fullmatch(r"could not open the document: [^\n]{10,200} \(STATUS_[A-Z_]+\)", said.detail)
