"""The documentation is true: the commands of README.md and docs/ run, their configurations load, their links lead on.

Each command runs as `doc_reader` types it; one that it has no rule for fails, so that nobody adds a line unrun.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import click
import pytest
import yaml

from gateway.cli import main
from gateway.ids import ManifestError, ManifestIds, open_scheme
from gateway.settings import Settings, SettingsError, SourceSettings, load
from gateway.settings.environment import PREFIX
from gateway.settings.shape import Shape
from tests.meta.doc_blocks import Block, Page, pages
from tests.meta.doc_reader import ARCHIVE, CONFIGURATION, PROJECT, Reader, Untrue

PAGES = pages(PROJECT)
README = PAGES[0]

ELSEWHERE = {"docs/adapters.md": "tests/meta/test_adapter_tutorial.py"}
"""Pages whose blocks belong together and have a test of their own."""

TYPED_ELSEWHERE = {
    "docs/xds.md": "tests/meta/test_xds_docs.py",
    "docs/tutorial.md": "tests/meta/test_tutorial.py",
}
"""Pages whose commands need a server that this module does not have; their other blocks are read here."""

# --- commands --------------------------------------------------------------------------------------------------------


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with ExitStack() as stack:
        yield Reader(tmp_path, stack)


def with_commands() -> list[Page]:
    return [
        page
        for page in PAGES
        if page.name not in (README.name, *ELSEWHERE, *TYPED_ELSEWHERE)
        and any(block.language in ("sh", "console") for block in page.blocks)
    ]


@pytest.mark.parametrize("page", with_commands(), ids=lambda page: page.name)
def test_every_command_works_in_its_order(page: Page, reader: Reader) -> None:
    reader.follow(page)


def test_the_readme_ends_with_the_archive_served(reader: Reader) -> None:
    reader.follow(README)
    original = (ARCHIVE / "discharge" / "2021" / "discharge-0417.pdf").read_bytes()
    assert (reader.work / "letter.pdf").read_bytes() == original, "the sample's letter, by curl"
    documents = sorted((reader.home / "srv" / "letters").iterdir())
    assert documents
    for path in documents:
        with urlopen(f"http://127.0.0.1:{reader.public}/R4/Binary/{path.stem}") as answer:
            assert answer.read() == path.read_bytes()


# --- blocks that are no commands -------------------------------------------------------------------------------------


def read_configuration(block: Block, reader: Reader) -> None:
    """A configuration as it stands; what is part of one, or of a source, gets the rest."""
    data, rest = yaml.safe_load(reader.mapped(block.text)), yaml.safe_load(reader.mapped(CONFIGURATION))
    path = reader.work / "block.yaml"
    if data.keys() >= rest.keys():
        path.write_text(reader.mapped(block.text))
    elif data.keys() <= Settings.model_fields.keys():
        path.write_text(yaml.safe_dump(rest | data))
    elif data.keys() <= SourceSettings.model_fields.keys():
        rest["sources"]["letters"] |= data
        path.write_text(yaml.safe_dump(rest))
    else:
        raise Untrue(f"{block}: neither a configuration nor a part of one: {', '.join(data)}")
    try:
        load(path, {})
    except SettingsError as error:
        raise Untrue(f"{block}: {[str(problem) for problem in error.problems]}") from None


def read_manifest(block: Block, reader: Reader) -> None:
    path = reader.work / "block.csv"
    path.write_text(block.text)

    async def resolve(stem: str, suffixes: tuple[str, ...] | None = None) -> str:
        raise AssertionError("a manifest asks no archive")

    async def opened() -> None:
        ids = ManifestIds(scheme="manifest", file=path)
        async with open_scheme("letters", ids, prefix="", resolve=resolve, log=None):
            pass

    try:
        asyncio.run(opened())
    except ManifestError as error:
        raise Untrue(f"{block}: {error}") from None


def read_json(block: Block, reader: Reader) -> None:
    try:
        json.loads(block.text)
    except ValueError as error:
        raise Untrue(f"{block}: {error}") from None


def run_program(block: Block, reader: Reader) -> None:
    command = [sys.executable, "-c", block.text]
    done = subprocess.run(command, cwd=reader.work, env=reader.environ, capture_output=True, text=True, timeout=100)
    if done.returncode:
        raise Untrue(f"{block}: {done.stderr}")


READ: Mapping[str, Callable[[Block, Reader], None]] = {
    "yaml": read_configuration,
    "csv": read_manifest,
    "json": read_json,
    "python": run_program,
}
"""What is done with a block that holds no commands. Each raises `Untrue`."""


def blocks() -> list[Block]:
    return [block for page in PAGES if page.name not in ELSEWHERE for block in page.blocks]


@pytest.mark.parametrize("block", [block for block in blocks() if block.language in READ], ids=str)
def test_a_block_is_what_it_says(block: Block, reader: Reader) -> None:
    READ[block.language](block, reader)


def unread(found: list[Block]) -> list[str]:
    """Blocks in a language that no test reads, and commands in a block that only shows something."""
    strange = [f"{block}: marked {block.language!r}" for block in found if block.language not in LANGUAGES]
    hidden = [block for block in found if block.language in SHOWN and COMMAND.search(block.text)]
    return strange + [f"{block}: holds a command, and is not marked sh" for block in hidden]


SHOWN = ("", "text", "toml")
LANGUAGES = (*SHOWN, *READ, "sh", "console")
COMMAND = re.compile(r"^\s*(\$ |(\S*/)?(fhir-gateway|make|curl|python3?|pip|docker) )", re.MULTILINE)


def test_no_block_escapes_the_tests() -> None:
    assert unread(blocks()) == []


# --- names in the text -----------------------------------------------------------------------------------------------


def fault(span: str) -> str | None:
    """What is wrong with a command or key between back-ticks; None when nothing is, or when it is neither."""
    words = span.split()
    if words[0] == "fhir-gateway" and len(words) > 1:
        return _command_fault(words[1:], whole=True)
    if words[0] in main.commands and "--" in span:
        return _command_fault(words, whole=False)
    if words[0] == "make" and len(words) > 1:
        known = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
        return None if words[1] in known else f"the Makefile has no target {words[1]!r}"
    if words[:2] == ["python", "-m"]:
        package = words[2].partition(".")[0]
        return None if find_spec(package) and find_spec(words[2]) else f"there is no module {words[2]!r}"
    if span.startswith(PREFIX):
        return _key_fault(span.removeprefix(PREFIX).partition("=")[0].lower().split("__"))
    if re.fullmatch(r"[a-z]+(\.[a-z_]+)+", span) and not span.endswith((".py", ".md", ".yaml", ".csv")):
        return _key_fault(span.split("."))
    return None


def _command_fault(words: list[str], *, whole: bool) -> str | None:
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0]) if words else None
        if found is None:
            return f"there is no command {words[:1]}"
        command, context, words = found, click.Context(found, parent=context), words[1:]
    try:
        given, _, _ = command.make_parser(context).parse_args(list(words))
    except click.UsageError as error:
        return error.format_message()
    if not words or not whole:
        return None
    wanted = [param.name for param in command.params if param.required or param.name == "config"]
    missing = [name for name in wanted if given.get(str(name)) is None]
    return f"{missing} is missing" if missing else None


def _key_fault(path: list[str]) -> str | None:
    for model in (Settings, SourceSettings):
        if path[0] in model.model_fields and path[0] != "options":
            return None if _leads_on(Shape(model), path) else f"there is no key {'.'.join(path)}"
    return None


def _leads_on(shape: Shape | None, path: list[str]) -> bool:
    """Whether there is such a key; the entries of a list are written without a number."""
    if shape is None or not path:
        return shape is not None
    entry = shape.child(0)
    return _leads_on(shape.child(path[0]), path[1:]) or (
        entry is not None and _leads_on(entry.child(path[0]), path[1:])
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_keys_named_in_the_text_exist(page: Page) -> None:
    assert not [f"`{span}`: {wrong}" for span in page.spans if (wrong := fault(span))]


# --- links -----------------------------------------------------------------------------------------------------------


def dead(page: Page) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for link in page.links:
        path, _, fragment = link.partition("#")
        target = (PROJECT / page.name).parent / path if path else PROJECT / page.name
        if not target.exists() or (fragment and fragment not in Page(page.name, target.read_text()).anchors):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Page) -> None:
    assert dead(page) == []


def unreached(found: list[Page]) -> set[str]:
    """The pages that README.md does not lead to: those of docs/ directly, those of its folders on some way."""
    by_name = {page.name: page for page in found}
    waiting, reached = ["README.md"], set()
    while waiting:
        name = waiting.pop()
        reached.add(name)
        for link in by_name[name].links:
            target = os.path.normpath(Path(name).parent / link.partition("#")[0])
            nearer = [page for page in by_name if page == target or page.startswith(f"{target}/")]
            waiting += [page for page in nearer if page not in reached]
    direct = {os.path.normpath(link.partition("#")[0]) for link in by_name["README.md"].links}
    return {name for name in by_name if name not in reached or (name.count("/") == 1 and name not in direct)}


def test_the_readme_leads_to_every_page() -> None:
    assert unreached(PAGES) == set()


# --- the checks catch what they are for ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("```sh\nfhir-gatway check --config gateway.yaml\n```", "this command is not run by any test"),
        ("```sh\nmake tests\n```", "this command is not run by any test"),
        ("```sh\nfhir-gateway check --confg gateway.yaml\n```", "No such option"),
        ("```sh\nfhir-gateway check --config gateway.yml\n```", "gateway.yml"),
        ("```sh\nfhir-gateway fetch letter-77 --config gateway.yaml --explain\n```", "exit status 1"),
        ("```sh\nfhir-gateway serve --config nowhere.yaml\n```", "nowhere.yaml"),
        ("```sh\ncurl -s http://127.0.0.1:8080/R4/Binary/letter-0\n```", "exit status 7"),
        ("```console\n$ fhir-gateway explain GW-DOC-001\nGW-DOC-001  Such a document\n```", "does not say"),
    ],
)
def test_a_wrong_command_is_noticed(block: str, said: str, reader: Reader) -> None:
    with pytest.raises(Untrue, match=re.escape(said)):
        reader.follow(Page("README.md", f"# Title\n\n{block}\n"))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("yaml", "auth: {mode: none}\nsorces: {}\n"),
        ("yaml", "auth: {mode: none}\nsources: {}\n"),
        ("yaml", "server: {prot: 1}\n"),
        ("yaml", 'ids: {scheme: template, patern: "{id}.pdf"}\n'),
        ("yaml", "limits: {max_open: many}\n"),
        ("yaml", "cache: {backend: redis}\n"),
        ("csv", "id,path\na,../b.pdf\n"),
        ("json", "{resourceType: Binary}\n"),
        ("python", "import gateway.nothing\n"),
    ],
)
def test_a_wrong_block_is_noticed(language: str, text: str, reader: Reader) -> None:
    with pytest.raises(Untrue):
        READ[language](Block("README.md", 1, language, text), reader)


@pytest.mark.parametrize(("language", "text"), [("bash", "ls\n"), ("", "fhir-gateway serve\n"), ("text", "$ ls\n")])
def test_a_block_that_hides_is_noticed(language: str, text: str) -> None:
    assert unread(Page("README.md", f"```{language}\n{text}```\n").blocks)


@pytest.mark.parametrize(
    "span",
    [
        "fhir-gateway purge",
        "fhir-gateway check --smple 5 --config F",
        "fhir-gateway check --sample 5",
        "check --samples 5",
        "make tset",
        "python -m benchmark.run",
        "GATEWAY__SERVER__PROT",
        "server.limits.drian",
        "limits.max_opened",
    ],
)
def test_a_wrong_name_is_noticed(span: str) -> None:
    (found,) = Page("README.md", f"Say `{span}`.").spans
    assert fault(found)


def test_a_dead_link_and_a_lost_page_are_noticed() -> None:
    links = "[a](docs/nothing.md) [b](docs/errors.md#gw-nothing) [c](docs/errors.md#gw-doc-001) [d](https://x.test/y)"
    page = Page("README.md", links)
    assert dead(page) == ["docs/nothing.md", "docs/errors.md#gw-nothing"]
    assert unreached([page, Page("docs/errors.md", ""), Page("docs/lost.md", "")]) == {"docs/lost.md"}
