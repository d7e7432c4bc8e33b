"""Native bytes or envelope: every spelling of the question, and the one answer to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhir import Version
from gateway.protocol import negotiation
from gateway.protocol.negotiation import NATIVE, UNSUPPORTED, Choice, Envelope, Format, NotAcceptable, Reason
from gateway.protocol.profile import PROFILES, Profile

JSON, XML = Envelope(Format.JSON), Envelope(Format.XML)
REFUSED = NotAcceptable(406, Reason.ACCEPT)
CARE_CONNECT = PROFILES["care-connect"]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
HTTPURLCONNECTION = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"


def wish(
    accept: str | None = None,
    format: str | None = None,
    *,
    version: Version = Version.STU3,
    profile: Profile = CARE_CONNECT,
    content_type: str | None = None,
) -> negotiation.Wishes:
    return negotiation.parse(accept, format, version=version, profile=profile, content_type=content_type)


def chosen(
    accept: str | None, stored: str = "application/pdf", *, format: str | None = None, profile: Profile = CARE_CONNECT
) -> Choice:
    return negotiation.choose(wish(accept, format, profile=profile), stored)


# --- `_format` ---

XML_VALUES = ["xml", "text/xml", "application/xml", "application/fhir+xml", "application/xml+fhir"]
JSON_VALUES = ["json", "text/json", "application/json", "application/fhir+json", "application/json+fhir"]


@pytest.mark.requirement("FR-63", "FR-64", "FR-67", "FR-69", "CC-14")
@pytest.mark.parametrize("accept", [None, "*/*", "application/pdf", "application/fhir+xml", "application/fhir+json"])
@pytest.mark.parametrize(
    ("values", "envelope"), [(XML_VALUES, XML), (JSON_VALUES, JSON)], ids=["xml values", "json values"]
)
def test_format_means_a_fhir_format_and_beats_accept(accept: str | None, values: list[str], envelope: Envelope) -> None:
    for value in values:
        for spelling in (value, value.upper(), value.title(), f" {value} ", f"{value};charset=utf-8"):
            assert negotiation.format_of(spelling) is envelope.format
            assert chosen(accept, format=spelling) == envelope
            assert negotiation.certain(wish(accept, spelling)) == envelope


@pytest.mark.requirement("FR-71")
@pytest.mark.parametrize(
    "value", ["banana", "application/pdf", "ttl", "text/turtle", "html", "text/html", "*/*", "application/*",
              "x\x00\r\n", "fhir+json", "json,xml", "application/fhir json", "é"]
)  # fmt: skip
def test_a_format_that_is_none_is_refused_whatever_accept_says(value: str) -> None:
    unknown = NotAcceptable(406, Reason.FORMAT)
    assert negotiation.format_of(value) is UNSUPPORTED
    assert chosen("*/*", format=value) == chosen(None, format=value) == unknown
    assert negotiation.choose_fhir(wish("application/fhir+json", value)) == unknown


@pytest.mark.parametrize("value", ["", " ", ";charset=utf-8"])
def test_an_empty_format_asks_for_nothing(value: str) -> None:
    assert negotiation.format_of(value) is None
    assert chosen("application/fhir+xml", format=value) == XML
    assert chosen(None, format=value) is NATIVE


# --- Accept ---


@pytest.mark.requirement("FR-72")
@pytest.mark.parametrize(
    "accept", [None, "", " ", ",", ", ,", "banana", "banana, /, a/b/c, */pdf", "application/pdf;q=x"]
)
def test_without_a_readable_wish_the_document_is_sent_as_it_is(accept: str | None) -> None:
    wishes = wish(accept)
    assert negotiation.certain(wishes) is NATIVE
    assert not wishes.asked


@pytest.mark.requirement("CC-07", "FR-60", "FR-62", "FR-86")
@pytest.mark.parametrize(
    ("accept", "stored", "expected"),
    [
        ("*/*", "application/pdf", NATIVE),
        ("*", "application/pdf", NATIVE),
        ("application/pdf", "application/pdf", NATIVE),
        ("Application/PDF", "application/pdf", NATIVE),
        ("application/pdf", "Application/PDF ; a=b", NATIVE),
        ("application/pdf; fhirVersion=4.0", "application/pdf", NATIVE),
        ("text/plain;charset=utf-8", "text/plain;charset=windows-1252", NATIVE),
        ("image/*", "image/tiff", NATIVE),
        ("image/*", "application/pdf", REFUSED),
        ("application/*", "application/pdf", NATIVE),
        ("application/*", "image/tiff", REFUSED),
        ("image/png", "application/pdf", REFUSED),
        ("image/png, image/*;q=0.1", "image/tiff", NATIVE),
        ("image/png, *;q=.1", "application/pdf", NATIVE),
        ('image/png;x=", application/fhir+json, "', "application/pdf", REFUSED),
        ('image/png;x=", application/fhir+json', "application/pdf", REFUSED),
        ('image/png;x="\\", application/fhir+json, \\', "application/pdf", REFUSED),
        ("application/fhir+json", "application/pdf", JSON),
        ("application/fhir+JSON", "application/pdf", JSON),
        ("APPLICATION/FHIR+XML", "application/pdf", XML),
        ("application/json+fhir", "application/pdf", JSON),
        ("application/xml+fhir", "application/pdf", XML),
        ("application/fhir+json;charset=utf-8", "application/pdf", JSON),
        ("application/fhir+json; charset=utf-8; x=\"a, b; c\"", "application/pdf", JSON),
        ("application/fhir+json; charset = utf-8", "application/pdf", JSON),
        ("application/fhir+json;", "application/pdf", JSON),
        ("\tapplication/fhir+json ,", "application/pdf", JSON),
        ("application/fhir+turtle, text/turtle", "application/pdf", REFUSED),
    ],
)  # fmt: skip
def test_accept_is_matched_by_type(accept: str, stored: str, expected: Choice) -> None:
    assert chosen(accept, stored) == expected


@pytest.mark.requirement("FR-73", "FR-80")
@pytest.mark.parametrize(
    ("accept", "stored", "expected"),
    [
        ("application/fhir+json;q=0.5, application/fhir+xml", "application/pdf", XML),
        ("application/fhir+json;q=0.501, application/fhir+xml;q=0.5", "application/pdf", JSON),
        ("application/fhir+json;Q=0.1, application/fhir+xml; Q=0.2", "application/pdf", XML),
        ("application/fhir+json;level=1;q=0.1, application/fhir+xml;q=0.2", "application/pdf", XML),
        ("application/fhir+xml, application/fhir+json", "application/pdf", JSON),
        ("application/pdf;q=0.1, application/fhir+json", "application/pdf", JSON),
        ("application/pdf;q=0.1, application/fhir+json", "image/tiff", JSON),
        ("application/pdf, application/fhir+json", "application/pdf", NATIVE),
        ("application/fhir+json, application/pdf", "application/pdf", NATIVE),
        ("application/fhir+json, */*", "application/pdf", JSON),
        ("application/fhir+json;q=0.9, */*", "application/pdf", NATIVE),
        ("application/fhir+json, application/*", "application/pdf", JSON),
        ("application/fhir+json;q=0.9, */*;q=0.8", "application/pdf", JSON),
        ("application/pdf;v=1, application/pdf;v=2;q=0.1, application/fhir+json;q=0.5", "application/pdf", NATIVE),
        ("application/pdf;v=2;q=0.1, application/pdf;v=1, application/fhir+json;q=0.5", "application/pdf", NATIVE),
        ("application/pdf, application/fhir+json;q=2", "application/pdf", NATIVE),
        ("application/pdf;q=0", "application/pdf", REFUSED),
        ("application/pdf;q=0, */*", "application/pdf", REFUSED),
        ("application/pdf;q=0.000, */*", "image/tiff", NATIVE),
        ("application/*;q=0, */*", "application/pdf", REFUSED),
        ("application/*;q=0, application/pdf;q=0.1", "application/pdf", NATIVE),
        ("*/*;q=0", "application/pdf", REFUSED),
        ("*/*;q=0, application/fhir+xml", "application/pdf", XML),
        ("application/fhir+json;q=0", "application/pdf", REFUSED),
        ("application/fhir+json;q=0, */*;q=0.1", "application/pdf", NATIVE),
        ("application/pdf;q=0.2, image/*;q=0.8, */*;q=0.5, application/fhir+json;q=0.4", "application/pdf", JSON),
        ("application/pdf;q=0.2, image/*;q=0.8, */*;q=0.5, application/fhir+json;q=0.4", "image/tiff", NATIVE),
        ("application/pdf;q=0.2, image/*;q=0.8, */*;q=0.5, application/fhir+json;q=0.4", "text/rtf", NATIVE),
    ],
)
def test_the_highest_weight_of_the_most_specific_member_wins(accept: str, stored: str, expected: Choice) -> None:
    assert chosen(accept, stored) == expected


@pytest.mark.requirement("FR-74")
def test_weights_are_compared_with_those_of_native_types() -> None:
    assert chosen("application/pdf;q=1, application/fhir+json;q=0.1") is NATIVE


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ("1", JSON),
        ("1.0000", JSON),
        ("2", JSON),
        ("0.51", JSON),
        (".51", JSON),
        ("0.5000001", JSON),
        ("1.", JSON),
        ("0.49", NATIVE),
        ("0.", NATIVE),
        # Unreadable: the member is as if it were not there.
        ("", NATIVE),
        (".", NATIVE),
        ("-1", NATIVE),
        ("+1", NATIVE),
        ("1e3", NATIVE),
        ("nan", NATIVE),
        ("inf", NATIVE),
        ("high", NATIVE),
        ("0,9", NATIVE),
        ("1_0", NATIVE),
        ("١", NATIVE),
        ('"1"', NATIVE),
        ("9" * 5000, NATIVE),
    ],
)
def test_weights_are_read_leniently_or_their_member_is_skipped(weight: str, expected: Choice) -> None:
    assert chosen(f"application/fhir+json;q={weight}, application/pdf;q=0.5") == expected


@pytest.mark.requirement("FR-75")
@pytest.mark.parametrize(
    "stored", ["application/pdf", "text/html", "application/xml", "application/fhir+xml", "image/tiff"]
)
def test_a_browser_gets_the_document(stored: str) -> None:
    assert chosen(BROWSER, stored) is NATIVE
    assert negotiation.certain(wish(BROWSER)) is NATIVE
    assert chosen(HTTPURLCONNECTION, stored) is NATIVE


@pytest.mark.requirement("FR-76", "FR-79")
@pytest.mark.parametrize("generic", ["application/json", "text/json", "application/xml", "text/xml"])
def test_a_generic_type_means_a_document_of_that_type(generic: str) -> None:
    assert chosen(generic, generic) is NATIVE
    assert chosen(generic, "application/pdf") == REFUSED
    assert chosen(f"{generic}, */*;q=0.1", "application/pdf") is NATIVE


@pytest.mark.requirement("FR-77")
@pytest.mark.parametrize(
    "accept", ["application/fhir+json", "application/fhir+json, */*", "application/fhir+json;q=0.3"]
)
def test_a_fhir_type_gets_the_envelope_even_of_a_fhir_document(accept: str) -> None:
    assert chosen(accept, "application/fhir+json; fhirVersion=4.0") == JSON


def test_a_fhir_document_is_sent_as_it_is_to_those_who_name_no_fhir_type() -> None:
    for accept in (None, "*/*", "application/*", BROWSER):
        assert chosen(accept, "application/fhir+json") is NATIVE
    assert chosen("application/fhir+xml", "application/fhir+json") == XML
    assert chosen("*/*, application/fhir+json;q=0", "application/fhir+json") == REFUSED


# --- fhirVersion ---


@pytest.mark.requirement("FR-87", "FR-89")
@pytest.mark.parametrize(("version", "served"), [(Version.STU3, "3.0"), (Version.R4, "4.0")])
@pytest.mark.parametrize("asked", ["0.0", "1.0", "3.0", "4.0", "5.0", "banana"])
def test_fhir_version_must_be_that_of_the_base(version: Version, served: str, asked: str) -> None:
    refused = NotAcceptable(406, Reason.FHIR_VERSION)
    for spelling in (
        f";fhirVersion={asked}",
        f'; FHIRVERSION="{asked}"',
        f";charset=utf-8; fhirversion = {asked};q=0.9",
    ):
        for accept, format in ((f"application/fhir+json{spelling}", None), ("*/*", f"json{spelling}")):
            wishes = wish(accept, format, version=version)
            expected = JSON if asked == served else refused
            assert negotiation.choose(wishes, "application/pdf") == expected
            assert negotiation.choose_fhir(wishes) == (Format.JSON if asked == served else refused)


def test_a_member_with_another_version_leaves_the_others() -> None:
    assert chosen("application/fhir+json;fhirVersion=4.0, application/pdf;q=0.1") is NATIVE
    assert chosen("application/fhir+json;fhirVersion=4.0, application/fhir+xml;q=0.1") == XML
    assert chosen("application/fhir+json;fhirVersion=4.0, image/png") == NotAcceptable(406, Reason.FHIR_VERSION)
    assert chosen("application/fhir+json;fhirVersion=") == JSON


@pytest.mark.requirement("FR-88")
@pytest.mark.parametrize(
    ("accept", "format", "content_type"),
    [
        ("application/fhir+json;fhirVersion=3.0, application/fhir+xml;fhirVersion=4.0", None, None),
        ("application/fhir+json;fhirVersion=4.0", "json;fhirVersion=3.0", None),
        ("application/fhir+json;fhirVersion=3.0", None, "application/fhir+json; fhirVersion=4.0"),
    ],
)
def test_two_different_versions_are_a_bad_request(accept: str, format: str | None, content_type: str | None) -> None:
    wishes = wish(accept, format, content_type=content_type)
    bad = NotAcceptable(400, Reason.FHIR_VERSIONS_DIFFER)
    assert negotiation.choose(wishes, "application/pdf") == negotiation.choose_fhir(wishes) == bad


def test_versions_that_agree_or_belong_to_native_types_are_no_conflict() -> None:
    same = "application/fhir+json;fhirVersion=3.0, application/fhir+xml;fhirVersion=3.0;q=0.5"
    assert negotiation.choose(wish(same, content_type="application/fhir+json;fhirVersion=3.0"), "image/tiff") == JSON
    assert chosen("application/fhir+json;fhirVersion=3.0, application/pdf;fhirVersion=4.0") is NATIVE


# --- resources that only exist as FHIR, and errors ---


@pytest.mark.parametrize(
    ("accept", "format", "expected"),
    [
        (None, None, Format.JSON),
        ("*/*", None, Format.JSON),
        ("application/*", None, Format.JSON),
        ("application/fhir+xml", None, Format.XML),
        ("application/xml+fhir", None, Format.XML),
        ("application/json", None, Format.JSON),
        ("text/json", None, Format.JSON),
        ("application/xml", None, Format.XML),
        ("text/xml", None, Format.XML),
        (BROWSER, None, Format.XML),
        ("application/json;q=0.1, */*;q=0.5", None, Format.JSON),
        ("application/fhir+json;q=0.5, application/xml", None, Format.XML),
        ("application/fhir+json;q=0, */*", None, Format.XML),
        ("application/pdf, */*;q=0.1", None, Format.JSON),
        ("application/pdf", "xml", Format.XML),
        ("application/pdf", None, REFUSED),
        ("*/*;q=0", None, REFUSED),
        ("image/*", None, REFUSED),
    ],
)
def test_a_fhir_resource_is_offered_in_both_formats(
    accept: str | None, format: str | None, expected: Format | NotAcceptable
) -> None:
    assert negotiation.choose_fhir(wish(accept, format)) == expected


@pytest.mark.requirement("FR-151")
@pytest.mark.parametrize(
    ("accept", "format", "expected"),
    [
        (None, None, Format.JSON),
        ("*/*", None, Format.JSON),
        ("application/pdf", None, Format.JSON),
        ("banana", None, Format.JSON),
        (BROWSER, None, Format.JSON),
        ("application/fhir+xml", None, Format.XML),
        ("application/fhir+xml, */*", None, Format.XML),
        ("application/fhir+xml;q=0.5, application/fhir+json", None, Format.JSON),
        ("application/fhir+json;q=0.5, application/fhir+xml", None, Format.XML),
        ("application/fhir+xml, application/fhir+json", None, Format.JSON),
        ("application/xml", None, Format.XML),
        ("application/xml, application/pdf", None, Format.XML),
        ("text/xml;q=0.5, application/json;q=0.6", None, Format.JSON),
        ("application/fhir+json;q=0", None, Format.JSON),
        ("application/fhir+xml;q=0, application/xml;q=0", None, Format.JSON),
        ("application/fhir+json", "xml", Format.XML),
        ("application/fhir+xml", "banana", Format.XML),
        ("application/fhir+json", "banana", Format.JSON),
        ("application/fhir+xml;fhirVersion=4.0", None, Format.XML),
        (None, "xml;fhirVersion=4.0", Format.XML),
    ],
)
def test_errors_are_json_unless_xml_is_the_better_wish(
    accept: str | None, format: str | None, expected: Format
) -> None:
    assert negotiation.error_format(wish(accept, format)) is expected


@pytest.mark.requirement("FR-84")
def test_the_content_type_of_a_resource_states_utf8() -> None:
    assert Format.JSON.content_type(True) == "application/fhir+json;charset=utf-8"
    assert Format.XML.content_type(True) == "application/fhir+xml;charset=utf-8"
    assert Format.XML.content_type(False) == "application/fhir+xml"


# --- other profiles ---


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/fhir+json", JSON),
        ("application/fhir+xml", XML),
        ("application/fhir+xml, */*", XML),
        ("application/json", JSON),
        ("text/xml", XML),
        (BROWSER, XML),
        ("application/pdf", NotAcceptable(415, Reason.ACCEPT)),
        ("image/png", NotAcceptable(415, Reason.ACCEPT)),
    ],
)
def test_gp_connect_wraps_every_document(accept: str | None, expected: Choice) -> None:
    wishes = wish(accept, profile=PROFILES["gp-connect"])
    assert negotiation.certain(wishes) == negotiation.choose(wishes, "application/pdf") == expected


def test_gp_connect_answers_in_the_type_of_the_request_when_nothing_is_asked() -> None:
    gp_connect = PROFILES["gp-connect"]
    for content_type, expected in (("application/fhir+xml; charset=utf-8", XML), ("application/pdf", JSON), ("", JSON)):
        assert negotiation.choose(wish(profile=gp_connect, content_type=content_type), "image/tiff") == expected
    assert negotiation.choose(wish(content_type="application/fhir+xml"), "image/tiff") is NATIVE


@pytest.mark.parametrize(
    ("accept", "stored", "expected"),
    [
        (None, "application/pdf", NATIVE),
        ("*/*", "application/pdf", NATIVE),
        ("application/pdf", "application/pdf", NATIVE),
        ("application/fhir+json", "application/fhir+json", NATIVE),
        ("application/fhir+json", "application/pdf", NotAcceptable(415, Reason.ACCEPT)),
        ("image/png", "application/pdf", NotAcceptable(415, Reason.ACCEPT)),
    ],
)
def test_nrl_never_wraps(accept: str | None, stored: str, expected: Choice) -> None:
    nrl = PROFILES["nrl"]
    assert chosen(accept, stored, profile=nrl) == expected
    assert chosen(accept, stored, format="json", profile=nrl) == NotAcceptable(415, Reason.FORMAT)
    assert negotiation.choose_fhir(wish(accept, "xml", profile=nrl)) is Format.XML


@pytest.mark.parametrize("profile", [PROFILES["gp-connect"], PROFILES["nrl"], Profile(unknown_format=400)])
def test_the_status_of_an_unknown_format_is_the_profiles(profile: Profile) -> None:
    refused = chosen("*/*", format="banana", profile=profile)
    assert refused == NotAcceptable(profile.unknown_format, Reason.FORMAT)


def test_a_profile_may_send_the_document_to_those_who_named_other_types() -> None:
    lenient = Profile(other_type="native")
    assert chosen("image/png", profile=lenient) is NATIVE
    assert chosen("image/*", profile=lenient) is NATIVE
    assert chosen("application/json", profile=lenient) is NATIVE
    assert chosen("application/fhir+json", profile=lenient) == JSON
    assert chosen("application/pdf;q=0, image/png", profile=lenient) == REFUSED
    assert chosen("*/*;q=0, image/png", profile=lenient) == REFUSED
    assert chosen("image/png;q=0", profile=lenient) == REFUSED
    assert chosen("application/fhir+json;fhirVersion=4.0", profile=lenient) == NotAcceptable(406, Reason.FHIR_VERSION)


def test_a_wildcard_may_stand_for_the_envelope() -> None:
    wrapping = Profile(no_accept="envelope", any_type="envelope")
    assert chosen(None, profile=wrapping) == chosen("*/*", profile=wrapping) == JSON
    assert chosen("application/pdf, */*;q=0.1", profile=wrapping) is NATIVE
    assert chosen("image/*, */*;q=0.1", "image/tiff", profile=wrapping) is NATIVE
    assert chosen("application/*, image/png;q=0.9", "application/fhir+json", profile=wrapping) is NATIVE


# --- any Accept at all ---

TYPES = ["application/pdf", "image/tiff", "text/html", "application/json", "application/fhir+json",
         "application/fhir+xml", "application/json+fhir", "application/xml"]  # fmt: skip
WEIGHTS = [0, 0.1, 0.5, 0.9, 1]
members = st.lists(
    st.tuples(st.sampled_from([*TYPES, "application/*", "image/*", "*/*"]), st.sampled_from(WEIGHTS)),
    min_size=1,
    max_size=6,
    unique_by=lambda member: member[0],
)
VARIANTS = [*PROFILES.values(), Profile(other_type="native"), Profile(no_accept="envelope", any_type="envelope"),
            Profile(generic_type="envelope", fhir_stored="native")]  # fmt: skip


def written(wanted: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name};q={weight}" for name, weight in wanted)


def quality(wanted: dict[str, float], name: str) -> float:
    """RFC 9110 12.5.1, word for word."""
    for covering in (name, name.split("/")[0] + "/*", "*/*"):
        if covering in wanted:
            return wanted[covering]
    return 0


@given(members, st.sampled_from([*TYPES, "text/rtf"]))
def test_the_best_quality_is_served_and_refused_is_only_what_has_none(
    wanted: list[tuple[str, float]], stored: str
) -> None:
    by_name = dict(wanted)
    offered = {
        NATIVE: quality(by_name, stored),
        JSON: max(by_name.get(name, 0) for name in Format.JSON.names),
        XML: max(by_name.get(name, 0) for name in Format.XML.names),
    }
    choice = chosen(written(wanted), stored)
    best = max(offered.values())
    assert choice == REFUSED if best == 0 else offered[choice] == best  # type: ignore[index]


@given(members, st.sampled_from(VARIANTS))
def test_what_is_certain_holds_for_every_document_and_nothing_else_does(
    wanted: list[tuple[str, float]], profile: Profile
) -> None:
    wishes = wish(written(wanted), profile=profile)
    choices = {negotiation.choose(wishes, stored) for stored in [*TYPES, "text/rtf", "image/png", "application/zip"]}
    certain = negotiation.certain(wishes)
    assert choices == {certain} if certain is not None else len(choices) > 1


def test_a_long_accept_is_decided_by_the_document() -> None:
    accept = ", ".join(f"x/{number}" for number in range(2000)) + ", application/pdf;q=0.1"
    assert len(accept) > 8192
    assert negotiation.certain(wish(accept + ", */*")) is None, "looking at every kind would take too long"
    assert chosen(accept, "application/pdf") is NATIVE
    assert chosen(accept, "x/1999") is NATIVE
    assert chosen(accept, "image/tiff") == REFUSED
    assert chosen(accept + ",application/fhir+json", "application/pdf") == JSON


hostile = st.text() | st.text(alphabet='aJ/*;,="\\q01. \t+-é\x00\r\n\udcff')


@given(hostile, st.none() | hostile, st.none() | hostile, hostile, st.sampled_from(VARIANTS))
def test_no_text_raises(
    accept: str, format: str | None, content_type: str | None, stored: str, profile: Profile
) -> None:
    for field in (accept, f"application/fhir+json;{accept}", f"{accept},*/*;q={accept}"):
        wishes = wish(field, format, profile=profile, content_type=content_type)
        assert isinstance(negotiation.choose(wishes, stored), Choice)
        assert isinstance(negotiation.choose_fhir(wishes), Format | NotAcceptable)
        assert negotiation.error_format(wishes) in Format
