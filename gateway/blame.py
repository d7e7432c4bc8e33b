"""Whose fault it was: every failure of an archive carries the archive's name, and nothing foreign gets past (C9)."""

from __future__ import annotations

from types import TracebackType

from adapters.errors import AdapterError, TimedOut, Unavailable


class Blame:
    """Puts the source's name on adapter errors and turns anything foreign into one (C9)."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and blamed(error, self.name) is not error:
            raise blamed(error, self.name)


def blamed(error: Exception, source: str) -> AdapterError:
    """`error` as an adapter error that carries the source's name.

    `TimeoutError` is a deadline of ours that passed. Anything else foreign breaks C9: the archive could not be asked.
    """
    if isinstance(error, AdapterError):
        if error.source is None:
            error.source = source
        return error
    if isinstance(error, TimeoutError):
        translated: AdapterError = TimedOut("the archive did not answer within its deadline")
    else:
        translated = Unavailable(f"the adapter failed with {type(error).__name__}")
    translated.source = source
    translated.__cause__ = error
    return translated
