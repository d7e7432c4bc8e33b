"""The conformance kit for caches: a backend supplies a harness and inherits the checks of rules K1 to K7.

    class TestMemory(CacheConformance):
        harness_class = MemoryHarness

Rules of this package: it knows the contract (`gateway.cache`) and how entries are sealed, and no backend. A check is one
small coroutine function over a harness; its number is the rule it shows and a counter (L: the life of a cache, R: claims
of replicas, S: long random lives). `tests/meta/test_cache_kit_catches.py` holds, for each, a cache that is wrong on purpose.
"""

from tests.conformance.cache_kit.check import Check
from tests.conformance.cache_kit.checks import CHECKS
from tests.conformance.cache_kit.harness import BUDGET, KEYS, CacheHarness
from tests.conformance.cache_kit.suite import CacheConformance

__all__ = ["BUDGET", "CHECKS", "KEYS", "CacheConformance", "CacheHarness", "Check"]
