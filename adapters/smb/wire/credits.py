"""Message ids and credits of one connection ([MS-SMB2] 3.2.4.1.2, 3.2.4.1.6, 3.2.5.1.4).

Rules of this module: counting only. Who waits for credits, and in which order, is the engine's business.

A credit is leave to send one request for up to 64 KiB. The server grants them with its replies: as many as it likes, and as
a rule no more than the requests asked for.
"""

from __future__ import annotations

from collections import deque

MOST = 0xFFFF
"""The most credits that the field of a request can ask for."""


class Credits:
    """How many credits are at hand, and the message ids that they pay for.

    `first_id` is the next message id, `available` the credits at hand, `limit` how many credits the window (those at hand
    and those on their way back) should come to.
    """

    __slots__ = ("_asked", "_limit", "_next_id", "_owed", "available")

    def __init__(self, first_id: int, available: int, limit: int) -> None:
        self.available = available
        self._limit = limit
        self._next_id = first_id
        # What each request asked for that was not answered yet, oldest first, and the sum of it.
        self._asked: deque[int] = deque()
        self._owed = 0

    def take(self, charge: int) -> int:
        """The message id of a request that costs `charge` credits; it uses that many ids.

        Raises ValueError when there are not enough at hand: the caller waits for `grant` instead.
        """
        if not 0 < charge <= self.available:
            raise ValueError(f"a charge of {charge} with {self.available} credits at hand")
        message_id = self._next_id
        self._next_id += charge
        self.available -= charge
        return message_id

    def request(self, charge: int) -> int:
        """How many credits to ask for in the request whose `charge` was just taken; once for each request with a reply.

        Asks for all that the window lacks, counting what earlier requests asked for. A window that is too large gets half
        of what it spends and so shrinks gently. Never 0: an empty window would stay empty.
        """
        lacking = self._limit - self.available - self._owed
        ask = min(max(lacking, charge // 2, 1), MOST)
        self._asked.append(ask)
        self._owed += ask
        return ask

    def grant(self, credits: int) -> None:
        """Count what one reply grants. Call it for every reply: errors, interim replies and those that grant none too.

        One reply settles what one request asked for, whatever it grants, so what a server holds back is asked for again.
        Which request is not known here. A guess does no harm: a compound's credits come with its last reply, and an
        interim reply counts twice, but the window settles all the same.
        """
        self.available += credits
        if credits in self._asked:
            self._asked.remove(credits)
            self._owed -= credits
        elif self._asked:
            self._owed -= self._asked.popleft()
