"""A configuration in a file, and the gateway that runs on it: for tests that change the one and look at the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.gateway import Gateway


@dataclass
class Place:
    """`first` is the configuration that the gateway was started with, `admin` the port of its admin listener."""

    directory: Path
    admin: int
    gateway: Gateway
    first: dict[str, Any]

    @property
    def config(self) -> Path:
        return self.directory / "gateway.yaml"

    def write(self, **changes: Any) -> None:
        """The first configuration with other sections."""
        self.config.write_text(yaml.safe_dump(self.first | changes, sort_keys=False))
