"""The column `path` of a manifest: from what an export wrote to the locator below the root of the archive, and back.

Rules of this module:
1. Pure text work. What could lead out of the archive, or to another document than the one meant, is refused and not
   repaired.
2. A refusal says what is wrong and which setting cures it, never what the path is.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, unquote_to_bytes

from gateway.ids import ManifestIds

RAW = "raw:"
"""Begins a path that is percent-encoded bytes: the notation for names that are not UTF-8 text."""

_is_escaped = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*+", re.DOTALL).fullmatch
_has_drive = re.compile(r"[A-Za-z]:").match

_STRIP = r"set `strip` to what stands in front of the archive's root, as in strip: '\\server\share'"


class Refused(ValueError):
    """One value of a row cannot be used; the text is the reason."""


class Paths:
    """The column `path`: from what was written to the locator below the root of the archive."""

    def __init__(self, settings: ManifestIds) -> None:
        self.windows = settings.separator == "\\"
        strip = self._slashes(settings.strip)
        self.strip = strip if not strip or strip.endswith("/") else strip + "/"

    def locator(self, written: str) -> str:
        """Raises `Refused`."""
        path = _from_bytes(written) if written.startswith(RAW) else self._relative(written)
        if not path:
            raise Refused("is empty")
        if "\0" in path:
            raise Refused("has a NUL character")
        if path.startswith("/"):
            raise Refused(f"is absolute; write it relative to the archive's root, or {_STRIP}")
        components = path.split("/")
        if ".." in components:
            raise Refused("has .. as a folder and could leave the archive")
        if "" in components:
            raise Refused("has an empty folder name (//) or ends with /")
        if "." in components:
            raise Refused("has . as a folder; when every path begins with ./ set strip: ./")
        return path

    def _slashes(self, text: str) -> str:
        return text.replace("\\", "/") if self.windows else text

    def _relative(self, written: str) -> str:
        path = self._slashes(written)
        if self.strip:
            begin = path[: len(self.strip)]
            # Windows does not tell A from a in the name of a server, share or folder.
            if begin == self.strip or (self.windows and begin.lower() == self.strip.lower()):
                path = path[len(self.strip) :]
        if path.startswith("\\\\") or (self.windows and path.startswith("//")):
            raise Refused(rf"names a Windows share; set separator: '\' and {_STRIP}")
        if _has_drive(path) and (self.windows or path[2:3] in ("/", "\\")):
            raise Refused(rf"names a Windows drive; set separator: '\' and {_STRIP}")
        if self.windows and ":" in path:
            raise Refused("has a colon, which Windows keeps for drives and streams")
        if "\\" in path:
            raise Refused(r"has a backslash; for Windows paths set separator: '\'")
        return path


def _from_bytes(written: str) -> str:
    escaped = written[len(RAW) :]
    if not _is_escaped(escaped):
        raise Refused(f"begins with {RAW} and has a % that is not followed by two hexadecimal digits")
    return os.fsdecode(unquote_to_bytes(escaped))


def path_text(locator: str) -> str:
    """How a manifest without `strip` and `separator` writes `locator` in the column `path`; for tools that make one."""
    plain = locator.isprintable() and "\\" not in locator and not locator.startswith(RAW) and not _has_drive(locator)
    return locator if plain else RAW + quote(os.fsencode(locator))
