"""What a record of a request says. Pure.

A request leaves an *act*, whose records share everything but their event:

| event | means |
|---|---|
| `intended` | a document, or a part of one, is about to be sent; durable before its first byte |
| `completed`, `aborted` | how that ended, and how many bytes of the body were handed over |
| `unknown` | the process ended before it could say how; found at the next start |
| `looked` | facts were given without a document: HEAD, 304, an envelope without content |
| `refused` | the request was answered with an error; `code` says which |

Beside these a file holds `opened`, `closed`, `checkpoint`, `recovered`, `removed` and `gap` (records that got lost).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from gateway.calls import Call, shown_id
from gateway.errors import Abort, Entry

ENDINGS = ("completed", "aborted", "unknown", "refused", "looked")
"""The events that end an act, also one that began with `intended`: what is delivered, one for each request.

`looked` among them: a document that changes while it is opened may turn out to be the one that the reader has already.
"""


@dataclass(slots=True)
class Act:
    """One request in the trail. What its records say, as JSON without braces: `fragment` all, `answer` those of an answer."""

    id: str
    fragment: bytes
    answer: bytes = b""


def fragment(
    call: Call,
    act: str,
    pseudonym: Callable[[str], str],
    seal: Callable[[Mapping[str, str]], str],
) -> bytes:
    """What every record of this request says."""
    interaction, identity = call.interaction, call.identity
    open_fields: dict[str, Any] = {
        "act": act,
        "request": call.logged_id,
        "method": call.known_method,
        "interaction": interaction.kind.value,
        "auth": identity.method,
        "client": pseudonym(identity.client),
        "subject": pseudonym(identity.subject),
    }
    if call.correlation_id is not None:
        open_fields["correlation"] = shown_id(call.correlation_id)
    if interaction.version is not None:
        open_fields["base"] = interaction.version.name
    if call.source is not None:
        open_fields["source"] = call.source
    if interaction.id:
        open_fields["document"] = pseudonym(interaction.id)
    open_fields["sealed"] = seal(_sealed(call))
    return to_json(open_fields, inf_nan_mode="null")[1:-1]


def _sealed(call: Call) -> dict[str, str]:
    identity, location = call.identity, call.location
    fields = {
        "id": call.interaction.id,
        "client": identity.client,
        "subject": identity.subject,
        "for_patient": identity.patient,
        "address": call.address,
        "patient": None if location is None else location.patient,
    }
    return {name: value for name, value in fields.items() if value}


def intended(call: Call, act: Act) -> bytes:
    """The record of what is about to be sent."""
    act.answer = _answer(call)
    return b"%b,%b,%b" % (_began("intended"), act.answer, act.fragment)


def looked(call: Call, act: Act) -> bytes:
    """The record of an answer without a document."""
    return b"%b,%b,%b" % (_began("looked"), _answer(call), act.fragment)


def refused(call: Call, entry: Entry, act: Act) -> bytes:
    """The record of an error."""
    more: dict[str, Any] = {"status": entry.status, "code": entry.code}
    if entry.spine is not None:
        more["spine"] = entry.spine.code
    return b"%b,%b,%b" % (_began("refused"), to_json(more)[1:-1], act.fragment)


def ended(call: Call, entry: Entry | Abort | None, act: Act) -> bytes:
    """The record of how what was intended ended."""
    event = "completed" if entry is None else "aborted"
    code = "" if entry is None else f',"code":"{entry.code}"'
    end = f'"bytes":{call.sent},"ms":{(time.perf_counter() - call.began) * 1000:.1f}{code}'
    return b"%b,%b,%b,%b" % (_began(event), end.encode(), act.answer or _answer(call), act.fragment)


def unknown(intended: bytes) -> bytes:
    """The record that nobody can say how this act, begun with the line `intended`, ended."""
    fields = json.loads(intended)
    for name in ("n", "hash", "event"):
        del fields[name]
    began = fields.pop("at")
    return b"%b,%b" % (_began("unknown"), to_json(fields | {"began": began})[1:-1])


def _answer(call: Call) -> bytes:
    """What was decided to be sent: never how, always what."""
    reply = call.reply
    if reply is None:
        return b'"status":%d' % call.status
    more: dict[str, Any] = {"status": reply.status, "representation": reply.representation}
    headers = reply.headers
    for name, header in (("version", "ETag"), ("range", "Content-Range"), ("cache", "Cache-Status")):
        if header in headers:
            more[name] = headers[header]
    if reply.length is not None:
        more["length"] = reply.length
    return to_json(more)[1:-1]


def own(event: str, **more: Any) -> bytes:
    """A record of the trail about itself."""
    return b"%b,%b" % (_began(event), to_json(more)[1:-1]) if more else _began(event)


def _began(event: str) -> bytes:
    return b'"event":"%b","at":"%b"' % (event.encode(), now().encode())


_second: tuple[int, str] = (0, "")


def now() -> str:
    """The time as records write it: UTC with microseconds."""
    global _second
    moment = time.time_ns()
    whole, micro = moment // 1_000_000_000, moment // 1000 % 1_000_000
    second, text = _second
    if second != whole:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        _second = (whole, text)
    return f"{text}.{micro:06d}Z"
