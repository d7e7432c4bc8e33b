"""What the documentation says that a machine can hold it to: its blocks of code, its links, its code spans.

Only reading of Markdown lives here; what is done with a block is in `test_docs`. The pages are written by hand in a
small part of Markdown (CommonMark fences, inline links, code spans), and nothing else is understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"^(?P<marks>```+|~~~+)(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=marks)[ ]*$", re.MULTILINE | re.DOTALL
)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_ANCHOR = re.compile(r'<a (?:id|name)="([^"]+)"')
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the page it stands on, the line of its first mark, its language ("" when it has none)."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the documentation. `name` is relative to the project."""

    name: str
    text: str

    @classmethod
    def of(cls, path: Path, project: Path) -> Page:
        return cls(path.relative_to(project).as_posix(), path.read_text(encoding="utf-8"))

    @property
    def blocks(self) -> list[Block]:
        """The fenced blocks in their order."""
        return [
            Block(self.name, self.text.count("\n", 0, found.start()) + 1, found["language"].strip(), found["text"])
            for found in _FENCE.finditer(self.text)
        ]

    @property
    def prose(self) -> str:
        """The text without blocks and comments."""
        return _COMMENT.sub("", _FENCE.sub("", self.text))

    @property
    def spans(self) -> list[str]:
        """What stands between single back-ticks in the prose."""
        return _SPAN.findall(self.prose)

    @property
    def links(self) -> list[str]:
        """Targets of links that lead to files of the project, with their fragment."""
        targets: list[str] = _LINK.findall(_SPAN.sub("", self.prose))
        return [target for target in targets if "://" not in target and not target.startswith("mailto:")]

    @property
    def anchors(self) -> set[str]:
        """What a fragment may name: headings as GitHub writes them, and anchors given by hand."""
        return {_slug(heading) for heading in _HEADING.findall(self.prose)} | set(_ANCHOR.findall(self.text))


def _slug(heading: str) -> str:
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def pages(project: Path) -> list[Page]:
    """README.md, then every page under docs/."""
    return [Page.of(path, project) for path in (project / "README.md", *sorted((project / "docs").rglob("*.md")))]


def commands(block: Block) -> Iterator[tuple[str, str | None]]:
    """The commands of a block, each with the output shown for it (None where none is shown).

    In an `sh` block every line is a command; in a `console` block those behind `$ `, and what follows is output.
    """
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "sh":
        yield from ((line.strip(), None) for line in lines if line.strip() and not line.lstrip().startswith("#"))
        return
    command, output = "", []
    for line in [*lines, "$ "]:
        if line.startswith("$ "):
            if command:
                yield command, "\n".join(output)
            command, output = line[2:].strip(), []
        else:
            output.append(line)
