"""What the CapabilityStatement tells of this gateway, out of its settings: profile, address, how access is controlled."""

from __future__ import annotations

from gateway import __version__
from gateway.fhir import Version
from gateway.fhir.capability import CARE_CONNECT_REQUIREMENTS, CapabilityFacts, SecurityService
from gateway.settings import AuthSettings, Settings


def capability_facts(settings: Settings, version: Version, *, versioned: bool) -> CapabilityFacts:
    """What is true of the base of `version`. `versioned`: every source can name versions."""
    profile, public_url = settings.fhir.resolved_profile, settings.fhir.public_url
    return CapabilityFacts(
        software_version=__version__,
        security=_security(settings.auth),
        services=_security_services(settings.auth),
        versioned=versioned,
        base_url=None if public_url is None else public_url + settings.fhir.paths[version],
        description=settings.fhir.description,
        publisher=settings.fhir.publisher,
        accept_unknown=profile.accept_unknown,
        fhir_version=profile.stu3_fhir_version if version is Version.STU3 else None,
        instantiates=(CARE_CONNECT_REQUIREMENTS,) if settings.fhir.profile == "care-connect" else (),
    )


def _security(auth: AuthSettings) -> str:
    """How access is controlled, in a sentence for the CapabilityStatement."""
    words = {
        "none": "No authentication: whoever reaches this listener may read.",
        "jwt": "OAuth 2.0: an access token of a scope such as system/Binary.r in the Authorization header.",
        "mtls": "A client certificate that is on the operators' list, in the TLS handshake.",
        "bearer": "A key that the operators give to each client, as a bearer token in the Authorization header.",
    }
    return " Or: ".join(words[mode] for mode in auth.chosen)


def _security_services(auth: AuthSettings) -> tuple[SecurityService, ...]:
    services: list[SecurityService] = []
    if "jwt" in auth.chosen:
        services.append("OAuth")
    if auth.smart is not None:
        services.append("SMART-on-FHIR")
    return tuple(services)
