"""docs/xds-interoperability.md: what readers get from repositories of each kind, and from those that fail.

    python -m tests.meta.xds_interoperability    ask for everything anew (some seconds), and write the page

The matrix comes from `xds_matrix`, which asks; the faults from the table that `tests/faults/test_xds_every_fault.py` holds the
product against. The page says nothing that is in neither.
"""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from gateway.demo.xds import FAULTS, PERSONALITIES
from tests.faults.xds_breaks import BROKEN
from tests.faults.xds_faults import ALERT, OUTSIDE, SECTIONS, Answer, Row
from tests.meta.xds_matrix import ASKED, COLUMNS, FROM, LONG, SHORT, TINY, TO, Cells, Tables, measured, needed

PAGE = Path(__file__).parents[2] / "docs" / "xds-interoperability.md"

FAILING = tuple(name for name in ASKED if name not in PERSONALITIES and not FAULTS[name].whole)
"""The kinds of answer without the true document."""

READABLE = (*PERSONALITIES, *(name for name in ASKED if name not in PERSONALITIES and FAULTS[name].whole))


def page(tables: Tables) -> str:
    """The text of docs/xds-interoperability.md."""
    return "\n".join(
        [
            "# XDS interoperability",
            "",
            "<!-- Generated from requests to a gateway in front of the fake repository; a test asks again and keeps it fresh.",
            "     Write it anew with: python -m tests.meta.xds_interoperability -->",
            "",
            *_opening(),
            *_repositories(),
            *_matrix(tables),
            *_faults(),
            *_breaks(),
        ]
    )


def _text(words: str) -> list[str]:
    return [*textwrap.wrap(" ".join(words.split()), 128, break_on_hyphens=False, break_long_words=False), ""]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    names = list(head)
    lines = [f"| {' | '.join(row)} |" for row in (names, *rows)]
    return [lines[0], "|" + "---|" * len(names), *lines[1:], ""]


def _opening() -> list[str]:
    return _text(
        """What readers get from XDS repositories of every kind that this project knows of. Each cell of the matrix is a request
        over HTTP to a gateway with the adapter `xds`, made when this page was written and again by the test suite; behind the
        gateway stands the fake repository of `fhir-gateway demo --xds`, which answers as the product or the habit that the
        line names. Documents are compared by their SHA-256, those in FHIR envelopes after decoding. No real repository of
        these vendors took part: the answers are drawn from published captures, specifications and reports of faults."""
    )


# --- the matrix ----------------------------------------------------------------------------------------------------


def _repositories() -> list[str]:
    def rows() -> Iterable[Iterable[str]]:
        for name in READABLE:
            about = PERSONALITIES[name].about if name in PERSONALITIES else FAULTS[name].about
            given = [f"`{key}: {_yaml(value)}`" for key, value in needed(name).items()]
            yield name, _cell(about), ", ".join(given)

    return [
        "## The repositories",
        "",
        *_text(
            """The documents of all of these are read byte for byte. An endpoint needs `alias`, `url` and
            `repository_unique_ids`, and what the last column says."""
        ),
        *_table(("name", "what it imitates", "needs"), rows()),
    ]


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


COLUMN_TEXT = f"""**native** is a read of the document as it is stored, **JSON** one of the FHIR envelope (R4), **XML** the same
    (STU3), **HEAD** asks for the headers alone, **range** for the bytes {FROM} to {TO}, **conditional** sends the ETag back.
    "length" is an answer with Content-Length, "chunked" one without. HEAD has the headers of the native read, but for a length
    that only reading shows. A long document has {LONG.content.size:,} bytes, a short one {SHORT.content.size:,}; `slow-drip`
    is read with one of {TINY.content.size}, `raw-xml-document` with XML. Repositories with the same cells share a line."""

MATRIX = (
    (
        "long",
        "A repository alone, long document",
        """XDS has neither ranges nor lengths: a repository says how long a document is by sending it. A long one is passed on
        while it comes, so its length is not known when the headers leave; a range is answered with the whole, which HTTP
        allows. There is an ETag without a registry: a stable document never changes under its id, so the ETag is a digest of
        the ids. To answer HEAD and a conditional read, the repository is asked for the document and stopped at its first
        bytes. Two kinds differ: where the envelope comes after the document, and where raw text is in a CDATA section, which
        an XML parser hands over in one piece, the document is there as a whole before it is passed on.""",
    ),
    (
        "short",
        "A repository alone, short document",
        """Up to 64 KiB are waited for (25 ms at most) before the first byte is passed on: what arrives in that time has a
        length and ranges, and what is wrong with it costs an error, never a broken body.""",
    ),
    (
        "verified",
        "A repository and its registry, long document",
        """With `use_for: [stat, verify]` the registry states size and hash, and each document is held against them: lengths
        and ranges are true, the ETag is the hash, HEAD and conditional reads do not touch the repository. That is why these
        two succeed below even where the repository fails.""",
    ),
)


def _matrix(tables: Tables) -> list[str]:
    lines = ["## The matrix", "", *_text(COLUMN_TEXT)]
    for table, heading, words in MATRIX:
        good = {name: tables[table][name] for name in READABLE}
        lines += [f"### {heading}", "", *_text(words), *_cells("repository", _grouped(good))]
    lines += [
        "### What the registry adds",
        "",
        *_text(
            """The long document. `stat` alone answers HEAD and conditional reads from the registry; its word on the size is
            not checked then, so it is not used to cut a document into parts."""
        ),
        *_cells("`registry`", tables["registry"].items()),
        "### Documents of special kinds",
        "",
        *_text(
            """A document made on demand is another each time, so there is no ETag and nothing to compare with. The registry
            states no size and no hash that count for one that is not assembled yet. STU3 cannot express an empty document."""
        ),
        *_cells("a document", tables["documents"].items()),
        "### Repositories that fail",
        "",
        *_text(
            """What cannot be the document is never answered with 200 and a clean end: with an error before the first byte where
            that is possible, else the connection is reset ("200, reset"), in each of the three forms."""
        ),
    ]
    for table, heading, _ in MATRIX:
        bad = {name: tables[table][name] for name in FAILING}
        lines += [f"**{heading}**", "", *_cells("repository", _grouped(bad))]
    return lines


def _cells(first: str, rows: Iterable[tuple[str, Cells]]) -> list[str]:
    return _table((first, *COLUMNS), ((name, *cells) for name, cells in rows))


def _grouped(rows: Mapping[str, Cells]) -> Iterable[tuple[str, Cells]]:
    """Repositories with the same cells, in one line."""
    groups: dict[Cells, list[str]] = {}
    for name, cells in rows.items():
        groups.setdefault(cells, []).append(name)
    return ((", ".join(names), cells) for cells, names in groups.items())


# --- the faults ----------------------------------------------------------------------------------------------------


def _faults() -> list[str]:
    lines = [
        "## Every fault, with what is answered and what is logged",
        "",
        *_text(
            """A short document, a repository alone. "The document" means that the oddity is forgiven. The issue code and the
            Spine code stand in the OperationOutcome together with the gateway's own code, which the request's log line has as
            `code`; [errors.md](errors.md) has the cause and the cure of each. "There is no such document" is said only where
            the repository says so. The last column is what an operator finds in the `detail` of the same line (level `error`
where a person has to act) or, in *italics*, in a line of its own with its `quirk` or `code` behind it, told once for
            each endpoint, the alert each time. What a repository writes into its errors is never repeated."""
        ),
    ]
    for section, rows in SECTIONS.items():
        head = ("fault", "what is wrong", "status", "issue code", "Spine code", "code", "in the log")
        lines += [f"### {section}", "", *_table(head, map(_fault, rows))]
    return lines


def _fault(row: Row) -> Iterable[str]:
    about = FAULTS[row.fault].about if row.fault in FAULTS else OUTSIDE[row.fault]
    event = f"*{row.event}*" + (f": `{row.key}`" if row.key else "") if row.event else ""
    told = [f"…{row.says}…" if row.says else "", event]
    return (row.fault, _cell(about), *_answer(row.answer, row), _cell("; ".join(filter(None, told))))


def _answer(answer: Answer | None, row: Row) -> tuple[str, str, str, str]:
    if answer is None:
        return "200, the document" + (" (of no bytes)" if row.empty else ""), "", "", ""
    wait = f", Retry-After {row.retry_after}" if row.retry_after is not None else ""
    return f"{answer.status}{wait}", answer.issue, answer.spine, f"[{answer.code}](errors.md#{answer.code.lower()})"


def _breaks() -> list[str]:
    return [
        "## A document that breaks off",
        "",
        *_text(
            """When a long document fails after its first bytes have gone to the reader, there is no status left to say so. In
            each of these cases the connection was reset, natively and in both envelopes, with a Content-Length and in chunks;
            the log line has the code [GW-END-001](errors.md#gw-end-001), the outcome `aborted` and the kind of error below. An
            HTTP/1.0 reader is told by 502 or 503, since such documents are gathered first; so is everybody with
            `verification: spool`."""
        ),
        *_table(
            ("case", "answers as", "kind of error"),
            ((case, broken.personality, f"`{broken.error}`") for case, broken in BROKEN.items()),
        ),
        "## Somebody else's document",
        "",
        *_text(
            f"""A document under another id than the one asked for, or under none, is refused before any byte is passed on:
            `wrong-id` and `missing-id` above. Beside the request's line, of level `error`, the log has one that begins
            "{ALERT}"; its `count` says how often it has happened at this endpoint since the start. Raise an alarm for it: the
            repository's index is damaged. References out of an answer (`http-include`, `file-include`) are never followed."""
        ),
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    """Write the page; 1 when a cell says that something is wrong."""
    tables = asyncio.run(measured())
    problems = wrong(tables)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 1
    PAGE.write_text(page(tables), "utf-8")
    print(f"docs/{PAGE.name} is written.")
    return 0


def wrong(tables: Tables) -> list[str]:
    """The cells that no page may show: bytes, headers or ends that are not what they should be."""
    return [
        f"{table}, {line}: {cell}"
        for table, lines in tables.items()
        for line, cells in lines.items()
        for cell in cells
        if cell != "no ETag" and any(len(word) > 2 and word.isupper() and word.isalpha() for word in cell.split())
    ]


if __name__ == "__main__":
    sys.exit(main())
