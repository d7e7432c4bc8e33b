"""What passing on a large document of a share asks of the kernel: the memory of one piece serves the next."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest

from tests.support.cached_gateway import read
from tests.support.gateway import serving
from tests.support.samba import samba

pytestmark = [pytest.mark.blocking_allowed, pytest.mark.timeout(90)]

SIZE = 40 << 20
"""More than `max_document`, so that nothing is spooled."""

FAULTS = 500
"""Fresh pages that one read may cost. Memory that is given back after each piece costs some two thousand."""


def test_pieces_of_a_large_document_reuse_memory(tmp_path: Path) -> None:
    data = random.Random(5).randbytes(SIZE)
    with samba(tmp_path / "smb") as server:
        (server.folder() / "a.pdf").write_bytes(data)
        options = server.options(require_encryption=False)
        source = {"adapter": "smb", "ids": {"scheme": "template", "pattern": "{id}.pdf"}, "options": options}
        with serving({"sources": {"letters": source}}, tmp_path / "gateway") as gateway:
            for _ in range(2):
                # What is needed once, such as code, buffers and the heap's own size, is there after the first.
                read(gateway.url, "a", Accept="application/fhir+json")
            before = fresh_pages(gateway.pid)
            answer = read(gateway.url, "a", Accept="application/fhir+json")
            assert fresh_pages(gateway.pid) - before < FAULTS
    assert base64.b64decode(json.loads(answer.body)["data"]) == data


def fresh_pages(pid: int) -> int:
    """How often the kernel had to find this process a page, minflt of proc(5)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])
