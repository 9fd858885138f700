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
    *("call", "conditional"),  # what they run is counted
}
SCALAR = re.compile(r"= (?:s32|u32|s64|u64|pred)\[\]")  # a counter, or what is found from one
EXCHANGES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
PRODUCTS = {"dot", "convolution"}
# Operations that move numbers and make none.
MOVES = {
    *("parameter", "constant", "bitcast", "tuple", "get-tuple-element", "copy", "convert", "pad"),
    *("slice", "dynamic-slice", "dynamic-update-slice", "concatenate", "broadcast", "reshape"),
    *("transpose", "reverse", "gather", "iota", "copy-start", "bitcast-convert"),
}
Parts = dict[str, list[str]]  # the lines of each computation of a program


class Loop(NamedTuple):
    """A while loop: how often its body runs in all, how often the computation that it stands in,
    what one run launches, by kind, and the name of its body."""

    trips: int | None
    outer: int | None
    launches: Counter
    body: str


def computations(text: str) -> tuple[Parts, str]:
    """The lines of each computation of a program, and the name of the one that begins it."""
    parts: Parts = {}
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


def operation(line: str) -> str | None:
    found = re.search(r"= (?:\(.*?\) |\S+ )([\w\-]+)\(", line)
    return found.group(1) if found else None


def called(line: str) -> list[str]:
    """The computations that an operation runs: of a call, a fusion, or the branches of a
    conditional."""
    named = re.findall(r"(?:calls|to_apply|(?:true|false)_computation)=%?([\w.\-]+)", line)
    several = re.search(r"branch_computations=\{(.*?)\}", line)
    return named + (re.findall(r"[\w.\-]+", several.group(1)) if several else [])


def kind(line: str, parts: Parts) -> str:
    """What a launch is for: "product", "pointwise", "reduction", "copies", "counter", an exchange
    between chips, "kernel", one written by hand, or the name of a call of the compiler's own."""
    name = operation(line) or ""
    if starts(name):
        return name
    if name == "custom-call":
        named = re.search(r'custom_call_target="(.*?)"', line)
        target = named.group(1) if named else name
        if re.search("triton|mosaic|tpu_custom_call", target):
            return "kernel"
        return "product" if re.search("gemm|cublas|matmul", target, re.IGNORECASE) else target
    if SCALAR.search(line):
        return "counter"
    inside: set[str] = set()

    def look(line: str) -> None:
        name = operation(line) or ""
        bodies = called(line) if name in ("fusion", "call", "async-start") else []
        for body in bodies:
            for part in parts.get(body, []):
                look(part)
        if not bodies and not SCALAR.search(line):
            inside.add(name)

    look(line)
    if inside & PRODUCTS:
        return "product"
    if inside <= MOVES:
        return "copies"
    return "reduction" if inside & {"reduce", "reduce-window"} else "pointwise"


def trips(line: str, parts: Parts) -> int | None:
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
            op = operation(line)
            if op == "while":
                body = re.search(r"body=%?([\w.\-]+)", line)
                n = trips(line, parts)
                runs = None if n is None or times is None else n * times
                if body:
                    found.append(Loop(runs, times, walk(body.group(1), runs), body.group(1)))
            elif op in ("call", "conditional"):  # of branches, that which launches most
                branches = [walk(branch, times) for branch in called(line) if branch in parts]
                launched += max(branches, key=Counter.total, default=Counter())
            elif (
                op is not None
                and op not in FREE
                and (op == "fusion" or not SCALAR.search(line))
                and 'custom_call_target="AllocateBuffer"' not in line
            ):
                launched[kind(line, parts)] += 1
        return launched

    outside = walk(entry, 1)
    return found, outside


def cost(text: str, found: list[Loop]) -> dict[str, float] | None:
    """Bytes read and written and floating-point operations: XLA's own account of a program, in
    which a loop's body stands once, and of each body as often as it runs besides. None where this
    jaxlib reads no text."""
    try:
        from jaxlib._hlo import hlo_module_from_text
        from jaxlib._jax import hlo_module_cost_analysis
    except ImportError:
        return None
    import jax

    client = jax.devices("cpu")[0].client
    rest = text.split("\n", 1)[1]

    def account(entry: str) -> dict[str, float]:
        plain = re.sub(r"^ENTRY ", "", rest, flags=re.MULTILINE)
        begun = re.sub(rf"^%?{re.escape(entry)} ", f"ENTRY %{entry} ", plain, flags=re.MULTILINE)
        return hlo_module_cost_analysis(client, hlo_module_from_text(f"HloModule one\n{begun}"))

    total: dict[str, float] = account(computations(text)[1])
    for loop in found:
        if loop.trips is None or loop.outer is None:
            return None
        for name, n in account(loop.body).items():
            total[name] = total.get(name, 0) + n * (loop.trips - loop.outer)
    return {"bytes": total["bytes accessed"], "flops": total.get("flops", 0)}


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
      A dict: "launches a step" (all loops over time together) and these "by kind", "by loop" (for
      each how often it runs and its launches by kind), "outside" (launches that no loop repeats),
      "temporaries" in bytes of the card's main memory (on a TPU what fits stays in VMEM and is not
      among them), "bytes" and "flops" by XLA's own account, "exchanges" between chips by kind
      (those inside a loop apart), "compile seconds".

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
    counted, by_kind = None, None
    known = [(loop.trips, loop.launches) for loop in found if loop.trips is not None]
    if steps and len(known) == len(found):
        runs: Counter = Counter()
        for n, launches in known:
            for name, count in launches.items():
                runs[name] += n * count
        counted = runs.total() / steps
        by_kind = {name: n / steps for name, n in runs.most_common()}
    inside = Counter(
        name for loop in found for name in loop.launches.elements() if starts(name) is not None
    )
    return {
        "launches a step": counted,
        "by kind": by_kind,
        "by loop": [{"runs": loop.trips, "launches": dict(loop.launches)} for loop in found],
        "outside": dict(outside),
        "temporaries": compiled.memory_analysis().temp_size_in_bytes,
        **(cost(text, found) or {"bytes": None, "flops": None}),
        "exchanges": exchanges(outside),
        "exchanges in loops": exchanges(inside),
        "compile seconds": seconds,
    }


def starts(operation: str) -> str | None:
    """The exchange between chips that an operation begins."""
    name = operation.removesuffix("-start")
    return name if name in EXCHANGES else None


def exchanges(launches: Counter) -> dict[str, int]:
    """The exchanges among launches, by kind."""
    found: Counter = Counter()
    for one, n in launches.items():
        if name := starts(one):
            found[name] += n
    return dict(found)
