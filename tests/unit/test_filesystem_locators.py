"""What a locator may be is decided by its text, before the disk is touched; what is let through is a plain name."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidLocator, NotFound
from adapters.filesystem import confinement
from adapters.filesystem.confinement import LONGEST, encode, openat2, walk
from tests.support.folder import archive, outcomes

# --- what is refused by its text -----------------------------------------------------------------------------------

_TARGETS = ("etc/passwd", "outside/secret.txt", "secret.txt", "")
_CLIMBS = ("..", "../..", "../../../../../../../..", "letters/..", "letters/../..", "./..", "a/b/../../..")

CLIMBING = [f"{climb}/{target}" for climb, target in product(_CLIMBS, _TARGETS)] + [
    "..", ".", "./", "./letter.pdf", "letters/./letter.pdf", "letters/.", "letters/..", "letters/../letter.pdf",
]  # fmt: skip
ABSOLUTE = [f"{slashes}{target}" for slashes in ("/", "//", "///") for target in (*_TARGETS, "proc/self/environ")]
EMPTY_PARTS = ["", "letters/", "letters//letter.pdf", "letter.pdf/", "letter.pdf//", "a//b"]
WINDOWS = [
    text.replace("/", "\\")
    for text in (*CLIMBING, "//server/share/letter.pdf", "C:/letter.pdf", "//?/C:/letter.pdf")
    if "/" in text
] + [
    "..\\letter.pdf", "letters\\letter.pdf", "\\", "letter.pdf\\", "..\\/..\\/secret.txt", "\\\\.\\pipe\\x",
]  # fmt: skip
CONTROL = [f"letter{chr(code)}.pdf" for code in (*range(0x20), 0x7F)] + [
    "letter.pdf\0.txt", "\0", "\0/../secret.txt", "..\0/secret.txt", "letter.pdf\n", "\rletter.pdf",
]  # fmt: skip
LONG = ["a" * 256, "ü" * 128, "letters/" + "b" * 256, "/".join(["c" * 200] * 21), "d/" * 2048 + "e", "f" * 70_000]
BROKEN_TEXT = ["\ud800", "letter\udfff.pdf", "\ud83d.pdf", "\udc00", "letters/\udbff"]

REFUSED = [
    *CLIMBING, *ABSOLUTE, *EMPTY_PARTS, *WINDOWS, *CONTROL, *LONG, *BROKEN_TEXT,
]  # fmt: skip

# --- what is an ordinary, absent name: nothing decodes or normalises it into a way out --------------------------------

_ENCODERS = (
    lambda text: quote(text, safe=""),
    lambda text: quote(quote(text, safe=""), safe=""),
    lambda text: text.replace(".", "%2e").replace("/", "%2F"),
    lambda text: text.replace(".", "%u002e").replace("/", "%u2215"),
    lambda text: text.replace(".", "\uff0e").replace("/", "\uff0f"),
    lambda text: text.replace(".", "\u2024").replace("/", "\u2215"),
    lambda text: text.replace("..", "\u2025").replace("/", "\u2044"),
    # Overlong UTF-8 for . and /, as a decoder of the nineties would take it.
    lambda text: text.replace(".", "\udcc0\udcae").replace("/", "\udcc0\udcaf"),
    lambda text: text.replace("/", "\udcef\udcbc\udc8f"),
    lambda text: text.replace("/", "%c0%af").replace(".", "%c0%ae"),
    lambda text: text.replace("/", ":"),
)
_WAYS = ("../secret.txt", "../../etc/passwd", "/etc/passwd", "letters/../../secret.txt", "../outside/secret.txt")

NAMES = [encoder(way) for encoder in _ENCODERS for way in _WAYS] + [
    "...", "....", ".../secret.txt", "..../secret.txt", "~", "~root", "~/secret.txt", "$HOME", "-rf",
    "*", "?", "[a-z]", "{letter}.pdf", "con", "nul.txt", "letter.pdf::$DATA", "letter.pdf:stream", "file:secret.txt",
    " ", "letter.pdf ", " letter.pdf", ".. ", ".. /secret.txt", " ..", "..\u200b", "\u202e..", "..;", "..%00", "%00",
    "LETTER.PDF", "\u2028", "\x85", "\x9f",
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a letter, and a secret beside it."""
    (tmp_path / "secret.txt").write_bytes(b"a letter of another archive")
    (tmp_path / "root" / "letters").mkdir(parents=True)
    (tmp_path / "root" / "letter.pdf").write_bytes(b"letter")
    (tmp_path / "root" / "letters" / "letter.pdf").write_bytes(b"inner letter")
    return tmp_path / "root"


@pytest.mark.requirement("SC-05")
async def test_the_text_alone_refuses_before_the_disk_is_touched(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with archive(root) as adapter:

        def touched(*_: object) -> int:
            pytest.fail("the disk was touched")

        monkeypatch.setattr(adapter._root, "_opener", touched)
        for locator in REFUSED:
            for raised in await outcomes(adapter, locator):
                assert raised is InvalidLocator, repr(locator)


async def test_every_refusal_says_why_without_repeating_the_locator() -> None:
    sentences = set()
    for locator in REFUSED:
        with pytest.raises(InvalidLocator) as refusal:
            encode(locator)
        sentences.add(refusal.value.detail)
    assert sentences == {
        "the locator is empty",
        "the locator begins with a slash; it is relative to the root",
        "the locator has an empty component",
        "the locator has a component . or ..",
        "the locator holds a backslash; folders are separated by /",
        "the locator holds a control character",
        "the locator holds half of a surrogate pair",
        "the locator is longer than the file system allows",
    }


@pytest.mark.requirement("SC-05")
@pytest.mark.parametrize("opener", [openat2, pytest.param(walk, marks=pytest.mark.blocking_allowed)])
async def test_encoded_ways_out_are_names_like_any_other(
    root: Path, opener: confinement.Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confinement, "opener", lambda root: opener)
    async with archive(root) as adapter:
        for locator in NAMES:
            for raised in await outcomes(adapter, locator):
                assert raised is NotFound, repr(locator)


def test_the_corpus_has_hundreds() -> None:
    assert len({*REFUSED, *NAMES}) > 200


@given(st.text() | st.lists(st.sampled_from([".", "..", "", "a", "\\", "\0", "\udcff", "é"])).map("/".join))
def test_what_is_let_through_has_only_plain_components(locator: str) -> None:
    try:
        path = encode(locator)
    except InvalidLocator:
        return
    assert 0 < len(path) <= LONGEST
    assert confinement.decode(path) == locator or "\udc80" <= max(locator) <= "\udcff"
    for component in path.split(b"/"):
        assert component not in (b"", b".", b"..")
        assert len(component) <= 255
        assert not any(byte < 0x20 or byte in (0x7F, 0x5C) for byte in component)
