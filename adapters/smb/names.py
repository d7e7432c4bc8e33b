"""From a locator to a path on the share, and what no locator may be.

Rules of this module: pure, and decided by the text alone, before anything is sent. A Windows server takes more than names
for a name: streams, wildcards, devices, earlier versions, short spellings. Every document has one spelling here, but for
capitals and small letters, which a share does not tell apart. Spelling is otherwise kept as it stands: servers compare
Unicode without normalising it.
"""

from __future__ import annotations

import re

from adapters.errors import InvalidLocator

LONGEST_NAME = 255
"""UTF-16 units of one name ([MS-FSCC] 2.1.5)."""

LONGEST_PATH = 1024
"""UTF-16 units of a whole path. They are at most 3,072 bytes of UTF-8, which leaves a Unix server (PATH_MAX, 4,096) a
quarter for its own folders; beyond that it would answer that there is no such document."""

LEFTOVERS = (
    "~", ".bak", ".crdownload", ".filepart", ".lock", ".part", ".partial", ".swp", ".temp", ".tmp",
)  # fmt: skip
"""Endings of what editors and copying tools leave beside a document: an older, a partial or no document at all."""

_METAFILES = (
    "MFT|MFTMirr|LogFile|Volume|AttrDef|Bitmap|Boot|BadClus|Secure|UpCase|Extend|Quota|ObjId|Reparse|RmMetadata"
)

# Where servers keep what was deleted or replaced: a letter that was withdrawn must not come back from there. Windows,
# NetApp, Isilon, ZFS, Synology, QNAP and Samba, in turn.
_PAST = (
    r"\$RECYCLE\.BIN|RECYCLER|System Volume Information|DfsrPrivate|~snapshot|\.snapshots?|\.zfs|#snapshot|#recycle"
    r"|@Recycle|@Recently-Snapshot|\.recycle|\.Trash[^/]*"
)

# What a short name (8.3) is made of: NTFS writes LETTER~1.PDF, and LE3F07~1.PDF when there are many; Samba LQ2X7B~M.PDF.
_SHORT = r"[^/. +,;=\[\]]"
_SHORT_NAME = (
    rf"(?=[^/.]{{3,8}}(?:[./]|\Z))(?:{_SHORT}{{1,6}}~[1-9][0-9]{{0,5}}|{_SHORT}{{6}}~[0-9A-Z])(?:\.{_SHORT}{{0,3}})?"
)

_BEGIN, _END = r"(?<![^/])", r"(?![^/])"
"""The borders of one name in a locator."""

_REASONS: dict[str, tuple[str, str]] = {
    "empty": (r"\A\Z", "is empty"),
    "absolute": (r"\A/", "begins with a slash; it is relative to the source's folder"),
    "backslash": (r"\\", "holds a backslash; folders are separated by /"),
    "control": (r"[\x00-\x1f\x7f]", "holds a control character"),
    "half": (r"[\ud800-\udfff]", "holds half of a surrogate pair"),
    "reserved": (r'[<>:"|?*]', 'holds one of < > : " | ? *, which are no part of a name on a share'),
    "dots": (rf"{_BEGIN}\.\.?{_END}", 'has "." or ".." for a name'),
    "nothing": (r"//|/\Z", "has an empty name"),
    "trailing": (rf"[. ]{_END}", "has a name that ends with a dot or a space"),
    "device": (
        rf"{_BEGIN}(?:CON|PRN|AUX|NUL|CLOCK\$|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³]) *(?:\.|{_END})",
        "has the name of a device",
    ),
    "version": (rf"{_BEGIN}@GMT-", "asks for an earlier version"),
    "past": (rf"{_BEGIN}(?:{_PAST})(?:/|\Z)", "leads to where the server keeps what was deleted or replaced"),
    "metafile": (rf"{_BEGIN}\$(?:{_METAFILES}){_END}", "has a name that NTFS keeps for itself"),
    "short": (
        rf"{_BEGIN}{_SHORT_NAME}{_END}",
        "has the form of a short (8.3) name; every document is served by its long name alone",
    ),
}

_unfit = re.compile("|".join(f"(?P<{key}>{pattern})" for key, (pattern, _) in _REASONS.items()), re.IGNORECASE).search


def to_path(locator: str, folder: str = "") -> str:
    r"""The path `folder\locator` relative to the share. `folder` is such a path, or empty for the share's root.

    Raises `InvalidLocator`.
    """
    unfit = _unfit(locator)
    if unfit is not None:
        raise InvalidLocator(f"the locator {_REASONS[unfit.lastgroup or ''][1]}")
    names = locator.split("/")
    if any(_units(name) > LONGEST_NAME for name in names):
        raise InvalidLocator("the locator has a name that is longer than a share can hold")
    path = "\\".join([folder, *names] if folder else names)
    if _units(path) > LONGEST_PATH:
        raise InvalidLocator("the locator is longer than the gateway asks a server for")
    return path


def split_stem(stem: str) -> tuple[str, str]:
    """The folder of a stem, as a locator or empty for the source's own, and the beginning of the name in it.

    Raises `InvalidLocator` where no document can have a locator that begins so and goes on with a dot.
    """
    folder, _, beginning = stem.rpartition("/")
    if not beginning:
        raise InvalidLocator("the locator has an empty name")
    to_path(f"{stem}.0")
    return folder, beginning


def fits(name: str, beginning: str) -> bool:
    """Whether `name` is `beginning` with one ending, and a locator may hold it. An ending has no dot in it."""
    return same(name.rpartition(".")[0], beginning) and not name.lower().endswith(LEFTOVERS) and _unfit(name) is None


def same(one: str, other: str) -> bool:
    """Whether a share takes two names for one: letter by letter, as Windows compares ("ß" stays different from "ss")."""
    return one == other or one.lower() == other.lower()


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
