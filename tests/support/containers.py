"""Container files in memory: ZIP archives, and the beginnings of OLE compound files."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable


def archive(*members: str | tuple[str, bytes], packed: bool = True, streamed: bool = False) -> bytes:
    """A ZIP file with these members; `streamed` writes their sizes behind their bytes, as a pipe demands."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return not streamed

        def tell(self) -> int:
            if streamed:
                raise io.UnsupportedOperation
            return super().tell()

    out = Pipe()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        for member in members:
            name, data = member if isinstance(member, tuple) else (member, b"<x/>" * 20)
            file.writestr(name, data)
    return out.getvalue()


def ole(streams: Iterable[str] = (), first: bytes = b"", directory_sector: int = 1) -> bytes:
    """A compound file as far as its header, its first sector and a directory (512-byte sectors)."""
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(22) + struct.pack("<H", 9) + bytes(16)
    header += struct.pack("<I", directory_sector)
    entries = b"".join(
        name.encode("utf-16-le").ljust(64, b"\0") + struct.pack("<H", 2 * len(name) + 2) + bytes(62)
        for name in ("Root Entry", *streams)
    )
    sectors = [bytes(512)] * max(directory_sector, 1) + [entries.ljust(512, b"\0")]
    sectors[0] = first.ljust(512, b"\0")
    return header.ljust(512, b"\0") + b"".join(sectors)
