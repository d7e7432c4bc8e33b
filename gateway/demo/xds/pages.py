"""What stands beside the endpoints: an overview for people, the record of requests for programs, and nothing.

Rules of this module: it reads and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from gateway.demo.xds.answering import ACTIONS, Endpoint, canned
from gateway.demo.xds.contents import fixed
from gateway.demo.xds.documents import Document
from gateway.demo.xds.exchange import Exchange
from gateway.demo.xds.faults import FAULTS
from gateway.demo.xds.personality import Canned
from gateway.demo.xds.request import Request
from gateway.demo.xds.sending import Reply
from gateway.demo.xds.vendors import PERSONALITIES

HEADER = "X-Fake-Personality"
"""A request's own choice: a name as `faults.named` reads it. The path prefix /personality/NAME does the same."""


class Site(Protocol):
    """What pages tell about."""

    exchanges: list[Exchange]

    @property
    def shelf(self) -> Iterable[Document]: ...

    def endpoint(self, which: Endpoint = "repository", *, personality: str | None = None) -> str: ...


def page(site: Site, request: Request) -> Reply:
    """The answer to a request that is for no endpoint."""
    match urlsplit(request.target).path:
        case "/":
            return Reply(200, "text/plain; charset=utf-8", [fixed("\n".join(_overview(site)).encode())])
        case "/requests":
            record = json.dumps([one.facts() for one in site.exchanges])
            return Reply(200, "application/json", [fixed(record.encode())])
        case _:
            return canned(Canned(404, b"<!DOCTYPE html>\n<html><body><h1>HTTP Status 404</h1></body></html>\n"))


def _overview(site: Site) -> Sequence[str]:
    return (
        "A fake XDS repository with invented documents.",
        "",
        *(f"{which}: {site.endpoint(which)} ({action})" for which, action in ACTIONS.items()),
        "",
        f"How it answers: {site.endpoint(personality='NAME')}, or the header {HEADER}: NAME.",
        "With faults: NAME+FAULT+FAULT, or FAULT alone.",
        "",
        "Names:",
        *(f"  {one.name}: {one.about}" for one in PERSONALITIES.values()),
        "",
        "Faults:",
        *(f"  {one.name}: {one.about}" for one in FAULTS.values()),
        "",
        "Documents (repository, id, type, title):",
        *(f"  {one.repository} {one.unique_id} {one.media_type} {one.title}" for one in site.shelf),
        "",
    )
