"""A listing finds by prefix exactly what a plain search would, however its names fall into blocks and runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidLocator
from adapters.filesystem import listing
from adapters.filesystem.confinement import encode
from adapters.filesystem.listing import FILE, FOLDER, Listing, read_listing
from adapters.filesystem.names import caseless, composed

NAMES = st.text(
    st.sampled_from("aAbé.ſİß\u0301\udcff~") | st.characters(exclude_characters="/\\"), min_size=1, max_size=5
)


def listed(files: list[str], folders: list[str], fold: Callable[[str], str]) -> Listing:
    """The listing of a folder that holds these."""

    @contextmanager
    def entries(_descriptor: int) -> Iterator[Iterator[SimpleNamespace]]:
        yield (
            SimpleNamespace(
                name=name,
                is_file=lambda *, follow_symlinks, kind=kind: kind == FILE,
                is_dir=lambda *, follow_symlinks, kind=kind: kind == FOLDER,
            )
            for kind, names in ((FILE, files), (FOLDER, folders), ("", ["fifo.pdf", "fifo"]))
            for name in names
        )

    here = os.open("/", os.O_PATH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "BLOCK", 3)
        patch.setattr(listing, "RUN", 7)
        patch.setattr(os, "scandir", entries)
        try:
            return read_listing(here, fold)
        finally:
            os.close(here)


def servable(name: str) -> bool:
    try:
        encode(name)
    except InvalidLocator:
        return False
    return True


@pytest.mark.parametrize("fold", [composed, caseless])
@given(files=st.sets(NAMES, max_size=40), folders=st.sets(NAMES, max_size=9), prefix=NAMES)
def test_it_finds_what_a_plain_search_finds(
    fold: Callable[[str], str], files: set[str], folders: set[str], prefix: str
) -> None:
    made = listed(list(files), list(folders), fold)
    for wanted in {prefix, *(name[:2] for name in files), *files}:
        folded = fold(wanted)
        if not servable(wanted):
            continue
        for kind, names in ((FILE, files), (FOLDER, folders)):
            expected = sorted(name for name in names if servable(name) and fold(name).startswith(folded))
            assert sorted(made.beginning(folded, kind)) == expected
            expected = sorted(name for name in names if servable(name) and fold(name) == folded)
            assert sorted(made.equal(folded, kind)) == expected


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 20, 21, 22, 100])
def test_the_order_in_which_names_come_does_not_matter(count: int) -> None:
    names = [f"{number:03}.pdf" for number in range(count)]
    assert listed(names, [], composed) == listed(names[::-1], [], composed)
    assert list(listed(names[::-1], [], composed).beginning("0", FILE)) == names


def test_names_that_no_locator_holds_are_left_out() -> None:
    made = listed(["a\nb.pdf", "a\\b.pdf", "a\x01b", "a.pdf"], ["a\x7f"], composed)
    assert list(made.beginning("a", FILE)) == ["a.pdf"]
    assert list(made.beginning("a", FOLDER)) == []
