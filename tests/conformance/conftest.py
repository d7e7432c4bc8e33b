"""What holds for the conformance tests: the kit and its harnesses may block the loop, the adapters under test may not.

A harness writes documents behind the adapter's back, with plain file operations in the running test. The kit lives in
the product's package, so the watchdog must be told that `adapters.testing` is not the product.
"""

from __future__ import annotations

import pytest
from blockbuster import BlockBuster
from blockbuster.blockbuster import BlockBusterFunction

import adapters.testing
from tests.conftest import PRODUCT


@pytest.fixture(scope="session")
def loop_watchdog(loop_watchdog: BlockBuster) -> BlockBuster:
    watchdog = BlockBuster(PRODUCT)
    for name, kind in loop_watchdog.functions.items():
        watchdog.functions[name] = BlockBusterFunction(
            kind.module,
            kind.func_name,
            scanned_modules=PRODUCT,
            excluded_modules=[adapters.testing],
            can_block_functions=kind.can_block_functions,
            can_block_predicate=kind.can_block_predicate,
        )
    return watchdog
