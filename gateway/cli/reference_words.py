"""What may stand at a key of the configuration, in words and as it is written in the file. For `reference` alone; pure."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from gateway.marked_yaml import flow
from gateway.protocol import profile
from gateway.settings.explain import quantity_of, shown_default
from gateway.settings.shape import Shape

EXAMPLES: Mapping[str, Any] = {"root": "./sample-archive", "file": "index.csv"}
"""What the sample writes for keys that must be set and declare no example."""


def value_kind(shape: Shape) -> str:
    """What may stand at a key, in words."""
    words = []
    for kind in shape.alternatives:
        if get_origin(kind) is Literal:
            words += [f"`{value}`" for value in get_args(kind)]
        elif kind is not NoneType:
            words.append(quantity_of(shape) or _kind_words(kind))
    if NoneType in shape.alternatives:
        words.append("null")
    return ", ".join(dict.fromkeys(words)) + _bounds(shape)


def _kind_words(kind: Any) -> str:
    origin = get_origin(kind) or kind
    for known, words in ((bool, "true or false"), (int, "number"), (float, "number"), (str, "text"), (Path, "path")):
        if isinstance(origin, type) and issubclass(origin, known):
            return words
    if isinstance(origin, type) and issubclass(origin, Mapping | BaseModel):
        return "keys"
    return "list" if origin in (list, tuple) else "text" if kind is not Any else "keys"


def _bounds(shape: Shape) -> str:
    marks = shape.field.metadata if shape.field else []
    found = {
        name: getattr(mark, name) for mark in marks for name in ("ge", "le") if getattr(mark, name, None) is not None
    }
    if quantity_of(shape) or not found:
        return ""
    if len(found) == 2:
        return f" from {found['ge']} to {found['le']}"
    return f", at least {found['ge']}" if "ge" in found else f", at most {found['le']}"


def shown(shape: Shape) -> str:
    if shape.field is not None and shape.field.is_required():
        return "required"
    return f"`{yaml(shape)}`"


def yaml(shape: Shape) -> str:
    """A key's default as it is written in the file."""
    default = shape.field.get_default(call_default_factory=True) if shape.field else None
    return flow(default) if isinstance(default, str | Mapping | list | tuple) else shown_default(shape) or "null"


def example(shape: Shape, name: str) -> Any:
    assert shape.field is not None
    if shape.field.examples:
        return shape.field.examples[0]
    choices = [value for kind in shape.alternatives if get_origin(kind) is Literal for value in get_args(kind)]
    return choices[0] if choices else EXAMPLES[name]


@cache
def rule_words() -> dict[str, str]:
    """The sentences that stand below the fields of `Profile`, which pydantic does not see."""
    tree = ast.parse(inspect.getsource(profile))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Profile")
    found = {}
    for one, next_one in pairwise(body):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(next_one, ast.Expr):
            found[one.target.id] = str(ast.literal_eval(next_one.value))
    return found
