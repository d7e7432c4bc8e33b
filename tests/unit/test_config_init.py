"""Writing a configuration for a folder: when names are ids, when they are not, and what is left out."""

from __future__ import annotations

import csv
import os
import socket
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.config_init import CannotWrite, fitting_pattern, holds_nhs_number, write_configuration
from gateway.cli.folder import HIDDEN, LINKS, SPECIAL, SYSTEM, UNREADABLE, UNSERVABLE, documents
from gateway.ids import ManifestIds
from gateway.ids.manifest_paths import Paths
from gateway.keyfile import read_key, write_key
from gateway.settings import load
from tests.support.folder import unprivileged


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["a.pdf", "b.pdf"], "{id}.pdf"),
        (["a.pdf", "b.tif"], "{id}.*"),
        (["a.pdf", "b.PDF"], "{id}.*"),
        (["a.b.pdf", "a.tif"], "{id}.{pdf,tif}"),
        (["a.b.pdf", "a.pdf"], "{id}.pdf"),
        (["0001", "0002"], "{id}"),
        (["v1.2-draft"], "{id}"),
        (["A.pdf", "a.pdf"], "{id}.pdf"),
        (["x" * 64 + ".pdf"], "{id}.pdf"),
        (["9434765919.pdf"], None),
        (["letter-943-476-5919.pdf"], None),
        (["9434765918.pdf"], "{id}.pdf"),
        (["a.pdf", "a.tif"], None),
        (["a.pdf", "b"], None),
        (["a/b.pdf"], None),
        (["a b.pdf"], None),
        (["a_b.pdf"], None),
        (["ä.pdf"], None),
        (["x" * 65 + ".pdf"], None),
        ([], None),
    ],
)
def test_when_names_can_be_ids(names: list[str], pattern: str | None) -> None:
    found, reason = fitting_pattern(iter(map(os.fsencode, names)))
    assert found == pattern
    assert (reason is None) == (pattern is not None)


def test_names_with_many_dots_and_endings_are_not_guessed_at() -> None:
    names = [f"a.b{number}.e{number}".encode() for number in range(9)]
    assert fitting_pattern(iter(names))[0] is None


@pytest.mark.parametrize("number", ["9434765919", "943 476 5919", "943-476-5919", "x9434765919y", "4010232137"])
def test_nhs_numbers_are_seen(number: str) -> None:
    assert holds_nhs_number(number)


@pytest.mark.parametrize("text", ["", "9434765918", "94347659190", "943476591", "1234567890", "letter-2021-03-09"])
def test_what_is_no_nhs_number(text: str) -> None:
    assert not holds_nhs_number(text)


@given(st.integers(min_value=0, max_value=10**9 - 1))
def test_of_ten_numbers_with_the_same_first_nine_digits_at_most_one_is_valid(beginning: int) -> None:
    assert sum(holds_nhs_number(f"{beginning:09}{check}") for check in range(10)) <= 1


def archive(directory: Path, *names: str | bytes) -> Path:
    root = directory / "archive"
    root.mkdir(exist_ok=True)
    for name in names:
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"%PDF-1.4 " + os.path.basename(path))
    return root


def rows(path: Path) -> dict[str, str]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["path"]: row["id"] for row in csv.DictReader(file)}


def test_a_template_configuration_is_short_and_loads(tmp_path: Path) -> None:
    root = archive(tmp_path, "a.pdf", "b.pdf")
    output = tmp_path / "gateway.yaml"
    written = write_configuration(root, output)
    assert (written.count, written.pattern, written.example, written.files) == (2, "{id}.pdf", "a", [output])
    assert len(output.read_text().splitlines()) <= 12
    settings = load(output, {})
    assert settings.sources["archive"].adapter_options.root == root
    assert not (tmp_path / "ids.key").exists()


STRANGE = (
    "2019/9434765919 Smith, Anna.pdf",
    "2019/sub/ünïcode.tif",
    b"2019/latin-\xe9.txt",
    "raw:percent%41.pdf",
    'quote"comma,.pdf',
    "C:drive.pdf",
    "  spaces  .pdf",
    "#hash?.pdf",
    "same.pdf",
    "same.tif",
    "\u200b.pdf",
)


def test_a_manifest_leads_to_every_file_and_says_nothing_in_ids(tmp_path: Path) -> None:
    root = archive(tmp_path, *STRANGE)
    written = write_configuration(root, tmp_path / "gateway.yaml")
    assert written.pattern is None
    assert len((tmp_path / "gateway.yaml").read_text().splitlines()) <= 12
    settings = load(tmp_path / "gateway.yaml", {})
    ids = settings.sources["archive"].ids
    assert isinstance(ids, ManifestIds)
    paths = Paths(ids)
    found = rows(tmp_path / "index.csv")
    assert {os.fsencode(paths.locator(path)) for path in found} == {os.fsencode(name) for name in STRANGE}
    assert len(set(found.values())) == len(STRANGE)
    assert all(len(id) == 32 and id.isalnum() for id in found.values())


def test_the_same_key_gives_the_same_ids_and_another_key_gives_others(tmp_path: Path) -> None:
    root = archive(tmp_path, "a b.pdf", "c d.pdf")
    output = tmp_path / "gateway.yaml"
    write_configuration(root, output)
    first = rows(tmp_path / "index.csv")
    archive(tmp_path, "new one.pdf")
    write_configuration(root, output, force=True)
    second = rows(tmp_path / "index.csv")
    assert second.items() > first.items()
    (tmp_path / "ids.key").unlink()
    write_configuration(root, output, force=True)
    assert not set(rows(tmp_path / "index.csv").values()) & set(second.values())


def test_files_that_hold_secrets_or_names_are_for_their_owner(tmp_path: Path) -> None:
    write_configuration(archive(tmp_path, "a b.pdf"), tmp_path / "gateway.yaml")
    assert (tmp_path / "ids.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "index.csv").stat().st_mode & 0o777 == 0o600


def test_keyed_ids_can_be_asked_for(tmp_path: Path) -> None:
    written = write_configuration(archive(tmp_path, "smith.pdf"), tmp_path / "gateway.yaml", ids="keyed")
    assert written.pattern is None
    assert "smith" not in written.example


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    root, output = archive(tmp_path, "a b.pdf"), tmp_path / "gateway.yaml"
    output.write_text("mine")
    with pytest.raises(CannotWrite, match="--force"):
        write_configuration(root, output)
    assert output.read_text() == "mine"
    output.unlink()
    (tmp_path / "index.csv").write_text("mine")
    with pytest.raises(CannotWrite, match="--force"):
        write_configuration(root, output)
    assert (tmp_path / "index.csv").read_text() == "mine"
    assert not output.exists()


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    root, output = archive(tmp_path, "a b.pdf"), tmp_path / "gateway.yaml"
    (tmp_path / "ids.key").write_text("not a key")
    with pytest.raises(CannotWrite, match="does not hold a key"):
        write_configuration(root, output, force=True)
    assert (tmp_path / "ids.key").read_text() == "not a key"
    with pytest.raises(FileExistsError):
        write_key(tmp_path / "ids.key")


def test_a_written_key_is_read_back(tmp_path: Path) -> None:
    assert write_key(tmp_path / "new.key") == read_key(tmp_path / "new.key")


@pytest.mark.parametrize("where", ["archive", "archive/below"])
def test_the_configuration_may_not_become_a_document(tmp_path: Path, where: str) -> None:
    root = archive(tmp_path, "below/a.pdf")
    with pytest.raises(CannotWrite, match="inside the folder"):
        write_configuration(root, tmp_path / where / "gateway.yaml")


def test_a_folder_without_documents(tmp_path: Path) -> None:
    root = archive(tmp_path, ".hidden")
    with pytest.raises(CannotWrite, match="no document"):
        write_configuration(root, tmp_path / "gateway.yaml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive"]


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="no folder"):
        write_configuration(tmp_path / "absent", tmp_path / "gateway.yaml")
    with pytest.raises(CannotWrite, match="no directory"):
        write_configuration(archive(tmp_path, "a"), tmp_path / "absent" / "gateway.yaml")
    bad = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    bad.mkdir()
    with pytest.raises(CannotWrite, match="not UTF-8"):
        write_configuration(bad, tmp_path / "gateway.yaml")


def test_a_file_in_place_of_the_folder_leads_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "my letters").mkdir()
    letter = tmp_path / "my letters" / "one.pdf"
    letter.touch()
    with pytest.raises(
        CannotWrite, match=f"is a file. Name the folder that it lies in: --from-dir '{tmp_path}/my letters'"
    ):
        write_configuration(letter, tmp_path / "gateway.yaml")


def test_places_that_this_account_may_not_use() -> None:
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        _refuse_both(Path(name))


def _refuse_both(directory: Path) -> None:
    letters, output = directory / "letters", directory / "here"
    for folder in (letters, output):
        folder.mkdir()
    (letters / "one.pdf").touch()
    output.chmod(0o555)
    with (
        unprivileged(),
        pytest.raises(CannotWrite, match=f"No file can be written in {output}. .* --output ~/gateway.yaml"),
    ):
        write_configuration(letters, output / "gateway.yaml")
    letters.chmod(0)
    with unprivileged(), pytest.raises(CannotWrite, match=f"may not read {letters}. Give it the rights"):
        write_configuration(letters, output / "gateway.yaml")
    letters.chmod(0o755)
    assert list(output.iterdir()) == []


def test_what_cannot_be_served_is_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = archive(
        tmp_path, "good.pdf", ".hidden", ".git/config", "Thumbs.db", "~$open.docx", "back\\slash.pdf", "line\nend.pdf"
    )
    (root / "link.pdf").symlink_to("good.pdf")
    (root / "loop").symlink_to(".")
    os.mkfifo(root / "fifo")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        closed = archive(tmp_path, "closed/secret.pdf") / "closed"
        closed.chmod(0)
        skipped: Counter[str] = Counter()
        with unprivileged():
            # From inside: the way to a test's folder is closed to other accounts.
            found = list(documents(Path(), skipped))
        closed.chmod(0o700)
    assert found == [b"good.pdf"]
    assert skipped == {HIDDEN: 2, LINKS: 2, SPECIAL: 2, SYSTEM: 2, UNSERVABLE: 2, UNREADABLE: 1}


def test_empty_documents_are_served_and_mentioned(tmp_path: Path) -> None:
    root = archive(tmp_path, "a.pdf")
    (root / "b.pdf").touch()
    written = write_configuration(root, tmp_path / "gateway.yaml")
    assert (written.count, written.empty) == (2, 1)
