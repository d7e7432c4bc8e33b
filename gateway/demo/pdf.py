"""How the PDF letters of the sample archive are set: page, letterhead, headings, tables.

Needs reportlab. Pages are set once to count them and once more with "Page 1 of 3" at the foot. Content streams are
left uncompressed and dates fixed (reportlab's `invariant`), so that the bytes depend on the text and reportlab alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table

from gateway.demo.people import HOSPITAL, HOSPITAL_ADDRESS, NOTICE, TRUST, Patient, day

_BLUE, _GREY, _RULE, _SHADE = map(HexColor, ("#005eb8", "#4c6272", "#aeb7bd", "#e8edee"))
_MARGIN = 20 * mm
_PADDING = 6  # points that reportlab leaves inside a frame
_WIDTH = A4[0] - 2 * (_MARGIN + _PADDING)

TEXT = ParagraphStyle("text", fontName="Helvetica", fontSize=10, leading=13.5, spaceAfter=5)
_CELL = ParagraphStyle("cell", TEXT, fontSize=9, leading=11.5, spaceAfter=0)
HEADING = ParagraphStyle(
    "heading", TEXT, fontName="Helvetica-Bold", fontSize=11, textColor=_BLUE, spaceBefore=9, keepWithNext=1
)
TITLE = ParagraphStyle("title", HEADING, fontSize=16, leading=20, spaceBefore=2, spaceAfter=8)
_ITEM = ParagraphStyle("item", TEXT, leftIndent=12, bulletIndent=2, spaceAfter=2)
_RIGHT = ParagraphStyle("right", TEXT, fontSize=9, leading=12, alignment=TA_RIGHT, textColor=_GREY)

Story = list[Any]
"""What reportlab calls the sequence of flowing parts."""


def typeset(title: str, patient: Patient, story: Callable[[Patient], Story]) -> bytes:
    """A PDF of A4 pages; `story` is called twice, since reportlab wears its parts out."""
    _, pages = _build(title, patient, story(patient), total=0)
    content, _ = _build(title, patient, story(patient), total=pages)
    return content


def _build(title: str, patient: Patient, story: Story, *, total: int) -> tuple[bytes, int]:
    """The PDF and its number of pages; `total` is what the foot of each page says."""

    def foot(canvas: Any, document: Any) -> None:
        canvas.saveState()
        canvas.setStrokeColor(_RULE)
        left, right = _MARGIN + _PADDING, A4[0] - _MARGIN - _PADDING
        canvas.line(left, 17 * mm, right, 17 * mm)
        canvas.setFillColor(_GREY)
        canvas.setFont("Helvetica", 7.5)
        canvas.drawString(left, 13 * mm, f"{patient.formal_name}   NHS number {patient.spaced_number}")
        canvas.drawRightString(right, 13 * mm, f"Page {document.page} of {total}")
        canvas.drawString(left, 9.5 * mm, NOTICE)
        canvas.restoreState()

    out = BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        title=title,
        author=TRUST,
        subject="Sample document",
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=16 * mm,
        bottomMargin=22 * mm,
        invariant=1,
        pageCompression=0,
    )
    document.build(story, onFirstPage=foot, onLaterPages=foot)
    return out.getvalue(), document.page


def letterhead(department: str, telephone: str) -> Story:
    trust = ParagraphStyle("trust", _RIGHT, fontName="Helvetica-Bold", fontSize=12, leading=15, textColor=_BLUE)
    address = f"{HOSPITAL}<br/>{', '.join(HOSPITAL_ADDRESS)}<br/>Telephone {telephone}"
    rule = Table([[""]], colWidths=[_WIDTH], rowHeights=[4], style=[("LINEABOVE", (0, 0), (-1, 0), 1.5, _BLUE)])
    return [
        Paragraph(TRUST, trust),
        Paragraph(f"<b>{department}</b><br/>{address}", _RIGHT),
        Spacer(0, 3 * mm),
        rule,
    ]


def grid(rows: Sequence[Sequence[str]], widths: Sequence[float], *, header: bool = True) -> Table:
    """A ruled table whose cells wrap; `widths` are shares of the text width; the first row or column is shaded."""
    style = [
        ("GRID", (0, 0), (-1, -1), 0.5, _RULE),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("BACKGROUND", (0, 0), (-1, 0) if header else (0, -1), _SHADE),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
    ]
    cells = [
        [
            Paragraph(f"<b>{text}</b>" if (row == 0 if header else column == 0) else text, _CELL)
            for column, text in enumerate(texts)
        ]
        for row, texts in enumerate(rows)
    ]
    return Table(
        cells, colWidths=[_WIDTH * width for width in widths], style=style, repeatRows=int(header), spaceAfter=6
    )


def pairs(rows: Sequence[tuple[str, str, str, str]]) -> Table:
    """A table of two columns of labels, each with its value."""
    bold = [(f"<b>{first}</b>", value, f"<b>{second}</b>", other) for first, value, second, other in rows]
    return grid(bold, (0.16, 0.37, 0.18, 0.29), header=False)


def person(patient: Patient) -> Table:
    """The block that says whom a letter is about."""
    *streets, postcode = patient.address
    address = ", ".join([*streets, postcode.replace(" ", "\N{NO-BREAK SPACE}")])
    practice = f"{patient.surgery.name}, {patient.surgery.doctor}"
    return pairs(
        (
            ("Patient", patient.formal_name, "Date of birth", day(patient.born)),
            ("NHS number", patient.spaced_number, "Hospital number", patient.hospital_number),
            ("Address", address, "Practice", practice),
        )
    )


def bullets(*items: str) -> Story:
    return [Paragraph(item, _ITEM, bulletText="\u2022") for item in items]
