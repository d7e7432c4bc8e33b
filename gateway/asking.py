"""Who the current request is for, where nobody is handed the request: in the queue of an archive.

Known by what was proved, else by the address at the other end. Used to give turns, and for nothing else.
"""

from __future__ import annotations

from contextvars import ContextVar

ASKING: ContextVar[str] = ContextVar("asking", default="")
"""The client that the work in this context is done for; "" when it is nobody's."""
