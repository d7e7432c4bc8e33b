"""What stands before the handlers, made from the settings: the door, the policy, the certificate, the listening socket.

Part of the composition root, kept apart from it by idea: everything here decides who gets in.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from gateway.http_server import HttpServer
from gateway.ids import Ids, ManifestIds
from gateway.listener import Allowance, Listener, listening_at, listening_on
from gateway.security.authentication import Authentication
from gateway.security.cors import Cors
from gateway.security.door import Door
from gateway.security.expiries import Expiries
from gateway.security.policy import entered
from gateway.security.rates import Enumeration, Rates
from gateway.security.rules import Judgement, Rules
from gateway.server import Pipeline
from gateway.settings import Settings
from gateway.settings.policy import PolicySettings
from gateway.settings.server import ServerLimits, ServerSettings
from gateway.settings.tracing import TracingSettings

if TYPE_CHECKING:
    from gateway.renewal import Renewal
    from gateway.tracing import Traces


def make_door(settings: Settings, authentication: Authentication | None, log: Any) -> Door:
    """The door of the public listener."""
    clients, server = settings.clients, settings.server
    return Door(
        authentication=authentication,
        rates=Rates(clients.requests_per_minute, clients.burst, time.monotonic),
        enumeration=Enumeration(clients.unknown_ids, clients.window, time.monotonic),
        cors=Cors(server.cors.origins, max_age=server.cors.max_age),
        standing=_standing(server),
        log=log,
    )


def _standing(server: ServerSettings) -> dict[str, str]:
    """Headers of every answer. Over plain HTTP browsers must not be told to come by TLS (RFC 6797 7.2)."""
    if server.tls is None or server.tls.hsts is None:
        return {}
    return {"Strict-Transport-Security": f"max-age={int(server.tls.hsts)}"}


async def opened_policy(stack: AsyncExitStack, settings: Settings, log: Any) -> Judgement | None:
    """The policy, entered; None where every document is for everybody. Raises `HookError`."""
    policy = settings.policy
    manifests = [name for name, source in settings.sources.items() if isinstance(source.ids, ManifestIds)]
    by_patient = bool(manifests) and "jwt" in settings.auth.chosen
    if not (policy.deny or policy.hook or by_patient):
        # A patient's token is a policy of its own, whose refusals must not show by their time either.
        return None
    hook = None
    if policy.hook is not None:
        hook = await entered(stack, policy.hook, policy.options)
    return Judgement(
        Rules(policy.deny, manifests),
        hook,
        timeout=policy.timeout,
        floor=policy.refusal_time,
        log=log.bind(component="policy"),
    )


def judged_by(ids: Ids, source: str, policy: PolicySettings) -> Ids:
    """`ids` of `source`, whose manifest must have every column that a rule decides by: without it nothing would be denied."""
    if not isinstance(ids, ManifestIds):
        return ids
    wanted = [
        rule.column
        for rule in policy.deny
        if rule.column is not None and (rule.sources is None or source in rule.sources)
    ]
    return ids.model_copy(update={"columns": (*ids.columns, *wanted)}) if wanted else ids


async def opened_certificate(stack: AsyncExitStack, settings: Settings, log: Any) -> Renewal | None:
    """The certificate of the public listener, read; None without TLS. Raises `TlsProblem`."""
    if settings.server.tls is None:
        return None
    from gateway.renewal import Renewal

    renewal = Renewal(settings.server.tls, demand="mtls" not in settings.auth.chosen, log=log)
    stack.callback(renewal.close)
    await renewal.load()
    return renewal


async def opened_tracing(stack: AsyncExitStack, settings: Settings, log: Any) -> Traces | None:
    """What makes traces; None where nobody takes them."""
    if settings.tracing.endpoint is None:
        return None
    traces = await asyncio.to_thread(_traces, settings.tracing, log)
    stack.push_async_callback(traces.close)
    return traces


def _traces(settings: TracingSettings, log: Any) -> Traces:
    """Loads the library, which a gateway without a receiver of traces need not have."""
    from gateway.tracing import Traces

    return Traces(settings, log)


def watched_expiries(stack: AsyncExitStack, settings: Settings) -> Expiries:
    """The watch over the ends of all certificates that the settings name."""
    expiries = Expiries(settings)
    stack.callback(expiries.close)
    stack.callback(asyncio.get_running_loop().create_task(expiries.watch()).cancel)
    return expiries


def make_server(limits: ServerLimits, pipeline: Pipeline) -> HttpServer:
    """The server behind the public listener."""
    return HttpServer(
        pipeline,
        keepalive=limits.keep_alive,
        header_timeout=limits.header_timeout,
        reader_timeout=limits.reader_timeout,
    )


async def opened_listener(
    settings: ServerSettings,
    server: HttpServer,
    pipeline: Pipeline,
    renewal: Renewal | None,
    log: Any,
    *,
    inherited: list[socket.socket] | None = None,
) -> Listener:
    """The public listener, taking connections; on sockets that the process was `inherited`, if any. Raises `OSError`."""
    sockets = await public_sockets(settings) if inherited is None else inherited
    return Listener(
        sockets,
        server,
        allowance(settings),
        log=log,
        context=None if renewal is None else renewal.context,
        refusal=pipeline.crowded(),
        owned=inherited is None,
    )


def allowance(settings: ServerSettings) -> Allowance:
    """The numbers of the public listener."""
    limits = settings.limits
    return Allowance(limits.max_connections, limits.max_connections_per_peer, limits.header_timeout)


async def public_sockets(settings: ServerSettings) -> list[socket.socket]:
    """The sockets that the public listener accepts from. Raises `OSError`."""
    if settings.unix_socket is not None:
        return [listening_at(settings.unix_socket)]
    return await listening_on(settings.host, settings.port)
