"""`fhir-gateway fetch`: the same answer as a client gets, kept only when it is a whole document."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.cli.fetch import Asking

PDF = b"%PDF-1.4\n" + bytes(range(256)) * 1000


@pytest.fixture
def config(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    root.mkdir()
    (root / "letter 1.pdf").write_bytes(PDF)
    (tmp_path / "index.csv").write_text(
        "id,path,title,status\nletter,letter 1.pdf,Title of a letter,\nold,old.pdf,,withdrawn\nlost,lost.pdf,,\n"
    )
    path = tmp_path / "gateway.yaml"
    path.write_text(
        "auth: {mode: none}\nsources:\n"
        "  away: {adapter: filesystem, prefix: a., ids: {scheme: template, pattern: '{id}'}, "
        f"options: {{root: {root}, require_mount: true}}}}\n"
        "  letters: {adapter: filesystem, ids: {scheme: manifest, file: index.csv}, options: {root: archive}}\n"
    )
    return path


def fetch(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["fetch", *arguments, "--config", str(config)])


def test_a_document_goes_to_standard_output(config: Path) -> None:
    result = fetch(config, "letter")
    assert result.exit_code == 0, result.stderr
    assert result.stdout_bytes == PDF


def test_a_document_goes_to_a_file(config: Path, tmp_path: Path) -> None:
    result = fetch(config, "letter", "--output", str(tmp_path / "out.pdf"))
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "out.pdf").read_bytes() == PDF


@pytest.mark.parametrize(("base", "element"), [("STU3", "content"), ("R4", "data")])
def test_an_envelope_of_either_version(config: Path, base: str, element: str) -> None:
    result = fetch(config, "letter", "--base", base, "--accept", "application/fhir+json")
    assert base64.b64decode(json.loads(result.stdout)[element]) == PDF


@pytest.mark.parametrize(
    ("id", "status", "code"),
    [
        ("nothing", "404", "GW-DOC-001"),
        ("old", "410", "GW-DOC-002"),
        ("lost", "404", "GW-DOC-001"),
        ("a.1", "503", "GW-SRC"),
    ],
)
def test_what_is_no_document_is_not_kept(config: Path, tmp_path: Path, id: str, status: str, code: str) -> None:
    result = fetch(config, id, "--output", str(tmp_path / "out.pdf"))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert code in result.stderr
    assert status in result.stderr.splitlines()[-1]
    assert not list(tmp_path.glob("out*"))


def test_an_explanation_shows_the_route_and_the_answer_but_no_document(config: Path) -> None:
    result = fetch(config, "letter", "--explain")
    assert result.exit_code == 0
    for words in (
        "letters (adapter filesystem",
        "manifest",
        "letter 1.pdf",
        "200 OK",
        "application/pdf",
        "256,009 bytes, complete",
    ):
        assert words in result.stdout
    assert "%PDF" not in result.stdout
    assert "Title of" not in result.stdout


def test_an_explanation_of_an_id_that_leads_nowhere(config: Path) -> None:
    result = fetch(config, "old", "--explain")
    assert result.exit_code == 1
    assert "GW-DOC-002" in result.stdout
    assert "410 Gone" in result.stdout


def test_an_explanation_and_the_document(config: Path, tmp_path: Path) -> None:
    result = fetch(config, "letter", "--explain", "--output", str(tmp_path / "out.pdf"))
    assert "200 OK" in result.stdout
    assert (tmp_path / "out.pdf").read_bytes() == PDF


@pytest.mark.parametrize("id", ["../../etc/passwd", "a b", "%2e%2e", "ü", "x" * 65])
def test_an_id_that_is_none(config: Path, id: str) -> None:
    result = fetch(config, id)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_a_place_that_cannot_be_written(config: Path, tmp_path: Path) -> None:
    result = fetch(config, "letter", "--output", str(tmp_path / "absent" / "out.pdf"))
    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr


def test_a_base_that_is_not_served(config: Path) -> None:
    config.write_text(config.read_text() + "fhir: {bases: {R4: /R4}}\n")
    result = fetch(config, "letter", "--base", "STU3")
    assert result.exit_code == 2
    assert "not served" in result.stderr


async def test_a_body_that_is_cut_off_is_not_complete(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        await writer.drain()
        writer.close()

    path = str(tmp_path / "socket")
    pieces: list[bytes] = []
    async with (
        await asyncio.start_unix_server(answer, path),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session,
    ):
        got = await Asking(cast(Any, None), session).get("/x", None, lambda status, piece: pieces.append(piece))
    assert (got.status, got.complete, got.size, b"".join(pieces)) == (200, False, 5, b"short")
