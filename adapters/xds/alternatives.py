"""Which other way of asking would do, where a repository refuses the configured one.

Rules of this module: pure. It says what else may be tried, the smallest change first; `adapters.xds.probe` tries it, and only
when the service was reached and did not understand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from adapters.xds.options import Endpoint
from adapters.xds.request import AddressingHeader, Encoding

Change = Mapping[str, Any]

ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)
ADDRESSING: tuple[AddressingHeader, ...] = get_args(AddressingHeader)


def alternatives(options: Endpoint) -> Iterator[tuple[str, Endpoint]]:
    """Options that ask in another way, each with the keys that it changes as the configuration has them."""
    for change in _changes(options):
        yield (
            " and ".join(f"`{key}: {_written(value)}`" for key, value in change.items()),
            options.model_copy(update=change),
        )


def _changes(options: Endpoint) -> Iterator[Change]:
    encodings = [{"request_encoding": other} for other in ENCODINGS if other != options.request_encoding]
    headers: list[Change] = [{"must_understand": False}] if options.must_understand else []
    headers.append({"ws_addressing": () if options.ws_addressing else ADDRESSING})
    yield from encodings
    yield from headers
    yield {"repository_id_style": "bare" if options.repository_id_style == "urn" else "urn"}
    if options.home_community_id is not None:
        yield {"transaction": "iti43" if options.transaction == "iti39" else "iti39"}
    for encoding in encodings:
        for header in headers:
            yield {**encoding, **header}


def _written(value: Any) -> str:
    """`value` as YAML has it."""
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return value if isinstance(value, str) else json.dumps(value)
