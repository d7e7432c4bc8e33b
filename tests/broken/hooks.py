"""Policies that fail, each in another way."""

from __future__ import annotations

from typing import Self

from gateway.security.policy import PERMIT, Access, Policy, Verdict


class Permitting(Policy):
    """Lets everybody read."""

    async def decide(self, access: Access) -> Verdict:
        return PERMIT


class FailingToEnter(Permitting):
    """Its service is away, or it has a defect."""

    async def __aenter__(self) -> Self:
        raise KeyError("patient 9434765919")
