"""Clients good and bad, each a function that says how it went."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Sequence
from typing import Any

from websockets.exceptions import ConnectionClosed

from support.serving.load import connected, text

GOOD: list[dict[str, Any]] = [
    {
        "prompt": ["def ", "import ", "class A:\n    ", "return "][i % 4],
        "length": 60 + 20 * i,
        "seed": 100 + i,
        "temperature": [0.0, 0.5, 0.8, 1.0][i // 2],
    }
    for i in range(8)
]
"""What good clients ask for, over and over."""

BAD = [
    "{",
    "",
    "null",
    "[]",
    '"stop"',
    "1e999",
    "[" * 9000,
    '{"stop": 1}',
    '{"length": 5}',
    '{"prompt": 5}',
    '{"prompt": ""}',
    '{"prompt": "\\u2603"}',
    '{"prompt": "\\ud800"}',
    '{"prompt": "a", "colour": 1}',
    '{"prompt": "a", "length": 0}',
    '{"prompt": "a", "length": 1e3}',
    '{"prompt": "a", "length": 1000000}',
    '{"prompt": "a", "temperature": NaN}',
    '{"prompt": "a", "temperature": -1}',
    '{"prompt": "a", "temperature": "hot"}',
    '{"prompt": "a", "seed": true}',
    '{"prompt": "a", "seed": 4294967296}',
    '{"prompt": "a", "gates": 1}',
    '{"prompt": "a", "rate": 0}',
    json.dumps({"prompt": "a" * 1001}),
    '{"prompt": "a", "seed": ' + "9" * 8000 + "}",
]
"""Frames that get one error each, after which the connection goes on."""


async def good(host: str, draw: random.Random, alone: Sequence[str]) -> str:
    which = draw.randrange(len(GOOD))
    same = await text(host, **GOOD[which]) == alone[which]
    return "the same text" if same else "another text"


async def leaves(host: str, draw: random.Random, alone: Sequence[str]) -> str:
    async with connected(host) as client:
        await client.send(json.dumps({"prompt": "def ", "length": 300, "gates": True}))
        for _ in range(draw.randrange(20)):
            await client.recv()
        client.transport.abort()
    return "left in the middle"


async def stops(host: str, draw: random.Random, alone: Sequence[str]) -> str:
    async with connected(host) as client:
        await client.send(json.dumps({"prompt": "def ", "length": 4000, "rate": 100}))
        for _ in range(draw.randrange(1, 20)):
            await client.recv()
        await client.send('{"stop": true}')
        while "text" in (said := json.loads(await client.recv())):
            pass
    return "stopped" if said.get("done") == "stop" else f"no stop: {said}"


async def errs(host: str, draw: random.Random, alone: Sequence[str]) -> str:
    async with connected(host) as client:
        for frame in draw.sample(BAD, 5):
            await client.send(frame)
            if list(said := json.loads(await client.recv())) != ["error"]:
                return f"no error: {said}"
    return "bad frames"


async def floods(host: str, draw: random.Random, alone: Sequence[str]) -> str:
    async with connected(host) as client:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(300):
                await client.send(draw.choice(['{"stop": true}', '{"prompt": "a"}', "{"]))
        return await closed(client, 1008, "flooded")


async def large(host: str, draw: random.Random, alone: Sequence[str]) -> str:
    async with connected(host) as client:
        with contextlib.suppress(ConnectionClosed):
            await client.send("x" * draw.choice([20_000, 2_000_000]))
        return await closed(client, 1009, "large frame")


async def binary(host: str, draw: random.Random, alone: Sequence[str]) -> str:
    async with connected(host) as client:
        await client.send(draw.randbytes(draw.randrange(1, 1000)))
        return await closed(client, 1003, "binary frame")


async def mangled(host: str, draw: random.Random, alone: Sequence[str]) -> str:
    async with connected(host) as client:
        await client.send(b'{"prompt": "\xff"}', text=True)
        return await closed(client, 1007, "no UTF-8")


async def closed(client: Any, code: int, name: str) -> str:
    """The server closes with this code. A client that is still sending may lose the code."""
    try:
        while True:
            await client.recv()
    except ConnectionClosed as end:
        got = end.rcvd.code if end.rcvd else None
        return name if got in (code, None) else f"{name} closed with {got}"


async def slow(host: str, draw: random.Random, alone: Sequence[str]) -> str:
    """One that does not read for a while: a few seconds are borne, more are not."""
    seconds = draw.choice([1, 3, 20])
    with contextlib.suppress(ConnectionClosed):
        async with connected(host, small=True) as client:
            await client.send(json.dumps({"prompt": "def ", "length": 3000, "gates": True}))
            await asyncio.sleep(seconds)
            for _ in range(20):
                await client.recv()
            client.transport.abort()
    return "slow reader"


async def garbage(host: str, draw: random.Random, alone: Sequence[str]) -> str:
    """No WebSocket at all."""
    name, port = host.rsplit(":", 1)
    _, writer = await asyncio.open_connection(name, int(port))
    begun = b"GET /write HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    outside = b"GET /../../etc/passwd HTTP/1.1\r\n\r\n"
    endless = b"GET / HTTP/1.1\r\nX: " + b"x" * 1_000_000
    with contextlib.suppress(ConnectionError):
        writer.write(draw.choice([draw.randbytes(300), begun, outside, endless]))
        await writer.drain()
        await asyncio.sleep(draw.random())
    writer.close()
    return "no WebSocket"


KINDS = {
    good: 12,
    leaves: 3,
    stops: 2,
    errs: 3,
    floods: 2,
    large: 1,
    binary: 1,
    mangled: 1,
    slow: 1,
    garbage: 1,
}
"""Kinds of clients, and how often each comes."""

EXPECTED = {"the same text", "left in the middle", "stopped", "bad frames", "flooded"}
EXPECTED |= {"large frame", "binary frame", "no UTF-8", "slow reader", "no WebSocket"}
