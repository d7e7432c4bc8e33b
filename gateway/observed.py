"""What a running process consists of, for whoever looks at it from outside: the status page and the metrics.

The composition root puts in what there is, once it is there; a reload puts other objects in their place. Looking changes
nothing. Names of things only: how they are shown is decided by `status` and `metrics.readings`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.heartbeat import Heartbeat
from gateway.metrics.tallies import Meters

if TYPE_CHECKING:
    from adapters.errors import AdapterError
    from gateway.audit.trail import Trail
    from gateway.cache import Cache
    from gateway.fills import Fills
    from gateway.listener import Listener
    from gateway.security.authentication import Authentication
    from gateway.security.expiries import Expiries
    from gateway.server import Pipeline
    from gateway.source import Source
    from gateway.spool import Spool
    from gateway.telemetry import Telemetry
    from gateway.tracing import Traces


@dataclass(slots=True)
class ConfigState:
    """Which configuration is in use. Moments are in seconds since 1970."""

    file: str | None = None
    loaded: float = field(default_factory=time.time)
    """When the one in use was read."""
    refused: float | None = None
    """When one that came after it was refused; None when none was."""
    detail: str = ""
    """Why it was refused."""
    reloads: int = 0
    """How often another one was taken into use."""

    def applied(self) -> None:
        """Another configuration is in use."""
        self.loaded, self.refused, self.detail, self.reloads = time.time(), None, "", self.reloads + 1

    def refuse(self, detail: str) -> None:
        """Another configuration was refused; the one in use stays."""
        self.refused, self.detail = time.time(), detail


@dataclass(slots=True)
class Observed:
    """A process. What is None is not there yet, or not configured."""

    telemetry: Telemetry
    meters: Meters = field(default_factory=Meters)
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    config: ConfigState = field(default_factory=ConfigState)
    began: float = field(default_factory=time.time)
    started: bool = False
    """Whether configuration, ids and sources were loaded."""
    draining: bool = False
    pipeline: Pipeline | None = None
    listener: Listener | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)
    failures: Mapping[str, AdapterError] = field(default_factory=dict)
    """Why a source could not be asked when it was last tried."""
    cache: Cache | None = None
    fills: Fills | None = None
    spool: Spool | None = None
    audit: Trail | None = None
    authentication: Authentication | None = None
    certificates: Expiries | None = None
    traces: Traces | None = None

    def states(self) -> dict[str, str]:
        """One word for each source: that of its status, `away` also when it did not answer when it was last asked."""
        words = {name: source.status().state for name, source in self.sources.items()}
        return {name: "away" if word == "ok" and name in self.failures else word for name, word in words.items()}

    @property
    def ready(self) -> bool:
        """Whether requests are taken; no archive and no Redis has a say in that."""
        return self.started and not self.draining
