"""The commented configuration and the reference page are made from the models, complete, and true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from gateway.cli import main, reference
from gateway.settings import Settings, load
from gateway.settings.models import Section

PROJECT = Path(__file__).parents[2]
FRESH = "write it anew with: python -m gateway.cli.reference"


def test_the_files_are_what_the_models_say() -> None:
    assert (PROJECT / "config" / "gateway.yaml").read_text(encoding="utf-8") == reference.sample(), FRESH
    assert (PROJECT / "docs" / "configuration.md").read_text(encoding="utf-8") == reference.page(), FRESH


def test_the_sample_shows_the_defaults(tmp_path: Path) -> None:
    """With every `# ` taken off, the sample still loads, and to the same settings."""
    sample = reference.sample()
    as_it_is, uncommented = tmp_path / "as-it-is.yaml", tmp_path / "uncommented.yaml"
    as_it_is.write_text(sample)
    text, changed = re.subn(r"^# ", "", sample, flags=re.MULTILINE)
    assert changed > 50
    uncommented.write_text(text)
    assert load(uncommented, {}).model_dump() == load(as_it_is, {}).model_dump()


def _models(shape: Any) -> Iterator[type[BaseModel]]:
    for model in Section.__subclasses__():
        if model is not Settings:
            yield model


@pytest.mark.parametrize("model", [*_models(None), *(model for _, model in reference._adapter_models())], ids=str)
def test_every_key_is_in_both_with_a_sentence(model: type[BaseModel]) -> None:
    sample, page = reference.sample(), reference.page()
    for name in model.model_fields:
        shape = reference._shape(model, name)
        assert re.search(rf"^#* *{name}[: ]", sample, re.MULTILINE), name
        if not reference._is_section(shape):
            row = re.search(rf"^\| `{name}` \| .+ \| .+ \| (.+) \|$", page, re.MULTILINE)
            assert row, name
            assert len(row[1]) > 10, name


def test_keys_deep_inside_an_adapters_options_are_in_both() -> None:
    """A list of sections, a section that may be null, and one in another: none of them hides its keys."""
    sample, page = reference.sample(), reference.page()
    for title in ("endpoints[]", "endpoints[].tls", "endpoints[].saml", "registry", "registry.timeouts"):
        assert f"## `sources.letters.options.{title}`, adapter xds\n" in page
    for name in (
        "repository_unique_ids",
        "request_encoding",
        "assertion_file",
        "server_hostname",
        "between_bytes",
        "use_for",
    ):
        assert re.search(rf"^\| `{name}` \| .{{10}}", page, re.MULTILINE), name
        assert re.search(rf"^## +{name} \(", sample, re.MULTILINE), name


EXAMPLES = sorted((PROJECT / "config" / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.stem != "xds"], ids=lambda path: path.name)
def test_an_example_works_as_it_is(path: Path) -> None:
    """The one that needs a repository is tried in `test_xds_docs`. On free ports: somebody may hold the usual ones."""
    free = {"GATEWAY__SERVER__PORT": "0", "GATEWAY__ADMIN__PORT": "0"}
    result = CliRunner(env=free).invoke(main, ["check", "--config", str(path)])
    assert result.exit_code == 0, result.output


def test_lines_have_one_of_three_meanings() -> None:
    """`##` explains, `#` shows a default, no mark means that it must be set."""
    active = [line.strip() for line in reference.sample().splitlines() if line and not line.startswith("#")]
    assert [line.split(":")[0] for line in active] == [
        "auth",
        "mode",
        "sources",
        "letters",
        "adapter",
        "ids",
        "scheme",
        "pattern",
        "options",
        "root",
    ]
    for line in reference.sample().splitlines():
        assert re.match(r"(## |# *[ a-zA-Z_0-9]+:|[ a-z_]+:|$)", line), line
