"""Log lines: structured, one per request, without patients, never in the way of a request.

structlog lives here and nowhere else; everybody else is handed a bound logger. Two rules are enforced rather than trusted:
only the keys of `KEYS` leave the process (any other value is withheld), and a logger call never waits for the terminal or
the pipe behind standard error: lines go to a bounded queue that one thread writes out, and what does not fit is counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from select import PIPE_BUF
from typing import Any, Literal, TextIO

import structlog
from pydantic_core import to_json

KEYS = frozenset(
    {
        "event", "level", "timestamp", "component",
        # one request
        "request_id", "correlation_id", "method", "base", "interaction", "source", "document", "representation", "cache",
        "auth", "caller", "status", "code", "outcome", "bytes", "size", "first_byte_ms", "duration_ms", "range", "http",
        # the service and its sources
        "adapter", "address", "admin", "version", "detail", "cause", "error", "count", "dropped", "rows", "seconds",
        "reason", "problems", "line", "column", "open", "limit", "state", "signal", "pid", "file_system",
        "endpoint", "quirk", "client", "operation", "trace_id", "key", "cure", "worker",
    }
)  # fmt: skip
"""Every key that a log line may carry. None of them holds an id, a locator, a title, a name or a query string."""

PENDING_LINES = 10_000
"""Lines kept for a stuck reader of standard error, about 4 MiB; beyond it lines are counted and dropped."""

KNOWN_CALLERS = 1024
"""Clients whose pseudonyms are kept at hand, some 200 KiB."""

GATHER_SECONDS = 0.02
"""How long the writing thread lets lines gather: fifty wake-ups a second at most."""

LEVELS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""The levels of log lines, the least important first."""

Logger = Any
"""A bound structlog logger; its methods take an event and fields out of `KEYS`."""


class LineWriter:
    """Writes lines to a stream from one thread, so that no request waits for a slow terminal or pipe."""

    def __init__(self, stream: TextIO, *, shared: bool = False) -> None:
        """`shared`: other processes write to the same stream."""
        self._stream = stream
        self._shared = shared
        self._lines: deque[str] = deque()
        self._wake = threading.Event()
        self._idle = True
        self._closing = False
        self.dropped = 0
        """Lines that no line tells about yet."""
        self.lost = 0
        """Lines that were dropped, in all."""
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue one line (without its newline)."""
        if len(self._lines) >= PENDING_LINES:
            self.dropped += 1
            self.lost += 1
            return
        self._lines.append(line)
        if self._idle:
            self._idle = False
            self._wake.set()

    def close(self) -> None:
        """Write what is queued and stop; waits at most two seconds for a stuck stream."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait()
            self._wake.clear()
            if not self._closing:
                time.sleep(GATHER_SECONDS)
            self._idle = True
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        if self.dropped:
            dropped, self.dropped = self.dropped, 0
            lines.append(f'{{"event":"log lines dropped","level":"warning","dropped":{dropped}}}')
        if lines:
            try:
                for piece in _pieces(lines) if self._shared else ("\n".join(lines) + "\n",):
                    self._stream.write(piece)
                    self._stream.flush()
            except (OSError, ValueError):
                self.dropped += len(lines)
                self.lost += len(lines)


def _pieces(lines: list[str]) -> Iterator[str]:
    """Whole lines in writes that a pipe takes at once, so that those of other processes do not come between (PIPE_BUF)."""
    piece = ""
    for line in lines:
        if piece and len(piece) + len(line) >= PIPE_BUF // 2:
            yield piece
            piece = ""
        piece += line + "\n"
    yield piece


class _Threshold:
    """The least level that is logged now, as a number; one for all loggers of a process, so that it can change."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value


class _WriterLogger:
    """What structlog calls with a rendered line."""

    __slots__ = ("msg", "threshold")

    def __init__(self, writer: LineWriter, threshold: _Threshold) -> None:
        self.msg = writer.write
        self.threshold = threshold

    def __getattr__(self, name: str) -> Any:
        return self.msg


class _Levelled(structlog.make_filtering_bound_logger(LEVELS["debug"])):  # type: ignore[misc]
    """A bound logger whose level may change while it is in use; structlog's own has it built into its class."""

    def _proxy_to_logger(self, method_name: str, event: str | None = None, *positional: str, **fields: Any) -> Any:
        if LEVELS.get(method_name, LEVELS["error"]) >= self._logger.threshold.value:
            return super()._proxy_to_logger(method_name, event, *positional, **fields)
        return None


def withhold(logger: Any, method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep only allow-listed keys; an unknown one stays visible by name, its value does not."""
    if not fields.keys() <= KEYS:
        withheld = sorted(fields.keys() - KEYS)
        for key in withheld:
            del fields[key]
        fields["detail"] = f"{fields.get('detail', '')} [withheld: {', '.join(withheld)}]".strip()
    return fields


def _stamp(logger: Any, method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    now = time.time()
    whole = int(now)
    fields["timestamp"] = f"{_second(whole)}.{int((now - whole) * 1000):03d}Z"
    fields["level"] = method
    return fields


_last_second: tuple[int, str] = (0, "")


def _second(moment: int) -> str:
    """The second of a timestamp as text, rendered once per second."""
    global _last_second
    second, text = _last_second
    if second != moment:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
        _last_second = (moment, text)
    return text


def _render_json(logger: Any, method: str, fields: MutableMapping[str, Any]) -> str:
    try:
        return to_json(fields, inf_nan_mode="null").decode()
    except ValueError:
        # An adapter logged what JSON cannot hold: no reason for its request to fail.
        return to_json({key: _plain(value) for key, value in fields.items()}).decode()


def _plain(value: object) -> object:
    if isinstance(value, str):
        return value.encode("ascii", "backslashreplace").decode()
    return value if isinstance(value, int) else f"<{type(value).__name__}>"


class Telemetry:
    """The process's logging: a root logger, the writer behind it, and the hash that stands for a document."""

    def __init__(
        self,
        *,
        level: str = "info",
        form: Literal["auto", "json", "console"] = "auto",
        stream: TextIO | None = None,
        key: bytes | None = None,
        worker: int | None = None,
    ) -> None:
        """`worker` is the place of the process among several, which every line then names."""
        stream = stream or sys.stderr
        self.writer = LineWriter(stream, shared=worker is not None)
        self._place: dict[str, Any] = {} if worker is None else {"worker": worker}
        self._key = (key or os.urandom(32))[:64]
        self._callers: dict[str, str] = {}
        console = form == "console" or (form == "auto" and stream.isatty())
        renderer: Any = structlog.dev.ConsoleRenderer(colors=stream.isatty()) if console else _render_json
        self._configured = level
        self._threshold = _Threshold(LEVELS[level])
        self._until: float | None = None
        self._reset: asyncio.TimerHandle | None = None
        self._renderer = renderer
        self.log: Logger = structlog.wrap_logger(
            _WriterLogger(self.writer, self._threshold),
            processors=[withhold, _stamp, renderer],
            wrapper_class=_Levelled,
            context_class=dict,
        ).bind(**self._place)

    def configure(self, level: str) -> None:
        """Another level is configured; one that was set on top of it stays."""
        if self._until is None and self._threshold.value == LEVELS[self._configured]:
            self._threshold.value = LEVELS[level]
        self._configured = level

    def levels(self) -> dict[str, str | None]:
        """Which level is logged, which one the configuration says, and until when that differs; a moment is in UTC."""
        now = next(name for name, value in LEVELS.items() if value == self._threshold.value)
        until = None if self._until is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._until))
        return {"level": now, "configured": self._configured, "until": until}

    def set_level(self, level: str | None, seconds: float | None = None) -> None:
        """Log from this level on, for `seconds` or until the process ends; None is what the configuration says.

        Called on the event loop, which sets it back.
        """
        if self._reset is not None:
            self._reset.cancel()
        self._reset = self._until = None
        before, wanted = self._threshold.value, LEVELS[level or self._configured]
        self._threshold.value = min(before, LEVELS["info"])
        self.log.info("log level changed", state=level or self._configured, seconds=seconds)
        self._threshold.value = wanted
        if level is not None and seconds is not None:
            self._until = time.time() + seconds
            self._reset = asyncio.get_running_loop().call_later(seconds, self.set_level, None)

    def request(self, level: str, fields: dict[str, Any]) -> None:
        """The canonical line of one request.

        Called for every request: a bound logger would copy and merge contexts for it, which takes longer than the rest.
        The keys are those of `Call.fields`, which a test holds against `KEYS`, so nothing is withheld here.
        """
        if LEVELS[level] >= self._threshold.value:
            fields["event"] = "request"
            fields.update(self._place)
            self.writer.write(self._renderer(None, level, _stamp(None, level, fields)))

    def document(self, binary_id: str) -> str:
        """What a log line calls a document: a keyed hash of its id, so that lines can be matched but not read back."""
        return hashlib.blake2b(binary_id.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).hexdigest()

    def caller(self, client: str) -> str:
        """What a log line calls a client, likewise; few clients ask often."""
        name = self._callers.get(client)
        if name is None:
            if len(self._callers) >= KNOWN_CALLERS:
                self._callers.clear()
            name = self._callers[client] = self.document(client)
        return name

    def unexpected(self, error: BaseException, *, request_id: str | None = None) -> None:
        """Log a fault of the gateway itself: its class and where it was raised, never its message (it may quote data)."""
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
        fields = {"request_id": request_id} if request_id else {}
        self.log.error("unexpected error", error=type(error).__name__, detail=where, **fields)

    def close(self) -> None:
        """Write out what is queued."""
        self.writer.close()
