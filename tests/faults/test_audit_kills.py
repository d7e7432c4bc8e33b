"""Nothing is read unrecorded, whatever kills the gateway. `benchmarks.soak_audit` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.audit_killing import storm


@pytest.mark.timeout(180)
def test_everything_that_was_served_is_in_the_trail_whenever_the_gateway_is_killed(tmp_path: Path) -> None:
    seen = storm(tmp_path, reads=2500, kills=8)
    assert len(seen.served) >= 2500
    assert seen.kills >= 8
    assert seen.unrecorded == set(), "served and not recorded"
    assert seen.verdict.whole, seen.verdict
    assert seen.unended == set(), "begun, and nothing says how it ended"
    assert seen.events["unknown"] > 0, "it was never killed while it served: nothing was shown"
    assert seen.events["recovered"] >= 7
