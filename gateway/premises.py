"""What every gateway of one process stands on, whatever its settings: log, audit trail, spool, and the reads under way.

Part of the composition root, kept apart from it by idea: nothing here changes when a configuration is read again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.audit.opening import open_trail
from gateway.audit.trail import NO_TRAIL, Trail
from gateway.fills import Fills
from gateway.metrics.tallies import Meters
from gateway.settings import Settings
from gateway.spool import Spool
from gateway.telemetry import Telemetry


@dataclass(slots=True)
class Premises:
    """What every gateway of one process stands on, whatever its settings. `serving`: it is there for clients."""

    telemetry: Telemetry
    spool: Spool
    fills: Fills
    meters: Meters
    audit: Trail = NO_TRAIL
    serving: bool = False


@asynccontextmanager
async def opened_premises(
    settings: Settings, telemetry: Telemetry, *, recorded: bool, serving: bool = False, meters: Meters | None = None
) -> AsyncGenerator[Premises, None]:
    """What stays the same for as long as the process lives. `meters` count what the sources do. Raises `TrailUnusable`."""
    async with AsyncExitStack() as stack:
        audit = await stack.enter_async_context(open_trail(settings.audit, telemetry.log)) if recorded else NO_TRAIL
        spool = Spool(settings.spool.directory, memory=settings.spool.memory, max_bytes=settings.spool.max_bytes)
        stack.callback(spool.close)
        fills = Fills()
        stack.push_async_callback(fills.close)
        yield Premises(telemetry, spool, fills, meters or Meters(), audit, serving)
