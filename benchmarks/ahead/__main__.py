"""What every library's program becomes on a card, by the card's own compiler; nothing is run.

    python -m benchmarks.ahead --quick                     LSTM and GRU at one shape
    python -m benchmarks.ahead --target h100 --cell lstm   some of it
    python -m benchmarks.ahead --peer nnx --chips 1 4 8    the batch split over several chips
    python -m benchmarks.ahead --strategy chunked          this library by another strategy too

A step of a recurrent net costs a GPU its launches, two to three microseconds each. So launches a
step, forward and backward together, are what is compared. Your own net: `benchmarks.ahead.report`.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys

from tqdm import tqdm

from benchmarks.ahead import compilers, table
from benchmarks.cases import CASES, GATES, SMALL
from benchmarks.peers import GPU_ONLY, PEERS, STRATEGIES

RESULTS = pathlib.Path(__file__).parents[1] / "results"
BESIDE = sorted({p for p in PEERS if "layer" in PEERS[p]} - {"jaxrnn", "torch"} - GPU_ONLY)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ahead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="LSTM and GRU at one shape, in under five minutes")
    add("--target", nargs="+", choices=compilers.TARGETS, default=list(compilers.TARGETS))
    add("--cell", nargs="+", choices=[c for c in GATES if c != "linear"], help="(default: all)")
    add("--shape", nargs="+", metavar="B,T,D,H", help="(default: all)")
    add("--peer", nargs="+", choices=BESIDE, help="beside jaxrnn (default: all)")
    add("--strategy", nargs="+", choices=STRATEGIES, default=[], help="of this library, besides")
    add("--chips", nargs="+", type=int, choices=(1, 4, 8), default=[1])
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
        for case in CASES
        if case.work == "layer"
        and (not options.cell or case.cell in options.cell)
        and (not options.quick or (case.quick and case[1:5] == SMALL))
        and (not options.shape or ",".join(map(str, case[1:5])) in options.shape)
    ]
    if not cases:
        parser.error("no case is left")
    peers = ["jaxrnn", *(f"jaxrnn {s}" for s in options.strategy), *(options.peer or BESIDE)]
    whole = not (options.quick or options.cell or options.shape or options.peer)
    out = options.out or (RESULTS if whole else pathlib.Path("runs/benchmarks")) / "ahead.json"
    jobs = [
        {"target": t, "peer": p, "case": c._asdict(), "chips": n}
        for t in options.target
        for n in options.chips
        for p in peers
        for c in cases
        if n == 1 or (c.batch % n == 0 and not c.ragged)
    ]
    records: list[dict] = []
    with tqdm(total=len(jobs)) as bar:
        for record in measured(jobs):
            records.append(record)
            bar.update()
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps({"records": records}, indent=1) + "\n")
    page = table.page(records)
    print("\n" + page)
    out.with_suffix(".md").write_text(page)
    table.draw(out.with_suffix(".png"), records)
    print(f"record: {out}, with the table as .md and a picture as .png")


def measured(jobs: list[dict]):
    """The record of each job. The jobs of a library and a target share a process of their own: a
    compiler that gives up ends its process."""
    while jobs:
        kind = (jobs[0]["target"], jobs[0]["peer"])
        mine = [job for job in jobs if (job["target"], job["peer"]) == kind]
        jobs = [job for job in jobs if job not in mine]
        worker = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ahead.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=pathlib.Path(__file__).parents[2],
        )
        assert worker.stdin is not None
        assert worker.stdout is not None
        for job in mine:
            line = ""
            if worker.poll() is None:
                worker.stdin.write(json.dumps(job) + "\n")
                worker.stdin.flush()
                line = worker.stdout.readline()
            yield job | (json.loads(line) if line else {"refused": "its compiler ended"})
        worker.stdin.close()
        worker.wait()


if __name__ == "__main__":
    main()
