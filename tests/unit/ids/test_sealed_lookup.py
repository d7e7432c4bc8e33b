"""The look-up file: documents that fit into no id, added by a command and found by a gateway that runs."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unavailable
from gateway.ids import ManifestError
from gateway.ids.sealed import Seal
from gateway.ids.sealed_lookup import Lookup, add, locators

ONE, TWO, THREE = (f"^1.2.3^{letter * 90}" for letter in "abc")
KEYS = [bytes(range(32)), bytes(range(32, 64))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "listed"


def listing(path: Path, keys: int = 1) -> Lookup:
    return Lookup(path, Seal("x.", KEYS[:keys], {}).listed)


def ids(locator: str, keys: int = 2) -> list[str]:
    return [*Seal("x.", KEYS[:keys], {}).listed(locator)]


def test_what_is_added_is_found_at_once(path: Path) -> None:
    lookup = listing(path)
    assert lookup.find(ids(ONE)[0]) is None
    for locator in (ONE, TWO, "9.9^1.2.3^Müller, 17^x"):
        add(path, locator)
        assert lookup.find(ids(locator)[0]) == locator
    assert lookup.find(ids(THREE)[0]) is None
    assert lookup.find(ids(ONE)[0]) == ONE


def test_ids_of_former_keys_are_found_while_their_key_is_there(path: Path) -> None:
    add(path, ONE)
    new, old = ids(ONE)
    assert listing(path, keys=2).find(old) == listing(path, keys=2).find(new) == ONE
    assert listing(path, keys=1).find(old) is None


def test_a_document_is_listed_once(path: Path) -> None:
    for locator in (ONE, TWO, ONE):
        add(path, locator)
    assert path.read_text() == f"{ONE}\n{TWO}\n"


def test_a_new_file_is_for_its_owner_alone(path: Path) -> None:
    add(path, ONE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_that_is_taken_out_is_an_unknown_id(path: Path) -> None:
    path.write_text(f"{ONE}\n{TWO}\n")
    lookup = listing(path)
    assert lookup.find(ids(ONE)[0]) == ONE
    path.write_text(f"{TWO}\n")
    assert lookup.find(ids(ONE)[0]) is None


def test_a_line_that_is_being_written_waits_for_its_end(path: Path) -> None:
    path.write_text(f"{ONE}\n{TWO}")
    lookup = listing(path)
    assert lookup.find(ids(TWO)[0]) is None
    with path.open("a") as file:
        file.write("\n")
    assert lookup.find(ids(TWO)[0]) == TWO


def test_what_a_crash_left_of_a_line_is_taken_away(path: Path) -> None:
    for left in (TWO[:20], TWO * 2):
        path.write_text(f"{ONE}\n{left}")
        add(path, THREE)
        assert path.read_text() == f"{ONE}\n{THREE}\n"


@pytest.mark.parametrize("first", [ONE, "b" * len(ONE)], ids=["good", "bad"])
def test_a_file_that_did_not_change_is_not_read_again(path: Path, first: str) -> None:
    """Seen by a change that leaves inode, size and time as they were."""
    path.write_text(f"{first}\n")
    lookup, before = listing(path), path.stat()
    lookup.refresh()
    failure = lookup.failure
    path.write_text(f"{TWO}\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    lookup.refresh()
    assert lookup.failure is failure
    os.utime(path)
    assert lookup.find(ids(TWO)[0]) == TWO


def test_a_line_more_costs_the_ids_of_that_line_alone(path: Path) -> None:
    asked: list[str] = []

    def listed(locator: str) -> list[str]:
        asked.append(locator)
        return ids(locator)

    lookup = Lookup(path, listed)
    for locator in (ONE, TWO, THREE):
        add(path, locator)
        assert lookup.find(ids(locator)[1]) == locator
    assert asked == [ONE, TWO, THREE]
    path.write_text(f"{THREE}\n")
    assert lookup.find(ids(ONE)[0]) is None
    add(path, ONE)
    assert [lookup.find(id) for id in ids(ONE)] == [ONE, ONE]
    assert asked == [ONE, TWO, THREE, ONE]


def test_files_from_windows_and_by_hand_are_read(path: Path) -> None:
    path.write_bytes(f"{ONE}\r\n\n  \n{TWO}\n".encode())
    assert locators(path) == [ONE, TWO]


def test_bad_lines_are_named_and_not_repeated(path: Path) -> None:
    path.write_bytes(
        b"\n".join([ONE.encode(), b"", b"Smith^John", b"\xff\xff", b" ^1.2^x", b"^urn:oid:1^x", b"^1^x"]) + b"\n"
    )
    with pytest.raises(ManifestError) as refused:
        locators(path)
    assert [problem.line for problem in refused.value.problems] == [3, 4, 5, 6]
    assert "Smith" not in str(refused.value)
    with pytest.raises(ManifestError):
        add(path, TWO)


def test_many_bad_lines_are_counted(path: Path) -> None:
    path.write_text("x\n" * 100)
    with pytest.raises(ManifestError, match="and 80 more problems"):
        locators(path)


def test_a_bad_change_leaves_what_was_known_and_makes_the_rest_uncertain(path: Path) -> None:
    add(path, ONE)
    lookup = listing(path)
    assert lookup.find(ids(ONE)[0]) == ONE
    path.write_text(f"{ONE}\nbad\n{TWO}\n")
    for _ in range(2):
        assert lookup.find(ids(ONE)[0]) == ONE
        with pytest.raises(Unavailable):
            lookup.find(ids(TWO)[0])
    path.write_text(f"{ONE}\n{TWO}\n")
    assert lookup.find(ids(TWO)[0]) == TWO
    assert lookup.find(ids(THREE)[0]) is None


def test_a_file_that_goes_away_is_not_an_empty_one(path: Path, tmp_path: Path) -> None:
    """A volume that is not mounted must not turn documents into unknown ones."""
    add(path, ONE)
    lookup = listing(path)
    assert lookup.find(ids(TWO)[0]) is None
    away = path.rename(tmp_path / "away")
    for _ in range(2):
        assert lookup.find(ids(ONE)[0]) == ONE
        with pytest.raises(Unavailable):
            lookup.find(ids(TWO)[0])
    # The same file, with the state that it had.
    away.rename(path)
    assert lookup.find(ids(TWO)[0]) is None


def test_a_file_that_cannot_be_read_is_not_an_empty_one(path: Path) -> None:
    path.mkdir()
    lookup = listing(path)
    for _ in range(2):
        with pytest.raises(Unavailable):
            lookup.find(ids(ONE)[0])
    path.rmdir()
    add(path, ONE)
    assert lookup.find(ids(ONE)[0]) == ONE


def test_many_writers_lose_no_line(path: Path) -> None:
    def write(writer: int) -> None:
        for number in range(20):
            add(path, f"^1.2.3^{'d' * 80}{writer}.{number}")
            add(path, ONE)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = locators(path)
    assert len(found) == len(set(found)) == 4 * 20 + 1


def test_a_full_disk_leaves_no_half_line(path: Path) -> None:
    add(path, ONE)
    before = path.read_bytes()
    script = f"""
import resource, signal, sys
from pathlib import Path
from gateway.ids.sealed_lookup import add
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 10}, {len(before) + 10}))
try:
    add(Path({str(path)!r}), {TWO!r})
except OSError as error:
    sys.exit(3 if error.strerror else 4)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3], timeout=30)
    assert done.returncode == 3
    assert path.read_bytes() == before


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    lookup = listing(path)
    lookup.refresh()
    if lookup.failure is None:
        whole = content.decode(errors="replace").rpartition("\n")[0]
        assert all(not line.strip() or line.count("^") >= 2 for line in whole.split("\n"))
    os.unlink(path)
