"""Small documents, whose head and body leave in one write: framing and connections are those of RFC 9112 all the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.filesystem import FilesystemAdapter
from tests.support.raw_http import Ending, connect, request
from tests.support.service import MakeAdapter, service

DATA = os.urandom(3000)
TARGETS = ("/R4/Binary/a", "/R4/Binary/a?_format=json", "/STU3/Binary/a?_format=xml")


def folder(root: Path) -> MakeAdapter:
    (root / "a").write_bytes(DATA)
    return lambda name, lent: FilesystemAdapter(name, FilesystemAdapter.Options(root=root), lent)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("version", "asked", "said", "ending"),
    [
        ("1.1", None, None, Ending.OPEN),
        ("1.1", "close", "close", Ending.CLOSED),
        ("1.0", None, None, Ending.CLOSED),
        ("1.0", "keep-alive", "keep-alive", Ending.OPEN),
    ],
)
async def test_a_connection_goes_on_or_ends_as_it_was_asked(tmp_path, target, version, asked, said, ending):
    fields = () if asked is None else (("Connection", asked),)
    async with service({"letters": folder(tmp_path)}) as at, connect(at.host, at.port) as connection:
        await connection.send(request(target, version=version, fields=fields))
        answer = await connection.answer()
        assert (answer.status, answer.framing, answer.complete) == (200, "length", True)
        assert answer.version == version
        assert answer.field("Connection") == said
        assert answer.field("Date") is not None
        if ending is Ending.CLOSED:
            assert await connection.rest() == b""
            assert connection.ending is ending
            return
        await connection.send(request(target, version=version, fields=fields))
        assert (await connection.answer()).body == answer.body


async def test_a_pipeline_of_small_documents_is_answered_in_order(tmp_path):
    async with service({"letters": folder(tmp_path)}) as at, connect(at.host, at.port) as connection:
        part = request("/R4/Binary/a", fields=(("Range", "bytes=5-9"),))
        await connection.send(request("/R4/Binary/a") + part + request("/R4/Binary/b") + request("/R4/Binary/a"))
        answers = [await connection.answer() for _ in range(4)]
        assert [one.status for one in answers] == [200, 206, 404, 200]
        assert [answers[0].body, answers[1].body, answers[3].body] == [DATA, DATA[5:10], DATA]
        assert connection.waiting == b""
