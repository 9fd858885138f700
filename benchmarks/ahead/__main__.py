"""What every library's program becomes on a card, by the card's own compiler; nothing is run.

    python -m benchmarks.ahead --quick                     LSTM and GRU at one shape, and a training
                                                           step on 1, 4 and 8 chips
    python -m benchmarks.ahead                             every case of the benchmark
    python -m benchmarks.ahead --target h100 --cell lstm   some of it
    python -m benchmarks.ahead --peer nnx --chips 4 8      the batch split over several chips
    python -m benchmarks.ahead --strategy chunked          this library by another strategy too

A step of a recurrent net costs a GPU its launches, two to three microseconds each. So launches a
step, forward and backward together, are what is compared. Your own net: `benchmarks.ahead.report`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Any

from tqdm import tqdm

from benchmarks.ahead import compilers, table
from benchmarks.cases import CASES, GATES, GPU_CASES, SMALL, WORK, Case
from benchmarks.peers import GPU_ONLY, PEERS, STRATEGIES, works

RESULTS = pathlib.Path(__file__).parents[1] / "results"
NUMBERS = RESULTS.parents[1] / "docs" / "numbers.md"
# torch has no program that XLA compiles, and cuDNN's is not XLA's.
BESIDE = [p for p in PEERS if p not in ("jaxrnn", "torch") and p not in GPU_ONLY]
BY = ("fused",)  # the strategies of this library that stand beside its own choice
ALL = ["jaxrnn", *(f"jaxrnn {strategy}" for strategy in BY), *BESIDE]
TRAINED = Case("lstm", 64, 100, 64, 256, work="training")  # rows that 8 chips share
EVERY = [*CASES, *GPU_CASES, TRAINED]
VERSIONS = (
    *("jax", "jaxlib", "jax-cuda12-plugin", "nvidia-cuda-nvcc-cu12", "libtpu"),
    *("flax", "dm-haiku", "equinox", "keras"),
)


def quick(case: Case) -> bool:
    return case == TRAINED or (case.quick and case.work == "layer" and case[1:5] == SMALL)


def splits(case: Case, chips: int) -> bool:
    """Whether so many chips can share a case's rows."""
    return case.work in ("layer", "training") and case.batch % chips == 0 and not case.ragged


def planned(
    targets: Iterable[str], cases: list[Case], peers: list[str], chips: list[int] | None
) -> list[dict[str, Any]]:
    """What is compiled: by default for one chip, a training step for several too."""
    return [
        {"target": t, "peer": p, "case": c._asdict(), "chips": n}
        for t in targets
        for c in cases
        for p in peers
        if c.work in works(p)
        for n in chips or ((1, 4, 8) if c == TRAINED else (1,))
        if n == 1 or splits(c, n)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ahead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="LSTM and GRU at one shape, in under five minutes")
    add("--target", nargs="+", choices=compilers.TARGETS, default=list(compilers.TARGETS))
    add("--work", nargs="+", choices=WORK, help="(default: all)")
    add("--cell", nargs="+", choices=GATES, help="(default: all)")
    add("--shape", nargs="+", metavar="B,T,D,H", help="(default: all)")
    add("--peer", nargs="+", choices=BESIDE, help="beside jaxrnn (default: all)")
    add(
        "--strategy",
        nargs="*",
        choices=STRATEGIES,
        default=list(BY),
        help="of this library, besides its own choice (default: fused)",
    )
    add(
        "--chips",
        nargs="+",
        type=int,
        choices=(1, 4, 8),
        help="(default: 1, and a training step on all three)",
    )
    add(
        "--out",
        type=pathlib.Path,
        help="the record (default: benchmarks/results/ahead.json, or runs/ for a part)",
    )
    options = parser.parse_args()
    for target in options.target:
        if todo := compilers.missing(target):
            parser.error(
                f"the compiler for {target} is not installed, or of another version than "
                f"JAX. Run: {todo}"
            )
    print("Compiled for cards that are not here: nothing below was run or timed on one.")
    cases = [
        case
        for case in EVERY
        if (not options.work or case.work in options.work)
        and (not options.cell or case.cell in options.cell)
        and (not options.quick or quick(case))
        and (not options.shape or ",".join(map(str, case[1:5])) in options.shape)
    ]
    peers = ["jaxrnn", *(f"jaxrnn {s}" for s in options.strategy), *(options.peer or BESIDE)]
    jobs = planned(options.target, cases, peers, options.chips)
    if not jobs:
        parser.error("no case is left")
    part = (options.quick, options.work, options.cell, options.shape, options.peer, options.chips)
    whole = not any(part) and set(options.target) == set(compilers.TARGETS) and peers == ALL
    out = options.out or (RESULTS if whole else pathlib.Path("runs/benchmarks")) / "ahead.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    facts = {"date": time.strftime("%Y-%m-%d")} | {name: version(name) for name in VERSIONS}
    records: list[dict[str, Any]] = []
    with tqdm(total=len(jobs)) as bar:
        done: dict[int, dict[str, Any]] = {}
        for place, record in side_by_side(jobs):
            done[place] = record
            bar.update()
            records = [done[k] for k in sorted(done)]
            # Nothing is lost on interruption.
            out.write_text(json.dumps({"facts": facts, "records": records}, indent=1) + "\n")
    page = table.page(records, facts)
    print("\n" + page)
    out.with_suffix(".md").write_text(page)
    table.draw(out.with_suffix(".png"), records)
    print(f"record: {out}, with the tables as .md and a picture as .png")
    if out == RESULTS / "ahead.json":
        NUMBERS.write_text(table.put(NUMBERS.read_text(), table.short(records)))
        print(f"and its few rows in {NUMBERS}")


def version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def begun() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.ahead.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=pathlib.Path(__file__).parents[2],
    )


def compiled(jobs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The record of each job. A process of its own compiles them, and another goes on where it
    ends: a compiler that gives up ends its process."""
    worker = begun()
    try:
        for job in jobs:
            if worker.poll() is not None:
                worker = begun()
            assert worker.stdin is not None
            assert worker.stdout is not None
            line = ""
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.write(json.dumps(job) + "\n")
                worker.stdin.flush()
                line = worker.stdout.readline()
            if not line:
                worker.wait()
            yield job | (json.loads(line) if line else {"refused": "its compiler ended"})
    finally:
        worker.kill()
        worker.wait()


def side_by_side(jobs: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The place of each job and its record, as they come: a process for each target."""
    found: queue.Queue[tuple[int, dict[str, Any]] | BaseException] = queue.Queue()

    def run(places: list[int]) -> None:
        try:
            for place, record in zip(places, compiled([jobs[k] for k in places]), strict=True):
                found.put((place, record))
        except BaseException as error:
            found.put(error)

    for target in dict.fromkeys(job["target"] for job in jobs):
        places = [k for k, job in enumerate(jobs) if job["target"] == target]
        threading.Thread(target=run, args=(places,), daemon=True).start()
    for _ in jobs:
        one = found.get()
        if isinstance(one, BaseException):
            raise one
        yield one


if __name__ == "__main__":
    main()
