"""A gateway with a real issuer, for tests that send it tokens; import `issuer` and `at` where they are used."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.archive import composed
from tests.support.issuer import Issuer, publishing
from tests.support.service import Service

EXISTING, UNKNOWN = "/R4/Binary/letter", "/R4/Binary/no-such-letter"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with publishing(Issuer()) as running:
        yield running


@pytest.fixture
async def at(issuer: Issuer, tmp_path: Path) -> AsyncIterator[Service]:
    async with composed(tmp_path, auth=issuer.auth()) as service:
        yield service


def b64(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def flipped(token: str) -> str:
    """The token with one letter of its signature changed."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
