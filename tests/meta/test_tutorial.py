"""docs/tutorial.md is true: every line of it, typed in its order, with a real file server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.meta.doc_blocks import Page
from tests.meta.doc_reader import ARCHIVE, PROJECT, Reader
from tests.support.samba import samba

PAGE = Page.of(PROJECT / "docs" / "tutorial.md", PROJECT)
LETTER = ARCHIVE / "discharge" / "2021" / "discharge-0417.pdf"
PASSWORD = "the password"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with ExitStack() as stack:
        server = stack.enter_context(samba(tmp_path / "s", encryption="required"))
        shutil.copy(LETTER, server.folder() / "letter-0.pdf")
        server.change_password(PASSWORD)
        one = Reader(tmp_path / "home", stack)
        one.share = server.port
        yield one


@pytest.mark.timeout(150)  # a dozen programs, one after the other
def test_it_leads_to_a_share_with_a_cache_and_one_client(reader: Reader) -> None:
    assert any(PASSWORD in block.text for block in PAGE.blocks)
    reader.follow(PAGE)
    assert (reader.work / "letter.pdf").read_bytes() == LETTER.read_bytes()
    assert b"OperationOutcome" in (reader.work / "refused.json").read_bytes()
    assert list((reader.work / "audit").iterdir())
