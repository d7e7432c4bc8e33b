"""The scheme as the router uses it: what opens, what does not, and that nothing tells the reasons apart."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from adapters.errors import AdapterError, NotFound, TimedOut, Unavailable
from gateway.ids import Ids, ManifestError, SealedIds, open_scheme
from gateway.ids.sealed import Address, Place, Seal
from gateway.ids.sealed_lookup import add
from gateway.ids.sealed_scheme import SealedScheme
from gateway.routing import Route, Router
from tests.unit.ids.manifests import LogLines

KEY, OLD = bytes(range(32)), bytes(range(32, 64))
SMALL = Address(None, "1.2.3", "1.2.3.4^17")
LONG = Address(None, "1.2.3", "1.2.3.4^" + "L" * 80)


@pytest.fixture
def of(tmp_path: Path) -> dict[str, Any]:
    """The settings, as data; each test changes what it needs."""
    (tmp_path / "seal").write_bytes(KEY)
    (tmp_path / "old").write_text(OLD.hex())
    return {
        "scheme": "sealed",
        "key_file": tmp_path / "seal",
        "aliases": {"a": {"repositories": ["1.2.3"]}},
        "lookup": tmp_path / "listed",
    }


def read(of: Mapping[str, Any]) -> SealedIds:
    ids = TypeAdapter(Ids).validate_python(of)
    assert isinstance(ids, SealedIds)
    return ids


def codec(key: bytes = KEY, prefix: str = "x.") -> Seal:
    return Seal(prefix, [key], {"a": [Place(None, "1.2.3")]})


def scheme(of: Mapping[str, Any], log: LogLines | None = None) -> SealedScheme:
    return SealedScheme("care", read(of), log or LogLines(), prefix="x.")


def rest(id: str | None) -> str:
    assert id is not None
    return id.removeprefix("x.")


async def listed(of: Mapping[str, Any], key: bytes = KEY) -> str:
    await asyncio.to_thread(add, of["lookup"], LONG.locator)
    return next(codec(key).listed(LONG.locator))


async def failure(of: SealedScheme, id: str) -> AdapterError:
    with pytest.raises(AdapterError) as refused:
        await of.locate(id)
    return refused.value


async def test_sealed_and_listed_ids_lead_to_their_locators(of):
    async with scheme(of) as care:
        location = await care.locate(rest(codec().encode(SMALL)))
        assert (location.source, location.locator) == ("care", "^1.2.3^1.2.3.4^17")
        assert location.media_type is location.title is location.patient is None
        assert (await care.locate(await listed(of))).locator == LONG.locator


async def test_the_router_opens_it_from_its_settings(of):
    async with open_scheme("care", read(of), prefix="x.", resolve=None, log=LogLines()) as care:
        router = Router({"care": Route("x.", care)})
        id = codec().encode(SMALL)
        assert (await router.locate(id)).locator == SMALL.locator
        assert (await router.locate("x." + await listed(of))).locator == LONG.locator


async def test_former_keys_open_and_keys_that_are_gone_do_not(of, tmp_path):
    small, long = rest(codec(OLD).encode(SMALL)), await listed(of, OLD)
    async with scheme(of | {"former_key_files": [tmp_path / "old"]}) as care:
        assert (await care.locate(small)).locator == SMALL.locator
        assert (await care.locate(long)).locator == LONG.locator
    async with scheme(of) as care:
        for id in (small, long):
            assert isinstance(await failure(care, id), NotFound)


async def test_nothing_tells_a_wrong_seal_from_an_unknown_id(of):
    good = rest(codec().encode(SMALL))
    wrong = [
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good.replace("a.", "b."),
        rest(codec(prefix="y.").encode(SMALL)).removeprefix("y."),
        good[:10],
        "a.",
        ".",
        "a.b.c",
        "0" * 22,
        "0" * 21,
        "4711",
        "é",
        "x" * 62,
    ]
    async with scheme(of) as care:
        await listed(of)
        said = [await failure(care, id) for id in wrong]
    assert {(type(error), str(error), error.source) for error in said} == {(NotFound, str(said[0]), None)}


async def test_a_sealed_id_asks_no_file_and_no_thread(of, monkeypatch):
    good = rest(codec().encode(SMALL))
    async with scheme(of) as care:
        of["key_file"].unlink()

        def submit(*_: Any) -> None:
            raise AssertionError("a thread was asked")

        monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
        assert (await care.locate(good)).locator == SMALL.locator
        assert isinstance(await failure(care, good[:-1] + "."), NotFound)
        assert isinstance(await failure(care, good + "0"), NotFound)


async def test_without_a_look_up_file_listed_ids_are_unknown(of):
    id = await listed(of)
    del of["lookup"]
    async with scheme(of) as care:
        assert isinstance(await failure(care, id), NotFound)


async def test_a_look_up_file_that_turns_bad_is_logged_once_and_unknown_ids_are_uncertain(of):
    log, known = LogLines(), await listed(of)
    async with scheme(of, log) as care:
        of["lookup"].write_text(f"{LONG.locator}\nSmith\n")
        for _ in range(3):
            assert (await care.locate(known)).locator == LONG.locator
            assert isinstance(await failure(care, "0" * 22), Unavailable)
        of["lookup"].write_text(f"{LONG.locator}\n")
        assert isinstance(await failure(care, "0" * 22), NotFound)
        of["lookup"].unlink()
        assert isinstance(await failure(care, "0" * 22), Unavailable)
    assert [(level, fields["line"]) for level, _, fields in log.lines] == [("warning", 2), ("warning", None)]
    assert "Smith" not in str(log.lines)


async def test_a_look_up_file_that_hangs_is_waited_for_and_no_longer(of, monkeypatch):
    monkeypatch.setattr("gateway.ids.sealed_scheme.PATIENCE", 0.05)
    async with scheme(of) as care:
        os.mkfifo(of["lookup"])
        try:
            assert isinstance(await failure(care, "0" * 22), TimedOut)
            assert (await care.locate(rest(codec().encode(SMALL)))).locator == SMALL.locator
        finally:
            # The reader of a pipe goes on when there is a writer.
            with of["lookup"].open("wb"):
                of["lookup"].unlink()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda of: of["key_file"].unlink(), "key"),
        (lambda of: of["key_file"].write_text("short"), "32 bytes"),
        (lambda of: of["lookup"].write_text("bad\n"), "line 1: the look-up file"),
        (lambda of: of["lookup"].mkdir(), "cannot be read"),
    ],
)
async def test_what_cannot_be_used_is_said_at_the_start(of, change, says):
    change(of)
    with pytest.raises(ManifestError, match=says):
        async with scheme(of):
            pass


async def test_outside_its_context_it_knows_nothing(of):
    care = scheme(of)
    id = rest(codec().encode(SMALL))
    assert isinstance(await failure(care, id), Unavailable)
    async with care:
        await care.locate(id)
    await care.__aexit__(None, None, None)
    assert isinstance(await failure(care, id), Unavailable)
    async with care:
        long = await listed(of)
        await asyncio.gather(*(care.locate(either) for either in (id, long) * 5))
