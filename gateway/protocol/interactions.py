"""FHIR RESTful interactions from a request's method and raw target (https://hl7.org/fhir/R4/http.html).

No I/O, no HTTP objects: text in, one `Interaction` out. Paths are case-sensitive (FR-02) and split on the wire's own
slashes before each segment is percent-decoded once, so that `%2F` can never become a separator. What is recognised but
not offered (search, history, every write) is a value like any other; the caller decides what to answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote_to_bytes

from gateway.fhir import Version


class Kind(Enum):
    """What a request asks for. `value` is the FHIR interaction code where there is one."""

    READ = "read"
    VREAD = "vread"
    CAPABILITIES = "capabilities"
    SMART_CONFIGURATION = "smart-configuration"
    SEARCH = "search-type"
    HISTORY = "history-instance"
    WRITE = "write"
    UNKNOWN_RESOURCE = "unknown-resource"
    UNKNOWN_PATH = "unknown-path"

    # That of Enum is made from the name each time, for every request several times.
    __hash__ = object.__hash__


@dataclass(slots=True, eq=False)  # made for every request: a frozen one takes three times as long
class Interaction:
    """One request understood: `version` is None outside every base, `allow` lists what the target answers (RFC 9110 10.2.1)."""

    kind: Kind
    version: Version | None
    base: str = ""
    id: str = ""
    version_id: str = ""
    query: str = ""
    allow: str = ""


_READ = ("GET", "HEAD")
_ALLOW = "GET, HEAD"


class Bases:
    """The service bases, e.g. `{Version.STU3: "/STU3", Version.R4: "/R4"}`; an empty path is the root."""

    def __init__(self, paths: Mapping[Version, str]) -> None:
        self._bases = sorted(((path, version) for version, path in paths.items()), key=lambda base: -len(base[0]))

    def interaction(self, method: str, target: str) -> Interaction:
        """What `method` on the raw request target (path and query as on the wire, or absolute form) asks for."""
        path, _, query = target.partition("?")
        if path[:1] != "/":
            path = _path_of_absolute(path)
        for base, version in self._bases:
            if path.startswith(base) and path[len(base) : len(base) + 1] in ("/", ""):
                return _within(method, path[len(base) + 1 :], version, base, query)
        return Interaction(Kind.UNKNOWN_PATH, None, query=query)


def _path_of_absolute(target: str) -> str:
    """The path of an absolute-form target (RFC 9112 3.2.2); "" where there is none."""
    _, found, rest = target.partition("://")
    slash = rest.find("/")
    return rest[slash:] if found and slash >= 0 else ""


def _within(method: str, rest: str, version: Version, base: str, query: str) -> Interaction:
    kind, allow, id, version_id = Kind.UNKNOWN_PATH, "", "", ""
    segments = rest.split("/")
    match [_decoded(segment) for segment in segments] if "%" in rest else segments:
        case ["Binary", id] if id not in ("", "_search", "_history"):
            kind, allow = Kind.READ, _ALLOW
        case ["Binary", id, "_history", version_id] if id and version_id:
            kind, allow = Kind.VREAD, _ALLOW
        case ["metadata"]:
            kind, allow = Kind.CAPABILITIES, _ALLOW
        case [".well-known", "smart-configuration"]:
            kind, allow = Kind.SMART_CONFIGURATION, _ALLOW
        case ["Binary"] | ["Binary", "_search"]:
            kind = Kind.SEARCH if method in ("GET", "HEAD") or segments[-1] == "_search" else Kind.WRITE
        case ["Binary", *_, "_history"]:
            kind = Kind.HISTORY
        case [""]:
            kind = Kind.UNKNOWN_PATH if method in _READ else Kind.WRITE
        case [resource, *_] if resource[:1].isupper() and resource.isalpha() and resource != "Binary":
            kind = Kind.UNKNOWN_RESOURCE
        case _:
            pass
    if allow and method not in _READ:
        kind = Kind.WRITE
    return Interaction(kind, version, base, id, version_id, query, allow)


def _decoded(segment: str) -> str:
    """One segment percent-decoded; bytes that are not UTF-8 become characters that no id can hold."""
    return unquote_to_bytes(segment).decode("utf-8", "replace") if "%" in segment else segment
