"""The settings of a gateway: one frozen model per section, every key with a default, a unit and a sentence.

The models are the only declaration: parsing, environment overrides, the commented sample and the reference page follow
from them. An adapter's options are validated by the adapter's own model and arrive as an instance of it. Keys of things
that are not built do not exist here. No files: reading them is `gateway.settings.load`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from gateway.fhir import Version
from gateway.ids import Ids, SealedIds
from gateway.problems import did_you_mean, sentence
from gateway.protocol.profile import PROFILES, Profile
from gateway.quantities import (
    BasePath,
    Count,
    Duration,
    HeaderValue,
    Host,
    Port,
    PublicUrl,
    Size,
    SourceName,
    wrong,
)
from gateway.settings.audit import AuditSettings
from gateway.settings.auth import AuthSettings
from gateway.settings.caching import Caching, NoCaching
from gateway.settings.conflicts import conflicts
from gateway.settings.policy import ClientSettings, PolicySettings
from gateway.settings.sealing import completed
from gateway.settings.section import Section
from gateway.settings.server import ServerSettings
from gateway.settings.shape import AdapterOptions, adapter_class
from gateway.settings.tracing import TracingSettings


def _rules_model() -> type[BaseModel]:
    """`Profile` as a section, so that each of its answers is a key."""
    hints = get_type_hints(Profile) | {"max_document": Size | None, "cache_control": HeaderValue}
    definitions: dict[str, Any] = {
        field.name: (hints[field.name], Field(default=field.default)) for field in fields(Profile)
    }
    return create_model("Rules", __base__=Section, __module__=__name__, **definitions)


if TYPE_CHECKING:
    Rules = Section
else:
    Rules = _rules_model()


class FhirSettings(Section):
    """What is served as FHIR, and how."""

    bases: dict[Literal["STU3", "R4"], BasePath] = Field(
        default={"STU3": "/STU3", "R4": "/R4"},
        min_length=1,
        description="The path of each FHIR version's base; a version that is left out is not served.",
    )
    public_url: PublicUrl | None = Field(
        default=None,
        description="Where clients reach this service, without a base, as in https://documents.trust.nhs.uk; "
        "references are relative without it. The Host header is never used.",
    )
    profile: Literal["care-connect", "gp-connect", "nrl"] = Field(
        default="care-connect", description="Whose reading of the specifications decides where they disagree."
    )
    rules: Rules = Field(
        default_factory=Rules,
        description='Single answers that differ from the profile. The rows are those of docs/conformance.md, "Where '
        'specifications disagree"; the defaults are the answers of care-connect.',
    )
    publisher: str | None = Field(
        default=None, min_length=1, max_length=200, description="The organisation that the CapabilityStatement names."
    )
    description: str = Field(
        default="Read-only access to the documents of an archive",
        min_length=1,
        max_length=1000,
        description="What the CapabilityStatement says that this installation is.",
    )

    @field_validator("bases")
    @classmethod
    def _apart(cls, bases: dict[str, str]) -> dict[str, str]:
        if len(set(bases.values())) < len(bases):
            raise wrong("bases", "Two FHIR versions have the same path.", "Give each its own, as in /STU3 and /R4.")
        return bases

    @model_validator(mode="after")
    def _consistent(self) -> FhirSettings:
        try:
            self.resolved_profile  # noqa: B018
        except ValueError as error:
            cure = f"Change `rules` so that they agree with each other and with the profile {self.profile!r}."
            found = wrong("rules", f"The rules contradict each other: {error}.", cure)
            raise ValidationError.from_exception_data(
                "fhir", [InitErrorDetails(type=found, loc=("rules",), input=None)]
            ) from None
        return self

    @cached_property
    def resolved_profile(self) -> Profile:
        """The profile with the single answers of `rules` put in."""
        chosen = {name: getattr(self.rules, name) for name in self.rules.model_fields_set}
        return replace(PROFILES[self.profile], **chosen) if chosen else PROFILES[self.profile]

    @cached_property
    def paths(self) -> Mapping[Version, str]:
        """The path of each base that is served."""
        return {Version[name]: path for name, path in self.bases.items()}


class AdminSettings(Section):
    """The listener for probes. Keep it away from clients: in Kubernetes 0.0.0.0 behind a NetworkPolicy."""

    host: Host = Field(default="127.0.0.1", description="The address to listen on.")
    port: Port = Field(default=8081, description="The TCP port; 0 lets the system pick a free one.")


class ReloadSettings(Section):
    """How a running gateway learns of a changed configuration; SIGHUP and `fhir-gateway reload` always tell it."""

    watch: Duration | None = Field(
        default=None,
        description="How often to look whether the configuration file has changed. A change is read when the file looked the "
        "same twice. null does not look.",
    )


class SpoolSettings(Section):
    """Where bytes wait whose number must be known before the first of them is sent. Files there have no name."""

    directory: Path | None = Field(
        default=None, description="The directory for temporary files; null is the system's (TMPDIR, else /tmp)."
    )
    memory: Size = Field(default=1 << 20, description="Up to this size a document waits in memory instead.")
    max_bytes: Size = Field(default=2 << 30, description="How much may wait at once, in memory and files together.")


class LogSettings(Section):
    """What is written to standard error: one line per request, without patient data."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is logged.")
    format: Literal["auto", "json", "console"] = Field(
        default="auto",
        description="The form of a line: json for machines, console for people, auto for console on a terminal and "
        "json elsewhere.",
    )
    key_file: Path | None = Field(
        default=None,
        description="A file with 32 random bytes (raw, hex or base64) that turn ids into the pseudonyms of log lines; "
        "without it pseudonyms change with every start.",
    )


class SourceLimits(Section):
    """How much is asked of one archive, and how long it is waited for."""

    max_open: Count = Field(default=64, description="How many documents may be open at once.")
    max_queued: Count = Field(
        default=256,
        description="How many requests may wait for one of these places; the next one is told at once to come back.",
    )
    queue_timeout: Duration = Field(
        default=2.0,
        description="How long a request waits for one of these places before it is told to come back. When the queue has not "
        "been empty for as long, the newest requests go first and nobody waits for more than a quarter of a second.",
    )
    open_timeout: Duration = Field(default=5.0, description="How long opening a document may take.")
    idle_timeout: Duration = Field(default=10.0, description="How long an open document may send nothing.")
    repair_timeout: Duration = Field(
        default=10.0,
        description="How long a read that broke off in the middle is tried anew before its readers are told; where they share "
        "a read (`read`).",
    )
    breaker_failures: Count = Field(
        default=5,
        description="After how many failures in a row the archive, or the one server of it that fails, is not asked for a "
        "while: requests are then refused at once. Failures are: it could not be reached, or did not answer in `open_timeout`.",
    )
    breaker_pause: Duration = Field(
        default=5.0,
        description="How long it is not asked; then one request at a time finds out whether it is back.",
    )


class SourceSettings(Section):
    """One archive."""

    adapter: str = Field(
        description="The kind of archive; `fhir-gateway adapters` lists them.", examples=["filesystem"]
    )
    prefix: str = Field(
        default="",
        description="What the ids of this source begin with; the longest prefix that fits decides. One source may have "
        "none. Letters, digits, hyphens and dots.",
    )
    ids: Ids = Field(
        description="How the rest of an id leads to a document.", examples=[{"scheme": "template", "pattern": "{id}.*"}]
    )
    options: Annotated[Any, AdapterOptions()] = Field(
        default_factory=dict, validate_default=True, description="What the adapter needs to know."
    )
    read: Literal["auto", "direct", "fill"] = Field(
        default="auto",
        description="How bytes reach the reader. direct: each reader has its own read of the archive. fill: one read of the "
        "archive serves all who ask meanwhile, whatever their pace, and is mended when it breaks. auto: direct for folders of "
        "this machine's own disks, fill for all others.",
    )
    cache: bool | None = Field(
        default=None,
        description="Whether documents of this source may be kept in `cache`; those that are read directly never are. Without "
        "this key they are kept when the archive can tell whether one has changed, or never changes one.",
    )
    limits: SourceLimits = Field(default=SourceLimits(), description="How much, and how long.")

    @field_validator("adapter")
    @classmethod
    def _installed(cls, adapter: str) -> str:
        from adapters import registry
        from adapters.errors import OptionError

        try:
            adapter_class(adapter)
        except OptionError as error:
            known = [*registry.available()]
            if adapter not in known:
                cure = did_you_mean(adapter, known, what="adapter")
                raise wrong("adapter", "There is no adapter of this name.", cure) from None
            raise wrong("extra", sentence(error.detail), sentence(error.cure or "Install the adapter.")) from None
        return adapter

    @field_validator("prefix")
    @classmethod
    def _of_ids(cls, prefix: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9.-]{0,63}", prefix, re.ASCII):
            cure = "Write up to 63 letters, digits, hyphens and dots, as in `x.`."
            raise wrong("prefix", "No id can begin with this prefix.", cure)
        return prefix

    @field_validator("options")
    @classmethod
    def _of_the_adapter(cls, options: Any, info: ValidationInfo) -> Any:
        adapter = info.data.get("adapter")
        if adapter is None or isinstance(options, BaseModel):
            return options
        return adapter_class(adapter).Options.model_validate(options)

    @model_validator(mode="after")
    def _can_seal(self) -> SourceSettings:
        if isinstance(self.ids, SealedIds):
            # The model is frozen for everybody else, and has not been seen by anybody yet.
            object.__setattr__(self, "ids", completed(self.ids, self.prefix, self.options))
        return self

    @property
    def adapter_options(self) -> Any:
        """The options as the adapter's own model."""
        return self.options

    @cached_property
    def epoch(self) -> str:
        """What stands for this archive among the keys of the cache: another archive of this name has another one."""
        options = self.options.model_dump_json() if isinstance(self.options, BaseModel) else repr(self.options)
        return hashlib.sha256(f"{self.adapter}\n{options}".encode()).hexdigest()[:16]


class Settings(Section):
    """The whole configuration."""

    server: ServerSettings = Field(default=ServerSettings(), description="The public listener.")
    fhir: FhirSettings = Field(default_factory=FhirSettings, description="What is served as FHIR.")
    auth: AuthSettings = Field(description="Who may ask.", examples=[{"mode": "none"}])
    policy: PolicySettings = Field(default=PolicySettings(), description="Which documents a caller may see.")
    clients: ClientSettings = Field(default=ClientSettings(), description="How much one client may ask.")
    cache: Caching = Field(default=NoCaching(), description="Where documents are kept for the next reader.")
    audit: AuditSettings = Field(default=AuditSettings(), description="The trail of who read what.")
    admin: AdminSettings = Field(default=AdminSettings(), description="The listener for probes.")
    reload: ReloadSettings = Field(default=ReloadSettings(), description="Reading the configuration again.")
    tracing: TracingSettings = Field(default=TracingSettings(), description="Traces for OpenTelemetry.")
    spool: SpoolSettings = Field(default=SpoolSettings(), description="Temporary files.")
    log: LogSettings = Field(default=LogSettings(), description="Log lines.")
    sources: dict[SourceName, SourceSettings] = Field(
        min_length=1,
        description="The archives, each under a name of its own (small letters, digits and hyphens).",
        examples=[
            {
                "letters": {
                    "adapter": "filesystem",
                    "ids": {"scheme": "template", "pattern": "{id}.*"},
                    "options": {"root": "/srv/letters"},
                }
            }
        ],
    )

    @property
    def dialect(self) -> Literal["smart", "nhs"]:
        """How tokens say what is allowed, where their issuer's settings do not tell."""
        return "smart" if self.fhir.profile == "care-connect" else "nhs"

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        errors = [
            InitErrorDetails(type=wrong(found.code, found.cause, found.cure), loc=found.path, input=None)
            for found in conflicts({name: getattr(self, name) for name in type(self).model_fields})
        ]
        if errors:
            raise ValidationError.from_exception_data("Settings", errors)
        return self
