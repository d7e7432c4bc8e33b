"""`fhir-gateway ids`: the id of a document in a repository, and back; and a gateway that answers for such ids.

The archive is a folder whose file names are locators: ids are all that matters here.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.cli.fetch import asking
from gateway.routing import valid_id
from gateway.settings import load

REPOSITORY, DOCUMENT = "1.3.6.1.4.1.21367.2010.1.2.1125", "1.3.6.1.4.1.21367.2010.1.2.1125.103^SCAN 17"
LONG = "1.2.840^" + "L" * 80
BODY = b"%PDF-1.4 a letter"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    root.mkdir()
    for document in (DOCUMENT, LONG):
        (root / f"^{REPOSITORY}^{document}").write_bytes(BODY)
    (root / f"1.9.9^1.2.3^{DOCUMENT}").write_bytes(b"%PDF-1.4 a letter of another community")
    for name, byte in (("seal", 1), ("next", 2)):
        (tmp_path / name).write_bytes(bytes([byte]) * 32)
    change = {
        "scheme": "sealed",
        "key_file": "seal",
        "lookup": "listed",
        "aliases": {"a": {"repositories": [REPOSITORY]}, "far": {"home": "1.9.9"}},
    }
    archive = {"adapter": "filesystem", "options": {"root": "archive"}}
    sources = {
        "care": {**archive, "prefix": "x.", "ids": change},
        "letters": {**archive, "prefix": "", "ids": {"scheme": "template", "pattern": "{id}.pdf"}},
    }
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump({"auth": {"mode": "none"}, "sources": sources}))
    return path


def changed(config: Path, **ids: Any) -> Path:
    """The same configuration with other settings of the sealed ids; None takes one away."""
    data = yaml.safe_load(config.read_text())
    data["sources"]["care"]["ids"] |= ids
    data["sources"]["care"]["ids"] = {k: v for k, v in data["sources"]["care"]["ids"].items() if v is not None}
    path = config.with_name("changed.yaml")
    path.write_text(yaml.safe_dump(data))
    return path


def run(command: str, config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["ids", command, "--config", str(config), *arguments])


def encode(config: Path, document: str = DOCUMENT, repository: str = REPOSITORY, **options: str) -> Result:
    given = {"source": "care", "repository": repository, "document": document, **options}
    return run("encode", config, *(word for name, value in given.items() for word in (f"--{name}", value)))


def id_of(config: Path, *arguments: str, **options: str) -> str:
    result = encode(config, *arguments, **options)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("\n")
    id = result.stdout[:-1]
    assert valid_id(id)
    return id


async def answers(config: Path, *ids: str) -> list[tuple[int, bytes, dict[str, str]]]:
    """What a gateway with this configuration answers: status, body, and the header fields that do not change."""
    found = []
    async with asking(await asyncio.to_thread(load, config, {})) as gateway:
        for id in ids:
            body = bytearray()
            answer = await gateway.get(f"/R4/Binary/{id}", None, lambda _, piece, body=body: body.extend(piece))
            fields = {name: value for name, value in answer.headers if name not in ("Date", "X-Request-ID")}
            found.append((answer.status, bytes(body), fields))
    return found


# --- there and back --------------------------------------------------------------------------------------------------


def test_an_id_is_printed_alone_and_read_back(config: Path) -> None:
    id = id_of(config)
    assert id.startswith("x.a.")
    assert id_of(config) == id
    assert run("decode", config, id).stdout.split("\n") == [
        "source     care",
        f"repository {REPOSITORY}",
        f"document   {DOCUMENT}",
        "",
    ]
    facts = json.loads(run("decode", config, id, "--json").stdout)
    assert facts == {"source": "care", "home": None, "repository": REPOSITORY, "document": DOCUMENT}


def test_identifiers_may_be_given_as_they_stand_in_messages(config: Path) -> None:
    assert id_of(config, f" {DOCUMENT}\n", f"urn:oid:{REPOSITORY}") == id_of(config)


def test_a_document_of_another_community(config: Path) -> None:
    id = id_of(config, DOCUMENT, "1.2.3", home="urn:oid:1.9.9")
    facts = json.loads(run("decode", config, id, "--json").stdout)
    assert facts == {"source": "care", "home": "1.9.9", "repository": "1.2.3", "document": DOCUMENT}


def test_what_does_not_fit_is_listed_once_and_read_back(config: Path) -> None:
    id = id_of(config, LONG)
    assert id_of(config, LONG) == id
    assert (config.parent / "listed").read_text() == f"^{REPOSITORY}^{LONG}\n"
    assert json.loads(run("decode", config, id, "--json").stdout)["document"] == LONG


def test_a_new_key_makes_new_ids_and_the_old_ones_are_still_read(config: Path) -> None:
    old = [id_of(config), id_of(config, LONG)]
    both = changed(config, key_file="next", former_key_files=["seal"])
    new = [id_of(both), id_of(both, LONG)]
    assert len({*old, *new}) == 4
    for short, long in (old, new):
        assert json.loads(run("decode", both, short, "--json").stdout)["document"] == DOCUMENT
        assert json.loads(run("decode", both, long, "--json").stdout)["document"] == LONG
    for id in old:
        assert run("decode", changed(config, key_file="next"), id).exit_code == 1


# --- what is said of mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "cause", "cure"),
    [
        ({"source": "cure"}, "There is no source cure.", "Did you mean `care`?"),
        ({"source": "letters"}, "not sealed: their scheme is template", "docs/ids.md"),
        ({"repository": "1.2.3"}, "No alias means this repository.", "aliases of the source care"),
        ({"repository": REPOSITORY, "home": "1.9"}, "No alias means this repository.", ""),
        ({"repository": "a^b"}, "visible characters", ""),
        ({"document": ""}, "1 to 256 characters", ""),
        ({"document": "a\nb"}, "1 to 256 characters", ""),
    ],
)
def test_what_has_no_id_is_explained(config: Path, options: dict[str, str], cause: str, cure: str) -> None:
    result = encode(config, **options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert cause in result.stderr
    assert cure in result.stderr


def test_without_a_look_up_file_a_long_document_has_no_id(config: Path) -> None:
    result = encode(changed(config, lookup=None), LONG)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "`ids.lookup`" in result.stderr


def test_a_look_up_file_that_cannot_be_used_is_named(config: Path) -> None:
    result = encode(changed(config, lookup="nowhere/listed"), LONG)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nowhere/listed: No such file" in result.stderr
    (config.parent / "listed").write_text("Smith\n")
    for result in (encode(config, LONG), run("decode", config, "x." + "0" * 22)):
        assert (result.exit_code, result.stdout) == (2, "")
        assert "line 1" in result.stderr
        assert "Smith" not in result.stderr


def test_an_id_that_another_source_would_get_is_not_given_out(config: Path) -> None:
    data = yaml.safe_load(config.read_text())
    data["sources"]["letters"]["prefix"] = "x.a."
    config.write_text(yaml.safe_dump(data))
    result = encode(config)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "source letters has a prefix" in result.stderr


@pytest.mark.parametrize("change", [lambda id: id[:-1], lambda id: id.swapcase(), lambda id: "x." + "0" * 22])
def test_an_id_that_does_not_open_is_no_document(config: Path, change: Any) -> None:
    result = run("decode", config, change(id_of(config)).replace("X.", "x."))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "leads to no document" in result.stderr


def test_an_id_of_no_source_and_of_another_scheme(config: Path) -> None:
    assert "not sealed" in run("decode", config, "4711").stderr
    data = yaml.safe_load(config.read_text())
    del data["sources"]["letters"]
    config.write_text(yaml.safe_dump(data))
    result = run("decode", config, "4711")
    assert result.exit_code == 1
    assert "No source" in result.stderr


# --- a gateway answers -----------------------------------------------------------------------------------------------


def test_a_gateway_serves_the_document_behind_an_id(config: Path) -> None:
    short, long, far = id_of(config), id_of(config, LONG), id_of(config, DOCUMENT, "1.2.3", home="1.9.9")
    found = asyncio.run(answers(config, short, long, far))
    assert [(status, body) for status, body, _ in found] == [
        (200, BODY),
        (200, BODY),
        (200, b"%PDF-1.4 a letter of another community"),
    ]


def test_a_gateway_that_runs_knows_a_listed_id_from_the_moment_it_is_made(config: Path) -> None:
    async def scenario() -> list[int]:
        statuses = []
        id = await asyncio.to_thread(id_of, changed(config, lookup="elsewhere"), LONG)
        async with asking(await asyncio.to_thread(load, config, {})) as gateway:
            for _ in range(2):
                statuses.append((await gateway.get(f"/R4/Binary/{id}", None, lambda *_: None)).status)
                assert await asyncio.to_thread(id_of, config, LONG) == id
        return statuses

    assert asyncio.run(scenario()) == [404, 200]


def test_a_wrong_seal_is_answered_as_an_unknown_id_is(config: Path) -> None:
    good = id_of(config)
    stranger = id_of(changed(config, key_file="next"))
    wrong = [
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good[:-2],
        stranger,
        "x.b." + good[4:],
        "x.a.0",
        "x.4711",
        "x.",
    ]
    found = asyncio.run(answers(config, "unknown", *wrong))
    status, body, _ = found[0]
    assert status == 404
    assert body
    assert all(answer == found[0] for answer in found[1:])
