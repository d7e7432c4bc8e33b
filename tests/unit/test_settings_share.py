"""What one of several workers has of the settings, and what a running gateway cannot change."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.settings import Settings
from gateway.settings.fixed import fixed_changes
from gateway.settings.share import share_of


def settings(**more: Any) -> Settings:
    source = {"adapter": "memory", "ids": {"scheme": "template", "pattern": "{id}"}}
    whole = {"auth": {"mode": "none"}, "cache": {"backend": "memory", "max_bytes": 1000}, "sources": {"a": source}}
    return Settings.model_validate(whole | more)


def test_numbers_that_bound_the_gateway_are_divided_and_never_less_than_one() -> None:
    whole = settings(server={"limits": {"max_connections": 10}}, spool={"max_bytes": 5})
    part = share_of(whole, 4)
    assert part.server.limits.max_connections == 3
    assert part.sources["a"].limits.max_open == 16
    assert (part.spool.max_bytes, part.cache.max_bytes) == (2, 250)  # type: ignore[union-attr]
    assert share_of(whole, 64).server.limits.max_connections == 1
    assert share_of(whole, 1) is whole
    assert (part.auth, part.fhir, part.server.port) == (whole.auth, whole.fhir, whole.server.port)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"server": {"host": "127.0.0.2"}}, ("server", "host")),
        ({"server": {"workers": 2}}, ("server", "workers")),
        ({"server": {"unix_socket": "/run/gateway.sock"}}, ("server", "unix_socket")),
        ({"server": {"tls": {"certificate": "/x"}}}, ("server", "tls")),
        ({"audit": {"directory": "/var/lib/a"}}, ("audit", "directory")),
        ({"log": {"format": "json"}}, ("log", "format")),
    ],
)
def test_what_is_bound_or_opened_once_is_told_with_its_key(change: dict[str, Any], key: tuple[str, ...]) -> None:
    ((found, cause, cure),) = fixed_changes(settings(), settings(**change))
    assert found == key
    assert cause == "This cannot change while the gateway runs."
    assert cure.startswith("Restart the gateway, or put back")


def test_all_else_may_change() -> None:
    new = settings(
        server={"limits": {"drain": "7s", "max_connections": 5}, "cors": {"origins": ["https://a.test"]}},
        cache={"backend": "none"},
        log={"level": "debug"},
        clients={"burst": 7},
        reload={"watch": "5s"},
    )
    assert [*fixed_changes(settings(), new)] == []
