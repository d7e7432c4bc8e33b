"""What lies in a folder and is no readable file: refused with an outcome, never opened, never waited for, never told."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from tests.integration.archive import LETTER, folder, outcome
from tests.support.folder import unprivileged
from tests.support.raw_http import connect, request
from tests.support.service import service

CANARY = "CaNaRy9990000018"
"""Text of a request that may come back nowhere."""


def strange(root: Path) -> dict[str, int]:
    """Fill `root` with everything that is no readable regular file; the names, and the status each is to get."""
    outside = root.parent / f"outside-{CANARY}"
    outside.write_bytes(CANARY.encode())
    (root / "letter").write_bytes(LETTER.data)
    (root / "folder").mkdir()
    (root / "folder" / "letter").write_bytes(LETTER.data)
    os.mkfifo(root / "fifo")
    (root / "link-in").symlink_to("letter")
    (root / "link-out").symlink_to(outside)
    (root / "link-up").symlink_to(f"../{outside.name}")
    (root / "link-dangling").symlink_to("nothing")
    (root / "link-loop").symlink_to("link-loop")
    (root / "link-folder").symlink_to("folder")
    (root / "link-fifo").symlink_to("fifo")
    (root / "link-device").symlink_to("/dev/zero")
    (root / "link-process").symlink_to("/proc/self/environ")
    directory = os.open(root, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        # The address of a socket may have no more than 107 bytes.
        listener.bind(f"/proc/self/fd/{directory}/socket")
    os.close(directory)
    (root / "unreadable").write_bytes(CANARY.encode())
    (root / "unreadable").chmod(0)
    (root / "locked").mkdir()
    (root / "locked" / "letter").write_bytes(CANARY.encode())
    (root / "locked").chmod(0)
    return {entry.name: 404 for entry in root.iterdir()} | {"letter": 200, "unreadable": 403, "locked": 403}


@pytest.mark.parametrize("local", [True, False], ids=["local", "network"])
@pytest.mark.requirement("SC-05", "FR-157", "FR-254")
async def test_what_is_no_readable_file_is_refused_and_never_opened(local: bool, tmp_path: Path) -> None:
    root = tmp_path / "archive"
    root.mkdir()
    root.chmod(0o755)
    expected = await asyncio.to_thread(strange, root)
    try:
        async with service({"letters": folder(root, local=local)}) as at:
            with unprivileged():
                async with connect(at.host, at.port) as connection:
                    for name, status in expected.items():
                        for method in ("GET", "HEAD"):
                            await connection.send(request(f"/R4/Binary/{name}", method=method))
                            answer = await connection.answer(method)
                            assert answer.status == status, name
                            assert CANARY.encode() not in answer.body
                            if status != 200 and method == "GET":
                                outcome(answer)
                        await connection.send(request("/R4/Binary/letter"))
                        assert (await connection.answer()).body == LETTER.data
                assert len(await at.lines(3 * len(expected))) == 3 * len(expected)
                for secret in (CANARY, str(tmp_path), *expected):
                    if secret not in ("letter", "folder", "socket"):
                        assert secret not in at.log.getvalue()
    finally:
        (root / "locked").chmod(0o700)


@pytest.mark.parametrize("local", [True, False], ids=["local", "network"])
@pytest.mark.requirement("SC-05")
async def test_devices_are_no_documents(local: bool) -> None:
    async with service({"letters": folder(Path("/dev"), local=local)}) as at:
        for name in ("null", "zero", "random", "full"):
            assert stat.S_ISCHR(os.stat(f"/dev/{name}").st_mode)
            answer = await at.ask(f"/R4/Binary/{name}")
            assert answer.status == 404
            outcome(answer)
        assert len(await at.lines(4)) == 4
