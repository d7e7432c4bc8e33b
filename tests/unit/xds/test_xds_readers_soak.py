"""The long run of benchmarks/soak_xds_readers.py in a few seconds, and that it can fail."""

from __future__ import annotations

import subprocess
import sys

import pytest

from adapters.xds.mtom.splitter import Splitter
from adapters.xds.retrieval_answer import Answer
from benchmarks.soak_xds_readers import GROWTH_MIB, damages, documents
from tests.support.gateway import PROJECT


def test_random_documents_come_out_as_they_were() -> None:
    assert documents(300) > 100_000


def test_damaged_answers_are_read_or_refused_and_chunks_decide_nothing() -> None:
    seen = damages(400)
    assert set(seen) == {"Whole", "NoDocument", "Faulted", "refused"}


@pytest.mark.parametrize(
    ("by_reference", "wrapped"),
    [(True, False), (False, False), (False, True)],
    ids=["by reference", "inline", "wrapped"],
)
def test_memory_does_not_grow_with_the_document(by_reference: bool, wrapped: bool) -> None:
    assert grown(f"by_reference={by_reference}, wrapped={wrapped}") < GROWTH_MIB


def test_a_splitter_that_forgets_what_it_holds_back_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Splitter, "_held", lambda self, at: len(self._data))
    with pytest.raises(AssertionError, match="document"):
        documents(300)


def test_a_reader_whose_outcome_depends_on_chunks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Splitter, "_held", lambda self, at: len(self._data))
    with pytest.raises(AssertionError, match="by chunks"):
        damages(400)


def test_a_reader_that_fails_in_words_of_others_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wanted(self: Answer, content: int) -> bool:
        raise KeyError(content)

    monkeypatch.setattr(Answer, "wanted", wanted)
    with pytest.raises(AssertionError, match="KeyError"):
        damages(100)


KEEPING = """
from adapters.xds.mtom.splitter import Splitter
kept, feed = [], Splitter.feed
def keeping(self, data):
    kept.append(bytes(bytearray(data)))
    return feed(self, data)
Splitter.feed = keeping
"""


def test_a_reader_that_keeps_the_document_is_noticed() -> None:
    assert grown("by_reference=True", before=KEEPING) > GROWTH_MIB


def grown(how: str, *, before: str = "") -> float:
    """MiB that a process of its own grew by: this one has room left over from other tests, which would hide it."""
    code = f"{before}\nfrom benchmarks.soak_xds_readers import growth\nprint(growth(64 << 20, {how}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    return float(done.stdout)
