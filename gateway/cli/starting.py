"""What keeps a gateway from starting, as a problem of the key to look at, in the words of `check`, which finds it before."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.errors import OptionError
from gateway.audit.opening import TrailUnusable
from gateway.cache.unusable import DirectoryUnusable
from gateway.cli.addresses import addresses, words
from gateway.cli.console import MANIFEST_CURE, key_problem, option_problem
from gateway.ids import ManifestError
from gateway.problems import Problem, sentence
from gateway.security.policy import HookError
from gateway.security.unusable import UnusableCredentials
from gateway.security.unusable_tls import TlsProblem
from gateway.unusable import UnusableFile

if TYPE_CHECKING:
    from gateway.settings import Settings

_ADDRESS = re.compile(r"\('?([^',]+)'?, (\d+)")


def problem_of(error: Exception, config: Path | None, settings: Settings | None) -> Problem | None:
    """What to say about `error`; None where no key of the settings is known for it."""
    match error:
        case UnusableCredentials():
            return key_problem(config, error.path, error.cause, error.cure)
        case TlsProblem():
            return key_problem(config, ("server", "tls", error.option), str(error), error.cure)
        case HookError():
            return key_problem(config, ("policy", "hook"), sentence(str(error)), error.cure)
        case OptionError():
            return option_problem(error, config, error.source)
        case ManifestError():
            return _of_manifest(error, config, settings)
        case TrailUnusable():
            return key_problem(config, tuple(error.key.split(".")), str(error), error.cure)
        case UnusableFile():
            return key_problem(config, ("cache", *error.option.split(".")), str(error), error.cure)
        case DirectoryUnusable():
            return key_problem(config, ("cache", "directory"), str(error), error.cure)
        case OSError() if settings is not None:
            return _of_address(error, config, settings)
    return None


def _of_manifest(error: ManifestError, config: Path | None, settings: Settings | None) -> Problem:
    cause = "\n".join(map(sentence, str(error).splitlines()))
    path = ("sources", *((error.source, "ids") if error.source else ()))
    kind = settings.sources[error.source].ids.scheme if settings and error.source else ""
    return key_problem(config, (*path, "file") if kind == "manifest" else path, cause, MANIFEST_CURE)


def _of_address(error: OSError, config: Path | None, settings: Settings) -> Problem | None:
    """What to say about the address that could not be listened on; None where the error is about something else."""
    found = _ADDRESS.search(str(error))
    for address in addresses(settings):
        if address.path is not None:
            hit = str(address.path) == error.filename or "AF_UNIX" in str(error)
        elif type(error).__name__ == "gaierror":
            hit = not _resolved(address.host)
        else:
            hit = found is not None and int(found[2]) == address.port and found[1] in _resolved(address.host)
        if hit:
            return key_problem(config, address.key(error.errno), *words(address, error))
    return None


def _resolved(host: str) -> set[str]:
    try:
        return {str(place[4][0]) for place in socket.getaddrinfo(host, 0, flags=socket.AI_PASSIVE)}
    except OSError:
        return set()
