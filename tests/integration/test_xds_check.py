"""`fhir-gateway check` and `fetch` with an xds source: each fault is named at its line, with its cure and the exit code."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.demo.xds import FAULTS, HOME, REPOSITORY, FakeRepository, letter
from tests.support.folder import unprivileged
from tests.support.ports import free_port
from tests.support.xds import Authority, Pair, assertion, fake_repository
from tests.support.xds_source import endpoint

# The commands have loops of their own, and may read their files there.
pytestmark = pytest.mark.blocking_allowed

SECRET = "secret-4711"
"""A word in names of files and in their contents, which no output may repeat."""


async def command(*arguments: str) -> Result:
    """The command, on a thread: it has an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, main, list(arguments))


def configured(folder: Path, *endpoints: dict[str, Any], limits: dict[str, Any] | None = None, **options: Any) -> str:
    """A configuration with this xds source; the path of its file."""
    if not (folder / "seal").exists():
        (folder / "seal").write_bytes(bytes(range(32)))
    source = {
        "adapter": "xds",
        "prefix": "x.",
        "ids": {"scheme": "sealed", "key_file": "seal"},
        "options": {"endpoints": list(endpoints), **options},
        "limits": limits or {},
    }
    config = folder / "gateway.yaml"
    config.write_text(yaml.safe_dump({"auth": {"mode": "none"}, "sources": {"shared-care": source}}, sort_keys=False))
    return str(config)


@dataclass(frozen=True, slots=True)
class Told:
    """What `check` said of the only thing that is wrong. `line`: the text of the line that it points to."""

    code: int
    words: str
    key: str
    line: str


async def told(folder: Path, *endpoints: dict[str, Any], **options: Any) -> Told:
    """Run `check` where one thing is wrong; what a person reads says the same as what a machine does."""
    config = configured(folder, *endpoints, **options)
    result = await command("check", "--json", "--config", config)
    facts = json.loads(result.stdout)
    assert facts["code"] == result.exit_code
    if facts["problems"]:
        (problem,) = facts["problems"]
        place, key, words = problem["line"], problem["key"], f"{problem['cause']} {problem['cure']}"
    else:
        (source,) = facts["sources"]
        (words,), (where,) = source["details"], source["places"]
        place, key = where.removeprefix(f"{config}:").split(":")[0], where.rpartition(" ")[2]
    shown = await command("check", "--config", config)
    assert shown.exit_code == result.exit_code
    assert "Traceback" not in shown.output
    assert _squeezed(words) in _squeezed(shown.output)
    assert _squeezed(key) in _squeezed(shown.output)
    return Told(result.exit_code, words, key, Path(config).read_text().splitlines()[int(place) - 1].strip())


def _squeezed(text: str) -> str:
    """`text` without what a page adds to it: blanks, and a capital at the beginning of a sentence."""
    return re.sub(r"\s", "", text).lower()


OPTIONS = "sources.shared-care.options"


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


# --- the address ---------------------------------------------------------------------------------------------------


async def test_a_wrong_path(fake: FakeRepository, tmp_path: Path) -> None:
    found = await told(tmp_path, endpoint(f"{fake.url}/xds"))
    assert found == Told(
        1,
        "endpoint a: there is no service at this path of the server: correct `url` (HTTP 404)",
        f"{OPTIONS}.endpoints[0].url",
        f"url: {fake.url}/xds",
    )


async def test_a_wrong_host(tmp_path: Path) -> None:
    found = await told(tmp_path, endpoint("https://xds.invalid/repository"))
    assert (found.code, found.key, found.line) == (
        1, f"{OPTIONS}.endpoints[0].url", "url: https://xds.invalid/repository"
    )  # fmt: skip
    assert found.words == "endpoint a: the server's name is not known here: correct `url`, or the name service"


async def test_a_wrong_port(tmp_path: Path) -> None:
    found = await told(tmp_path, endpoint(f"http://127.0.0.1:{free_port()}/repository"))
    assert (found.code, found.key) == (1, f"{OPTIONS}.endpoints[0].url")
    assert found.words == "endpoint a: nothing answers at this address: correct `url`, or start the service"


async def test_a_log_on_page(fake: FakeRepository, tmp_path: Path) -> None:
    found = await told(tmp_path, endpoint(fake.endpoint(personality="html-login")))
    assert (found.code, found.key) == (1, f"{OPTIONS}.endpoints[0].url")
    assert found.words == "endpoint a: the server answers with HTML in place of a SOAP message: correct `url`"


@pytest.mark.parametrize("encoding", ["mtom", "soap12", "soap11"])
async def test_a_registrys_address(fake: FakeRepository, tmp_path: Path, encoding: str) -> None:
    found = await told(tmp_path, endpoint(fake.endpoint("registry"), request_encoding=encoding))
    assert (found.code, found.key) == (1, f"{OPTIONS}.endpoints[0].url")
    assert found.words.startswith("endpoint a: `url` is that of a registry: give the repository's own")


async def test_a_repositorys_address_in_place_of_a_registrys(fake: FakeRepository, tmp_path: Path) -> None:
    found = await told(tmp_path, endpoint(fake), registry={"url": fake.endpoint("repository")})
    assert (found.code, found.key) == (1, f"{OPTIONS}.registry.url")
    assert "`url` is that of another service" in found.words


async def test_a_server_that_says_nothing_hides_nothing_about_the_others(fake: FakeRepository, tmp_path: Path) -> None:
    silent = endpoint(fake.endpoint(personality="stall-start"), alias="b", repository_unique_ids=["1.2.3"])
    del silent["timeouts"]
    config = configured(tmp_path, endpoint(f"{fake.url}/xds"), silent, limits={"open_timeout": "1s"})
    result = await command("check", "--json", "--config", config)
    (source,) = json.loads(result.stdout)["sources"]
    assert result.exit_code == 1
    assert [words.partition(":")[0] for words in source["details"]] == ["endpoint a", "endpoint b"]
    assert source["details"][1].startswith(
        "endpoint b: no answer within 0.9 s: correct `url`, which may need https, or "
    )
    assert "raise `limits.open_timeout`" in source["details"][1]
    assert [place.rpartition(" ")[2] for place in source["places"]] == [
        f"{OPTIONS}.endpoints[0].url",
        f"{OPTIONS}.endpoints[1].url",
    ]


# --- certificates --------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def files(authority: Authority, pair: Pair | None = None) -> dict[str, str]:
    """Options under `tls`."""
    own = {} if pair is None else {"certificate": str(pair.certificate), "key": str(pair.key)}
    return {"ca": str(authority.file), **own}


async def test_mutual_tls(authority: Authority, tmp_path: Path) -> None:
    async with fake_repository(letter(1), tls=authority.server(clients=True)) as fake:
        pair = authority.issue("gateway", client=True)
        result = await command("check", "--config", configured(tmp_path, endpoint(fake, tls=files(authority, pair))))
    assert result.exit_code == 0, result.output


async def test_a_missing_client_certificate(authority: Authority, tmp_path: Path) -> None:
    async with fake_repository(letter(1), tls=authority.server(clients=True)) as fake:
        found = await told(tmp_path, endpoint(fake, tls=files(authority)))
    assert (found.code, found.key, found.line) == (1, f"{OPTIONS}.endpoints[0].tls.certificate", "tls:")
    assert found.words == "endpoint a: the server wants a client certificate: set `tls.certificate` and `tls.key`"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda own, other: own.issue("gateway", client=True, expired=True), "has expired, the server says: renew it"),
        (lambda own, other: other.issue("gateway", client=True), "the server does not know who issued the client"),
        (lambda own, other: own.issue("gateway"), "is none for clients"),
    ],
)
async def test_a_client_certificate_that_is_not_accepted(
    authority: Authority, tmp_path: Path, make: Callable[[Authority, Authority], Pair], words: str
) -> None:
    pair = make(authority, Authority(tmp_path, "Stranger"))
    async with fake_repository(letter(1), tls=authority.server(clients=True)) as fake:
        found = await told(tmp_path, endpoint(fake, tls=files(authority, pair)))
    assert (found.code, found.key) == (1, f"{OPTIONS}.endpoints[0].tls.certificate")
    assert found.line == f"certificate: {pair.certificate}"
    assert words in found.words


@pytest.mark.parametrize(
    ("server", "trusted", "key", "words"),
    [
        (lambda own: own.server(), False, "tls.ca", "give the authority's certificate in `tls.ca`"),
        (lambda own: own.server("elsewhere.trust.local"), True, "url", "or set `tls.server_hostname`"),
        (lambda own: own.server(expired=True), True, "", "the server's certificate has expired: it must be renewed"),
    ],
)
async def test_a_server_that_cannot_be_trusted(
    authority: Authority, tmp_path: Path, server: Callable[[Authority], Any], trusted: bool, key: str, words: str
) -> None:
    async with fake_repository(letter(1), tls=server(authority)) as fake:
        found = await told(tmp_path, endpoint(fake, tls=files(authority) if trusted else {}))
    assert (found.code, found.key) == (1, f"{OPTIONS}.endpoints[0].{key}".rstrip("."))
    assert found.words.endswith(words)


async def test_files_that_cannot_work_stop_the_start(authority: Authority, tmp_path: Path) -> None:
    own, other = authority.issue("own", client=True), authority.issue("other", client=True)
    wrong = [
        ({"ca": f"{SECRET}.pem"}, "ca", "is not there. Correct the path"),
        ({"certificate": f"{SECRET}.pem"}, "certificate", "is not there"),
        ({"certificate": str(own.certificate), "key": f"{SECRET}.pem"}, "key", "is not there"),
        ({"certificate": str(own.certificate)}, "key", "Name the file of the key in `key`"),
        (
            {"certificate": str(own.certificate), "key": str(other.key)},
            "certificate",
            "Give the key that it was issued",
        ),
        ({"certificate": str(own.key), "key": str(own.certificate)}, "certificate", "`openssl pkcs12"),
    ]
    for tls, key, words in wrong:
        found = await told(tmp_path, endpoint("https://127.0.0.1:1/repository", tls=tls))
        assert (found.code, found.key) == (2, f"{OPTIONS}.endpoints[0].tls.{key}")
        assert words in found.words
        assert SECRET not in found.words
        assert found.line == (f"{key}: {tls[key]}" if key in tls else "tls:")


# --- assertions and keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (assertion(ends="2024-03-01T12:00:00Z"), "expired at 2024-03-01 12:00:00 UTC: put a fresh one"),
        (SECRET, "is not well-formed XML: put a fresh assertion there"),
        ("", "is empty: put a fresh assertion there"),
        ("<Response/>", "holds something else than one SAML 2.0 assertion"),
        (f"<Response>{assertion()}</Response>", "holds an assertion and something around it"),
    ],
)
async def test_an_assertion_that_cannot_be_used(fake: FakeRepository, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "assertion.xml").write_text(text)
    found = await told(tmp_path, endpoint(fake, saml={"assertion_file": "assertion.xml"}))
    assert (found.code, found.key) == (1, f"{OPTIONS}.endpoints[0].saml.assertion_file")
    assert found.line == "assertion_file: assertion.xml"
    assert words in found.words
    assert SECRET not in found.words
    assert fake.exchanges == []


async def test_a_missing_assertion(fake: FakeRepository, tmp_path: Path) -> None:
    found = await told(tmp_path, endpoint(fake, saml={"assertion_file": "assertion.xml"}))
    assert (found.code, found.key) == (2, f"{OPTIONS}.endpoints[0].saml.assertion_file")
    assert found.words.startswith("There is no file ")


async def test_an_assertion_that_is_wanted(fake: FakeRepository, tmp_path: Path) -> None:
    found = await told(tmp_path, endpoint(fake.endpoint(personality="requires-security")))
    assert (found.code, found.key) == (1, f"{OPTIONS}.endpoints[0].saml.assertion_file")
    assert "set or renew the assertion of `saml.assertion_file`" in found.words


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("seal", "sources.shared-care.ids.key_file"),
        ("assertion.xml", f"{OPTIONS}.endpoints[0].saml.assertion_file"),
        ("client.pem", f"{OPTIONS}.endpoints[0].tls.certificate"),
    ],
)
def test_a_file_that_the_account_may_not_read(name: str, key: str) -> None:
    with TemporaryDirectory() as directory:
        folder = Path(directory)
        folder.chmod(0o755)
        given = endpoint(
            "https://127.0.0.1:1/repository",
            saml={"assertion_file": "assertion.xml"},
            tls={"certificate": "client.pem"},
        )
        config = configured(folder, given)
        for file in ("assertion.xml", "client.pem"):
            (folder / file).write_text(assertion())
        # Once with all rights: what is imported lazily may lie where the ordinary account cannot look.
        assert "cannot be read" not in CliRunner().invoke(main, ["check", "--config", config]).output
        (folder / name).chmod(0)
        with unprivileged():
            result = CliRunner().invoke(main, ["check", "--config", config])
    assert result.exit_code == 2
    assert key in result.output
    assert "cannot be read" in result.output
    assert "Let the account that runs the gateway read" in result.output


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (None, "There is no file "),
        (b"", "Make one with: head -c 32 /dev/urandom"),
        (b"far too short", "The file does not hold a key of 32 bytes"),
    ],
)
async def test_a_key_of_the_ids_that_is_none(
    fake: FakeRepository, tmp_path: Path, key: bytes | None, words: str
) -> None:
    config = configured(tmp_path, endpoint(fake))
    (tmp_path / "seal").unlink() if key is None else (tmp_path / "seal").write_bytes(key)
    result = await command("check", "--config", config)
    assert result.exit_code == 2
    assert f"{config}:9:7  sources.shared-care.ids.key_file" in result.output
    assert words in result.output


# --- how it is asked -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("personality", "options", "advice"),
    [
        ("soap11", {}, "request_encoding: soap11"),
        ("soap11", {"request_encoding": "soap12"}, "request_encoding: soap11"),
        ("mtom-only", {"request_encoding": "soap12"}, "request_encoding: mtom"),
        ("refuses-addressing", {}, "must_understand: false"),
        ("standard", {"ws_addressing": []}, "ws_addressing: [action, message_id, to, reply_to]"),
        ("wants-oid-prefix", {}, "repository_id_style: urn"),
        ("standard", {"transaction": "iti39", "home_community_id": HOME}, "transaction: iti43"),
    ],
)
async def test_what_it_says_to_write_is_what_helps(
    fake: FakeRepository, tmp_path: Path, personality: str, options: dict[str, Any], advice: str
) -> None:
    given = endpoint(fake.endpoint(personality=personality), **options)
    found = await told(tmp_path, given)
    assert found.code == 1
    assert found.words.startswith(
        f"endpoint a: the service refuses requests like this, and answers to others: set `{advice}` ("
    )
    assert found.key == f"{OPTIONS}.endpoints[0].{advice.partition(':')[0]}"
    result = await command("check", "--config", configured(tmp_path, given | yaml.safe_load(advice)))
    assert result.exit_code == 0, result.output


async def test_two_changes_at_once(fake: FakeRepository, tmp_path: Path) -> None:
    given = endpoint(fake.endpoint(personality="soap11+refuses-addressing"))
    found = await told(tmp_path, given)
    assert "set `request_encoding: soap11` and `must_understand: false`" in found.words


async def test_a_slow_service_that_does_not_understand_is_not_called_silent(
    fake: FakeRepository, tmp_path: Path
) -> None:
    fake.personality = FAULTS["fault-500-soap12"].on(fake.personality).but(delay=0.5)
    found = await told(tmp_path, endpoint(fake), limits={"open_timeout": "2s"})
    assert "answered with a fault (Receiver)" in found.words


async def test_a_slow_service_with_many_repositories_is_not_called_silent(fake: FakeRepository, tmp_path: Path) -> None:
    repositories = [REPOSITORY, *(f"1.2.3.{number}" for number in range(20))]
    for repository in repositories[1:]:
        fake.shelf.put(replace(letter(3), repository=repository, unique_id=f"{repository}.1"))
    fake.personality = fake.personality.but(delay=0.2)
    given = endpoint(fake, repository_unique_ids=repositories)
    result = await command("check", "--config", configured(tmp_path, given, limits={"open_timeout": "2s"}))
    assert result.exit_code == 0, result.output


async def test_a_passing_fault_is_no_reason_for_advice(fake: FakeRepository, tmp_path: Path) -> None:
    fake.next("fault-500-soap12")
    result = await command("check", "--config", configured(tmp_path, endpoint(fake)))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("number", [0, 1])
async def test_a_repository_that_nobody_knows(fake: FakeRepository, tmp_path: Path, number: int) -> None:
    repositories = [REPOSITORY]
    repositories.insert(number, "1.2.3.4711")
    found = await told(tmp_path, endpoint(fake, repository_unique_ids=repositories))
    assert (found.code, found.key) == (1, f"{OPTIONS}.endpoints[0].repository_unique_ids[{number}]")
    assert found.line == "- 1.2.3.4711"
    assert "the repository does not know itself by this id: correct `repository_unique_ids`" in found.words


@pytest.mark.parametrize("repositories", [[], [REPOSITORY]])
async def test_a_community_that_nobody_knows(fake: FakeRepository, tmp_path: Path, repositories: list[str]) -> None:
    given = endpoint(
        fake.endpoint("gateway"),
        transaction="iti39",
        home_community_id="1.2.3.4711",
        repository_unique_ids=repositories,
    )
    found = await told(tmp_path, given)
    assert (found.code, found.key) == (1, f"{OPTIONS}.endpoints[0].home_community_id")
    assert "the gateway does not know this community: correct `home_community_id`" in found.words


# --- a document ----------------------------------------------------------------------------------------------------


async def test_a_document_by_its_sealed_id(fake: FakeRepository, tmp_path: Path) -> None:
    config = configured(tmp_path, endpoint(fake))
    where = ["--source", "shared-care", "--repository", letter(1).repository, "--document", letter(1).unique_id]
    made = await command("ids", "encode", "--config", config, *where)
    output = tmp_path / "letter.pdf"
    result = await command("fetch", made.output.strip(), "--config", config, "--output", str(output))
    assert (made.exit_code, result.exit_code) == (0, 0)
    assert output.read_bytes() == letter(1).data
