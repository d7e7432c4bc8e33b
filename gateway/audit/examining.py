"""Whether a trail could be kept as it is configured, found out without keeping one. Blocking, but for receivers.

What is tried is undone: a file is written, made durable and removed. Findings name keys of the settings, nothing of a record.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from gateway.audit.opening import OWN_KEY, TrailUnusable, key_of, unwritable
from gateway.audit.segments import DIRECTORY_MODE
from gateway.outgoing_tls import client_context
from gateway.settings.audit import AuditSettings, FhirSink, SyslogSink
from gateway.unusable import UnusableFile

State = Literal["wrong", "away", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the trail. `state`: wrong (it cannot be kept), away (a receiver does not answer), note (works)."""

    state: State
    key: str
    cause: str
    cure: str


async def examined(settings: AuditSettings) -> list[Finding]:
    """What is to be said about the trail; nothing when there is none or all is well."""
    if not settings.kept:
        return []
    found = await asyncio.to_thread(lambda: list(_own(settings)))
    receivers = await asyncio.gather(*(_receiver(sink) for sink in settings.sinks))
    return found + [finding for finding in receivers if finding is not None]


def _own(settings: AuditSettings) -> Iterator[Finding]:
    directory = settings.directory
    assert directory is not None
    yield from _directory(directory, settings.min_free)
    if settings.key_file is not None or (directory / OWN_KEY).exists():
        try:
            key_of(settings, make=False)
        except TrailUnusable as unusable:
            yield Finding("wrong", unusable.key, str(unusable), unusable.cure)
        else:
            yield from _readers_of(settings.key_file or directory / OWN_KEY, "audit.key_file")
    if settings.key_file is None:
        cause = "The key of the trail lies beside the trail: who copies the directory can read whom it names."
        yield Finding("note", "audit.key_file", cause, "Keep the key elsewhere and name it in `audit.key_file`.")
    if settings.checkpoints is None and not settings.sinks:
        cause = "Signed checkpoints stay on this machine, so that who can write here can cut the trail's end off."
        yield Finding("note", "audit.checkpoints", cause, "Name a file elsewhere, or a receiver in `audit.sinks`.")


def _directory(directory: Path, min_free: int) -> Iterator[Finding]:
    trial = directory / ".trial"
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        with trial.open("wb") as file:
            file.write(b"trial\n")
            file.flush()
            os.fsync(file.fileno())
        trial.unlink()
    except OSError as error:
        unusable = unwritable(directory, error)
        yield Finding("wrong", unusable.key, str(unusable), unusable.cure)
        return
    room = os.statvfs(directory)
    free = room.f_bavail * room.f_frsize
    if free < min_free:
        cause = f"{free >> 20} MiB are free in {directory}, less than `audit.min_free`: no document would be given out."
        yield Finding("wrong", "audit.min_free", cause, "Make room on that disk.")
    yield from _readers_of(directory, "audit.directory")


def _readers_of(path: Path, key: str) -> Iterator[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        cause = f"Other accounts can reach {path} (mode {mode:03o})."
        yield Finding("note", key, cause, f"chmod {'700' if path.is_dir() else '600'} {path}")


async def _receiver(sink: FhirSink | SyslogSink) -> Finding | None:
    """Connect, and let go again: nothing is sent."""
    if isinstance(sink, SyslogSink):
        host, _, number = sink.address.rpartition(":")
        host, port, secure = host.strip("[]"), int(number), True
    else:
        parts = urlsplit(sink.url)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    try:
        context = await asyncio.to_thread(client_context, sink.tls) if secure else None
    except UnusableFile as error:
        return Finding("wrong", "audit.sinks", f"{sink.name}, `{error.option}`: {error}", error.cure)
    cure = "Until it answers, what it is to be given waits in `audit.directory`."
    try:
        async with asyncio.timeout(sink.timeout):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        return Finding(
            "away", "audit.sinks", f"{sink.name}: its certificate is not trusted: {error.verify_message}.", cure
        )
    except TimeoutError:
        return Finding("away", "audit.sinks", f"{sink.name}: {host}:{port} does not answer.", cure)
    except socket.gaierror:
        return Finding("away", "audit.sinks", f"{sink.name}: the name {host} is not known.", cure)
    except OSError as error:
        return Finding("away", "audit.sinks", f"{sink.name}: {host}:{port}: {error.strerror or error}.", cure)
    writer.transport.abort()
    return None
