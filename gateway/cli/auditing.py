"""Commands around the audit trail: `audit verify`, `export`, `replay`, `show` and `key`.

They read the files of the trail and need no running gateway. Exit codes: 0 whole or found, 1 broken, not found or not taken,
2 the configuration or the command line is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from gateway.cli import console

if TYPE_CHECKING:
    from gateway.audit.keys import AuditKeys
    from gateway.audit.reading import Record
    from gateway.audit.verifying import SegmentVerdict, Verdict
    from gateway.settings import AuditSettings

SHOWN_BREAKS = 20


def _moment(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """A time as ISO 8601 writes it; without an offset it is UTC."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("Write a date or a time, as in 2026-11-22 or 2026-11-22T08:30:00.") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _window(command: Callable[..., Any]) -> Callable[..., Any]:
    until = click.option("--until", callback=_moment, metavar="TIME", help="Only records before this time.")
    return click.option("--since", callback=_moment, metavar="TIME", help="Only records from this time on.")(
        until(command)
    )


@click.group(short_help="Check the audit trail, read it, hand it on.")
def audit() -> None:
    """Check the audit trail, read it, hand it on."""


@audit.command(short_help="Say whether the trail is whole.")
@console.config_option
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A copy of the trail; no configuration is needed.",
)
@click.option("--public-key", metavar="HEX", help="The public key of the trail, as `audit key` prints it.")
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Checkpoints that were kept elsewhere: each must be found in the trail.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict for a machine.")
def verify(
    config: Path | None, directory: Path | None, public_key: str | None, checkpoints: Path | None, as_json: bool
) -> None:
    """Say whether the trail is whole: nothing changed, put in, taken out or cut off.

    Exit code 0: whole. 1: it is not, or the gateway itself says that records got lost. With --directory and --public-key an
    outsider can check a copy: no secret is needed.
    """
    from gateway.audit.verifying import verify as verified

    place, public = _place(config, directory, public_key)
    known = list(_checkpoints(checkpoints)) if checkpoints else []
    with _failures(place):
        verdict = verified(place, public, known)
    if as_json:
        click.echo(json.dumps(_facts(verdict), indent=2))
    else:
        _print(verdict)
    raise SystemExit(console.FINE if verdict.whole else console.FAILED)


def _place(config: Path | None, directory: Path | None, public_key: str | None) -> tuple[Path, bytes]:
    if (directory is None) != (public_key is None):
        raise click.UsageError("Give --directory and --public-key together, or neither.")
    if directory is None or public_key is None:
        place, keys, _ = _trail(config)
        return place, keys.public
    try:
        public = bytes.fromhex(public_key)
    except ValueError:
        public = b""
    if len(public) != 32:
        raise click.UsageError("The public key is 64 hexadecimal digits, as `audit key` prints it.")
    return directory, public


def _checkpoints(path: Path) -> Iterator[Any]:
    from gateway.audit.chain import Checkpoint

    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            yield Checkpoint.parsed(text)
        except ValueError:
            console.fail(f"{path}: line {number} is no checkpoint.", "Give the file that `audit.checkpoints` names.")


def _facts(verdict: Verdict) -> dict[str, Any]:
    from dataclasses import asdict

    return {"whole": verdict.whole, "records": verdict.records} | asdict(verdict)


def _print(verdict: Verdict) -> None:
    for one in verdict.segments:
        colour = "red" if one.breaks else "green"
        click.echo(f"{click.style(one.name, bold=True)}  {click.style(_words(one), fg=colour)}")
        for broken in one.breaks[:SHOWN_BREAKS]:
            click.echo(f"  {broken}")
        if len(one.breaks) > SHOWN_BREAKS:
            click.echo(f"  and {len(one.breaks) - SHOWN_BREAKS} more")
    for text in [*verdict.breaks, *verdict.gaps]:
        click.secho(text, fg="red")
    if verdict.removed:
        click.echo(f"{verdict.removed} files were removed when their time was over, as records say.")
    count = f"{verdict.records} records in {len(verdict.segments)} files"
    if verdict.whole:
        click.secho(f"The trail is whole: {count}.", bold=True)
    elif verdict.gaps and not verdict.breaks and not any(one.breaks for one in verdict.segments):
        click.secho(f"Nothing was changed, but records got lost: {count}.", bold=True)
    else:
        click.secho(f"The trail is broken: {count}.", bold=True)


def _words(one: SegmentVerdict) -> str:
    vouched = f"signed up to record {one.vouched}" if one.vouched >= 0 else "nothing signed yet"
    torn = f", a torn last line of {one.torn} bytes" if one.torn and one.state == "ended" else ""
    state = {"live": "being written", "closed": "closed", "ended": "its process was killed"}[one.state]
    return f"{one.records} records, {vouched}, {'broken' if one.breaks else state + torn}"


@audit.command(short_help="Write the records out.")
@console.config_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["records", "fhir-r4", "fhir-stu3", "dicom"]),
    default="records",
    show_default=True,
    help="One on each line: records as they are with their sealed part opened, AuditEvents, or DICOM audit messages.",
)
@_window
@click.option("--patient", metavar="NUMBER", help="Only records of this patient.")
@click.option("--output", "-o", type=click.File("wb", lazy=False), default="-", metavar="FILE", help="Where to write.")
def export(
    config: Path | None,
    form: str,
    since: datetime | None,
    until: datetime | None,
    patient: str | None,
    output: IO[bytes],
) -> None:
    """Write the records out, with the ids and patients that they name. Exit code 1: the trail is broken somewhere."""
    from gateway.audit.reading import records

    place, keys, settings = _trail(config)
    written = _writer(form, settings.site)
    with _failures(place):
        for record in records(place, keys, since=since, until=until):
            if patient is None or (record.sealed or {}).get("patient") == patient:
                line = written(record)
                if line is not None:
                    output.write(line + b"\n")


def _writer(form: str, site: str | None) -> Callable[[Record], bytes | None]:
    if form == "records":
        return lambda record: json.dumps(record.plain()).encode()
    if form == "dicom":
        from gateway.audit import dicom

        def message(record: Record) -> bytes:
            return dicom.message(record.id, record.fields, record.sealed or {}, site=site)

        return lambda record: None if record.event == "intended" else message(record)
    from gateway.fhir import Version
    from gateway.fhir.audit_event import render

    version = Version.R4 if form == "fhir-r4" else Version.STU3

    def event(record: Record) -> bytes:
        return render(version, record.id, record.fields, record.sealed or {}, site=site)

    return lambda record: None if record.event == "intended" else event(record)


@audit.command(short_help="Send records to a receiver again.")
@console.config_option
@click.option("--sink", metavar="NAME", required=True, help="The receiver, by its name in `audit.sinks`.")
@_window
def replay(config: Path | None, sink: str, since: datetime | None, until: datetime | None) -> None:
    """Send records to a receiver again, under the ids they had: for a receiver that lost some, or a new one.

    Exit code 1: the receiver did not take them all.
    """
    import asyncio

    from gateway.audit.opening import open_receiver
    from gateway.audit.reading import records
    from gateway.problems import did_you_mean

    place, keys, settings = _trail(config)
    chosen = next((one for one in settings.sinks if one.name == sink), None)
    if chosen is None:
        names = [one.name for one in settings.sinks]
        console.fail(f"There is no receiver {sink}.", did_you_mean(sink, names, what="receiver"), code=console.WRONG)
    wanted = (one for one in records(place, keys, since=since, until=until) if one.event != "intended")
    with console.start_failures(config), _failures(place):
        sent, failure = asyncio.run(_sent(open_receiver(chosen, settings.site), wanted))
    click.echo(f"{sent} records were taken.")
    if failure is not None:
        console.fail(f"Then {sink} did not go on: {failure}.", "Run it again when the receiver answers.")


async def _sent(receiver: Any, wanted: Iterator[Record]) -> tuple[int, str | None]:
    from itertools import islice

    from gateway.audit.feeding import AT_ONCE, Away, Refused

    sent = 0
    try:
        while lot := list(islice(wanted, AT_ONCE)):
            while lot:
                taken = await receiver.send(lot)
                sent, lot = sent + taken, lot[taken:]
    except (Away, Refused) as failure:
        return sent, str(failure)
    finally:
        await receiver.close()
    return sent, None


@audit.command(short_help="Follow one request.")
@click.argument("request-id")
@console.config_option
@click.option("--json", "as_json", is_flag=True, help="Print the records for a machine.")
def show(request_id: str, config: Path | None, as_json: bool) -> None:
    """Follow one request by the id that its answer and its log line carry (X-Request-Id)."""
    from gateway.audit.reading import records
    from gateway.calls import shown_id

    place, keys, _ = _trail(config)
    known = shown_id(request_id)
    with _failures(place):
        found = [
            one
            for one in records(place, keys, holding=json.dumps(known).encode())
            if one.fields.get("request") == known
        ]
    if not found:
        console.fail(
            f"No request {request_id} is in the trail.", "Ids are those of the X-Request-Id header and the log."
        )
    if as_json:
        click.echo(json.dumps([one.plain() for one in found], indent=2))
        return
    acts = dict.fromkeys(str(one.fields.get("act")) for one in found)
    for act in acts:
        _print_act([one for one in found if one.fields.get("act") == act])


def _print_act(records: list[Record]) -> None:
    sealed = records[0].sealed
    if sealed is None:
        click.secho("What is sealed was sealed with another key.", fg="red")
    for name, value in (sealed or {}).items():
        click.echo(f"{click.style(f'{name:<12}', dim=True)} {value}")
    for record in records:
        facts = ("status", "code", "representation", "range", "version", "cache", "length", "bytes", "ms")
        words = ", ".join(f"{name} {record.fields[name]}" for name in facts if name in record.fields)
        click.echo(f"{record.fields['at']}  {click.style(f'{record.event:<10}', bold=True)} {words}")
    if records[-1].event == "intended":
        click.echo("No end is recorded: the request is under way, or its process was killed.")


@audit.command(short_help="Print the public key.")
@console.config_option
def key(config: Path | None) -> None:
    """Print the public key of the trail, for those who check a copy of it."""
    click.echo(_trail(config)[1].public.hex())


def _trail(config: Path | None) -> tuple[Path, AuditKeys, AuditSettings]:
    """The configured trail and its keys."""
    from gateway.audit.keys import AuditKeys
    from gateway.audit.opening import key_of

    settings = console.load_settings(config).audit
    if settings.directory is None or not settings.kept:
        console.fail("No trail is kept.", "Add `audit.directory`.", code=console.WRONG)
    with console.start_failures(config):
        return settings.directory, AuditKeys(key_of(settings, make=False)), settings


@contextmanager
def _failures(place: Path) -> Iterator[None]:
    from gateway.audit.chain import Broken

    try:
        yield
    except Broken as broken:
        console.fail(f"The trail is broken: {broken}.", "`fhir-gateway audit verify` says where, and what else.")
    except FileNotFoundError:
        console.fail(f"There is no trail in {place}.", "The key is `audit.directory`.", code=console.WRONG)
    except OSError as error:
        console.fail(f"{error.filename or place}: {error.strerror or error}.", code=console.WRONG)
