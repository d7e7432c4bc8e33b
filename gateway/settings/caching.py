"""The settings of the cache: one model for each backend, told apart by `backend`, and what all of them share.

Declarations and judgement on values alone. Reading key files and opening a backend belongs to the composition root.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from gateway.quantities import Count, Duration, Size, wrong
from gateway.settings.outgoing import Address, OutgoingTls
from gateway.settings.section import Section


class NoCaching(Section):
    """Documents are not kept: every read asks the archive, or joins a read that is under way."""

    backend: Literal["none"] = Field(default="none", description="Keeps nothing; every read asks the archive.")


class _Keeping(Section):
    """What every backend that keeps documents has."""

    ttl: Duration = Field(
        default=3600.0,
        description="How long a document is served without asking its archive again. Archives that can be asked cheaply "
        "whether it changed are asked at every read all the same.",
    )
    max_document: Size = Field(
        default=32 << 20, description="Larger documents are not kept; they are read from the archive for each reader."
    )
    stale_while_revalidate: Duration = Field(
        default=60.0,
        description="For how long after `ttl` a document may still be served while a new copy is fetched behind it.",
    )
    stale_if_error: Duration = Field(
        default=300.0,
        description="For how long after `ttl` a document may still be served when its archive is away or hangs. Never "
        "when the archive says that there is no such document, that it was withdrawn, or that it may not be read.",
    )
    patience: Duration = Field(
        default=0.8, description="How long an archive may take before an older copy is served in its place."
    )
    negative_ttl: Duration = Field(
        default=10.0,
        description=(
            "How long an archive's word that there is no such document is believed, counted from when it was asked, by each "
            "process for itself."
        ),
    )


def _key_id(value: str) -> str:
    if not value.isascii() or not value.isalnum() or len(value) > 32:
        raise wrong("key-id", "A key cannot have this id.", "Use 1 to 32 letters and digits, as in `k1`.")
    return value


class KeyFile(Section):
    """One key."""

    id: Annotated[str, AfterValidator(_key_id)] = Field(
        description="The name by which entries know their key; it stands in the open.", examples=["k1"]
    )
    file: Path = Field(
        description="A file with 32 random bytes (raw, hex or base64).", examples=["/run/secrets/cache-key"]
    )


class Encrypted(Section):
    """Documents are encrypted wherever they lie outside the process."""

    mode: Literal["aes-256-gcm"] = Field(description="AES-256-GCM, with a key of its own for each document.")
    keys: tuple[KeyFile, ...] = Field(
        min_length=1,
        description="The keys. The first encrypts; the others still open what was stored under them, so that a key can be "
        "changed without losing what is kept. All replicas need the same ones.",
        examples=[[{"id": "k1", "file": "/run/secrets/cache-key"}]],
    )

    @model_validator(mode="after")
    def _apart(self) -> Encrypted:
        if len({key.id for key in self.keys}) < len(self.keys):
            raise wrong("key-id", "Two keys have the same id.", "Give each key an id of its own.")
        return self


class Unencrypted(Section):
    """Documents lie in the open."""

    mode: Literal["none"] = Field(description="No encryption: whoever reads the cache reads letters.")


Encryption = Annotated[Encrypted | Unencrypted, Field(discriminator="mode")]


class MemoryCaching(_Keeping):
    """Documents are kept in this process's memory."""

    backend: Literal["memory"] = Field(description="Keeps documents in this process's memory.")
    max_bytes: Size = Field(default=256 << 20, description="How much is kept; what was used least recently goes first.")


class DiskCaching(_Keeping):
    """Documents are kept in a directory of this machine, and survive a restart."""

    backend: Literal["disk"] = Field(description="Keeps documents in a directory, also over a restart.")
    directory: Path = Field(
        description="The directory; this process must be the only one that uses it.",
        examples=["/var/cache/fhir-gateway"],
    )
    max_bytes: Size = Field(default=256 << 20, description="How much is kept; what was used least recently goes first.")
    encryption: Encryption = Field(
        description="Whether documents are encrypted; there is no default, since plain text must be said on purpose.",
        examples=[{"mode": "aes-256-gcm", "keys": [{"id": "k1", "file": "/run/secrets/cache-key"}]}],
    )


class Sentinel(Section):
    """Who knows which Redis server is the primary one."""

    master: str = Field(description="The name by which the sentinels know the primary server.", examples=["mymaster"])
    addresses: tuple[Address, ...] = Field(
        min_length=1, description="The sentinels.", examples=[["sentinel-1:26379", "sentinel-2:26379"]]
    )


def _redis_url(value: str) -> str:
    cure = "Write redis://host:6379/0, rediss://host:6379/0 for TLS, or unix:///run/redis.sock."
    try:
        parts = urlsplit(value)
        usable = parts.port != 0
    except ValueError:
        raise wrong("redis-url", "This is not the address of a Redis server.", cure) from None
    if parts.password:
        cause = "The address holds a password, which every tool that shows the configuration would show."
        raise wrong("redis-password", cause, "Put the password into a file and name it in `password_file`.")
    whole = parts.path if parts.scheme == "unix" else parts.hostname
    numbered = parts.scheme == "unix" or parts.path in ("", "/") or parts.path[1:].isdigit()
    if parts.scheme not in ("redis", "rediss", "unix") or not whole or not usable or not numbered:
        raise wrong("redis-url", "This is not the address of a Redis server.", cure)
    return value


class RedisCaching(_Keeping):
    """Documents are kept in Redis, for all replicas together."""

    backend: Literal["redis"] = Field(description="Keeps documents in Redis, for all replicas together.")
    url: Annotated[str, AfterValidator(_redis_url)] = Field(
        default="redis://127.0.0.1:6379/0",
        description="The server: redis://host:port/database, rediss:// for TLS, unix:///path for a socket. With "
        "`sentinel` only its scheme and its database count.",
    )
    username: str | None = Field(default=None, description="The account (ACL) at Redis.")
    password_file: Path | None = Field(default=None, description="A file that holds its password.")
    sentinel: Sentinel | None = Field(default=None, description="Ask these sentinels where the primary server is.")
    cluster: bool = Field(default=False, description="Whether the server belongs to a Redis Cluster.")
    tls: OutgoingTls = Field(default=OutgoingTls(), description="Certificates, for rediss:// alone.")
    namespace: str = Field(
        default="gateway",
        pattern=r"^[A-Za-z0-9:._-]{1,64}$",
        description="What every key in Redis begins with; gateways that are not replicas of each other need their own.",
    )
    connect_timeout: Duration = Field(default=0.25, description="How long connecting may take before it is a miss.")
    operation_timeout: Duration = Field(
        default=0.25, description="How long one operation may take before it is a miss."
    )
    connections: Count = Field(default=16, description="How many connections this process opens at most.")
    encryption: Encryption = Field(
        description="Whether documents are encrypted; there is no default, since plain text must be said on purpose.",
        examples=[{"mode": "aes-256-gcm", "keys": [{"id": "k1", "file": "/run/secrets/cache-key"}]}],
    )

    @model_validator(mode="after")
    def _one_kind(self) -> RedisCaching:
        if self.cluster and self.sentinel is not None:
            cause = "A Redis Cluster elects its servers itself and has no sentinels."
            raise wrong("redis-kind", cause, "Leave out `sentinel`, or set `cluster: false`.")
        return self


Caching = Annotated[NoCaching | MemoryCaching | DiskCaching | RedisCaching, Field(discriminator="backend")]
"""The key `cache`."""
