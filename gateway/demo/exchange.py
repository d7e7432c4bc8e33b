"""Documents of the sample archive that machines exchange: a CDA document and a FHIR document.

Pure functions that return the bytes of one file; standard library only. The FHIR document is STU3 with Care Connect
profiles; the CDA is HL7 CDA Release 2.
"""

from __future__ import annotations

import json
import uuid
from html import escape
from typing import Any

from gateway.demo.people import (
    FENNIMOOR,
    HOSPITAL,
    NOTICE,
    ORGANISATION_CODE,
    PUDDLECROFT,
    SWITCHBOARD,
    TRUST,
    Patient,
)

_NAMESPACE = uuid.UUID("7d3c1a52-52a4-5e0c-9d1b-0e0f6a1c2b90")


def _identifier(name: str) -> str:
    """A UUID that is the same on every run."""
    return str(uuid.uuid5(_NAMESPACE, name))


def transfer_of_care() -> bytes:
    """An emergency department's summary to the practice: CDA Release 2, narrative sections, UTF-8."""
    patient = FENNIMOOR
    sections = "".join(_section(code, title, text) for code, title, text in _EMERGENCY)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3">
  <typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
  <id root="{_identifier("transfer of care").upper()}"/>
  <code code="373942005" codeSystem="2.16.840.1.113883.6.96" displayName="Discharge summary"/>
  <title>Emergency Department summary</title>
  <effectiveTime value="20231014172500+0100"/>
  <confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/>
  <languageCode code="en-GB"/>
  <setId root="{_identifier("transfer of care set").upper()}"/>
  <versionNumber value="1"/>
  <recordTarget>
    <patientRole>
      <id root="2.16.840.1.113883.2.1.4.1" extension="{patient.nhs_number}"/>
      <addr use="HP">{"".join(f"<streetAddressLine>{line}</streetAddressLine>" for line in patient.address)}</addr>
      <patient>
        <name><prefix>{patient.title}</prefix><given>{patient.given}</given><family>{patient.family}</family></name>
        <administrativeGenderCode code="M" codeSystem="2.16.840.1.113883.5.1"/>
        <birthTime value="{patient.born:%Y%m%d}"/>
      </patient>
    </patientRole>
  </recordTarget>
  <author>
    <time value="20231014171800+0100"/>
    <assignedAuthor>
      <id nullFlavor="NI"/>
      <assignedPerson><name><prefix>Dr</prefix><given>Marigold</given><family>Nettlefold</family></name></assignedPerson>
    </assignedAuthor>
  </author>
  <custodian>
    <assignedCustodian>
      <representedCustodianOrganization>
        <id root="2.16.840.1.113883.2.1.3.2.4.19.1" extension="{ORGANISATION_CODE}"/>
        <name>{TRUST}</name>
      </representedCustodianOrganization>
    </assignedCustodian>
  </custodian>
  <component>
    <structuredBody>{sections}
    </structuredBody>
  </component>
</ClinicalDocument>
""".encode()


_EMERGENCY = (
    (
        "1077881000000105",
        "Attendance details",
        f"{HOSPITAL}, Emergency Department, 14-Oct-2023 15:02. Brought by his mother after a fall from a tree.",
    ),
    (
        "887151000000100",
        "Clinical summary",
        "Fell about 1½ metres on to his outstretched left hand. Swollen, tender distal forearm; skin intact; sensation "
        "and pulses normal. No head injury. Radiograph: buckle fracture of the distal left radius, not displaced.",
    ),
    (
        "933361000000108",
        "Medications",
        "Ibuprofen 400 mg and paracetamol 750 mg by mouth given at 15:20. No known allergies.",
    ),
    (
        "887201000000105",
        "Plan",
        "Removable wrist splint for 3 weeks, then stop; no fracture clinic appointment needed. Leaflet given. Return "
        "if pain increases or fingers become numb. Practice: for information only.",
    ),
    (None, "About this document", NOTICE),
)


def _section(code: str | None, title: str, text: str) -> str:
    coded = f'<code code="{code}" codeSystem="2.16.840.1.113883.6.96"/>' if code else '<code nullFlavor="NI"/>'
    return f"""
      <component>
        <section>
          {coded}
          <title>{escape(title)}</title>
          <text><paragraph>{escape(text)}</paragraph></text>
        </section>
      </component>"""


def outpatient_letter() -> bytes:
    """An outpatient letter as a FHIR STU3 document: a Bundle whose first entry is the Composition, UTF-8 JSON."""
    patient = PUDDLECROFT
    resources = {
        "composition": _composition(),
        "patient": _patient(patient),
        "author": {
            "resourceType": "Practitioner",
            "name": [{"use": "official", "family": "Tinderfell", "given": ["Ambrose"], "prefix": ["Dr"]}],
        },
        "organisation": {
            "resourceType": "Organization",
            "identifier": [{"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": ORGANISATION_CODE}],
            "name": TRUST,
            "telecom": [{"system": "phone", "value": SWITCHBOARD, "use": "work"}],
        },
    }
    bundle = {
        "resourceType": "Bundle",
        "id": _identifier("outpatient letter"),
        "identifier": {"system": "https://tools.ietf.org/html/rfc4122", "value": _identifier("outpatient letter")},
        "type": "document",
        "entry": [
            {"fullUrl": _reference(name), "resource": {**resource, "id": _identifier(name)}}
            for name, resource in resources.items()
        ],
    }
    return (json.dumps(bundle, indent=2, ensure_ascii=False) + "\n").encode()


def _reference(name: str) -> str:
    return f"urn:uuid:{_identifier(name)}"


def _composition() -> dict[str, Any]:
    sections = (
        (
            "Diagnoses",
            "<ul><li>Iron deficiency anaemia, resolved (haemoglobin 108 g/L in June 2018, 131 g/L now)</li>"
            "<li>Heavy menstrual bleeding, controlled</li></ul>",
        ),
        (
            "Clinical summary",
            "<p>Mrs Puddlecroft feels well and has her energy back – she has “started bell-ringing again”. She took "
            "ferrous sulphate for five months with some constipation. Ferritin is now 48 µg/L. Coeliac serology "
            "was negative and she has no bowel symptoms.</p>",
        ),
        (
            "Plan and requested actions",
            "<ol><li>Ferrous sulphate stopped today.</li><li>Practice: please repeat full blood count and ferritin "
            "in three months and then after a year.</li><li>Discharged from the haematology clinic.</li></ol>",
        ),
        ("About this document", f"<p>{NOTICE}</p>"),
    )
    return {
        "resourceType": "Composition",
        "meta": {"profile": ["https://fhir.hl7.org.uk/STU3/StructureDefinition/CareConnect-Composition-1"]},
        "status": "final",
        "type": {
            "coding": [
                {
                    "system": "http://snomed.info/sct",
                    "code": "823691000000103",
                    "display": "Clinical letter",
                }
            ]
        },
        "subject": {"reference": _reference("patient")},
        "date": "2018-12-04T11:30:00+00:00",
        "author": [{"reference": _reference("author")}],
        "title": "Outpatient letter: Haematology",
        "custodian": {"reference": _reference("organisation")},
        "section": [
            {
                "title": title,
                "text": {
                    "status": "additional",
                    "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{content}</div>',
                },
            }
            for title, content in sections
        ],
    }


def _patient(patient: Patient) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "meta": {"profile": ["https://fhir.hl7.org.uk/STU3/StructureDefinition/CareConnect-Patient-1"]},
        "identifier": [
            {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": patient.nhs_number},
            {"system": "https://wexmoor.example/Id/hospital-number", "value": patient.hospital_number},
        ],
        "name": [{"use": "official", "family": patient.family, "given": [patient.given], "prefix": [patient.title]}],
        "gender": patient.gender,
        "birthDate": patient.born.isoformat(),
        "address": [{"use": "home", "line": list(patient.address[:-1]), "postalCode": patient.address[-1]}],
        "generalPractitioner": [{"display": f"{patient.surgery.doctor}, {patient.surgery.name}"}],
    }
