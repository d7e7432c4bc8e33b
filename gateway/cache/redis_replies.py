"""The replies of Redis out of the bytes of a connection (RESP 2), as they arrive.

Pure: whoever reads the connection asks where to put bytes, and says how many came. What is small is read out of one area that
is used again and again; a large value gets room of its own before it comes, so that it is copied by nobody but the kernel.
Nothing is believed: what is not a reply, or would be larger than anything that is ever asked for, is a `Garbled`.
"""

from __future__ import annotations

from typing import Any

from hiredis import ReplyError

AREA = 64 << 10
"""Bytes of the area for what is small."""

LARGE = 16 << 10
"""Bytes from which on a value gets room of its own."""

LARGEST = 1 << 20
"""Bytes of the largest value, and elements of the longest array: four times what is ever asked for."""

DEEPEST = 8
"""Arrays within each other."""

_END = b"\r\n"
_STATUS, _ERROR, _NUMBER, _VALUE, _ARRAY = b"+-:$*"
_MORE = object()


class Garbled(Exception):
    """These bytes are no reply of Redis. Holds none of them."""


class Replies:
    """Takes the bytes of one connection. A large value is a `memoryview`, every other one is as hiredis would give it."""

    __slots__ = ("_area", "_arrays", "_begin", "_end", "_filled", "_large", "_view", "incomplete")

    def __init__(self) -> None:
        self._area = bytearray(AREA)
        self._view = memoryview(self._area)
        self._begin = self._end = 0
        self._large: memoryview | None = None
        self._filled = 0
        self._arrays: list[tuple[int, list[Any]]] = []
        self.incomplete = 0
        """Bytes that came and did not complete a reply yet."""

    def room(self) -> memoryview:
        """Where the next bytes go."""
        return self._view[self._end :] if self._large is None else self._large[self._filled :]

    def take(self, count: int) -> list[Any]:
        """The replies that are complete now that `count` bytes were put into `room`. Raises `Garbled`."""
        self.incomplete += count
        if self._large is None:
            self._end += count
        else:
            self._filled += count
        found: list[Any] = []
        while (value := self._value()) is not _MORE:
            self._place(value, found)
        if found:
            self.incomplete = self._filled if self._large is not None else self._end - self._begin
        self._make_room()
        return found

    def _value(self) -> Any:
        """The next value; an array begins as a list that is still empty."""
        if self._large is not None:
            return self._large_value()
        area, begin = self._area, self._begin
        line = area.find(_END, begin, self._end)
        if line < 0:
            return _MORE
        kind = area[begin]
        if kind == _VALUE:
            return self._small_value(_length(area[begin + 1 : line]), line + 2)
        text = bytes(area[begin + 1 : line])
        if kind == _ARRAY:
            count = _length(text)
            if count > 0:
                if len(self._arrays) >= DEEPEST:
                    raise Garbled
                self._arrays.append((count, []))
            self._begin = line + 2
            return None if count < 0 else [] if count == 0 else self._value()
        self._begin = line + 2
        if kind == _STATUS:
            return text
        if kind == _ERROR:
            return ReplyError(text.decode("utf-8", "replace"))
        if kind == _NUMBER:
            return _number(text)
        raise Garbled

    def _small_value(self, length: int, start: int) -> Any:
        """A value of `length` bytes at `start`; one that is large gets its room."""
        if length < 0:
            self._begin = start
            return None
        if length >= LARGE:
            self._large = memoryview(bytearray(length + 2))
            come = self._view[start : min(self._end, start + length + 2)]
            self._filled = len(come)
            self._large[: self._filled] = come
            self._begin = start + self._filled
            return self._large_value()
        stop = start + length
        if self._end < stop + 2:
            return _MORE
        if self._area[stop : stop + 2] != _END:
            raise Garbled
        self._begin = stop + 2
        return bytes(self._view[start:stop])

    def _large_value(self) -> Any:
        large = self._large
        assert large is not None
        if self._filled < len(large):
            return _MORE
        if large[-2:] != _END:
            raise Garbled
        self._large = None
        return large[:-2]

    def _place(self, value: Any, found: list[Any]) -> None:
        """Put a value into the array that it belongs to; what is complete with it is a reply."""
        while self._arrays:
            count, elements = self._arrays[-1]
            elements.append(value)
            if len(elements) < count:
                return
            self._arrays.pop()
            value = elements
        found.append(value)

    def _make_room(self) -> None:
        """Move the beginning of something to the front, where it does not fit behind what was read."""
        if self._begin == self._end:
            self._begin = self._end = 0
        elif self._begin and AREA - self._begin < LARGE + AREA // 2:
            rest = self._end - self._begin
            self._view[:rest] = self._view[self._begin : self._end].tobytes()
            self._begin, self._end = 0, rest
        if self._end == AREA:
            raise Garbled


def _number(text: bytes | bytearray) -> int:
    try:
        return int(text)
    except ValueError:
        raise Garbled from None


def _length(text: bytes | bytearray) -> int:
    length = _number(text)
    if not -1 <= length <= LARGEST:
        raise Garbled
    return length
