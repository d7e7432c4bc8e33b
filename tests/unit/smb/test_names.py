"""Which locators lead to a path on a share, and which are refused before anything is sent."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.errors import InvalidLocator
from adapters.smb.names import LONGEST_NAME, LONGEST_PATH, fits, same, split_stem, to_path


@pytest.mark.parametrize(
    "locator",
    [
        "letter.pdf",
        "2024/03/letter.pdf",
        "with space/Brief an Müller & Söhne (2).pdf",
        " leading space.pdf",
        ".hidden",
        "...dots.pdf",
        "a.b.c",
        "50%.pdf",
        "%2e%2e/letter.pdf",
        "e\u0301.pdf",
        "\u00e9.pdf",
        "日本語/文書.pdf",
        "\U0001f4c4.pdf",
        # No short names: too long, no digit, a space, an ending that is too long, two dots, nothing before the tilde.
        "letter~draft.pdf",
        "letter~x.html",
        "longletter~1.pdf",
        "my f~1.pdf",
        "letter~1.html",
        "letter~1.2.pdf",
        "~1.pdf",
        "~$letter.docx",
        "smith~0.pdf",
        # No devices.
        "console.pdf",
        "com.pdf",
        "COM10.pdf",
        "nul-result.pdf",
        "my con.pdf",
        "a.con",
        # Not where a server keeps the past, and no files of NTFS.
        "snapshot/letter.pdf",
        "GMT-letter.pdf",
        "letter@GMT-2024.01.01-00.00.00.pdf",
        "$MFT.pdf",
        "MFT",
        "$archive/letter.pdf",
    ],
)
def test_an_honest_name_passes_unaltered(locator: str) -> None:
    assert to_path(locator) == locator.replace("/", "\\")
    assert to_path(locator, "archive\\letters") == "archive\\letters\\" + locator.replace("/", "\\")


@pytest.mark.parametrize(
    ("locator", "reason"),
    [
        ("", "is empty"),
        ("/etc/passwd", "begins with a slash"),
        ("//server/share/x", "begins with a slash"),
        (r"\\server\share\x", "backslash"),
        (r"a\..\b", "backslash"),
        (".", '"." or ".."'),
        ("..", '"." or ".."'),
        ("a/../b", '"." or ".."'),
        ("a/./b", '"." or ".."'),
        ("../secret", '"." or ".."'),
        ("a//b", "empty name"),
        ("a/", "empty name"),
        ("a.", "dot or a space"),
        ("a ", "dot or a space"),
        ("a./b", "dot or a space"),
        ("a /b", "dot or a space"),
        (".. /b", "dot or a space"),
        (".../b", "dot or a space"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("a\x7fb", "control character"),
        ("a\ud800b", "surrogate"),
        ("letter.pdf:stream", "no part of a name"),
        ("letter.pdf::$DATA", "no part of a name"),
        ("c:/letter.pdf", "no part of a name"),
        ("*.pdf", "no part of a name"),
        ("lette?.pdf", "no part of a name"),
        ("<.pdf", "no part of a name"),
        (">.pdf", "no part of a name"),
        ('".pdf', "no part of a name"),
        ("a|b", "no part of a name"),
        ("con", "device"),
        ("CON.pdf", "device"),
        ("a/Nul.tar.gz", "device"),
        ("aux/letter.pdf", "device"),
        ("COM1", "device"),
        ("com0.txt", "device"),
        ("LPT9.pdf", "device"),
        ("COM\u00b9.pdf", "device"),
        ("lpt\u00b3", "device"),
        ("PRN .pdf", "device"),
        ("conin$", "device"),
        ("CONOUT$.txt", "device"),
        ("@GMT-2024.01.01-00.00.00/letter.pdf", "earlier version"),
        ("a/@gmt-2024.01.01-00.00.00", "earlier version"),
        ("~snapshot/hourly.0/letter.pdf", "deleted or replaced"),
        ("a/.snapshot/daily/letter.pdf", "deleted or replaced"),
        (".zfs/snapshot/x/letter.pdf", "deleted or replaced"),
        ("$Recycle.Bin/S-1-5-21/letter.pdf", "deleted or replaced"),
        ("#recycle/letter.pdf", "deleted or replaced"),
        (".recycle/letter.pdf", "deleted or replaced"),
        (".Trash-1000/files/letter.pdf", "deleted or replaced"),
        ("System Volume Information/x", "deleted or replaced"),
        ("$MFT", "NTFS"),
        ("$mft", "NTFS"),
        ("$Extend/$UsnJrnl", "NTFS"),
        ("$MFT/x", "NTFS"),
        ("LETTER~1.PDF", "short"),
        ("letter~1.pdf", "short"),
        ("LETTER~1", "short"),
        ("a/LE3F07~1.PDF/b", "short"),
        ("LE~99999.X", "short"),
        ("L~123456", "short"),
        ("smith~2.pdf", "short"),
        ("LQ2X7B~M.PDF", "short"),
        ("letter~d.pdf", "short"),
        ("x" * 256, "longer than a share can hold"),
        ("x/" + "y" * 256 + "/z", "longer than a share can hold"),
        ("\U0001f4c4" * 128, "longer than a share can hold"),
        ("/".join(["x" * 200] * 6), "longer than the gateway asks"),
    ],
)
def test_what_no_document_is_called_is_refused_by_its_text(locator: str, reason: str) -> None:
    with pytest.raises(InvalidLocator) as refused:
        to_path(locator)
    assert reason in refused.value.detail
    if len(locator) > 4:
        assert locator not in refused.value.detail


def test_lengths_are_counted_as_the_server_counts_them() -> None:
    assert to_path("x" * LONGEST_NAME)
    assert to_path("\U0001f4c4" * 127 + "x")
    longest = "/".join(["x" * 127] * 8)
    assert len(to_path(longest + "y")) == LONGEST_PATH
    with pytest.raises(InvalidLocator):
        to_path(longest + "yy")
    with pytest.raises(InvalidLocator):
        to_path(longest, "archive")


PIECES = st.sampled_from(
    [
        *"/\\. ~1a$:*?<é\0\n\ud800\u00b2\U0001f4c4",
        "..",
        "PDF",
        "con",
        "com",
        "MFT",
        "@GMT-",
        ".zfs",
        "x" * 100,
        "letter",
    ]
)
LOCATORS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=14).map("".join))

DEVICES = {"CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$"} | {
    f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"
}


def harmless(name: str) -> bool:
    """What every name on the wire must be, in other words than those of the module."""
    return (
        name not in ("", ".", "..")
        and not set(name) & set('<>:"|?*\\/\x7f')
        and not any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in name)
        and name[-1] not in ". "
        and name.split(".")[0].rstrip(" ").upper() not in DEVICES
        and not name.upper().startswith("@GMT-")
        and name.upper() not in ("$MFT", ".ZFS")
        and len(name.encode("utf-16-le")) <= 510
    )


@given(LOCATORS)
@example("a/b")
def test_only_harmless_names_reach_the_wire(locator: str) -> None:
    with contextlib.suppress(InvalidLocator):
        names = to_path(locator).split("\\")
        assert all(map(harmless, names))
        assert "/".join(names) == locator


@given(LOCATORS, LOCATORS)
def test_no_locator_leaves_the_folder(locator: str, folder: str) -> None:
    with contextlib.suppress(InvalidLocator):
        inside = to_path(folder)
        path = to_path(locator, inside)
        assert path.startswith(inside + "\\")
        assert ".." not in path.split("\\")


@given(LOCATORS)
def test_no_wildcard_of_a_reader_reaches_a_listing(stem: str) -> None:
    with contextlib.suppress(InvalidLocator):
        folder, beginning = split_stem(stem)
        assert beginning
        assert not set(beginning) & set('*?<>"\\/')
        if folder:
            assert all(map(harmless, folder.split("/")))
        assert stem == (f"{folder}/{beginning}" if folder else beginning)


@pytest.mark.parametrize("stem", ["letter", "2024/letter", "letter.v2", "letter.", "a b ", "(1) & co"])
def test_a_stem_is_the_beginning_of_an_honest_name(stem: str) -> None:
    assert "/".join(filter(None, split_stem(stem))) == stem


@pytest.mark.parametrize("stem", ["", "a/", "/", "*", "a/l?tter", "../a", "con", "LETTER~1", "a\\b", "/a", ".zfs/a"])
def test_a_stem_of_no_document_is_refused(stem: str) -> None:
    with pytest.raises(InvalidLocator):
        split_stem(stem)


@pytest.mark.parametrize(
    ("name", "fitting"),
    [
        ("letter.pdf", True),
        ("LETTER.PDF", True),
        ("letter.v2.pdf", False),
        ("letters.pdf", False),
        ("letter", False),
        ("letter.", False),
        ("letter.pdf~", False),
        ("letter.bak", False),
        ("letter.TMP", False),
        ("letter.\ud800", False),
        ("letter.p:f", False),
        ("letter.\x7f", False),
    ],
)
def test_an_ending_is_one_and_no_leftover(name: str, fitting: bool) -> None:
    assert fits(name, "letter") is fitting


def test_names_are_compared_letter_by_letter() -> None:
    assert same("ÄRZTE", "ärzte")
    assert not same("STRASSE", "straße")
    assert not same("e\u0301", "\u00e9")
