"""Minutes of clients good and bad, and what must hold under them: the text of a good client is the
one it gets alone, memory stays flat, every bad frame has its answer, and the server is there in the
end."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrnn.errors import error
from support import experiments
from support.serving.clients import EXPECTED, GOOD, KINDS
from support.serving.load import Server, latency, served, speed, text

MINUTE = 60.0


async def soaked(
    server: Server, alone: Sequence[str], seconds: float, clients: int, seed: int, pause: float
) -> dict[str, Any]:
    """`clients` at a time for so long, one kind after another with pauses: how often each came, and
    the server's memory every now and then."""
    begin = time.perf_counter()
    counts: Counter[str] = Counter()
    memory: list[list[float]] = []

    async def one(which: int) -> None:
        draw = random.Random(f"{seed} {which}")
        while time.perf_counter() - begin < seconds:
            kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
            try:
                counts[await kind(server.host, draw, alone)] += 1
            except Exception as wrong:
                counts[f"{kind.__name__}: {wrong!r}"] += 1
            await asyncio.sleep(pause * 2 * draw.random())

    async def look() -> None:
        while True:
            memory.append([round(time.perf_counter() - begin, 1), round(server.memory(), 1)])
            await asyncio.sleep(min(10, seconds / 10))

    looking = asyncio.create_task(look())
    await asyncio.gather(*(one(which) for which in range(clients)))
    looking.cancel()
    wrong = {name: n for name, n in counts.items() if name not in EXPECTED}
    for name, n in wrong.items():
        print(f"unexpected, {n} times: {name}", file=sys.stderr)
    return {
        "counts": dict(counts),
        "good": counts["the same text"] + counts["another text"],
        "bad": sum(n for name, n in counts.items() if not name.endswith(" text")),
        "different": counts["another text"],
        "unexpected": sum(wrong.values()) - counts["another text"],
        "memory": memory,
    }


async def all_good(host: str) -> list[str]:
    return [await text(host, **start) for start in GOOD]


def soak(
    command: Sequence[str], seconds: float, clients: int, seed: int = 0, pause: float = 0.75
) -> dict[str, Any]:
    """The soak of a fresh server, and how it is afterwards."""
    with served(command) as server:
        alone = asyncio.run(all_good(server.host))
        result = asyncio.run(soaked(server, alone, seconds, clients, seed, pause))
        afterwards = asyncio.run(all_good(server.host))
        deadline = time.perf_counter() + 30  # those that never read are given up by then
        while (left := server.health()["clients"]) and time.perf_counter() < deadline:
            time.sleep(0.2)
        result |= {
            "alive": float(afterwards == alone),
            "left": left,
            "cpu": server.processor(),
            "tracebacks": server.tracebacks(),
            "status": server.end(),
        }
    return result


def checked(command: Sequence[str], seconds: float, seed: int) -> dict[str, Any]:
    """Latency and the soak, in numbers by name."""
    found: dict[str, Any] = {}
    with served([*command, "--messages", "10000"]) as server:
        asyncio.run(speed(server.host, 4, 100))  # warm
        for clients, each, length in ((1, 1000, 3000), (100, 50, 500)):
            print(f"latency with {clients} of them", file=sys.stderr)
            times = asyncio.run(latency(server.host, clients, each))
            found[f"median_{clients}"] = float(np.median(times))
            found[f"p99_{clients}"] = float(np.percentile(times, 99))
            found[f"a_second_{clients}"] = asyncio.run(speed(server.host, clients, length))
        server.end()
    print(f"soak for {seconds:g} seconds", file=sys.stderr)
    found |= soak(command, seconds, 100, seed)
    if not (found["alive"] and found["status"] == 143):
        need = "the texts it wrote before, and an end on SIGTERM"
        raise error(ValueError, "server", "another", need, "Look at its counts.")
    times, sizes = np.transpose(found["memory"])
    early = sizes[(times >= min(MINUTE, seconds / 3)) & (times <= 2 * MINUTE)]
    late = sizes[times >= times[-1] - MINUTE]
    return found | {"memory_early": float(early.mean()), "memory_late": float(late.mean())}


def tables(runs: Sequence[dict[str, Any]]) -> list[experiments.Table]:
    minutes = f"{runs[0]['memory'][-1][0] / 60:.0f} minutes of 100 clients good and bad"
    return [
        experiments.Table(
            "time from asking for a character until it is there",
            {
                "1 client, median": "median_1",
                "1 client, 99 of 100": "p99_1",
                "100 clients, median": "median_100",
                "100 clients, 99 of 100": "p99_100",
            },
            unit="ms",
        ),
        experiments.Table(
            "characters a second, in long texts, all clients together",
            {"1 client": "a_second_1", "100 clients": "a_second_100"},
            unit="",
            digits=0,
        ),
        experiments.Table(
            minutes,
            {
                "texts of good clients": "good",
                "of them not the text written alone": "different",
                "bad clients": "bad",
                "of them with another answer than theirs": "unexpected",
                "clients left over": "left",
                "tracebacks in the server's log": "tracebacks",
            },
            unit="",
            digits=0,
        ),
        experiments.Table(
            "memory of the server",
            {"in the second minute": "memory_early", "in the last minute": "memory_late"},
            unit="MB",
        ),
    ]


NOTES = [
    "Server and clients share two cores, which did much other work meanwhile. Bad clients leave in "
    "the middle, send floods, or frames that are no JSON, no UTF-8, have wrong fields, are binary "
    "or too large; they do not read, or speak no WebSocket. After them the server wrote the texts "
    "of good clients once more, all the same, and ended on SIGTERM."
]
