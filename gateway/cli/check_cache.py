"""What `check` finds out about the cache, apart from how it is shown: whether it could be used, and what is wrong with it.

The cache is tried as a serving gateway would use it; a directory that a running gateway holds is fine as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.cache.backends import make_cache
from gateway.problems import Problem
from gateway.settings import Settings
from gateway.settings.caching import DiskCaching, RedisCaching
from gateway.unusable import UnusableFile

IN_USE = "is used by another process"


@dataclass(frozen=True, slots=True)
class CacheReport:
    """`wrong` keeps the cache from working, `doubtful` does not; `about` says what was found.

    `starts`: a gateway starts all the same, and works without the cache.
    """

    backend: str
    about: str = ""
    wrong: tuple[Problem, ...] = ()
    doubtful: tuple[Problem, ...] = ()
    starts: bool = True

    @property
    def state(self) -> str:
        return "wrong" if self.wrong else "ok"


async def examine_cache(settings: Settings) -> CacheReport:
    """Open the configured cache and ask it how it is."""
    of = settings.cache
    try:
        cache = make_cache(of)
        if isinstance(of, RedisCaching):
            from gateway.cache.redis import RedisCache

            assert isinstance(cache, RedisCache)
            async with cache:
                found = await cache.diagnose()
            return CacheReport(of.backend, found.server, found.wrong, found.doubtful)
        async with cache:
            stats = await cache.stats()
    except UnusableFile as error:
        problem = Problem("cache", str(error), error.cure, f"cache.{error.option}")
        return CacheReport(of.backend, wrong=(problem,), starts=False)
    except (OSError, ValueError) as error:
        if isinstance(of, DiskCaching) and IN_USE in str(error):
            return CacheReport(of.backend, "a gateway is using it now")
        cure = getattr(error, "cure", "Correct this section.")
        problem = Problem("cache", str(error), cure, "cache.directory" if isinstance(of, DiskCaching) else "cache")
        return CacheReport(of.backend, wrong=(problem,), starts=False)
    kept = f"{stats.entries} documents are kept" if stats.entries else "empty"
    return CacheReport(of.backend, kept if isinstance(of, DiskCaching) else "")
