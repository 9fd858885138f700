"""Reading a compiled program: what its devices say to one another, where, and its loops."""

import math
import re
from typing import NamedTuple

WIDTH = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4}
WIDTH |= {"u32": 4, "f64": 8, "s64": 8, "u64": 8, "c64": 8, "c128": 16}

KINDS = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter|collective-broadcast"
COLLECTIVE = re.compile(rf"= (\(.*?\)|\S+) ({KINDS})(?:-start)?\(")
ARRAY = re.compile(r"\b([a-z]+[0-9]*)\[([0-9,]*)\]")
HEADER = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|branch_computations|called_computations)="
    r"(\{[^}]*\}|%?[\w.\-]+)"
)
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Collective(NamedTuple):
    kind: str
    arrays: tuple[tuple[str, tuple[int, ...]], ...]  # (dtype, shape) of each array that it makes
    computation: str
    loop: bool  # whether a while loop calls it

    @property
    def bytes(self) -> int:
        return sum(WIDTH[dtype] * math.prod(shape) for dtype, shape in self.arrays)

    def spans(self, length: int) -> bool:
        """Whether an array has an axis of `length` steps, alone or merged with another."""
        return any(d and d % length == 0 for _, shape in self.arrays for d in shape)


def computations(text: str) -> dict[str, list[str]]:
    """The lines of each computation."""
    found: dict[str, list[str]] = {}
    name = None
    for line in text.splitlines():
        if name is None:
            if header := HEADER.match(line):
                name = header[1]
                found[name] = []
        elif line.startswith("}"):
            name = None
        else:
            found[name].append(line)
    return found


def names(called: str) -> list[str]:
    return [n.strip().lstrip("%") for n in called.strip("{}").split(",")]


def within_loops(parts: dict[str, list[str]]) -> set[str]:
    """The computations that a while loop runs at every step."""
    calls = {
        name: [n for line in lines for c in CALLED.findall(line) for n in names(c)]
        for name, lines in parts.items()
    }
    loops = [
        c
        for lines in parts.values()
        for line in lines
        if " while(" in line
        for c in CALLED.findall(line)
    ]
    todo, seen = [n for c in loops for n in names(c)], set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(calls.get(name, ()))
    return seen


def collectives(text: str) -> list[Collective]:
    """Every collective of a program's text, `compiled.as_text()`."""
    parts = computations(text)
    inside = within_loops(parts)
    found = []
    for name, lines in parts.items():
        for line in lines:
            if made := COLLECTIVE.search(line):
                arrays = tuple(
                    (d, tuple(int(n) for n in s.split(",") if n)) for d, s in ARRAY.findall(made[1])
                )
                found.append(Collective(made[2], arrays, name, name in inside))
    return found


def trips(text: str) -> list[int | None]:
    """How often each while loop runs, in order of size, or None: equal programs share them."""
    loops = [line for lines in computations(text).values() for line in lines if " while(" in line]
    return sorted(
        (int(n[1]) if (n := TRIPS.search(line)) else None for line in loops),
        key=lambda n: -1 if n is None else n,
    )
