"""FHIR as far as this gateway speaks it: two releases, one resource that carries documents, two small ones beside it.

Here live the names of the releases. The resources themselves are in `outcome`, `capability` (small, by fhir.resources,
loaded on first need, but for outcomes in JSON) and `binary` (streamed, never as one object). Importing this package is cheap.
"""

from __future__ import annotations

from enum import Enum


class Version(Enum):
    """A FHIR release. The member's name is what configuration and logs say.

    `fhir_version` is CapabilityStatement.fhirVersion; `mime` is the value of a media type's `fhirVersion` parameter
    (https://hl7.org/fhir/R4/http.html#version-parameter); `content_element` is the element of Binary that holds the
    base64 text (FR-200 to FR-202).
    """

    STU3 = ("3.0.1", "3.0", "content")
    R4 = ("4.0.1", "4.0", "data")

    # That of Enum is made from the name each time: a key of many tables on the way of every request.
    __hash__ = object.__hash__

    def __init__(self, fhir_version: str, mime: str, content_element: str) -> None:
        self.fhir_version = fhir_version
        self.mime = mime
        self.content_element = content_element
