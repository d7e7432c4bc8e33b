"""A gateway whose trail lies on a file system of two mebibytes: what readers get when it is full, and afterwards.

Runs in a mount namespace of its own (`unshare -m`), so that nothing of it is seen outside. Argument: a directory to mount on.
Prints what happened as JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from tests.support.audit import acts, judged, trail
from tests.support.fragile import Archive
from tests.support.service import service


async def main(directory: Path) -> dict[str, object]:
    archive = Archive()
    archive.put("a", b"%PDF-1.7 a letter")
    audit, filler = directory / "audit", directory / "filler"
    served: list[str] = []
    async with service({"letters": archive.make()}, audit=trail(audit)) as running:
        filler.write_bytes(bytes(1_000_000))
        status = 200
        while status == 200 and len(served) < 10_000:
            id = f"read-{len(served)}"
            status = (await running.ask("/R4/Binary/a", X_Request_Id=id)).status
            if status == 200:
                served.append(id)
        for _ in range(20):
            assert (await running.ask("/R4/Binary/a")).status == status
        filler.unlink()
        await asyncio.sleep(1.5)
        again = (await running.ask("/R4/Binary/a")).status
    recorded = {str(one.fields["request"]) for one in acts(audit) if one.event == "intended"}
    verdict = judged(audit)
    return {
        "served": len(served),
        "refused": status,
        "again": again,
        "unrecorded": sorted(set(served) - recorded),
        "whole": verdict.whole,
        "breaks": [*verdict.breaks, *verdict.gaps, *(text for one in verdict.segments for text in one.breaks)],
        "files": len(verdict.segments),
    }


if __name__ == "__main__":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", sys.argv[1]], check=True)
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
