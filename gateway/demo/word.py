"""The Word form of the sample archive: a completed consent form as an Office Open XML package (ECMA-376).

A pure function that returns the bytes of the file; standard library only: the fewest parts that Word opens.
"""

from __future__ import annotations

import zipfile
from datetime import date
from html import escape
from io import BytesIO

from gateway.demo.people import NOTICE, THISTLEQUILL, TRUST, Patient, day


def consent_form() -> bytes:
    """A completed consent form from Word: an Office Open XML package with its parts stored, not deflated.

    Stored, since the bytes of deflated parts depend on the zlib that happens to be installed.
    """
    patient = THISTLEQUILL
    parts = {
        "[Content_Types].xml": _CONTENT_TYPES,
        "_rels/.rels": _RELATIONS,
        "docProps/core.xml": _CORE,
        "word/_rels/document.xml.rels": _DOCUMENT_RELATIONS,
        "word/styles.xml": _STYLES,
        "word/document.xml": _word_document(patient),
    }
    package = BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as archive:
        for name, text in parts.items():
            entry = zipfile.ZipInfo(name, date_time=(2022, 5, 11, 9, 40, 0))
            entry.create_system = 0  # otherwise the machine's
            archive.writestr(entry, text.encode())
    return package.getvalue()


_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_WORD_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml"

_CONTENT_TYPES = f"""{_XML}<Types xmlns="{_PACKAGE}/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/>
<Override PartName="/word/document.xml" ContentType="{_WORD_TYPE}.document.main+xml"/>
<Override PartName="/word/styles.xml" ContentType="{_WORD_TYPE}.styles+xml"/>
<Override PartName="/docProps/core.xml" ContentType="application/vnd.openxmlformats-package.core-properties+xml"/>
</Types>"""

_RELATIONS = f"""{_XML}<Relationships xmlns="{_PACKAGE}/relationships">
<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="word/document.xml"/>
<Relationship Id="rId2" Type="{_PACKAGE}/relationships/metadata/core-properties" Target="docProps/core.xml"/>
</Relationships>"""

_DOCUMENT_RELATIONS = f"""{_XML}<Relationships xmlns="{_PACKAGE}/relationships">
<Relationship Id="rId1" Type="{_OFFICE}/styles" Target="styles.xml"/>
</Relationships>"""

_CORE = f"""{_XML}<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties" \
xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<dc:title>Consent form 1</dc:title><dc:creator>{TRUST}</dc:creator>
<dcterms:created xsi:type="dcterms:W3CDTF">2022-05-11T09:40:00Z</dcterms:created>
</cp:coreProperties>"""

_STYLES = f"""{_XML}<w:styles xmlns:w="{_WORD}">
<w:docDefaults><w:rPrDefault><w:rPr><w:rFonts w:ascii="Arial" w:hAnsi="Arial" w:cs="Arial"/><w:sz w:val="22"/>\
<w:lang w:val="en-GB"/></w:rPr></w:rPrDefault>\
<w:pPrDefault><w:pPr><w:spacing w:after="120"/></w:pPr></w:pPrDefault></w:docDefaults>
<w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/></w:style>
<w:style w:type="paragraph" w:styleId="Title"><w:name w:val="Title"/><w:basedOn w:val="Normal"/>\
<w:rPr><w:b/><w:color w:val="005EB8"/><w:sz w:val="36"/></w:rPr></w:style>
<w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/><w:basedOn w:val="Normal"/>\
<w:pPr><w:keepNext/><w:spacing w:before="240"/></w:pPr>\
<w:rPr><w:b/><w:color w:val="005EB8"/><w:sz w:val="26"/></w:rPr></w:style>
</w:styles>"""


def _word_document(patient: Patient) -> str:
    consultant = "Miss Araminta Saltmarsh, Consultant Orthopaedic Surgeon"
    body = [
        _paragraph(TRUST),
        _paragraph("Consent form 1", "Title"),
        _paragraph("Patient agreement to investigation or treatment"),
        _table(
            (
                ("Patient", patient.formal_name),
                ("Date of birth", day(patient.born)),
                ("NHS number", patient.spaced_number),
                ("Hospital number", patient.hospital_number),
                ("Responsible professional", consultant),
                ("Special requirements", "Large print. Hearing aid, left ear."),
            )
        ),
        _paragraph("Proposed procedure", "Heading1"),
        _paragraph("Right total hip replacement, cemented, under spinal anaesthetic."),
        _paragraph("Statement of the health professional", "Heading1"),
        _paragraph("I have explained the procedure to the patient. In particular, I have explained:"),
        _paragraph("The intended benefits: less pain, better walking distance and sleep."),
        _paragraph(
            "Frequent and serious risks: bleeding, infection (about 1%), clots in the leg or lung, dislocation, "
            "difference in leg length, nerve injury, loosening and revision, and the risks of the anaesthetic."
        ),
        _paragraph("The alternatives: continued tablets and physiotherapy, injection, or no treatment."),
        _paragraph(f"Signed electronically: {consultant}, {day(date(2022, 5, 11))} 09:25"),
        _paragraph("Statement of the patient", "Heading1"),
        _paragraph(
            "I agree to the procedure described above. I understand that I may change my mind at any time, and that "
            "any further procedure will only be carried out if it is necessary to save my life or prevent serious harm."
        ),
        _paragraph(f"Signed: {patient.name}, {day(date(2022, 5, 11))} 09:35"),
        _paragraph(NOTICE),
        '<w:sectPr><w:pgSz w:w="11906" w:h="16838"/>'
        '<w:pgMar w:top="1134" w:right="1304" w:bottom="1134" w:left="1304" '
        'w:header="567" w:footer="567" w:gutter="0"/>'
        "</w:sectPr>",
    ]
    return f'{_XML}<w:document xmlns:w="{_WORD}"><w:body>{"".join(body)}</w:body></w:document>'


def _paragraph(text: str, style: str | None = None) -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'


def _table(rows: tuple[tuple[str, str], ...]) -> str:
    borders = "".join(
        f'<w:{edge} w:val="single" w:sz="4" w:color="AEB7BD"/>'
        for edge in ("top", "left", "bottom", "right", "insideH", "insideV")
    )
    cells = "".join(
        "<w:tr>"
        + "".join(
            f'<w:tc><w:tcPr><w:tcW w:w="{width}" w:type="dxa"/></w:tcPr>{_paragraph(text)}</w:tc>'
            for text, width in zip(row, (3000, 6200), strict=True)
        )
        + "</w:tr>"
        for row in rows
    )
    return (
        f'<w:tbl><w:tblPr><w:tblW w:w="9200" w:type="dxa"/><w:tblBorders>{borders}</w:tblBorders></w:tblPr>'
        f'<w:tblGrid><w:gridCol w:w="3000"/><w:gridCol w:w="6200"/></w:tblGrid>{cells}</w:tbl><w:p/>'
    )
