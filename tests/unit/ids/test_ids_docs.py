"""docs/ids.md says what the schemes do."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
import yaml

from gateway.ids import ManifestIds
from gateway.ids.manifest_header import COLUMNS
from gateway.ids.manifest_index import load
from gateway.ids.template import Template
from tests.unit.ids.manifests import everything, index, located, problems

PAGE = (Path(__file__).parents[3] / "docs" / "ids.md").read_text(encoding="utf-8")
PATTERNS = re.findall(r"^\| `(\S*\{id\S*)` \| `(\S+)` \| (.+) \|$", PAGE, re.MULTILINE)


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("pattern", "id", "document"), PATTERNS)
def test_the_table_of_patterns(pattern, id, document):
    template = Template.parse(pattern)
    stem = template.stem(id)
    if template.ending is None:
        assert document == f"`{stem}`"
    elif template.ending == "any":
        assert f"`{stem}.`" in document
    else:
        assert [f"`{stem}{ending}`" for ending in template.ending] == re.findall("`.+?`", document)


def test_the_table_of_patterns_was_found():
    assert len(PATTERNS) == 8


def test_the_table_of_columns():
    assert re.findall(r"^\| `([a-z_]+)` \| ", PAGE, re.MULTILINE) == list(COLUMNS)


def test_the_options_are_named():
    assert [name for name in ManifestIds.model_fields if not re.search(rf"[`{{ ]{name}[`:]", PAGE)] == []


def test_the_example_loads(tmp_path):
    (example,) = blocks("csv")
    with index(tmp_path, example) as made:
        assert everything(made, ["K7Q2M4", "K7Q2M5"]) == {"K7Q2M4": "vol3/47/11/0001.tif", "K7Q2M5": "gone"}
        assert made.find("K7Q2M4").attributes == {"site": "RXH"}


def test_the_windows_example_reads_windows_paths(tmp_path):
    ids = yaml.safe_load(blocks("yaml")[1])["ids"]
    (tmp_path / "index.csv").write_text("id,path\n1,\\\\FILESERVER\\Scans\\47\\11\\0001.tif\n")
    made = load("s", ManifestIds.model_validate({**ids, "file": tmp_path / "index.csv"}), "", stop=threading.Event())
    assert made.find("1").locator == "47/11/0001.tif"
    made.close()


def test_the_raw_example(tmp_path):
    (written,) = re.findall(r"`(raw:caf\S+)`", PAGE)
    assert located(tmp_path, f"id,path\n1,{written}\n").locator == "caf\udce9/letter 1.pdf"


def test_the_sentences_about_problems_are_those_of_the_gateway(tmp_path):
    shown = [
        line.split(": ", 1)[1].removesuffix(".")
        for line in blocks("text")[0].splitlines()
        if line.startswith("  Line ")
    ]
    made = problems(tmp_path, "id,path,a,b,c,d,statsu\n")
    made += problems(tmp_path, "id,path,title\n1,../x,\n2,a,\n2,b,\n3,c,é\n".encode("latin-1"))
    said = {re.sub("line [0-9]+$", "line 12", line.split(": ", 1)[1]) for line in made}
    assert said == set(shown)
