"""docs/xds.md is true: its steps lead to a document of a repository, each configuration works, its tables say what happens."""

from __future__ import annotations

import ast
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from adapters.xds.options import Endpoint, Registry, XdsOptions
from adapters.xds.outcome import _MEANINGS, refused
from adapters.xds.probe import NOBODYS
from adapters.xds.retrieval_errors import RegistryError
from gateway.demo.xds import FakeRepository, letter, named
from gateway.demo.xds.background import in_background
from gateway.errors import problem_for
from gateway.settings.shape import walk
from tests.meta.doc_blocks import Block, Page, commands
from tests.meta.doc_reader import CONFIGURATION
from tests.support.process import require, running
from tests.support.xds import Authority, assertion

PROJECT = Path(__file__).parents[2]
PAGE = Page.of(PROJECT / "docs" / "xds.md", PROJECT)
LETTER = replace(letter(1), repository="1.2.3.4.5", unique_id="1.2.3.4.5.6.7")
ELSEWHERE = [replace(letter(2), repository=one, unique_id=f"{one}.1") for one in ("1.2.3.4.6", "1.2.3.4.7")]

ADDRESSES = {
    r"https://(xds\.trust\.local/(repository|letters)|images\.trust\.local:8443/xds)": "repository",
    r"https://xds\.trust\.local/registry": "registry",
    r"https://xca\.region\.example/retrieve": "gateway",
}
"""What the page's addresses stand for."""


@dataclass(frozen=True, slots=True)
class Site:
    """The machine and the repository that the page tells of."""

    home: Path
    url: str

    def mapped(self, text: str) -> str:
        text = re.sub(r"(?<![\w/])/(run|srv)/", lambda found: f"{self.home}{found[0]}", text)
        for address, endpoint in ADDRESSES.items():
            text = re.sub(address, f"{self.url}/{endpoint}", text)
        return text

    def typed(self, script: str) -> str:
        """The output of these commands, one shell for all of them. Each must go well."""
        environ = os.environ | {
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT),
            "SSL_CERT_FILE": str(self.home / "run" / "secrets" / "trust-ca.pem"),
        }
        done = subprocess.run(
            ["sh", "-ec", self.mapped(script)],
            cwd=self.home, env=environ, capture_output=True, text=True, errors="replace", timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A repository, a registry and a gateway to another community, behind TLS that looks at the certificates of clients."""
    secrets = tmp_path / "run" / "secrets"
    for folder in (secrets, tmp_path / "bin", tmp_path / "srv"):
        folder.mkdir(parents=True)
    command = tmp_path / "bin" / "fhir-gateway"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway "$@"\n')
    command.chmod(0o755)
    authority = Authority(tmp_path)
    pair = authority.issue("gateway", client=True)
    password = serialization.BestAvailableEncryption(b"open sesame")
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    files = {
        "trust-ca.pem": authority.file.read_bytes(),
        "client.pem": pair.certificate.read_bytes(),
        "client.key": key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, password),
        "client.password": b"open sesame\n",
        "seal": bytes(range(32)),
        "seal-2026": bytes(range(32, 64)),
        "assertion.xml": assertion().encode(),
    }
    for name, data in files.items():
        (secrets / name).write_bytes(data)
    tls = authority.server(clients=True)
    tls.verify_mode = ssl.CERT_OPTIONAL
    fake = FakeRepository([LETTER, *ELSEWHERE], personality=named("standard"), home="urn:oid:1.2.3.9", tls=tls)
    with in_background(fake) as url:
        yield Site(tmp_path, url)


# --- steps and configurations ----------------------------------------------------------------------------------------


def shown(language: str) -> list[Block]:
    return [block for block in PAGE.blocks if block.language == language]


def test_the_steps_lead_to_a_document(site: Site) -> None:
    (site.home / "run" / "secrets" / "seal").unlink()
    _, key, check, fetch = shown("sh")
    site.typed(key.text)
    (site.home / "gateway.yaml").write_text(site.mapped(shown("yaml")[0].text))
    assert "All well." in site.typed(check.text)
    said = site.typed(fetch.text)
    assert "200 OK" in said
    assert LETTER.unique_id in said
    assert (site.home / "letter.pdf").read_bytes() == LETTER.data


def test_the_demonstration_starts(tmp_path: Path) -> None:
    (command,) = [command for command, _ in commands(shown("sh")[0])]
    words = command.replace("fhir-gateway", f"{sys.executable} -m gateway").split()
    more = ["--port", "0", "--admin-port", "0", "--large", "64KiB", "--directory", tmp_path / "demo"]
    with running(
        command, [*words, *more], log=tmp_path / "log", ready=lambda one: "Ctrl-C" in one.out.read_text(), cwd=PROJECT
    ) as server:
        said = server.out.read_text()
    for kind in ("curl -o", "curl -sI", "206", "304", "_format=json", "410", "404"):
        assert kind in said
    assert (tmp_path / "demo" / "demo.yaml").is_file()


def test_what_it_lets_the_demonstration_answer_as_exists() -> None:
    names = re.findall(r"--personality (\S+)`", PAGE.text)
    assert names
    for name in names:
        named(name)


@pytest.mark.parametrize("block", shown("yaml"), ids=str)
def test_each_configuration_works(block: Block, site: Site) -> None:
    data = yaml.safe_load(block.text)
    if "sources" not in data:
        data = yaml.safe_load(CONFIGURATION) | {"sources": {"shared-care": data}}
    (site.home / "gateway.yaml").write_text(site.mapped(yaml.safe_dump(data)))
    assert "All well." in site.typed("fhir-gateway check --config gateway.yaml")


def test_the_example_works(site: Site) -> None:
    """The one in config/examples; its key has no password."""
    text = (PROJECT / "config" / "examples" / "xds.yaml").read_text()
    (site.home / "run" / "secrets" / "client.key").write_bytes((site.home / "gateway.key").read_bytes())
    (site.home / "gateway.yaml").write_text(site.mapped(text))
    assert "All well." in site.typed("fhir-gateway check --config gateway.yaml")


def test_a_client_certificate_from_windows(site: Site) -> None:
    """The command for a .pfx file; the password that it asks for is given."""
    require("openssl")
    (command,) = [span for span in PAGE.spans if span.startswith("openssl pkcs12")]
    pair = [(site.home / f"gateway.{ending}").read_bytes() for ending in ("key", "pem")]
    key = serialization.load_pem_private_key(pair[0], None)
    stored = pkcs12.serialize_key_and_certificates(
        b"gateway", key, x509.load_pem_x509_certificate(pair[1]), None, serialization.BestAvailableEncryption(b"x")
    )  # type: ignore[arg-type]
    (site.home / "client.pfx").write_bytes(stored)
    site.typed(f"{command} -passin pass:x && cp client.pem /run/secrets/both.pem")
    data = yaml.safe_load(shown("yaml")[0].text)
    data["sources"]["shared-care"]["options"]["endpoints"][0]["tls"]["certificate"] = "/run/secrets/both.pem"
    (site.home / "gateway.yaml").write_text(site.mapped(yaml.safe_dump(data)))
    assert "All well." in site.typed("fhir-gateway check --config gateway.yaml")


# --- words -----------------------------------------------------------------------------------------------------------


def test_every_option_is_told_about() -> None:
    words = " ".join(PAGE.spans) + " ".join(block.text for block in PAGE.blocks)
    names = {name for model in (XdsOptions, Endpoint, Registry) for name in model.model_fields}
    assert {name for name in names if not re.search(rf"\b{name}\b", words)} == set()


def test_what_the_repositorys_people_see_is_what_is_asked() -> None:
    assert NOBODYS in PAGE.spans


def rows(section: str, first: str) -> list[list[str]]:
    """The rows of the tables of a section whose first cell looks like this."""
    found = re.search(rf"^## {section}\n(.*?)(?=^## )", PAGE.text, re.MULTILINE | re.DOTALL)
    assert found
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines() if line[:1] == "|"]
    return [row for row in cells if re.fullmatch(first, row[0])]


def codes() -> dict[str, tuple[str, str]]:
    return {row[0].strip("`"): (row[1], row[2]) for row in rows("When it fails", "`XDS.*`")}


@pytest.mark.parametrize("code", codes())
def test_a_code_means_what_the_table_says(code: str) -> None:
    error = refused("Failure", [RegistryError(code, warning=False)], deferred=False, corrections={})
    entry = problem_for(error).entry
    assert (str(entry.status), entry.code) == codes()[code]


def test_every_code_that_the_adapter_knows_is_in_the_table() -> None:
    assert set(codes()) == set(_MEANINGS)


def test_a_code_that_nobody_knows_is_not_a_missing_document() -> None:
    error = refused("Failure", [RegistryError("VendorCode", warning=False)], deferred=False, corrections={})
    assert problem_for(error).entry.status == 502


def texts() -> str:
    """Every text in the adapter's code, with what is put together from several lines in one."""
    found = []
    for path in (PROJECT / "adapters" / "xds").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_every_text_that_is_quoted_is_in_the_adapter() -> None:
    said, quoted = texts(), [row[0].strip('"') for row in rows("When it fails", '".*"')]
    assert quoted
    assert [text for text in quoted if text not in said] == []


def test_the_meanings_of_error_map_are_all_named() -> None:
    for meaning in set(_MEANINGS.values()) | {"deleted", "denied"}:
        assert meaning in PAGE.spans


def named_in_errors() -> set[str]:
    """What stands between back-ticks in the texts of the modules that say what went wrong."""
    found: set[str] = set()
    for name in ("failures", "outcome", "probe", "assertion", "service", "arrival", "spool", "registry"):
        tree = ast.parse((PROJECT / "adapters" / "xds" / f"{name}.py").read_text())
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                found |= set(re.findall(r"`([^`]+)`", node.value))
    return found


def test_every_option_that_an_error_names_exists() -> None:
    """`check` leads to its line by that name."""
    names = {name.partition(":")[0] for name in named_in_errors()}
    assert {"url", "tls.ca", "saml.assertion_file", "timeouts.connect", "repository_unique_ids"} <= names
    # The first is the source's, the second stands beside the endpoints; neither is what a probe leads to.
    others = {"limits.open_timeout", "spool_directory"}
    assert {name for name in names if walk(Endpoint, name.split("."), {}) is None} == others
