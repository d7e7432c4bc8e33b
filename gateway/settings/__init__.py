"""The way to the settings: the file, the environment over it, and every problem at once.

`load` is what the rest of the gateway calls; the models it returns are re-exported here. How each step works is in the
modules beside this one: `yaml` the file with its marks, `environment` the overrides, `shape` which keys exist,
`paths` the files they name, `models` what they mean, `explain` what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from gateway import marked_yaml as marked
from gateway.problems import Problem, SettingsError
from gateway.settings import environment as overrides
from gateway.settings.audit import AuditSettings
from gateway.settings.auth import AuthSettings
from gateway.settings.caching import Caching
from gateway.settings.conflicts import conflicts
from gateway.settings.explain import Origin, explained
from gateway.settings.models import (
    AdminSettings,
    FhirSettings,
    LogSettings,
    Settings,
    SourceLimits,
    SourceSettings,
    SpoolSettings,
)
from gateway.settings.paths import absolute, path_problems
from gateway.settings.policy import PolicySettings
from gateway.settings.salvage import salvaged, without
from gateway.settings.server import ServerSettings
from gateway.settings.shape import Shape

__all__ = [
    "AdminSettings",
    "AuditSettings",
    "AuthSettings",
    "FhirSettings",
    "LogSettings",
    "Problem",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "SourceLimits",
    "SourceSettings",
    "SpoolSettings",
    "load",
    "load_what_is_right",
]


def load(path: Path | None, environ: Mapping[str, str], *, text: str | None = None) -> Settings:
    """The settings in the file at `path` with the overrides in `environ`; without a file the environment alone.

    `text` is what stands in the file, where that was read before. Relative paths are relative to the file's directory,
    without a file to the working directory. Raises `SettingsError` with every problem at once.
    """
    settings, problems, _ = _judged(path, environ, text)
    if settings is None or problems:
        raise SettingsError(problems)
    return settings


def load_what_is_right(path: Path | None, environ: Mapping[str, str]) -> tuple[Settings | None, tuple[Problem, ...]]:
    """What `load` gives, and no problem; or what can be judged of settings that have mistakes, and these.

    For looking at the rest of a configuration, never for serving. Raises `SettingsError` when the file is no YAML.
    """
    settings, problems, data = _judged(path, environ)
    if settings is None or problems:
        ordered = SettingsError(problems).problems
        return salvaged(data, [problem.key for problem in ordered]), ordered
    return settings, ()


def _judged(
    path: Path | None, environ: Mapping[str, str], text: str | None = None
) -> tuple[Settings | None, list[Problem], dict[str, Any]]:
    if text is None and path is not None:
        text = marked.text(path)
    document = marked.Document({}) if text is None else marked.parse(text, file=str(path) if path else None)
    directory = path.absolute().parent if path else Path.cwd()
    merged = overrides.apply(document.data, environ, Settings)
    data = absolute(Shape(Settings), merged.data, directory)
    origin = Origin(str(path) if path else None, document, merged.origins)
    problems = [*merged.problems, *path_problems(Settings, data, origin)]
    try:
        return Settings.model_validate(data), problems, data
    except ValidationError as error:
        problems += explained(error, Settings, data, origin)
        problems += _behind(problems, data, origin)
        # Sections that are wrong by themselves keep pydantic from judging the whole.
        problems += [origin.problem(*conflict) for conflict in conflicts(_usable(data))]
        return None, list(dict.fromkeys(problems)), data


def _behind(problems: Sequence[Problem], data: Mapping[str, Any], origin: Origin) -> list[Problem]:
    """What unknown keys hide: pydantic does not judge how the others go together while one is there."""
    unknown = [problem.key for problem in problems if problem.code == "unknown-key"]
    rest = without(data, unknown)
    try:
        Settings.model_validate(rest)
    except ValidationError as error:
        found = [problem for problem in explained(error, Settings, rest, origin) if problem not in problems]
        # Where the unknown key was the only one, that there is none now says nothing new.
        return [
            one for one in found if one.code != "value" or not any(key.startswith(f"{one.key}.") for key in unknown)
        ]
    return []


def _usable(data: Mapping[str, Any]) -> dict[str, Any]:
    """What `conflicts` judges, as far as it is right by itself."""
    usable: dict[str, Any] = {"sources": {}}
    sections: dict[str, type[BaseModel]] = {
        "server": ServerSettings,
        "admin": AdminSettings,
        "auth": AuthSettings,
        "policy": PolicySettings,
        "fhir": FhirSettings,
        "audit": AuditSettings,
    }
    for name, model in sections.items():
        with suppress(ValidationError):
            usable[name] = model.model_validate(data.get(name, {}))
    with suppress(ValidationError):
        usable["cache"] = TypeAdapter(Caching).validate_python(data.get("cache", {"backend": "none"}))
    sources = data.get("sources")
    for name, source in sources.items() if isinstance(sources, Mapping) else ():
        with suppress(ValidationError):
            usable["sources"][name] = SourceSettings.model_validate(source)
    return usable
