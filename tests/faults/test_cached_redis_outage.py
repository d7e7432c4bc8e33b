"""Redis hangs or is killed under two hundred requests a second: nobody notices. Waiting times are measured by `make soak`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tests.support.redis_outage import outage


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_no_request_fails_while_redis_is_away(tmp_path: Path, how: Literal["stopped", "killed"]) -> None:
    figures = await outage(how, tmp_path, before=1.5, away=1.5, after=20, to_the_end=False)
    print(figures)
    assert figures.requests >= 600
    assert figures.failed == 0, str(figures)
    assert figures.back_after is not None, str(figures)
