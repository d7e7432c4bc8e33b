"""What the failures of services mean to a reader: registry error codes, HTTP statuses, SOAP faults, broken connections."""

from __future__ import annotations

import ssl

import aiohttp
import pytest

from adapters.errors import (
    AccessDenied,
    AdapterError,
    Busy,
    Corrupt,
    CredentialsRejected,
    Deleted,
    NotFound,
    TimedOut,
    Unavailable,
)
from adapters.xds.failures import attributed, broken_off, refused_by_fault, refused_by_status, unreached
from adapters.xds.outcome import deciding, misconfigured, refused
from adapters.xds.retrieval_errors import RegistryError
from adapters.xds.soap import Fault

PATIENT = "Mary Smith 9990000018"


def error(code: str, *, warning: bool = False) -> RegistryError:
    return RegistryError(code, warning, PATIENT, PATIENT)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("XDSDocumentUniqueIdError", NotFound),
        ("XDSMissingDocument", NotFound),
        ("XDSUnknownRepositoryId", Unavailable),
        ("XDSRepositoryWrongRepositoryUniqueId", Unavailable),
        ("XDSUnknownCommunity", Unavailable),
        ("XDSRepositoryBusy", Busy),
        ("XDSRepositoryOutOfResources", Busy),
        ("XDSRegistryBusy", Busy),
        ("XDSRegistryOutOfResources", Busy),
        ("XDSUnavailableCommunity", Unavailable),
        ("XDSRegistryNotAvailable", Unavailable),
        ("XDSRepositoryError", Corrupt),
        ("XDSRegistryError", Corrupt),
        ("XDSResultNotSinglePatient", Corrupt),
        ("XDSMissingHomeCommunityId", Corrupt),
        ("XDSSqlError", Corrupt),
        ("unreadable", Corrupt),
    ],
)
def test_every_code_has_one_meaning_and_is_told(code: str, kind: type[AdapterError]) -> None:
    meant = refused("Failure", [error(code)], deferred=False, corrections={})
    assert type(meant) is kind
    assert code in meant.detail
    assert PATIENT not in meant.detail
    assert (meant.retry_after is not None) == (kind is Busy)


@pytest.mark.parametrize(
    ("meaning", "kind"),
    [
        ("not_found", NotFound),
        ("deleted", Deleted),
        ("denied", AccessDenied),
        ("busy", Busy),
        ("unavailable", Unavailable),
        ("failed", Corrupt),
    ],
)
def test_a_site_may_say_what_its_codes_mean(meaning: str, kind: type[AdapterError]) -> None:
    corrections = {"XDSRepositoryError": meaning}
    meant = refused("Failure", [error("XDSRepositoryError")], deferred=False, corrections=corrections)  # type: ignore[arg-type]
    assert type(meant) is kind


def test_a_correction_hides_the_cure_for_a_code_it_explains() -> None:
    meant = refused(
        "Failure", [error("XDSUnknownCommunity")], deferred=False, corrections={"XDSUnknownCommunity": "busy"}
    )
    assert "home_community_id" not in meant.detail


def test_errors_decide_before_warnings_and_the_first_of_them() -> None:
    errors = [error("XDSRepositoryBusy", warning=True), error("XDSDocumentUniqueIdError"), error("XDSRepositoryError")]
    cause = deciding(errors)
    assert cause is not None
    assert cause.code == "XDSDocumentUniqueIdError"
    assert isinstance(refused("Success", errors, deferred=False, corrections={}), NotFound)
    assert isinstance(refused("Success", errors[:1], deferred=False, corrections={}), Busy)


@pytest.mark.parametrize("status", ["Success", "Failure", None])
def test_nothing_at_all_is_not_a_missing_document(status: str | None) -> None:
    assert type(refused(status, [], deferred=False, corrections={})) is Corrupt


def test_a_deferred_document_is_asked_for_later() -> None:
    meant = refused("PartialSuccess", [], deferred=True, corrections={})
    assert isinstance(meant, Busy)
    assert meant.retry_after == 60


def test_codes_that_tell_of_the_configuration() -> None:
    assert "repository_unique_ids" in str(misconfigured("XDSUnknownRepositoryId"))
    assert "home_community_id" in str(misconfigured("XDSUnknownCommunity"))
    assert misconfigured("XDSDocumentUniqueIdError") is None


# --- HTTP ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (302, Unavailable, "correct `url`"),
        (400, Corrupt, "outside SOAP"),
        (401, CredentialsRejected, "saml.assertion_file"),
        (403, AccessDenied, "allowed"),
        (404, Unavailable, "no service at this path"),
        (405, Unavailable, "correct `url`"),
        (408, TimedOut, "waited too long"),
        (410, Unavailable, "correct `url`"),
        (415, Unavailable, "request_encoding"),
        (429, Busy, "come back later"),
        (500, Corrupt, "outside SOAP"),
        (502, Unavailable, "cannot reach the service"),
        (503, Busy, "come back later"),
        (504, TimedOut, "waited too long"),
        (599, Corrupt, "outside SOAP"),
    ],
)
def test_what_a_status_says(status: int, kind: type[AdapterError], words: str) -> None:
    meant = refused_by_status(status, PATIENT.encode(), retry_after=None, presenting=False)
    assert meant is not None
    assert type(meant) is kind
    assert words in meant.detail
    assert f"HTTP {status}" in meant.detail
    assert PATIENT not in meant.detail


@pytest.mark.parametrize("status", [200, 202, 206])
def test_a_status_of_success_says_nothing(status: int) -> None:
    assert refused_by_status(status, b"", retry_after=None, presenting=False) is None


def test_no_status_means_that_a_document_is_missing() -> None:
    for status in range(300, 600):
        meant = refused_by_status(status, b"", retry_after=None, presenting=False)
        assert not isinstance(meant, NotFound)


def test_a_wait_is_passed_on() -> None:
    meant = refused_by_status(503, b"", retry_after=7.0, presenting=False)
    assert meant is not None
    assert meant.retry_after == 7


@pytest.mark.parametrize(
    "page", [b"<center>No required SSL certificate was sent</center>", b"<center>The SSL certificate error</center>"]
)
def test_a_proxy_that_misses_a_certificate_says_so_in_its_page(page: bytes) -> None:
    missing = refused_by_status(400, page, retry_after=None, presenting=False)
    refused_one = refused_by_status(400, page, retry_after=None, presenting=True)
    assert isinstance(missing, CredentialsRejected)
    assert "set `tls.certificate`" in missing.detail
    assert isinstance(refused_one, CredentialsRejected)
    assert "does not accept the client certificate" in refused_one.detail


# --- SOAP ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "InvalidSecurity",
        "InvalidSecurityToken",
        "FailedAuthentication",
        "FailedCheck",
        "SecurityTokenUnavailable",
        "MessageExpired",
    ],
)
def test_faults_of_security_are_about_the_gateways_own_credentials(code: str) -> None:
    for codes in ((code,), ("Sender", code)):
        meant = refused_by_fault(Fault("1.2", codes, PATIENT))
        assert isinstance(meant, CredentialsRejected)
        assert "saml.assertion_file" in meant.detail
        assert PATIENT not in meant.detail


@pytest.mark.parametrize(
    "fault",
    [
        Fault("1.2", ("Sender", "ActionNotSupported")),
        Fault("1.1", ("DestinationUnreachable",)),
        Fault(
            "1.2", ("Sender",), "Unexpected wrapper element {urn:ihe:iti:xds-b:2007}RetrieveDocumentSetRequest found."
        ),
        Fault("1.1", ("Client",), "Message part {..}Y was not recognized.  (Does it exist in service WSDL?)"),
        Fault(
            "1.2",
            ("Receiver",),
            "The endpoint reference (EPR) for the Operation not found is /x and the WSA Action = y",
        ),
        Fault("1.1", ("Client",), "Cannot find dispatch method for {urn:x}Y"),
        Fault("1.2", ("Sender",), "due to a ContractFilter mismatch at the EndpointDispatcher"),
        Fault("1.1", ("Server",), "No endpoint mapping found for [X]"),
    ],
)
def test_faults_that_mean_the_wrong_service(fault: Fault) -> None:
    meant = refused_by_fault(fault)
    assert type(meant) is Corrupt
    assert "`url` is that of another service, a registry's" in meant.detail


def test_an_assertion_that_is_not_understood_names_its_option() -> None:
    meant = refused_by_fault(Fault("1.2", ("MustUnderstand",), not_understood=("{x}Security",)))
    assert type(meant) is Corrupt
    assert "remove `saml`" in meant.detail


@pytest.mark.parametrize("code", ["MessageAddressingHeaderRequired", "InvalidAddressingHeader"])
def test_faults_about_addressing_name_its_options(code: str) -> None:
    meant = refused_by_fault(Fault("1.2", ("Sender", code)))
    assert type(meant) is Corrupt
    assert "correct `ws_addressing`" in meant.detail


@pytest.mark.parametrize(
    "fault",
    [Fault("1.2", ("MustUnderstand",)), Fault("1.2", ("Sender",), not_understood=("{x}Action",))],
)
def test_headers_that_are_not_understood_name_the_switches(fault: Fault) -> None:
    meant = refused_by_fault(fault)
    assert type(meant) is Corrupt
    assert "`must_understand: false`" in meant.detail
    assert "`ws_addressing`" in meant.detail


@pytest.mark.parametrize("codes", [("Receiver",), ("Server",), ("Sender", "SomethingOfAVendor"), ()])
def test_any_other_fault_is_a_failure_and_never_a_missing_document(codes: tuple[str, ...]) -> None:
    meant = refused_by_fault(Fault("1.2", codes, "no such document"))
    assert type(meant) is Corrupt
    assert "no such document" not in meant.detail


# --- connections ---------------------------------------------------------------------------------------------------


def tls(reason: str) -> ssl.SSLError:
    return ssl.SSLError(1, f"[SSL: {reason}] something (_ssl.c:1006)")


def wrapped(cause: Exception) -> aiohttp.ClientOSError:
    """As aiohttp tells of an error in the transport."""
    error = aiohttp.ClientOSError(*cause.args)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), CredentialsRejected, "set `tls.certificate`"),
        (tls("SSLV3_ALERT_HANDSHAKE_FAILURE"), CredentialsRejected, "set `tls.certificate`"),
        (tls("TLSV1_ALERT_UNKNOWN_CA"), CredentialsRejected, "set `tls.certificate`"),
        (tls("WRONG_VERSION_NUMBER"), Unavailable, "does not speak TLS"),
        (tls("TLSV1_ALERT_PROTOCOL_VERSION"), Unavailable, "TLS from 1.2"),
        (tls("SOMETHING_NEW"), Unavailable, "server's own log"),
        (ConnectionRefusedError(111, "refused"), Unavailable, "nothing answers at this address"),
        (OSError(113, "no route"), Unavailable, "no way to this address"),
        (ConnectionResetError(104, "reset"), Unavailable, "set `tls.certificate`"),
    ],
)
def test_why_a_connection_could_not_be_made(cause: Exception, kind: type[AdapterError], words: str) -> None:
    meant = unreached(wrapped(cause), secure=True, presenting=False)
    assert type(meant) is kind
    assert words in meant.detail


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("TLSV1_ALERT_UNKNOWN_CA", "does not know who issued the client certificate"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "has expired"),
        ("SSLV3_ALERT_CERTIFICATE_REVOKED", "was revoked"),
        ("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "none for clients"),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "does not accept the client certificate"),
    ],
)
def test_a_certificate_that_is_not_accepted(reason: str, words: str) -> None:
    meant = unreached(wrapped(tls(reason)), secure=True, presenting=True)
    assert isinstance(meant, CredentialsRejected)
    assert words in meant.detail
    assert "`tls.certificate`" in meant.detail


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (10, "has expired"),
        (9, "not valid yet"),
        (62, "another name"),
        (64, "another address"),
        (20, "`tls.ca`"),
        (18, "`tls.ca`"),
    ],
)
def test_why_a_server_is_not_trusted(code: int, words: str) -> None:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_code = code
    meant = unreached(wrapped(cause), secure=True, presenting=True)
    assert type(meant) is Unavailable
    assert words in meant.detail


def test_waits_name_the_option_they_are_under() -> None:
    assert "timeouts.connect" in unreached(aiohttp.ConnectionTimeoutError(), secure=True, presenting=False).detail
    assert "timeouts.between_bytes" in broken_off(TimeoutError()).detail
    assert isinstance(broken_off(aiohttp.ClientPayloadError()), Unavailable)


def test_an_error_says_where_it_came_from_once() -> None:
    with pytest.raises(Busy) as raised:
        with attributed("endpoint a"):
            raise Busy("too much to do", retry_after=3)
    assert str(raised.value) == raised.value.detail == "endpoint a: too much to do"
    assert raised.value.retry_after == 3


def test_a_readers_error_passes_unchanged() -> None:
    thrown = KeyError("reader")
    with pytest.raises(KeyError) as raised:
        with attributed("endpoint a"):
            raise thrown
    assert raised.value is thrown
