"""`jax.lax.associative_scan`, what one would write a linear recurrence with in JAX alone."""

from __future__ import annotations

from typing import Any

import jax

from benchmarks.cases import Case
from benchmarks.peers import work
from benchmarks.peers.program import Compiled


def scan(a: Any, b: Any, start: Any) -> Any:
    def after(first: Any, second: Any) -> Any:
        return first[0] * second[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(after, (a, b.at[0].add(a[0] * start)))[1]


def build(case: Case) -> None:
    return None


def other(case: Case) -> Compiled | None:
    return work.recurrence(case, scan) if case.work == "recurrence" else None
