"""What does not go together across sections of the settings. Pure judgement on models that are right by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.ids import ManifestIds
from gateway.quantities import is_loopback
from gateway.settings.caching import DiskCaching

if TYPE_CHECKING:
    from gateway.settings.audit import AuditSettings
    from gateway.settings.auth import AuthSettings
    from gateway.settings.models import AdminSettings, FhirSettings, SourceSettings
    from gateway.settings.policy import PolicySettings
    from gateway.settings.server import ServerSettings


class Conflict(NamedTuple):
    """Two settings that do not go together; `path` is the key to change."""

    path: tuple[str | int, ...]
    code: str
    cause: str
    cure: str


def conflicts(sections: Mapping[str, Any]) -> Iterator[Conflict]:
    """What does not go together across sections, judged on those that are themselves right."""
    server: ServerSettings | None = sections.get("server")
    admin: AdminSettings | None = sections.get("admin")
    auth: AuthSettings | None = sections.get("auth")
    fhir: FhirSettings | None = sections.get("fhir")
    open_to_all = server and server.unix_socket is None and not is_loopback(server.host)
    if open_to_all and auth and "none" in auth.chosen and not auth.allow_anonymous:
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
    if server and auth:
        yield from _of_certificates(server, auth)
    audit: AuditSettings | None = sections.get("audit")
    if auth and audit and not _anybody(auth) and audit.directory is None and audit.mode != "none":
        cause = "Callers prove who they are, and nothing records what they read."
        cure = "Add `directory: /var/lib/fhir-gateway/audit`; or say `mode: none` where something else keeps the trail."
        yield Conflict(("audit",), "no-audit", cause, cure)
    if (
        server
        and server.unix_socket is None
        and admin
        and server.port == admin.port != 0
        and _overlap(server.host, admin.host)
    ):
        cause = f"Both listeners are to use port {admin.port}."
        yield Conflict(("admin", "port"), "ports", cause, "Give `admin.port` or `server.port` another number.")
    cache = sections.get("cache")
    if server and server.workers > 1 and isinstance(cache, DiskCaching):
        cause = "A cache directory belongs to one process, and `server.workers` is more than one."
        cure = "Keep documents in memory or in Redis, or set `server.workers: 1` and run replicas, each with its directory."
        yield Conflict(("cache", "backend"), "workers", cause, cure)
    policy: PolicySettings | None = sections.get("policy")
    if policy:
        yield from _of_rules(policy, sections.get("sources") or {})
    owners: dict[str, str] = {}
    for name, source in (sections.get("sources") or {}).items():
        owner = owners.setdefault(source.prefix, name)
        if owner != name:
            cause = f"The source `{owner}` has the same prefix, so an id could lead to either."
            yield Conflict(
                ("sources", name, "prefix"), "prefix", cause, "Give one of them another prefix, such as `x.`."
            )
        if server and source.limits.open_timeout >= server.limits.request_timeout:
            cause = "Requests would be given up before this archive has had the time that it may take."
            cure = "Raise `server.limits.request_timeout` above it, or lower it."
            yield Conflict(("sources", name, "limits", "open_timeout"), "deadlines", cause, cure)


def _of_certificates(server: ServerSettings, auth: AuthSettings) -> Iterator[Conflict]:
    """Client certificates need somebody who asks for them and somebody who knows them."""
    if auth.mtls is None:
        return
    forwarded = auth.mtls.forwarded
    if forwarded is None and (server.tls is None or server.tls.client_ca is None):
        cause = "No client can show a certificate: this listener asks for none, and no proxy hands one on."
        cure = "Set `server.tls.client_ca`, or `auth.mtls.forwarded` when a proxy in front checks certificates."
        yield Conflict(("auth", "mtls"), "mtls", cause, cure)
    if forwarded is not None and "unix" in forwarded.peers and server.unix_socket is None:
        cause = "`unix` believes whoever comes by the Unix socket, and there is none."
        yield Conflict(
            ("auth", "mtls", "forwarded", "peers"), "mtls", cause, "Set `server.unix_socket`, or remove `unix`."
        )


def _of_rules(policy: PolicySettings, sources: Mapping[str, SourceSettings]) -> Iterator[Conflict]:
    """A rule that can never hold denies nothing, and nobody would notice."""
    for number, rule in enumerate(policy.deny):
        for name in rule.sources or ():
            if sources and name not in sources:
                cure = f"Name one of {', '.join(sources)}."
                yield Conflict(("policy", "deny", number, "sources"), "rule", f"There is no source `{name}`.", cure)
        about = [sources[name] for name in rule.sources or sources if name in sources]
        if rule.column is not None and about and not any(isinstance(source.ids, ManifestIds) for source in about):
            cause = "No source that this rule is about has a manifest, so none has columns."
            yield Conflict(("policy", "deny", number, "column"), "rule", cause, "Deny by `clients`, or use a manifest.")


def _anybody(auth: Any) -> bool:
    return set(getattr(auth, "modes", None) or (auth.mode,)) <= {"none"}


def _overlap(one: str, other: str) -> bool:
    return one == other or "0.0.0.0" in (one, other) or "::" in (one, other)  # noqa: S104
