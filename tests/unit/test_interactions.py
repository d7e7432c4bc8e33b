"""What a method and a raw target ask for: every form of path, however it is encoded, and nothing that raises."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import pytest

from gateway.fhir import Version
from gateway.protocol.interactions import Bases, Interaction, Kind

BASES = Bases({Version.STU3: "/STU3", Version.R4: "/R4"})

READ, VREAD, CAPABILITIES = Kind.READ, Kind.VREAD, Kind.CAPABILITIES
SEARCH, HISTORY, WRITE = Kind.SEARCH, Kind.HISTORY, Kind.WRITE
RESOURCE, PATH = Kind.UNKNOWN_RESOURCE, Kind.UNKNOWN_PATH

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "PROPFIND")


def asked(target: str, method: str = "GET", bases: Bases = BASES) -> Interaction:
    return bases.interaction(method, target)


# --- the paths -------------------------------------------------------------------------------------------------------

PATHS = {
    "/R4/Binary/abc": (READ, "abc", ""),
    "/R4/Binary/A-1.b": (READ, "A-1.b", ""),
    "/R4/Binary/metadata": (READ, "metadata", ""),
    "/R4/Binary/Binary": (READ, "Binary", ""),
    "/R4/Binary/.": (READ, ".", ""),
    "/R4/Binary/..": (READ, "..", ""),
    "/R4/Binary/abc/_history/1": (VREAD, "abc", "1"),
    "/R4/Binary/abc/_history/a.b-c": (VREAD, "abc", "a.b-c"),
    "/R4/metadata": (CAPABILITIES, "", ""),
    "/R4/Binary": (SEARCH, "", ""),
    "/R4/Binary/_search": (SEARCH, "", ""),
    "/R4/Binary/abc/_history": (HISTORY, "", ""),
    "/R4/Binary/_history": (HISTORY, "", ""),
    "/R4/Patient/1": (RESOURCE, "", ""),
    "/R4/Patient": (RESOURCE, "", ""),
    "/R4/DocumentReference/1/_history/2": (RESOURCE, "", ""),
    "/R4/Binary/abc/extra": (PATH, "", ""),
    "/R4/Binary/abc/": (PATH, "", ""),
    "/R4/Binary//abc": (PATH, "", ""),
    "/R4/Binary//_history/1": (PATH, "", ""),
    "/R4/Binary/abc/_history/": (PATH, "", ""),
    "/R4//Binary/abc": (PATH, "", ""),
    "/R4/metadata/": (PATH, "", ""),
    "/R4/binary/abc": (PATH, "", ""),
    "/R4/$export": (PATH, "", ""),
    "/R4/.well-known/smart-configuration": (Kind.SMART_CONFIGURATION, "", ""),
    "/R4/.well-known/smart-configuration/": (PATH, "", ""),
    "/R4/": (PATH, "", ""),
    "/R4": (PATH, "", ""),
}
"""Paths below a base: what GET asks for, with its id and version id where there are any."""


@pytest.mark.parametrize("path", PATHS)
def test_a_path_below_a_base(path: str) -> None:
    kind, id, version_id = PATHS[path]
    for base, version in (("/R4", Version.R4), ("/STU3", Version.STU3)):
        for method in ("GET", "HEAD"):
            found = asked(path.replace("/R4", base), method)
            assert (found.kind, found.version, found.base) == (kind, version, base)
            if kind in (READ, VREAD):
                assert (found.id, found.version_id) == (id, version_id)


@pytest.mark.requirement("FR-02")
@pytest.mark.parametrize(
    "path", ["/r4/Binary/abc", "/R4x/Binary/abc", "/Binary/abc", "/", "", "*", "/stu3/metadata", "/R5/x"]
)
def test_a_path_outside_every_base(path: str) -> None:
    found = asked(path)
    assert (found.kind, found.version, found.base) == (PATH, None, "")


@pytest.mark.requirement("FR-35")
@pytest.mark.parametrize("method", [method for method in METHODS if method not in ("GET", "HEAD")])
@pytest.mark.parametrize("path", ["/R4/Binary/abc", "/R4/Binary/abc/_history/1", "/R4/metadata"])
def test_everything_but_get_and_head_is_a_write_and_is_told_what_is_allowed(path: str, method: str) -> None:
    found = asked(path, method)
    assert (found.kind, found.allow) == (WRITE, "GET, HEAD")


@pytest.mark.requirement("CC-24", "FR-37")
def test_a_search_is_a_search_however_it_is_sent() -> None:
    assert asked("/R4/Binary?patient=1").kind is SEARCH
    assert asked("/R4/Binary/_search?patient=1").kind is SEARCH
    assert asked("/R4/Binary/_search", "POST").kind is SEARCH
    assert asked("/R4/Binary", "POST").kind is WRITE, "a create"


def test_a_batch_is_a_write() -> None:
    assert asked("/R4/", "POST").kind is WRITE


# --- bases -----------------------------------------------------------------------------------------------------------


def test_a_base_may_be_the_root_and_the_longest_one_that_fits_decides() -> None:
    bases = Bases({Version.R4: "", Version.STU3: "/fhir/STU3"})
    assert asked("/Binary/abc", bases=bases).version is Version.R4
    assert asked("/fhir/STU3/Binary/abc", bases=bases).version is Version.STU3
    assert asked("/metadata", bases=bases).kind is CAPABILITIES
    nested = Bases({Version.R4: "/fhir", Version.STU3: "/fhir/STU3"})
    assert (asked("/fhir/STU3/Binary/a", bases=nested).version, asked("/fhir/STU3/Binary/a", bases=nested).kind) == (
        Version.STU3,
        READ,
    )


# --- encodings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("segment", "id"),
    [
        ("a%62c", "abc"),
        ("%61%62%63", "abc"),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("..%2F..%2Fetc%2Fpasswd", "../../etc/passwd"),
        ("%2e%2e", ".."),
        ("%2E", "."),
        ("%00", "\0"),
        ("a%00b", "a\0b"),
        ("%252e", "%2e"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("%C3%A9", "é"),
        ("%", "%"),
        ("%zz", "%zz"),
        ("a%5Cb", "a\\b"),
    ],
)
def test_a_segment_is_decoded_once_and_never_becomes_two(segment: str, id: str) -> None:
    assert asked(f"/R4/Binary/{segment}").kind is READ
    assert asked(f"/R4/Binary/{segment}").id == id
    versioned = asked(f"/R4/Binary/abc/_history/{segment}")
    assert (versioned.kind, versioned.id, versioned.version_id) == (VREAD, "abc", id)


def test_encoded_names_are_the_names() -> None:
    assert asked("/R4/%42inary/abc").kind is READ
    assert asked("/R4/m%65tadata").kind is CAPABILITIES
    assert asked("/R4/Binary/%5Fsearch").kind is SEARCH
    assert asked("/R4/Binary%2Fabc").kind is PATH


@pytest.mark.parametrize("raw", ["%ff", "%C3", "%ed%a0%80", "a%80b"])
def test_bytes_that_are_not_utf_8_can_be_in_no_id(raw: str) -> None:
    found = asked(f"/R4/Binary/{raw}")
    assert found.kind is READ
    assert "\ufffd" in found.id
    found.id.encode()


# --- query and absolute form -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "query"),
    [
        ("/R4/Binary/abc?_format=json", "_format=json"),
        ("/R4/Binary/abc?", ""),
        ("/R4/Binary/abc?a=/Binary/other", "a=/Binary/other"),
        ("/R4/Binary/abc?a?b", "a?b"),
        ("/R4/Binary/abc?a%3Fb", "a%3Fb"),
        ("/R4/Binary/abc?://x/y", "://x/y"),
    ],
)
def test_the_query_is_kept_as_it_came_and_moves_no_path(target: str, query: str) -> None:
    found = asked(target)
    assert (found.kind, found.id, found.query) == (READ, "abc", query)


@pytest.mark.requirement("CC-34")
def test_an_empty_query_is_none() -> None:
    assert asked("/STU3/metadata?").kind is CAPABILITIES


@pytest.mark.requirement("FR-07")
@pytest.mark.parametrize("start", ["http://host", "https://host:8443", "http://[::1]:80", "HTTP://other.example"])
def test_the_absolute_form_is_the_same_request(start: str) -> None:
    found = asked(f"{start}/R4/Binary/abc?_format=json")
    assert (found.kind, found.id, found.version, found.query) == (READ, "abc", Version.R4, "_format=json")


@pytest.mark.parametrize("target", ["http://host", "http://host?/R4/Binary/abc", "host/R4/Binary/abc", "R4/Binary/abc"])
def test_what_has_no_path_asks_for_nothing(target: str) -> None:
    assert asked(target).kind is PATH


# --- whatever comes --------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=60)
PIECES = st.sampled_from(
    [
        "/",
        "/R4",
        "/STU3",
        "Binary",
        "metadata",
        "_history",
        "_search",
        "%2F",
        "%2e%2e",
        "%",
        "?",
        "#",
        "://",
        "..",
        "a",
        "\udcff",
        "é",
    ]
)
TARGETS = TEXT | st.lists(PIECES | TEXT, max_size=12).map("".join)


@hypothesis.given(method=st.sampled_from(METHODS) | TEXT, target=TARGETS)
def test_no_target_raises_and_what_is_read_has_an_id(method: str, target: str) -> None:
    found = asked(target, method)
    assert (found.kind in (READ, VREAD, CAPABILITIES)) <= (method in ("GET", "HEAD"))
    assert (found.kind in (READ, VREAD)) <= bool(found.id)
    assert (found.kind is VREAD) <= bool(found.version_id)
    assert (found.version is None) == (found.base == "")
    assert bool(found.allow) <= (found.allow == "GET, HEAD")


@hypothesis.given(id=st.from_regex(r"\A[A-Za-z0-9\-.]{1,64}\Z"), version=st.sampled_from(list(Version)))
def test_every_id_is_read_as_it_is(id: str, version: Version) -> None:
    found = asked(f"/{version.name}/Binary/{id}")
    assert (found.kind, found.id, found.version) == (READ, id, version)
    encoded = "".join(f"%{ord(letter):02X}" for letter in id)
    assert asked(f"/{version.name}/Binary/{encoded}").id == id
