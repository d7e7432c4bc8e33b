"""Whether what decides who gets in works: the certificate of the public listener, and a policy of one's own. Values only."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from gateway.cli.mistake import Mistake
from gateway.problems import raised_at, sentence
from gateway.security import certificates, policy
from gateway.security.certificates import Remark
from gateway.security.unusable_tls import TlsProblem
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class EntranceReport:
    """What was found. `remarks` are about certificates that can be used."""

    mistakes: tuple[Mistake, ...] = ()
    remarks: tuple[Remark, ...] = ()


NOTHING = EntranceReport()


async def examine_entrance(settings: Settings) -> EntranceReport:
    """Read the certificate and make the policy, as serving would."""
    mistakes, remarks = await _certificate(settings)
    return EntranceReport((*mistakes, *await _policy(settings)), tuple(remarks))


async def _certificate(settings: Settings) -> tuple[list[Mistake], list[Remark]]:
    if settings.server.tls is None:
        return [], []
    demand = "mtls" not in settings.auth.chosen
    try:
        found = (await asyncio.to_thread(certificates.load, settings.server.tls, demand=demand)).remarks
    except TlsProblem as problem:
        return [Mistake(("server", "tls", problem.option), str(problem), problem.cure)], []
    serious = [Mistake(("server", "tls", one.option), sentence(one.text), one.cure) for one in found if one.serious]
    return serious, [one for one in found if not one.serious]


async def _policy(settings: Settings) -> list[Mistake]:
    if settings.policy.hook is None:
        return []
    try:
        async with AsyncExitStack() as stack:
            await policy.entered(stack, settings.policy.hook, settings.policy.options)
    except policy.HookError as error:
        return [Mistake(("policy", "hook"), sentence(str(error)), error.cure)]
    except Exception as error:
        cure = "It is the policy's own code that fails when the gateway ends: ask its makers."
        return [Mistake(("policy", "hook"), f"It cannot be left ({raised_at(error)}).", cure)]
    return []
