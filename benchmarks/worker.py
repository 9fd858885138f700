"""One library in a process of its own: it builds a case when told to, holds it to the reference,
and runs it when told to.

    python -m benchmarks.worker PEER FOLDER

Commands and answers are lines of JSON, {"build": case}, {"run": "gradient", "times": 5}, {"drop":
true}, {"matmul": size}, and, once a case, {"refer": case}, which writes to FOLDER what the others
are held to.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import pathlib
import resource
import sys
import time
import traceback
from typing import Any

import numpy as np

from benchmarks.cases import WORK, Case

TOLERANCE = 2e-3  # of the largest number of an array, in float32 over a thousand steps


def memory(name: str) -> int:
    """`VmRSS` or `VmHWM` of this process in bytes, or 0 where the system does not say."""
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)


def apart(got: dict[str, np.ndarray], want: Any) -> float:
    """The largest difference, as a share of the largest number of its array."""
    if set(got) != set(want):
        raise ValueError(f"results {sorted(got)} where the reference has {sorted(want)}")
    # NaN wherever one is.
    return float(
        np.max([np.abs(got[name] - want[name]).max() / np.abs(want[name]).max() for name in got])
    )


def peak(program: Any, name: str) -> int:
    """What a pass, its results included, adds to the memory of this process at its highest; 0 where
    the system does not say."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier runs left in the heap would hide it
    before = memory("VmRSS")
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    kept = program.run(name)
    highest = memory("VmHWM")
    del kept
    return max(highest - before, 0)


def build(peer: str, case: Case, folder: pathlib.Path) -> tuple[Any, dict[str, Any]]:
    name, *strategy = peer.split()
    library = importlib.import_module(f"benchmarks.peers.{name}")
    program = library.build(case, *strategy) if case.work == "layer" else library.other(case)
    if program is None:
        return None, {"refused": f"it has no such {case.work}"}
    facts = dict(program.facts)
    facts["error"] = apart(program.results(), np.load(folder / f"{case.name} {program.cell}.npz"))
    facts["computes"] = program.cell
    if not facts["error"] < TOLERANCE:
        return None, facts | {"refused": f"its results are {facts['error']:.1e} off the reference"}
    if os.environ.get("JAX_PLATFORMS") not in ("cuda", "tpu"):  # a card's memory is no process's
        facts["peak"] = peak(program, WORK[case.work][-1])
    return program, facts


def refer(case: Case, folder: pathlib.Path) -> dict[str, Any]:
    for name, results in importlib.import_module("benchmarks.peers.plain").references(case).items():
        np.savez(folder / f"{case.name} {name}.npz", **results)
    return {}


def run(program: Any, name: str, times: int) -> dict[str, Any]:
    seconds = []
    before = resource.getrusage(resource.RUSAGE_SELF)
    kept = None
    for _ in range(times):
        began = time.perf_counter()
        # The last results are let go when the next are there, as in a training loop.
        kept = program.run(name)
        seconds.append(time.perf_counter() - began)
    after = resource.getrusage(resource.RUSAGE_SELF)
    del kept
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": seconds,
        "cpu": cpu / times,
        "faults": (after.ru_minflt - before.ru_minflt) / times,
    }


def matmul(size: int) -> float:
    """Products of square matrices: floating-point operations a second, the best of a few."""
    import jax

    x = jax.numpy.ones((size, size)) / size
    product = jax.jit(lambda x: x @ x)
    product(x).block_until_ready()
    seconds = []
    for _ in range(8):
        began = time.perf_counter()
        product(x).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


def main() -> None:
    peer, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    out = sys.stdout
    sys.stdout = sys.stderr  # what a library prints is no answer
    program = None

    def answer(found: dict[str, Any]) -> None:
        print(json.dumps(found), file=out, flush=True)

    for line in sys.stdin:
        told = json.loads(line)
        try:
            if "build" in told:
                program = None
                program, facts = build(peer, Case(**told["build"]), folder)
                answer(facts)
            elif "refer" in told:
                answer(refer(Case(**told["refer"]), folder))
            elif "run" in told:
                answer(run(program, told["run"], told["times"]))
            elif "matmul" in told:
                answer({"flops": matmul(told["matmul"])})
            else:
                program = None
                answer({})
        except Exception as error:
            answer(
                {
                    "refused": f"{type(error).__name__}: {error}".splitlines()[0],
                    "trace": traceback.format_exc(),
                }
            )


if __name__ == "__main__":
    main()
