"""The configuration's text: what stays text, where every key stands, and every way to get YAML wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.marked_yaml import MAX_BYTES, flow, parse, read
from gateway.problems import Problem, SettingsError


def test_only_words_and_decimal_numbers_are_more_than_text() -> None:
    lines = "a: no,b: 007,c: 10:30,d: 2020-01-01,e: 1.5,f: -3,g: true,h: ~,i:,j: '5',k: 0x1F,l: 1_000,m: !!str 5"
    assert parse(lines.replace(",", "\n")).data == {
        "a": "no",
        "b": "007",
        "c": "10:30",
        "d": "2020-01-01",
        "e": 1.5,
        "f": -3,
        "g": True,
        "h": None,
        "i": None,
        "j": "5",
        "k": "0x1F",
        "l": "1_000",
        "m": "5",
    }


def test_keys_stay_text() -> None:
    assert parse("on: 1\n404: 2\nnull: 3\n").data == {"on": 1, "404": 2, "null": 3}


def test_every_key_has_its_place() -> None:
    document = parse("a:\n  b: 1\n  c: [x, {d: 2}]\n")
    assert document.mark(("a", "b")) == (2, 3)
    assert document.mark(("a", "c", 1, "d")) == (3, 11)
    assert document.mark(("a", "c", 1, "missing", "below")) == (3, 10)
    assert document.mark(("elsewhere",)) == (None, None)


def test_aliases_are_read() -> None:
    assert parse("a: &limits {x: 1}\nb: *limits\n").data == {"a": {"x": 1}, "b": {"x": 1}}


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    assert read(path).data == {"a": 1, "b": "x"}


WRONG = {
    "tab": ("a:\n\tb: 1\n", 2, "tab in the indentation"),
    "tab after spaces": ("a:\n  b: 1\n \tc: 1\n", 3, "tab in the indentation"),
    "tab before a value": ("a: @\n", 1, "keeps for itself"),
    "percent": ("a: %x\n", 1, "keeps for itself"),
    "alias by accident": ("a: *x\n", 1, "reads as the name of an alias"),
    "colon in a value": ("a: b: c\n", 1, "second colon"),
    "uneven indentation": ("a:\n  b: 1\n c: 2\n", 3, "not YAML"),
    "unclosed bracket": ("x: 1\na: [1,\nb: 2\n", 2, "not closed"),
    "unclosed quote": ("x: 1\na: 'x\nb: 1\n", 2, "not closed"),
    "brace": ("a:\n  pattern: {id}.pdf\n", 2, "begins with {"),
    "brace in flow": ("ids: {pattern: {id}.pdf}\n", 1, "not closed"),
    "escape": ('a: "\\q"\n', 1, "not YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", 2, "second document"),
    "duplicate": ("a: 1\nb: 2\na: 3\n", 3, "given twice; the first is on line 1"),
    "duplicate below": ("a:\n  b: 1\n  b: 1\n", 3, "`b` is given twice"),
    "tag": ("a: !secret x\n", 1, "tag"),
    "python tag": ("a: !!python/object/apply:os.system [x]\n", 1, "tag"),
    "tag on a mapping": ("a: !x {b: 1}\n", 1, "tag"),
    "key that is no word": ("{id}: 3\n", 1, "where a key is expected"),
    "list on top": ("- a\n- b\n", 1, "holds a list"),
    "text on top": ("just text\n", 1, "holds a single value"),
    "control character": ("a: b\nc: \x07\n", 2, "control character"),
    "alias of itself": ("a: &a [*a]\n", 1, "repeat without end"),
    "nested too deeply": ("[" * 5000, None, "YAML"),
    "empty": ("", None, "empty"),
    "only comments": ("# nothing\n\n", None, "empty"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_yaml_is_explained_with_its_line(name: str) -> None:
    text, line, said = WRONG[name]
    with pytest.raises(SettingsError) as refused:
        parse(text, file="gateway.yaml")
    (problem,) = refused.value.problems
    assert said in problem.cause or (line is None and said in str(problem))
    assert problem.cure
    assert line is None or problem.line == line
    assert problem.file == "gateway.yaml"


def test_an_alias_bomb_is_refused_quickly() -> None:
    lines = ["a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    with pytest.raises(SettingsError, match="repeat without end"):
        parse("\n".join(lines))


def test_all_duplicates_are_reported_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        parse("a: 1\na: 2\nb: {c: 1, c: 2}\n")
    assert [problem.key for problem in refused.value.problems] == ["a", "b.c"]


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (b"a: 1\nb: caf\xe9\n", 2, "not UTF-8: the byte 0xe9"),
        ("a: 1\n".encode("utf-16"), None, "UTF-16"),
        (b"a" * (MAX_BYTES + 1), None, "larger than any configuration"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, data: bytes, line: int | None, said: str) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(data)
    with pytest.raises(SettingsError, match=said) as refused:
        read(path)
    assert refused.value.problems[0].line == line


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        read(tmp_path / "absent.yaml")
    with pytest.raises(SettingsError, match="This is a directory"):
        read(tmp_path)


@given(st.text(max_size=200))
def test_any_text_is_data_or_an_explained_problem(text: str) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        parse(text)
    except SettingsError as error:
        problems = error.problems
    assert all(problem.cause and problem.cure for problem in problems)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**9), 10**9)
        | st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"])),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=8,
    )
)
def test_what_is_written_is_read_back(value: object) -> None:
    assert parse(f"value: {flow(value)}").data == {"value": value}
