"""From the settings of the audit trail to the trail: key, writer, what the request's path is handed."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.audit.feeding import Feed, Receiver
from gateway.audit.positions import delivered
from gateway.audit.segments import DIRECTORY_MODE
from gateway.audit.trail import NO_TRAIL, Trail
from gateway.keyfile import read_key, write_key
from gateway.outgoing_tls import client_context
from gateway.settings.audit import AuditSettings, FhirSink, SyslogSink
from gateway.telemetry import Logger
from gateway.unusable import UnusableFile

OWN_KEY = "key"
"""The file in the directory that holds the key where none is configured."""


class TrailUnusable(Exception):
    """The trail cannot be begun. `key` is the setting to look at, the text says what is wrong, `cure` what to do."""

    def __init__(self, key: str, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.key = key
        self.cure = cure


@asynccontextmanager
async def open_trail(settings: AuditSettings, log: Logger) -> AsyncIterator[Trail]:
    """The configured trail, being written. Raises `TrailUnusable`."""
    if settings.directory is None or not settings.kept:
        yield NO_TRAIL
        return
    # A gateway without a trail does not load cryptography for one.
    from gateway.audit.files import FileTrail
    from gateway.audit.keys import AuditKeys
    from gateway.audit.writing import Limits

    directory = settings.directory
    trail = FileTrail(
        directory,
        AuditKeys(await asyncio.to_thread(key_of, settings)),
        log.bind(component="audit"),
        closed=settings.fail == "closed",
        patience=settings.patience,
        limits=Limits(
            rotate_bytes=settings.rotate_size,
            rotate_after=settings.rotate_after,
            checkpoint=settings.checkpoint,
            retention=settings.retention,
            min_free=settings.min_free,
        ),
        checkpoints=settings.checkpoints,
        delivered=delivered(directory, [sink.name for sink in settings.sinks]),
    )
    trail.feeds = [
        Feed(
            sink.name,
            directory,
            trail.keys,
            open_receiver(sink, settings.site),
            log.bind(component="audit"),
            durable=trail.writer.durable,
            own=trail.writer.owns,
        )
        for sink in settings.sinks
    ]
    try:
        await trail.__aenter__()
    except OSError as error:
        raise unwritable(directory, error) from error
    try:
        yield trail
    finally:
        await trail.__aexit__()


def key_of(settings: AuditSettings, *, make: bool = True) -> bytes:
    """The key of the trail; that in the directory is made when there is none yet and `make` is set. Blocking.

    Raises `TrailUnusable`.
    """
    directory = settings.directory
    assert directory is not None
    path = settings.key_file or directory / OWN_KEY
    try:
        if settings.key_file is not None or not make:
            return read_key(path)
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        try:
            return write_key(path)
        except FileExistsError:
            return read_key(path)
    except ValueError as error:
        raise TrailUnusable("audit.key_file", f"{path}: {error}", "Put the trail's own key back.") from None
    except OSError as error:
        if settings.key_file is None:
            raise unwritable(directory, error) from error
        cause = f"The key of the audit trail cannot be read: {path}: {error.strerror}."
        raise TrailUnusable("audit.key_file", cause, "Let the account that runs the gateway read it.") from error


def unwritable(directory: Path, error: OSError) -> TrailUnusable:
    """What to say when no trail can be kept in `directory`."""
    cause = f"The audit trail cannot be written to {directory}: {error.strerror or error}."
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        cure = "A file stands in its way: move that away, or name another directory."
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        cure = "Make room on that disk, or name a directory on another one."
    else:
        cure = f"Let the account that runs the gateway (user id {os.geteuid()}) write there."
    return TrailUnusable("audit.directory", cause, cure)


def open_receiver(sink: FhirSink | SyslogSink, site: str | None) -> Receiver:
    """The receiver of a sink, not yet connected. Reads certificates; raises `TrailUnusable`."""
    try:
        if isinstance(sink, SyslogSink):
            from gateway.audit.syslog_feed import SyslogReceiver

            return SyslogReceiver(sink, client_context(sink.tls), site=site)
        from gateway.audit.fhir_feed import FhirReceiver

        return FhirReceiver(sink, client_context(sink.tls) if sink.url.startswith("https:") else None, site=site)
    except UnusableFile as error:
        raise TrailUnusable("audit.sinks", f"{sink.name}, `{error.option}`: {error}", error.cure) from error
