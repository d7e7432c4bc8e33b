"""C1 and C2: what exists is said on entering, and the facts are those of the object that was opened.

Rules of this module: checks only; see `adapters.testing.check`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import fields
from datetime import timedelta

from adapters.contract import Descriptor
from adapters.errors import InvalidLocator, NotFound
from adapters.testing.check import MUTABLE, REPLACE, WITHDRAW, Violation, check, is_site
from adapters.testing.harness import Harness
from adapters.testing.subject import document, documents, entered, expecting, sample, seed, settled

_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;.*)?", re.ASCII)


@check("C1.1", cure="look the document up before the `yield` of `open`, and raise NotFound there and in `stat`")
async def a_missing_document_is_not_found(harness: Harness) -> None:
    """ "There is no such document" is a clinical statement; it must not come as an empty or a broken document."""
    # At a site the key is made up, and only its archive can say whether it is malformed.
    due = (NotFound, InvalidLocator) if is_site(harness) else (NotFound,)
    async with entered(harness) as subject:
        with expecting(*due, doing="entering `open` for a missing document"):
            async with subject.open(harness.missing):
                pass
        with expecting(*due, doing="`stat` of a missing document"):
            await subject.stat(harness.missing)


@check("C1.2", cure="refuse such keys by their text, before the archive is asked, with InvalidLocator")
async def a_hostile_locator_is_refused(harness: Harness) -> None:
    """A key that leads out of the archive would hand out files that are no documents."""
    async with entered(harness) as subject:
        for locator in harness.hostile:
            with expecting(InvalidLocator, NotFound, doing=f"entering `open` for {locator[:60]!r}"):
                async with subject.open(locator):
                    pass
            with expecting(InvalidLocator, NotFound, doing=f"`stat` of {locator[:60]!r}"):
                await subject.stat(locator)


@check(
    "C1.3",
    cure="ask the archive each time; raise Deleted where it remembers withdrawals, else NotFound",
    needs=[WITHDRAW],
)
async def a_withdrawn_document_is_gone(harness: Harness) -> None:
    """A withdrawn letter that is still handed out is a clinical incident."""
    locator = await seed(harness, sample(1000))
    async with entered(harness) as subject:
        await subject.read(locator)
        await settled(harness.withdraw(locator))
        with expecting(NotFound, doing="entering `open` for a withdrawn document"):
            async with subject.open(locator):
                pass
        with expecting(NotFound, doing="`stat` of a withdrawn document"):
            await subject.stat(locator)


@check("C2.1", cure="compute the descriptor in one place that both `stat` and `open` use")
async def stat_and_open_agree(harness: Harness) -> None:
    """HEAD is answered from `stat`, GET from `open`; two answers for one document break caches and clients."""
    locator = (await document(harness, 1000, media_type="application/pdf")).locator
    async with entered(harness) as subject:
        stated = await subject.stat(locator)
        opened = (await subject.read(locator))[0].descriptor
        for name in (field.name for field in fields(Descriptor)):
            pair = getattr(stated, name), getattr(opened, name)
            if None not in pair and pair[0] != pair[1]:
                # A title may hold a patient's name.
                values = "" if name == "title" else f": {pair[0]!r} and {pair[1]!r}"
                raise Violation(f"`stat` and `open` differ in `{name}`{values}")


@check(
    "C2.2",
    cure="size: int or None; media type: `type/subtype`; modified: in UTC; digest: raw bytes; version: not empty",
)
async def facts_are_well_formed(harness: Harness) -> None:
    """Facts become HTTP headers; a time without a zone moves a letter by an hour twice a year."""
    given = await document(harness, 1000, media_type="application/pdf")
    async with entered(harness) as subject:
        for facts in (await subject.stat(given.locator), (await subject.read(given.locator))[0].descriptor):
            _judge_form(facts)
            stated = (facts.media_type or "").partition(";")[0].strip().lower()
            if given.media_type and stated not in ("", given.media_type):
                raise Violation(f"the media type was stored as {given.media_type!r} and is stated as {stated!r}")


def _judge_form(facts: Descriptor) -> None:
    if facts.size is not None and (type(facts.size) is not int or facts.size < 0):
        raise Violation(f"the size is {facts.size!r}")
    if facts.media_type is not None and not _MEDIA_TYPE.fullmatch(facts.media_type):
        raise Violation(f"the media type is {facts.media_type!r}; state None when the archive states nothing")
    if facts.modified is not None and facts.modified.utcoffset() != timedelta(0):
        raise Violation(f"`modified` is not in UTC: {facts.modified!r}")
    if facts.version is not None and not (facts.version and facts.version.isprintable()):
        raise Violation(f"the version is {facts.version!r}")
    if facts.digest is not None and facts.digest.algorithm not in hashlib.algorithms_available:
        raise Violation(f"hashlib knows no digest {facts.digest.algorithm!r}")


@check(
    "C2.3", cure="ask the opened handle for its size (fstat); hand on a digest only if it is of the document's bytes"
)
async def size_and_digest_are_those_of_the_bytes(harness: Harness) -> None:
    """The size becomes Content-Length: one byte off, and a letter is cut or a connection breaks."""
    async with entered(harness) as subject:
        for given in await documents(harness, 0, 1, 300_001):
            content, data = await subject.read(given.locator)
            facts = content.descriptor
            if facts.size is not None and facts.size != len(data):
                raise Violation(f"the size is stated as {facts.size}, and {len(data)} bytes came")
            if facts.digest is not None:
                found = hashlib.new(facts.digest.algorithm, data, usedforsecurity=False).digest()
                if found != facts.digest.value:
                    raise Violation(f"the {facts.digest.algorithm} digest is not that of the bytes that came")


@check("C2.4", cure="open first, then ask the open handle; keep no descriptors between calls", needs=[MUTABLE, REPLACE])
async def facts_follow_the_document(harness: Harness) -> None:
    """Facts remembered from an earlier look describe another document than the one that is sent."""
    locator = await seed(harness, sample(5000))
    async with entered(harness) as subject:
        await subject.read(locator)
        await settled(harness.replace(locator, sample(7000, 1)))
        opened = (await subject.read(locator))[0].descriptor
        for doing, facts in (("`open`", opened), ("`stat`", await subject.stat(locator))):
            if facts.size not in (None, 7000):
                raise Violation(f"{doing} still states {facts.size} bytes after the document became 7000 bytes long")
