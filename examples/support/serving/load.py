"""A server in a process of its own, clients of it, and how fast it answers them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from jaxrnn.errors import error


class Server:
    """`serve.py` as a process, which says where it listens."""

    def __init__(self, command: Sequence[str], log: pathlib.Path):
        self.log = log
        with log.open("wb") as written:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=written)
        assert self.process.stdout is not None
        said = b""
        for line in self.process.stdout:
            said = line
            if found := re.search(rb"at http://(\S+)", line):
                self.host = found[1].decode()
                return
        self.process.wait()
        why = (log.read_text(errors="replace").strip() or said.decode()).splitlines()[-1:]
        need, do = "one that says where it listens", "Look at what it wrote."
        raise error(ValueError, "server", f"one that ended: {why}", need, do)

    def memory(self) -> float:
        """What it holds in memory, in MB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s*(\d+)", status)[0]) / 1024

    def processor(self) -> float:
        """The seconds of CPU that it took."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2]
        return sum(map(int, fields.split()[11:13])) / 100

    def health(self) -> dict[str, int]:
        with urllib.request.urlopen(f"http://{self.host}/health", timeout=10) as answer:
            return json.load(answer)

    def tracebacks(self) -> int:
        return self.log.read_text(errors="replace").count("Traceback")

    def end(self, wait: float = 20) -> int:
        """The status with which it ends after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(wait)


@contextlib.contextmanager
def served(command: Sequence[str]) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(command, pathlib.Path(folder) / "log")
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()


@contextlib.asynccontextmanager
async def connected(host: str, small: bool = False) -> AsyncIterator[ClientConnection]:
    """A client that was greeted. With `small` buffers it holds up the server when it stops
    reading."""
    more: dict[str, Any] = {}
    if small:
        name, port = host.rsplit(":", 1)
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (name, int(port)))
            stack.pop_all()
        more = {"sock": sock, "max_queue": 1}
    uri = f"ws://{host}/write"
    async with connect(uri, compression=None, proxy=None, close_timeout=5, **more) as client:
        assert "ready" in json.loads(await client.recv())
        yield client


async def read(client: ClientConnection, **start: Any) -> str:
    """A text, to its end."""
    await client.send(json.dumps(start))
    written: list[str] = []
    while "text" in (said := json.loads(await client.recv())):
        written.append(said["text"])
    if said.get("done") != "length":
        raise error(ValueError, "server", str(said), "a text to its end", "Is it busy?")
    return "".join(written)


async def text(host: str, **start: Any) -> str:
    """A text of a client of its own."""
    async with connected(host) as client:
        return await read(client, **start)


async def latency(host: str, clients: int, each: int) -> list[float]:
    """The time from asking for a character until it is there, in ms, of clients that ask for one
    after the other, all at the same time."""
    times: list[float] = []
    all_there = asyncio.Barrier(clients)

    async def one(seed: int) -> None:
        async with connected(host) as client:
            await all_there.wait()
            for _ in range(each):
                begin = time.perf_counter()
                await read(client, prompt="a", length=1, seed=seed)
                times.append(1000 * (time.perf_counter() - begin))

    await asyncio.gather(*(one(seed) for seed in range(clients)))
    return times


async def speed(host: str, clients: int, length: int) -> float:
    """The characters a second of clients that each want a text, all together."""
    begin = time.perf_counter()
    wanted = (text(host, prompt="def ", length=length, seed=seed) for seed in range(clients))
    await asyncio.gather(*wanted)
    return clients * length / (time.perf_counter() - begin)
