"""The settings of what a caller may see, and how much it may ask.

Declarations and judgement on values alone. What the rules mean is `gateway.security.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from gateway.quantities import Count, Duration, SourceName, wrong
from gateway.settings.section import Section


class DenyRule(Section):
    """Documents that are not shown. All conditions that a rule names must hold; one rule that holds is enough."""

    sources: tuple[SourceName, ...] | None = Field(
        default=None, description="The sources that the rule is about; null is all of them."
    )
    clients: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="The clients that the rule is about; null is all of them."
    )
    except_clients: tuple[str, ...] = Field(default=(), description="Clients that the rule is not about.")
    column: str | None = Field(
        default=None,
        min_length=1,
        description="A further column of the manifest that decides, together with `values` or `unless`. Every manifest that "
        "the rule is about must have it.",
    )
    values: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Deny documents whose column has one of these values; case and blanks around do not count.",
    )
    unless: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Deny documents whose column has none of these values; an empty field has none.",
    )

    @model_validator(mode="after")
    def _complete(self) -> DenyRule:
        if (self.column is None) != (self.values is None and self.unless is None):
            cause = "A column decides by its values, and values are those of a column."
            raise wrong("rule", cause, "Give `column` together with `values` or `unless`.")
        if self.values is not None and self.unless is not None:
            raise wrong("rule", "`values` and `unless` are both given.", "Make two rules of it.")
        if self.column is None and self.sources is None and self.clients is None:
            cause = "This rule would deny every document to everybody."
            raise wrong("rule", cause, "Name `sources`, `clients` or a `column`.")
        return self


class PolicySettings(Section):
    """Which documents a caller may see. A document that is denied is answered exactly like one that does not exist."""

    deny: tuple[DenyRule, ...] = Field(
        default=(), description="Rules that deny; without any, nothing is denied by rule."
    )
    hook: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][\w.-]*(:[A-Za-z_]\w*)?$",
        description="A policy of your own, asked when no rule denies: `package.module:Class`, or the name of an entry point "
        "of the group `fhir_gateway.policies`.",
    )
    options: Mapping[str, Any] = Field(default={}, description="What that policy is made with.")
    timeout: Duration = Field(
        default=2.0, description="How long that policy may take; one that takes longer, or fails, denies."
    )
    refusal_time: Duration | None = Field(
        default=0.05,
        description='How long an answer "no such document" takes at least where there is a policy, so that its time does not '
        "tell a document that is denied from one that does not exist; null answers at once.",
    )


class ClientSettings(Section):
    """How much one client may ask: one that proved who it is, else one address (of IPv6 one /64 network)."""

    requests_per_minute: Count | None = Field(
        default=None, description="How many requests a minute in the long run; null is no limit. More are answered 429."
    )
    burst: Count = Field(default=60, description="How many requests may come at once before the limit is felt.")
    unknown_ids: Count | None = Field(
        default=50,
        description="How many ids that lead to no document one client may ask for within `window` before a warning is "
        "logged: somebody may be guessing. null logs none.",
    )
    window: Duration = Field(default=60.0, description="The time that they are counted in.")
