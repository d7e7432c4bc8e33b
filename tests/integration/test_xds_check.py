"""`fhir-gateway check` and `fetch` with an xds source, as an operator uses them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.demo.xds import FakeRepository, letter
from tests.support.xds import Authority, assertion, fake_repository
from tests.support.xds_source import endpoint

# The commands have loops of their own, and may read their files there.
pytestmark = pytest.mark.blocking_allowed


async def command(*arguments: str) -> Result:
    """The command, on a thread: it has an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, main, list(arguments))


def configured(folder: Path, *endpoints: dict[str, Any], **options: Any) -> str:
    """A configuration with this xds source; the path of its file."""
    (folder / "seal").write_bytes(bytes(range(32)))
    source = {
        "adapter": "xds",
        "prefix": "x.",
        "ids": {"scheme": "sealed", "key_file": "seal"},
        "options": {"endpoints": list(endpoints), **options},
    }
    config = folder / "gateway.yaml"
    config.write_text(yaml.safe_dump({"auth": {"mode": "none"}, "sources": {"shared-care": source}}))
    return str(config)


async def problem(folder: Path, *endpoints: dict[str, Any]) -> tuple[int, str]:
    """The exit code of `check` and what it says is wrong."""
    result = await command("check", "--json", "--config", configured(folder, *endpoints))
    [source] = json.loads(result.stdout)["sources"]
    return result.exit_code, source["details"][0]


@pytest.fixture
async def fake() -> AsyncIterator[FakeRepository]:
    async with fake_repository(letter(1), letter(2)) as running:
        yield running


async def test_a_sound_source(fake: FakeRepository, tmp_path: Path) -> None:
    config = configured(
        tmp_path, endpoint(fake), registry={"url": fake.endpoint("registry"), "use_for": ["stat", "verify"]}
    )
    result = await command("check", "--config", config)
    assert (result.exit_code, "All well." in result.output) == (0, True)


async def test_a_wrong_url(fake: FakeRepository, tmp_path: Path) -> None:
    code, said = await problem(tmp_path, endpoint(f"{fake.url}/xds"))
    assert (code, said) == (1, "endpoint a: there is no service at this path of the server: correct `url` (HTTP 404)")


async def test_a_registrys_address(fake: FakeRepository, tmp_path: Path) -> None:
    code, said = await problem(tmp_path, endpoint(fake.endpoint("registry")))
    assert code == 1
    assert said.startswith("endpoint a: `url` is that of a registry: give the repository's own")


async def test_a_missing_client_certificate_and_an_untrusted_server(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with fake_repository(letter(1), tls=authority.server(clients=True)) as fake:
        missing = await problem(tmp_path, endpoint(fake, tls={"ca": str(authority.file)}))
        untrusted = await problem(tmp_path, endpoint(fake))
    wanted = "endpoint a: the server wants a client certificate: set `tls.certificate` and `tls.key`"
    assert missing == (1, wanted)
    assert untrusted[0] == 1
    assert untrusted[1].endswith("give the authority's certificate in `tls.ca`")


async def test_an_expired_assertion(fake: FakeRepository, tmp_path: Path) -> None:
    (tmp_path / "assertion.xml").write_text(assertion(ends="2024-03-01T12:00:00Z"))
    code, said = await problem(tmp_path, endpoint(fake, saml={"assertion_file": "assertion.xml"}))
    assert (code, said) == (
        1,
        "endpoint a: the SAML assertion expired at 2024-03-01 12:00:00 UTC: put a fresh one into the file that "
        "`saml.assertion_file` names",
    )


async def test_certificates_that_cannot_be_read_are_found_at_their_line(fake: FakeRepository, tmp_path: Path) -> None:
    config = configured(tmp_path, endpoint(fake.endpoint().replace("http:", "https:"), tls={"ca": "nowhere.pem"}))
    result = await command("check", "--config", config)
    assert result.exit_code == 2
    assert "sources.shared-care.options.endpoints.0.tls.ca" in result.output
    assert "cannot be read (FileNotFoundError)" in result.output


async def test_a_document_by_its_sealed_id(fake: FakeRepository, tmp_path: Path) -> None:
    config = configured(tmp_path, endpoint(fake))
    where = ["--source", "shared-care", "--repository", letter(1).repository, "--document", letter(1).unique_id]
    made = await command("ids", "encode", "--config", config, *where)
    output = tmp_path / "letter.pdf"
    result = await command("fetch", made.output.strip(), "--config", config, "--output", str(output))
    assert (made.exit_code, result.exit_code) == (0, 0)
    assert output.read_bytes() == letter(1).data
