"""Everything that `check` found to be wrong, away or doubtful, as findings about keys: one list, whoever found it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import console
from gateway.cli.mistake import Mistake, State
from gateway.problems import Problem, sentence

if TYPE_CHECKING:
    from gateway.cli.check import Report, SourceReport

ORDER: tuple[State, ...] = ("wrong", "away", "note")


def findings(report: Report) -> Iterator[Mistake]:
    """What `report` holds, of every state."""
    yield from report.places
    yield from report.entrance.mistakes
    for remark in report.entrance.remarks:
        yield Mistake(("server", "tls", remark.option), sentence(remark.text), remark.cure, "note")
    for one in report.credentials:
        if one.state != "ok":
            yield Mistake(one.key, one.problem, one.cure, one.state)
    for finding in report.audit:
        yield Mistake(tuple(finding.key.split(".")), finding.cause, finding.cure, finding.state)
    for problem in report.cache.wrong:
        yield Mistake(
            tuple(problem.key.split(".")), problem.cause, problem.cure, "away" if report.cache.starts else "wrong"
        )
    for problem in report.cache.doubtful:
        yield Mistake(tuple(problem.key.split(".")), problem.cause, problem.cure, "note")
    for source in report.sources:
        yield from _of_source(source)


def _of_source(source: SourceReport) -> Iterator[Mistake]:
    if source.state == "wrong":
        path = (
            console.option_path(source.name, source.option_error.option) if source.option_error else source.wrong_path
        )
        yield Mistake(path, "\n".join(map(sentence, source.details)), sentence(source.cure))
    elif source.state == "away":
        for detail, option in zip(source.details, source.options, strict=True):
            yield Mistake(console.option_path(source.name, option), sentence(detail), source.cure, "away")


def placed(found: Sequence[Mistake], config: Path | None, known: Sequence[Problem] = ()) -> list[tuple[State, Problem]]:
    """The findings with their places in the file, in the order of the file: first what is wrong, then what is away.

    `known` are problems of the file itself; what was found only because of one of them is left out.
    """
    spoilt = {_scope(problem.key) for problem in known if problem.key and problem.code != "unknown-key"}
    rest = [one for one in found if _scope(console.dotted_path(one.path)) not in spoilt]
    marked = [(one.state, console.key_problem(config, one.path, one.cause, one.cure)) for one in dict.fromkeys(rest)]
    marked += [("wrong", problem) for problem in known]
    return sorted(marked, key=lambda one: (ORDER.index(one[0]), one[1].order))


def _scope(key: str) -> tuple[str, ...]:
    """How far a mistake at `key` spoils what is around it: the cache as a whole, a source, else its own part of a section."""
    parts = key.split(".")
    return tuple(parts[:1] if parts[0] == "cache" else parts[:2])
