"""The status and the errors that a repository or a registry states: rs:RegistryResponse and what is like it.

Rules of this module: what is stated, not what it means to a reader. Codes come out as names fit for a log; what else an error
says ("codeContext") may hold a patient's data, a path or a stack trace. Source: ebRS 3.0, IHE ITI TF-3 4.2.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.xds.soap import Opened, code_name

_RS = "{urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0}"

MOST_ERRORS = 100
"""Errors of one answer that are kept; the first decides."""


@dataclass(frozen=True, slots=True)
class RegistryError:
    """`code` is such as "XDSDocumentUniqueIdError", "unreadable" when it is no name.

    `warning`: the severity says that it is no error. `context` and `location` are the service's own words: never for a log.
    """

    code: str
    warning: bool
    context: str = field(default="", repr=False)
    location: str = field(default="", repr=False)


class Statement:
    """Collects status and errors from the elements of an answer.

    `status` is the last part of the URN ("Success", "Failure", "PartialSuccess", others of vendors), None when there was none.
    `deferred`: the documents will be sent later (ITI-39, Deferred Response option).
    """

    def __init__(self) -> None:
        self.status: str | None = None
        self.errors: list[RegistryError] = []
        self.deferred = False

    @property
    def failed(self) -> bool:
        """Whether there is an error that is no mere warning."""
        return any(not error.warning for error in self.errors)

    def read(self, opened: Opened) -> None:
        """An element begins that may be one of them."""
        attributes = opened.attributes
        match opened.name.removeprefix(_RS):
            case "registryresponse" | "{urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0}adhocqueryresponse":
                if self.status is None and "status" in attributes:
                    self.status = code_name(attributes["status"])
            case "registryerror" if len(self.errors) < MOST_ERRORS:
                self.errors.append(_error(attributes))
            case "{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}slot":
                self.deferred = self.deferred or attributes.get("name", "").startswith("DeferredProcessing")
            case _:
                pass


def _error(attributes: Mapping[str, str]) -> RegistryError:
    return RegistryError(
        code_name(attributes.get("errorcode", "")),
        code_name(attributes.get("severity", "")).lower() == "warning",
        attributes.get("codecontext", ""),
        attributes.get("location", ""),
    )
