"""Compiles what it is told to: a job a line on its input, a record a line on its output."""

from __future__ import annotations

import importlib
import json
import sys

from benchmarks.ahead import compilers

compilers.prepare()  # before anything imports JAX


def main() -> None:
    from benchmarks.ahead.program import report
    from benchmarks.cases import Case

    out, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        job = json.loads(line)
        case = Case(**job["case"])
        name, *strategy = job["peer"].split()
        try:
            program = importlib.import_module(f"benchmarks.peers.{name}").build(case, *strategy)
            if program is None:
                record = {"refused": "it has no such layer"}
            else:
                batch = 1 if program.args[1].shape[0] == case.steps else 0
                record = report(
                    program.passes["gradient"],
                    *program.args,
                    target=job["target"],
                    steps=case.steps,
                    chips=job["chips"],
                    split=(None, batch) if job["chips"] > 1 else None,
                )
        except Exception as error:
            record = {"refused": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(record), file=out, flush=True)


if __name__ == "__main__":
    main()
