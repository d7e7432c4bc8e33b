"""Paths in the settings: made absolute before they are judged, and looked at where a file has to be there.

A path is what a model says is one, an adapter's options included. Key files are read to see that they hold a key, and
what they hold goes nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gateway.keyfile import read_key
from gateway.marked_yaml import KeyPath
from gateway.problems import Problem
from gateway.settings.explain import Origin
from gateway.settings.shape import Shape


def absolute(shape: Shape, data: Any, directory: Path) -> Any:
    """`data` with every relative path, wherever the models say that there is one, put below `directory`."""
    if isinstance(data, str):
        return str(directory / data) if data and _holds_path(shape) else data
    if isinstance(data, Mapping):
        return {key: absolute(shape.child(key, data) or Shape(Any), value, directory) for key, value in data.items()}
    if isinstance(data, list):
        return [absolute(shape.child(index) or Shape(Any), value, directory) for index, value in enumerate(data)]
    return data


def path_problems(model: type[BaseModel], data: Mapping[str, Any], origin: Origin) -> list[Problem]:
    """A problem for each empty path, and for each key `file`, `..._file` or `..._files` that names no readable file or key."""
    found = []
    for path, value in _paths(Shape(model), data, ()):
        if not value:
            found.append(origin.problem(path, "no-value", "The path is empty.", "Write a path, or remove the line."))
        elif _name(path).endswith(("file", "files")):
            found += [origin.problem(path, "missing-file", *words) for words in _file_words(path, Path(value))]
    return found


def key_files(settings: BaseModel) -> Iterator[tuple[KeyPath, Path]]:
    """The files of `settings` that hold keys of 32 bytes, each with its key path; those of former keys are left out."""
    data = settings.model_dump(mode="json", exclude_unset=True)
    for path, value in _paths(Shape(type(settings)), data, ()):
        if value and _holds_key(path) and _name(path) != "former_key_files":
            yield path, Path(value)


def _paths(shape: Shape, data: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(data, str) and _holds_path(shape):
        yield path, data
    elif isinstance(data, Mapping | list):
        for key, value in data.items() if isinstance(data, Mapping) else enumerate(data):
            child = shape.child(key, data)
            if child is not None:
                yield from _paths(child, value, (*path, key))


def _file_words(path: KeyPath, file: Path) -> Iterator[tuple[str, str]]:
    where = "Relative paths begin at the directory of the configuration file."
    try:
        if file.is_dir():
            yield f"{str(file)!r} is a directory.", "Name the file that is in it."
        elif _holds_key(path):
            read_key(file)
        elif not file.is_file():
            yield f"There is no file {str(file)!r}.", where
        elif not os.access(file, os.R_OK, effective_ids=True):
            yield f"The file {str(file)!r} cannot be read.", "Let the account that runs the gateway read it."
    except FileNotFoundError:
        yield f"There is no file {str(file)!r}.", where
    except OSError as error:
        yield (
            f"The file {str(file)!r} cannot be read: {error.strerror}.",
            "Let the account that runs the gateway read it.",
        )
    except ValueError as error:
        yield str(error), f"Make one with: head -c 32 /dev/urandom > {file}"


def _holds_key(path: KeyPath) -> bool:
    return _name(path) in ("key_file", "former_key_files") or "encryption" in path


def _name(path: KeyPath) -> str:
    """The key that a value stands under, alone or in a list."""
    return next(str(part) for part in reversed(path) if isinstance(part, str))


def _holds_path(shape: Shape) -> bool:
    kinds = shape.alternatives
    return str not in kinds and any(isinstance(kind, type) and issubclass(kind, Path) for kind in kinds)
