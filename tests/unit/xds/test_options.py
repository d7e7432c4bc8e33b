"""What an operator may write for an xds source, and the sentence for what cannot work."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from adapters.xds import XdsOptions

ENDPOINT: dict[str, Any] = {
    "alias": "a",
    "url": "https://xds.trust.local/repository",
    "repository_unique_ids": ["1.2.3.4.5"],
}


def options(*endpoints: dict[str, Any], **more: Any) -> XdsOptions:
    """Options with these endpoints, each with what `ENDPOINT` has besides; None takes a key away."""
    given = [{key: value for key, value in (ENDPOINT | one).items() if value is not None} for one in endpoints or ({},)]
    return XdsOptions.model_validate({"endpoints": given} | more)


def refusal(*endpoints: dict[str, Any], **more: Any) -> tuple[tuple[int | str, ...], str]:
    """The key and the words with which `options` refuses."""
    with pytest.raises(ValidationError) as refused:
        options(*endpoints, **more)
    [finding] = refused.value.errors()
    assert "secret" not in str(refused.value)
    return finding["loc"], finding["msg"]


def test_the_least_has_safe_defaults() -> None:
    least = options()
    [endpoint] = least.endpoints
    assert (endpoint.transaction, endpoint.request_encoding, endpoint.verification) == ("iti43", "mtom", "stream")
    assert endpoint.ws_addressing == ("action", "message_id", "to", "reply_to")
    assert (endpoint.must_understand, endpoint.allow_http, endpoint.saml) == (True, False, None)
    assert (endpoint.on_demand, endpoint.allow_raw_text) == (False, False)
    assert (endpoint.timeouts.connect, endpoint.timeouts.first_byte, endpoint.timeouts.between_bytes) == (5, 60, 30)
    assert least.registry is None


def test_the_example_of_the_design() -> None:
    given = XdsOptions.model_validate(
        {
            "endpoints": [
                {
                    "alias": "a",
                    "url": "https://xds.trust.local/repository",
                    "repository_unique_ids": ["1.2.3.4.5"],
                    "home_community_id": None,
                    "request_encoding": "mtom",
                    "tls": {"ca": "/ca.pem", "certificate": "/client.pem", "key": "/client.key"},
                }
            ],
            "registry": {"url": "https://xds.trust.local/registry", "use_for": ["stat"]},
        }
    )
    assert given.registry is not None
    assert given.registry.use_for == ("stat",)


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"repository_unique_ids": ["urn:oid:1.2.3"]}, "repository_unique_ids", ("1.2.3",)),
        ({"repository_unique_ids": [" URN:OID:urn:oid:1.2.3 "]}, "repository_unique_ids", ("1.2.3",)),
        ({"home_community_id": "urn:oid:2.16.1"}, "home_community_id", "2.16.1"),
        ({"home_community_id": "2.16.1", "repository_unique_ids": None}, "repository_unique_ids", ()),
        ({"ws_addressing": []}, "ws_addressing", ()),
        ({"ws_addressing": ["to", "action", "to"]}, "ws_addressing", ("to", "action")),
        ({"url": "http://127.0.0.1:8080/x"}, "url", "http://127.0.0.1:8080/x"),
        ({"url": "http://[::1]/x"}, "url", "http://[::1]/x"),
        ({"url": "http://xds.local/x", "allow_http": True}, "url", "http://xds.local/x"),
        ({"url": "https://xds.local:8443/x/y?wsdl=no"}, "url", "https://xds.local:8443/x/y?wsdl=no"),
        ({"max_document": "300MiB"}, "max_document", 300 << 20),
        (
            {"media_types": {" Text/XML": "application/hl7-v3+xml"}},
            "media_types",
            {"text/xml": "application/hl7-v3+xml"},
        ),
        ({"media_types": {"application/pdf": None}}, "media_types", {"application/pdf": None}),
        ({"error_map": {"XDSRepositoryError": "not_found"}}, "error_map", {"XDSRepositoryError": "not_found"}),
    ],
)
def test_options_as_people_write_them(given: dict[str, Any], name: str, value: object) -> None:
    assert getattr(options(given).endpoints[0], name) == value


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"url": "ftp://secret/x"}, "url", "not the address of a service"),
        ({"url": "https://user:secret@xds/x"}, "url", "without user, password"),
        ({"url": "https://xds/x y"}, "url", "not the address"),
        ({"url": "https://xds/x#secret"}, "url", "not the address"),
        ({"url": "https://xds/\r\nX: secret"}, "url", "not the address"),
        ({"url": "https://xds:65536/x"}, "url", "not the address"),
        ({"url": "https://xds:0/x"}, "url", "not the address"),
        ({"wsa_to": "https://secret\x01/x"}, "wsa_to", "a character that XML does not have"),
        ({"url": "http://xds.secret.local/x"}, None, "Use the service's https address"),
        ({"alias": "a b"}, "alias", "letters, digits and hyphens"),
        ({"alias": ""}, "alias", "letters, digits and hyphens"),
        ({"repository_unique_ids": ["1.2 3"]}, "repository_unique_ids", "Write an OID"),
        ({"repository_unique_ids": [1.2]}, "repository_unique_ids", "in quotation marks"),
        ({"repository_unique_ids": ["1^2"]}, "repository_unique_ids", "Write an OID"),
        ({"repository_unique_ids": None}, None, "Add `repository_unique_ids`"),
        ({"transaction": "iti39"}, None, "Add `home_community_id`"),
        ({"transaction": "iti41"}, "transaction", "'iti43' or 'iti39'"),
        ({"timeouts": {"connect": 5}}, "timeouts", "as in 5s"),
        ({"timeouts": {"connect": "0s"}}, "timeouts", "greater than 0"),
        ({"tls": {"key": "/secret.key"}}, "tls", "There is a private key and no certificate"),
        ({"media_types": {"text/xml": "text/xml\r\nX: secret"}}, "media_types", "not a media type"),
        ({"error_map": {"a b": "busy"}}, "error_map", "not an error code"),
        ({"verifycation": "spool"}, "verifycation", "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_work_is_refused_with_the_cure(given: dict[str, Any], key: str | None, words: str) -> None:
    place, text = refusal(given)
    assert words in text
    assert place[:2] == ("endpoints", 0)
    assert place[2:3] == (() if key is None else (key,))


def test_two_endpoints_may_not_answer_for_one_repository() -> None:
    assert "Two endpoints answer for one repository" in refusal({}, {"alias": "b"})[1]
    assert "one alias" in refusal({}, {"alias": "A", "repository_unique_ids": ["1.2.9"]})[1]
    community = {"home_community_id": "2.16.1", "repository_unique_ids": None}
    assert "Two endpoints answer" in refusal(community, community | {"alias": "b"})[1]


def test_one_repository_id_may_exist_in_two_communities() -> None:
    both = options({"home_community_id": "2.16.1"}, {"home_community_id": "2.16.2", "alias": "b"})
    assert len(both.endpoints) == 2


def test_ids_may_use_the_aliases_of_endpoints() -> None:
    both = options({}, {"alias": "b", "home_community_id": "2.16.1", "repository_unique_ids": None})
    assert both.id_aliases == {
        "a": {"repositories": ("1.2.3.4.5",), "home": None},
        "b": {"repositories": (), "home": "2.16.1"},
    }


def test_there_is_at_least_one_endpoint() -> None:
    with pytest.raises(ValidationError, match="There is no endpoint"):
        XdsOptions.model_validate({"endpoints": []})


def test_a_registry_is_no_safer_over_the_open_network() -> None:
    place, text = refusal({}, registry={"url": "http://registry.secret.local/x"})
    assert place == ("registry",)
    assert "unencrypted" in text
