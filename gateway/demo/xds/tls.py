"""TLS as other servers speak it.

Rules of this module: what asyncio does differently from the servers that repositories run on, and nothing else.
"""

from __future__ import annotations

import ssl


class AlertFirst(ssl.SSLObject):
    """A TLS connection that tells the client why a handshake failed, as other servers do.

    Where a handshake fails, asyncio closes without sending the alert that OpenSSL has made. It sends everything where the
    handshake seems to go on, so this one seems to until the client has answered or gone.
    """

    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as failure:
            self._failure = failure
            raise ssl.SSLWantReadError from failure
