"""A working configuration for a folder that somebody points at.

When every file's name can be an id, ids are names (scheme `template`). Where they cannot, or where a name gives away an
NHS number, ids are keyed hashes of the paths, listed in a manifest: the same key and path always give the same id. Here
are the decision and the files; what is said about them is the command's. No message holds a name of a document.
"""

from __future__ import annotations

import csv
import hmac
import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gateway.cli.folder import documents
from gateway.ids.manifest_paths import path_text
from gateway.keyfile import read_key, write_key
from gateway.routing import valid_id

INDEX = "index.csv"
KEY = "ids.key"

ID_LENGTH = 32
"""Hexadecimal characters of a keyed id, 128 bits: no two of any number of documents get the same."""

LOOKED_AT = 10_000
"""Files whose size is looked at for empty ones: on a share each look is a round trip."""

TICK = 1000
"""Files between two reports of progress."""

_EXTENSION = re.compile(r"[A-Za-z0-9]{1,10}", re.ASCII)
_MOST_EXTENSIONS = 8
_nhs_numbers = re.compile(r"(?<![0-9])([0-9]{3})[ -]?([0-9]{3})[ -]?([0-9]{4})(?![0-9])", re.ASCII).finditer

Progress = Callable[[int], None]


class CannotWrite(Exception):
    """The configuration cannot be written; the text says why and what to do."""


@dataclass(slots=True)
class Written:
    """What came of a folder. `reason` says why names could not be ids, `example` is one id.

    `files` are those that were written; `key` is the key file in use, None where ids are names.
    """

    config: Path
    count: int
    pattern: str | None
    reason: str | None
    example: str
    files: list[Path] = field(default_factory=list)
    key: Path | None = None
    empty: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


def write_configuration(
    folder: Path,
    output: Path,
    *,
    ids: Literal["auto", "keyed"] = "auto",
    force: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Look at `folder` and write `output`, and beside it an index and a key where ids are keyed hashes.

    With `ids="keyed"` names are never ids. An existing key is used again and never overwritten; the other files only
    with `force`. Raises `CannotWrite`, `OSError`.
    """
    folder, output = folder.absolute(), output.absolute()
    _refuse_unusable(folder, output, force)
    tick = progress or (lambda count: None)
    pattern, reason = ("", "keyed ids were asked for") if ids == "keyed" else fitting_pattern(_ticked(folder, tick))
    if not pattern:
        return _with_index(folder, output, reason or "", force=force, tick=tick)
    skipped: Counter[str] = Counter()
    count = empty = 0
    example = ""
    for path in documents(folder, skipped):
        example = example or _id_of(os.fsdecode(path), pattern)
        empty += count < LOOKED_AT and _is_empty(folder, path)
        count += 1
    output.write_text(_configuration(folder, count, f'{{scheme: template, pattern: "{pattern}"}}'), encoding="utf-8")
    return Written(output, count, pattern, None, example, [output], None, empty, skipped)


def fitting_pattern(paths: Iterator[bytes]) -> tuple[str, None] | tuple[None, str]:
    """The template pattern under which every path's name holds its id, or why there is none."""
    stems: set[int] = set()
    extensions: set[str] = set()
    dotted = False
    for path in paths:
        if b"/" in path:
            return None, "there are sub-folders"
        name = os.fsdecode(path)
        stem, extension = _split(name)
        if not valid_id(stem):
            return None, "there are names that no id can have (letters, digits, - and . only, at most 64)"
        if holds_nhs_number(stem):
            return None, "there are names that hold an NHS number"
        if hash(stem) in stems:
            return None, "there are names that differ only in their extension"
        stems.add(hash(stem))
        extensions.add(extension)
        dotted = dotted or name.count(".") > 1
    if not stems:
        return None, "there are no documents"
    if "" in extensions:
        return ("{id}", None) if len(extensions) == 1 else (None, "some names have an extension and some have none")
    if len(extensions) == 1:
        return f"{{id}}.{extensions.pop()}", None
    if not dotted:
        return "{id}.*", None
    # With dots in ids, `.*` could not tell the end of one id from the middle of another.
    if len(extensions) <= _MOST_EXTENSIONS:
        return f"{{id}}.{{{','.join(sorted(extensions))}}}", None
    return None, "there are names with several dots and many different extensions"


def holds_nhs_number(text: str) -> bool:
    """Whether ten digits in `text` are a valid NHS number: the last checks the others, modulus 11."""
    return any(_is_nhs_number("".join(found.groups())) for found in _nhs_numbers(text))


def _is_nhs_number(digits: str) -> bool:
    check = 11 - sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=False)) % 11
    # A check of 10 is no digit, so that such numbers are not given out.
    return check % 11 == int(digits[9])


def keyed_id(key: bytes, path: bytes) -> str:
    """The id of the document at `path` below the root: the same for the same key, and nothing can be read from it."""
    return hmac.new(key, path, "sha256").hexdigest()[:ID_LENGTH]


def _with_index(folder: Path, output: Path, reason: str, *, force: bool, tick: Progress) -> Written:
    index, key_file = output.with_name(INDEX), output.with_name(KEY)
    if index.exists() and not force:
        raise CannotWrite(f"{index} exists. Give --force to write it anew, or --output in another directory.")
    try:
        key, made = read_key(key_file), False
    except FileNotFoundError:
        key, made = write_key(key_file), True
    except ValueError as error:
        raise CannotWrite(f"{key_file}: {error} Move it away to have a new one made; all ids will change.") from None
    skipped: Counter[str] = Counter()
    count = empty = 0
    example = ""
    partial = index.with_name(f".{INDEX}.{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("id", "path"))
            for path in documents(folder, skipped):
                example = example or keyed_id(key, path)
                rows.writerow((keyed_id(key, path), path_text(os.fsdecode(path))))
                empty += count < LOOKED_AT and _is_empty(folder, path)
                count += 1
                if count % TICK == 0:
                    tick(count)
        if not count:
            raise CannotWrite(f"There is no document in {folder} that could be served.")
        os.replace(partial, index)
    except BaseException:
        partial.unlink(missing_ok=True)
        if made:
            key_file.unlink(missing_ok=True)
        raise
    output.write_text(_configuration(folder, count, f"{{scheme: manifest, file: {INDEX}}}"), encoding="utf-8")
    files = [output, index, key_file] if made else [output, index]
    return Written(output, count, None, reason, example, files, key_file, empty, skipped)


def _refuse_unusable(folder: Path, output: Path, force: bool) -> None:
    if folder.is_file():
        raise CannotWrite(
            f"{folder} is a file. Name the folder that it lies in: --from-dir {shlex.quote(str(folder.parent))}"
        )
    if not folder.is_dir():
        raise CannotWrite(f"There is no folder {folder}. Correct the path, or mount the share that it is on.")
    if not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
        raise CannotWrite(f"This account may not read {folder}. Give it the rights to list and to enter it (r and x).")
    if not str(folder).isprintable():
        raise CannotWrite("The name of the folder is not UTF-8 text, so no configuration can name it; rename it.")
    if not output.parent.is_dir():
        raise CannotWrite(f"There is no directory {output.parent} to write to. Make it, or give --output another one.")
    if not os.access(output.parent, os.W_OK | os.X_OK, effective_ids=True):
        cure = "Work in a directory that this account may write to, or name one, as in --output ~/gateway.yaml."
        raise CannotWrite(f"No file can be written in {output.parent}. {cure}")
    if output.parent.resolve().is_relative_to(folder.resolve()):
        raise CannotWrite(
            "The configuration would lie inside the folder and be served like a document. Write it elsewhere, "
            "as in --output ../gateway.yaml."
        )
    if output.exists() and not force:
        raise CannotWrite(f"{output} exists. Give --force to write it anew, or --output with another name.")


def _ticked(folder: Path, tick: Progress) -> Iterator[bytes]:
    for count, path in enumerate(documents(folder), 1):
        yield path
        if count % TICK == 0:
            tick(count)


def _split(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    return (stem, extension) if dot and stem and _EXTENSION.fullmatch(extension) else (name, "")


def _id_of(name: str, pattern: str) -> str:
    return name if pattern == "{id}" else _split(name)[0]


def _is_empty(folder: Path, path: bytes) -> bool:
    with suppress(OSError):
        return os.stat(os.path.join(os.fsencode(folder), path), follow_symlinks=False).st_size == 0
    return False


def _configuration(folder: Path, count: int, ids: str) -> str:
    # JSON strings are YAML strings, whatever stands in the folder's name.
    name = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:40].strip("-") or "documents"
    return (
        f"# Written by `fhir-gateway config init` for {count} documents.\n"
        "# Everything that can be set: fhir-gateway config reference\n"
        "server: {host: 127.0.0.1, port: 8080}\n"
        "auth: {mode: none}  # everybody on this machine may read; allowed on a loopback address only\n"
        "sources:\n"
        f"  {name}:\n"
        "    adapter: filesystem\n"
        f"    ids: {ids}\n"
        f"    options: {{root: {json.dumps(str(folder), ensure_ascii=False)}}}\n"
    )
