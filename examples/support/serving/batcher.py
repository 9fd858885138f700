"""The loop that steps all clients' texts together."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from support.serving.engine import Engine
from support.serving.model import Ask
from support.serving.protocol import Close, Limits, Start

GATHER = 0.002
"""How long, in seconds, a loop that had nothing to do waits for more clients than the first."""

log = logging.getLogger("uvicorn.error")


@dataclasses.dataclass(eq=False)
class Text:
    """A text that is being written."""

    start: Start
    steps: int = 0  # taken so far; a step reads one token
    last: int = 0  # the token drawn last
    due: float = 0.0  # when the next character may be written
    decoder: Any = dataclasses.field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    @property
    def written(self) -> int:
        """How many characters the steps so far wrote: the last of the prompt's draws the first."""
        return max(0, self.steps - len(self.start.prompt) + 1)

    @property
    def token(self) -> int:
        prompt = self.start.prompt
        return prompt[self.steps] if self.steps < len(prompt) else self.last


@dataclasses.dataclass(eq=False)
class Client:
    """A connection: its slot, what is to be sent to it, and the text it wants."""

    slot: int
    outbox: asyncio.Queue[dict[str, Any] | Close] = dataclasses.field(default_factory=asyncio.Queue)
    text: Text | None = None


class Batcher:
    """Slots for clients, and one loop that runs a step for all who want one.

    A client whose outbox is full is not stepped until it has read: it waits, and no one else does.
    """

    def __init__(self, engine: Engine, limits: Limits):
        self.engine, self.limits = engine, limits
        self.free = list(range(engine.slots))[::-1]
        self.clients: set[Client] = set()
        self.wake = asyncio.Event()

    def join(self) -> Client | None:
        """A client with a slot of its own, or None where all are taken."""
        if not self.free:
            return None
        client = Client(self.free.pop())
        self.clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        client.text = None
        self.clients.remove(client)
        self.free.append(client.slot)

    def start(self, client: Client, start: Start) -> None:
        """Begin a text; its first step begins from the initial state, whoever had the slot."""
        client.text = Text(start)
        self.wake.set()

    def end(self, client: Client, why: str) -> None:
        """End a text: the rest of a character that lacks bytes, and why it ended."""
        if (text := client.text) is not None:
            client.text = None
            if rest := text.decoder.decode(b"", True):
                client.outbox.put_nowait({"text": rest})
            client.outbox.put_nowait({"done": why, "written": text.written})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The loop, as long as the context is open."""
        with ThreadPoolExecutor(1, "step") as thread:
            loop = asyncio.create_task(self.loop(thread))
            try:
                yield
            finally:
                loop.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await loop

    async def loop(self, thread: ThreadPoolExecutor) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            now = clock()
            able = [c for c in self.clients if c.text and c.outbox.qsize() < self.limits.queue]
            ready = [(c, c.text) for c in able if c.text and c.text.due <= now]
            if ready:
                await self.step(ready, thread)
                continue
            self.wake.clear()
            soonest = min((c.text.due - now for c in able if c.text), default=None)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), soonest)
            await asyncio.sleep(GATHER)

    async def step(self, ready: list[tuple[Client, Text]], thread: ThreadPoolExecutor) -> None:
        """One step for these clients, off the event loop's thread, and what they get of it."""
        ask = Ask.none(self.engine.slots)
        for client, text in ready:
            slot = client.slot
            ask.active[slot], ask.resets[slot] = True, text.steps == 0
            ask.tokens[slot], ask.counts[slot] = text.token, text.written
            ask.seeds[slot], ask.temperatures[slot] = text.start.seed, text.start.temperature
        looks = any(text.start.gates for _, text in ready)
        loop = asyncio.get_running_loop()
        try:
            drawn, gates = await loop.run_in_executor(thread, self.engine, ask, looks)
        except Exception as wrong:  # a device's memory, say: those clients go, the server stays
            log.error("a step failed: %s", str(wrong).partition("\n")[0])
            self.engine.clear()
            for client in self.clients:
                if client.text is not None:
                    client.text = None
                    client.outbox.put_nowait(Close(1011, "the network failed; try again"))
            return
        now = loop.time()
        for client, text in ready:
            if client.text is text:  # neither left nor stopped meanwhile
                self.deliver(client, text, int(drawn[client.slot]), gates, now)

    def deliver(self, client: Client, text: Text, token: int, gates: Any, now: float) -> None:
        text.steps, text.last = text.steps + 1, token
        if not text.written:
            return
        text.due = max(text.due + 1 / text.start.rate, now)
        message: dict[str, Any] = {
            "text": text.decoder.decode(self.engine.model.vocabulary.decode([token]))
        }
        if text.start.gates:
            message["gates"] = {
                name: np.rint(100 * values[client.slot]).astype(int).tolist()
                for name, values in gates._asdict().items()
            }
        client.outbox.put_nowait(message)
        if text.written == text.start.length:
            self.end(client, "length")
