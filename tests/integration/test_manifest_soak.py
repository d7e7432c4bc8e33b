"""The long run of benchmarks/soak_manifest.py with fewer rows."""

from __future__ import annotations

import pytest

from benchmarks.soak_manifest import measure


async def test_fifty_thousand_rows_are_imported_looked_up_and_reloaded(tmp_path, capsys):
    await measure(50_000, tmp_path)
    assert len(capsys.readouterr().out.splitlines()) == 5


async def test_the_run_can_fail(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.soak_manifest.IMPORT_SECONDS", 0.0)
    with pytest.raises(AssertionError):
        await measure(10, tmp_path)
