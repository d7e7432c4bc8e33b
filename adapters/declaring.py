"""What the options of the built-in adapters are declared with: durations, and refusals that name the cure.

Imports pydantic and the standard library. No refusal repeats what was written.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_duration = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)", re.ASCII).fullmatch


def wrong(cause: str, cure: str) -> PydanticCustomError:
    """What to raise in a validator: two sentences, which whoever reads the options hands on."""
    # Braces in a text would be read as a template, so the sentences travel as values.
    return PydanticCustomError("option", "{cause} {cure}", {"cause": cause, "cure": cure})


def seconds(value: Any) -> Any:
    """`5s` as 5.0; a float, such as a default, as it is. Raises `PydanticCustomError`."""
    if isinstance(value, float):
        return value
    match = _duration(value) if isinstance(value, str) else None
    if match is None:
        number = isinstance(value, int) and not isinstance(value, bool)
        cause = "This duration has no unit." if number else "This is not a duration."
        raise wrong(cause, "Write a number with one of ms, s, m, h or d, as in 5s, 250ms or 2m.")
    return float(match[1]) * _UNITS[match[2]]


Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=0, allow_inf_nan=False)]
"""A duration, written with its unit."""
