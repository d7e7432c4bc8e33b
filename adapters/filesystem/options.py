"""The options of the filesystem adapter. Nothing here touches the disk; what the root is like is found on entering."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ByteSize, ConfigDict, Field, field_validator

from adapters.contract import MAX_CHUNK
from adapters.declaring import Seconds, wrong


class FilesystemOptions(BaseModel):
    """The options of the filesystem adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path = Field(
        description="The folder that holds the documents. It may be a symbolic link; links below it are never followed."
        " A relative path begins at the directory of the configuration file."
    )
    require_mount: bool = Field(
        default=False,
        description="Whether the root must be a mount point of its own. On for a mounted share: without the share the "
        "empty folder under it would make every document look absent, and with this it is reported as unavailable.",
    )
    case_insensitive: bool = Field(
        default=False,
        description="Whether names also match with capitals and small letters exchanged, as on a Windows share. The "
        "exact name goes first; more than one match is an error.",
    )
    settle: Seconds = Field(
        default=0.0,
        description="How long a document must have stood unchanged before it is served (`5s`). Younger ones are "
        "answered as busy, since their writer may not be done. 0s serves at once.",
    )
    local: bool | None = Field(
        default=None,
        description="Whether the root is on this machine's own disks and may be read without threads and deadlines. "
        "null finds out from the kind of file system; network and FUSE file systems are not local.",
    )
    chunk_size: ByteSize | None = Field(
        default=None,
        description=f"Bytes read at a time, a multiple of 3 up to {MAX_CHUNK}. null is 192KiB on local disks and "
        "768KiB elsewhere.",
    )

    @field_validator("chunk_size")
    @classmethod
    def _divisible(cls, value: ByteSize | None) -> ByteSize | None:
        if value is not None and not (3 <= value <= MAX_CHUNK and value % 3 == 0):
            raise wrong(f"This is not a multiple of 3 between 3 and {MAX_CHUNK}.", "Write one, for example 192KiB.")
        return value
