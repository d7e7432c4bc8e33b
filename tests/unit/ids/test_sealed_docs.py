"""docs/ids.md says what sealed ids do, and its table what fits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from gateway.ids import Alias, SealedIds
from gateway.ids.sealed import Address, Place, Seal
from gateway.settings import load

PAGE = (Path(__file__).parents[3] / "docs" / "ids.md").read_text(encoding="utf-8").partition("\n## Sealed")[2]
ROWS = re.findall(r"^\| (.+?) \| .*?([0-9]+) characters\)? \|$", PAGE, re.MULTILINE)

seal = Seal("x.", [bytes(32)], {"a": [Place(None, "1.2.3")]})

UUID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
SAMPLES = {
    "an object identifier": ("{root}", 64),
    "16 letters and digits": ("{root}^" + "zZ" * 8, 47),
    "16 digits": ("{root}^" + "9" * 16, 58),
    "`OID^UUID`": ("{root}^" + UUID, 38),
    "other text": ("~", 40),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_table_of_what_fits(kind):
    (stated,) = [int(length) for row, length in ROWS if kind in row]
    pattern, length = SAMPLES[kind]
    assert stated == length

    def fits(length: int) -> bool:
        document = "~" * length if pattern == "~" else pattern.format(root="9" * length)
        return seal.encode(Address(None, "1.2.3", document)) is not None

    assert fits(stated)
    assert stated == 64 or not fits(stated + 1)


@pytest.mark.parametrize("document", [UUID, UUID.upper(), f"urn:uuid:{UUID}"])
def test_every_uuid_fits(document):
    assert seal.encode(Address(None, "1.2.3", document))


def test_the_options_are_named():
    names = [*SealedIds.model_fields, *Alias.model_fields]
    assert [name for name in names if not re.search(rf"[`{{ ]{name}[`:]", PAGE)] == []


def test_the_example_loads(tmp_path):
    (block,) = re.findall(r"```text\n(ids:\n.*?)```", PAGE, re.DOTALL)
    (tmp_path / "seal").write_bytes(bytes(32))
    text = re.sub(r"/[a-z/-]*/seal[-0-9]*", str(tmp_path / "seal"), block)
    source = {"adapter": "memory", "prefix": "x.", **yaml.safe_load(text)}
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump({"auth": {"mode": "none"}, "sources": {"shared-care": source}}))
    ids = load(path, {}).sources["shared-care"].ids
    assert isinstance(ids, SealedIds)
    assert [*(ids.aliases or {})] == ["a", "b", "far"]
