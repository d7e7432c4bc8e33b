"""The settings of the audit trail: where it is written, what happens when it cannot be, and who gets a copy.

Declarations and judgement on values alone. Opening files and connections belongs to `gateway.audit.opening`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from gateway.quantities import Count, Duration, Size, SourceName, is_loopback, wrong
from gateway.settings.outgoing import Address, OutgoingTls
from gateway.settings.section import Section


def _repository_url(value: str) -> str:
    cure = "Write https, host and path, as in https://audit.trust.nhs.uk/fhir; http only for this machine itself."
    try:
        parts = urlsplit(value)
        usable = (
            parts.port != 0 and bool(parts.hostname) and "@" not in parts.netloc and not (parts.query or parts.fragment)
        )
    except ValueError:
        raise wrong("sink-url", "This is not the address of an audit repository.", cure) from None
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not usable or not value.isprintable():
        raise wrong("sink-url", "This is not the address of an audit repository.", cure)
    if not secure:
        raise wrong("sink-url", "Records name patients, and this address would carry them in the open.", cure)
    return value.rstrip("/")


class FhirSink(Section):
    """A FHIR audit repository (IHE RESTful ATNA): each record is posted as an AuditEvent and counts when it is answered so."""

    kind: Literal["fhir"] = Field(description="A FHIR server that takes AuditEvents.")
    name: SourceName = Field(
        description="What logs and the state page call it; how far it was served is kept under this name.",
        examples=["repository"],
    )
    url: Annotated[str, AfterValidator(_repository_url)] = Field(
        description="The FHIR base of the repository; AuditEvent is appended.",
        examples=["https://audit.trust.nhs.uk/fhir"],
    )
    version: Literal["R4", "STU3"] = Field(default="R4", description="The FHIR version that the repository takes.")
    batch: Count = Field(
        default=1,
        le=500,
        description="How many AuditEvents go in one request; more than one go as a Bundle of type batch.",
    )
    token_file: Path | None = Field(
        default=None, description="A file with a bearer token for the repository; read anew for every connection."
    )
    timeout: Duration = Field(default=10.0, description="How long the repository may take to answer.")
    tls: OutgoingTls = Field(default=OutgoingTls(), description="Certificates.")


class SyslogSink(Section):
    """A syslog receiver over TLS (RFC 5425, IHE ATNA): each record is sent as a DICOM audit message."""

    kind: Literal["syslog"] = Field(description="A syslog receiver over TLS.")
    name: SourceName = Field(
        description="What logs and the state page call it; how far it was served is kept under this name.",
        examples=["siem"],
    )
    address: Address = Field(
        description="Host and port of the receiver; 6514 is usual.", examples=["siem.trust.nhs.uk:6514"]
    )
    timeout: Duration = Field(default=10.0, description="How long connecting, and sending one lot, may take.")
    tls: OutgoingTls = Field(default=OutgoingTls(), description="Certificates.")


Sink = Annotated[FhirSink | SyslogSink, Field(discriminator="kind")]


class AuditSettings(Section):
    """The trail of who read what."""

    mode: Literal["files", "none"] | None = Field(
        default=None,
        description="With files the trail is written to `directory`; with none no trail is kept, said on purpose. Without this "
        "key a trail is kept when there is a `directory`; where callers prove who they are, one of the two is demanded.",
    )
    directory: Path | None = Field(
        default=None,
        description="Where the trail is written; for this account alone, on a disk of its own if possible.",
    )
    fail: Literal["closed", "open"] = Field(
        default="closed",
        description="What happens when the trail cannot be written. closed: requests are answered with 503. open: they are "
        "answered, unrecorded, and the log raises the alarm.",
    )
    patience: Duration = Field(
        default=2.0, description="How long a request waits for the disk of the trail before it counts as failed."
    )
    key_file: Path | None = Field(
        default=None,
        description="A file with 32 random bytes (raw, hex or base64) that seal what names patients and sign checkpoints. "
        "Keep a copy: without it nobody can say who read what. null: a file `key` in `directory`, made at the first start.",
    )
    rotate_size: Size = Field(default=64 << 20, ge=4096, description="The size from which on a new file is begun.")
    rotate_after: Duration = Field(default=86_400.0, description="The age from which on a new file is begun.")
    retention: Duration | None = Field(
        default=None,
        description="For how long files are kept that every receiver was given; null keeps them for ever. Ask who governs "
        "records before you set it.",
    )
    min_free: Size = Field(
        default=16 << 20,
        description="Room that must be left on the disk, so that how running answers end can still be written.",
    )
    checkpoint: Duration = Field(
        default=60.0, description="How often what was written is signed; up to there its completeness can be proven."
    )
    checkpoints: Path | None = Field(
        default=None,
        description="A file to which each signed checkpoint is appended too. It proves something where those who can write to "
        "`directory` cannot write to it: another machine's disk, or one that only appends.",
    )
    site: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="What delivered records name as their source, as in RXX-letters.",
    )
    sinks: tuple[Sink, ...] = Field(
        default=(),
        description="Who gets every record, with the ids and patients that it names: at least once and in order. What "
        "cannot be delivered waits in `directory`.",
        examples=[[{"kind": "fhir", "name": "repository", "url": "https://audit.trust.nhs.uk/fhir"}]],
    )

    @property
    def kept(self) -> bool:
        """Whether a trail is kept."""
        return self.directory is not None and self.mode != "none"

    @model_validator(mode="after")
    def _agrees(self) -> AuditSettings:
        if self.mode == "files" and self.directory is None:
            raise wrong("missing-key", "The trail has no place.", "Add `directory: /var/lib/fhir-gateway/audit`.")
        if self.mode == "none" and self.directory is not None:
            cause = "A directory is given, and `mode: none` says that no trail is kept."
            raise wrong("audit-mode", cause, "Remove one of the two.")
        if len({sink.name for sink in self.sinks}) < len(self.sinks):
            raise wrong("sink-name", "Two receivers have the same name.", "Give each `name` of its own.")
        if self.sinks and self.directory is None:
            raise wrong(
                "missing-key", "Records are delivered out of `directory`, and there is none.", "Add `directory`."
            )
        return self
