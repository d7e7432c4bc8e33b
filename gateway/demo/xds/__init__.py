"""A fake XDS repository: documents behind IHE ITI-43, ITI-39 and ITI-18, as well and as badly as real ones answer.

    async with FakeRepository([letter(1)]).serving() as fake:
        fake.personality = PERSONALITIES["cxf"]
        fake.next("reset")                      # the next request alone
        ... POST to fake.endpoint("repository") ...
        exchange = await fake.arrived(1)        # what was asked, byte for byte

For tests, benchmarks and `fhir-gateway demo --xds`. Rules of this package: standard library only, and nothing of the
gateway's own readers, so that the two can judge each other. Everything is invented and the same on every run.

`documents` and `contents` are what it holds; `personality`, `vendors` and `faults` are how it answers, as data;
`request`, `asking` and `checks` read; `answering`, `retrieval` and `query` decide; `envelope`, `markup` and `packaging`
compose; `sending` writes; `server` is the listener, `background` a thread for it. Other processes choose by path,
/personality/cxf+reset/repository, and read /requests.
"""

from __future__ import annotations

from gateway.demo.xds.contents import Content, Generated, Stored
from gateway.demo.xds.documents import (
    HOME,
    OTHER_REPOSITORY,
    REPOSITORY,
    Document,
    large,
    letter,
    on_demand,
    unassembled,
)
from gateway.demo.xds.exchange import Ending, Exchange
from gateway.demo.xds.faults import FAULTS, named
from gateway.demo.xds.pages import HEADER
from gateway.demo.xds.personality import ABSENT, Break, Canned, Fault, Personality, RegistryError, SoapFault
from gateway.demo.xds.server import FakeRepository
from gateway.demo.xds.vendors import PERSONALITIES, STANDARD

__all__ = [
    "ABSENT", "FAULTS", "HEADER", "HOME", "OTHER_REPOSITORY", "PERSONALITIES", "REPOSITORY", "STANDARD",
    "Break", "Canned", "Content", "Document", "Ending", "Exchange", "FakeRepository", "Fault", "Generated", "Personality",
    "RegistryError", "SoapFault", "Stored", "large", "letter", "named", "on_demand", "unassembled",
]  # fmt: skip
