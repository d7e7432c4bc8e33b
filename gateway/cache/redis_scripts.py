"""The steps at Redis that must not be interrupted, as scripts (Lua, run by EVALSHA), and how a script is run.

A script touches keys of one slot and only those it is given. It is small and never loops: Redis does nothing else meanwhile.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from gateway.cache import redis_faults
from gateway.cache.redis_faults import Fault
from gateway.cache.redis_lane import Call, Command
from gateway.cache.redis_link import Link


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest that Redis knows it by."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())

    async def run(
        self, link: Link, keys: tuple[str, ...], arguments: tuple[str | int, ...], *, after: tuple[Command, ...] = ()
    ) -> Call:
        """Run on `link` right behind the commands `after`; the script's reply is the last one. Raises `Fault`."""
        operands = (len(keys), *keys, *arguments)
        try:
            return await link.call(*after, ("EVALSHA", self.digest, *operands))
        except Fault as fault:
            if fault.kind != redis_faults.NO_SCRIPT:
                raise
        # A server that was started anew has forgotten its scripts. What stood before it was carried out.
        return await link.call(("EVAL", self.text, *operands))


COMMIT = Script("""
if redis.call('HLEN', KEYS[1]) ~= tonumber(ARGV[1]) then
    redis.call('UNLINK', KEYS[1])
    return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('UNLINK', KEYS[2])
redis.call('RENAME', KEYS[1], KEYS[2])
return 1
""")
"""Staging key and entry key; number of fields and milliseconds to keep. 1 when the entry is now there."""

TOKENS = Script("""
local tokens = redis.call('HMGET', KEYS[1], '*', ARGV[1])
if not tokens[1] or string.sub(tokens[1], -#ARGV[3]) ~= ARGV[3] then
    redis.call('HSET', KEYS[1], '*', ARGV[2])
    tokens[1] = ARGV[2]
end
return tokens
""")
"""Token key; bucket, a new token, and how tokens of this run of the server end. The tokens that hold from now on."""

CLAIM = Script("""
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")
"""Claim key; whose it is and milliseconds. 1 when it is now theirs."""

RELEASE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('UNLINK', KEYS[1])
end
return 1
""")
"""Claim key; whose it was."""
