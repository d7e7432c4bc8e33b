"""The codec of the `sealed` scheme: an id that only the holder of a key can make, change or read.

    x.a.4fTq0Zk2...     prefix, alias, ".", what is left to say and the seal over all of it
    x.7Hn3pQ...         prefix, and a listed id: a look-up file says which document it is

Rules of this module:
1. Pure: keys and aliases come as values; no file, no clock, no chance. The same key gives the same document the same id.
2. Nothing is taken out of an id before its seal is right, and every seal that could be right is tried to the end.
3. What does not open gives None, whatever the reason.

An alias stands for places of the archive: a repository, or every repository of a community. The rest of an id is a
synthetic-IV encryption (RFC 5297's construction, with HMAC-SHA-512 for both parts): the seal is a truncated HMAC over
prefix, alias, place and packed text, and the packed text is hidden under a mask made from the seal. So an id that says
`OID^hospital number` does not show it, an alias that comes to mean another repository opens no old id, and an id of one
source is nothing to another that has the same key. docs/decisions/0006-sealed-ids.md has the reasons and the arithmetic.

The locator that an adapter gets is `home^repository^document`: home and repository are without "^" and `urn:oid:`, home
may be empty, and the document is everything after the second "^", as it is.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from gateway.ids.sealed_packing import SYMBOLS, pack, read, spelled, unpack
from gateway.routing import MAX_ID

SEAL = 14
"""Symbols of a seal: 83 bits."""

LISTED = 22
"""Symbols of a listed id after the prefix: 130 bits, so that no two documents ever share one."""

LONGEST = 256
"""Characters of each part of an address: the longest that the schema of the messages allows."""

_place_name = re.compile(rf"[!-\]_-~]{{1,{LONGEST}}}", re.ASCII).fullmatch
_document_name = re.compile(rf"(?=\S)[^\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]{{1,{LONGEST}}}(?<=\S)").fullmatch


def looks_listed(rest: str) -> bool:
    """Whether an id without its prefix is one for the look-up file; all others have a dot."""
    return len(rest) == LISTED and "." not in rest


class NoAlias(ValueError):
    """No alias means this repository, or it is not said which of several communities is meant."""


class Place(NamedTuple):
    """What an alias may stand for: a repository of a community, or with None for it every one that the community has.

    `home` None is the own community.
    """

    home: str | None
    repository: str | None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a document is: community, repository and the id that it has there, each as `of` has read it."""

    home: str | None
    repository: str
    document: str = field(repr=False)

    @classmethod
    def of(cls, home: str | None, repository: str, document: str) -> Self:
        """From text as people have it: `urn:oid:` and blanks around it are taken off. Raises `ValueError`."""
        document = document.strip()
        if not _document_name(document):
            raise ValueError(f"The document's id must have 1 to {LONGEST} characters, and none that controls.")
        return cls(bare(home) if home else None, bare(repository), document)

    @classmethod
    def parse(cls, locator: str) -> Self:
        """Raises `ValueError` when `locator` is not exactly what `locator` below gives."""
        home, _, rest = locator.partition("^")
        repository, _, document = rest.partition("^")
        address = cls.of(home, repository, document)
        if address.locator != locator:
            raise ValueError("This is not written as `home^repository^document`.")
        return address

    @property
    def locator(self) -> str:
        """What the adapter gets."""
        return f"{self.home or ''}^{self.repository}^{self.document}"


def bare(text: str) -> str:
    """The id of a community or a repository without `urn:oid:`, which is met doubled. Raises `ValueError`."""
    name = text.strip()
    while name.lower().startswith("urn:oid:"):
        name = name[len("urn:oid:") :]
    if not _place_name(name):
        raise ValueError(f"The id of a repository or community has 1 to {LONGEST} visible characters and no ^.")
    return name


class Seal:
    """Makes and opens the ids of one source; safe for any number of users at once."""

    def __init__(self, prefix: str, keys: Sequence[bytes], aliases: Mapping[str, Sequence[Place]]) -> None:
        """The first of `keys`, and of the aliases of a place the first, seals; every one opens."""
        self._prefix = prefix
        self._keys = tuple(keys)
        self._aliases = {alias: tuple(places) for alias, places in aliases.items()}

    def placed(self, address: Address) -> Address:
        """`address` with the community that the aliases give its repository. Raises `NoAlias`."""
        return Address(self._alias_of(address)[1].home, address.repository, address.document)

    def encode(self, address: Address) -> str | None:
        """The id with its prefix; None when the document does not fit into one. Raises `NoAlias`."""
        alias, place = self._alias_of(address)
        said = address.document if place.repository else f"{address.repository}^{address.document}"
        number = pack(said)
        if number is None:
            return None
        plain = spelled(number)
        seal = self._seal(self._keys[0], alias, plain, place)
        hidden = (number + self._mask(self._keys[0], seal)) % len(SYMBOLS) ** len(plain)
        id = f"{self._prefix}{alias}.{spelled(hidden, len(plain))}{seal}"
        return id if len(id) <= MAX_ID else None

    def decode(self, rest: str) -> Address | None:
        """The address in an id without its prefix; None when its seal is not right."""
        alias, _, code = rest.partition(".")
        body, seal = code[:-SEAL], code[-SEAL:]
        hidden = read(body)
        if not body or hidden is None:
            return None
        found: tuple[Place, int] | None = None
        for key in self._keys:
            number = (hidden - self._mask(key, seal)) % len(SYMBOLS) ** len(body)
            plain = spelled(number, len(body))
            for place in self._aliases.get(alias, ()):
                expected = self._seal(key, alias, plain, place)
                if hmac.compare_digest(expected.encode(), seal.encode()):
                    found = place, number
        return None if found is None else _address(*found)

    def listed(self, locator: str) -> Iterator[str]:
        """What follows the prefix in the listed ids of `locator`, one for each key; the first is the one to give out."""
        return (_symbols(LISTED, key, "listed", self._prefix, locator) for key in self._keys)

    def _alias_of(self, address: Address) -> tuple[str, Place]:
        """The alias to seal with. Where no community is said, the own one comes first, else there must be only one."""
        every = [(alias, place) for alias, places in self._aliases.items() for place in places]
        exact = [entry for entry in every if entry[1].repository == address.repository]
        if address.home is None:
            homes = {place.home for _, place in exact}
            if len(homes) > 1 and None not in homes:
                raise NoAlias("Several communities have a repository of this id; say which is meant.")
            exact.sort(key=lambda entry: entry[1].home is not None)
        else:
            exact = [entry for entry in exact if entry[1].home == address.home]
            exact += [entry for entry in every if entry[1] == Place(address.home, None)]
        if not exact:
            raise NoAlias("No alias means this repository.")
        return exact[0]

    def _seal(self, key: bytes, alias: str, plain: str, place: Place) -> str:
        return _symbols(SEAL, key, "seal", self._prefix, alias, plain, *place)

    def _mask(self, key: bytes, seal: str) -> int:
        return _number(key, "mask", seal)


def _address(place: Place, number: int) -> Address | None:
    said = unpack(number)
    if said is None:
        return None
    if place.repository is not None:
        return Address(place.home, place.repository, said)
    repository, _, document = said.partition("^")
    return Address(place.home, repository, document)


def _symbols(length: int, key: bytes, *message: str | None) -> str:
    return spelled(_number(key, *message) % len(SYMBOLS) ** length, length)


def _number(key: bytes, *message: str | None) -> int:
    """512 bits that nobody without `key` can tell from chance; of the parts of a message none can run into another."""
    text = json.dumps(["fhir-gateway sealed id 1", *message])
    return int.from_bytes(hmac.digest(key, text.encode(), "sha512"))
