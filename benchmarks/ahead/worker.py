"""Compiles what it is told to: a job a line on its input, a record a line on its output."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from benchmarks.ahead import compilers

compilers.prepare()  # before anything imports JAX


def compiled(job: dict[str, Any]) -> dict[str, Any]:
    """What a library's program of a case becomes."""
    from benchmarks.ahead.program import report
    from benchmarks.cases import WORK, Case

    case = Case(**job["case"])
    name, *strategy = job["peer"].split()
    library = importlib.import_module(f"benchmarks.peers.{name}")
    program = library.build(case, *strategy) if case.work == "layer" else library.other(case)
    if program is None:
        return {"refused": f"it has no such {case.work}"}
    split = None
    if job["chips"] > 1:  # the rows of the inputs, which come last; all else is copied
        split = (*[None] * (len(program.args) - 1), rows(program.args[-1], case))
    f = program.passes[WORK[case.work][-1]]
    settings = {"target": job["target"], "chips": job["chips"], "split": split}
    return report(f, *program.args, steps=case.steps, **settings)


def rows(xs: Any, case: Any) -> int:
    """The axis of the batch: time is the other, one step longer where inputs are targets too."""
    return 1 if xs.shape[0] in (case.steps, case.steps + 1) else 0


def warm(target: str) -> None:
    """Load a compiler, so that the first program does not pay for it."""
    import jax.numpy as jnp

    compilers.compile_for(target, jnp.tanh, jnp.ones(8))


def main() -> None:
    out, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    import jax

    ready: set[str] = set()
    for line in sys.stdin:
        job = json.loads(line)
        jax.clear_caches()  # no program profits from another, and memory does not grow
        try:
            if job["target"] not in ready:
                warm(job["target"])
                ready.add(job["target"])
            record = compiled(job)
        except Exception as error:
            record = {"refused": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(record), file=out, flush=True)


if __name__ == "__main__":
    main()
