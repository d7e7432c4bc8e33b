"""Environment overrides: `GATEWAY__SERVER__PORT=9000` is `server: {port: 9000}`, applied over the file.

Two underscores part the keys of a path; case and the difference between - and _ do not count, so that the source
`shared-care` is `SHARED_CARE`. A value is text where text is allowed, otherwise read as in the file; `[a, b]` gives a
list. A variable that names no setting is a problem. Nothing here reads the process's environment: it is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import NoneType
from typing import Any

from pydantic import BaseModel

from gateway import marked_yaml as marked
from gateway.marked_yaml import KeyPath
from gateway.problems import Problem, SettingsError
from gateway.settings.shape import Shape, item

PREFIX = "GATEWAY__"


@dataclass(slots=True)
class Overrides:
    """The data with the environment applied; `origins` names the variable behind each path that one of them set."""

    data: dict[str, Any]
    origins: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def apply(data: Mapping[str, Any], environ: Mapping[str, str], model: type[BaseModel]) -> Overrides:
    """`data`, as parsed from the file, with every variable of ours applied over it. The argument is not changed."""
    result = Overrides(_copy(data))
    names = [name for name in environ if name.upper().startswith(PREFIX)]
    # An adapter's name comes before its options, which it gives their shape.
    for name in sorted(names, key=lambda name: (not name.upper().endswith("__ADAPTER"), name)):
        _apply(result, name, environ[name], model)
    return result


def _apply(result: Overrides, variable: str, text: str, model: type[BaseModel]) -> None:
    parts = variable[len(PREFIX) :].split("__")
    holder: Any = result.data
    shape = Shape(model)
    path: KeyPath = ()
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        key = _key(part, shape, holder, new_source=path == ("sources",) and parts[-1].upper() == "ADAPTER")
        child = None if key is None else shape.child(key, holder)
        if key is None or child is None:
            result.problems.append(_unknown(variable, parts[:position], part, shape, holder))
            return
        path = (*path, key)
        if last:
            try:
                value = _value(text, child)
            except SettingsError as error:
                cause = f"The value is not YAML: {error.problems[0].cause}"
                result.problems.append(Problem("syntax", cause, error.problems[0].cure, variable=variable))
                return
            _set(holder, key, value)
            result.origins[path] = variable
        else:
            if not (child.models() or child.free_keys or child.keys() or _is_list(child)):
                result.problems.append(_unknown(variable, parts[: position + 1], parts[position + 1], child, {}))
                return
            if not isinstance(item(holder, key), dict | list):
                _set(holder, key, _beginning(child))
                result.origins.setdefault(path, variable)
            holder, shape = holder[key], child


def _key(part: str, shape: Shape, holder: Any, *, new_source: bool) -> str | int | None:
    """The key that a variable's `part` means: a known one, one that the file has, or a new one where any is allowed."""
    if isinstance(holder, list):
        return int(part) if part.isascii() and part.isdigit() and len(part) < 4 and int(part) <= len(holder) else None
    known = [*shape.keys(holder), *(key for key in holder if isinstance(key, str))]
    for key in known:
        if _folded(key) == _folded(part):
            return key
    if new_source:
        return part.lower().replace("_", "-")
    return part if shape.free_keys and not _holds_models(shape) else None


def _is_list(shape: Shape) -> bool:
    return shape.child(0) is not None


def _holds_models(shape: Shape) -> bool:
    child = shape.child("any")
    return child is not None and bool(child.models())


def _folded(key: str) -> str:
    return key.lower().replace("-", "_")


def _value(text: str, shape: Shape) -> Any:
    kinds = shape.alternatives
    if text in ("null", "~") and NoneType in kinds:
        return None
    if str not in kinds and text.startswith(("[", "{")):
        return marked.parse(f"value: {text}").data["value"]
    # pydantic reads numbers and truth values from text; only where anything is allowed must the text itself say.
    return marked.scalar(text) if Any in kinds else text


def _beginning(shape: Shape) -> Any:
    """What a mapping or list that the file lacks begins with: the default, so that one key alone can be changed."""
    default = shape.field.get_default(call_default_factory=True) if shape.field else None
    if isinstance(default, Mapping):
        return dict(default)
    return list(default) if isinstance(default, list | tuple) else {}


def _set(holder: Any, key: str | int, value: Any) -> None:
    if isinstance(holder, list) and key == len(holder):
        holder.append(value)
    else:
        holder[key] = value


def _unknown(variable: str, before: list[str], part: str, shape: Shape, holder: Any) -> Problem:
    known = {_folded(key).upper(): key for key in (*shape.keys(holder), *(holder if isinstance(holder, dict) else ()))}
    near = get_close_matches(_folded(part).upper(), known, n=1, cutoff=0.6)
    above = PREFIX + "".join(f"{name}__" for name in before)
    if near:
        cure = f"Did you mean {above}{near[0]}?"
    elif known:
        cure = f"After {above} may follow: {', '.join(sorted(known))}."
    else:
        cure = f"Nothing may follow {above.removesuffix('__')}; remove the variable."
    return Problem("unknown-variable", "This environment variable names no setting.", cure, variable=variable)


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(entry) for key, entry in value.items()}
    return [_copy(entry) for entry in value] if isinstance(value, list) else value
