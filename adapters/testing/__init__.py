"""The conformance kit: an author supplies a harness and inherits the checks of the adapter contract.

    from adapters.testing import AdapterConformance, Harness        # with pytest
    from adapters.testing import check_adapter                      # without

Rules of this package: it ships with the gateway so that adapters elsewhere can be tested with it; of the product only
the command `adapter test` imports it. pytest is needed for `AdapterConformance` alone, which is loaded when it is asked for.
docs/adapters.md is the guide.
"""

from typing import TYPE_CHECKING, Any

from adapters.testing.check import Check, Violation
from adapters.testing.checks import CHECKS
from adapters.testing.harness import Harness, RecordingLog
from adapters.testing.proxy import LoopbackProxy
from adapters.testing.runner import Report, Result, Verdict, check_adapter, run_check, run_fresh
from adapters.testing.site import CannotSurvey, SiteHarness, survey

if TYPE_CHECKING:
    from adapters.testing.suite import AdapterConformance

__all__ = [
    "CHECKS",
    "AdapterConformance",
    "CannotSurvey",
    "Check",
    "Harness",
    "LoopbackProxy",
    "RecordingLog",
    "Report",
    "Result",
    "SiteHarness",
    "Verdict",
    "Violation",
    "check_adapter",
    "run_check",
    "run_fresh",
    "survey",
]


def __getattr__(name: str) -> Any:
    if name == "AdapterConformance":
        from adapters.testing.suite import AdapterConformance

        return AdapterConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
