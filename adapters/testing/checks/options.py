"""O: options, the part of an adapter that operators see.

Rules of this module: checks only; see `adapters.testing.check`. Options are pydantic models by contract.
"""

from __future__ import annotations

import re

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

from adapters.errors import OptionError
from adapters.testing.check import Violation, check
from adapters.testing.harness import Harness

_SECRET_NAME = re.compile(r"(^|_)(password|passphrase|passwd|secret|token|api_?key|private_key)$")


def _options(harness: Harness) -> BaseModel:
    adapter = harness.adapter()
    if not isinstance(adapter.options, BaseModel) or not isinstance(adapter.options, type(adapter).Options):
        raise Violation(f"the options are a {type(adapter.options).__name__}, not the pydantic model in `Options`")
    return adapter.options


@check("O.1", cure='model_config = ConfigDict(frozen=True, extra="forbid")')
async def an_unknown_option_is_refused(harness: Harness) -> None:
    """A misspelt option that is ignored leaves an archive with settings that nobody chose."""
    options = _options(harness)
    try:
        type(options).model_validate({**_as_given(options), "surely_not_an_option": 1})
    except (ValidationError, OptionError):
        return
    raise Violation("an option that does not exist was accepted")


@check("O.2", cure='model_config = ConfigDict(frozen=True, extra="forbid"); validators must accept what they return')
async def options_are_frozen_and_round_trip(harness: Harness) -> None:
    """A reload compares old and new options to learn which archives have to be opened anew."""
    options = _options(harness)
    try:
        again = type(options).model_validate(_as_given(options))
    except (ValidationError, OptionError) as error:
        raise Violation(f"options that were valid are refused when given again: {type(error).__name__}") from error
    if again != options:
        raise Violation("options given again are not equal to the first")
    for name in type(options).model_fields:
        try:
            setattr(options, name, getattr(options, name))
        except ValidationError:
            continue
        raise Violation(f"the option {name!r} can be changed after construction")


def _as_given(options: BaseModel) -> dict[str, object]:
    return {field.alias or name: getattr(options, name) for name, field in type(options).model_fields.items()}


@check("O.3", cure='name: type = Field(description="A sentence with the unit.")')
async def every_option_is_described(harness: Harness) -> None:
    """The reference page and the sample configuration are made from the descriptions."""
    bare = [name for name, field in type(_options(harness)).model_fields.items() if not field.description]
    if bare:
        raise Violation(f"options without a description: {', '.join(bare)}")


@check("O.4", cure="type it as pydantic's SecretStr; `_file` options name the file that holds the secret")
async def a_secret_option_is_typed_as_one(harness: Harness) -> None:
    """Whatever is not typed as a secret is shown by `config` and in every support bundle."""
    options = _options(harness)
    for name, value in _as_given(options).items():
        if _SECRET_NAME.search(name) and not isinstance(value, SecretStr | SecretBytes | None):
            raise Violation(f"the option {name!r} holds a {type(value).__name__}, which would be printed")
