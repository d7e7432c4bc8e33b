"""What an adapter may say went wrong: a closed set, no HTTP, no patient data.

    AdapterError
    ├── NotFound                 no such document
    │   └── Deleted              it existed and was withdrawn
    ├── InvalidLocator           the key is malformed or would leave the archive
    ├── AccessDenied             the archive refuses this document to us
    ├── CredentialsRejected      the archive refuses our service account
    ├── Unavailable              cannot connect, lost, restarting
    │   └── Busy                 told to slow down, or no permit free
    ├── TimedOut                 a deadline passed while waiting for the archive
    ├── Changed                  the object is no longer the one that was opened
    ├── SpanNotSatisfiable       the span starts at or past the end
    ├── Ambiguous                more than one object fits
    ├── Corrupt                  short, digest mismatch, malformed answer
    ├── Unsupported              the archive cannot do this at all
    └── OptionError              the options are wrong; start-up only

"What is it" is the class; "may it be tried again" (`transient`) and "does it count against the archive's health"
(`unhealthy`) are class attributes, so that no caller keeps a list of types. `detail` is for operators: it names
operations and codes, never a document, a person or a path inside the archive (contract rule C12).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar


class AdapterError(Exception):
    """Base of everything that may cross the border between an adapter and the gateway (contract rule C9).

    `retry_after` is in seconds. `exhausted` is true when the adapter itself already retried (C11). `source` is the
    configured name of the archive; the gateway fills it in. `option` is the option to look at, dotted below the source's
    options ("endpoints.0.url"), where one may be the cause. `answered` is true when the archive was reached and said so
    itself: it is then no reason to stop calls for other documents, nor to ask again at once. `parts` are the failures that
    this one tells together: a probe that asks several services may find more than one.
    """

    transient: ClassVar[bool] = False
    unhealthy: ClassVar[bool] = False

    def __init__(self, detail: str = "", *, retry_after: float | None = None, exhausted: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.exhausted = exhausted
        self.source: str | None = None
        self.option: str | None = None
        self.answered = False
        self.parts: tuple[AdapterError, ...] = ()


class NotFound(AdapterError):
    """The archive was asked and has no such document."""


class Deleted(NotFound):
    """The archive had this document and withdrew it."""


class InvalidLocator(AdapterError):
    """The locator is malformed or would lead outside the archive; nothing was touched."""


class AccessDenied(AdapterError):
    """The archive has the document and refuses it to the gateway's account or to this caller."""


class CredentialsRejected(AdapterError):
    """The archive refuses the gateway's own account."""

    unhealthy = True


class Unavailable(AdapterError):
    """The archive could not be asked: it cannot be reached, was lost, or is starting."""

    transient = True
    unhealthy = True


class Busy(Unavailable):
    """The archive, or the gateway on its behalf, asks to come back later."""

    unhealthy = False


class TimedOut(AdapterError):
    """A deadline passed while waiting for the archive."""

    transient = True
    unhealthy = True


class Changed(AdapterError):
    """The object is not, or no longer, the version that was asked for or opened."""

    transient = True


class SpanNotSatisfiable(AdapterError):
    """The span starts at or past the end of the object. `size` is the object's size in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the span lies outside an object of {size} bytes")
        self.size = size


class Ambiguous(AdapterError):
    """More than one object of the archive fits the key."""


class Corrupt(AdapterError):
    """What the archive sent is not the whole document: short, wrong digest, malformed answer.

    It did answer, and one damaged document says nothing about the next: not `unhealthy`.
    """


class Unsupported(AdapterError):
    """The archive cannot do what was asked, now or later."""


class OptionError(AdapterError):
    """The adapter's options cannot work. Raised while starting, never for a request."""

    def __init__(self, detail: str, *, option: str | None = None, cure: str | None = None) -> None:
        super().__init__(detail)
        self.option = option
        self.cure = cure


@contextmanager
def translate(table: Mapping[type[BaseException], type[AdapterError]], *, doing: str) -> Iterator[None]:
    """Turn foreign exceptions of the enclosed statements into `AdapterError`, most specific class first.

    `doing` names the operation ("open the file"); the foreign message is not copied, since it may hold a path. Put it
    around the adapter's own awaits only, never around a `yield`: a consumer's exception is not the archive's fault (C9).
    """
    try:
        yield
    except AdapterError:
        raise
    except tuple(table) as error:
        fitting = next(table[kind] for kind in type(error).__mro__ if kind in table)
        code = getattr(error, "errno", None)
        raise fitting(f"could not {doing}: {type(error).__name__}" + (f" (errno {code})" if code else "")) from error
