"""Requests as a repository sees them: every packing, read by parsers that the product does not use for it."""

from __future__ import annotations

import email
import email.policy
import re
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from adapters.xds.request import (
    ADDRESSING,
    SECURITY,
    SOAP11,
    SOAP12,
    Message,
    Packing,
    element,
    message,
    new_message_id,
)
from adapters.xds.transactions import DocumentRequest, get_documents, retrieve

ACTION = "urn:ihe:iti:2007:RetrieveDocumentSet"
WSA = f"{{{ADDRESSING}}}"
XDSB = "{urn:ihe:iti:xds-b:2007}"
BODY = retrieve(DocumentRequest(None, "1.2.3.4.5", "1.2.3.4.5.6^7"))

ASSERTION = (
    b"<saml2:Assertion  xmlns:saml2=\"urn:oasis:names:tc:SAML:2.0:assertion\"\n ID='_1'><!-- kept --><saml2:Issuer>"
    b"t\xc3\xadta &#65;</saml2:Issuer></saml2:Assertion >"
)


def sent(
    packing: Packing, *, assertion: bytes | None = None, to: str = "https://host/service", id: str = "urn:x:1"
) -> Message:
    return message(packing, action=ACTION, to=to, body=BODY, id=id, assertion=assertion)


def envelope_of(sent: Message) -> bytes:
    """The envelope, by the standard library's MIME parser where it is in a package."""
    if not sent.content_type.startswith("multipart"):
        return sent.body
    head = f"Content-Type: {sent.content_type}\r\n\r\n".encode()
    package = email.message_from_bytes(head + sent.body, policy=email.policy.HTTP)
    assert isinstance(package, EmailMessage)
    assert not package.defects
    [root] = package.iter_parts()
    assert root["Content-ID"] == package.get_param("start")
    payload = root.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


def test_mtom_is_a_package_of_one_part() -> None:
    made = sent(Packing("mtom"))
    assert made.soap_action is None
    assert 'type="application/xop+xml"' in made.content_type
    assert 'start-info="application/soap+xml"' in made.content_type
    assert f'action="{ACTION}"' in made.content_type
    assert etree.fromstring(envelope_of(made)).tag == f"{{{SOAP12}}}Envelope"


def test_plain_soap_12_carries_the_action_in_its_media_type() -> None:
    made = sent(Packing("soap12"))
    assert made.content_type == f'application/soap+xml; charset=UTF-8; action="{ACTION}"'
    assert made.soap_action is None
    assert etree.fromstring(made.body).tag == f"{{{SOAP12}}}Envelope"


def test_plain_soap_11_carries_the_action_in_a_field_of_its_own() -> None:
    made = sent(Packing("soap11"))
    assert made.content_type == "text/xml; charset=UTF-8"
    assert made.soap_action == f'"{ACTION}"'
    assert etree.fromstring(made.body).tag == f"{{{SOAP11}}}Envelope"


@pytest.mark.parametrize("encoding", ["mtom", "soap12", "soap11"])
def test_the_body_is_the_same_in_every_packing(encoding: str) -> None:
    root = etree.fromstring(envelope_of(sent(Packing(encoding))))  # type: ignore[arg-type]
    [request] = root.findall(f".//{XDSB}DocumentRequest")
    assert [child.tag.removeprefix(XDSB) for child in request] == ["RepositoryUniqueId", "DocumentUniqueId"]
    assert [child.text for child in request] == ["1.2.3.4.5", "1.2.3.4.5.6^7"]


def test_all_addressing_headers() -> None:
    header = etree.fromstring(sent(Packing("soap12"), to="https://host/x?a=1&b=2").body)[0]
    said = {child.tag.removeprefix(WSA): "".join(child.itertext()) for child in header}
    assert said == {
        "Action": ACTION,
        "MessageID": "urn:x:1",
        "ReplyTo": "http://www.w3.org/2005/08/addressing/anonymous",
        "To": "https://host/x?a=1&b=2",
    }
    assert header[0].get(f"{{{SOAP12}}}mustUnderstand") == "1"


@pytest.mark.parametrize("left", ["action", "message_id", "to", "reply_to"])
def test_each_addressing_header_can_be_left_out(left: str) -> None:
    every = ("action", "message_id", "to", "reply_to")
    packing = Packing("soap12", tuple(name for name in every if name != left))  # type: ignore[misc]
    names = {child.tag.removeprefix(WSA) for child in etree.fromstring(sent(packing).body)[0]}
    every_name = {"action": "Action", "message_id": "MessageID", "to": "To", "reply_to": "ReplyTo"}
    assert names == {name for key, name in every_name.items() if key != left}


def test_without_any_header_there_is_no_header_element() -> None:
    root = etree.fromstring(sent(Packing("soap12", ())).body)
    assert [child.tag for child in root] == [f"{{{SOAP12}}}Body"]


@pytest.mark.parametrize("encoding", ["mtom", "soap12", "soap11"])
def test_must_understand_can_be_switched_off(encoding: str) -> None:
    packing = Packing(encoding, must_understand=False)  # type: ignore[arg-type]
    assert b"mustUnderstand" not in sent(packing, assertion=ASSERTION).body
    assert sent(Packing(encoding), assertion=ASSERTION).body.count(b'soap:mustUnderstand="1"') == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["mtom", "soap12", "soap11"])
def test_an_assertion_is_spliced_byte_for_byte(encoding: str) -> None:
    made = sent(Packing(encoding), assertion=ASSERTION)  # type: ignore[arg-type]
    xml = envelope_of(made)
    assert xml.count(ASSERTION) == 1
    security = etree.fromstring(xml).find(f".//{{{SECURITY}}}Security")
    assert security is not None
    [inside] = security
    assert inside.tag == "{urn:oasis:names:tc:SAML:2.0:assertion}Assertion"


def test_nothing_around_an_assertion_changes_its_exclusive_canonical_form() -> None:
    """What a signature covers (xml-exc-c14n) is the same inside the envelope."""
    alone = etree.fromstring(ASSERTION)
    within = etree.fromstring(sent(Packing("soap12"), assertion=ASSERTION).body).find(f".//{alone.tag}")
    assert etree.tostring(within, method="c14n", exclusive=True) == etree.tostring(alone, method="c14n", exclusive=True)


def test_no_default_namespace_reaches_an_assertion() -> None:
    made = sent(Packing("soap12"), assertion=b"<plain/>")
    assert etree.fromstring(made.body).find(".//plain") is not None


def test_two_packages_have_two_boundaries() -> None:
    boundaries = {re.findall('boundary="(.*?)"', sent(Packing("mtom")).content_type)[0] for _ in range(10)}
    assert len(boundaries) == 10
    assert len({new_message_id() for _ in range(10)}) == 10


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_an_element_or_refused(text: str) -> None:
    try:
        made = element("x", text)
    except ValueError:
        with pytest.raises(ValueError, match="XML compatible"):
            etree.Element("x").text = text
        return
    assert (etree.fromstring(made).text or "") == text


def test_a_community_comes_first_and_as_a_urn() -> None:
    made = retrieve(DocumentRequest("urn:oid:2.16.1", "1.2.3", "<&>'\""))
    [request] = etree.fromstring(made)
    assert [child.tag.removeprefix(XDSB) for child in request] == [
        "HomeCommunityId",
        "RepositoryUniqueId",
        "DocumentUniqueId",
    ]
    assert [child.text for child in request] == ["urn:oid:2.16.1", "1.2.3", "<&>'\""]


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FF), min_size=1))
def test_a_query_cannot_be_broken_out_of(document: str) -> None:
    """Values are in single quotes, with quotes in them doubled (IHE ITI TF-2 3.18.4.1.2.3.5)."""
    try:
        made = get_documents(document, "urn:oid:2.16.1")
    except ValueError:
        return
    root = etree.fromstring(made)
    [value] = root.findall(".//{*}Value")
    assert value.text == "('" + document.replace("'", "''") + "')"
    assert root.find(".//{*}AdhocQuery").get("home") == "urn:oid:2.16.1"
    assert root.find(".//{*}ResponseOption").get("returnType") == "LeafClass"


def test_a_query_for_references_alone() -> None:
    root = etree.fromstring(get_documents("1.2", leaf_class=False))
    assert root.find(".//{*}ResponseOption").get("returnType") == "ObjectRef"
    assert "home" not in root.find(".//{*}AdhocQuery").attrib
