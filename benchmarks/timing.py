"""Programs compiled apart from their runs, run by turns, and shown beside the first of them."""

import statistics
import time

import jax


def compiled(f, *args):
    began = time.perf_counter()
    program = jax.jit(f).lower(*args).compile()
    return program, time.perf_counter() - began


def by_turns(programs, repeats):
    """Median seconds of each program, all of them run once before any is run again."""
    seconds = {name: [] for name in programs}
    for _ in range(repeats + 1):
        for name, (program, args) in programs.items():
            began = time.perf_counter()
            jax.block_until_ready(program(*args))
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(s[1:]) for name, s in seconds.items()}


def compare(title, cases, repeats):
    print(title)
    programs, facts = {}, {}
    for name, (f, args) in cases.items():
        program, took = compiled(f, *args)
        programs[name] = (program, args)
        facts[name] = (program.memory_analysis().temp_size_in_bytes / 1e6, took)
    times = by_turns(programs, repeats)
    first = next(iter(times.values()))
    for name, seconds in times.items():
        megabytes, took = facts[name]
        print(
            f"  {name:44s}{seconds * 1e3:10.1f} ms{seconds / first:7.2f} x"
            f"{megabytes:10.1f} MB temporaries{took:7.1f} s to compile",
            flush=True,
        )
