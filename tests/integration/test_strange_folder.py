"""A folder of strange files end to end: `config init --from-dir`, `check`, `serve`, each file read back bit for bit.

The commands are those a person types, each a process of its own; nothing is configured by hand but the port.
"""

from __future__ import annotations

import base64
import csv
import http.client
import json
import os
import random
import re
import subprocess
import sys
import time
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from gateway.errors import EMPTY_DOCUMENT
from tests.support.gateway import Gateway, serving

PROJECT = Path(__file__).parents[2]

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
TIFF = b"II*\x00"


def data(name: bytes, size: int, start: bytes = b"") -> bytes:
    """Bytes that belong to this name alone, from a seed: all values occur, also those that end a line or a text."""
    return start + random.Random(name).randbytes(size - len(start))


FILES: Mapping[bytes, bytes] = {
    b"space in name.pdf": data(b"1", 1000, PDF),
    b"  leading and trailing  ": data(b"2", 1001, PDF),
    b"hash#tag.pdf": data(b"3", 1002, PDF),
    b"percent%41.pdf": data(b"4", 1003, PDF),
    b"percentA.pdf": data(b"4a", 1003, PDF),
    b"plus+sign&ampersand=equals?.pdf": data(b"5", 1004, PDF),
    b"quote\"apostrophe'comma,semicolon;.pdf": data(b"6", 1005, PDF),
    "Müllerbefund.txt".encode(): b"composed: NFC",
    unicodedata.normalize("NFD", "Müllerbefund.txt").encode(): b"decomposed: NFD",
    "Herzröntgen 🫀 心臓.tif".encode(): data(b"7", 5000, TIFF),
    "rtl \u05de\u05db\u05ea\u05d1.pdf".encode(): data(b"8", 300, PDF),
    b"latin-\xe9t\xe9-bytes.txt": b"name in ISO 8859-1",
    b"\xff\xfe\x80 broken.pdf": data(b"9", 301, PDF),
    b"SHOUTING-EXTENSION.PDF": data(b"10", 302, PDF),
    b"noextensionatall": b"%PDF-1.3\nno ending",
    b"samestem.pdf": data(b"11", 303, PDF),
    b"samestem.tif": data(b"12", 304, TIFF),
    b"samestem": b"samestem without an ending",
    b"longname-" + b"n" * (255 - 9 - 4) + b".pdf": data(b"13", 305, PDF),
    b"-rf-dashes.pdf": data(b"14", 306, PDF),
    b"--help-dashes": data(b"15", 307, PDF),
    b"raw:prefixed.pdf": data(b"16", 308, PDF),
    b"raw%3Aprefixed.pdf": data(b"17", 309, PDF),
    b"C:drive-letter.txt": b"not a drive",
    b"'=formula().csv": b"a,b\r\n1,2\r\n",
    b"dots...many.. .pdf": data(b"18", 310, PDF),
    b"surname 999 000 0018 letter.pdf": data(b"19", 311, PDF),
    b"windows-1252.txt": b"Temperature 38\xb0C \x96 patient\x92s \x80 5\r\n",
    b"Ward 7/Letters (old)/subfolderletter.pdf": data(b"20", 312, PDF),
    b"Ward 7/samestem.pdf": data(b"21", 313, PDF),
    "Ärzte/brief.pdf".encode(): data(b"22", 314, PDF),
    b"zerobytes.pdf": b"",
    b"onebyte.bin": b"\x00",
    b"twobytes.bin": b"\x00\xff",
    b"threebytes.bin": b"\x00\xff\n",
    b"fourbytes.bin": b"\x00\xff\n\r",
    b"medium-300KiB.tif": data(b"23", 300 * 1024, TIFF),
    b"medium-300KiB-and-one.tif": data(b"24", 300 * 1024 + 1, TIFF),
    b"large-3MiB-and-two.pdf": data(b"25", 3 * 1024 * 1024 + 2, PDF),
}
"""Every file that is to be served. Each has a word in its name that stands nowhere else."""

LEFT_OUT = (b".hiddenfile.pdf", b".hiddenfolder/inside.pdf", b"Thumbs.db", b"line\nbreak.pdf", b"back\\slash.pdf")

EMPTY = b"zerobytes.pdf"

BASES = {"/STU3": "content", "/R4": "data"}
"""Each base, and what its Binary calls the document's bytes."""


def command(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "200"}
    words = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(words, cwd=cwd, env=environ, capture_output=True, text=True, errors="replace", timeout=100)


@dataclass(frozen=True)
class Journey:
    """What came of the folder up to the point where it is served. `documents` maps ids to the names of their files."""

    home: Path
    folder: Path
    init: subprocess.CompletedProcess[str]
    check: subprocess.CompletedProcess[str]
    documents: Mapping[str, bytes]

    @property
    def configuration(self) -> Path:
        return self.home / "gateway.yaml"

    def id_of(self, name: bytes) -> str:
        (found,) = (id for id, of in self.documents.items() if of == name)
        return found


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Reader:
    """A client on one kept-alive connection."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self.heads: list[str] = []

    def get(self, target: str) -> Answer:
        self._connection.request("GET", target, headers={"Accept-Encoding": "identity"})
        response = self._connection.getresponse()
        self.heads.append(str(response.headers))
        return Answer(response.status, response.headers, response.read())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    home = tmp_path_factory.mktemp("journey")
    folder = home / "Strange #1 50% (Ärzte)"
    for name in (*FILES, *LEFT_OUT):
        path = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            file.write(FILES.get(name, b"not to be served"))
    (home / "outside.pdf").write_bytes(b"outside of the folder")
    (folder / "symlink.pdf").symlink_to("../outside.pdf")
    os.mkfifo(folder / "fifo.pdf")
    init = command("config", "init", "--from-dir", folder, "--output", "gateway.yaml", cwd=home)
    assert init.returncode == 0, init.stderr
    check = command("check", "--config", "gateway.yaml", cwd=home)
    with (home / "index.csv").open(encoding="utf-8", newline="") as file:
        documents = {row["id"]: name_in(row["path"]) for row in csv.DictReader(file)}
    return Journey(home, folder, init, check, documents)


def name_in(path: str) -> bytes:
    """The bytes of a name out of the manifest's notation (docs/ids.md)."""
    return unquote_to_bytes(path[4:]) if path.startswith("raw:") else path.encode()


@pytest.fixture(scope="module")
def gateway(journey: Journey) -> Iterator[Gateway]:
    environ = {**os.environ, "GATEWAY__SERVER__PORT": "0", "GATEWAY__ADMIN__PORT": "0"}
    with serving(journey.configuration, journey.home / "serving", environ=environ) as running:
        yield running


@pytest.fixture(scope="module")
def reader(gateway: Gateway) -> Iterator[Reader]:
    with closing(http.client.HTTPConnection(gateway.host, gateway.port, timeout=20)) as connection:
        connection.connect()
        yield Reader(connection)


def test_init_says_what_it_did_what_it_left_out_and_what_comes_next(journey: Journey) -> None:
    said = journey.init.stdout
    assert f"{len(FILES)} documents" in said
    assert "ids are keyed hashes, since" in said
    for reason in ("symbolic links", "FIFOs", "hidden files", "Windows keeps for itself", "control character"):
        assert reason in said
    assert "empty files (1)" in said
    assert f"fhir-gateway check --config {journey.configuration}" in said
    assert len(journey.configuration.read_text().splitlines()) <= 12


@pytest.mark.requirement("FR-01", "FR-10")
def test_init_gives_every_file_an_id_that_says_nothing(journey: Journey) -> None:
    assert sorted(journey.documents.values()) == sorted(FILES)
    for id in journey.documents:
        assert re.fullmatch(r"[A-Za-z0-9.-]{1,64}", id)
        assert_no_name_in(id)


def test_what_init_keeps_to_itself_is_for_its_owner_alone(journey: Journey) -> None:
    for name in ("index.csv", "ids.key"):
        assert (journey.home / name).stat().st_mode & 0o077 == 0


@pytest.mark.requirement("FR-08")
def test_init_again_gives_the_same_ids(journey: Journey) -> None:
    index = journey.home / "index.csv"
    before = index.read_bytes()
    refused = command("config", "init", "--from-dir", journey.folder, "--output", "gateway.yaml", cwd=journey.home)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    again = command(
        "config", "init", "--from-dir", journey.folder, "--output", "gateway.yaml", "--force", cwd=journey.home
    )
    assert again.returncode == 0, again.stderr
    assert index.read_bytes() == before


def test_check_finds_nothing_wrong(journey: Journey) -> None:
    assert journey.check.returncode == 0, journey.check.stdout + journey.check.stderr
    assert "All well." in journey.check.stdout
    assert f"{len(FILES)} rows" in journey.check.stdout


def test_check_samples_every_document_and_names_none(journey: Journey) -> None:
    done = command("check", "--config", "gateway.yaml", "--sample", "1000", "--json", cwd=journey.home)
    report = json.loads(done.stdout)
    (source,) = report["sources"]
    assert (done.returncode, report["code"]) == (0, 0), done.stdout
    assert (source["sampled"], source["empty"], source["findings"]) == (len(FILES), 1, [])
    assert_no_name_in(done.stdout.replace(str(journey.folder), ""))


@pytest.mark.requirement("CC-01", "CC-08", "CC-11", "CC-12", "CC-15", "CC-66", "FR-09", "FR-204")
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", FILES, ids=lambda name: name.decode("utf-8", "backslashreplace")[:40])
def test_a_file_is_read_back_bit_for_bit(name: bytes, base: str, journey: Journey, reader: Reader) -> None:
    original = FILES[name]
    target = f"{base}/Binary/{journey.id_of(name)}"
    native, as_json, as_xml = (reader.get(target + query) for query in ("", "?_format=json", "?_format=xml"))
    assert (native.status, native.body) == (200, original)
    assert native.headers["Content-Length"] == str(len(original))
    if name == EMPTY:
        return
    assert as_json.status == as_xml.status == 200
    for answer, read in ((as_json, out_of_json), (as_xml, out_of_xml)):
        id, content_type, content = read(answer.body, BASES[base])
        assert (id, content_type) == (journey.id_of(name), native.headers["Content-Type"])
        assert content == original
        assert answer.headers["Content-Length"] == str(len(answer.body))


def out_of_json(body: bytes, element: str) -> tuple[str, str, bytes]:
    binary = json.loads(body)
    assert binary["resourceType"] == "Binary"
    return binary["id"], binary["contentType"], base64.b64decode(binary[element], validate=True)


def out_of_xml(body: bytes, element: str) -> tuple[str, str, bytes]:
    fhir = "{http://hl7.org/fhir}"
    binary = ElementTree.fromstring(body)
    assert binary.tag == f"{fhir}Binary"
    values = {child.tag.removeprefix(fhir): child.get("value", "") for child in binary}
    return values["id"], values["contentType"], base64.b64decode(values[element], validate=True)


@pytest.mark.requirement("FR-207")
@pytest.mark.parametrize("form", ["json", "xml"])
def test_an_empty_file_has_no_envelope_in_stu3_and_one_without_data_in_r4(
    form: str, journey: Journey, reader: Reader
) -> None:
    id = journey.id_of(EMPTY)
    refused = reader.get(f"/STU3/Binary/{id}?_format={form}")
    assert refused.status == 502
    assert b"OperationOutcome" in refused.body
    assert EMPTY_DOCUMENT.code.encode() in refused.body
    answer = reader.get(f"/R4/Binary/{id}?_format={form}")
    assert answer.status == 200
    assert b"contentType" in answer.body
    assert b"data" not in answer.body


@pytest.mark.requirement("FR-85")
@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        (b"SHOUTING-EXTENSION.PDF", "application/pdf"),
        (b"noextensionatall", "application/pdf"),
        (b"medium-300KiB.tif", "image/tiff"),
        (b"windows-1252.txt", "text/plain"),
        (b"onebyte.bin", "application/octet-stream"),
    ],
)
def test_a_type_is_told_and_no_charset_is_invented(
    name: bytes, media_type: str, journey: Journey, reader: Reader
) -> None:
    assert reader.get(f"/R4/Binary/{journey.id_of(name)}").headers["Content-Type"] == media_type


@pytest.mark.requirement("FR-03", "FR-04")
def test_names_are_no_ids(journey: Journey, reader: Reader) -> None:
    inside = ("samestem", "samestem.pdf", "Ward%207%2Fsamestem.pdf", "symlink.pdf", "fifo.pdf")
    for guess in (*inside, "%2e", "%2e%2e", "..%2Foutside.pdf", "%00"):
        assert reader.get(f"/R4/Binary/{guess}").status == 404


@pytest.mark.requirement("FR-10")
def test_no_answer_and_no_log_line_holds_a_name(journey: Journey, gateway: Gateway, reader: Reader) -> None:
    for name in FILES:
        assert reader.get(f"/R4/Binary/{journey.id_of(name)}").status == 200
    for head in reader.heads:
        assert_no_name_in(head)
    deadline = time.monotonic() + 5
    while sum(line.get("event") == "request" for line in gateway.lines()) < len(reader.heads):
        assert time.monotonic() < deadline, "requests are missing in the log"
        time.sleep(0.02)
    log = gateway.server.log.read_text()
    assert_no_name_in(log)
    assert "Strange" not in log
    assert not [id for id in journey.documents if id in log]


@pytest.mark.parametrize("name", [b"latin-\xe9t\xe9-bytes.txt", b"--help-dashes"], ids=["not-utf-8", "dashes"])
def test_fetch_explains_what_a_client_gets(name: bytes, journey: Journey) -> None:
    id = journey.id_of(name)
    done = command("fetch", id, "--config", "gateway.yaml", "--explain", cwd=journey.home)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^answer +200 OK$", done.stdout, re.MULTILINE)
    assert re.search(rf"^body +{len(FILES[name])} bytes, complete$", done.stdout, re.MULTILINE)
    assert f"GET /R4/Binary/{id}" in done.stdout


def assert_no_name_in(text: str) -> None:
    found = [word for word in WORDS if word.lower() in text.lower()]
    assert not found


WORDS = sorted(
    {word for name in FILES for word in re.findall(r"[^\W0-9]{6,}|[0-9 ]{12}", name.decode("utf-8", "replace"))}
)
"""Words of the names, long enough to stand nowhere by chance, and the NHS number."""
