"""The CSV file of a manifest: what each column means, and how each kind of bad file is explained."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ids import ManifestError
from gateway.ids.manifest_header import one_slip
from gateway.ids.manifest_paths import Paths, Refused, path_text
from gateway.routing import Location, Withdrawn
from tests.unit.ids.manifests import everything, index, located, problems, settings

FULL = "id,path,content_type,title,patient,date,status,Site,sensitive\n"
WINDOWS = {"separator": "\\", "strip": r"\\server\share"}


# --- what a good file says -----------------------------------------------------------------------------------------


def test_a_row_with_all_columns(tmp_path):
    text = FULL + '1,a/b c#.tif,IMAGE/tiff,"Letter, ""final""",9990000018,2011-05-17,current,RXH,\n'
    found = located(tmp_path, text)
    assert found == Location(
        "letters",
        "a/b c#.tif",
        media_type="IMAGE/tiff",
        title='Letter, "final"',
        patient="9990000018",
        modified=datetime(2011, 5, 17, tzinfo=UTC),
        attributes={"Site": "RXH"},
    )
    with pytest.raises(TypeError):
        found.attributes["Site"] = "other"


def test_a_row_with_two_columns(tmp_path):
    assert located(tmp_path, "id,path\n1,a.pdf\n") == Location("letters", "a.pdf")


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfid,path\n1,a.pdf\n",
        b"id,path\r\n1,a.pdf\r\n",
        b"id,path\r1,a.pdf\r",
        b"id,path\n1,a.pdf",
        b"\n".join([b'"id","path"', b'"1","a.pdf"']),
        b'\xef\xbb\xbf"id","path"\r\n"1","a.pdf"\r\n',
        b" ID , Path \n1,a.pdf\n",
        b"path,id\na.pdf,1\n",
        b"id,path\n\n1,a.pdf\n\n,\n\r\n",
    ],
)
def test_ways_to_write_the_same_file(tmp_path, text):
    assert located(tmp_path, text) == Location("letters", "a.pdf")


@pytest.mark.parametrize(
    ("encoding", "option"),
    [
        ("utf-8", "utf-8"),
        ("utf-8", "UTF8"),
        ("utf-8-sig", "utf-8"),
        ("windows-1252", "windows-1252"),
        ("iso-8859-1", "latin-1"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
    ],
)
def test_encodings(tmp_path, encoding, option):
    text = "id,path,title\n1,Ärzte/é.pdf,Grüße\n".encode(encoding)
    found = located(tmp_path, text, encoding=option)
    assert (found.locator, found.title) == ("Ärzte/é.pdf", "Grüße")


def test_a_byte_order_mark_that_the_encoding_leaves_standing(tmp_path):
    text = "\ufeffid,path\n1,a.pdf\n".encode("utf-16-le")
    assert located(tmp_path, text, encoding="utf-16-le").locator == "a.pdf"


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_delimiters(tmp_path, delimiter):
    text = "id,path,title\n1,a.pdf,Letter\n".replace(",", delimiter)
    assert located(tmp_path, text, delimiter=delimiter).title == "Letter"


@pytest.mark.parametrize(
    ("date", "modified"),
    [
        ("2011-05-17", datetime(2011, 5, 17, tzinfo=UTC)),
        ("2011-05-17T09:30:00", datetime(2011, 5, 17, 9, 30, tzinfo=UTC)),
        ("2011-05-17 09:30:00", datetime(2011, 5, 17, 9, 30, tzinfo=UTC)),
        ("2011-05-17T09:30:00Z", datetime(2011, 5, 17, 9, 30, tzinfo=UTC)),
        ("2011-05-17T00:30:00.5+01:00", datetime(2011, 5, 16, 23, 30, 0, 500000, tzinfo=UTC)),
        ("", None),
    ],
)
def test_dates_are_in_utc(tmp_path, date, modified):
    assert located(tmp_path, f"id,path,date\n1,a.pdf,{date}\n").modified == modified


def test_withdrawn_rows_are_gone_and_keep_what_is_known_of_them(tmp_path):
    text = (
        "id,path,patient,status\n1,a.pdf,9990000018,current\n2,b.pdf,9990000026,Withdrawn\n3,,,withdrawn\n4,d.pdf,,\n"
    )
    with index(tmp_path, text) as made:
        assert everything(made, ["1", "2", "3", "4", "5"]) == {
            "1": "a.pdf",
            "2": "gone",
            "3": "gone",
            "4": "d.pdf",
            "5": "none",
        }
        with pytest.raises(Withdrawn) as gone:
            made.find("2")
        assert (gone.value.location.locator, gone.value.location.patient) == ("b.pdf", "9990000026")


@pytest.mark.requirement("FR-02")
def test_ids_that_differ_in_case_are_different(tmp_path):
    with index(tmp_path, "id,path\na,1.pdf\nA,2.pdf\n") as made:
        assert everything(made, ["a", "A"]) == {"a": "1.pdf", "A": "2.pdf"}


# --- paths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "locator", "options"),
    [
        ("a/b.pdf", "a/b.pdf", {}),
        (".hidden/x.", ".hidden/x.", {}),
        ("a/...", "a/...", {}),
        ("12:30.pdf", "12:30.pdf", {}),
        ("raw:caf%E9/a%2Eb%5C%23.pdf", "caf\udce9/a.b\\#.pdf", {}),
        ("raw:raw%3Ax", "raw:x", {}),
        ("raw:ü.pdf", "ü.pdf", {}),
        ("./a.pdf", "a.pdf", {"strip": "./"}),
        ("/mnt/old/a.pdf", "a.pdf", {"strip": "/mnt/old"}),
        ("mnt/older.pdf", "mnt/older.pdf", {"strip": "mnt/old"}),
        (r"\\server\share\a\b.pdf", "a/b.pdf", WINDOWS),
        (r"\\SERVER\Share\A\b.pdf", "A/b.pdf", WINDOWS),
        ("//server/share/a.pdf", "a.pdf", WINDOWS),
        (r"a\b.pdf", "a/b.pdf", WINDOWS),
        (r"D:\scans\1\2.tif", "1/2.tif", {"separator": "\\", "strip": "d:\\scans\\"}),
        (r"D:\scans\1.tif", "scans/1.tif", {"separator": "\\", "strip": "D:"}),
    ],
)
def test_paths(tmp_path, written, locator, options):
    assert located(tmp_path, f"id,path\n1,{written}\n", **options).locator == locator


@pytest.mark.parametrize(
    ("written", "says", "options"),
    [
        ("", "is empty", {}),
        ("/etc/passwd", "is absolute", {}),
        ("//etc/passwd", "is absolute", {}),
        ("../x", "could leave the archive", {}),
        ("a/../../x", "could leave the archive", {}),
        ("a/..", "could leave the archive", {}),
        ("a//b", "empty folder name", {}),
        ("a/", "ends with /", {}),
        ("./a", "set strip: ./", {}),
        ("a/./b", "set strip: ./", {}),
        (".", "has . as a folder", {}),
        ("a\0b", "control character", {}),
        ("a\x1fb", "control character", {}),
        (r"a\b", r"set separator: '\'", {}),
        (r"\\server\share\a", "names a Windows share; set separator", {}),
        (r"C:\a\b", "names a Windows drive; set separator", {}),
        ("C:/a/b", "names a Windows drive; set separator", {}),
        ("raw:", "is empty", {}),
        ("raw:%zz", "not followed by two hexadecimal digits", {}),
        ("raw:a%2", "not followed by two hexadecimal digits", {}),
        ("raw:%2e%2e/x", "could leave the archive", {}),
        ("raw:/x", "is absolute", {}),
        ("raw:%2Fx", "is absolute", {}),
        ("raw:a%00", "NUL", {}),
        ("raw:a%2F%2Fb", "empty folder name", {}),
        ("/mnt/older/x", "is absolute", {"strip": "/mnt/old"}),
        ("/mnt/old/", "is empty", {"strip": "/mnt/old"}),
        ("/mnt/old//etc/passwd", "is absolute", {"strip": "/mnt/old"}),
        ("/mnt/old/../x", "could leave the archive", {"strip": "/mnt/old"}),
        (r"\\other\share\x", "names a Windows share", WINDOWS),
        (r"\\server\share2\x", "names a Windows share", WINDOWS),
        (r"\\server\share\..\x", "could leave the archive", WINDOWS),
        (r"E:\x", "names a Windows drive", WINDOWS),
        (r"\x", "is absolute", WINDOWS),
        (r"a\x.pdf:stream", "colon", WINDOWS),
    ],
)
def test_paths_that_are_refused(tmp_path, written, says, options):
    (line,) = problems(tmp_path, f"id,path,title\n1,good.pdf,\n2,{written},x\n", **options)
    assert line.startswith("line 3: column path ")
    assert says in line


@given(st.text(alphabet="ab./\\:%\0Cé ", max_size=12), st.booleans(), st.sampled_from(["", "a/", "/a", "\\\\a\\b"]))
def test_no_path_leads_out_of_the_archive(tmp_path_factory, written, windows, strip):
    paths = Paths(settings(tmp_path_factory.getbasetemp(), strip=strip, separator="\\" if windows else "/"))
    for text in (written, "raw:" + written):
        try:
            locator = paths.locator(text)
        except Refused:
            continue
        assert not {"", ".", ".."} & set(locator.split("/"))
        assert "\0" not in locator


@given(st.binary(min_size=1, max_size=12).map(os.fsdecode) | st.text(alphabet="ab:\\%/. é\n\x1f", min_size=1))
def test_every_file_name_can_be_written_in_a_manifest(tmp_path_factory, locator):
    written = path_text(locator)
    paths = Paths(settings(tmp_path_factory.getbasetemp()))
    try:
        assert paths.locator(written) == locator
    except Refused:
        assert {"", ".", ".."} & set(locator.split("/")) or "\0" in locator
    written.encode()
    assert written.isprintable()


# --- what is wrong with a file as a whole --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (b"", {}, "the file is empty"),
        (b"\xef\xbb\xbf", {}, "the file is empty"),
        ("id,path\n", {}, "the file has a header and no rows"),
        ("id,path\n\n\n", {}, "the file has a header and no rows"),
        ("id;path\n1;a.pdf\n", {}, 'line 1: the fields look separated by semicolons; set delimiter: ";"'),
        ('"id"\t"path"\n1\ta.pdf\n', {}, 'line 1: the fields look separated by tabs; set delimiter: "\\t"'),
        ("id|path\n1|a.pdf\n", {}, 'line 1: the fields look separated by bars; set delimiter: "|"'),
        ("id,path\n1,a.pdf\n", {"delimiter": ";"}, 'line 1: the fields look separated by commas; set delimiter: ","'),
        ("id,path\n1,a\n".encode("utf-16"), {}, "the file is UTF-16; set encoding: utf-16"),
        ("id,path\n1,a\n".encode("utf-16-le"), {}, "line 1: the file looks like UTF-16; set encoding: utf-16-le"),
        (
            "id,path,Größe\n1,a,2\n".encode("cp1252"),
            {},
            "line 1: the header is not valid UTF-8; save the file as UTF-8",
        ),
        ("id,pfad\n1,a\n", {}, "line 1: there is no column `path`; the first line must name the columns"),
        ("id,pth\n1,a\n", {}, "line 1: column 2 is nearly `path`; did you mean that?"),
        ("id,path,statsu\n1,a,\n", {}, "line 1: column 3 is nearly `status`"),
        ("id,path,content-type\n1,a,\n", {}, "line 1: column 3 is nearly `content_type`"),
        ("id,path,Content Type\n1,a,\n", {}, "line 1: column 3 is nearly `content_type`"),
        ("id,path,patients\n1,a,\n", {}, "line 1: column 3 is nearly `patient`"),
        ("id,path,ID\n1,a,1\n", {}, "line 1: columns 1 and 3 have the same name"),
        ("id,path,site,site\n1,a,1,1\n", {}, "line 1: columns 3 and 4 have the same name"),
        ("id,path,\n1,a,\n", {}, "line 1: column 3 has no name"),
        (b"\0" * 200_000, {}, "line 1: the first line does not end; this is not a CSV file"),
        ('id,"path\n1,a\n', {}, "line 1: a quoted field begins that never ends"),
    ],
)
def test_a_file_that_cannot_be_read_is_explained_in_one_line(tmp_path, text, options, says):
    (line,) = problems(tmp_path, text, **options)
    assert says in line


def test_a_first_line_that_is_no_header_is_not_repeated(tmp_path):
    lines = problems(tmp_path, "4711,letters/smith.pdf,John Smith\n4712,letters/doe.pdf,Jane Doe\n")
    assert len(lines) == 2
    assert "there is no column `id`" in lines[0]
    assert not any(word in "\n".join(lines).lower() for word in ("smith", "doe", "4711"))


@pytest.mark.parametrize("name", ["site", "consultant", "department", "idx", "update", "subtitle", "patient_name"])
def test_further_columns_are_attributes(tmp_path, name):
    assert located(tmp_path, f"id,path,{name}\n1,a.pdf,x\n").attributes == {name: "x"}


def test_a_name_near_a_column_that_is_there_is_an_attribute(tmp_path):
    found = located(tmp_path, "id,path,title,titles,status,states\n1,a.pdf,x,y,current,z\n")
    assert found.attributes == {"titles": "y", "states": "z"}


@pytest.mark.parametrize(
    ("meant", "written", "slip"),
    [
        ("title", "titel", True),
        ("title", "tile", True),
        ("title", "tiitle", True),
        ("title", "titlf", True),
        ("title", "xtitle", True),
        ("title", "titles", True),
        ("title", "tilte", True),
        ("title", "subtitle", False),
        ("title", "ttile", True),
        ("title", "tiel", False),
        ("content_type", "contenttype", True),
        ("id", "nid", False),
        ("date", "", False),
    ],
)
def test_one_slip(meant, written, slip):
    assert one_slip(meant, written) is slip


# --- what is wrong with rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (",a.pdf,,,,,,,", "column id is empty"),
        ("a_b,a.pdf,,,,,,,", "column id has a character other than letters, digits, hyphen and dot"),
        ("a b,a.pdf,,,,,,,", "column id has a character"),
        ("é,a.pdf,,,,,,,", "column id has a character"),
        ("..,a.pdf,,,,,,,", "column id is nothing but a dot or two"),
        ("x" * 65 + ",a.pdf,,,,,,,", "column id makes an id of 65 characters; the most is 64"),
        ("1,a.pdf,,,,,", "the row has 7 fields where the header has 9"),
        ("1,a.pdf,,,,,,,,x", "the row has 10 fields where the header has 9"),
        ("1", "the row has 1 fields where the header has 9"),
        ("1,a.pdf,pdf,,,,,,", "column content_type is not a media type such as application/pdf"),
        ("1,a.pdf,*/*,,,,,,", "column content_type is not a media type"),
        ("1,a.pdf,,,,17/05/2011,,,", "column date is not an ISO 8601 date"),
        ("1,a.pdf,,,,2011-02-30,,,", "column date is not"),
        ("1,a.pdf,,,,2011-05,,,", "column date is not"),
        ("1,a.pdf,,,,20110517,,,", "column date is not"),
        ("1,a.pdf,,,,2011-05-17x09:30,,,", "column date is not"),
        ("1,a.pdf,,,,٢٠١١-٠٥-١٧,,,", "column date is not"),
        ("1,a.pdf,,,,0001-01-01T00:00:00+05:00,,,", "column date is not"),
        ("1,a.pdf,,,,,superseded,,", "column status is not known; write current, withdrawn or nothing"),
        ("1,,,,,,current,,", "column path is empty"),
        ("1,a.pdf,,x\x1fy,,,,,", "column title has a control character in it"),
        ("1,a.pdf,,x\0y,,,,,", "column title has a control character in it"),
        ("1,a.pdf,,,,,,,x\x1fy", "column 9 has a control character in it"),
        ('1,"a.pdf"x,,,,,,,', "a quoted field goes on after its closing quote"),
        ('1,"a.pdf,,,,,,,', "a quoted field begins that never ends"),
        ('1,"' + "a" * 140_000 + '",,,,,,,', "does not end within 131072 characters"),
    ],
)
def test_a_bad_row_is_explained(tmp_path, row, says):
    lines = problems(tmp_path, f"{FULL}0,good.pdf,,,,,,,\n{row}\n")
    assert lines[0].startswith("line 3: ")
    assert says in lines[0]
    assert len(lines) == 1


def test_the_prefix_of_the_source_counts_in_the_length_of_an_id(tmp_path):
    text = "id,path\n" + "x" * 62 + ",a.pdf\n"
    assert located(tmp_path, text, "x" * 62, prefix="s.").locator == "a.pdf"
    (line,) = problems(tmp_path, text, prefix="sc.")
    assert "makes an id of 65 characters, the prefix of the source among them" in line


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    text = 'id,path,title\r\n1,a.pdf,"two\r\nlines"\r\n\r\n2,../b.pdf,"three\n\nlines"\r\n3,c.pdf,\r\n4,/d.pdf,\r\n'
    assert [line.split(":")[0] for line in problems(tmp_path, text)] == ["line 5", "line 9"]
    good = text.replace("../", "").replace("/d", "d")
    with index(tmp_path, good) as made:
        assert [(id, line) for id, line, _ in made.sample(9)] == [("1", 2), ("2", 5), ("3", 8), ("4", 9)]
        assert made.find("1").title == "two\r\nlines"


def test_lines_are_counted_on_after_a_row_that_is_not_csv(tmp_path):
    text = 'id,path\n1,a.pdf\n2,"b"x\n3,/c\n4,d.pdf\n5,"e\nf"x,\n6,/g\n'
    assert [line.split(":")[0] for line in problems(tmp_path, text)] == ["line 3", "line 4", "line 6", "line 8"]


def test_text_that_is_not_utf_8_names_line_column_and_cure(tmp_path):
    text = "id,path,title,ward\n1,a.pdf,Grüße,x\n2,b.pdf,x,x\n3,raw:é.pdf,x,Süd\n"
    lines = problems(tmp_path, text.encode("windows-1252"))
    assert [line.split(" is not")[0] for line in lines] == [
        "line 2: column title",
        "line 4: column path",
        "line 4: column 4",
    ]
    assert all("encoding: windows-1252" in line for line in lines)
    lines = problems(tmp_path, text.encode("windows-1252") + b"4,\x81.pdf,,\n", encoding="windows-1252")
    assert lines == ["line 5: column path is not valid cp1252; set `encoding` to what the file was written in"]


def test_half_a_character_at_the_end_of_a_utf_16_file(tmp_path):
    (line,) = problems(tmp_path, "id,path\n1,a.pdf\n".encode("utf-16") + b"\0", encoding="utf-16")
    assert "is not valid utf-16" in line


def test_all_that_is_wrong_with_a_row_is_said(tmp_path):
    lines = problems(tmp_path, FULL + "a_b,/x,pdf,,,yesterday,lost,,\n")
    assert [line.split()[3] for line in lines] == ["id", "path", "content_type", "date", "status"]


def test_repeated_ids_name_both_lines(tmp_path):
    text = "id,path\n1,a.pdf\n2,b.pdf\n1,c.pdf\n3,d.pdf\n2,e.pdf\n1,a.pdf\n"
    assert problems(tmp_path, text) == [
        "line 4: column id repeats the id of line 2",
        "line 6: column id repeats the id of line 3",
        "line 7: column id repeats the id of line 2",
    ]


def test_problems_of_all_kinds_come_in_the_order_of_the_file(tmp_path):
    text = "id,path\n1,/a\n2,b.pdf\n2,c.pdf\n3,/d\n"
    assert [line.split(":")[0] for line in problems(tmp_path, text)] == ["line 2", "line 4", "line 5"]


def test_the_first_twenty_problems_and_the_number_of_the_others(tmp_path):
    rows = "".join(f"{n},../{n}.pdf\n" for n in range(30)) + "".join(f"a{n % 4},a.pdf\n" for n in range(34))
    lines = problems(tmp_path, "id,path\n" + rows)
    assert [line.split(":")[0] for line in lines[:20]] == [f"line {n}" for n in range(2, 22)]
    assert lines[20:] == ["and 40 more problems"]


def test_no_problem_repeats_what_stands_in_a_row(tmp_path):
    secret = "Zebediah"
    rows = [
        f"{secret}_,a,,,,,,,",
        f"1,../{secret},,,,,,,",
        f"2,/{secret}\\,,,,,,,",
        f"3,raw:{secret}%,,,,,,,",
        f"4,a,{secret},,,{secret},{secret},,",
        f'5,"{secret}" {secret},,,,,,,',
        f"6,a,,{secret}\x1f,,,,,",
        f"7,a,,{secret},,",
        f'8,"{secret}',
    ]
    lines = problems(tmp_path, FULL + "\n".join(rows))
    assert len(lines) == 11
    assert secret not in "\n".join(lines)


@given(st.binary(max_size=60) | st.text(alphabet='id,path\n"\r;1.a/\0é', max_size=60).map(str.encode))
def test_whatever_the_bytes_the_answer_is_an_index_or_an_explanation(tmp_path_factory, junk):
    directory = tmp_path_factory.mktemp("junk", numbered=True)
    for text in (junk, b"id,path,date,status\n1,a.pdf,,\n" + junk):
        # Any other exception fails the test.
        with suppress(ManifestError), index(directory, text) as made:
            assert made.rows >= 1
            assert all(location.locator for _, _, location in made.sample(9))
