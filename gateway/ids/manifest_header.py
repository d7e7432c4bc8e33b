"""The first line of a manifest, and the list of what is wrong with the whole.

Rules of this module:
1. Text in, values out; no file is opened here.
2. A problem names lines and columns, never what stands there: in a file that has no header the first line is a patient.
   A known column is named, any other one is counted.
3. A name that is nearly a known one is a mistake, not an attribute: a slip in `status` would serve what was withdrawn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.ids import SHOWN_PROBLEMS, ManifestError, ManifestIds, RowProblem

COLUMNS = ("id", "path", "content_type", "title", "patient", "date", "status")
REQUIRED = ("id", "path")

DELIMITERS = ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas"))

_undecoded = re.compile(r"[\ud800-\udfff]").search


class Problems:
    """What is wrong: the first `SHOWN_PROBLEMS` in the order found, and the number of all."""

    def __init__(self) -> None:
        self.shown: list[RowProblem] = []
        self.count = 0

    def add(self, line: int | None, text: str) -> None:
        self.count += 1
        if len(self.shown) < SHOWN_PROBLEMS:
            self.shown.append(RowProblem(line, text))

    def stop(self, *further: Problems) -> None:
        """Raise `ManifestError` when there are any, here or in `further`, in the order of the file."""
        parts = (self, *further)
        if any(part.count for part in parts):
            shown = sorted((problem for part in parts for problem in part.shown), key=lambda problem: problem.line or 0)
            raise ManifestError(shown[:SHOWN_PROBLEMS], sum(part.count for part in parts))


class Columns:
    """A good header: where each known column stands, -1 for one that is absent, and the further ones by name."""

    def __init__(self, header: Sequence[str]) -> None:
        names = [name.strip() for name in header]
        known = {name.lower(): at for at, name in enumerate(names)}
        self.width = len(names)
        self.at = {name: known.get(name, -1) for name in COLUMNS}
        self.attributes = tuple((name, at) for at, name in enumerate(names) if name.lower() not in COLUMNS)

    def label(self, at: int) -> str:
        """How a problem calls the column at `at`."""
        return next((f"column {name}" for name, place in self.at.items() if place == at), f"column {at + 1}")


def read_header(header: Sequence[str], settings: ManifestIds) -> Columns:
    """Raises `ManifestError` with everything that is wrong with the first line."""
    problems = Problems()
    names = [name.strip().lower() for name in header]
    absent = [name for name in COLUMNS if name not in names]
    cause = unreadable(settings.delimiter.join(header), settings)
    if cause:
        problems.add(1, cause)
        problems.stop()
    slips = {}
    for at, name in enumerate(names, 1):
        meant = next((known for known in absent if one_slip(known, name)), None)
        if not name:
            problems.add(1, f"column {at} has no name")
        elif name in names[: at - 1]:
            problems.add(1, f"columns {names.index(name) + 1} and {at} have the same name")
        elif meant and name not in COLUMNS:
            slips[meant] = at
            problems.add(1, f"column {at} is nearly `{meant}`; did you mean that? If not, choose another name")
    for name in REQUIRED:
        if name in absent and name not in slips:
            problems.add(1, f"there is no column `{name}`; the first line must name the columns, as in id,path,title")
    for name in settings.columns:
        if name.strip().lower() not in names:
            problems.add(1, f"there is no column `{name}`, which `policy.deny` or `ids.columns` asks for")
    problems.stop()
    return Columns(header)


def undecoded(text: str) -> bool:
    """Whether `text` has bytes that its encoding does not know."""
    return not text.isascii() and _undecoded(text) is not None


def encoding_problem(encoding: str) -> str:
    """What to say about text that is not in `encoding`."""
    if encoding == "utf-8":
        return "is not valid UTF-8; save the file as UTF-8, or set encoding: windows-1252 when it comes from Windows"
    return f"is not valid {encoding}; set `encoding` to what the file was written in"


def one_slip(meant: str, written: str) -> bool:
    """Whether a slip of the finger makes the two equal: a letter more, fewer, other or swapped, or another hyphen."""
    written = re.sub(r"[- ]", "_", written)
    if meant.replace("_", "") == written.replace("_", ""):
        return True
    # One letter is half of `id`: "i", "is" or "nid" mean nothing.
    return len(meant) > 2 and any(
        meant[:at] == written[:at]
        and (
            meant[at + 1 :] in (written[at:], written[at + 1 :])
            or meant[at:] == written[at + 1 :]
            or (meant[at : at + 2] == written[at : at + 2][::-1] and meant[at + 2 :] == written[at + 2 :])
        )
        for at in range(len(meant) + 1)
    )


def unreadable(line: str, settings: ManifestIds) -> str | None:
    """Why the columns in the first line cannot be recognised, when it is the encoding or the delimiter."""
    if "\0" in line:
        return "the file looks like UTF-16; set encoding: utf-16-le, or save it as UTF-8"
    if undecoded(line):
        return f"the header {encoding_problem(settings.encoding)}"
    for delimiter, name in DELIMITERS:
        names = {part.strip('" \r\n').lower() for part in line.split(delimiter)}
        if delimiter != settings.delimiter and names.issuperset(REQUIRED):
            shown = "\\t" if delimiter == "\t" else delimiter
            return f'the fields look separated by {name}; set delimiter: "{shown}"'
    return None
