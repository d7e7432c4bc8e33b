"""The sample archive: which documents it holds, and the command that draws it anew.

    python -m gateway.demo.archive config/sample-archive

The output is committed and shipped, so drawing is for developers: it needs Pillow and reportlab (extra `demo`), which
nothing else of the gateway imports. The same versions of them draw the same bytes on every run. The large document is
in the manifest and not drawn: `gateway.demo.large` makes it at set-up.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from base64 import b32encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from gateway.demo import LARGE_DOCUMENT
from gateway.demo.exchange import outpatient_letter, transfer_of_care
from gateway.demo.large import write_large
from gateway.demo.people import (
    BRAMBLEWICK,
    FENNIMOOR,
    MARROWGATE,
    PUDDLECROFT,
    QUILLFEATHER,
    THISTLEQUILL,
    Patient,
)
from gateway.demo.text import clinic_letter, pathology_report, physiotherapy_letter, ward_note
from gateway.demo.word import consent_form

__all__ = ["COLUMNS", "MANIFEST", "Document", "DrawingUnavailable", "documents", "main", "write_archive", "write_large"]

MANIFEST = "manifest.csv"
COLUMNS = ("id", "path", "content_type", "title", "patient", "date", "status", "department")


class DrawingUnavailable(RuntimeError):
    """The libraries that draw are not installed; the text names the cure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One row of the manifest and what draws its file; `draw` is None for the document that is made at set-up.

    An empty `content_type` leaves the type to the gateway, which looks at the first bytes.
    """

    id: str
    path: str
    title: str
    patient: Patient
    date: str
    department: str
    draw: Callable[[], bytes] | None
    content_type: str = ""
    status: str = "current"

    def row(self) -> tuple[str, ...]:
        """The fields in the order of `COLUMNS`."""
        return (
            self.id, self.path, self.content_type, self.title,
            self.patient.nhs_number, self.date, self.status, self.department,
        )  # fmt: skip


def documents() -> tuple[Document, ...]:
    """What the archive holds, in the order of the manifest.

    Raises `DrawingUnavailable` without Pillow or reportlab.
    """
    try:
        from gateway.demo.letters import discharge_summary, radiology_report, withdrawn_letter
        from gateway.demo.pictures import electrocardiogram, wound_photograph
        from gateway.demo.scan import scanned_referral
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("PIL", "reportlab"):
            raise
        raise DrawingUnavailable(
            "Drawing the sample archive needs Pillow and reportlab. Install them with: "
            "pip install 'fhir-document-gateway[demo]'"
        ) from error
    return (
        Document(
            id="discharge-summary",
            path="discharge/2021/discharge-0417.pdf",
            content_type="application/pdf",
            title="Discharge summary",
            patient=THISTLEQUILL,
            date="2021-03-09",
            department="Acute Medicine",
            draw=discharge_summary,
        ),
        Document(
            id="clinic-letter",
            path="letters/cardiology/clinic letter 2020-02-17.html",
            content_type="text/html; charset=utf-8",
            title="Clinic letter",
            patient=QUILLFEATHER,
            date="2020-02-19",
            department="Cardiology",
            draw=clinic_letter,
        ),
        Document(
            id="ward-note",
            path="notes/ward-7/evaluation.txt",
            content_type="text/plain; charset=windows-1252",
            title="Nursing evaluation",
            patient=MARROWGATE,
            date="2009-11-04",
            department="Elderly Medicine",
            draw=ward_note,
        ),
        Document(
            id="scanned-referral",
            path="scans/2016/0113-07.tif",
            title="Referral letter",
            patient=QUILLFEATHER,
            date="2016-01-13",
            department="Cardiology",
            draw=scanned_referral,
        ),
        Document(
            id="withdrawn-letter",
            path="letters/dermatology/2019-11-04.pdf",
            content_type="application/pdf",
            title="Clinic letter, withdrawn",
            patient=BRAMBLEWICK,
            date="2019-11-12",
            status="withdrawn",
            department="Dermatology",
            draw=withdrawn_letter,
        ),
        Document(
            id="large-scan",
            path=LARGE_DOCUMENT.as_posix(),
            title="Case notes, scanned",
            patient=MARROWGATE,
            date="2012-08-30",
            department="Medical Records",
            draw=None,
        ),
        _opaque("imports/2009/00004711", "Radiology report", MARROWGATE, "2009-11-05", "Radiology", radiology_report),
        _opaque("photographs/LEFT-SHIN.JPG", "Clinical photograph", MARROWGATE, "2019-06-12", "Medical Illustration",
                wound_photograph),
        _opaque("results/2018/ecg #2.png", "Electrocardiogram", PUDDLECROFT, "2018-06-12", "Cardiology",
                electrocardiogram, "image/png"),
        _opaque("results/2018/haematology.txt", "Pathology report", PUDDLECROFT, "2018-06-12", "Blood Sciences",
                pathology_report),
        _opaque("letters/physiotherapy/outpatient.rtf", "Discharge letter", BRAMBLEWICK, "2022-09-23", "Physiotherapy",
                physiotherapy_letter, "application/rtf"),
        _opaque("exchange/cda/transfer-of-care.xml", "Emergency Department summary", FENNIMOOR,
                "2023-10-14T17:25:00+01:00", "Emergency Department", transfer_of_care),
        _opaque("exchange/fhir/outpatient-letter.json", "Outpatient letter", PUDDLECROFT, "2018-12-04T11:30:00+00:00",
                "Haematology", outpatient_letter, "application/fhir+json"),
        _opaque("forms/consent-1.docx", "Consent form", THISTLEQUILL, "2022-05-11", "Orthopaedics", consent_form),
    )  # fmt: skip


def _opaque(
    path: str,
    title: str,
    patient: Patient,
    date: str,
    department: str,
    draw: Callable[[], bytes],
    content_type: str = "",
) -> Document:
    """A document whose id is a keyed hash of its path, as an archive would give one where names hold patient data."""
    digest = hashlib.blake2b(path.encode(), key=b"sample archive", digest_size=10).digest()
    return Document(
        id=b32encode(digest).decode().lower(),
        path=path,
        title=title,
        patient=patient,
        date=date,
        department=department,
        draw=draw,
        content_type=content_type,
    )


def write_archive(directory: Path) -> None:
    """Draw every document but the large one, and the manifest, into `directory`; what stands there is overwritten.

    Raises `DrawingUnavailable` without Pillow or reportlab, `OSError` when a file cannot be written.
    """
    manifest = StringIO(newline="")
    writer = csv.writer(manifest, lineterminator="\n")
    writer.writerow(COLUMNS)
    for document in documents():
        writer.writerow(document.row())
        if document.draw is not None:
            path = directory / document.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(document.draw())
    (directory / MANIFEST).write_bytes(manifest.getvalue().encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when the archive was drawn, 2 when it could not be."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.demo.archive", description="Draw the sample archive into a directory."
    )
    parser.add_argument(
        "directory", type=Path, metavar="DIR", help="made when it is missing, for example config/sample-archive"
    )
    directory: Path = parser.parse_args(arguments).directory
    try:
        write_archive(directory)
    except (DrawingUnavailable, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Drew the sample archive into {directory}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
