"""What does not go together across sections of the settings. Pure judgement on models that are right by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.quantities import is_loopback

if TYPE_CHECKING:
    from gateway.settings.audit import AuditSettings
    from gateway.settings.auth import AuthSettings
    from gateway.settings.models import AdminSettings, FhirSettings, ServerSettings


class Conflict(NamedTuple):
    """Two settings that do not go together; `path` is the key to change."""

    path: tuple[str, ...]
    code: str
    cause: str
    cure: str


def conflicts(sections: Mapping[str, Any]) -> Iterator[Conflict]:
    """What does not go together across sections, judged on those that are themselves right."""
    server: ServerSettings | None = sections.get("server")
    admin: AdminSettings | None = sections.get("admin")
    auth: AuthSettings | None = sections.get("auth")
    fhir: FhirSettings | None = sections.get("fhir")
    if server and auth and "none" in auth.chosen and not auth.allow_anonymous and not is_loopback(server.host):
        cause = "With `auth.mode` none anybody who reaches this address could read every document."
        cure = (
            "Choose another `auth.mode`, or listen on 127.0.0.1; or, when something in front decides who may ask, say "
            "`auth.allow_anonymous: true`."
        )
        yield Conflict(("server", "host"), "anonymous", cause, cure)
    if fhir and auth and auth.smart and fhir.public_url is None:
        cause = "SMART clients name the address of this service when they ask for a token, and it is not known here."
        yield Conflict(
            ("fhir", "public_url"), "smart", cause, "Add `public_url`, as in https://documents.trust.nhs.uk."
        )
    audit: AuditSettings | None = sections.get("audit")
    if auth and audit and not _anybody(auth) and audit.directory is None and audit.mode != "none":
        cause = "Callers prove who they are, and nothing records what they read."
        cure = "Add `directory: /var/lib/fhir-gateway/audit`; or say `mode: none` where something else keeps the trail."
        yield Conflict(("audit",), "no-audit", cause, cure)
    if server and admin and server.port == admin.port != 0 and _overlap(server.host, admin.host):
        cause = f"Both listeners are to use port {admin.port}."
        yield Conflict(("admin", "port"), "ports", cause, "Give `admin.port` or `server.port` another number.")
    owners: dict[str, str] = {}
    for name, source in (sections.get("sources") or {}).items():
        owner = owners.setdefault(source.prefix, name)
        if owner != name:
            cause = f"The source `{owner}` has the same prefix, so an id could lead to either."
            yield Conflict(
                ("sources", name, "prefix"), "prefix", cause, "Give one of them another prefix, such as `x.`."
            )


def _anybody(auth: Any) -> bool:
    return set(getattr(auth, "modes", None) or (auth.mode,)) <= {"none"}


def _overlap(one: str, other: str) -> bool:
    return one == other or "0.0.0.0" in (one, other) or "::" in (one, other)  # noqa: S104
