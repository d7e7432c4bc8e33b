"""What can keep a configuration from being used, as problems with their place in the file.

Everything that composing a gateway raises is told here like a mistake in the text itself: line, key, cause and cure.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapters.errors import AdapterError, OptionError
from gateway import marked_yaml as marked
from gateway.audit.opening import TrailUnusable
from gateway.cache.unusable import DirectoryUnusable
from gateway.ids import ManifestError
from gateway.marked_yaml import KeyPath
from gateway.problems import Problem, SettingsError, sentence
from gateway.security.policy import HookError
from gateway.security.unusable import UnusableCredentials
from gateway.security.unusable_tls import TlsProblem
from gateway.telemetry import Telemetry


class Places:
    """Where the keys of a configuration are written. `text` is what was read, None where there is no file."""

    def __init__(self, file: Path | None, text: str | None) -> None:
        self._file = None if file is None else str(file)
        self._document = marked.Document({}) if text is None else marked.parse(text, file=self._file)

    def problem(self, path: KeyPath, code: str, cause: str, cure: str) -> Problem:
        """A problem of the key at `path`."""
        line, column = self._document.mark(path)
        return Problem(code, cause, cure, marked.dotted(path), self._file, line, column)


def problems_of(error: Exception, places: Places) -> Sequence[Problem]:
    """What is wrong, if `error` is of those that a configuration can cause; raises it again if not."""
    match error:
        case SettingsError():
            return error.problems
        case UnusableCredentials():
            return [places.problem(error.path, "credentials", error.cause, error.cure)]
        case TlsProblem():
            return [places.problem(("server", "tls", error.option), "tls", str(error), error.cure)]
        case HookError():
            return [places.problem(("policy", "hook"), "hook", sentence(str(error)), error.cure)]
        case TrailUnusable():
            return [places.problem(tuple(error.key.split(".")), "audit", str(error), error.cure)]
        case OptionError():
            cure = sentence(error.cure) if error.cure else "Correct the options of this source."
            return [
                places.problem(option_path(error.source, error.option), "option", sentence(error.detail), cure),
            ]
        case ManifestError():
            path = ("sources", error.source, "ids") if error.source else ("sources",)
            cure = "Correct the manifest, or take the change back."
            return [places.problem(path, "manifest", f"The manifest cannot be used: {error}", cure)]
        case DirectoryUnusable():
            return [places.problem(("cache", "directory"), "cache", str(error), error.cure)]
        case AdapterError() if error.source:
            return [away(error, places)]
        case OSError() | ValueError():
            cause = sentence(str(error)) if error.args else "The system refused."
            return [Problem("system", cause, "Look at the files and addresses that the configuration names.")]
    raise error


def told(error: Exception, places: Places, telemetry: Telemetry) -> Sequence[Problem]:
    """What is wrong, whatever it is: what nobody foresaw is a problem too, and logged with its place in the code."""
    try:
        return problems_of(error, places)
    except Exception as unforeseen:
        telemetry.unexpected(unforeseen)
        cure = f"Please report it; the log has more ({type(error).__name__})."
        return [Problem("fault", "The gateway itself failed over this configuration.", cure)]


def away(error: AdapterError, places: Places) -> Problem:
    """A source that does not answer."""
    source = error.source or ""
    path = option_path(source, error.option) if error.option else ("sources", source)
    cause = f"This source does not answer ({type(error).__name__}): {sentence(error.detail or 'it says no more')}"
    cure = "See that the archive can be reached; or take the change back."
    return places.problem(path, "away", cause, cure)


def option_path(source: str | None, option: str | None) -> KeyPath:
    """The key path of what an adapter calls `option` ("endpoints.0.tls.ca")."""
    if source is None:
        return ("sources",)
    parts = option.split(".") if option else ()
    return ("sources", source, "options", *(int(part) if part.isdecimal() else part for part in parts))
