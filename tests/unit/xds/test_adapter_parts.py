"""The small parts of the xds adapter: media types, decompression, waiting bytes, facts of a document."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.contract import Digest, Services
from adapters.errors import Busy, Corrupt, Deleted
from adapters.testing.harness import RecordingLog
from adapters.xds import inflate
from adapters.xds.document import descriptor, refuse_deprecated
from adapters.xds.locator import DocumentKey
from adapters.xds.media import believed, is_media_type
from adapters.xds.options import Endpoint
from adapters.xds.registry_answer import Entry
from adapters.xds.retrieval_answer import Document
from adapters.xds.spool import IN_MEMORY, PIECE, Spool

# --- media types ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "served"),
    [
        (["application/pdf"], "application/pdf"),
        ([" APPLICATION/PDF\n"], "application/pdf"),
        (["text/plain; charset=ISO-8859-1"], "text/plain; charset=ISO-8859-1"),
        (["Text/Plain ; Charset=x"], "text/plain ; Charset=x"),
        (['multipart/related; type="text/xml"'], 'multipart/related; type="text/xml"'),
        ([None, "image/tiff"], "image/tiff"),
        (["undefined", "image/tiff"], "image/tiff"),
        (["application/octet-stream", "image/tiff"], "image/tiff"),
        (["application/octet-stream"], None),
        (["application/pdf\r\nX-Injected: yes"], None),
        (["application/pdf\nX: y", "image/tiff"], "image/tiff"),
        (["application/pdf; a=b\r\nX: y"], None),
        (["", None], None),
        ([], None),
    ],
)
def test_which_statement_is_believed(statements: list[str | None], served: str | None) -> None:
    assert believed({}, *statements) == served


def test_statements_are_corrected() -> None:
    corrections = {
        "text/xml": "application/hl7-v3+xml",
        "application/pdf": None,
        "application/octet-stream": "image/tiff",
    }
    assert believed(corrections, "text/xml") == "application/hl7-v3+xml"
    assert believed(corrections, "Text/XML; charset=utf-8") == "application/hl7-v3+xml"
    assert believed(corrections, "application/pdf") is None
    assert believed(corrections, "application/pdf", "text/xml") == "application/hl7-v3+xml"
    assert believed(corrections, "application/octet-stream") == "image/tiff"


@given(st.text())
def test_what_is_believed_can_stand_in_a_header(text: str) -> None:
    served = believed({}, text)
    assert served is None or (served.isascii() and served.isprintable() and is_media_type(served))


# --- decompression -------------------------------------------------------------------------------------------------


def inflated(encoding: str | None, *data: bytes) -> bytes:
    body = inflate.body(encoding)
    got = [piece for one in data for piece in body.feed(one)]
    body.end()
    assert all(0 < len(piece) <= inflate.PIECE or encoding is None for piece in got)
    return b"".join(got)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@given(st.binary(max_size=3000), st.integers(1, 700))
def test_every_encoding_gives_the_bytes_back_however_they_are_cut(data: bytes, step: int) -> None:
    for encoding, packed in (
        (None, data),
        ("identity", data),
        ("gzip", gzip.compress(data)),
        ("X-GZIP", gzip.compress(data)),
        ("gzip", gzip.compress(data[:9]) + gzip.compress(data[9:])),
        ("deflate", zlib.compress(data)),
    ):
        assert inflated(encoding, *(packed[at : at + step] for at in range(0, len(packed), step))) == data


@given(st.binary(min_size=1, max_size=3000))
def test_deflate_without_its_frame(data: bytes) -> None:
    assert inflated("deflate", raw_deflate(data)) == data


@given(st.integers(1, 60))
def test_a_compressed_body_that_ends_early_is_an_error(missing: int) -> None:
    packed = gzip.compress(bytes(range(256)) * 4)
    with pytest.raises(Corrupt, match="ended early"):
        inflated("gzip", packed[: -min(missing, len(packed) - 1)])


def test_damage_is_an_error() -> None:
    packed = bytearray(gzip.compress(b"a letter" * 100))
    packed[-6] ^= 1
    with pytest.raises(Corrupt, match="damaged"):
        inflated("gzip", bytes(packed))
    with pytest.raises(Corrupt, match="damaged"):
        inflated("gzip", b"no gzip at all")


def test_a_bomb_is_refused_before_it_is_large() -> None:
    body = inflate.body("gzip")
    bomb = gzip.compress(bytes(64 << 20))
    got = 0
    with pytest.raises(Corrupt, match="swells"):
        for piece in body.feed(bomb):
            got += len(piece)
    assert got <= inflate.MOST_RATIO * len(bomb) + inflate.FREE


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(Corrupt, match="not known here"):
        inflate.body("br")


# --- waiting bytes -------------------------------------------------------------------------------------------------


@pytest.fixture
def services() -> Iterator[Services]:
    with ThreadPoolExecutor(2) as executor:
        yield Services(executor=executor, log=RecordingLog(), clock=time.monotonic)


async def drained(spool: Spool) -> bytes:
    got = bytearray()
    while piece := await spool.read():
        assert len(piece) <= PIECE
        got += piece
    return bytes(got)


@pytest.mark.parametrize("size", [0, 1, PIECE, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY + 17])
@pytest.mark.parametrize("step", [100_003, PIECE, 2 * PIECE])
async def test_what_waits_comes_back_twice(services: Services, tmp_path: Path, size: int, step: int) -> None:
    data = bytes(at % 251 for at in range(size))
    spool = Spool(services, tmp_path)
    for at in range(0, size, step):
        await spool.write(data[at : at + step])
    assert spool.size == size
    assert await drained(spool) == data
    spool.rewind()
    assert await drained(spool) == data
    assert list(tmp_path.iterdir()) == []
    spool.close()
    spool.close()


async def test_more_than_allowed_is_refused(services: Services) -> None:
    spool = Spool(services, None, most=1000)
    await spool.write(bytes(1000))
    with pytest.raises(Corrupt, match="`max_document`"):
        await spool.write(b"x")
    spool.close()


async def test_a_disk_without_room_is_told_and_cured(services: Services, tmp_path: Path) -> None:
    spool = Spool(services, tmp_path / "is-not-there")
    await spool.write(bytes(IN_MEMORY))
    with pytest.raises(Busy, match="look at `spool_directory`") as raised:
        await spool.write(b"x")
    assert "is-not-there" not in raised.value.detail
    spool.close()


# --- facts ---------------------------------------------------------------------------------------------------------

KEY = DocumentKey(None, "1.2.3", "1.2.3.4^A")
SHA1 = Digest("sha1", bytes(range(20)))


def endpoint(**more: Any) -> Endpoint:
    return Endpoint.model_validate({"alias": "a", "url": "https://x/y", "repository_unique_ids": ["1.2.3"]} | more)


def entry(**more: Any) -> Entry:
    stated: dict[str, Any] = {
        "document": KEY.document, "repository": "1.2.3", "home": None, "status": "Approved",
        "media_type": "image/tiff", "size": 43, "digest": SHA1, "settled": True,
    }  # fmt: skip
    return Entry(**(stated | more))


def arrived(**more: Any) -> Document:
    stated = {"repository": "1.2.3", "document": KEY.document, "home": None, "media_type": "application/pdf"}
    return Document(**(stated | more))


def test_the_repository_states_the_type_first_then_the_registry() -> None:
    both = descriptor(KEY, endpoint(), entry=entry(), document=arrived(), by_hash=True)
    registry = descriptor(KEY, endpoint(), entry=entry(), document=arrived(media_type="undefined"), by_hash=True)
    assert (both.media_type, registry.media_type) == ("application/pdf", "image/tiff")


def test_the_version_of_a_stable_document_is_its_id() -> None:
    version = descriptor(KEY, endpoint(), document=arrived(), by_hash=False).version
    assert version is not None
    assert version == descriptor(KEY, endpoint(alias="b"), entry=entry(), by_hash=False).version
    other = DocumentKey(None, "1.2.3", "1.2.3.4^B")
    elsewhere = DocumentKey(None, "1.2.4", "1.2.3.4^A")
    assert len({version, *(descriptor(key, endpoint(), by_hash=False).version for key in (other, elsewhere))}) == 3
    assert "1.2.3.4" not in version


def test_the_version_is_the_hash_where_every_reader_knows_it() -> None:
    stat = descriptor(KEY, endpoint(), entry=entry(), by_hash=True)
    opened = descriptor(KEY, endpoint(), entry=entry(), document=arrived(), size=43, by_hash=True)
    assert stat.version == opened.version == SHA1.value.hex()
    assert (stat.size, stat.digest) == (opened.size, opened.digest) == (43, SHA1)


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, {"document": arrived(new_document="1.2.3.4^A.1")}),
        ({}, {"entry": entry(settled=False, size=None, digest=None)}),
        ({"on_demand": True}, {"document": arrived()}),
        ({"on_demand": True}, {"entry": entry(digest=None)}),
    ],
    ids=["kept under a new id", "not settled", "on demand", "on demand without a hash"],
)
def test_nothing_is_promised_about_what_is_made_anew(options: dict[str, Any], more: dict[str, Any]) -> None:
    assert descriptor(KEY, endpoint(**options), by_hash=True, **more).version is None


def test_a_new_id_that_is_the_old_one_is_no_new_document() -> None:
    assert descriptor(KEY, endpoint(), document=arrived(new_document=KEY.document), by_hash=False).version is not None


def test_deprecated_documents() -> None:
    refuse_deprecated(entry())
    with pytest.raises(Deleted, match="deprecated"):
        refuse_deprecated(entry(status="Deprecated"))
