"""Looking at a folder of documents for tools: what could be served from it, and what could not and why.

Names are bytes, as the kernel has them. Links are never followed. Memory grows with the largest folder, not with the
tree. Requests never come here: what they may open is decided by the filesystem adapter.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

LINKS = "symbolic links, which are never followed"
SPECIAL = "devices, FIFOs or sockets"
HIDDEN = "hidden files or folders (their names begin with a dot)"
SYSTEM = "files that Windows keeps for itself (Thumbs.db, desktop.ini, ~$...)"
UNSERVABLE = "names with a control character or a backslash, or longer than 4095 bytes; rename them to serve them"
UNREADABLE = "folders that this account cannot read"

_unservable = re.compile(rb"[\x00-\x1f\x7f\\]").search
_is_system = re.compile(rb"(?:thumbs\.db|desktop\.ini|~\$.*)", re.IGNORECASE | re.DOTALL).fullmatch
_LONGEST = 4095


def documents(root: Path, skipped: Counter[str] | None = None) -> Iterator[bytes]:
    """The paths below `root` of the regular files that can be served, sorted within each folder.

    What was passed over is counted in `skipped` by reason. Raises `OSError` when `root` itself cannot be read.
    """
    skipped = Counter() if skipped is None else skipped
    base = os.fsencode(root)
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        try:
            files, folders = _sorted(os.path.join(base, folder) if folder else base, folder, skipped)
        except OSError:
            if not folder:
                raise
            skipped[UNREADABLE] += 1
            continue
        waiting += reversed(folders)
        yield from files


def _sorted(path: bytes, folder: bytes, skipped: Counter[str]) -> tuple[list[bytes], list[bytes]]:
    files, folders = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            below = folder + b"/" + entry.name if folder else entry.name
            reason = _reason(entry, below)
            if reason is not None:
                skipped[reason] += 1
            elif entry.is_dir(follow_symlinks=False):
                folders.append(below)
            else:
                files.append(below)
    return sorted(files), sorted(folders)


def _reason(entry: os.DirEntry[bytes], below: bytes) -> str | None:
    if entry.is_symlink():
        return LINKS
    if entry.name.startswith(b"."):
        return HIDDEN
    if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
        return SPECIAL
    if _is_system(entry.name):
        return SYSTEM
    return UNSERVABLE if _unservable(entry.name) or len(below) > _LONGEST else None
