"""A changed configuration for a running gateway: read, judged as a whole, tried, and only then put in the place of the old one.

Nothing of a bad configuration is ever used, and everything that is wrong with it is said at once. A good one takes the place of
the old one between two requests; what began before is answered to its end by what it began with. Both halves, `prepare` and
`commit`, are apart, so that several processes can change together or not at all.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.errors import AdapterError
from gateway import marked_yaml
from gateway.cache import Scope
from gateway.composing import Gateway, composed
from gateway.epoch import Epoch
from gateway.mistakes import Places, away, told
from gateway.observed import ConfigState
from gateway.problems import Problem
from gateway.reloads import Outcome, Reloads, refused, tell
from gateway.settings import Settings, load
from gateway.settings.fixed import fixed_changes
from gateway.telemetry import Telemetry


class Reloading:
    """The configuration of one process, and its way from one to the next."""

    def __init__(
        self,
        config: Path | None,
        settings: Settings,
        current: Gateway,
        use: Callable[[Gateway], Epoch],
        shown: ConfigState,
        *,
        share: Callable[[Settings], Settings] = lambda settings: settings,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`use` puts a gateway in the place of the current one; `share` is what this process has of the settings.

        `shown` is what the status page and the metrics are told.
        """
        self._config_state = shown
        self._config = config
        self._settings = settings
        self.current = current
        self._use = use
        self._share = share
        self._environ = environ
        self._next: tuple[Settings, Gateway] | None = None
        self._lock = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._reloads = Reloads()

    @property
    def settings(self) -> Settings:
        """Those in use, undivided."""
        return self._settings

    @property
    def _telemetry(self) -> Telemetry:
        return self.current.telemetry

    def state(self) -> dict[str, Any]:
        """How the configuration stands, as plain values."""
        return self._reloads.state() | {"ending": len(self._retiring)}

    async def reload(self) -> Outcome:
        """Read the configuration and use it, if it is good as a whole."""
        async with self._lock:
            began = time.monotonic()
            problems = await self._prepared(None)
            outcome = self._note(refused(problems)) if problems else await self._committed()
            tell(outcome, self._telemetry.log, time.monotonic() - began)
            return outcome

    # --- in two halves ---------------------------------------------------------------------------------------------

    async def prepare(self, text: str | None = None) -> Sequence[Problem]:
        """Have everything ready for `text`, or say what is wrong with it. A former preparation is given up."""
        async with self._lock:
            return await self._prepared(text)

    async def commit(self) -> Outcome:
        """Use what was prepared."""
        async with self._lock:
            return await self._committed()

    async def abandon(self, problems: Sequence[Problem]) -> Outcome:
        """Give up what was prepared because of these problems."""
        async with self._lock:
            await self._give_up()
            return self._note(refused(problems))

    async def _prepared(self, text: str | None) -> Sequence[Problem]:
        await self._give_up()
        places = Places(None, None)
        try:
            if text is None and self._config is not None:
                text = await asyncio.to_thread(marked_yaml.text, self._config)
            settings = await asyncio.to_thread(load, self._config, self._environ, text=text)
            places = await asyncio.to_thread(Places, self._config, text)
            fixed = [places.problem(path, "fixed", *words) for path, *words in fixed_changes(self._settings, settings)]
            if fixed:
                return fixed
            prepared = await composed(self._share(settings), self.current.premises, former=self.current)
            self._next = settings, prepared
            problems: Sequence[Problem] = await self._tried(prepared, places)
        except Exception as error:
            problems = told(error, places, self._telemetry)
        if problems:
            await self._give_up()
        return problems

    async def _tried(self, prepared: Gateway, places: Places) -> list[Problem]:
        """What the sources that are new or changed say when they are asked. Those that are kept may be away, as before."""

        async def asked(name: str) -> Problem | None:
            archive = prepared.archives[name]
            try:
                if archive.failure is not None:
                    raise archive.failure
                await archive.source.probe()
            except AdapterError as error:
                error.source = name
                return away(error, places)
            return None

        fresh = [name for name in prepared.archives if not prepared.parts.taken_over(("source", name))]
        return [problem for problem in await asyncio.gather(*map(asked, fresh)) if problem is not None]

    async def _give_up(self) -> None:
        if self._next is not None:
            (_, prepared), self._next = self._next, None
            await prepared.parts.close(wait=False)

    async def _committed(self) -> Outcome:
        assert self._next is not None
        (settings, prepared), self._next = self._next, None
        former = self.current
        try:
            await _hand_over(former, prepared)
        except (OSError, ValueError) as error:
            await prepared.parts.close(wait=False)
            return self._note(refused([Problem("system", str(error), "Correct it.", "cache.directory")]))
        sources = _changes(former, prepared)
        cache = "kept" if prepared.cache is former.cache else "changed"
        prepared.parts.settle()
        self.current, self._settings = prepared, settings
        ending = self._use(prepared)
        self._retire(ending, former)
        return self._note(Outcome(time.time(), sources=sources, cache=cache))

    def _note(self, outcome: Outcome) -> Outcome:
        self._reloads.note(outcome)
        if outcome.good:
            self._config_state.applied()
        else:
            self._config_state.refuse("; ".join(str(problem) for problem in outcome.problems))
        return outcome

    def _retire(self, ending: Epoch, former: Gateway) -> None:
        """Close what only `former` needed, once its last request is over."""

        async def retired() -> None:
            await ending.over()
            try:
                await former.parts.close()
            except Exception as error:
                self._telemetry.unexpected(error)

        task = asyncio.get_running_loop().create_task(retired(), name="retire a configuration")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        """Give everything back: the current gateway, one that was prepared, and those that end."""
        await self._give_up()
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await self.current.parts.close(wait=False)


def _changes(former: Gateway, prepared: Gateway) -> dict[str, str]:
    """What becomes of each source."""
    changes = {
        name: "kept" if prepared.parts.taken_over(("source", name)) else "changed" if name in former.archives else "new"
        for name in prepared.archives
    }
    return changes | {name: "removed" for name in former.archives if name not in prepared.archives}


async def _hand_over(former: Gateway, prepared: Gateway) -> None:
    """Let go of a cache directory that the next gateway uses under other settings. Raises `OSError`, the old one open again.

    In between nothing is found in the cache, and nothing is stored; nobody notices more.
    """
    old, new = former.cache, prepared.cache
    if prepared.cache_waits:
        await old.__aexit__(None, None, None)
        try:
            await new.__aenter__()
        except (OSError, ValueError):
            await old.__aenter__()
            raise
    elif old is not new and old.backend == "memory":
        # A purge from now on does not reach it, so nothing may be found in it any more (K3).
        await old.purge(Scope())
