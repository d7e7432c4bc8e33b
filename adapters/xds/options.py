"""The options of the xds adapter. Nothing here touches the network or a file; what a repository is like is found by asking it.

Rules of this module: what cannot work is refused here with the cure, also where two options contradict each other, and no
refusal repeats what was written. Identifiers are normalised here once: the rest of the package has them without `urn:oid:`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ByteSize, Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails

from adapters.declaring import wrong
from adapters.xds.identifiers import bare
from adapters.xds.media import is_media_type
from adapters.xds.request import Encoding
from adapters.xds.service_options import Section, Service

Meaning = Literal["not_found", "deleted", "denied", "busy", "unavailable", "failed"]

_identifier = re.compile(r"[!-\]_-~]{1,256}", re.ASCII).fullmatch
_alias = re.compile(r"[A-Za-z0-9-]{1,32}", re.ASCII).fullmatch
_error_code = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,127}", re.ASCII).fullmatch


def _plain_identifier(value: Any) -> Any:
    if not isinstance(value, str):
        raise wrong("This is not an identifier.", 'Write it in quotation marks, as in "1.2.3.4.5".')
    identifier = bare(value)
    if not _identifier(identifier):
        raise wrong("This is not an identifier.", "Write an OID, as in 1.2.3.4.5.")
    return identifier


Identifier = Annotated[str, BeforeValidator(_plain_identifier)]


class Endpoint(Service):
    """One repository, or the gateway of another community."""

    alias: str = Field(description="A short name for log lines and ids: letters, digits and hyphens.", examples=["a"])
    repository_unique_ids: tuple[Identifier, ...] = Field(
        default=(),
        description="The repositoryUniqueIds that this endpoint answers for. May be empty where `home_community_id` is "
        "set: then all of that community's.",
        examples=[["1.2.3.4.5"]],
    )
    home_community_id: Identifier | None = Field(
        default=None, description="The homeCommunityId to send; null in a repository's own community."
    )
    transaction: Literal["iti43", "iti39"] = Field(
        default="iti43",
        description="How documents are asked for: iti43 (RetrieveDocumentSet) for a repository or the own community's "
        "gateway, iti39 (CrossGatewayRetrieve) for the gateway of another community.",
    )
    request_encoding: Encoding = Field(
        default="mtom",
        description="How requests are packed: mtom as IHE demands it, soap12 or soap11 for plain SOAP. Answers are "
        "understood in every form.",
    )
    repository_id_style: Literal["bare", "urn"] = Field(
        default="bare",
        description="How the repositoryUniqueId is written: urn puts `urn:oid:` in front of it, which some gateways want.",
    )
    document_id_style: Literal["as_given", "urn_uuid"] = Field(
        default="as_given",
        description="How a DocumentUniqueId that is a UUID is written: urn_uuid puts `urn:uuid:` in front of small letters.",
    )
    verification: Literal["stream", "spool"] = Field(
        default="stream",
        description="When a document is passed on: stream does so while it comes and breaks off when it turns out damaged; "
        "spool begins only when it is there as a whole and found sound.",
    )
    allow_raw_text: bool = Field(
        default=False,
        description="Whether a document may stand in an answer as XML text in place of base64. Its line ends are then those of "
        "XML, not those that were stored.",
    )
    on_demand: bool = Field(
        default=False,
        description="Whether documents are made anew when they are asked for (on-demand entries). Their bytes differ from "
        "time to time, so nothing is promised about versions.",
    )
    max_document: ByteSize | None = Field(
        default=None, description="The largest document that is accepted; null for any, 1GiB where it is spooled."
    )
    media_types: dict[str, str | None] = Field(
        default_factory=dict,
        description="Corrections of what the repository states: {stated: served}; null means that the statement says "
        "nothing and the bytes decide, as it is for application/octet-stream.",
        examples=[{"text/xml": "application/hl7-v3+xml"}],
    )
    error_map: dict[str, Meaning] = Field(
        default_factory=dict,
        description="What a registry error code of this repository means, where it differs from IHE's list or is not on it.",
        examples=[{"XDSRepositoryError": "not_found"}],
    )

    @field_validator("alias")
    @classmethod
    def _a_name(cls, value: str) -> str:
        if not _alias(value):
            raise wrong("This cannot be an alias.", "Write up to 32 letters, digits and hyphens, as in radiology.")
        return value

    @field_validator("media_types")
    @classmethod
    def _types(cls, values: dict[str, str | None]) -> dict[str, str | None]:
        if not all(map(is_media_type, filter(None, values.values()))):
            raise wrong("A value is not a media type.", "Write it as in application/pdf, or null.")
        return {stated.strip().lower(): served for stated, served in values.items()}

    @field_validator("error_map")
    @classmethod
    def _codes(cls, values: dict[str, Meaning]) -> dict[str, Meaning]:
        if not all(map(_error_code, values)):
            raise wrong("A key is not an error code.", "Write it as the repository does, as in XDSRepositoryError.")
        return values

    @model_validator(mode="after")
    def _reachable(self) -> Endpoint:
        if self.home_community_id is None:
            if self.transaction == "iti39":
                raise wrong("A gateway needs to know its community.", "Add `home_community_id`.")
            if not self.repository_unique_ids:
                raise wrong("No id can lead to this endpoint.", "Add `repository_unique_ids`.")
        return self


class Registry(Service):
    """The registry that knows about the documents of the repositories (ITI-18). It is not needed for reading."""

    use_for: tuple[Literal["stat", "verify", "availability"], ...] = Field(
        default=("stat",),
        description="What it is asked for. stat: HEAD and conditional requests, without reading a document. verify: every "
        "document's size and hash, before it is passed on. availability: whether it was deprecated. What is listed is "
        "relied on: documents cannot be read while a registry that verifies them or tells their availability is away.",
    )
    deprecated: Literal["refuse", "serve"] = Field(
        default="refuse", description="Whether a document that was deprecated is answered as withdrawn, or served."
    )
    request_encoding: Encoding = Field(
        default="soap12", description="How requests are packed; IHE demands plain SOAP 1.2."
    )


class XdsOptions(Section):
    """The options of the xds adapter."""

    endpoints: tuple[Endpoint, ...] = Field(description="The repositories and gateways, one entry each.")
    registry: Registry | None = Field(default=None, description="The registry; null works without one.")
    spool_directory: Path | None = Field(
        default=None,
        description="Where documents wait that are checked before they are passed on (`verification: spool`); null takes "
        "the system's temporary directory. What lies there has no name and is gone with the process.",
    )
    max_open: int | None = Field(
        default=None,
        ge=1,
        description="How many documents may be open at once; null for no limit of the archive's own.",
    )

    @property
    def id_aliases(self) -> dict[str, dict[str, Any]]:
        """What the endpoints' aliases stand for, for id schemes: {alias: {"repositories": (...), "home": ...}}."""
        return {
            endpoint.alias: {"repositories": endpoint.repository_unique_ids, "home": endpoint.home_community_id}
            for endpoint in self.endpoints
        }

    @property
    def opening_times(self) -> list[tuple[float, tuple[str | int, ...], str]]:
        """How long opening a document may take as these options say it: seconds, the option, and what takes so long.

        A default says nothing about this repository, unless a whole document must come before it counts as open.
        """
        return [
            (
                endpoint.timeouts.first_byte,
                ("endpoints", number, *(("timeouts", "first_byte") if said else ("verification",))),
                "the first byte, for which `timeouts.first_byte` allows more,"
                if said
                else "a whole document, which `verification: spool` reads before it is passed on,",
            )
            for number, endpoint in enumerate(self.endpoints)
            if (said := "first_byte" in endpoint.timeouts.model_fields_set) or endpoint.verification == "spool"
        ]

    @model_validator(mode="after")
    def _fits_together(self) -> XdsOptions:
        errors = [
            InitErrorDetails(type=wrong(cause, cure), loc=("endpoints",), input=None)
            for cause, cure in _conflicts(self.endpoints)
        ]
        if errors:
            raise ValidationError.from_exception_data("XdsOptions", errors)
        return self


def _conflicts(endpoints: Sequence[Endpoint]) -> Iterable[tuple[str, str]]:
    if not endpoints:
        yield "There is no endpoint.", "Add one, with `alias`, `url` and `repository_unique_ids`."
        return
    aliases = Counter(endpoint.alias.lower() for endpoint in endpoints)
    if aliases.most_common(1)[0][1] > 1:
        yield "Two endpoints have one alias.", "Give each endpoint an alias of its own."
    places = Counter(
        (endpoint.home_community_id, repository)
        for endpoint in endpoints
        for repository in endpoint.repository_unique_ids or (None,)
    )
    if places.most_common(1)[0][1] > 1:
        yield "Two endpoints answer for one repository.", "Keep its repositoryUniqueId in one of them."
