"""Options of a command line as the settings of one source, read and refused like those of any configuration.

They go the way of the environment overrides, so the adapter's own model reads each text, and a wrong one gets the
sentences that `check` has for it; here those are put into the words of the command line. Nothing here prints, except
that problems end the command.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from gateway.cli import console
from gateway.problems import Problem, SettingsError, did_you_mean
from gateway.settings import SourceSettings, load
from gateway.settings.environment import PREFIX
from gateway.settings.shape import Shape, options_model


def described(adapter: str, options: Sequence[str]) -> tuple[str, SourceSettings]:
    """A source that exists for one command alone, and its name: the adapter's, also for variables of the environment."""
    name = re.sub(r"[^a-z0-9-]", "-", adapter.lower())[:40]
    mine = _variable(name, "")
    environ = {variable: text for variable, text in os.environ.items() if variable.upper().startswith(mine)}
    environ |= {f"{mine}ADAPTER": adapter, f"{mine}IDS__SCHEME": "template", f"{mine}IDS__PATTERN": "{id}"}
    environ[f"{PREFIX}AUTH__MODE"] = "none"
    return name, _settings(None, environ, name, adapter, options)


def configured(
    config: Path | None, source: str | None, adapter: str | None, options: Sequence[str]
) -> tuple[str, SourceSettings]:
    """A source of the configuration and its name, with `options` over its own."""
    sources = console.load_settings(config).sources
    name = source or (next(iter(sources)) if len(sources) == 1 else None)
    if name is None:
        raise click.UsageError(f"Say which source: --source {' or '.join(sources)}.")
    if name not in sources:
        console.fail(f"There is no source {name!r}.", did_you_mean(name, [*sources], what="source"), code=console.WRONG)
    of = sources[name]
    if adapter not in (None, of.adapter):
        raise click.UsageError(f"The adapter of the source {name} is {of.adapter}, not {adapter}. Leave NAME out.")
    return name, _settings(config, os.environ, name, of.adapter, options) if options else of


def _variable(source: str, rest: str) -> str:
    return f"{PREFIX}SOURCES__{source.upper().replace('-', '_')}__{rest}"


def _settings(
    config: Path | None, environ: Mapping[str, str], name: str, adapter: str, options: Sequence[str]
) -> SourceSettings:
    """The settings of one source with `options` applied over them, or the end with every problem."""
    keys: dict[str, str] = {}
    texts: dict[str, str] = {}
    unknown: list[Problem] = []
    for option in options:
        key, equals, text = option.partition("=")
        if not (key and equals):
            raise click.UsageError(f"--option takes KEY=VALUE, as in root=/srv/letters, and not {key!r}.")
        unknown += _unknown(adapter, key)
        variable = _variable(name, f"OPTIONS__{key.replace('.', '__')}")
        keys[variable], texts[variable] = key, text
    if unknown:
        console.stop(unknown)
    said = {variable.upper() for variable in texts}
    rest = {variable: text for variable, text in environ.items() if variable.upper() not in said}
    try:
        return load(config, rest | texts).sources[name]
    except SettingsError as error:
        console.stop(_reworded(problem, name, keys) for problem in error.problems)


def _unknown(adapter: str, key: str) -> Iterator[Problem]:
    """An override that names nothing is explained as a variable; here it is an option, and its adapter knows which."""
    model, first = options_model(adapter), key.partition(".")[0].lower().replace("-", "_")
    if model is not None and first not in model.model_fields and not Shape(model).free_keys:
        cure = did_you_mean(first, [*model.model_fields], what="option")
        yield Problem("unknown-key", f"There is no option `{first}` here.", cure, variable="--option")


def _reworded(problem: Problem, name: str, keys: Mapping[str, str]) -> Problem:
    """The problem in the words of the command line, unless it is one of the file or of the environment."""
    options = f"sources.{name}.options"
    variable = problem.variable or ""
    if variable in keys:
        key = keys[variable]
    elif variable in os.environ or problem.file is not None:
        return problem
    elif problem.key == f"sources.{name}.adapter":
        return replace(problem, key="", variable="NAME")
    else:
        key = problem.key.removeprefix(options).removeprefix(".")
    if problem.code == "missing-key":
        key = problem.key.removeprefix(options).removeprefix(".")
    cause, cure = problem.cause, re.sub(r"^Add `(\S+): (.*?)`\.", r"Add `--option \1=\2`.", problem.cure)
    if problem.code == "unknown-variable":
        cause = "There is no option of this name."
        cure = re.sub(rf"{_variable(name, 'OPTIONS__')}(\w*)", _named, cure).replace("the variable", "it")
    return replace(problem, key=key, cause=cause, cure=cure, variable="--option", file=None)


def _named(variable: re.Match[str]) -> str:
    return f"`{variable[1].lower().strip('_').replace('__', '.')}`"
