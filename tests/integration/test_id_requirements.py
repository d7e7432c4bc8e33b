"""What an id is, what it is not, and what it may not tell (requirements 3.1)."""

from __future__ import annotations

import csv
from pathlib import Path
from urllib.parse import quote

import pytest

from gateway.cli.config_init import write_configuration
from gateway.fhir import Version
from tests.integration.archive import (
    ID,
    LETTER,
    Stored,
    every_version,
    folder,
    letters,
    make,
    outcome,
    steady,
)
from tests.support.service import service


@pytest.mark.requirement("FR-01", "FR-03", "FR-21", "CC-22", "FR-253")
@every_version
async def test_ids_of_every_allowed_character_and_length_work_and_others_name_nothing(version: Version) -> None:
    good = ["a", "A-1.z", "0", "-", "x" * 64, "..."]
    bad = ["x" * 65, "a_b", "a~b", "a b", "é", "a/b", "a\\b", "a:b"]
    # The archive has them all: it is the id that decides.
    documents = {id: Stored(id.encode(), "text/plain") for id in good + bad}
    async with service({"letters": make("memory", Path(), documents)}) as at:
        for id in good:
            assert (await at.ask(f"/{version.name}/Binary/{id}")).body == id.encode()
        for id in (*bad, "unknown"):
            answer = await at.ask(f"/{version.name}/Binary/{quote(id, safe='')}")
            assert answer.status == 404, id
            assert outcome(answer, version)["code"] == "not-found"


@pytest.mark.requirement("FR-02", "CC-51")
@pytest.mark.parametrize("target", ["/R4/Binary/Letter", "/R4/Binary/LETTER", "/R4/binary/letter", "/r4/Binary/letter"])
async def test_ids_and_paths_are_case_sensitive(target: str) -> None:
    async with letters() as at:
        answer = await at.ask(target)
        assert answer.status == 404
        outcome(answer)
        assert (await at.ask("/R4/Binary/letter")).status == 200


@pytest.mark.requirement("FR-04")
@pytest.mark.parametrize("id", [".", "..", "%2e", "%2e%2e", "%2E%2E"])
async def test_dots_are_unknown_ids_and_never_steps_in_a_path(id: str, tmp_path: Path) -> None:
    root = tmp_path / "archive"
    (root / "deeper").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"outside")
    (root / "inside").write_bytes(b"inside")
    async with service({"letters": folder(root)}) as at:
        assert (await at.ask(f"/R4/Binary/{id}")).status == 404
        for target in (f"/R4/Binary/{id}/secret", f"/R4/Binary/{id}%2fsecret", f"/R4/Binary/deeper/{id}/inside"):
            assert (await at.ask(target)).status == 404
        assert (await at.ask("/R4/Binary/inside")).body == b"inside"


@pytest.mark.requirement("FR-06")
async def test_no_address_exists_with_and_without_a_trailing_slash() -> None:
    async with letters() as at:
        for target in ("/R4/Binary/letter/", "/R4/metadata/", "/R4/Binary/letter/_history/1/"):
            answer = await at.ask(target)
            assert answer.status == 404
            outcome(answer)
        assert (await at.ask("/R4")).status == (await at.ask("/R4/")).status == 404


@pytest.mark.requirement("FR-07", "FR-142")
async def test_a_resource_is_the_same_whatever_host_and_protocol_were_used_to_reach_it() -> None:
    disguises = (
        {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "evil.test", "X_Forwarded_For": "192.0.2.1"},
        {"Forwarded": "proto=https;host=evil.test"},
    )
    async with letters() as at:
        for target in ("/R4/Binary/letter?_format=json", "/R4/metadata", "/R4/Binary/none"):
            plain = await at.ask(target)
            for headers in disguises:
                other = await at.ask(target, **headers)
                assert other.body == plain.body
                assert steady(other) == steady(plain)
            absolute = await at.ask(f"https://evil.test{target}")
            assert (absolute.body, steady(absolute)) == (plain.body, steady(plain))


@pytest.mark.requirement("FR-08", "SC-01")
async def test_an_id_leads_to_the_same_document_and_version_after_a_restart(tmp_path: Path) -> None:
    archive = make("folder", tmp_path, {"letter": LETTER})
    answers = []
    for _ in range(2):
        async with service({"letters": archive}) as at:
            answers.append(await at.ask("/R4/Binary/letter?_format=json"))
    assert answers[0].body == answers[1].body
    assert steady(answers[0]) == steady(answers[1])


@pytest.mark.requirement("FR-10")
async def test_ids_are_kept_out_of_the_log() -> None:
    async with letters() as at:
        for target in ("/R4/Binary/picture", "/R4/Binary/9990000018", "/R4/Binary/picture/_history/9990000018"):
            await at.ask(target)
        assert len(await at.lines(3)) == 3
        assert "picture" not in at.log.getvalue()
        assert "9990000018" not in at.log.getvalue()


@pytest.mark.requirement("FR-10", "SC-01")
def test_names_that_hold_an_nhs_number_do_not_become_ids(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    root.mkdir()
    for name in ("9990000018.pdf", "letter-2.pdf"):
        (root / name).write_bytes(LETTER.data)
    written = write_configuration(root, tmp_path / "gateway.yaml")
    assert written.pattern is None
    with (tmp_path / "index.csv").open() as index:
        rows = list(csv.DictReader(index))
    assert len(rows) == 2
    for row in rows:
        assert ID.fullmatch(row["id"])
        assert "9990000018" not in row["id"]
