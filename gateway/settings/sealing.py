"""What `ids: {scheme: sealed}` needs of the rest of its source: aliases, and room for ids after the prefix.

Pure judgement on parts that are right by themselves; refusals are at the key to change.
"""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from gateway.ids import SealedIds
from gateway.ids.sealed import LISTED
from gateway.quantities import wrong
from gateway.routing import MAX_ID

LONGEST_PREFIX = MAX_ID - LISTED


def completed(ids: SealedIds, prefix: str, options: object) -> SealedIds:
    """`ids` with the aliases that the options of the adapter offer, when it has none of its own.

    An options model offers them as an attribute `id_aliases`, in the form of the key `aliases`. Raises
    `ValidationError` when there are none, or when no id would fit behind the prefix.
    """
    if len(prefix) > LONGEST_PREFIX:
        cure = f"Use at most {LONGEST_PREFIX} characters, as in `x.`."
        raise _at(("prefix",), wrong("prefix", "The prefix leaves no room for sealed ids.", cure))
    if ids.aliases is None:
        try:
            ids = SealedIds.model_validate({**dict(ids), "aliases": getattr(options, "id_aliases", None)})
        except ValidationError as error:
            cause = f"The aliases in these options cannot be those of ids: {error.errors()[0]['msg']}"
            cure = "Correct them here, or give `ids.aliases` of their own."
            raise _at(("options",), wrong("alias", cause, cure)) from None
    if not ids.aliases:
        cause = "No alias stands for a repository: there are none here, and the adapter's options offer none."
        cure = "Add `aliases: {a: {repositories: [1.2.3.4.5]}}` with the repository's unique id."
        raise _at(("ids", "aliases"), wrong("missing-key", cause, cure))
    return ids


def _at(path: tuple[str, ...], refusal: PydanticCustomError) -> ValidationError:
    return ValidationError.from_exception_data(path[0], [InitErrorDetails(type=refusal, loc=path, input=None)])
