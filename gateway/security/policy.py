"""May this caller see this document: the seam for a trust's own rules of consent, sensitivity and embargo.

A policy is asked once an id has led to a place in an archive, and before anything is looked at there: before the cache, the
archive, any byte, and before "withdrawn". `PERMIT` is the one answer that lets a read go on. Whatever else comes back, an
exception and a deadline that passes are denials. A document that is denied is answered exactly like one that does not exist.

A policy of your own is a class below `Policy`, named in `policy.hook`; docs/policy.md has one to begin with.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from gateway.problems import raised_at
from gateway.routing import Location
from gateway.security import Identity

GROUP = "fhir_gateway.policies"
"""The entry points that `policy.hook` may name."""

_is_reason = re.compile(r"[a-z][a-z0-9 -]{0,59}").fullmatch


@dataclass(frozen=True, slots=True)
class Access:
    """One read that is to be judged.

    `interaction` is `read` or `vread`. `location` says what the index of the archive knows: its `attributes` are the further
    columns of the manifest, its `patient` whose document it is; both may be patient data, and so may `id`, which is why the
    representation shows none of them. `withdrawn` means that the answer to a permitted read would be "gone".
    """

    identity: Identity
    interaction: str
    source: str
    id: str = field(repr=False)
    location: Location = field(repr=False)
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says. `reason` is a few small letters for the log and the audit trail, never patient data."""

    permit: bool
    reason: str = ""


PERMIT: Final = Verdict(True)


def deny(reason: str) -> Verdict:
    """A denial, as in `deny("consent")`."""
    return Verdict(False, reason)


class Policy(ABC):
    """Judges reads. One object serves all requests at once; `decide` runs on the event loop and must not block it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """`options` are those of `policy.options`. Raises `ValueError` with a sentence when they cannot work. No I/O."""
        self.options = options

    async def __aenter__(self) -> Self:
        """Open what `decide` needs, such as a connection. What this raises keeps the gateway from starting."""
        return self

    async def __aexit__(  # noqa: B027 # most policies have nothing to give back
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""

    @abstractmethod
    async def decide(self, access: Access) -> Verdict:
        """`PERMIT`, or a denial with its reason."""


class HookError(Exception):
    """`policy.hook` names nothing that can be used; the text says why, `cure` what to do."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cure = cure


def load(name: str, options: Mapping[str, Any]) -> Policy:
    """The policy that `name` stands for: `package.module:Class`, or an entry point of `GROUP`. Raises `HookError`."""
    found = _imported(name) if ":" in name else _entry_point(name)
    if not (isinstance(found, type) and issubclass(found, Policy)):
        raise HookError(
            "it is not a class below gateway.security.policy.Policy", "Name a class that derives from Policy."
        )
    try:
        return found(options)
    except TypeError as error:
        raise HookError(
            f"it cannot be made ({error})", "Implement `decide`, and take `options` in `__init__`."
        ) from error
    except ValueError as error:
        raise HookError(f"its options cannot work: {error}", "Correct `policy.options`.") from error


async def entered(stack: AsyncExitStack, name: str, options: Mapping[str, Any]) -> Policy:
    """The policy that `name` stands for, entered on `stack`. Raises `HookError`, whatever its own code raises."""
    policy = load(name, options)
    try:
        return await stack.enter_async_context(policy)
    except Exception as error:
        cure = "It is the policy's own code that fails, so that the gateway does not start: ask its makers."
        raise HookError(f"it cannot be entered ({raised_at(error)})", cure) from error


def _imported(name: str) -> object:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        cure = "Install the package beside the gateway, or put its directory into PYTHONPATH."
        raise HookError(f"its module cannot be imported ({type(error).__name__}: {error})", cure) from error
    except AttributeError as error:
        raise HookError("its module has nothing of this name", "Correct the word behind the colon.") from error
    except Exception as error:
        # A module of somebody's may fail to import in any way.
        raise HookError(
            f"its module fails while it is imported ({raised_at(error)})", "Correct that module."
        ) from error


def _entry_point(name: str) -> object:
    points = importlib.metadata.entry_points(group=GROUP)
    if name not in points.names:
        known = ", ".join(sorted(points.names)) or "none"
        raise HookError(f"no entry point of {GROUP} has this name; installed: {known}", "Write `package.module:Class`.")
    try:
        return points[name].load()
    except (ImportError, AttributeError) as error:
        raise HookError(f"its entry point cannot be loaded ({error})", "Install the package anew.") from error


async def judged(policy: Policy, access: Access, *, timeout: float, log: Any) -> Verdict:
    """What `policy` says, within `timeout` seconds; anything but a verdict is a denial, and an operator is told."""
    try:
        async with asyncio.timeout(timeout):
            verdict = await policy.decide(access)
    except TimeoutError:
        log.error("policy took too long, the read was denied", source=access.source, limit=timeout)
        return deny("policy timeout")
    except Exception as error:
        # Only its class: an exception of somebody's consent service may quote a patient.
        log.error("policy failed, the read was denied", source=access.source, error=type(error).__name__)
        return deny("policy failed")
    if not isinstance(verdict, Verdict) or not isinstance(verdict.permit, bool):
        log.error("policy gave no verdict, the read was denied", source=access.source, error=type(verdict).__name__)
        return deny("policy failed")
    if verdict.permit or _is_reason(verdict.reason):
        return verdict
    return deny("policy")
