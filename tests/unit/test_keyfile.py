"""Key files: every way to write a key, and nothing that only resembles one."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from gateway.keyfile import read_key, write_key

KEY = bytes(range(220, 252))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        KEY,
        KEY.hex().encode(),
        KEY.hex().upper().encode() + b"\r\n",
        base64.b64encode(KEY) + b"\n",
        base64.urlsafe_b64encode(KEY),
        b" \t" + base64.b64encode(KEY),
        b"\n" * 32,
    ],
)
def test_every_way_to_write_a_key(tmp_path: Path, content: bytes) -> None:
    assert read_key(written(tmp_path / "key", content)) == (content if len(content) == 32 else KEY)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        KEY[:-1],
        KEY + b"\n",
        KEY.hex().encode()[:-2],
        base64.b64encode(KEY)[:-1],
        b"$" + base64.b64encode(KEY),
        base64.urlsafe_b64encode(KEY).replace(b"=", b"!="),
        base64.b64encode(KEY)[:20] + b"\n" + base64.b64encode(KEY)[20:],
    ],
)
def test_what_only_resembles_a_key_is_none(tmp_path: Path, content: bytes) -> None:
    """A damaged key that is taken for another one turns every id into that of no document."""
    with pytest.raises(ValueError, match="does not hold a key of 32 bytes, raw, in hex or in base64"):
        read_key(written(tmp_path / "key", content))


def test_half_a_key_in_hex_is_not_taken_for_a_whole_one_of_letters(tmp_path: Path) -> None:
    """32 digits of hex without a line end are 32 bytes, of half the strength that a key must have."""
    half = written(tmp_path / "key", KEY[:16].hex().encode())
    with pytest.raises(ValueError, match="a key of 16 bytes in hex, and 32 are needed"):
        read_key(half)


def test_a_new_key_is_random_and_its_owners_alone(tmp_path: Path) -> None:
    made = write_key(tmp_path / "one")
    assert read_key(tmp_path / "one") == made != write_key(tmp_path / "two")
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_key(tmp_path / "one")
