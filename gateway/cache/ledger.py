"""The books of a backend with a budget: what it keeps, in the order of use, and what each entry takes. Pure.

A name stands for one entry. A group is a document with all its partitions and epochs, so that a purge need not look at
every entry. Not for several threads at once: whoever shares it locks it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
Kept = TypeVar("Kept")


@dataclass(slots=True, eq=False)
class Item(Generic[Kept]):
    """One entry. `weight` in bytes; `ends` and `used` in seconds of the caller's clock."""

    group: Hashable
    weight: int
    ends: float
    kept: Kept
    used: float = 0.0


class Ledger(Generic[Name, Kept]):
    """Entries by name, the one that was used least recently first."""

    def __init__(self) -> None:
        self.used = 0
        self._items: OrderedDict[Name, Item[Kept]] = OrderedDict()
        self._groups: dict[Hashable, list[Name]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def names(self) -> list[Name]:
        """All names, the least recently used first."""
        return list(self._items)

    def items(self) -> list[tuple[Name, Item[Kept]]]:
        """All names with their entries, the least recently used first."""
        return list(self._items.items())

    def find(self, name: Name, now: float) -> Item[Kept] | None:
        """The entry, which counts as a use of it; None also for one whose time has passed."""
        item = self._items.get(name)
        if item is None or item.ends <= now:
            return None
        self._items.move_to_end(name)
        item.used = now
        return item

    def get(self, name: Name) -> Item[Kept] | None:
        """The entry, without using it."""
        return self._items.get(name)

    def add(self, name: Name, item: Item[Kept]) -> None:
        """Enter it as the one that was used last, in the place of an older one of its name."""
        self.pop(name)
        self._items[name] = item
        self._groups.setdefault(item.group, []).append(name)
        self.used += item.weight

    def pop(self, name: Name) -> Item[Kept] | None:
        """Strike an entry out."""
        item = self._items.pop(name, None)
        if item is None:
            return None
        self.used -= item.weight
        group = self._groups[item.group]
        group.remove(name)
        if not group:
            del self._groups[item.group]
        return item

    def group(self, group: Hashable) -> list[Name]:
        """The names of one group."""
        return list(self._groups.get(group, ()))

    def surplus(self, room: int) -> Iterator[Name]:
        """What has to go so that no more than `room` bytes are used, one by one; whoever asks strikes it out."""
        while self.used > room and self._items:
            yield next(iter(self._items))

    def overdue(self, now: float) -> list[Name]:
        """The names of entries whose time has passed."""
        return [name for name, item in self._items.items() if item.ends <= now]

    def clear(self) -> None:
        """Strike everything out."""
        self.used = 0
        self._items.clear()
        self._groups.clear()
