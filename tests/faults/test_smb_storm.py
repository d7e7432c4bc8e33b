"""Readers in bad weather get the document or an error, never something else. The long form is `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.samba import samba
from tests.support.smb_storm import storm


@pytest.mark.parametrize("engine", ["native", "library"])
async def test_nobody_is_given_wrong_bytes_in_a_storm(tmp_path: Path, engine: str) -> None:
    with samba(tmp_path / "smb") as server:
        tally = await storm(server, 3, engine=engine)
    assert tally.wrong == 0, str(tally)
    assert tally.left_open == 0, str(tally)
    assert tally.right > 5, str(tally)
    assert tally.errors.total(), str(tally)
