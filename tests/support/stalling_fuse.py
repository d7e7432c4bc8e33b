"""A FUSE file system that hangs or fails when told to: a network mount whose server went away, in its own process.

As a program it mounts a read-only mirror of a folder and obeys lines on standard input; as a module it is the test's
side of that. It must be another process: the kernel asks it while every thread of the test may be waiting for it.

    with StallingMount(source, mountpoint) as mount:
        with mount.hanging("open"):
            ...                       # every open below `mountpoint` waits
            mount.wait_for("open")    # until one does
        mount.live                    # files that are open in the mirror now, by its own count

Operations that can hang or fail: getattr, open, read, flush, opendir, readdir.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Self

LONGEST_HANG = 8.0
"""Seconds after which the mirror goes on by itself."""

PATIENCE = 20.0
"""Seconds after which something that should have happened is taken as not happening."""


class StallingMount:
    """The mirror of `source` mounted at `mountpoint`, as its operator."""

    def __init__(self, source: Path, mountpoint: Path) -> None:
        self.source = source
        self.mountpoint = mountpoint
        self._changed = threading.Condition()
        self._telling = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._alive = True

    def __enter__(self) -> Self:
        from tests.support.process import require

        self._fusermount = require("fusermount3")
        self.mountpoint.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.source), str(self.mountpoint)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._reader = threading.Thread(target=self._listen, name="stalling-fuse", daemon=True)
        self._reader.start()
        try:
            self.wait_for("init")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Unmount, however far it came; a second time does nothing."""
        self._tell("resume")
        subprocess.run([self._fusermount, "-u", "-z", str(self.mountpoint)], check=False, capture_output=True)
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._stdout.close()

    @contextlib.contextmanager
    def hanging(self, *operations: str) -> Iterator[None]:
        """While inside, `operations` do not return; for `LONGEST_HANG` at most, so that a test they hold can fail."""
        end = threading.Timer(LONGEST_HANG, self._tell, ["resume"])
        end.start()
        try:
            with self._told(f"hang {' '.join(operations)}"):
                yield
        finally:
            end.cancel()
            end.join()

    @contextlib.contextmanager
    def failing(self, *operations: str) -> Iterator[None]:
        """While inside, `operations` end with EIO."""
        with self._told(f"fail {' '.join(operations)}"):
            yield

    @contextlib.contextmanager
    def cutting(self, count: int) -> Iterator[None]:
        """While inside, reading a file beyond its first `count` bytes ends with EIO."""
        with self._told(f"cut {count}"):
            yield

    def wait_for(self, event: str, count: int = 1) -> None:
        """Wait until `event` (an operation that now hangs, `release`, `init`) has happened `count` times in all."""
        self._wait(lambda: self._counts[event] >= count, f"{event!r} did not happen")

    def seen(self, event: str) -> int:
        """How often `event` has happened."""
        return self._counts[event]

    def wait_closed(self) -> None:
        """Wait until no file is open in the mirror."""
        self._wait(lambda: not self.live, "files stayed open")

    @property
    def live(self) -> int:
        """How many files are open in the mirror."""
        return self._counts["opened"] - self._counts["release"]

    def _wait(self, happened: Callable[[], bool], complaint: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: happened() or not self._alive, PATIENCE)
            if not happened():
                raise AssertionError(f"{complaint} in the mirror; it said {dict(self._counts)}")

    @property
    def _stdin(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    @contextlib.contextmanager
    def _told(self, line: str) -> Iterator[None]:
        self._tell(line)
        try:
            yield
        finally:
            self._tell("resume")

    def kill(self) -> None:
        """End the mirror without unmounting, as a server that crashes."""
        self._process.kill()
        self._process.wait()

    def _tell(self, line: str) -> None:
        """Give an order and wait until it holds."""
        with self._telling:
            told = self.seen("told")
            if self._stdin.closed:
                return
            with contextlib.suppress(BrokenPipeError):
                self._stdin.write(line + "\n")
                self._stdin.flush()
                self._wait(lambda: self.seen("told") > told or not self._alive, "an order was not heard")

    def _listen(self) -> None:
        for line in self._stdout:
            with self._changed:
                self._counts[line.strip()] += 1
                self._changed.notify_all()
        with self._changed:
            self._alive = False
            self._changed.notify_all()


# --- the mirror's process ------------------------------------------------------------------------------------------


class _Gate:
    """What operations may do now. One that hangs says its name when it begins to."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._hanging: frozenset[str] = frozenset()
        self._failing: frozenset[str] = frozenset()
        self._cut: int | None = None

    def pass_through(self, operation: str, last_byte: int = 0) -> None:
        with self._changed:
            if operation in self._hanging:
                say(operation)
                self._changed.wait_for(lambda: operation not in self._hanging)
            if operation in self._failing or (self._cut is not None and last_byte > self._cut):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    def obey(self) -> None:
        for line in sys.stdin:
            self._order(*line.split())
            say("told")
        self._order("resume")

    def _order(self, command: str, *words: str) -> None:
        with self._changed:
            self._hanging = frozenset(words) if command == "hang" else frozenset()
            self._failing = frozenset(words) if command == "fail" else frozenset()
            self._cut = int(words[0]) if command == "cut" else None
            self._changed.notify_all()


def say(event: str) -> None:
    os.write(1, f"{event}\n".encode())


def main(source: str, mountpoint: str) -> None:
    import mfusepy

    gate = _Gate()
    threading.Thread(target=gate.obey, daemon=True).start()

    class Mirror(mfusepy.Operations):  # type: ignore[misc]
        """The folder, without anything that writes. Nothing is cached by the kernel, so that every call comes here."""

        use_ns = True

        def init_with_config(self, connection: Any, configuration: Any) -> None:
            for name in ("entry_timeout", "attr_timeout", "negative_timeout"):
                setattr(configuration, name, 0)
            configuration.direct_io = 1
            say("init")

        def getattr(self, path: str, handle: int | None = None) -> dict[str, Any]:
            gate.pass_through("getattr")
            try:
                status = os.fstat(handle) if handle else os.lstat(source + path)
            except OSError as error:
                raise mfusepy.FuseOSError(error.errno) from error
            plain = {name: vars_of(status)[name] for name in ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")}
            return plain | {name: vars_of(status)[f"{name}_ns"] for name in ("st_atime", "st_mtime", "st_ctime")}

        def opendir(self, path: str) -> int:
            gate.pass_through("opendir")
            return 0

        def readdir(self, path: str, handle: int) -> list[Any]:
            gate.pass_through("readdir")
            with os.scandir(source + path) as entries:
                kinds = [(entry.name, {"st_mode": entry.stat(follow_symlinks=False).st_mode}, 0) for entry in entries]
            return [(".", {"st_mode": stat.S_IFDIR}, 0), ("..", {"st_mode": stat.S_IFDIR}, 0), *kinds]

        def open(self, path: str, flags: int) -> int:
            gate.pass_through("open")
            try:
                handle = os.open(source + path, os.O_RDONLY)
            except OSError as error:
                raise mfusepy.FuseOSError(error.errno) from error
            say("opened")
            return handle

        def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
            gate.pass_through("read", offset + size)
            return os.pread(handle, size, offset)

        def flush(self, path: str, handle: int) -> int:
            gate.pass_through("flush")
            return 0

        def release(self, path: str, handle: int) -> int:
            os.close(handle)
            say("release")
            return 0

    mfusepy.FUSE(Mirror(), mountpoint, foreground=True, ro=True)


def vars_of(status: os.stat_result) -> dict[str, Any]:
    return {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}


if __name__ == "__main__":
    main(*sys.argv[1:])
