"""A listing that nobody waits for any more, and an answer to it that makes no sense."""

from __future__ import annotations

import asyncio
from typing import Any

from adapters.smb.failures import Lost
from adapters.smb.native.share import NativeShare
from adapters.smb.session import Target
from tests.support.scripted_smb import connected


async def test_a_senseless_answer_to_a_listing_that_was_given_up_ends_the_connection_and_no_more() -> None:
    connection, server = await connected()
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    share = NativeShare(
        connection,
        target=Target("server", 445, "letters"),
        encrypted=False,
        dfs=False,
        max_read=1 << 20,
        window=1 << 20,
    )
    listing = asyncio.ensure_future(share.entries("folder", "*"))
    folder, names = [await server.asked() for _ in range(2)]
    listing.cancel()
    await asyncio.wait({listing})
    server.answer(folder, b"no answer to CREATE")
    server.answer(names, b"nor one to QUERY_DIRECTORY")
    async with asyncio.timeout(5):
        while not share.broken:  # noqa: ASYNC110 # nothing tells us
            await asyncio.sleep(0.001)
    await connection.aclose(0)
    assert isinstance(connection.broken, Lost)
    assert not complaints
    await server.aclose()
