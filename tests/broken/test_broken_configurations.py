"""Every broken configuration of the shelf is explained, word for word, by `check` and with the same words by `serve`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import uvloop

from tests.broken.asking import Case, answer, asked, cases
from tests.broken.site import PASSWORD, Site, site

ALL = cases()

STARTS = ("tls-expired", "tls-not-yet-valid")
"""Wrong for clients, who will refuse the certificate; a gateway that has it starts all the same, and says so in its log."""


@pytest.fixture(scope="module")
def here() -> Iterator[Site]:
    uvloop.new_event_loop().close()
    with site() as made:
        yield made


@pytest.mark.blocking_allowed
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_check_says_what_stands_on_the_shelf(here: Site, case: Case) -> None:
    said = answer(case, here)
    assert said == case.answer.read_text()
    assert "Traceback" not in said
    assert PASSWORD not in said


@pytest.mark.blocking_allowed
@pytest.mark.parametrize(
    "case",
    [
        one
        for one in ALL
        if one.answer.exists() and one.answer.read_text().startswith("exit 2") and one.name not in STARTS
    ],
    ids=lambda case: case.name,
)
def test_serve_does_not_start_and_uses_the_same_words(here: Site, case: Case) -> None:
    code, out, err = asked("serve", case, here)
    assert (code, out) == (2, "")
    said = "".join(line for line in err.splitlines(keepends=True) if not line.startswith("{"))
    *paragraphs, last = said.split("\n\n")
    assert paragraphs
    assert last.endswith(" in the configuration.\n")
    known = case.answer.read_text()
    assert [paragraph for paragraph in paragraphs if paragraph not in known] == []
