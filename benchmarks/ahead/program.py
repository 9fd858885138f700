"""What a compiled program launches, keeps and exchanges, read off its text."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.ahead.compilers import compile_for

# Names, not work: a device is not told of these.
FREE = {
    *("parameter", "get-tuple-element", "tuple", "constant", "bitcast", "after-all", "iota"),
    *("partition-id", "replica-id", "opt-barrier", "copy-done", "async-done", "while"),
}
SCALAR = re.compile(r"= \w+\[\]\S* (add|subtract|multiply|compare|select|convert)\(")  # of counters
EXCHANGES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")


class Loop(NamedTuple):
    """A while loop: how often it runs in all, and what one run launches, by kind."""

    trips: int | None
    launches: Counter


def computations(text: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation of a program, and the name of the one that begins it."""
    parts: dict[str, list[str]] = {}
    name, entry = None, ""
    for line in text.splitlines():
        head = re.match(r"^(ENTRY )?%?([\w.\-]+) .*\{$", line)
        if head and not line.startswith(" "):
            name = head.group(2)
            parts[name] = []
            entry = name if head.group(1) else entry
        elif line.startswith("}"):
            name = None
        elif name:
            parts[name].append(line)
    return parts, entry


def trips(line: str, parts: dict[str, list[str]]) -> int | None:
    """How often a while loop runs: as the compiler notes it, or the bound of its condition."""
    if known := re.search(r'known_trip_count":\{"n":"(\d+)"', line):
        return int(known.group(1))
    condition = re.search(r"condition=%?([\w.\-]+)", line)
    lines = parts.get(condition.group(1), []) if condition else []
    bounds = [int(n) for row in lines for n in re.findall(r"s32\[\]\S* constant\((\d+)\)", row)]
    return max(bounds, default=None)


def loops(text: str) -> tuple[list[Loop], Counter]:
    """The loops of a program, nested ones by all their runs, and what is launched outside them."""
    parts, entry = computations(text)
    found: list[Loop] = []

    def walk(name: str, times: int | None) -> Counter:
        launched: Counter = Counter()
        for line in parts[name]:
            kind = re.search(r"= (?:\(.*?\) |\S+ )([\w\-]+)\(", line)
            if kind is None:
                continue
            if kind.group(1) == "while":
                body = re.search(r"body=%?([\w.\-]+)", line)
                n = trips(line, parts)
                runs = None if n is None or times is None else n * times
                if body:
                    found.append(Loop(runs, walk(body.group(1), runs)))
            elif kind.group(1) not in FREE and not SCALAR.search(line):
                launched[kind.group(1)] += 1
        return launched

    outside = walk(entry, 1)
    return found, outside


def report(
    f: Callable,
    *args: Any,
    target: str,
    steps: int | None = None,
    chips: int = 1,
    split: Any = None,
) -> dict[str, Any]:
    """What a function of arrays becomes on a card: compiled for it, not run.

    Args:
      f: a function, of your own net say.
      args: what it is called with; only shapes and dtypes count.
      target: "h100" or "v5e".
      steps: T; without it launches are counted by loop and not by step.
      chips: how many chips run it.
      split: the axis along which each argument is split over the chips, None for a copy on each.

    Returns:
      A dict: "launches a step" (all loops over time together), "by loop" (for each how often it
      runs and its launches by kind), "outside" (launches that no loop repeats), "temporaries",
      "bytes" and "flops" by the compiler's own account, "exchanges" between chips by kind (those
      inside a loop apart), "compile seconds".

    Example:
      >>> def loss(params, xs):
      ...     return (unroll(cell, params, xs)[1] ** 2).mean()
      >>> report(jax.grad(loss), params, xs, target="h100", steps=128)["launches a step"]
    """
    began = time.perf_counter()
    compiled = compile_for(target, f, *args, chips=chips, split=split)
    seconds = time.perf_counter() - began
    text = compiled.as_text()
    found, outside = loops(text)
    cost = compiled.cost_analysis() or {}
    cost = cost[0] if isinstance(cost, list) else cost
    counted = None
    if steps and all(loop.trips is not None for loop in found):
        counted = sum(loop.trips * loop.launches.total() for loop in found) / steps
    inside = Counter(
        kind for loop in found for kind in loop.launches.elements() if starts(kind) is not None
    )
    return {
        "launches a step": counted,
        "by loop": [{"runs": loop.trips, "launches": dict(loop.launches)} for loop in found],
        "outside": dict(outside),
        "temporaries": compiled.memory_analysis().temp_size_in_bytes,
        "bytes": cost.get("bytes accessed"),
        "flops": cost.get("flops"),
        "exchanges": exchanges(outside),
        "exchanges in loops": exchanges(inside),
        "compile seconds": seconds,
    }


def starts(kind: str) -> str | None:
    """The exchange between chips that an operation begins."""
    name = kind.removesuffix("-start")
    return name if name in EXCHANGES else None


def exchanges(launches: Counter) -> dict[str, int]:
    """The exchanges among launches, by kind."""
    found: Counter = Counter()
    for kind, n in launches.items():
        if name := starts(kind):
            found[name] += n
    return dict(found)
