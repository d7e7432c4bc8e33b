"""What one of several worker processes has of the settings: numbers that bound the whole gateway are divided.

Pure. Everything that is not named here is the same in every worker.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from gateway.settings.caching import MemoryCaching
from gateway.settings.models import Settings


def share_of(settings: Settings, workers: int) -> Settings:
    """The settings of one of `workers` processes: permits, connections, spool and memory are parts of the whole."""
    if workers <= 1:
        return settings
    limits = settings.server.limits
    changes: dict[str, Any] = {
        "server": _changed(
            settings.server,
            limits=_changed(limits, max_connections=_part(limits.max_connections, workers)),
        ),
        "spool": _changed(settings.spool, max_bytes=_part(settings.spool.max_bytes, workers)),
        "sources": {
            name: _changed(source, limits=_changed(source.limits, max_open=_part(source.limits.max_open, workers)))
            for name, source in settings.sources.items()
        },
    }
    if isinstance(settings.cache, MemoryCaching):
        changes["cache"] = _changed(settings.cache, max_bytes=_part(settings.cache.max_bytes, workers))
    return settings.model_copy(update=changes)


def _part(whole: int, workers: int) -> int:
    """At least one, and rounded up, so that the parts are never less than the whole."""
    return max(1, -(-whole // workers))


def _changed(model: Any, **changes: Any) -> Any:
    """A copy with other values; what was judged once is not judged again."""
    assert isinstance(model, BaseModel)
    return model.model_copy(update=changes)
