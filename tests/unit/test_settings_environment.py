"""Environment overrides: which key a variable means, how its text is read, and what is said about an unknown one."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.settings.environment import apply
from gateway.settings.models import Settings

FILE: dict[str, Any] = {
    "auth": {"mode": "none"},
    "sources": {
        "shared-care": {"adapter": "memory", "ids": {"scheme": "template", "pattern": "{id}"}},
        "letters": {"adapter": "filesystem", "options": {"root": "/a"}},
    },
}


def applied(**environ: str) -> Any:
    result = apply(FILE, environ, Settings)
    assert result.problems == []
    return result.data


def problem(name: str, value: str = "1") -> Any:
    (found,) = apply(FILE, {name: value}, Settings).problems
    assert found.variable == name
    return found


def test_a_key_of_a_section_that_the_file_lacks() -> None:
    assert applied(GATEWAY__SERVER__PORT="9000")["server"] == {"port": "9000"}


def test_the_file_is_not_changed() -> None:
    applied(GATEWAY__SOURCES__LETTERS__OPTIONS__ROOT="/b")
    assert FILE["sources"]["letters"]["options"] == {"root": "/a"}


def test_other_variables_are_left_alone() -> None:
    assert applied(PATH="/bin", GATEWAY_CONFIG="x", GATEWAYS="y") == FILE


def test_a_hyphen_in_a_source_is_one_underscore() -> None:
    data = applied(GATEWAY__SOURCES__SHARED_CARE__PREFIX="x.")
    assert data["sources"]["shared-care"]["prefix"] == "x."


def test_an_option_of_an_adapter_and_one_that_depends_on_it() -> None:
    data = applied(
        GATEWAY__SOURCES__SHARED_CARE__OPTIONS__ROOT="/c",
        GATEWAY__SOURCES__SHARED_CARE__ADAPTER="filesystem",
    )
    assert data["sources"]["shared-care"]["options"] == {"root": "/c"}


def test_a_new_source_begins_with_its_adapter() -> None:
    data = applied(GATEWAY__SOURCES__NEW_ONE__IDS__SCHEME="template", GATEWAY__SOURCES__NEW_ONE__ADAPTER="memory")
    assert data["sources"]["new-one"] == {"adapter": "memory", "ids": {"scheme": "template"}}


def test_one_base_changes_and_the_other_stays() -> None:
    assert applied(GATEWAY__FHIR__BASES__R4="/fhir")["fhir"]["bases"] == {"STU3": "/STU3", "R4": "/fhir"}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("FHIR__PUBLIC_URL", "null", None),
        ("FHIR__PUBLIC_URL", "~", None),
        ("FHIR__PUBLISHER", "007", "007"),
        ("FHIR__BASES", "{R4: /x}", {"R4": "/x"}),
        ("FHIR__RULES__CHARSET", "false", "false"),
        ("SERVER__HOST", "null", "null"),
        ("SERVER", "{port: 1}", {"port": 1}),
    ],
)
def test_how_a_value_is_read(name: str, text: str, value: Any) -> None:
    data = applied(**{f"GATEWAY__{name}": text})
    for part in name.lower().split("__"):
        data = data[part]
    assert data == value


def test_a_pattern_needs_no_quotes() -> None:
    data = applied(
        GATEWAY__SOURCES__LETTERS__IDS__PATTERN="{id}.pdf", GATEWAY__SOURCES__LETTERS__IDS__SCHEME="template"
    )
    assert data["sources"]["letters"]["ids"]["pattern"] == "{id}.pdf"


def test_a_key_of_any_name_where_any_is_allowed_and_known() -> None:
    given = "{a: {text: hello}}"
    data = applied(GATEWAY__SOURCES__SHARED_CARE__OPTIONS__DOCUMENTS=given)
    assert data["sources"]["shared-care"]["options"]["documents"] == {"a": {"text": "hello"}}


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("GATEWAY__SERVER__PRT", "Did you mean GATEWAY__SERVER__PORT?"),
        ("GATEWAY__SEVER__PORT", "Did you mean GATEWAY__SERVER?"),
        ("GATEWAY__SERVER__LIMITS__DRIAN", "Did you mean GATEWAY__SERVER__LIMITS__DRAIN?"),
        ("GATEWAY__SOURCES__LETTER__PREFIX", "Did you mean GATEWAY__SOURCES__LETTERS?"),
        ("GATEWAY__SOURCES__LETTERS__OPTIONS__ROT", "Did you mean GATEWAY__SOURCES__LETTERS__OPTIONS__ROOT?"),
        ("GATEWAY__SOURCES__ZZZ__PREFIX", "After GATEWAY__SOURCES__ may follow: LETTERS, SHARED_CARE."),
        ("GATEWAY__SERVER__PORT__NUMBER", "Nothing may follow GATEWAY__SERVER__PORT; remove the variable."),
        ("GATEWAY__", "may follow"),
        ("GATEWAY____PORT", "may follow"),
    ],
)
def test_an_unknown_variable_is_a_problem_with_the_nearest_name(name: str, cure: str) -> None:
    assert cure in problem(name).cure


def test_a_value_that_is_no_yaml_is_a_problem_that_does_not_repeat_it() -> None:
    found = problem("GATEWAY__FHIR__BASES", "{R4: [horse")
    assert "not YAML" in found.cause
    assert "horse" not in str(found)
