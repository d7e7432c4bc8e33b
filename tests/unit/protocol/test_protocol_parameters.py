"""Query parameters and Prefer: what FHIR defines is read strictly, everything else is collected."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol import parameters
from gateway.protocol.negotiation import Format, format_of
from gateway.protocol.parameters import ParameterError, Parameters, Summary


@pytest.mark.parametrize("query", ["", "&", "&&&"])
def test_no_parameters(query: str) -> None:
    assert parameters.parse(query) == Parameters()


@pytest.mark.requirement("FR-70")
@pytest.mark.parametrize(
    "written",
    ["application/fhir+json", "application/fhir%2Bjson", "application/fhir%2bjson", "application/fhir%20json",
     "application%2Ffhir+json", "+application/fhir+json+"],
)  # fmt: skip
def test_a_plus_in_format_survives_every_way_of_writing_it(written: str) -> None:
    format = parameters.parse(f"_format={written}").format
    assert format == "application/fhir+json"
    assert format_of(format) is Format.JSON


@pytest.mark.parametrize(
    ("query", "format"),
    [
        ("_format=json", "json"),
        ("_format=", ""),
        ("_format", ""),
        ("_format=xml&_format=xml", "xml"),
        ("_format=text/xml", "text/xml"),
        ("_format=application/json+fhir", "application/json+fhir"),
        ("_format=application/fhir+json;fhirVersion=4.0", "application/fhir+json;fhirVersion=4.0"),
        ("_format=application/fhir+json%3B%20fhirVersion%3D4.0", "application/fhir+json; fhirVersion=4.0"),
        ("%5fformat=json", "json"),
        ("a=b=c&_format=json", "json"),
    ],
)
def test_format_is_decoded(query: str, format: str) -> None:
    assert parameters.parse(query).format == format


@pytest.mark.parametrize(
    ("query", "pretty"), [("_pretty=true", True), ("_pretty=false", False), ("_format=xml", False)]
)
def test_pretty(query: str, pretty: bool) -> None:
    assert parameters.parse(query).pretty is pretty


@pytest.mark.requirement("FR-102")
@pytest.mark.parametrize("summary", list(Summary))
def test_summary_of_one_resource(summary: Summary) -> None:
    assert parameters.parse(f"_summary={summary.value}").summary is summary


@pytest.mark.parametrize(
    ("query", "elements"),
    [
        ("_elements=contentType", ("contentType",)),
        ("_elements=id,contentType", ("id", "contentType")),
        ("_elements=id,+contentType", ("id", "contentType")),
        ("_elements=id&_elements=contentType%2Cmeta", ("id", "contentType", "meta")),
    ],
)
def test_elements(query: str, elements: tuple[str, ...]) -> None:
    assert parameters.parse(query).elements == elements


@pytest.mark.requirement("FR-101", "FR-102", "FR-107", "FR-112")
@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("_pretty=banana", "_pretty"),
        ("_pretty=", "_pretty"),
        ("_pretty=True", "_pretty"),
        ("_pretty=1", "_pretty"),
        ("_pretty=true&_pretty=false", "_pretty"),
        ("_summary=banana", "_summary"),
        ("_summary=count", "_summary"),
        ("_summary=", "_summary"),
        ("_summary=TRUE", "_summary"),
        ("_summary=true&_summary=text", "_summary"),
        ("_elements=", "_elements"),
        ("_elements=a,,b", "_elements"),
        ("_elements=a%20b", "_elements"),
        ("_elements=../x", "_elements"),
        ("_elements=%00", "_elements"),
        ("_elements=1a", "_elements"),
        ("_elements=" + "a" * 65, "_elements"),
        ("_elements=é", "_elements"),
        ("_elements=id%0A", "_elements"),
        ("_format=json&_format=xml", "_format"),
        ("_summary=true&_elements=id", "_elements"),
        ("_elements=id&_summary=false", "_elements"),
    ],
)
def test_a_senseless_value_is_an_error_that_names_the_parameter_alone(query: str, name: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parameters.parse(query)
    assert caught.value.name == name
    assert str(caught.value) == name


@pytest.mark.parametrize(
    ("query", "unknown"),
    [
        ("patient=1&_format=json", ("patient",)),
        ("_Format=json", ("_Format",)),
        ("_PRETTY=banana", ("_PRETTY",)),
        ("a=1&b=2&a=3", ("a", "b", "a")),
        ("%61b=1", ("ab",)),
        ("=1", ("",)),
        ("x;_format=json", ("x;_format",)),
        ("%ff=1", ("\ufffd",)),
        ("%zz=%", ("%zz",)),
    ],
)
def test_other_names_are_collected(query: str, unknown: tuple[str, ...]) -> None:
    assert parameters.parse(query).unknown == unknown


@pytest.mark.parametrize(
    ("prefer", "strict"),
    [
        (None, False),
        ("", False),
        ("handling=strict", True),
        ("Handling=Strict", True),
        ('handling="strict"', True),
        (" handling = strict ; x=y", True),
        ("return=minimal, handling=strict", True),
        ('return="a, handling=lenient", handling=strict', True),
        ("handling=lenient", False),
        ("handling=lenient, handling=strict", False),
        ("handling", False),
        ("handling=", False),
        ("handlings=strict", False),
        ("return=minimal; handling=strict", False),
        ('x="handling=strict"', False),
        ('x="', False),
        ('return="a, handling=strict', False),
        ('return="a\\", handling=strict', False),
        ('return="a\\\\", handling=strict', True),
        ('handling="strict', True),
    ],
)
def test_prefer_handling(prefer: str | None, strict: bool) -> None:
    assert parameters.prefers_strict(prefer) is strict


hostile = st.text() | st.text(alphabet="_formatprelysu&=%+;,0Zé\x00\udcff ") | st.binary().map(quote)


@given(hostile, hostile)
def test_no_query_raises_but_a_parameter_error(one: str, two: str) -> None:
    names = {"_format", "_pretty", "_summary", "_elements"}
    for query in (one, f"_format={one}&_elements={two}", f"_summary={one}", f"{one}&_pretty={two}"):
        refused = None
        try:
            parameters.parse(query)
        except ParameterError as error:
            refused = error
        assert refused is None or refused.name in names
    parameters.prefers_strict(one)
    parameters.prefers_strict("handling=" + two)


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1))
def test_names_are_decoded_once(name: str) -> None:
    known = {"_format", "_pretty", "_summary", "_elements"}
    if name not in known:
        assert parameters.parse(quote(name, safe="") + "=1").unknown == (name,)
