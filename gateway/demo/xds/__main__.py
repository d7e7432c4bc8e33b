"""The fake repository as a process of its own: `python -m gateway.demo.xds --port 0`.

Serves the sample archive and a large document of any size until it is told to stop, and prints `ready URL`. The page at
`/` lists what there is, `/requests` what was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import ssl
import sys
from collections.abc import Sequence

from gateway.demo import archive_directory
from gateway.demo.xds import FakeRepository, large, named
from gateway.demo.xds.documents import from_archive


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when it was told to stop, 2 when it could not start."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.xds", description="Serve a fake XDS repository.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="the port; 0 picks one (default: %(default)s)")
    parser.add_argument("--large", type=int, default=64 << 20, metavar="BYTES", help="the size of the large document")
    parser.add_argument("--personality", default="standard", metavar="NAME", help="how it answers, faults with +")
    parser.add_argument("--certificate", metavar="FILE", help="speak TLS with this certificate (PEM)")
    parser.add_argument("--key", metavar="FILE", help="its private key, where that is not in the same file")
    parser.add_argument("--client-ca", metavar="FILE", help="demand certificates of this authority from clients")
    given = parser.parse_args(arguments)
    if (given.key or given.client_ca) and not given.certificate:
        parser.error("--key and --client-ca need --certificate")
    try:
        personality = named(given.personality)
    except KeyError:
        parser.error(f"there is no personality {given.personality!r}; the page at / lists them")
    try:
        documents = [*from_archive(archive_directory()), large(given.large)]
        tls = _tls(given.certificate, given.key, given.client_ca)
        asyncio.run(_serve(FakeRepository(documents, personality=personality, host=given.host, tls=tls), given.port))
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _tls(certificate: str | None, key: str | None, client_ca: str | None) -> ssl.SSLContext | None:
    """TLS with these files, if there are any. Raises `OSError`, of which `ssl.SSLError` is one."""
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def _serve(fake: FakeRepository, port: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with fake.serving(port):
        with contextlib.suppress(BrokenPipeError):
            print(f"ready {fake.url}", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    sys.exit(main())
