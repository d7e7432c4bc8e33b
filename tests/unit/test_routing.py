"""Ids to sources: what is an id, which source has it, and that nothing else gets near a scheme."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import NotFound
from gateway.routing import Location, Route, Router, Withdrawn, valid_id


class Recording:
    """A scheme that remembers what it was asked; it knows every id but "gone"."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.asked: list[str] = []

    async def locate(self, rest: str) -> Location:
        self.asked.append(rest)
        if rest == "gone":
            raise NotFound("gone")
        return Location(self.source, rest)


def routed(**prefixes: str) -> tuple[Router, dict[str, Recording]]:
    schemes = {source: Recording(source) for source in prefixes}
    return Router({source: Route(prefix, schemes[source]) for source, prefix in prefixes.items()}), schemes


@pytest.mark.requirement("FR-01")
@pytest.mark.parametrize("id", ["a", "A-1.b", "0", "-", "...", "a.", ".a", "x" * 64])
def test_ids_of_the_datatype_are_valid(id):
    assert valid_id(id)


@pytest.mark.requirement("FR-01", "FR-03", "FR-04")
@pytest.mark.parametrize(
    "id",
    [
        "",
        ".",
        "..",
        "x" * 65,
        "a_b",
        "a/b",
        "../a",
        "a b",
        "a\n",
        "\na",
        "a%2Fb",
        "a\0",
        "é",
        "١",
        "ａ",
        "a~",
        "\ud800",
    ],
)
async def test_what_is_not_an_id_is_not_found_and_reaches_no_scheme(id):
    router, schemes = routed(letters="")
    assert not valid_id(id)
    with pytest.raises(NotFound) as failure:
        await router.locate(id)
    assert schemes["letters"].asked == []
    assert len(id) < 3 or id not in failure.value.detail


@pytest.mark.requirement("FR-02")
async def test_upper_and_lower_case_are_different_ids():
    router, schemes = routed(lower="a.", upper="A.")
    assert (await router.locate("a.x")).source == "lower"
    assert (await router.locate("A.x")).source == "upper"
    assert schemes["lower"].asked == ["x"]
    with pytest.raises(NotFound):
        await routed(lower="a.")[0].locate("A.x")


@pytest.mark.parametrize(
    ("id", "source", "rest"),
    [
        ("s.1", "scans", "1"),
        ("s.old.1", "old", "1"),
        ("s.ol", "scans", "ol"),
        ("sx", "letters", "sx"),
        ("s", "letters", "s"),
        (".s.1", "letters", ".s.1"),
    ],
)
async def test_the_longest_prefix_decides(id, source, rest):
    router, schemes = routed(letters="", scans="s.", old="s.old.")
    assert await router.locate(id) == Location(source, rest)
    assert schemes[source].asked == [rest]


async def test_no_other_source_is_asked_when_the_longest_prefix_does_not_know_the_id():
    router, schemes = routed(letters="", scans="s.")
    with pytest.raises(NotFound):
        await router.locate("s.gone")
    assert schemes["letters"].asked == []


async def test_a_prefix_alone_is_not_found():
    router, schemes = routed(letters="", scans="s.")
    with pytest.raises(NotFound):
        await router.locate("s.")
    assert schemes["scans"].asked == schemes["letters"].asked == []


async def test_an_id_of_no_source_is_not_found():
    router, _ = routed(scans="s.", letters="l.")
    for id in ("x.1", "s", "l-1"):
        with pytest.raises(NotFound):
            await router.locate(id)


def test_two_sources_cannot_share_a_prefix():
    with pytest.raises(ValueError, match=re.escape("'scans' and 'more' have the same prefix 's.'")):
        routed(letters="", scans="s.", more="s.")


@pytest.mark.parametrize("prefix", ["s/", "s_", "x" * 64, "s\n", "é"])
def test_a_prefix_that_cannot_begin_an_id_is_refused(prefix):
    with pytest.raises(ValueError, match="'scans' cannot begin an id"):
        routed(scans=prefix)


def test_a_location_does_not_show_what_it_holds():
    location = Location(
        "letters", "smith/9990000018.pdf", title="Smith", patient="9990000018", attributes={"a": "Smith"}
    )
    assert repr(location) == "Location(source='letters')"
    error = Withdrawn(location)
    assert error.location is location
    assert error.source == "letters"
    assert "Smith" not in str(error)


@given(st.text(max_size=70) | st.text(alphabet="s.ab-/%\0", max_size=70))
async def test_whatever_is_asked_a_scheme_sees_only_the_characters_of_ids(id):
    router, schemes = routed(letters="", scans="s.")
    try:
        found = await router.locate(id)
    except NotFound:
        return
    assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", found.locator)
    assert id.endswith(found.locator)
    assert [scheme.asked for scheme in schemes.values()].count([]) == 1
