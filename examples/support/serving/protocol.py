"""What a client may say, and what is refused.

Frames are JSON texts. A client sends one of

    {"prompt": "def ", "length": 400, "temperature": 0.7, "seed": 0, "gates": false, "rate": 60}
    {"stop": true}

of which only the prompt must be given; `rate` is how many characters a second it wants at most. It
gets, one frame each,

    {"ready": {...}}                             once, when the connection opens
    {"text": "c", "gates": {"i": [...], ...}}    for every character; gates in hundredths
    {"done": "length" or "stop", "written": n}   after a text
    {"error": "..."}                             what was wrong; the connection stays

or the connection is closed with a code of RFC 6455 and a reason.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, NamedTuple

from jaxrnn.data import Bytes
from jaxrnn.errors import error


@dataclasses.dataclass(frozen=True)
class Limits:
    """Sizes, rates and waits that a client meets."""

    clients: int = 128
    frame: int = 16_384  # bytes of a frame: more is closed with 1009
    prompt: int = 1_000  # bytes of a prompt in UTF-8
    length: int = 5_000  # characters of a text
    temperature: float = 5.0
    rate: float = 1_000.0  # characters a second that may be asked for
    burst: int = 10  # messages at once: more are closed with 1008
    messages: float = 5.0  # messages a second in the long run
    idle: float = 120.0  # seconds without a message and without a text
    queue: int = 64  # characters written ahead of a client that reads slowly
    stall: float = 10.0  # seconds that a client may take to read one


class Start(NamedTuple):
    """A text that is wanted."""

    prompt: list[int]
    length: int
    temperature: float
    seed: int
    gates: bool
    rate: float


class Stop(NamedTuple):
    """The text is to end."""


class Close(NamedTuple):
    """The connection is to end, with a code of RFC 6455 and a reason of at most 123 bytes."""

    code: int
    reason: str


FIELDS = {"length": 400, "temperature": 0.7, "seed": 0, "gates": False, "rate": None}
"""What may be left out."""

SEE = "The page docs/serving.md has the protocol."


def parse(text: str, vocabulary: Bytes, limits: Limits, gates: bool) -> Start | Stop:
    """What a frame says.

    Raises:
      ValueError: in one line, for what is no JSON, no message, or out of the limits.
    """
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise error(ValueError, "frame", short(text), "JSON", SEE) from None
    if said == {"stop": True} and said["stop"] is True:
        return Stop()
    if not isinstance(said, dict) or "prompt" not in said:
        need = 'an object with "prompt", or {"stop": true}'
        raise error(ValueError, "message", short(said), need, SEE)
    if unknown := said.keys() - FIELDS.keys() - {"prompt"}:
        need = f"one of {', '.join(['prompt', *FIELDS])}"
        raise error(ValueError, "message", f"a field {short(min(unknown))}", need, SEE)
    given = FIELDS | said
    if not isinstance(given["gates"], bool):
        raise error(ValueError, "gates", short(given["gates"]), "true or false", SEE)
    if given["gates"] and not gates:
        raise error(ValueError, "gates", "true", "false", "This network has no gates.")
    rate = given["rate"]
    return Start(
        prompt(given["prompt"], vocabulary, limits),
        number("length", given["length"], int, 1, limits.length),
        float(number("temperature", given["temperature"], (int, float), 0, limits.temperature)),
        number("seed", given["seed"], int, 0, 2**32 - 1),
        given["gates"],
        float("inf") if rate is None else number("rate", rate, (int, float), 1, limits.rate),
    )


def prompt(given: Any, vocabulary: Bytes, limits: Limits) -> list[int]:
    """The tokens of a prompt."""
    need = f"a text of 1 to {limits.prompt} bytes"
    if not isinstance(given, str):
        raise error(ValueError, "prompt", short(given), need, SEE)
    coded = given.encode("utf-8", "surrogatepass")
    if not 1 <= len(coded) <= limits.prompt:
        raise error(ValueError, "prompt", f"{len(coded)} bytes", need, "Send another.")
    tokens = vocabulary.encode(coded).tolist()
    if 0 in tokens:
        strange = next(
            c for c in given if 0 in vocabulary.encode(c.encode("utf-8", "surrogatepass"))
        )
        need = "characters of the text that the network learnt"
        raise error(ValueError, "prompt", ascii(strange), need, "Leave it out.")
    return tokens


def number(name: str, given: Any, kind: Any, low: float, high: float) -> Any:
    if isinstance(given, bool) or not isinstance(given, kind) or not low <= given <= high:
        what = "an integer" if kind is int else "a number"
        raise error(ValueError, name, short(given), f"{what} from {low} to {high}", SEE)
    return given


def short(given: Any, most: int = 40) -> str:
    """What was got, as JSON, in a few characters."""
    text = given if isinstance(given, str) else json.dumps(given)
    text = ascii(text[: most + 1]) if isinstance(given, str) else text
    return text if len(text) <= most else f"{text[:most]}..."


class Bucket:
    """A token bucket: `burst` messages at once, `rate` a second in the long run."""

    def __init__(self, rate: float, burst: int, now: float):
        self.rate, self.burst, self.left, self.last = rate, burst, float(burst), now

    def take(self, now: float) -> bool:
        self.left = min(self.burst, self.left + (now - self.last) * self.rate)
        self.last = now
        if self.left < 1:
            return False
        self.left -= 1
        return True
