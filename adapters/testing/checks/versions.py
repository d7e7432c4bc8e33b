"""C5: versions mean bytes.

Rules of this module: checks only; see `adapters.testing.check`.
"""

from __future__ import annotations

from adapters.errors import Changed
from adapters.testing.check import MUTABLE, REPLACE, STRONG_VERSIONS, Violation, check
from adapters.testing.harness import Harness
from adapters.testing.subject import document, entered, expecting, sample, seed, settled


@check("C5.1", cure="state the same `version` in `stat` and `open`, and compare for equality", needs=[STRONG_VERSIONS])
async def a_version_is_given_and_accepted(harness: Harness) -> None:
    """A cache that cannot ask "is it still this one" must fetch every letter anew."""
    given = await document(harness, 1000)
    locator, data = given.locator, given.data
    async with entered(harness) as subject:
        for doing, facts in (
            ("`stat`", await subject.stat(locator)),
            ("`open`", (await subject.read(locator))[0].descriptor),
        ):
            if facts.version is None:
                raise Violation(f"strong_versions is declared, and {doing} states no version")
            if (await subject.read(locator, version=facts.version))[1] != data:
                raise Violation(f"the version that {doing} states does not open the document")


@check(
    "C5.2",
    cure="if version is not None and differs from the object's, raise Changed on entering",
    needs=[STRONG_VERSIONS],
)
async def an_unknown_version_is_changed(harness: Harness) -> None:
    """A version that the adapter never issued cannot be the one that the reader has the first half of."""
    locator = (await document(harness, 1000)).locator
    async with entered(harness) as subject:
        stated = (await subject.stat(locator)).version or ""
        for version in ("no-such-version", stated + "0", stated[:-1]):
            with expecting(Changed, doing=f"entering `open` with the version {version!r}, which is not the object's,"):
                async with subject.open(locator, version=version):
                    pass


@check(
    "C5.3",
    cure="compare with the version of the object that was just opened, not with a remembered one",
    needs=[STRONG_VERSIONS, MUTABLE, REPLACE],
)
async def a_replaced_document_is_changed(harness: Harness) -> None:
    """A resumed read that continues in another version would splice two letters into one."""
    locator = await seed(harness, sample(1000))
    async with entered(harness) as subject:
        before = (await subject.read(locator))[0].descriptor.version
        await settled(harness.replace(locator, sample(2000, 1)))
        with expecting(Changed, doing="entering `open` with the version from before the replacement"):
            async with subject.open(locator, version=before):
                pass


@check("C5.4", cure="derive the version from the object alone: size, times, a hash; no counters, clocks or addresses")
async def every_replica_states_the_same_version(harness: Harness) -> None:
    """Replicas share one cache and one client; versions that differ make them undo each other's work."""
    locator = (await document(harness, 1000)).locator
    async with entered(harness) as one, entered(harness) as other:
        versions = {(await subject.stat(locator)).version for subject in (one, other, one)}
        if len(versions) != 1:
            raise Violation(f"one unchanged document has the versions {sorted(map(str, versions))}")


@check(
    "C5.5", cure="put something into the version that changes with the bytes, or state None", needs=[MUTABLE, REPLACE]
)
async def other_bytes_have_another_version(harness: Harness) -> None:
    """Equal versions mean equal bytes: a cache would go on handing out the letter from before the correction."""
    locator = await seed(harness, sample(1000))
    async with entered(harness) as subject:
        before = (await subject.read(locator))[0].descriptor.version
        for variant in (1, 2):
            await settled(harness.replace(locator, sample(1000, variant)))
            after = (await subject.read(locator))[0].descriptor.version
            if after is not None and after == before:
                raise Violation("the document was replaced by another of the same size, and its version is the same")
            before = after
