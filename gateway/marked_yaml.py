"""YAML with line marks: the text of a configuration file as plain data, and the place of every key in it.

Scalars follow YAML 1.2's core schema: only true/false, null and decimal numbers are more than text, so that a source
called `no`, an id prefix `007` or a time `10:30` stays what was written. Tags are refused, a key given twice is a
problem and not the last one's victory, and aliases are bounded. Imports PyYAML and the standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gateway.problems import Problem, SettingsError

MAX_BYTES = 4 << 20
"""A larger file is not a configuration; somebody named a document or a manifest."""

MAX_NODES = 200_000
"""Values after aliases are followed: far above any configuration, far below an alias bomb."""

KeyPath = tuple[str | int, ...]
Mark = tuple[int, int]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value"))
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_DECIMAL = re.compile(r"[-+]?[0-9]{1,17}\.[0-9]{1,17}(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class Document:
    """`data` as plain Python values; `keys` the (line, column), from 1, of each key or list item by its path."""

    data: Any
    keys: Mapping[KeyPath, Mark] = field(default_factory=dict)

    def mark(self, path: KeyPath) -> tuple[int | None, int | None]:
        """Where `path` is written, or the nearest key above it that is."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.keys:
                return self.keys[path[:end]]
        return None, None


def read(path: Path) -> Document:
    """The configuration file at `path`. Raises `SettingsError` with every problem of its text."""
    return parse(text(path), file=str(path))


def parse(text: str, *, file: str | None = None) -> Document:
    """`text` as a document. Raises `SettingsError`."""
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        raise SettingsError([_syntax(error, text, file)]) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        cause = "There is a control character here, which YAML does not allow."
        cure = "Delete it; it is often pasted in from a web page or a word processor."
        raise SettingsError([Problem("syntax", cause, cure, "", file, line, column)]) from None
    except RecursionError:
        raise SettingsError(
            [Problem("syntax", "The values are nested too deeply.", "Remove brackets.", "", file)]
        ) from None
    if node is None:
        cure = "Write at least `auth` and one source; `fhir-gateway config init --from-dir DIR` writes a working file."
        raise SettingsError([Problem("empty", "The configuration is empty.", cure, "", file)])
    reader = _Reader(file)
    data = reader.value(node, ())
    if not isinstance(data, dict) and not reader.problems:
        kind = "a list" if isinstance(data, list) else "a single value"
        cure = "Begin with keys such as `auth:` and `sources:` at the left margin, without a dash before them."
        reader.problem(node, (), "top-level", f"The file holds {kind} at the top level, not keys.", cure)
    if reader.problems:
        raise SettingsError(reader.problems)
    return Document(data, reader.keys)


def scalar(text: str) -> Any:
    """An unquoted scalar as YAML 1.2's core schema reads it, except that only decimal numbers are numbers."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def flow(value: Any) -> str:
    """`value` in YAML's flow style; text is quoted where it would read as something else."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(entry) for entry in value) + "]"
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    text = str(value)
    plain = text and text == text.strip() and not set(text) & set("{}[],&*#?|<>=!%@\\:\"'`") and scalar(text) == text
    return text if plain and not text.startswith(("-", "~")) else json.dumps(text, ensure_ascii=False)


class _Reader:
    """Turns nodes into data, noting the place of every key and every problem on the way."""

    def __init__(self, file: str | None) -> None:
        self.file = file
        self.keys: dict[KeyPath, Mark] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()
        self._nodes = 0

    def problem(self, node: yaml.Node, path: KeyPath, code: str, cause: str, cure: str) -> None:
        line, column = _place(node)
        self.problems.append(Problem(code, cause, cure, dotted(path), self.file, line, column))

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._nodes += 1
        if id(node) in self._open or self._nodes > MAX_NODES:
            if not any(problem.code == "alias" for problem in self.problems):
                cure = "Write the values out in place of the alias (*name)."
                self.problem(node, path, "alias", "The aliases here repeat without end.", cure)
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if not node.tag.startswith(_TAG) or node.tag[len(_TAG) :] not in ("map", "seq"):
            return self._tagged(node, path)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            items = []
            for index, item in enumerate(node.value):
                self.keys[*path, index] = _place(item)
                items.append(self.value(item, (*path, index)))
            return items
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        if node.tag not in _SCALAR_TAGS:
            return self._tagged(node, path)
        plain = not node.style and node.tag != _TAG + "str"
        return scalar(node.value) if plain else node.value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                cure = "Write one word before the colon. A value that begins with { or [ needs quotes around it."
                self.problem(key_node, path, "key", "A list or a mapping stands where a key is expected.", cure)
                continue
            key = key_node.value
            here = (*path, key)
            if key in found:
                cause = f"The key `{key}` is given twice; the first is on line {self.keys[here][0]}."
                self.problem(key_node, here, "duplicate-key", cause, "Remove one of them.")
                continue
            self.keys[here] = _place(key_node)
            found[key] = self.value(value_node, here)
        return found

    def _tagged(self, node: yaml.Node, path: KeyPath) -> None:
        cause = "A YAML tag (a word with ! before it) stands before the value; tags are not used here."
        self.problem(node, path, "tag", cause, "Remove the tag, or put the value into quotes if ! belongs to it.")


def dotted(path: KeyPath) -> str:
    """`sources.letters.options.endpoints[0].url` for its path."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _place(node: yaml.Node) -> Mark:
    return node.start_mark.line + 1, node.start_mark.column + 1


def text(path: Path) -> str:
    """What stands in the file at `path`. Raises `SettingsError`."""

    def refuse(code: str, cause: str, cure: str, line: int | None = None, column: int | None = None) -> SettingsError:
        return SettingsError([Problem(code, cause, cure, "", str(path), line, column)])

    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        cure = "Give the file with --config FILE, or write one with `fhir-gateway config init --from-dir DIR`."
        raise refuse("missing-file", "There is no such file.", cure) from None
    except IsADirectoryError:
        raise refuse("missing-file", "This is a directory.", "Give the file inside it.") from None
    except OSError as error:
        cure = "Let the account that runs the gateway read it (chmod, chown, or the mount's settings)."
        raise refuse("missing-file", f"The file cannot be read: {error.strerror}.", cure) from None
    if len(raw) > MAX_BYTES:
        raise refuse("not-yaml", "The file is larger than any configuration.", "Give the gateway's YAML file.")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        cure = "Save it again as UTF-8 (in Notepad: Save as, Encoding)."
        raise refuse("encoding", "The file is encoded as UTF-16.", cure)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in raw:
            cure = "Give the gateway's YAML file; this one is a document, an archive or a spreadsheet."
            raise refuse("encoding", "The file is no text.", cure) from None
        before = raw[: error.start]
        cause = f"The file is not UTF-8: the byte 0x{raw[error.start]:02x} is on this line."
        cure = "Save it again as UTF-8; it was probably written as Windows-1252 or Latin-1."
        column = error.start - before.rfind(b"\n")
        raise refuse("encoding", cause, cure, before.count(b"\n") + 1, column) from None


def _syntax(error: yaml.MarkedYAMLError, text: str, file: str | None) -> Problem:
    """A parser's complaint in terms of what people do wrong; the line's own text is never repeated."""
    said, doing = error.problem or "the text cannot be read", error.context or ""
    unclosed = doing in (
        "while scanning a quoted scalar",
        "while parsing a flow sequence",
        "while parsing a flow mapping",
    )
    mark = (error.context_mark if unclosed else None) or error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    lines = text.splitlines()
    written = lines[min(mark.line, len(lines) - 1)] if mark and lines else ""
    indentation = written[: len(written) - len(written.lstrip())]
    if "\t" in indentation:
        column = indentation.index("\t") + 1
        cause, cure = "There is a tab in the indentation; YAML allows only spaces.", "Replace it with spaces."
    elif unclosed:
        cause = "What this quote or bracket opens is not closed, or something unreadable stands inside it."
        cure = 'Close it; a value that begins with { or [ needs quotes around all of it: "{id}.pdf".'
    elif "mapping values are not allowed" in said:
        cause = "A second colon, or a line indented deeper than its neighbours, makes this line unreadable."
        cure = "Put a value that holds `: ` into quotes; give keys of one level the same indentation."
    elif "cannot start any token" in said:
        cause = "A value begins with a character that YAML keeps for itself (such as @, %, ` or a tab)."
        cure = 'Put the value into quotes: "...".'
    elif "undefined alias" in said:
        cause = "A value begins with *, which YAML reads as the name of an alias."
        cure = 'Put the value into quotes: "*...".'
    elif "expected a single document" in doing:
        cause, cure = "There is a second document after `---`.", "Keep one document in the file."
    elif re.match(r"[^#\"']*[:\s]\{[^}]*\}[^\s,}]", written):
        cause = "A value begins with {, which YAML reads as the beginning of a mapping."
        cure = 'Put the value into quotes: "{id}.pdf".'
    else:
        cause = f"This is not YAML: {said}."
        cure = "Look at this line and the one above: a missing colon, quote or bracket, or an uneven indentation."
    return Problem("syntax", cause, cure, "", file, line, column)
