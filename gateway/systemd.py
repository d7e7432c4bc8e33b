"""What a service manager is told, where there is one that listens (sd_notify(3); the unit's `Type=notify`).

One datagram and no library: the protocol is promised to stay as it is. Nothing here may keep a gateway from serving.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

VARIABLE = "NOTIFY_SOCKET"
"""Names the manager's socket: a path, or behind "@" a name in the abstract namespace."""


def ready() -> None:
    """Tell the manager that requests are taken, so that `systemctl start` returns. Silent where nobody listens."""
    name = os.environ.get(VARIABLE, "")
    if name[:1] not in ("/", "@"):
        return
    address = f"\0{name[1:]}" if name.startswith("@") else name
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        # A manager that does not read must not hold up the event loop.
        manager.setblocking(False)
        manager.sendto(b"READY=1", address)
