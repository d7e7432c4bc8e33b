"""pydantic's findings as problems that a person can act on: the file's line, the key, the cause and the cure.

The key's own declaration supplies the words: its description, its choices, its neighbours for a misspelt one. A value
is repeated only where it cannot be a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from gateway.marked_yaml import Document, KeyPath, dotted, flow
from gateway.problems import Problem, did_you_mean, sentence
from gateway.quantities import DURATION, SIZE, duration_text, size_text
from gateway.settings.shape import Shape, item, walk

LONGEST_SHOWN = 60
"""Characters of a value that a problem repeats."""

NOT_POSSIBLE = "This is not one of the values possible here."

_EXPECTED = {
    "int": "A whole number is expected.",
    "float": "A number is expected.",
    "bool": "true or false is expected.",
    "string": "Text is expected.",
    "path": "A path is expected.",
    "model": "Keys are expected here, indented below this one.",
    "dict": "Keys are expected here, indented below this one.",
    "mapping": "Keys are expected here, indented below this one.",
    "list": "A list is expected.",
    "tuple": "A list is expected.",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where settings were written: the file's name, its marks, and the variables that were applied over it."""

    file: str | None
    document: Document
    variables: Mapping[KeyPath, str]

    def problem(self, path: KeyPath, code: str, cause: str, cure: str) -> Problem:
        """The problem with its place."""
        variable = next(
            (self.variables[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.variables), None
        )
        if variable is not None:
            return Problem(code, cause, cure, dotted(path), self.file, variable=variable)
        line, column = self.document.mark(path)
        return Problem(code, cause, cure, dotted(path), self.file, line, column)


def explained(error: ValidationError, model: type[BaseModel], data: Mapping[str, Any], origin: Origin) -> list[Problem]:
    """A problem for each finding in `error`, which came of validating `data` as `model`."""
    problems = []
    found = error.errors(include_url=False)
    for finding in found:
        if finding["type"] == "too_short" and _has_wrong_items(finding["loc"], found):
            # pydantic counts the right ones alone.
            continue
        path = _path(finding["loc"], Shape(model), data, finding["type"])
        shape = walk(model, path, data)
        code, cause, cure = _words(finding, path, shape, walk(model, path[:-1], data), data, Shape(model))
        if finding["type"] in ("union_tag_invalid", "union_tag_not_found"):
            path = (*path, finding["ctx"]["discriminator"].strip("'"))
        problems.append(origin.problem(path, code, cause, cure))
    return problems


def _path(loc: Sequence[str | int], shape: Shape | None, data: Any, kind: str) -> KeyPath:
    """The key path of a finding: pydantic's location without the names of union members that it puts in between."""
    path: list[str | int] = []
    for position, part in enumerate(loc):
        child = shape.child(part, data) if shape else None
        here = isinstance(data, Mapping) and part in data
        if here or (child is not None and part != "[key]") or (kind == "missing" and position == len(loc) - 1):
            path.append(part)
            shape, data = child, item(data, part)
    return tuple(path)


def _words(
    finding: Mapping[str, Any],
    path: KeyPath,
    shape: Shape | None,
    above: Shape | None,
    data: Mapping[str, Any],
    root: Shape,
) -> tuple[str, str, str]:
    """Code, cause and cure of one finding."""
    kind, context = finding["type"], finding.get("ctx") or {}
    holder: object = data
    for part in path[:-1]:
        holder = item(holder, part)
    if kind == "extra_forbidden":
        return _unknown_key(path, above.keys(holder) if above else (), root)
    if kind == "missing":
        return "missing-key", f"The key `{path[-1]}` is missing.", _add(path, shape)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        choices = [choice.strip().strip("'") for choice in context.get("expected_tags", "").split(",")]
        key = context["discriminator"].strip("'")
        if kind == "union_tag_not_found":
            return "missing-key", f"The key `{key}` is missing.", _choices(_tags(shape, key), None)
        return "choice", NOT_POSSIBLE + _found(context["tag"], shape), _choices(choices, context["tag"])
    if kind == "literal_error" and finding["loc"][-1] == "[key]":
        known = above.keys(holder) if above else ()
        return "unknown-key", f"There is no key `{path[-1]}` here.", did_you_mean(str(path[-1]), known)
    if finding["input"] is None and "cure" not in context and (shape is None or type(None) not in shape.alternatives):
        default = shown_default(shape) if shape else None
        cure = "Give it one, or remove the line" + (f"; the default is {default}." if default else ".")
        return "no-value", "The key has no value.", cure
    code, cause, cure = _judged(finding, context, shape)
    # Where something has to be installed the value is right, and repeating it would say that it is not.
    found = "" if code == "extra" else _found(finding["input"], shape)
    return code, cause + found, cure or _description(shape)


def _has_wrong_items(loc: Sequence[str | int], findings: Sequence[Mapping[str, Any]]) -> bool:
    return any(len(other["loc"]) > len(loc) and tuple(other["loc"][: len(loc)]) == tuple(loc) for other in findings)


def _unknown_key(path: KeyPath, known: Sequence[str], root: Shape) -> tuple[str, str, str]:
    key = str(path[-1])
    if key == "<<":
        cure = "Write the keys themselves; an alias (*name) for a whole value is understood."
        return "merge-key", "YAML's merge key is not read here.", cure
    cause = f"There is no key `{key}` here."
    sections = {name: root.child(name) for name in known} if len(path) == 1 else {}
    owners = [name for name, section in sections.items() if section is not None and key in section.keys()]  # noqa: SIM118
    if owners:
        return "unknown-key", cause, f"It belongs below {' or '.join(f'`{name}`' for name in owners)}."
    return "unknown-key", cause, did_you_mean(key, known)


def _judged(finding: Mapping[str, Any], context: Mapping[str, Any], shape: Shape | None) -> tuple[str, str, str]:
    """Code, cause and cure of a value that is not right; an empty cure stands for the key's description."""
    kind, given = finding["type"], finding["input"]
    if "cure" in context:
        return kind, context["cause"], context["cure"]
    if kind in ("literal_error", "enum"):
        choices = [str(choice) for choice in _literals(shape)]
        return "choice", NOT_POSSIBLE, _choices(choices, given)
    if kind == "string_type" and isinstance(given, int | float):
        return "type", "Text is expected, and this reads as something else.", "Put the value into quotes."
    if kind == "string_type" and isinstance(given, Mapping | list):
        return "type", "Text is expected.", "A value that begins with { or [ needs quotes around it."
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return "bounds", f"The value must be {words} {_quantity(context[name], shape)}.", ""
    if kind in ("string_too_short", "string_too_long"):
        name, words = ("min_length", "at least") if kind == "string_too_short" else ("max_length", "at most")
        return "bounds", f"The text must have {words} {context[name]} characters.", ""
    if kind == "value_error":
        return "value", sentence(str(context.get("error", finding["msg"]))), ""
    expected = _EXPECTED.get(kind.split("_")[0])
    if expected:
        known = shape.keys() if shape and kind.startswith(("model", "dict", "mapping")) else ()
        return "type", expected, f"Known here: {', '.join(f'`{key}`' for key in known)}." if known else ""
    if kind == "too_short":
        return "value", "There is nothing here.", "Add at least one entry."
    return "value", sentence(finding["msg"]), ""


def shown_default(shape: Shape) -> str | None:
    """A key's default as it would be written in YAML; None for a required key or one whose default is a section."""
    field = shape.field
    if field is None or field.is_required():
        return None
    default = field.get_default(call_default_factory=True)
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    if isinstance(default, int | float):
        return _quantity(default, shape)
    return str(default) if isinstance(default, str | Path) else None


def quantity_of(shape: Shape) -> Literal["size", "duration"] | None:
    """What the numbers of a key count: bytes, seconds, or neither."""
    metadata = tuple(shape.field.metadata) if shape.field else ()
    marks = [*metadata, *_marks(shape.annotation)]
    if SIZE in marks or DURATION in marks:
        return "size" if SIZE in marks else "duration"
    if not any(
        isinstance(kind, type) and issubclass(kind, int | float) and kind is not bool for kind in shape.alternatives
    ):
        return None
    # Adapters bring types of their own; what they make of a unit tells what they count.
    annotation: Any = Annotated[shape.annotation, *metadata] if metadata else shape.annotation
    judge = TypeAdapter(annotation)
    for kind, text in (("size", "192KiB"), ("duration", "196608s")):
        with suppress(ValidationError):
            if judge.validate_python(text) == 196_608:
                return kind  # type: ignore[return-value]
    return None


def _marks(annotation: Any) -> Iterator[Any]:
    yield from getattr(annotation, "__metadata__", ())
    for argument in get_args(annotation):
        yield from _marks(argument)


def _quantity(value: Any, shape: Shape | None) -> str:
    kind = quantity_of(shape) if shape else None
    return size_text(int(value)) if kind == "size" else duration_text(value) if kind == "duration" else f"{value:g}"


def _literals(shape: Shape | None) -> tuple[Any, ...]:
    kinds = shape.alternatives if shape else ()
    return tuple(value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind))


def _tags(shape: Shape | None, discriminator: str) -> list[str]:
    models = shape.models() if shape else ()
    return [str(tag) for model in models for tag in get_args(model.model_fields[discriminator].annotation)]


def _choices(choices: Sequence[str], given: object) -> str:
    if isinstance(given, str) and len(choices) > 1:
        return did_you_mean(given, choices, what="value")
    return f"Write {' or '.join(f'`{choice}`' for choice in choices)}." if choices else ""


def _add(path: KeyPath, shape: Shape | None) -> str:
    field = shape.field if shape else None
    example = field.examples[0] if field and field.examples else None
    written = f"Add `{path[-1]}: {'...' if example is None else flow(example)}`."
    return f"{written} {_description(shape)}"


def _description(shape: Shape | None) -> str:
    words = shape.field.description if shape and shape.field else None
    return sentence(words) if words else "See docs/configuration.md."


def _found(value: object, shape: Shape | None) -> str:
    if not isinstance(value, str | int | float) or shape is None or shape.secret:
        return ""
    shown = ("true" if value else "false") if isinstance(value, bool) else str(value)
    fit = 0 < len(shown) <= LONGEST_SHOWN and shown.isprintable() and "@" not in shown
    return f" Found: `{shown}`." if fit else ""
