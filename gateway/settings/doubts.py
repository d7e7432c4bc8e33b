"""What works as it is configured and is seldom meant: said by `check` and in the log at the start, and nothing is refused.

Pure judgement on settings that are right, in the terms of `conflicts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gateway.quantities import duration_text, is_loopback, size_text
from gateway.settings.conflicts import Conflict

if TYPE_CHECKING:
    from gateway.settings.models import Settings, SourceSettings


def doubts(settings: Settings) -> Iterator[Conflict]:
    """Each with the key to look at."""
    yield from _in_the_open(settings)
    yield from _swallowed(settings)
    yield from _never_reached(settings)
    for name, source in settings.sources.items():
        yield from _too_short(name, source)


def _in_the_open(settings: Settings) -> Iterator[Conflict]:
    server = settings.server
    tokens = set(settings.auth.chosen) & {"jwt", "bearer"}
    if tokens and server.tls is None and server.unix_socket is None and not is_loopback(server.host):
        cause = "Tokens and documents travel over plain HTTP here: whoever sees the network can read both and use the tokens."
        cure = (
            "Set `server.tls`; or listen on 127.0.0.1 or on a `unix_socket` behind a proxy that has a certificate. Leave it so "
            "only where the network itself is encrypted, as in a service mesh."
        )
        yield Conflict(("server", "host"), "plain-tokens", cause, cure)


def _never_reached(settings: Settings) -> Iterator[Conflict]:
    """A bound that another one keeps from ever being reached."""
    cache: Any = settings.cache
    whole = getattr(cache, "max_bytes", None)
    if whole is not None and cache.max_document > whole:
        cause = f"A document of {size_text(cache.max_document)} has no room in {size_text(whole)} (`cache.max_bytes`)."
        yield Conflict(("cache", "max_document"), "bounds", cause, "Raise `cache.max_bytes`, or lower this one.")
    spool = settings.spool
    if spool.memory > spool.max_bytes:
        cause = (
            f"Nothing of {size_text(spool.memory)} can wait where {size_text(spool.max_bytes)} may (`spool.max_bytes`)."
        )
        yield Conflict(("spool", "memory"), "bounds", cause, "Raise `spool.max_bytes`, or lower this one.")
    limits = settings.server.limits
    if limits.max_connections_per_peer is not None and limits.max_connections_per_peer > limits.max_connections:
        cause = f"No address can have {limits.max_connections_per_peer} of {limits.max_connections} connections."
        cure = "Raise `server.limits.max_connections`, or lower this one."
        yield Conflict(("server", "limits", "max_connections_per_peer"), "bounds", cause, cure)


def _swallowed(settings: Settings) -> Iterator[Conflict]:
    """An empty prefix is for what no other one fits; one that is not empty seldom is."""
    for name, source in settings.sources.items():
        for other, longer in settings.sources.items():
            if source.prefix and longer.prefix.startswith(source.prefix) and longer.prefix != source.prefix:
                cause = (
                    f"Ids of `{name}` that go on with {longer.prefix.removeprefix(source.prefix)!r} lead to `{other}`, whose "
                    f"prefix {longer.prefix!r} begins with {source.prefix!r}."
                )
                cure = "Give them prefixes of which none begins with the other, such as `s.` and `x.`."
                yield Conflict(("sources", other, "prefix"), "swallowed", cause, cure)


def _too_short(name: str, source: SourceSettings) -> Iterator[Conflict]:
    """Options say how long opening may take as an attribute `opening_times`: seconds and the key that says so, each."""
    times: Any = getattr(source.adapter_options, "opening_times", ())
    for seconds, option, why in times:
        if seconds > source.limits.open_timeout:
            cause = (
                f"A document must be open within {duration_text(source.limits.open_timeout)} (`limits.open_timeout`), so that "
                f"{why} will not be waited for."
            )
            cure = (
                f"Raise `limits.open_timeout` of this source to {duration_text(seconds)} or more, or lower the other."
            )
            yield Conflict(("sources", name, "options", *option), "open-timeout", cause, cure)
