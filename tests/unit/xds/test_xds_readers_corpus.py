"""Answers that a coverage-guided fuzzer (atheris) came upon, some for each way through the readers; `corpus.zip` holds them.

Each is a damaged form of the answers that `benchmarks/soak_xds_readers.py` makes. None crashes, hangs or depends on its chunks.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

from benchmarks.soak_xds_readers import corpus_case


def test_no_answer_of_the_corpus_is_read_in_two_ways() -> None:
    seen: Counter[str] = Counter()
    with zipfile.ZipFile(Path(__file__).with_name("corpus.zip")) as corpus:
        for name in corpus.namelist():
            try:
                seen[corpus_case(corpus.read(name))] += 1
            except Exception as failure:
                raise AssertionError(f"{name}: {type(failure).__name__}: {failure}") from failure
    assert seen.total() > 100
    assert set(seen) == {"Whole", "NoDocument", "Faulted", "refused"}
