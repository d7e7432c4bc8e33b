"""The settings explained, made from their declarations: a commented configuration file and a page of tables.

`sample` is `config/gateway.yaml` and what `fhir-gateway config reference` prints; `page` is `docs/configuration.md`.
Both hold every key of every section and of every built-in adapter; a test keeps the files fresh. Write them anew with:
python -m gateway.cli.reference
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import BaseModel

from adapters import registry
from gateway.cli.reference_words import example, rule_words, shown, value_kind, yaml
from gateway.ids import ManifestIds, SealedIds, TemplateIds
from gateway.marked_yaml import flow
from gateway.problems import sentence
from gateway.settings.auth import AuthSettings
from gateway.settings.caching import DiskCaching, MemoryCaching, NoCaching, RedisCaching
from gateway.settings.models import Settings, SourceSettings
from gateway.settings.shape import Shape, options_model

WIDTH = 116

DISTRIBUTION = "fhir-document-gateway"
"""Adapters of other distributions have reference pages of their own."""

ADAPTER = "filesystem"
"""The adapter of the sample's source."""

KEEPING = (MemoryCaching, DiskCaching, RedisCaching)
"""The backends that keep something, each with a table of its own."""

_HEADER = """\
## Every key of the FHIR document gateway. `##` explains, `#` shows the default, and what has no mark must be set.
## Sizes: 512KB, 32MiB. Durations: 250ms, 5s, 2m, 1h. Relative paths begin at the directory of this file.
## Each key has an environment variable that overrides it: server.port is GATEWAY__SERVER__PORT.
"""


def sample() -> str:
    """The commented configuration file. It loads as it is, and to the same settings with every `# ` taken off."""
    lines = [_HEADER.rstrip()]
    for name in Settings.model_fields:
        lines.append("")
        match name:
            case "sources":
                lines += _sources()
            case "cache":
                lines += _cache()
            case "auth":
                lines += _auth()
            case _:
                lines += _key(Settings, name, 0)
    return "\n".join(lines) + "\n"


def page() -> str:
    """The reference page in Markdown: one table for each section."""
    lines = [_INTRODUCTION.rstrip(), ""]
    for title, about, model in _sections():
        lines += [f"## {title}", "", *textwrap.wrap(about, WIDTH), "", "| key | default | value | what it does |"]
        lines.append("|---|---|---|---|")
        for name in model.model_fields:
            shape = _shape(model, name)
            if _is_section(shape):
                continue
            row = (f"`{name}`", shown(shape), value_kind(shape), _about(shape, name))
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


# --- the sample ----------------------------------------------------------------------------------------------------


def _key(model: type[BaseModel], name: str, depth: int) -> Iterator[str]:
    """The lines of one key: explained, and active only where it must be set."""
    shape = _shape(model, name)
    assert shape.field is not None
    mark = "" if shape.field.is_required() else "# "
    pad = "  " * depth
    yield from _explained(_full_about(shape, name), depth)
    if _is_section(shape):
        yield f"{mark}{pad}{name}:"
        for inner in shape.models()[0].model_fields:
            yield from _key(shape.models()[0], inner, depth + 1)
    elif mark:
        yield f"{mark}{pad}{name}: {yaml(shape)}"
        for _, one in () if _listed(shape) else _inside(model, name):
            yield from _in_words(one, depth + 1)
    else:
        yield f"{pad}{name}: {flow(example(shape, name))}"
    for inside in _listed(shape):
        yield from _alternative(f"One of kind {_kind(inside)}:", inside, depth + 1)


def _sources() -> Iterator[str]:
    """The section with one source, and beside it in words what another scheme or adapter would take."""
    yield from _explained(_about(_shape(Settings, "sources"), "sources"), 0)
    yield "sources:"
    yield "  letters:"
    for name in SourceSettings.model_fields:
        if name == "ids":
            yield from _choice("ids", _about(_shape(SourceSettings, "ids"), "ids"), TemplateIds)
            yield from _alternative("Or the scheme manifest:", ManifestIds)
            yield from _alternative("Or the scheme sealed:", SealedIds)
        elif name == "options":
            models = dict(_adapter_models())
            about = _about(_shape(SourceSettings, "options"), "options")
            yield from _choice(
                "options", f"{about} These are the options of the adapter {ADAPTER}.", models.pop(ADAPTER)
            )
            for adapter, model in models.items():
                yield from _alternative(f"The options of the adapter {adapter}:", model)
        else:
            yield from _key(SourceSettings, name, 2)


def _cache() -> Iterator[str]:
    """The section as it is without one, and beside it in words what the backends would take."""
    yield from _explained(_about(_shape(Settings, "cache"), "cache"), 0)
    yield "# cache:"
    yield from _key(NoCaching, "backend", 1)
    for model in KEEPING:
        yield from _alternative(f"Or the backend {_backend(model)}:", model, 1)


def _auth() -> Iterator[str]:
    """The section with the mode that needs nothing else, and beside it in words what the others would take."""
    yield from _explained(_about(_shape(Settings, "auth"), "auth"), 0)
    yield "auth:"
    for name in AuthSettings.model_fields:
        if name == "mode":
            shape = _shape(AuthSettings, name)
            yield from _explained(_full_about(shape, name), 1)
            yield f"  {name}: {flow(example(shape, name))}"
        else:
            yield from _key(AuthSettings, name, 1)


def _choice(name: str, about: str, model: type[BaseModel]) -> Iterator[str]:
    yield from _explained(about, 2)
    yield f"    {name}:"
    for inner in model.model_fields:
        yield from _key(model, inner, 3)


def _alternative(title: str, model: type[BaseModel], depth: int = 3) -> Iterator[str]:
    yield f"## {'  ' * (depth - 1)}{title}"
    yield from _in_words(model, depth)


def _in_words(model: type[BaseModel], depth: int) -> Iterator[str]:
    indent = "## " + "  " * depth
    inside: dict[str, list[type[BaseModel]]] = {}
    for key, one in _inside(model):
        inside.setdefault(key, []).append(one)
    for name in model.model_fields:
        shape = _shape(model, name)
        default = "" if _is_section(shape) else f" ({shown(shape)})"
        text = f"{name}{default}: {_full_about(shape, name)}"
        yield from textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
        for part in (name, f"{name}[]"):
            for one in inside.get(part, ()):
                yield from _in_words(one, depth + 2)


def _explained(text: str, depth: int) -> list[str]:
    indent = "## " + "  " * depth
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


# --- what both are made of -----------------------------------------------------------------------------------------


def _sections() -> Iterator[tuple[str, str, type[BaseModel]]]:
    """Title, sentence and model of every table, in the order of the page."""
    for name in Settings.model_fields:
        if name == "cache":
            for caching in (NoCaching, *KEEPING):
                title = f"`cache`, backend {_backend(caching)}"
                yield title, _words(caching), caching
                yield from _options_inside(title, caching)
        elif name != "sources":
            yield from _nested(f"`{name}`", _shape(Settings, name))
    about = f"{_words(SourceSettings)} `letters` stands for the name that you give it."
    yield "`sources.letters`", about, SourceSettings
    for model in (TemplateIds, ManifestIds, SealedIds):
        scheme = get_args(model.model_fields["scheme"].annotation)[0]
        yield f"`sources.letters.ids`, scheme {scheme}", _words(model), model
    for adapter, options in _adapter_models():
        yield f"`sources.letters.options`, adapter {adapter}", _adapter_words(adapter), options
        yield from _options_inside(f"`sources.letters.options`, adapter {adapter}", options)
    yield from _nested("`sources.letters.limits`", _shape(SourceSettings, "limits"))


def _nested(title: str, shape: Shape) -> Iterator[tuple[str, str, type[BaseModel]]]:
    model = shape.models()[0]
    yield title, _words(model) or _about(shape, ""), model
    for name in model.model_fields:
        inner = _shape(model, name)
        if _is_section(inner):
            yield from _nested(f"{title[:-1]}.{name}`", inner)
        for inside in _listed(inner):
            listed = f"{title[:-1]}.{name}[]`, kind {_kind(inside)}"
            yield listed, _words(inside), inside
            yield from _options_inside(listed, inside)
        if not _is_section(inner) and not _listed(inner):
            for key, one in _inside(model, name):
                yield f"{title[:-1]}.{key}`", _words(one), one
                yield from _options_inside(f"{title[:-1]}.{key}`", one)


def _options_inside(title: str, model: type[BaseModel]) -> Iterator[tuple[str, str, type[BaseModel]]]:
    path, _, adapter = title.rpartition("`")
    for name, inner in _inside(model):
        deeper = f"{path}.{name}`{adapter}"
        yield deeper, _words(inner), inner
        yield from _options_inside(deeper, inner)


def _inside(model: type[BaseModel], *only: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections below `model` (below these keys of it), each with its key; "name[]" stands for those of a list."""
    for name in only or model.model_fields:
        shape = _shape(model, name)
        for key, one in ((name, shape), (f"{name}[]", shape.child(0))):
            for model_inside in one.models() if one is not None else ():
                yield key, model_inside


def _listed(shape: Shape) -> tuple[type[BaseModel], ...]:
    """The sections that stand in the list at a key, told apart by their `kind`."""
    one = shape.child(0)
    return tuple(model for model in (one.models() if one else ()) if "kind" in model.model_fields)


def _kind(model: type[BaseModel]) -> str:
    return str(get_args(model.model_fields["kind"].annotation)[0])


def _backend(model: type[BaseModel]) -> str:
    return str(get_args(model.model_fields["backend"].annotation)[0])


@cache
def _adapter_models() -> tuple[tuple[str, type[BaseModel]], ...]:
    entries = registry.available().values()
    models = ((entry.name, options_model(entry.name)) for entry in entries if entry.distribution == DISTRIBUTION)
    return tuple((name, model) for name, model in models if model is not None)


def _shape(model: type[BaseModel], name: str) -> Shape:
    shape = Shape(model).child(name)
    assert shape is not None
    return shape


def _is_section(shape: Shape) -> bool:
    """Whether a key holds exactly one section, not a value or a choice between several."""
    return len(shape.models()) == 1 and len(shape.alternatives) == 1


def _words(model: type[BaseModel]) -> str:
    # A model made at run time inherits its docstring from the class it stands on.
    own = model.__dict__.get("__doc__") or ""
    return " ".join(inspect.cleandoc(own).split())


def _adapter_words(adapter: str) -> str:
    return " ".join(inspect.cleandoc(registry.load(adapter).__doc__ or "").split())


def _about(shape: Shape, name: str) -> str:
    words = (shape.field.description if shape.field else None) or rule_words().get(name, "")
    return sentence(" ".join(words.split())) if words else ""


def _full_about(shape: Shape, name: str) -> str:
    """The description of a key and what may stand there."""
    choices = [value for kind in shape.alternatives if get_origin(kind) is Literal for value in get_args(kind)]
    listed = f" One of: {', '.join(map(str, choices))}." if len(choices) > 1 else ""
    if _is_section(shape):
        return _words(shape.models()[0]) or _about(shape, name)
    return _about(shape, name) + listed


_INTRODUCTION = """\
# Configuration

<!-- Generated from the settings' models; a test keeps it fresh. Write it anew with: python -m gateway.cli.reference -->

One YAML file holds the configuration; `fhir-gateway serve --config FILE` and every other command read it (the
variable `GATEWAY_CONFIG` names it too).
`fhir-gateway config init --from-dir DIR` writes a working one for a folder, `fhir-gateway config reference` prints all
that follows here as a file to edit, and `fhir-gateway check --config FILE` says whether it works: every problem at
once, each with its line and its cure. Only `auth` and one source must be there:

```yaml
auth: {mode: none}
sources:
  letters:
    adapter: filesystem
    ids: {scheme: template, pattern: "{id}.*"}
    options: {root: /srv/letters}
```

- **Unknown keys** are refused, with the nearest key that exists.
- **Sizes** are written with a unit: `B`, `KB`, `MB`, `GB` (thousands) or `KiB`, `MiB`, `GiB`, `TiB` (1024s). A bare
  number counts bytes.
- **Durations** are written with a unit: `ms`, `s`, `m`, `h`, `d`.
- **Relative paths** begin at the directory of the configuration file, wherever they stand.
- **Environment variables** override the file. The name is the key's path in capitals after `GATEWAY__`, with two
  underscores between keys: `GATEWAY__SERVER__PORT=9000` is `server.port`. A hyphen in the name of a source is written
  as one underscore. A list is written as `[a, b]`. A variable that names no key is a problem. Together they can
  replace the file: a source exists as soon as `GATEWAY__SOURCES__NAME__ADAPTER` does.
- **Secrets** are given as files. A key called `file` or ending in `_file` names a file that must be there at start; a
  `key_file` holds 32 bytes, raw, in hexadecimal or in base64. No message repeats the value of a secret.
- **YAML**: only `true`, `false`, `null` and decimal numbers are more than text, so `no`, `007` and `10:30` stay as they
  are written. A key given twice is a problem.
"""


def main() -> None:
    """Write both files into the project around this module."""
    project = Path(__file__).resolve().parents[2]
    (project / "config" / "gateway.yaml").write_text(sample(), encoding="utf-8")
    (project / "docs" / "configuration.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
