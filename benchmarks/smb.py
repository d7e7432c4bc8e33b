"""A Windows share through the gateway, beside what else reads from it: `rclone serve http` and `smbclient get`.

The share is Samba's, one server for all contenders of a scenario. smbclient reads it directly, without HTTP in between, on
a connection that is logged in; rclone does what the gateway does. The contenders are measured in turns.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from benchmarks.clients import verify
from benchmarks.results import Goal, Result, Spread
from benchmarks.rig import KIB, MIB, Rig, binary, plain
from benchmarks.scenarios import LATENCY, MEGABYTES, Plan, Readers, Scenario, beside, size_text, stalled_bytes
from benchmarks.share import ENCRYPTED, PLAIN, SIGNED, Protection, archive

DISTANCE = 0.005
"""Seconds of a round trip to a file server in another building."""


def throughput(name: str, protection: Protection, peers: dict[str, float], round_trip: float = 0.0) -> Scenario:
    """MB/s of one large document for one reader; `peers` holds the goal against each."""

    def measure(rig: Rig, plan: Plan) -> Result:
        document = rig.document(plan.medium if round_trip else plan.shared)
        sink = replace(rig.sink, before=())
        with archive(rig, protection, round_trip) as share, ExitStack() as stack:
            ours = stack.enter_context(share.gateway())
            direct = stack.enter_context(share.smbclient())
            verify(binary(ours, document))
            direct.verify(document, rig.directory / "read by smbclient")
            share.check_protection(clients=2)
            peer = stack.enter_context(share.rclone())
            verify(plain(peer, document))
            readers: Readers = {
                ours: partial(sink.read, binary(ours, document)),
                direct: partial(direct.read, document),
                peer: partial(sink.read, plain(peer, document)),
            }
            figures, cost = beside(plan, readers, MEGABYTES)
            ours.check()
            peer.check()
        away = f", {round_trip * 1e3:g} ms away" if round_trip else ""
        title = f"share, {protection.name}, {size_text(document.size)}, one reader{away}"
        goals = [Goal(goal, at_least=True, peer=name) for name, goal in peers.items()]
        return Result(name, title, "MB/s", 0, figures, goals, cost)

    return measure


def small_documents(rig: Rig, plan: Plan) -> Result:
    """The median time that one client waits for a letter, one after the other on one connection."""
    letters = [rig.document(10 * KIB, f"letter-{number}") for number in range(plan.letters)]
    sink = replace(rig.sink, before=())
    with archive(rig, ENCRYPTED) as share, share.gateway() as ours:
        verify(binary(ours, letters[0]))
        share.check_protection(clients=1)
        with share.rclone() as peer:
            for letter in letters:
                verify(binary(ours, letter))
                verify(plain(peer, letter))
            every = replace(letters[0], id=letters[0].id.replace("-0-", "-*-"))
            readers: Readers = {
                ours: partial(sink.read, binary(ours, every), repeats=len(letters)),
                peer: partial(sink.read, plain(peer, every), repeats=len(letters)),
            }
            figures, cost = beside(plan, readers, LATENCY)
            ours.check()
            peer.check()
    title = "share, encrypted, 10 KiB, one connection, median wait"
    return Result("smb-small", title, "ms", 2, figures, [Goal(0.35, at_least=False, peer="rclone")], cost)


def stalled_readers(representation: str) -> Scenario:
    """The memory that readers cost who stop reading: the gateway's peak above what it had before they came, for each."""

    def measure(rig: Rig, plan: Plan) -> Result:
        document, letter = rig.document(plan.medium), rig.document(10 * KIB)
        with archive(rig, ENCRYPTED) as share, share.gateway() as ours:
            verify(binary(ours, letter))
            share.check_protection(clients=1)
            each = stalled_bytes(ours, binary(ours, document, representation), plan.stalled)
            verify(binary(ours, letter))
            ours.check()
        what = f"share, encrypted, {representation}, {size_text(document.size)}"
        title = f"{what}: memory for each of {plan.stalled} stalled readers"
        figures = {"gateway": Spread((each / MIB,))}
        return Result(f"smb-memory-{representation}", title, "MiB", 2, figures, [Goal(1.5, at_least=False)])

    return measure


SCENARIOS: dict[str, Scenario] = {
    "smb-plain": throughput("smb-plain", PLAIN, {"smbclient": 1.3, "rclone": 6}),
    "smb-signed": throughput("smb-signed", SIGNED, {"smbclient": 1.2, "rclone": 6}),
    "smb-encrypted": throughput("smb-encrypted", ENCRYPTED, {"smbclient": 1.1, "rclone": 2.4}),
    "smb-distant": throughput("smb-distant", PLAIN, {"smbclient": 1.3, "rclone": 8}, DISTANCE),
    "smb-small": small_documents,
    "smb-memory-native": stalled_readers("native"),
    "smb-memory-json": stalled_readers("json"),
}
