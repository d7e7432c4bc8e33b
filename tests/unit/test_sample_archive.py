"""The sample archive: drawn the same on every run, committed as drawn, readable by what reads such files, fiction.

The committed files are compared byte for byte where no drawing library has a say. Pillow and reportlab may draw a
letter's edge differently in their next release: under other versions than those that drew the committed files, those
documents have to look and read the same.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import PIL
import pytest
import reportlab
from lxml import etree, html
from PIL import Image, ImageChops, ImageSequence, ImageStat, features

from gateway.demo import LARGE_DOCUMENT, archive_directory
from gateway.demo.archive import COLUMNS, MANIFEST, main, write_archive
from gateway.demo.people import PATIENTS
from gateway.ids import ManifestIds
from gateway.settings import load

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "config" / "sample-archive"

DRAWN_WITH = {"pillow": "13.0.0", "freetype": "2.14.3", "reportlab": "5.1.0", "machine": "x86_64"}
"""What drew the committed pictures and PDFs; whoever draws the archive anew writes it down here."""

with (COMMITTED / MANIFEST).open(newline="", encoding="utf-8") as opened:
    ROWS = list(csv.DictReader(opened))
FILES = sorted(row["path"] for row in ROWS if row["path"] != LARGE_DOCUMENT.as_posix())
IMAGES = [path for path in FILES if path.lower().endswith((".tif", ".jpg", ".png"))]


def importing(root: Path) -> dict[str, str]:
    """An environment whose Python finds the packages below `root` first."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}


def content(path: str, root: Path = COMMITTED) -> bytes:
    return (root / path).read_bytes()


def is_pdf(path: str) -> bool:
    return content(path).startswith(b"%PDF-")


PDFS = [path for path in FILES if is_pdf(path)]


def pdf_lines(data: bytes) -> list[str]:
    """The strings that the pages of an uncompressed PDF show, in their order."""
    shown = re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", data, re.DOTALL)
    unescaped = (re.sub(rb"\\([0-7]{3}|.)", _unescape, line, flags=re.DOTALL) for line in shown)
    return [line.decode("cp1252") for line in unescaped]


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code, 8)]) if len(code) == 3 else code


def text_of(path: str) -> str | None:
    """What a reader of the document reads, None for pictures."""
    data = content(path)
    if path in IMAGES:
        return None
    if is_pdf(path):
        return "\n".join(pdf_lines(data))
    if path.endswith(".docx"):
        with zipfile.ZipFile(BytesIO(data)) as package:
            return "\n".join(package.read(name).decode() for name in package.namelist())
    return data.decode("cp1252" if path.startswith("notes/") else "utf-8")


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def committed_tree() -> dict[str, bytes]:
    """Without the large document, which a demonstration may have made in this checkout."""
    large = LARGE_DOCUMENT.parts[0] + "/"
    return {path: data for path, data in tree(COMMITTED).items() if not path.startswith(large)}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sample-archive")
    write_archive(directory)
    return directory


# --- drawing ------------------------------------------------------------------------------------------------------


def test_another_process_elsewhere_draws_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    environment = importing(ROOT) | {"PYTHONHASHSEED": "7", "TZ": "Pacific/Kiritimati", "LC_ALL": "C"}
    command = [sys.executable, "-m", "gateway.demo.archive", "again"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
    assert tree(tmp_path / "again") == tree(drawn)


def test_the_committed_archive_is_what_the_script_draws(drawn: Path) -> None:
    now, committed = tree(drawn), committed_tree()
    assert now.keys() == committed.keys()
    different = {path for path in now if now[path] != committed[path]}
    tools = {
        "pillow": PIL.__version__,
        "freetype": features.version("freetype2"),
        "reportlab": reportlab.__version__,
        "machine": platform.machine(),
    }
    allowed = set() if tools == DRAWN_WITH else {*IMAGES, *PDFS}
    assert different <= allowed, "draw it anew: python -m gateway.demo.archive config/sample-archive"


@pytest.mark.parametrize("path", IMAGES)
def test_a_picture_looks_as_committed(drawn: Path, path: str) -> None:
    with Image.open(drawn / path) as now, Image.open(COMMITTED / path) as committed:
        assert now.format == committed.format
        for left, right in zip(ImageSequence.Iterator(now), ImageSequence.Iterator(committed), strict=True):
            assert (left.size, left.mode) == (right.size, right.mode)
            difference = ImageChops.difference(left.convert("RGB"), right.convert("RGB"))
            assert max(ImageStat.Stat(difference).mean) < 3  # of 255: the edges of letters, never their place


@pytest.mark.parametrize("path", PDFS)
def test_a_pdf_reads_as_committed(drawn: Path, path: str) -> None:
    assert pdf_lines(content(path, drawn)) == pdf_lines(content(path)) != []


def test_without_the_drawing_libraries_the_command_says_what_to_install(tmp_path: Path) -> None:
    script = "import sys; sys.modules['PIL'] = None\nfrom gateway.demo.archive import main\nsys.exit(main(['nowhere']))"
    environment = importing(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'fhir-document-gateway[demo]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_written_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main([str(tmp_path / "file")]) == 2
    assert "file" in capsys.readouterr().err


# --- the manifest -------------------------------------------------------------------------------------------------


def test_the_manifest_names_every_file_and_nothing_else() -> None:
    assert tuple(ROWS[0]) == COLUMNS
    assert set(committed_tree()) == {*FILES, MANIFEST}
    assert len(ROWS) >= 13
    assert {row["id"] for row in ROWS if row["path"] not in FILES} == {"large-scan"}


def test_ids_are_fhir_ids_that_carry_no_patient_data() -> None:
    ids = [row["id"] for row in ROWS]
    assert len(set(ids)) == len(ids)
    names = {part.lower() for patient in PATIENTS for part in (patient.family, patient.given, patient.hospital_number)}
    for identifier in ids:
        assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", identifier)
        assert not any(name in identifier for name in names)
        assert not re.search(r"\d{4}", identifier)


def test_the_documents_that_the_demonstration_prints_are_what_they_are_called() -> None:
    rows = {row["id"]: row for row in ROWS}
    expected = {
        "discharge-summary": b"%PDF-",
        "clinic-letter": b"<!DOCTYPE html>",
        "ward-note": b"WEXMOOR",
        "scanned-referral": b"II*\x00",
        "withdrawn-letter": b"%PDF-",
    }
    for identifier, begin in expected.items():
        assert content(rows[identifier]["path"]).startswith(begin)
    assert {row["id"] for row in ROWS if row["status"] == "withdrawn"} == {"withdrawn-letter"}
    assert {row["status"] for row in ROWS} == {"withdrawn", "current"}
    assert rows["ward-note"]["content_type"] == "text/plain; charset=windows-1252"


def test_the_archive_has_the_names_that_trip_careless_software() -> None:
    assert any(" " in path for path in FILES)
    assert any("#" in path for path in FILES)
    assert any(path.endswith(".JPG") for path in FILES)
    assert any("." not in path for path in FILES)
    assert len({path.count("/") for path in FILES}) > 1
    assert sum(not row["content_type"] for row in ROWS) >= 5


def test_the_committed_archive_is_small() -> None:
    assert sum(map(len, committed_tree().values())) < 600_000


# --- fiction ------------------------------------------------------------------------------------------------------


def is_test_number(number: str) -> bool:
    """Of the range that is never issued, with a valid check digit (modulus 11, NHS Data Dictionary "NHS NUMBER")."""
    weighted = sum(int(digit) * weight for digit, weight in zip(number, range(10, 1, -1), strict=False))
    return number.startswith("999") and len(number) == 10 and (11 - weighted % 11) % 11 == int(number[9])


def test_the_check_of_nhs_numbers_can_fail() -> None:
    assert is_test_number("9990000018") != is_test_number("9990000019")
    assert not is_test_number("9434765919")  # valid, but not of the range


@pytest.mark.parametrize("path", [path for path in FILES if path not in IMAGES])
def test_every_nhs_number_in_a_text_is_a_test_number(path: str) -> None:
    text = text_of(path)
    assert text is not None
    found = {match.replace(" ", "") for match in re.findall(r"(?<![\d.-])\d{3} ?\d{3} ?\d{4}(?![\d-])", text)}
    patient = next(row["patient"] for row in ROWS if row["path"] == path)
    assert found == {patient}
    assert is_test_number(patient)


def test_every_patient_has_a_test_number_that_the_manifest_uses() -> None:
    assert all(is_test_number(patient.nhs_number) for patient in PATIENTS)
    assert {patient.nhs_number for patient in PATIENTS} == {row["patient"] for row in ROWS}


@pytest.mark.parametrize("path", [path for path in FILES if path not in IMAGES])
def test_every_text_says_that_it_is_invented(path: str) -> None:
    assert "are invented." in (text_of(path) or "")


# --- what reads such files ----------------------------------------------------------------------------------------


def test_the_scanned_referral_has_pages_in_group_4() -> None:
    with Image.open(COMMITTED / "scans/2016/0113-07.tif") as scan:
        pages = 0
        for page in ImageSequence.Iterator(scan):
            assert (page.mode, page.info["compression"], page.info["dpi"]) == ("1", "group4", (200, 200))
            black = page.convert("L").histogram()[0] / (page.width * page.height)
            assert 0.005 < black < 0.1  # as much ink as a typed page has
            pages += 1
    assert pages == 3


@pytest.mark.parametrize("path", [path for path in IMAGES if not path.endswith(".tif")])
def test_a_picture_opens(path: str) -> None:
    with Image.open(COMMITTED / path) as picture:
        picture.load()
        assert picture.format == {"JPG": "JPEG", "png": "PNG"}[path[-3:]]
        assert min(picture.size) >= 900


@pytest.mark.parametrize(("path", "pages"), list(zip(PDFS, (3, 1, 1), strict=True)))
def test_a_pdf_is_whole(path: str, pages: int) -> None:
    data = content(path)
    start = int(re.search(rb"startxref\s+(\d+)\s+%%EOF\s*$", data)[1])  # type: ignore[index]
    _, header, *entries = data[start:].split(b"trailer")[0].splitlines()
    offsets = [int(entry[:10]) for entry in entries if entry.rstrip().endswith(b"n")]
    assert len(offsets) == int(header.split()[1]) - 1
    for number, offset in enumerate(offsets, 1):
        assert data[offset:].startswith(b"%d 0 obj" % number)
    assert len(re.findall(rb"/Type /Page\b(?!s)", data)) == pages


def test_the_word_form_is_a_package_whose_parts_are_there() -> None:
    with zipfile.ZipFile(COMMITTED / "forms/consent-1.docx") as package:
        assert package.testzip() is None
        names = set(package.namelist())
        for name in names:
            etree.fromstring(package.read(name))
        for base, relations in (("", "_rels/.rels"), ("word/", "word/_rels/document.xml.rels")):
            targets = [relation.get("Target") for relation in etree.fromstring(package.read(relations))]
            assert {base + target for target in targets} <= names


def test_the_fhir_document_is_an_stu3_bundle_whose_references_resolve() -> None:
    from fhir.resources.STU3.bundle import Bundle

    data = content("exchange/fhir/outpatient-letter.json")
    bundle = Bundle.model_validate_json(data)
    assert bundle.type == "document"
    entries = json.loads(data)["entry"]
    assert entries[0]["resource"]["resourceType"] == "Composition"
    here = {entry["fullUrl"] for entry in entries}
    assert set(re.findall(r'"reference": "([^"]+)"', data.decode())) <= here
    assert all(entry["fullUrl"] == f"urn:uuid:{entry['resource']['id']}" for entry in entries)


def test_the_cda_document_parses() -> None:
    document = etree.parse(COMMITTED / "exchange/cda/transfer-of-care.xml")
    assert document.getroot().tag == "{urn:hl7-org:v3}ClinicalDocument"
    assert len(document.findall(".//{urn:hl7-org:v3}section")) >= 4


def test_the_html_letter_parses_in_the_character_set_it_states() -> None:
    document = html.fromstring(content("letters/cardiology/clinic letter 2020-02-17.html"))
    assert "“under protest”" in document.text_content()
    assert document.xpath("string(//meta/@charset)") == "utf-8"


def test_the_ward_note_is_windows_1252_and_cannot_be_taken_for_utf_8() -> None:
    note = content("notes/ward-7/evaluation.txt")
    for byte in ("£", "–", "“", "”", "’", "½"):
        assert byte.encode("cp1252") in note
    assert b"\r\n" in note
    assert b"\n" not in note.replace(b"\r\n", b"")
    with pytest.raises(UnicodeDecodeError):
        note.decode("utf-8")


def test_the_rtf_letter_is_balanced_and_ascii() -> None:
    letter = content("letters/physiotherapy/outpatient.rtf").decode("ascii")
    assert letter.startswith(r"{\rtf1\ansi\ansicpg1252")
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", letter.rstrip())[:-1]:
        depth += 1 if brace == "{" else -1
        assert depth > 0
    assert depth == 1
    assert letter.rstrip().endswith("}")


# --- where it is found --------------------------------------------------------------------------------------------


def test_a_checkout_finds_its_own_archive() -> None:
    assert archive_directory() == COMMITTED


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The package as a wheel lays it out, without the archive."""
    for name in ("__init__.py", "demo/__init__.py"):
        target = tmp_path / "gateway" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "gateway" / name, target)
    return tmp_path


def ask(installed: Path) -> subprocess.CompletedProcess[str]:
    script = "from gateway.demo import archive_directory; print(archive_directory())"
    environment = importing(installed)
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True, check=False)


def test_an_installed_wheel_finds_the_archive_it_ships(installed: Path) -> None:
    archive = installed / "gateway" / "demo" / "sample-archive"
    archive.mkdir()
    shutil.copy(COMMITTED / MANIFEST, archive)
    assert ask(installed).stdout.strip() == str(archive)


def test_an_installation_without_the_archive_says_how_to_get_it(installed: Path) -> None:
    done = ask(installed)
    assert done.returncode != 0
    assert "python -m gateway.demo.archive config/sample-archive" in done.stderr


def test_the_demonstration_serves_this_archive_on_this_machine_only() -> None:
    settings = load(ROOT / "config" / "demo.yaml", {})
    source = settings.sources["letters"]
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert (source.adapter, source.prefix) == ("filesystem", "")
    assert isinstance(source.ids, ManifestIds)
    assert source.options.root == COMMITTED
    assert source.ids.file == COMMITTED / MANIFEST
