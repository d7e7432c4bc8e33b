"""The package that a new adapter begins as: nine files, complete, green before anything in them is changed.

Rules of this package: `template/` holds the files as `string.Template` texts, so that no other tool is needed; what they
say about the contract is tested by running them. Nothing that exists is ever overwritten.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from gateway import __version__

TEMPLATE = Path(__file__).parent / "template"
SUFFIX = ".template"

LONGEST = 24
"""Characters of the longest name: the lines that carry it stay within the line length."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_RESERVED = ("adapters", "gateway", "package", "tests")


class Refused(Exception):
    """The package cannot be written. `cure` says what to do; nothing was written."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cure = cure


@dataclass(frozen=True, slots=True)
class Names:
    """What the package is called: `acme-edrms` as adapter and distribution, `acme_edrms` to import, `AcmeEdrms` in
    the names of classes."""

    name: str

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    @property
    def title(self) -> str:
        return "".join(part.capitalize() for part in self.name.split("-"))


def named(name: str, installed: Collection[str] = ()) -> Names:
    """The names that follow from `name`; `installed` are the adapters there are. Raises `Refused`."""
    if len(name) > LONGEST or not _NAME.fullmatch(name):
        words = "-".join(re.findall(r"[a-z0-9]+", name.lower()))
        proposal = words.lstrip("0123456789-")[:LONGEST].rstrip("-") or "acme-edrms"
        raise Refused(
            f"{name!r} cannot be the name of an adapter.",
            f"Write at most {LONGEST} small letters and digits, in words with hyphens between them, a letter first, as "
            f"in `{proposal}`.",
        )
    names = Names(name)
    if name in installed:
        raise Refused(
            f"An adapter called {name!r} is installed already.", "Choose another name, or uninstall that one."
        )
    if _taken(names.module):
        raise Refused(f"A module called {names.module!r} exists already.", f"Add a word, as in `{name}-archive`.")
    return names


def _taken(module: str) -> bool:
    if module in sys.stdlib_module_names or module in _RESERVED or keyword.iskeyword(module):
        return True
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None  # a mere folder of that name is no module


def rendered(names: Names) -> Mapping[str, str]:
    """The text of every file by its path in the package, with / between folders."""
    values = {"name": names.name, "module": names.module, "title": names.title, "range": compatible(__version__)}
    texts = {}
    for path in sorted(TEMPLATE.rglob(f"*{SUFFIX}")):
        place = path.relative_to(TEMPLATE).as_posix().removesuffix(SUFFIX)
        place = re.sub(r"^package/", f"{names.module}/", place)
        texts[place] = Template(path.read_text(encoding="utf-8")).substitute(values)
    return texts


def compatible(version: str) -> str:
    """The range of gateway versions that a package written for `version` may be installed beside (PEP 440).

    Before 1.0 a minor version may change what authors rely on, from then on only a major one.
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    return f">={major}.{minor},<{major + 1}" if major else f">=0.{minor},<0.{minor + 1}"


def write(names: Names, directory: Path) -> list[Path]:
    """Write the package into `directory`, which is empty or not there yet; the files. Raises `Refused` and `OSError`."""
    if directory.exists() and not directory.is_dir():
        raise Refused(f"{directory} is a file.", "Name another place with --directory.")
    if directory.exists() and any(directory.iterdir()):
        raise Refused(f"{directory} is not empty.", "Name another place with --directory; nothing was written.")
    written = []
    for place, text in rendered(names).items():
        path = directory / place
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        written.append(path)
    return written
