"""SOAP envelopes of answers: headers, faults in both versions, registry responses.

Rules of this module: values in, a tree out; nothing about HTTP or MIME. What an answer says is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.demo.xds import names
from gateway.demo.xds.markup import Element, blanks, element, nested, qname
from gateway.demo.xds.personality import (
    ABSENT,
    ERROR,
    Absent,
    Personality,
    RegistryError,
    SoapFault,
)

_SOAP11_CODES = {"Sender": "Client", "Receiver": "Server"}
_STATUS = {"Sender": 400, "VersionMismatch": 500, "MustUnderstand": 500, "Receiver": 500}


def envelope(
    personality: Personality, body: Element, *, action: str, relates_to: str | None, header: Element | None = None
) -> Element:
    """The answer as SOAP, with the headers that the personality sends (WS-Addressing 1.0 Core, section 3.4)."""
    p = personality
    said = action if p.response_action is None else p.response_action
    headers = [
        header,
        None if isinstance(said, Absent) else element("wsa:Action", said, soap__mustUnderstand="1"),
        element("wsa:RelatesTo", relates_to) if p.relates and relates_to else None,
        element("xdsb:Trace", nested(p.nesting)) if p.nesting else None,
    ]
    return element(
        "soap:Envelope",
        element("soap:Header", *headers) if any(headers) else None,
        blanks(p.root_blanks) if p.root_blanks else None,
        element("soap:Body", body),
    )


def status(fault: SoapFault, version: str) -> int:
    """The HTTP status of a fault: SOAP 1.1 knows 500 alone, SOAP 1.2 says 400 where the sender is blamed."""
    if fault.status is not None:
        return fault.status
    return _STATUS[fault.code] if version == names.SOAP12 else 500


def fault_body(personality: Personality, fault: SoapFault, version: str) -> Element:
    """The fault as the body's child (SOAP 1.1 section 4.4, SOAP 1.2 part 1 section 5.4)."""
    if version == names.SOAP11:
        # SOAP 1.1 has no subcodes: WS-Security and WS-Addressing put theirs in the place of the code.
        code = fault.subcode or f"soap:{_SOAP11_CODES.get(fault.code, fault.code)}"
        named = _bound(element("faultcode", qname(personality, code)), code)
        return element("soap:Fault", named, element("faultstring", fault.reason))
    subcode = (
        element("soap:Subcode", _bound(element("soap:Value", qname(personality, fault.subcode)), fault.subcode))
        if fault.subcode
        else None
    )
    value = element("soap:Value", qname(personality, f"soap:{fault.code}"))
    return element(
        "soap:Fault",
        element("soap:Code", value, subcode),
        element("soap:Reason", element("soap:Text", fault.reason, xml__lang="en")),
    )


def fault_header(fault: SoapFault, version: str) -> Element | None:
    """What SOAP 1.2 says of a header block that was not understood (part 1, section 5.4.8)."""
    if fault.not_understood is None or version != names.SOAP12:
        return None
    namespace, _, local = fault.not_understood.lstrip("{").partition("}")
    return element("soap:NotUnderstood", qname=f"nu:{local}", xmlns__nu=namespace)


def _bound(one: Element, name: str) -> Element:
    """The element, with the prefix of this name bound: its text holds the name."""
    one.binds = tuple(filter(None, [name.rpartition(":")[0]]))
    return one


def registry_response(
    personality: Personality, status_uri: str, errors: Sequence[RegistryError]
) -> tuple[str, list[Element]]:
    """The status that goes out, and the list of errors if there is one (ebRS 3.0, sections 2.1.3 to 2.1.6)."""
    p = personality
    said = p.registry_status or status_uri
    if p.errors is ABSENT:
        return said, []
    shown = list(errors) if p.errors is None or isinstance(p.errors, Absent) else [*p.errors]
    if not shown and not p.empty_error_list:
        return said, []
    highest = ERROR if any(one.severity == ERROR for one in shown) else (shown[0].severity if shown else ERROR)
    return said, [element("rs:RegistryErrorList", *map(_error, shown), highestSeverity=highest)]


def _error(error: RegistryError) -> Element:
    return element(
        "rs:RegistryError",
        codeContext=error.context,
        errorCode=error.code,
        severity=error.severity,
        location=error.location,
    )


def deferred(identifier: str) -> Element:
    """What an answer says whose document comes later (ITI TF-2 3.39, Deferred Response)."""
    required, completion = names.RESPONSE_SLOTS
    return element("rs:ResponseSlotList", slot(required, identifier), slot(completion, "20991231235959"))


def slot(name: str, *values: str) -> Element:
    """One rim:Slot (ebRIM 3.0, section 2.3.2)."""
    return element("rim:Slot", element("rim:ValueList", *(element("rim:Value", value) for value in values)), name=name)
