"""Which keys a pydantic model allows, by key path: one walk that feeds everything that must know the models' shape.

Environment overrides, relative paths, the explanation of problems and the generated reference all ask here, so that a
field declared once is known to each of them, an adapter's options included. Nothing here reads files or judges values.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

_SECRET_WORDS = ("password", "passphrase", "secret", "token", "credential", "private", "api_key", "apikey")


class AdapterOptions:
    """Marks the field whose shape is the options model of the adapter that the sibling key `adapter` names."""


@lru_cache(maxsize=64)
def adapter_class(name: str) -> Any:
    """The class of the adapter called `name`, looked up once: a look through everything installed takes milliseconds.

    Raises `adapters.errors.OptionError`.
    """
    from adapters import registry

    return registry.load(name)


def options_model(adapter: object) -> type[BaseModel] | None:
    """The options model of the adapter of this name; None when there is no such adapter or it cannot be loaded."""
    from adapters.errors import OptionError

    try:
        model = adapter_class(adapter).Options if isinstance(adapter, str) else None
    except OptionError:
        # Whoever validates the key `adapter` reports it; here it only means that the shape is unknown.
        return None
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


@dataclass(frozen=True, slots=True)
class Shape:
    """What may stand at one key path: an annotation, and the field that declared it."""

    annotation: Any
    field: FieldInfo | None = None
    hidden: bool = False

    @property
    def alternatives(self) -> tuple[Any, ...]:
        """The plain types that the annotation allows: `str | None` is `str` and `NoneType`."""
        return tuple(_alternatives(self.annotation))

    @property
    def secret(self) -> bool:
        """Whether a value here must not be repeated to anybody."""
        return self.hidden or any(kind in (SecretStr, SecretBytes) for kind in self.alternatives)

    def models(self, data: object = None) -> tuple[type[BaseModel], ...]:
        """The models that fit here; `data` settles a union by its discriminating key."""
        found = tuple(kind for kind in self.alternatives if _is(kind, BaseModel))
        fitting = tuple(model for model in found if _fits(model, data))
        return fitting or found

    def keys(self, data: object = None) -> tuple[str, ...]:
        """The keys that are known here by name."""
        names = [name for model in self.models(data) for name in model.model_fields]
        for kind in self.alternatives:
            arguments = get_args(kind)
            if _is(get_origin(kind), Mapping) and get_origin(arguments[0]) is Literal:
                names += get_args(arguments[0])
        return tuple(dict.fromkeys(names))

    @property
    def free_keys(self) -> bool:
        """Whether any key may stand here."""
        return any(
            kind is Any or (_is(get_origin(kind), Mapping) and get_origin(get_args(kind)[0]) is not Literal)
            for kind in self.alternatives
        )

    def child(self, key: str | int, data: object = None) -> Shape | None:
        """The shape one key further down, None where the key is not known. `data` is what stands here."""
        for model in self.models(data):
            if key in model.model_fields:
                return _of_field(model, str(key), data)
        for kind in self.alternatives:
            origin, arguments = get_origin(kind), get_args(kind)
            if _is(origin, Mapping) and isinstance(key, str) and (self.free_keys or key in self.keys(data)):
                return Shape(arguments[1], self.field, self.hidden)
            if _is(origin, Sequence) and isinstance(key, int):
                return Shape(arguments[0], self.field, self.hidden)
            if kind is Any:
                return Shape(Any, self.field, self.hidden)
        return None


def walk(model: type[BaseModel], path: Sequence[str | int], data: object) -> Shape | None:
    """The shape at `path` below `model`, guided by the data that stands there."""
    shape: Shape | None = Shape(model)
    for part in path:
        if shape is None:
            return None
        shape = shape.child(part, data)
        data = item(data, part)
    return shape


def item(data: object, key: str | int) -> object:
    """`data[key]`, None where there is nothing."""
    if isinstance(data, Mapping):
        return data.get(key)
    if isinstance(data, list) and isinstance(key, int) and key < len(data):
        return data[key]
    return None


def _of_field(model: type[BaseModel], name: str, data: object) -> Shape:
    field = model.model_fields[name]
    annotation = field.annotation
    if any(isinstance(mark, AdapterOptions) for mark in field.metadata):
        annotation = options_model(item(data, "adapter")) or Any
    hidden = bool(model.model_config.get("hide_input_in_errors")) or not field.repr or _secret_name(name)
    return Shape(annotation, field, hidden)


def _secret_name(name: str) -> bool:
    if name.endswith(("_file", "_directory")):
        return False
    return name == "key" or name.endswith("_key") or any(word in name.lower() for word in _SECRET_WORDS)


def _alternatives(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for argument in get_args(annotation):
            yield from _alternatives(argument)
    elif hasattr(annotation, "__value__"):
        yield from _alternatives(annotation.__value__)
    else:
        yield annotation


def _fits(model: type[BaseModel], data: object) -> bool:
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is Literal:
            value = item(data, name)
            if value is not None and value not in get_args(field.annotation):
                return False
    return True


def _is(kind: Any, parent: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, parent) and kind is not str
