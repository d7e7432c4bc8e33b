"""XML as runs of bytes: a small tree, and a writer that obeys a personality's prefixes, blanks and character set.

Rules of this module: no document is held; a run stands in the tree where a document's text goes. Well-formed by
construction, except where a switch of the personality says otherwise.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from gateway.demo.xds import names
from gateway.demo.xds.contents import Run, filler, fixed
from gateway.demo.xds.personality import Personality

NAMESPACES = {
    "wsa": names.WSA,
    "wsse": names.WSSE,
    "xdsb": names.XDSB,
    "rs": names.RS,
    "rim": names.RIM,
    "query": names.QUERY,
    "xop": names.XOP,
}
"""Prefix of this module's own trees -> namespace; `soap` is added by whoever knows the version."""

DOCTYPES = {
    "plain": "<!DOCTYPE Envelope>",
    "entities": "<!DOCTYPE Envelope [\n"
    + '<!ENTITY e0 "letters">\n'
    + "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">\n' for level in range(1, 10))
    + "]>",
    "external": '<!DOCTYPE Envelope [<!ENTITY e9 SYSTEM "file:///etc/hostname">]>',
}
"""What the switch `doctype` writes. `&e9;` then stands in the mimeType of the answer."""


@dataclass(slots=True)
class Element:
    """An element. `name` is written with a prefix of `NAMESPACES`; children are text, elements and runs.

    `binds` are prefixes that its text uses (QNames).
    """

    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    children: list[Element | str | Run | Raw] = field(default_factory=list)
    binds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Raw:
    """Markup that is written as it is."""

    text: str


def element(name: str, /, *children: Element | str | Run | Raw | None, **attributes: str | None) -> Element:
    """An element of these children and attributes; what is None is left out. A `__` in an attribute's name is a colon."""
    named = {key.replace("__", ":"): value for key, value in attributes.items() if value is not None}
    return Element(name, named, [child for child in children if child is not None])


def text_of(value: str) -> str:
    """A value as character data; a carriage return as a reference, since parsers change a bare one."""
    return escape(value, {"\r": "&#13;"})


def value_of(value: str) -> str:
    """A value as an attribute's, in double quotes; parsers would change line ends and tabs that stand there bare."""
    return escape(value, {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;", '"': "&quot;"})


class Writer:
    """Writes one tree in a personality's manner."""

    def __init__(self, personality: Personality, soap: str) -> None:
        self._personality = personality
        self._namespaces = NAMESPACES | {"soap": soap}

    def write(self, root: Element) -> list[Run]:
        """The message: mark, declaration, document type, tree."""
        p = self._personality
        charset = p.declared_charset or p.charset
        head = p.declaration.format(charset=charset) + DOCTYPES.get(p.doctype, "")
        scope = self._declared_above() if p.declared == "envelope" else {}
        body = list(self._joined(self._element(root, {}, scope, 0)))
        return [fixed(p.lead + (_mark(p.charset) if p.bom else b"") + self._bytes(head)), *body]

    def _declared_above(self) -> dict[str, str]:
        """What the envelope declares for all, default namespaces excepted."""
        used = {key: getattr(self._personality.prefixes, key) for key in self._namespaces}
        return {prefix: self._namespaces[key] for key, prefix in used.items() if prefix}

    def _joined(self, pieces: Iterable[str | Run]) -> Iterator[Run]:
        """Text of neighbours put together, and everything in the character set of the message."""
        waiting: list[str] = []
        for piece in pieces:
            if isinstance(piece, str):
                waiting.append(piece)
                continue
            yield fixed(self._bytes("".join(waiting)))
            waiting = []
            yield self._wide(piece)
        yield fixed(self._bytes("".join(waiting)))

    def _element(
        self, one: Element, scope: Mapping[str, str], declare: Mapping[str, str], depth: int
    ) -> Iterator[str | Run]:
        key = one.name.rpartition(":")[0]
        declare = dict(declare)
        for used in filter(None, (key, *one.binds)):
            prefix, namespace = getattr(self._personality.prefixes, used), self._namespaces[used]
            if {**scope, **declare}.get(prefix) != namespace:
                declare[prefix] = namespace
        tag = qname(self._personality, one.name)
        attributes = ""
        for name, value in one.attributes.items():
            attribute, extra = self._attribute(name, {**scope, **declare})
            declare |= extra
            attributes += f' {attribute}="{value_of(value)}"'
        for name, uri in declare.items():
            attributes += f' xmlns:{name}="{uri}"' if name else f' xmlns="{uri}"'
        if not one.children:
            yield f"<{tag}{attributes}/>"
            return
        yield f"<{tag}{attributes}>"
        yield from self._children(one, {**scope, **declare}, depth)
        yield f"</{tag}>"

    def _children(self, one: Element, scope: Mapping[str, str], depth: int) -> Iterator[str | Run]:
        pretty = self._personality.pretty and all(isinstance(child, Element) for child in one.children)
        for child in one.children:
            if pretty:
                yield "\n" + "  " * (depth + 1)
            match child:
                case Element():
                    yield from self._element(child, scope, {}, depth + 1)
                case str():
                    yield text_of(child)
                case Raw():
                    yield child.text
                case _:
                    yield child
        if pretty:
            yield "\n" + "  " * depth

    def _attribute(self, name: str, scope: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """An attribute's name and what must be declared for it: it has no default namespace."""
        key, _, local = name.rpartition(":")
        if key in ("", "xml", "xmlns"):
            return name, {}
        prefix = getattr(self._personality.prefixes, key) or f"q-{key}"
        namespace = self._namespaces[key]
        return f"{prefix}:{local}", {} if scope.get(prefix) == namespace else {prefix: namespace}

    def _bytes(self, text: str) -> bytes:
        return text.encode(_codec(self._personality.charset))

    def _wide(self, run: Run) -> Run:
        """A run of UTF-8, cut between characters, in the character set of the message."""
        codec = _codec(self._personality.charset)
        if codec == "utf-8":
            return run
        length = None if run.length is None else run.length * 2
        return Run(lambda: (piece.decode().encode(codec) for piece in run.write()), length, run.payload)


def qname(personality: Personality, name: str) -> str:
    """A name of `NAMESPACES` as character data of the message: with the personality's prefix."""
    key, _, local = name.rpartition(":")
    prefix = getattr(personality.prefixes, key) if key else ""
    return f"{prefix}:{local}" if prefix else local


def blanks(size: int) -> Run:
    """So many line ends, rounded up to whole blocks, without holding them."""
    block = 1 << 16
    return filler(b"\n" * min(size, block), -(-size // block))


def nested(depth: int) -> Raw:
    """Elements inside each other."""
    return Raw("<n>" * depth + "</n>" * depth)


def _codec(charset: str) -> str:
    """UTF-16 is written little-endian, its mark by itself."""
    return "utf-16-le" if charset.upper() == "UTF-16" else "utf-8"


def _mark(charset: str) -> bytes:
    return codecs.BOM_UTF16_LE if charset.upper() == "UTF-16" else codecs.BOM_UTF8
