"""Real proxies in front of the gateway, each as its users run it: with connections to the gateway that are used again.

Kept connections are what a desynchronised request needs: the rest of one reader's request becomes the beginning of another's.
All on free loopback ports; everything that they write stays below one directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.support.nginx import nginx
from tests.support.ports import LOOPBACK, free_port
from tests.support.process import port_ready, require, running

HAPROXY = """\
global
    maxconn 256
    log stderr local0 warning
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    http-reuse always
frontend front
    bind {host}:{port}
    default_backend gateway
backend gateway
    server gateway {host}:{upstream}
"""

VCL = """\
vcl 4.1;
backend gateway {{ .host = "{host}"; .port = "{upstream}"; }}
sub vcl_recv {{ return (pass); }}
"""


@contextmanager
def nginx_front(directory: Path, upstream: int) -> Iterator[int]:
    """nginx with kept upstream connections; yields its port."""
    http = f"    upstream gateway {{ server {LOOPBACK}:{upstream}; keepalive 4; }}"
    server = """location / {
        proxy_pass http://gateway; proxy_http_version 1.1; proxy_set_header Connection "";
    }"""
    with nginx(directory, server=server, http=http) as front:
        yield front.port


@contextmanager
def haproxy_front(directory: Path, upstream: int) -> Iterator[int]:
    """haproxy that shares its connections to the gateway among readers; yields its port."""
    program = require("haproxy")
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    configuration = directory / "haproxy.cfg"
    configuration.write_text(HAPROXY.format(host=LOOPBACK, port=port, upstream=upstream))
    command = [program, "-db", "-f", str(configuration)]
    with running("haproxy", command, log=directory / "haproxy.log", ready=port_ready(port)):
        yield port


@contextmanager
def varnish_front(directory: Path, upstream: int) -> Iterator[int]:
    """Varnish that passes everything on by kept connections; yields its port."""
    program, port = require("varnishd"), free_port()
    require("cc")  # compiles its configuration
    directory.mkdir(parents=True, exist_ok=True)
    configuration = directory / "front.vcl"
    configuration.write_text(VCL.format(host=LOOPBACK, upstream=upstream))
    command: list[str | Path] = [
        program, "-F", "-n", directory / "work", "-j", "none", "-a", f"{LOOPBACK}:{port}", "-T", "none",
        "-f", configuration, "-s", "malloc,16m", "-p", "thread_pool_min=10", "-p", "thread_pools=1",
    ]  # fmt: skip
    with running("varnish", command, log=directory / "varnish.log", ready=port_ready(port), timeout=30):
        yield port


FRONTS: dict[str, Callable[[Path, int], AbstractContextManager[int]]] = {
    "nginx": nginx_front,
    "haproxy": haproxy_front,
    "varnish": varnish_front,
}
