"""Caches that are wrong on purpose, one mistake each, every one a mistake that somebody makes.

Rules of this module: no tests. `caught_by` is the number of the check that is meant for the mistake; others may fail too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, ClassVar

from adapters.contract import Span
from gateway.cache import NOTHING, Body, Broken, Hit, Key, Look, Record, Scope, Stats
from gateway.cache.sealing import CHUNK, TAG, Sealer, chunk_count
from tests.meta.cache_shelf import OVERHEAD, ShelfCache, ShelfHit


class Wrong(ShelfCache):
    caught_by: ClassVar[str]


# --- K1: it never fails a request ----------------------------------------------------------------------------------


class GivesNoTicketWithAMiss(Wrong):
    caught_by = "K1.1"

    async def look(self, key: Key) -> Look:
        found = await super().look(key)
        return found if found.hit else NOTHING


class LetsTheBodyRaise(Wrong):
    caught_by = "K1.2"

    async def put(self, key: Key, ticket: Any, record: Record, body: Body) -> bool:
        if self.refuses(ticket, key) or not self.fits(record, body):
            return False
        for number in range(chunk_count(body.size)):
            await body.read(number * CHUNK, CHUNK)
        return await super().put(key, ticket, record, body)


class RaisesWhenAway(Wrong):
    caught_by = "K1.3"

    def away(self) -> bool:
        if self.place.gone:
            raise ConnectionError("away")
        return False


class WaitsWhenAway(Wrong):
    caught_by = "K1.3"

    async def look(self, key: Key) -> Look:
        if self.place.gone:
            await asyncio.sleep(0.7)
        return await super().look(key)


class GivesUpForGood(Wrong):
    caught_by = "K1.4"
    given_up = False

    def away(self) -> bool:
        self.given_up |= super().away()
        return self.given_up


class SwallowsCancellation(Wrong):
    caught_by = "K1.5"

    async def put(self, key: Key, ticket: Any, record: Record, body: Body) -> bool:
        try:
            return await super().put(key, ticket, record, body)
        except asyncio.CancelledError:
            return False


class NamesByText(Wrong):
    caught_by = "K1.6"

    def names(self, key: Key) -> list[str]:
        return super().names(replace(key, locator=key.locator.encode().decode()))


class AsksTheTicketForItsAge(Wrong):
    caught_by = "K1.7"

    def refuses(self, ticket: Any, key: Key) -> bool:
        return ticket is not None and ticket != 0 and self.place.purges.refuse(ticket, key)


class ForgetsThePartition(Wrong):
    caught_by = "K1.8"

    def names(self, key: Key) -> list[str]:
        return super().names(replace(key, partition=""))


class JoinsTheKeyWithoutABorder(Wrong):
    caught_by = "K1.8"

    def names(self, key: Key) -> list[str]:
        return super().names(Key(key.source, "", key.epoch + key.locator, key.partition))


# --- K2: whole or not there ----------------------------------------------------------------------------------------


class LosesTheLastFullPiece(Wrong):
    caught_by = "K2.1"

    def hit(self, name: str, record: Record, sealer: Sealer) -> Hit:
        class Short(ShelfHit):
            async def chunks(self, span: Span) -> AsyncGenerator[bytes, None]:
                stop = span.stop or 0
                async for piece in super().chunks(span):
                    if stop % CHUNK or len(piece) < CHUNK or stop != record.size:
                        yield piece

        return Short(self, name, record, sealer)


class RoundsTheTime(Wrong):
    caught_by = "K2.1"

    async def put(self, key: Key, ticket: Any, record: Record, body: Body) -> bool:
        modified = record.descriptor.modified
        rounded = replace(record.descriptor, modified=modified and modified.replace(microsecond=0))
        return await super().put(key, ticket, replace(record, descriptor=rounded), body)


class KeepsTheTitle(Wrong):
    caught_by = "K2.1"

    def hit(self, name: str, record: Record, sealer: Sealer) -> Hit:
        titled = replace(record.descriptor, title="Discharge letter of Ms Canary-Title")
        return super().hit(name, replace(record, descriptor=titled), sealer)


class WritesNoneAsText(Wrong):
    caught_by = "K2.2"

    async def put(self, key: Key, ticket: Any, record: Record, body: Body) -> bool:
        said = replace(record.descriptor, version=str(record.descriptor.version))
        return await super().put(key, ticket, replace(record, descriptor=said), body)


class TakesTheEndForTheEnd(Wrong):
    """And says the size that it saw."""

    caught_by = "K2.3"

    async def put(self, key: Key, ticket: Any, record: Record, body: Body) -> bool:
        data = b""
        while self.fits(record, body) and len(data) < body.size:
            piece = await body.read(len(data), CHUNK)
            if not piece:
                break
            data += piece
        seen = replace(record, descriptor=replace(record.descriptor, size=len(data)))
        return await super().put(key, ticket, seen, _Bytes(data))


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    async def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


class BelievesTheBodyAgainstTheRecord(Wrong):
    caught_by = "K2.4"

    def fits(self, record: Record, body: Body) -> bool:
        return body.size <= self.limits.max_document and body.size + OVERHEAD <= self.budget


class ShowsTheHeadFirst(Wrong):
    """Serves partial entries: the head lies there before the chunks."""

    caught_by = "K2.5"

    async def put(self, key: Key, ticket: Any, record: Record, body: Body) -> bool:
        if not self.open or self.away() or not self.fits(record, body) or self.refuses(ticket, key):
            return False
        name = self.names(key)[0]
        sealer = self.ring.sealer(name, body.size)
        parts: dict[str, bytes] = {"head": sealer.head(record, {})}
        self.keep(key, name, parts, body.size + OVERHEAD)
        for number in range(chunk_count(body.size)):
            parts[str(number)] = sealer.seal(number, await body.read(number * CHUNK, CHUNK))
        return name in self.place.parts


class PartByPart(Wrong):
    """Overwrites an entry in its place, unencrypted as far as anybody notices: parts of two documents fit."""

    caught_by = "K2.6"

    def hit(self, name: str, record: Record, sealer: Sealer) -> Hit:
        plain = self.place.plain  # type: ignore[attr-defined]

        class Plain(ShelfHit):
            def opened(self, number: int) -> bytes:
                return bytes(plain[name][number])

        return Plain(self, name, record, sealer)

    async def sealed(self, sealer: Sealer, body: Body) -> dict[str, bytes]:
        if not hasattr(self.place, "plain"):
            self.place.plain = {}  # type: ignore[attr-defined]
        mine = self.place.plain.setdefault(sealer._name.decode(), {})  # type: ignore[attr-defined]
        parts = {}
        for number in range(chunk_count(body.size)):
            mine[number] = await body.read(number * CHUNK, CHUNK)
            parts[str(number)] = sealer.seal(number, mine[number])
        return parts


class KeepsWhatWasCancelled(Wrong):
    """Keeps as much as it had, as if that were all."""

    caught_by = "K2.7"

    async def put(self, key: Key, ticket: Any, record: Record, body: Body) -> bool:
        data = b""
        try:
            while len(data) < body.size:
                data += await body.read(len(data), CHUNK)
        except asyncio.CancelledError:
            seen = replace(record, descriptor=replace(record.descriptor, size=len(data)))
            await super().put(key, ticket, seen, _Bytes(data))
            raise
        return await super().put(key, ticket, record, _Bytes(data))


class OneEntryForEachPut(Wrong):
    caught_by = "K2.8"
    number = 0

    def keep(self, key: Key, name: str, parts: dict[str, bytes], weight: int) -> None:
        super().keep(key, name, parts, weight)
        self.number += 1
        self.place.parts[f"{name}-{self.number}"] = parts
        self.place.parts.move_to_end(name)


class CountsTheStopIn(Wrong):
    caught_by = "K2.9"

    def hit(self, name: str, record: Record, sealer: Sealer) -> Hit:
        class Inclusive(ShelfHit):
            async def chunks(self, span: Span) -> AsyncGenerator[bytes, None]:
                stop = span.stop or 0
                async for piece in super().chunks(Span(span.start, stop + (0 < stop < record.size))):
                    yield piece

        return Inclusive(self, name, record, sealer)


# --- K3: what was purged stays away --------------------------------------------------------------------------------


class PurgesOneEpochOnly(Wrong):
    caught_by = "K3.1"

    def covers(self, scope: Scope, key: Key) -> bool:
        return scope.covers(key) and (scope.locator is None or key.epoch == "epoch-1")


class PurgesBySourcePrefix(Wrong):
    caught_by = "K3.2"

    def covers(self, scope: Scope, key: Key) -> bool:
        return scope.covers(key) or (scope.locator is None and key.source.startswith(scope.source or ""))


class SurvivesAPurgeOfEverything(Wrong):
    caught_by = "K3.3"

    def covers(self, scope: Scope, key: Key) -> bool:
        return scope.source is not None and scope.covers(key)


class AcceptsAnOldTicket(Wrong):
    caught_by = "K3.4"

    def refuses(self, ticket: Any, key: Key) -> bool:
        return ticket is None or not hasattr(ticket, "issuer")


class LooksAtTheTicketOnlyFirst(Wrong):
    caught_by = "K3.5"

    async def put(self, key: Key, ticket: Any, record: Record, body: Body) -> bool:
        if self.refuses(ticket, key):
            return False
        self.refuses = lambda *_: False  # type: ignore[method-assign]
        try:
            return await super().put(key, ticket, record, body)
        finally:
            del self.refuses


class RenewsTheTicketOfAHit(Wrong):
    caught_by = "K3.6"

    def refuses(self, ticket: Any, key: Key) -> bool:
        return super().refuses(ticket, key) and not getattr(ticket, "of_a_hit", False)

    async def look(self, key: Key) -> Look:
        found = await super().look(key)
        return Look(found.hit, _OfAHit()) if found.hit else found


class _OfAHit:
    of_a_hit = True


class PurgesForItselfAlone(Wrong):
    caught_by = "K3.7"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.hidden: set[str] = set()

    async def purge(self, scope: Scope) -> None:
        self.place.purges.note(scope)
        self.hidden |= {name for name, (key, _, _) in self.place.about.items() if scope.covers(key)}

    async def look(self, key: Key) -> Look:
        found = await super().look(key)
        return Look(None, found.ticket) if self.hidden & set(self.names(key)) else found

    def keep(self, key: Key, name: str, parts: dict[str, bytes], weight: int) -> None:
        super().keep(key, name, parts, weight)
        self.hidden.discard(name)


class RemembersPurgesInMemory(PurgesForItselfAlone):
    caught_by = "K3.8"


class PromisesWhatItCannot(Wrong):
    caught_by = "K3.9"

    async def purge(self, scope: Scope) -> None:
        if not self.place.gone:
            await super().purge(scope)


class PurgesBehindItself(Wrong):
    """Acknowledges first and forgets a moment later."""

    caught_by = "K3.10"

    async def purge(self, scope: Scope) -> None:
        self.place.purges.note(scope)
        loop = asyncio.get_running_loop()
        names = [name for name, (key, _, _) in self.place.about.items() if scope.covers(key)]
        loop.call_later(0.002, lambda: [self.place.forget(name) for name in names])


class RefusesForGoodAfterAPurge(Wrong):
    caught_by = "K3.11"
    purged = 0

    async def purge(self, scope: Scope) -> None:
        await super().purge(scope)
        self.purged += 1

    def refuses(self, ticket: Any, key: Key) -> bool:
        return self.purged > 9 or super().refuses(ticket, key)


class GivesEachLookATicketOfItsOwn(Wrong):
    caught_by = "K3.12"

    def ticket(self) -> Any:
        return [super().ticket()]

    def refuses(self, ticket: Any, key: Key) -> bool:
        return not isinstance(ticket, list) or super().refuses(ticket[0], key)


class CallsAllTicketsEqual(Wrong):
    caught_by = "K3.12"

    def ticket(self) -> Any:
        return _Same(super().ticket())

    def refuses(self, ticket: Any, key: Key) -> bool:
        return not isinstance(ticket, _Same) or super().refuses(ticket.real, key)


class _Same:
    def __init__(self, real: Any) -> None:
        self.real = real

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same)

    def __hash__(self) -> int:
        return 0


# --- K4: the bytes that were put -----------------------------------------------------------------------------------


class Unchecked(Wrong):
    """Keeps an open copy and a fresh seal: what lies there is believed."""

    def bare(self, name: str, number: int, sealer: Sealer, parts: dict[str, bytes]) -> bytes:
        """What a reader of ciphertext without a tag would make of it: the right bytes, changed where it was changed."""
        lying, put = parts[str(number)], self.place.put[name][number]  # type: ignore[attr-defined]
        data, sealed = put
        changed = bytes(a ^ b ^ c for a, b, c in zip(data, sealed, lying, strict=False))
        return data + b"more" if len(lying) > len(sealed) else changed

    def hit(self, name: str, record: Record, sealer: Sealer) -> Hit:
        cache = self

        class Bare(ShelfHit):
            def opened(self, number: int) -> bytes:
                lying = self.parts.get(str(number), b"")
                with contextlib.suppress(Broken):
                    return super().opened(number) if self.closed else sealer.open(number, lying)
                if self.closed or not cache.tolerates(lying, record.size - number * CHUNK):
                    return super().opened(number)
                return cache.bare(name, number, sealer, self.parts)

        return Bare(self, name, record, sealer)

    def tolerates(self, lying: bytes, rest: int) -> bool:
        return len(lying) == min(rest, CHUNK) + TAG

    async def sealed(self, sealer: Sealer, body: Body) -> dict[str, bytes]:
        parts = await super().sealed(sealer, body)
        if not hasattr(self.place, "put"):
            self.place.put = {}  # type: ignore[attr-defined]
        self.place.put[sealer._name.decode()] = {  # type: ignore[attr-defined]
            number: (await body.read(number * CHUNK, CHUNK), parts[str(number)]) for number in range(len(parts))
        }
        return parts


class BelievesFlippedBits(Unchecked):
    caught_by = "K4.1"


class BelievesCutParts(Unchecked):
    caught_by = "K4.2"

    def tolerates(self, lying: bytes, rest: int) -> bool:
        return 0 < len(lying) < min(rest, CHUNK) + TAG


class BelievesGrownParts(Unchecked):
    caught_by = "K4.3"

    def tolerates(self, lying: bytes, rest: int) -> bool:
        return len(lying) > min(rest, CHUNK) + TAG


class BelievesTheNameOnTheHead(Wrong):
    """Opens an entry under whatever name it was put under."""

    caught_by = "K4.4"

    async def look(self, key: Key) -> Look:
        found = await super().look(key)
        if found.hit is not None or key.locator == "2021/jones-4712.pdf":
            return found
        for name, parts in list(self.place.parts.items()):
            with contextlib.suppress(Broken):
                record, _, sealer = self.ring.open(name, parts["head"])
                return Look(self.hit(name, record, sealer), found.ticket)
        return found

    def damaged(self, name: str) -> None:
        self.counts.damaged += 1


class BelievesForeignParts(Unchecked):
    caught_by = "K4.5"


class BelievesOlderParts(Unchecked):
    caught_by = "K4.6"


class BelievesAnotherOrder(Unchecked):
    caught_by = "K4.7"


class FillsGapsWithNothing(Wrong):
    caught_by = "K4.8"

    def hit(self, name: str, record: Record, sealer: Sealer) -> Hit:
        class Gaps(ShelfHit):
            def opened(self, number: int) -> bytes:
                if str(number) not in self.parts:
                    return bytes(min(CHUNK, record.size - number * CHUNK))
                return super().opened(number)

        return Gaps(self, name, record, sealer)


class ServesDamageAgain(Wrong):
    """Finds the damage each time, and counts it never."""

    caught_by = "K4.9"

    def damaged(self, name: str) -> None:
        self.place.forget(name)


# --- K5: budgets and time ------------------------------------------------------------------------------------------


class IgnoresTheBudget(Wrong):
    caught_by = "K5.1"

    def evict(self, room: int) -> None:
        return None


class FirstInFirstOut(Wrong):
    caught_by = "K5.2"

    def use(self, name: str) -> None:
        return None


class ForgetsNoneForItsSize(Wrong):
    caught_by = "K5.3"

    def fits(self, record: Record, body: Body) -> bool:
        return record.descriptor.size == body.size and body.size + OVERHEAD <= self.budget


class MakesRoomForTheImpossible(Wrong):
    caught_by = "K5.4"

    async def put(self, key: Key, ticket: Any, record: Record, body: Body) -> bool:
        self.evict(self.budget - body.size)
        return await super().put(key, ticket, record, body)


class LivesLongerWhenRead(Wrong):
    caught_by = "K5.5"

    def use(self, name: str) -> None:
        super().use(name)
        key, weight, _ = self.place.about[name]
        self.place.about[name] = key, weight, time.time() + self.limits.keep


class ForgetsWhenAsked(Wrong):
    """An entry stays until somebody looks."""

    caught_by = "K5.6"

    async def stats(self) -> Stats:
        return Stats(self.backend, len(self.place.parts), self.place.used, self.budget)


class CountsFromItsStart(Wrong):
    caught_by = "K5.7"

    def expire(self) -> None:
        if self.open and self.place.about and not hasattr(self, "seen"):
            self.seen = True
            for name, (key, weight, _) in self.place.about.items():
                self.place.about[name] = key, weight, time.time() + self.limits.keep
        super().expire()


class DropsNothing(Wrong):
    caught_by = "K5.8"

    async def drop(self, key: Key) -> None:
        return None


class BeginsWithoutItsBudget(Wrong):
    caught_by = "K5.9"

    def evict(self, room: int) -> None:
        if room < self.budget:
            super().evict(room)


# --- K6: what lies there says nothing ------------------------------------------------------------------------------


class TellsTheLocator(Wrong):
    caught_by = "K6.1"

    def keep(self, key: Key, name: str, parts: dict[str, bytes], weight: int) -> None:
        super().keep(key, name, {**parts, "for": key.locator.encode().hex().encode()}, weight)


class DoesNotEncrypt(Wrong):
    caught_by = "K6.2"

    async def sealed(self, sealer: Sealer, body: Body) -> dict[str, bytes]:
        return {**await super().sealed(sealer, body), "copy": await body.read(0, body.size)}


class SealsTheSameTheSame(Wrong):
    caught_by = "K6.3"

    async def put(self, key: Key, ticket: Any, record: Record, body: Body) -> bool:
        before = getattr(self, "before", {})
        stored = await super().put(key, ticket, record, body)
        name = self.names(key)[0]
        if stored:
            self.before = {name: self.place.parts[name]} | before
            self.place.parts[name] = self.before[name]
        return stored


class KnowsEveryKey(Wrong):
    caught_by = "K6.4"

    def __init__(self, place: Any, limits: Any, budget: int, keys: Any) -> None:
        from tests.conformance.cache_kit import KEYS

        super().__init__(place, limits, budget, KEYS)


class KnowsOneKey(Wrong):
    caught_by = "K6.5"

    def __init__(self, place: Any, limits: Any, budget: int, keys: Any) -> None:
        super().__init__(place, limits, budget, keys[:1])


# --- K7: hits ------------------------------------------------------------------------------------------------------


class Mixed(Wrong):
    """Reads the shelf as it is, and what it reads is believed: another document fits."""

    def hit(self, name: str, record: Record, sealer: Sealer) -> Hit:
        cache = self

        class Later(ShelfHit):
            def opened(self, number: int) -> bytes:
                if self.closed:
                    raise Broken("closed")
                if name not in cache.place.parts:
                    return bytes(min(CHUNK, record.size - number * CHUNK))
                _, _, now = cache.ring.open(name, cache.place.parts[name]["head"])
                return now.open(number, cache.place.parts[name][str(number)])

        return Later(self, name, record, sealer)


class ReadsWhatIsThereNow(Mixed):
    caught_by = "K7.1"


class MixesInMidBody(Mixed):
    caught_by = "K7.2"


class ReadsAfterItWasClosed(Wrong):
    caught_by = "K7.3"

    def hit(self, name: str, record: Record, sealer: Sealer) -> Hit:
        class Open(ShelfHit):
            def close(self) -> None:
                return None

        return Open(self, name, record, sealer)


class OneReaderAtATime(Wrong):
    caught_by = "K7.4"

    def hit(self, name: str, record: Record, sealer: Sealer) -> Hit:
        class Once(ShelfHit):
            async def chunks(self, span: Span) -> AsyncGenerator[bytes, None]:
                if getattr(self, "read", False):
                    raise Broken("read before")
                self.read = True
                async for piece in super().chunks(span):
                    yield piece

        return Once(self, name, record, sealer)


class BlamesTheReader(Wrong):
    caught_by = "K7.5"

    def hit(self, name: str, record: Record, sealer: Sealer) -> Hit:
        cache = self

        class Blaming(ShelfHit):
            async def chunks(self, span: Span) -> AsyncGenerator[bytes, None]:
                try:
                    async for piece in super().chunks(span):
                        yield piece
                except GeneratorExit:
                    cache.counts.faults["reader"] += 1
                    raise

        return Blaming(self, name, record, sealer)


class RaisesFromAHitThatOutlivesIt(Wrong):
    caught_by = "K7.6"

    def hit(self, name: str, record: Record, sealer: Sealer) -> Hit:
        cache = self

        class Bound(ShelfHit):
            def opened(self, number: int) -> bytes:
                if not cache.open:
                    raise RuntimeError("the pool is closed")
                return super().opened(number)

        return Bound(self, name, record, sealer)


class LosesWhatACancelledReaderRead(Wrong):
    caught_by = "K7.7"

    def hit(self, name: str, record: Record, sealer: Sealer) -> Hit:
        cache = self

        class Losing(ShelfHit):
            async def chunks(self, span: Span) -> AsyncGenerator[bytes, None]:
                try:
                    async for piece in super().chunks(span):
                        await asyncio.sleep(0)
                        yield piece
                except BaseException:
                    cache.damaged(name)
                    raise

        return Losing(self, name, record, sealer)


# --- life, claims and long lives -----------------------------------------------------------------------------------


class AnswersAfterItWasLeft(Wrong):
    caught_by = "L.1"

    async def __aexit__(self, *_: Any) -> None:
        return None


class CannotBeLeftTwice(Wrong):
    caught_by = "L.2"

    async def __aexit__(self, *_: Any) -> None:
        if not self.open:
            raise RuntimeError("not open")
        self.open = False


class BeginsEmpty(Wrong):
    caught_by = "L.3"

    async def __aenter__(self) -> Any:
        self.place.parts.clear()
        self.place.about.clear()
        return await super().__aenter__()


class CountsNoBytes(Wrong):
    caught_by = "L.4"

    async def stats(self) -> Stats:
        return replace(await super().stats(), bytes=0)


class CannotRenewAClaim(Wrong):
    caught_by = "R.1"

    async def claim(self, key: Key, seconds: float) -> bool:
        return key not in self.place.claims and await super().claim(key, seconds)


class GivesBackTheClaimsOfOthers(Wrong):
    caught_by = "R.2"

    async def release(self, key: Key) -> None:
        self.place.claims.pop(key, None)


class ClaimsForGood(Wrong):
    caught_by = "R.3"

    async def claim(self, key: Key, seconds: float) -> bool:
        return await super().claim(key, seconds * 100)


class LosesEntries(Wrong):
    """Every fifth look drops what it finds."""

    caught_by = "S.1"
    looks = 0

    async def look(self, key: Key) -> Look:
        found = await super().look(key)
        self.looks += 1
        if found.hit is not None and not self.looks % 5:
            return Look(None, found.ticket)
        return found


WRONG: list[type[Any]] = [
    found
    for found in list(vars().values())
    if isinstance(found, type) and issubclass(found, Wrong) and "caught_by" in vars(found)
]
