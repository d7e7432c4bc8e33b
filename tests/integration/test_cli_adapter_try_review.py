"""Where `fhir-gateway adapter try --output` writes: a document is a patient's, and the place may be no file."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main

PDF = b"%PDF-1.4\n" + bytes(range(256)) * 100


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    root.mkdir()
    (root / "a.pdf").write_bytes(PDF)
    return root


def tried(archive: Path, output: Path) -> None:
    words = ["adapter", "try", "filesystem", "--option", f"root={archive}", "a.pdf", "--output", str(output)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output


def test_nobody_else_may_read_what_was_written(archive: Path, tmp_path: Path) -> None:
    tried(archive, tmp_path / "out.pdf")
    assert (tmp_path / "out.pdf").read_bytes() == PDF
    assert stat.S_IMODE((tmp_path / "out.pdf").stat().st_mode) == 0o600


def test_a_link_that_somebody_laid_is_not_followed(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "out.pdf.partial").symlink_to(tmp_path / "victim")
    tried(archive, tmp_path / "out.pdf")
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "out.pdf").read_bytes() == PDF


def test_what_is_no_file_is_written_to_and_not_replaced(archive: Path, tmp_path: Path) -> None:
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()), daemon=True)
    reader.start()
    tried(archive, pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    reader.join(10)
    assert received == [PDF]
