"""The page and the WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from jaxrnn.errors import error
from support.serving.batcher import Batcher, Client
from support.serving.engine import Engine
from support.serving.protocol import Bucket, Close, Limits, Start, parse

STATIC = pathlib.Path(__file__).parent / "static"

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


def made(engine: Engine, limits: Limits, origins: Sequence[str] = ()) -> ASGIApp:
    """The application: `/` is the page, `/write` the WebSocket, `/health` says how many are there.

    Pages of this server may connect, those of `origins` too, and programs that send no `Origin`.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.batcher = Batcher(engine, limits)
        async with app.state.batcher.running():
            yield

    async def health(request: Request) -> JSONResponse:
        clients = request.app.state.batcher.clients
        writing = sum(client.text is not None for client in clients)
        return JSONResponse({"clients": len(clients), "writing": writing})

    async def write(socket: WebSocket) -> None:
        if not allowed(socket.headers, origins):
            await socket.close()  # before it is accepted: the answer is 403
            return
        await serve(socket, socket.app.state.batcher)

    routes = [
        Route("/health", health),
        WebSocketRoute("/write", write),
        Mount("/", StaticFiles(directory=STATIC, html=True)),
    ]
    return secured(Starlette(routes=routes, lifespan=lifespan))


def allowed(headers: Headers, origins: Sequence[str]) -> bool:
    """A browser says which page asks. Another server's must not write through its visitors."""
    origin = headers.get("origin")
    if origin is None or origin in origins:
        return True
    return urlsplit(origin).netloc == headers.get("host")


def secured(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await app(scope, receive, sent if scope["type"] == "http" else send)

    return wrapped


async def serve(socket: WebSocket, batcher: Batcher) -> None:
    """One client, from its first frame to its last."""
    await socket.accept()
    client = batcher.join()
    if client is None:
        await socket.close(1013, f"all {batcher.engine.slots} places are taken; try again later")
        return
    client.outbox.put_nowait({"ready": about(batcher)})
    listening = asyncio.create_task(listen(socket, batcher, client))
    # One that has gone, or does not read, does not get a code.
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        try:
            why = await speak(socket, batcher, client)
        finally:
            batcher.leave(client)
            listening.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await socket.close(why.code, why.reason)


def about(batcher: Batcher) -> dict[str, object]:
    engine, limits = batcher.engine, batcher.limits
    return {
        "net": engine.model.name,
        "gates": engine.gates,
        "units": engine.units,
        "limits": {"prompt": limits.prompt, "length": limits.length, "rate": limits.rate},
    }


async def listen(socket: WebSocket, batcher: Batcher, client: Client) -> None:
    """Take the client's frames, and in the end say to `speak` why no more are taken."""
    why = Close(1011, "the server failed")
    try:
        why = await heard(socket, batcher, client)
    finally:
        client.outbox.put_nowait(why)


async def heard(socket: WebSocket, batcher: Batcher, client: Client) -> Close:
    limits, clock = batcher.limits, asyncio.get_running_loop().time
    bucket = Bucket(limits.messages, limits.burst, clock())
    while True:
        try:
            async with asyncio.timeout(limits.idle):
                message = await socket.receive()
        except TimeoutError:
            if client.text is None:
                return Close(1001, f"nothing was asked for {limits.idle:g} seconds")
            continue
        if message["type"] == "websocket.disconnect":
            return Close(1000, "")
        if not bucket.take(clock()):
            return Close(1008, f"more than {limits.messages:g} messages a second")
        text = message.get("text")
        if text is None:
            return Close(1003, "a binary frame; frames are JSON texts")
        if len(text.encode("utf-8", "surrogatepass")) > limits.frame:
            return Close(1009, f"a frame of more than {limits.frame} bytes")
        try:
            said = parse(text, batcher.engine.model.vocabulary, limits, bool(batcher.engine.gates))
            if not isinstance(said, Start):
                batcher.end(client, "stop")
            elif client.text is not None:
                do = 'Wait for "done", or send {"stop": true}.'
                raise error(ValueError, "prompt", "one while a text is written", "one a time", do)
            else:
                batcher.start(client, said)
        except ValueError as wrong:
            client.outbox.put_nowait({"error": str(wrong)})


async def speak(socket: WebSocket, batcher: Batcher, client: Client) -> Close:
    """Send what is in the outbox, to a client that reads."""
    while True:
        message = await client.outbox.get()
        if isinstance(message, Close):
            return message
        try:
            async with asyncio.timeout(batcher.limits.stall):
                await socket.send_text(json.dumps(message, separators=(",", ":")))
        except TimeoutError:
            return Close(1008, f"nothing was read for {batcher.limits.stall:g} seconds")
        if client.outbox.qsize() == batcher.limits.queue - 1:
            batcher.wake.set()  # it was full, and there is room again
