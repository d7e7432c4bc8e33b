"""Media types from archives: what passes may be written into a header, everything else is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol import media_type


@pytest.mark.parametrize(
    ("stated", "sent"),
    [
        ("application/pdf", "application/pdf"),
        (" Application/PDF ", "application/pdf"),
        ("application/fhir+json", "application/fhir+json"),
        ("text/plain; charset=windows-1252", "text/plain;charset=windows-1252"),
        ("text/plain;Charset=UTF-8", "text/plain;charset=UTF-8"),
        ("text/html ; charset=utf-8 ; level=1", "text/html;charset=utf-8;level=1"),
        ("text/plain;", "text/plain"),
        ("text/plain;;charset=a", "text/plain;charset=a"),
        ('text/plain; charset="utf-8"', "text/plain;charset=utf-8"),
        ('application/x; title="a letter"', 'application/x;title="a letter"'),
        ('application/x; title="say \\"a\\\\b\\""', 'application/x;title="say \\"a\\\\b\\""'),
        ('application/x; title=""', 'application/x;title=""'),
        ("application/vnd.ms-excel.sheet.macroEnabled.12", "application/vnd.ms-excel.sheet.macroenabled.12"),
    ],
)
def test_a_media_type_is_normalised(stated: str, sent: str) -> None:
    parsed = media_type.parse(stated)
    assert parsed is not None
    assert str(parsed) == sent
    assert parsed.essence == media_type.essence(stated) == sent.partition(";")[0]


@pytest.mark.parametrize(
    "stated",
    [
        "",
        " ",
        "pdf",
        "application",
        "application/",
        "/pdf",
        "application/pdf/a",
        "*/*",
        "image/*",
        "application /pdf",
        "application/pdf x",
        "application/pdf, image/tiff",
        "application/pdf\r\nX-Injected: 1",
        "application/pdf\n",
        "\napplication/pdf",
        "application/pdf\x00",
        "application/pdf;a=b\r\nX: 1",
        'application/pdf;a="b\r\nX: 1"',
        'application/pdf;a="b\nX: 1"',
        'application/pdf;a="b\rX: 1"',
        'application/pdf;a="b\\\n"',
        'application/pdf;a="b',
        "application/pdf;a",
        "application/pdf;a = b",
        "application/pdf;=b",
        "application/pdf;a=b c",
        "application/pdf;a=é",
        'application/pdf;a="é"',
        "applicatıon/pdf",
        "application/\u212aml",
        "application/pdf\u2028",
        "application/" + "x" * 300,
    ],
)
def test_junk_is_refused(stated: str) -> None:
    assert media_type.parse(stated) is None


def test_parts_are_available() -> None:
    parsed = media_type.parse('Text/Plain;Charset="Windows-1252"')
    assert parsed is not None
    assert (parsed.type, parsed.subtype, parsed.parameters) == ("text", "plain", (("charset", "Windows-1252"),))


near_misses = st.text(alphabet='aZ0/;= "\\\r\n\t,*é+', max_size=20)


@given(st.text() | near_misses | near_misses.map(lambda rest: "a/b;c=" + rest) | st.just("a/b;c="))
def test_what_passes_is_safe_in_a_header_and_stays_the_same(stated: str) -> None:
    parsed = media_type.parse(stated)
    if parsed is not None:
        assert re.fullmatch(r"[\t -~]+", str(parsed))
        assert media_type.parse(str(parsed)) == parsed


@given(st.text(alphabet=[chr(c) for c in (9, *range(32, 127))], max_size=100))
def test_every_parameter_value_survives(value: str) -> None:
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    parsed = media_type.parse(f"a/b;c={quoted}")
    assert parsed is not None
    assert parsed.parameters == (("c", value),)
    assert media_type.parse(str(parsed)) == parsed
