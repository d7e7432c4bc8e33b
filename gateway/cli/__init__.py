"""The command `fhir-gateway`: one module for each group of commands.

Rules of this package: importing it is cheap (click and the standard library), since the container asks for its health
every few seconds; what a command needs is imported inside that command. Exit codes: 0 fine, 1 an archive does not
answer or a document is not there, 2 the configuration or the command line is wrong. Results go to standard output,
what is said about them to standard error. Colours only on a terminal.
"""

from __future__ import annotations

import os

import click

from gateway import __version__
from gateway.cli import adapter, auditing, auth, caching, configuring, ids, inspecting, observing, reloading, serving
from gateway.cli.demonstrating import demo


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Begin with `fhir-gateway demo`, or with `fhir-gateway config init --from-dir DIR` on a folder of yours.",
)
@click.version_option(__version__, prog_name="fhir-gateway", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Answer FHIR Binary reads from a legacy archive of documents."""
    # https://no-color.org; click itself drops colours where there is no terminal.
    if os.environ.get("NO_COLOR"):
        context.color = False


for command in (
    serving.serve,
    inspecting.check,
    inspecting.fetch,
    configuring.config,
    inspecting.adapters,
    adapter.adapter,
    ids.ids,
    auth.auth,
    caching.cache,
    auditing.audit,
    inspecting.explain,
    reloading.reload,
    serving.health,
    serving.worker,
    observing.status,
    observing.log,
    demo,
):
    main.add_command(command)

__all__ = ["main"]
