"""The `template` scheme: the id is part of the document's name, and a pattern says which.

Rules of this module:
1. A pattern is read once, at start; everything wrong with it is said then. A request only slices and joins.
2. No id can form a component that is empty, "." or "..", nor an absolute path: what would is an unknown id (FR-04).
3. No I/O. A pattern that leaves the end of the name open asks `resolve`, which is the archive's own look-up.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from adapters.errors import NotFound
from gateway.routing import MAX_ID, Location, valid_id

GRAMMAR = (
    "Write text with {id} or a part of it such as {id[0:2]} or {id[-2:]}, / between folders, and at the end perhaps "
    'a choice .{pdf,tif} or .* for any ending, as in "{id[0:2]}/{id}.pdf".'
)
"""What a pattern may be, in one sentence for people."""

Resolve = Callable[[str, tuple[str, ...] | None], Awaitable[str]]
"""The one locator that is the stem and one of the suffixes, or the stem, "." and anything: `Adapter.resolve`."""

Part = str | slice
Ending = tuple[str, ...] | Literal["any"] | None

_TOKEN = re.compile(r"\{([^{}]*)\}|([{}])|(\*)")
_SLICE = re.compile(r"id\[(-?[0-9]{1,2})?:(-?[0-9]{1,2})?\]", re.ASCII)
_CHOICE = re.compile(r"\.\{([^{},/*\\]+(?:,[^{},/*\\]+)+)\}$")
_NEVER_IN_A_PATH = re.compile(r"[\x00-\x1f\x7f\\]")
_DOTS = (".", "..")


@dataclass(frozen=True, slots=True)
class Template:
    """A pattern that was read: what `parse` returns.

    `text` has one %s for each slice of the id, which `pick` takes, one alone or several as a tuple. `shortest` is the
    length of the shortest id that fills every slice. `ending` is None when the pattern gives the whole locator, else
    what `resolve` chooses from. `dotted` says whether an id with dots could make a component of dots.
    """

    parts: tuple[Part, ...]
    text: str
    pick: Callable[[str], Any]
    shortest: int
    ending: Ending
    dotted: bool

    @classmethod
    def parse(cls, pattern: str) -> Template:
        """Raises `ValueError` with a sentence that says what is wrong and where; the first character is 1."""
        bad = _NEVER_IN_A_PATH.search(pattern)
        if bad:
            hint = "write / between folders" if bad[0] == "\\" else "a control character cannot be part of a name"
            raise ValueError(f"Character {bad.start() + 1} of the pattern is not allowed: {hint}.")
        stem, ending = _split_ending(pattern)
        parts = tuple(_parts(stem))
        slices = tuple(part for part in parts if isinstance(part, slice))
        if not slices:
            raise ValueError("The pattern has no {id}: every id would lead to the same document.")
        _check_components(parts)
        return cls(
            parts=parts,
            text="".join("%s" if isinstance(part, slice) else part.replace("%", "%%") for part in parts),
            pick=itemgetter(*slices),
            shortest=max(_shortest(part) for part in slices),
            ending=ending,
            dotted=any(not component.strip(".") for component in _shape(parts).replace("\0", "").split("/")),
        )

    def stem(self, rest: str) -> str | None:
        """The locator of `rest`, without its ending where that is open; None when there can be none."""
        if len(rest) < self.shortest or rest in _DOTS:
            return None
        stem: str = self.text % self.pick(rest)
        if self.dotted and "." in rest and any(component in _DOTS for component in stem.split("/")):
            return None
        return stem

    def rest_for(self, locator: str) -> str | None:
        """The rest of an id (without the source's prefix) that leads to `locator`; None when there is none.

        Where several do it is the longest.
        """
        for length in range(min(MAX_ID, len(locator)), self.shortest - 1, -1):
            rest = self._read(locator, length)
            if rest is not None and valid_id(rest):
                stem = self.stem(rest)
                if stem is not None and locator.startswith(stem) and self._ends(locator[len(stem) :]):
                    return rest
        return None

    def _read(self, locator: str, length: int) -> str | None:
        """The one text of `length` characters that `locator` could be made from, for `stem` to confirm; else None."""
        spelled: list[str | None] = [None] * length
        at = 0
        for part in self.parts:
            if isinstance(part, str):
                if not locator.startswith(part, at):
                    return None
                at += len(part)
                continue
            width = len(range(*part.indices(length)))
            if at + width > len(locator):
                return None
            spelled[part] = locator[at : at + width]
            at += width
        return None if None in spelled else "".join(map(str, spelled))

    def _ends(self, tail: str) -> bool:
        if self.ending == "any":
            return len(tail) > 1 and tail[0] == "." and "/" not in tail and "." not in tail[1:]
        return not tail if self.ending is None else tail in self.ending


class TemplateScheme:
    """Locations of one source by a pattern; safe for many requests at once."""

    def __init__(self, source: str, pattern: str, resolve: Resolve) -> None:
        """`resolve` is asked only when the pattern leaves the ending open. Raises `ValueError` for a bad pattern."""
        self._source = source
        self._resolve = resolve
        self.template = Template.parse(pattern)
        ending = self.template.ending
        self._open_ended = ending is not None
        self._suffixes = ending if isinstance(ending, tuple) else None

    async def locate(self, rest: str) -> Location:
        """Raises `NotFound`; with an open ending also what the archive raises, `Ambiguous` among it."""
        stem = self.template.stem(rest)
        if stem is None:
            raise NotFound("this id does not fit the pattern")
        if self._open_ended:
            return Location(self._source, await self._resolve(stem, self._suffixes))
        return Location(self._source, stem)

    def ids_for(self, locator: str) -> str | None:
        """The rest of an id (without the source's prefix) that leads to `locator`, or None: for tools, not requests."""
        return self.template.rest_for(locator)


def _split_ending(pattern: str) -> tuple[str, Ending]:
    if pattern.endswith(".*"):
        return pattern[:-2], "any"
    choice = _CHOICE.search(pattern)
    if choice is None:
        return pattern, None
    names = choice[1].split(",")
    if len(set(names)) < len(names) or any(name != name.strip() for name in names):
        raise ValueError(
            f"The choice at character {choice.start() + 2} of the pattern repeats an ending or has a space in it; "
            "write each ending once, as in {pdf,tif}."
        )
    return pattern[: choice.start()], tuple(f".{name}" for name in names)


def _parts(stem: str) -> list[Part]:
    parts: list[Part] = []
    at = 0
    for token in _TOKEN.finditer(stem):
        if token.start() > at:
            parts.append(stem[at : token.start()])
        parts.append(_placeholder(token))
        at = token.end()
    if at < len(stem):
        parts.append(stem[at:])
    return parts


def _placeholder(token: re.Match[str]) -> slice:
    where = f"at character {token.start() + 1} of the pattern"
    inner: str | None = token[1]
    if token[3]:
        raise ValueError(f"The * {where} is not possible there: only .* at the very end is.")
    if inner is None:
        raise ValueError(f"The brace {where} has no partner.")
    if inner == "id":
        return slice(None)
    if "," in inner:
        raise ValueError(
            f"The choice {where} is not possible there: only a dot and two or more different endings at the very end "
            "are, as in {id}.{pdf,tif}."
        )
    bounds = _SLICE.fullmatch(inner)
    if bounds is None:
        raise ValueError(f"The placeholder {where} is not known: there are {{id}} and parts such as {{id[0:2]}}.")
    start, stop = (int(bound) if bound else None for bound in bounds.groups())
    part = slice(start, stop)
    if (start or 0) < 0 and (stop or -1) >= 0:
        raise ValueError(f"The part {where} counts from the end to the beginning; both ends must count the same way.")
    if not 0 < _shortest(part) <= MAX_ID or not ("x" * _shortest(part))[part]:
        raise ValueError(f"The part {where} never has anything in it: an id has 1 to {MAX_ID} characters.")
    return part


def _shortest(part: slice) -> int:
    """The length of the shortest id that has all the characters `part` asks for, and at least one."""
    start: int = part.start or 0
    stop: int | None = part.stop
    if start < 0:
        return -start
    if stop is None:
        return start + 1
    return stop if stop >= 0 else start - stop + 1


def _shape(parts: tuple[Part, ...]) -> str:
    """The pattern with NUL, which no pattern holds, for every placeholder."""
    return "".join("\0" if isinstance(part, slice) else part for part in parts)


def _check_components(parts: tuple[Part, ...]) -> None:
    shape = _shape(parts)
    if shape.startswith("/"):
        raise ValueError("The pattern begins with /; write it relative to the root of the archive.")
    for component in shape.split("/"):
        if not component:
            raise ValueError("The pattern has an empty folder or file name: a // or a / at the end.")
        if component in _DOTS:
            raise ValueError("The pattern has a . or .. as a folder; it must stay below the root of the archive.")
