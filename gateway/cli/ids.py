"""Commands for those who give out ids: `ids encode` makes the sealed id of a document, `ids decode` reads one.

Both need the configuration and the keys, and no archive: what they say is what a gateway with the same files would do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from gateway.cli import console

if TYPE_CHECKING:
    from gateway.ids import SealedIds
    from gateway.ids.sealed import Address, Seal
    from gateway.settings import Settings, SourceSettings


@click.group(short_help="Make and read sealed ids.")
def ids() -> None:
    """Make and read the sealed ids of documents in repositories."""


@ids.command(short_help="Print the id of a document.")
@console.config_option
@click.option("--source", required=True, metavar="NAME", help="The source that serves the repository.")
@click.option("--repository", required=True, metavar="OID", help="The unique id of the repository.")
@click.option("--document", required=True, metavar="ID", help="The unique id of the document.")
@click.option("--home", metavar="OID", help="The id of the repository's community, where there is more than one.")
def encode(config: Path | None, source: str, repository: str, document: str, home: str | None) -> None:
    """Print the id of a document, alone. The same document has the same id, today and on every replica.

    A document whose own id does not fit is added to the look-up file `ids.lookup`.
    """
    settings = console.load_settings(config)
    of, sealed = _sealed(settings, source)
    seal = _seal(of, sealed)
    from gateway.ids.sealed import Address

    try:
        address = seal.placed(Address.of(home, repository, document))
    except ValueError as error:
        cure = f"The aliases of the source {source} stand for the repositories that ids can be made for."
        console.fail(str(error), cure, code=console.WRONG)
    id = seal.encode(address) or _listed(of, sealed, seal, address)
    owner = _owner(settings, id)
    if owner != source:
        cure = "Give one of the two another prefix, or the repository another alias."
        console.fail(f"The source {owner} has a prefix that this id begins with.", cure, code=console.WRONG)
    click.echo(id)


@ids.command(short_help="Say which document an id means.")
@click.argument("id")
@console.config_option
@click.option("--json", "as_json", is_flag=True, help="Print it for a machine.")
def decode(id: str, config: Path | None, as_json: bool) -> None:
    """Say which document of which repository a sealed id means. What it prints may tell about a patient.

    Exit code 1: the id was altered or mistyped, or was made with a key or an alias that is no longer configured.
    """
    settings = console.load_settings(config)
    owner = _owner(settings, id)
    if owner is None:
        console.fail("No source has a prefix that this id begins with.", "`prefix` is a key of each source.")
    of, sealed = _sealed(settings, owner)
    address = _opened(sealed, _seal(of, sealed), id.removeprefix(of.prefix))
    if address is None:
        cure = f"Is it complete, and upper and lower case right? Is the key it was made with among those of {owner}?"
        console.fail("This id leads to no document.", cure)
    facts = {"source": owner, "home": address.home, "repository": address.repository, "document": address.document}
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        if value is not None:
            click.echo(f"{click.style(f'{name:<10}', dim=True)} {value}")


def _opened(sealed: SealedIds, seal: Seal, rest: str) -> Address | None:
    """The address that an id without its prefix has to a gateway."""
    from gateway.ids.sealed import Address, looks_listed
    from gateway.ids.sealed_lookup import Lookup

    if sealed.lookup is None or not looks_listed(rest):
        return seal.decode(rest)
    lookup = Lookup(sealed.lookup, seal.listed)
    lookup.refresh()
    if lookup.failure is not None:
        _cannot(lookup.failure)
    locator = lookup.find(rest)
    return None if locator is None else Address.parse(locator)


def _sealed(settings: Settings, source: str) -> tuple[SourceSettings, SealedIds]:
    """The settings of a source that has sealed ids, or the end of the command."""
    from gateway.ids import SealedIds
    from gateway.problems import did_you_mean

    of = settings.sources.get(source)
    if of is None:
        cure = did_you_mean(source, [*settings.sources], what="source")
        console.fail(f"There is no source {source}.", cure, code=console.WRONG)
    if not isinstance(of.ids, SealedIds):
        cause = f"The ids of the source {source} are not sealed: their scheme is {of.ids.scheme}."
        console.fail(cause, "docs/ids.md says how ids of each scheme are made.", code=console.WRONG)
    return of, of.ids


def _seal(of: SourceSettings, sealed: SealedIds) -> Seal:
    from gateway.ids.sealed_scheme import read_seal

    try:
        return read_seal(sealed, of.prefix)
    except (OSError, ValueError) as error:
        _cannot(error)


def _listed(of: SourceSettings, sealed: SealedIds, seal: Seal, address: Address) -> str:
    """The id of a document that goes into the look-up file."""
    from gateway.ids import ManifestError
    from gateway.ids.sealed_lookup import add

    if sealed.lookup is None:
        cure = "Name a file in `ids.lookup`; documents like this one are listed there."
        console.fail("The document's own id does not fit into an id.", cure, code=console.WRONG)
    try:
        add(sealed.lookup, address.locator)
    except (OSError, ManifestError) as error:
        _cannot(error)
    return of.prefix + next(iter(seal.listed(address.locator)))


def _cannot(error: Exception) -> NoReturn:
    cause, cure = console.address_failure(error) if isinstance(error, OSError) else (str(error), "")
    console.fail(cause, cure, code=console.WRONG)


def _owner(settings: Settings, id: str) -> str | None:
    """The source that the router would ask for `id`."""
    fitting = [name for name, source in settings.sources.items() if id.startswith(source.prefix)]
    return max(fitting, key=lambda name: len(settings.sources[name].prefix), default=None)
