"""Which files of certificates a configuration names, when they end, and that a new configuration is followed at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel

from gateway.security.expiries import Expiries, first_end, named
from tests.support.xds import Authority


class Tls(BaseModel):
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None


class Server(BaseModel):
    tls: Tls | None = None
    ca: str = "not a file"


class Whole(BaseModel):
    server: Server = Server()
    endpoints: tuple[Server, ...] = ()
    sources: dict[str, Server] = {}


def test_every_file_of_certificates_is_found_wherever_it_stands() -> None:
    tls = Tls(certificate=Path("a.pem"), key=Path("a.key"), ca=Path("ca.pem"))
    whole = Whole(
        server=Server(tls=tls),
        endpoints=(Server(), Server(tls=Tls(ca=Path("b.pem")))),
        sources={"care": Server(tls=tls)},
    )
    assert dict(named(whole)) == {
        "server.tls.certificate": Path("a.pem"),
        "server.tls.ca": Path("ca.pem"),
        "endpoints.1.tls.ca": Path("b.pem"),
        "sources.care.tls.certificate": Path("a.pem"),
        "sources.care.tls.ca": Path("ca.pem"),
    }


def test_the_first_end_of_a_file_counts(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    good, over = authority.issue("good"), authority.issue("over", expired=True)
    both = tmp_path / "both.pem"
    both.write_bytes(good.certificate.read_bytes() + over.certificate.read_bytes())
    now = datetime.now(UTC)
    end = first_end(good.certificate)
    assert end is not None
    assert now < end < now + timedelta(days=2)
    first = first_end(both)
    assert first is not None
    assert first < now
    (tmp_path / "none.pem").write_text("no certificate")
    assert first_end(tmp_path / "none.pem") is None
    assert first_end(tmp_path / "nowhere.pem") is None


async def test_another_configuration_is_followed_at_once(tmp_path: Path) -> None:
    pair = await asyncio.to_thread(Authority(tmp_path).issue, "a")
    expiries = Expiries(Whole())
    watch = asyncio.create_task(expiries.watch())
    try:
        await asyncio.sleep(0)
        assert expiries.ends == {}
        expiries.use(Whole(server=Server(tls=Tls(certificate=pair.certificate))))
        async with asyncio.timeout(5):
            while not expiries.ends:  # noqa: ASYNC110 # what is looked at has no event
                await asyncio.sleep(0.01)
        assert expiries.ends.keys() == {"server.tls.certificate"}
    finally:
        watch.cancel()
        expiries.close()
