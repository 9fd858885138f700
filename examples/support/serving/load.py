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

import numpy as np
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


async def text(host: str, times: list[float] | None = None, **start: Any) -> str:
    """A text, and when its characters came."""
    async with connected(host) as client:
        await client.send(json.dumps(start))
        written: list[str] = []
        while "text" in (said := json.loads(await client.recv())):
            written.append(said["text"])
            if times is not None:
                times.append(time.perf_counter())
        if said.get("done") != "length":
            raise error(ValueError, "server", str(said), "a text to its end", "Is it busy?")
        return "".join(written)


async def latency(host: str, clients: int, length: int) -> dict[str, float]:
    """The time between a client's characters, in ms, and the characters a second of all."""
    times: list[list[float]] = [[] for _ in range(clients)]
    begin = time.perf_counter()
    await asyncio.gather(
        *(
            text(host, mine, prompt="def ", length=length, seed=seed)
            for seed, mine in enumerate(times)
        )
    )
    seconds = time.perf_counter() - begin
    gaps = 1000 * np.concatenate([np.diff(mine) for mine in times])
    return {
        "median": float(np.median(gaps)),
        "p99": float(np.percentile(gaps, 99)),
        "a_second": clients * length / seconds,
    }
