"""Where a document is, for a caller whose scopes reach the documents of one patient alone.

To such a caller a document of somebody else is an unknown id: the same error row, whatever is known about it. A source that
does not know whose its documents are is refused as a whole, by its prefix, before its index or archive is asked.
"""

from __future__ import annotations

from adapters.errors import NotFound
from gateway.routing import Location, Router, Withdrawn
from gateway.security import Identity
from gateway.security.scopes import READ_SCOPE, Reach, reach
from gateway.security.tokens import insufficient


async def locate(router: Router, id: str, identity: Identity) -> Location:
    """What `router.locate` says, where `identity` may know it. Raises what that raises, and `Problem` (403)."""
    if reach(identity.scopes) is not Reach.PATIENT:
        return await router.locate(id)
    if router.knows_patients(id) is False:
        detail = "the scopes are for one patient, and the source does not know whose its documents are"
        raise insufficient(identity, detail, scope=READ_SCOPE)
    try:
        location = await router.locate(id)
    except Withdrawn as withdrawn:
        _check(withdrawn.location, identity)
        raise
    _check(location, identity)
    return location


def _check(location: Location, identity: Identity) -> None:
    if not location.patient or location.patient != identity.patient:
        raise NotFound("not a document of the patient whom the token is for")
