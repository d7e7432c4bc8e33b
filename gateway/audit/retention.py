"""Which files of the trail have been kept for long enough. Blocking; looks, and removes nothing.

The oldest go first and in order: a file that has to stay keeps all that came after it, so that the trail only ever loses its
beginning. What is removed is named by a `removed` record in a later file, or the next check would call it missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gateway.audit.segments import Broken, Reading, Segment, alive, listed


def removable(
    directory: Path, retention: float, delivered: Callable[[str], bool]
) -> Iterator[tuple[Segment, dict[str, Any]]]:
    """The files not written for `retention` seconds and delivered everywhere, with what is to be said of each.

    Never the newest. The directory's lock must be held. Raises `OSError`.
    """
    for segment in listed(directory)[:-1]:
        path = segment.path(directory)
        if time.time() - path.stat().st_mtime < retention or alive(directory, segment) or not delivered(segment.name):
            return
        reading = Reading(directory, segment)
        first = ""
        try:
            for line in reading.lines():
                first = first or line.digest.hex()
        except Broken:
            # A file that does not hold is evidence: somebody has to look at it.
            return
        yield segment, {"first": first, "last": reading.number - 1, "head": reading.head}
