"""What is commonly built in Python instead: `python -m benchmarks.python_peers KIND PORT FOLDER`, one process on uvloop.

* `file-response`: aiohttp's application and router with `FileResponse`, over the files of FOLDER.
* `naive-json`: reads a file as a whole and answers it as a FHIR Binary made with `base64` and `json.dumps`.
* `starlette`: Starlette on uvicorn, answering one small document from memory through five middlewares that do what a gateway's
  do: a request id, an error page, a look at the credential, what the client accepts, and a log line with counters.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

HOST = "127.0.0.1"


def file_response(folder: Path) -> web.Application:
    async def answer(request: web.Request) -> web.FileResponse:
        return web.FileResponse(folder / f"{request.match_info['id']}.pdf", headers={"Content-Type": "application/pdf"})

    application = web.Application()
    application.router.add_get("/R4/Binary/{id}", answer)
    return application


def naive_json(folder: Path) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        data = (folder / f"{request.match_info['id']}.pdf").read_bytes()
        resource = {
            "resourceType": "Binary",
            "contentType": "application/pdf",
            "data": base64.b64encode(data).decode(),
        }
        return web.Response(text=json.dumps(resource), content_type="application/fhir+json")

    application = web.Application()
    application.router.add_get("/R4/Binary/{id}", answer)
    return application


async def serve(application: web.Application, port: int) -> None:
    """Answer until the process is ended."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    await asyncio.Event().wait()


Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Middleware:
    """One layer of an ASGI application (https://asgi.readthedocs.io, HTTP connection scope)."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class RequestId(Middleware):
    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        id = scope["request_id"] = uuid.uuid4().hex

        async def stamped(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-request-id", id.encode()))
            await send(message)

        await self.app(scope, receive, stamped)


class Logged(Middleware):
    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.counts: Counter[int] = Counter()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        began, status, size = time.perf_counter(), 0, 0

        async def counted(message: Any) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                size += len(message.get("body", b""))
            await send(message)

        await self.app(scope, receive, counted)
        self.counts[status] += 1
        line = {
            "event": "request",
            "request_id": scope["request_id"],
            "method": scope["method"],
            "status": status,
            "bytes": size,
            "duration_ms": (time.perf_counter() - began) * 1000,
        }
        sys.stderr.write(json.dumps(line) + "\n")


class Errors(Middleware):
    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})


class Credential(Middleware):
    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        scope["credential"] = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        await self.app(scope, receive, send)


class Accepted(Middleware):
    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"*/*")
        scope["native"] = b"json" not in accept and b"xml" not in accept
        await self.app(scope, receive, send)


def starlette(folder: Path) -> Any:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware as Layer
    from starlette.responses import Response
    from starlette.routing import Route

    documents = {path.stem: path.read_bytes() for path in folder.iterdir() if path.stat().st_size < 1 << 16}

    async def answer(request: Any) -> Response:
        return Response(documents[request.path_params["id"]], media_type="application/pdf")

    layers = [Layer(one) for one in (RequestId, Logged, Errors, Credential, Accepted)]
    return Starlette(routes=[Route("/R4/Binary/{id}", answer)], middleware=layers)


def main() -> None:
    kind, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if kind == "starlette":
        import uvicorn

        uvicorn.run(starlette(folder), host=HOST, port=port, log_level="error", access_log=False, loop="uvloop")
    else:
        uvloop.run(serve({"file-response": file_response, "naive-json": naive_json}[kind](folder), port))


if __name__ == "__main__":
    main()
