"""Backpropagation through ten million steps: memory and recomputation of `Chunked` in levels.

`python -m benchmarks.long_sequences --levels` runs this. Gradient in the params of an LSTM(64) on
two features with Dense(1) at B=1 and a squared error at every step. Temporaries are the compiler's
plan; forward passes are counted in the compiled program, by the products that make a step's gates:
a plain gradient has one a step. No gradient is timed that was not
held to another: at T=100,000 to `Scan`'s, at T=10,000,000 `fold`'s and `unroll`'s to each other.
"""

import json
import math
import pathlib
import platform
import re
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as rnn
from benchmarks.ahead.program import called, computations, kind, loops, operation
from benchmarks.timing import compiled

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "levels.json"
NUMBERS = ROOT / "docs" / "numbers.md"
STRATEGIES = {"Scan()": rnn.Scan()} | {
    f"Chunked(levels={r})": rnn.Chunked(levels=r) for r in (1, 2, 3, 4)
}
LENGTHS = 1_000, 10_000, 100_000, 1_000_000, 10_000_000
PLAIN, LONG = 100_000, 10_000_000
HIDDEN, FEATURES = 64, 2
NET = rnn.Stack((rnn.LSTM(HIDDEN), rnn.Dense(1)))


def squared(total, params, ys, targets, mask):
    return total + jnp.sum((ys - targets[..., :1]) ** 2)


def folded(strategy):
    def loss(params, xs):
        return rnn.fold(NET, params, xs, squared, 0.0, extra=xs, strategy=strategy)[1]

    return jax.grad(loss)


def unrolled(strategy):
    def loss(params, xs):
        return squared(0.0, params, rnn.unroll(NET, params, xs, strategy=strategy)[1], xs, None)

    return jax.grad(loss)


def passes(program, steps):
    """How often a compiled gradient evaluates a step: products that make the gates of one step."""
    text = program.as_text()
    parts, entry = computations(text)

    def gates(name):
        found = 0
        for line in parts[name]:
            made, op = re.search(r"= \w+\[([\d,]*)\]", line), operation(line)
            if op in ("call", "conditional"):  # a step on one CPU is a branch that is always taken
                found += max(gates(inner) for inner in called(line))
            elif made and op in ("dot", "fusion", "custom-call"):
                numbers = math.prod(int(n) for n in made[1].split(",") if n)
                found += numbers == 4 * HIDDEN and kind(line, parts) == "product"
        return found

    inside = sum(loop.trips * gates(loop.body) for loop in loops(text)[0])
    return (gates(entry) + inside) / steps


def temporaries(program):
    return program.memory_analysis().temp_size_in_bytes


def far(got, want):
    """The largest difference of two gradients, as a share of the largest number of each array."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def inputs(steps):
    return jax.random.normal(jax.random.key(1), (steps, 1, FEATURES))


def planned(params):
    """What the gradient by `fold` takes at every length, compiled and not run."""
    rows = []
    for steps in LENGTHS:
        for name, strategy in STRATEGIES.items():
            xs = jax.ShapeDtypeStruct((steps, 1, FEATURES), jnp.float32)
            program, took = compiled(folded(strategy), params, xs)
            rows.append(
                {
                    "steps": steps,
                    "strategy": name,
                    "sizes": strategy.sizes(steps) if isinstance(strategy, rnn.Chunked) else (),
                    "temporaries": temporaries(program),
                    "passes": passes(program, steps),
                    "seconds to compile": took,
                }
            )
            print(rows[-1], flush=True)
    return rows


def timed(params, repeats):
    """Median seconds of each strategy at one length, by turns: on the clock, of the processor."""
    args = (params, inputs(PLAIN))
    programs = {name: (compiled(folded(s), *args)[0], args) for name, s in STRATEGIES.items()}
    want = programs["Scan()"][0](*args)
    errors = {name: far(program(*args), want) for name, (program, _) in programs.items()}
    assert max(errors.values()) < 1e-3, errors
    seen = {name: [] for name in programs}
    for _ in range(repeats):
        for name, (program, _) in programs.items():
            seen[name].append(run(program, args)[:2])
    return {
        name: dict(zip(("seconds", "processor"), medians(times), strict=True))
        for name, times in seen.items()
    }


def medians(rows):
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def long(params, repeats):
    """Ten million steps by `fold` and by `unroll`, between runs of a plain gradient."""
    strategy, args, few = rnn.Chunked(levels=2), (params, inputs(LONG)), (params, inputs(PLAIN))
    ways = {"fold": folded, "unroll": unrolled}
    plain = {name: compiled(way(rnn.Scan()), *few)[0] for name, way in ways.items()}
    programs = {name: compiled(way(strategy), *args)[0] for name, way in ways.items()}
    seen = {name: [] for name in ways}

    def run_plain():
        for name, program in plain.items():
            program(*few)
            seen[name] += [run(program, few)[:2] for _ in range(repeats)]

    run_plain()
    rows, grads = [], {}
    for name, program in programs.items():
        seconds, processor, grads[name] = run(program, args)
        run_plain()
        row = {"way": name, "seconds": seconds, "processor": processor}
        rows.append(row | {"temporaries": temporaries(program)})
        print(rows[-1], flush=True)
    error = far(grads["fold"], grads["unroll"])
    assert error < 1e-2, error
    for row in rows:
        once, busy = medians(seen[row["way"]])
        row |= {"steps": LONG, "sizes": strategy.sizes(LONG), "plain seconds": once}
        row |= {"ratio": row["seconds"] / LONG * PLAIN / once}
        row |= {"processor ratio": row["processor"] / LONG * PLAIN / busy, "error": error}
    return rows


def run(program, args):
    """Seconds on the clock, seconds of the processor, and the result."""
    began, busy = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(program(*args))
    return time.perf_counter() - began, time.process_time() - busy, result


def relative(record, name, clock):
    return record["times"][name][clock] / record["times"]["Scan()"][clock]


def table(record):
    """Markdown: a row for each strategy, a column for each length, then recomputation and time."""
    heads = [f"T={steps:,}" for steps in LENGTHS]
    lines = [
        f"| temporaries, MB | {' | '.join(heads)} | forward passes | time | processor time |",
        "|---|" + "---|" * (len(heads) + 3),
    ]
    for name in STRATEGIES:
        rows = [row for row in record["planned"] if row["strategy"] == name]
        cells = [f"{row['temporaries'] / 1e6:,.2f}" for row in rows]
        counts = sorted({f"{row['passes']:.2f}" for row in rows})
        times = [f"{relative(record, name, clock):.2f}" for clock in ("seconds", "processor")]
        shown = counts[0] if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        lines.append(f"| `{name}` | {' | '.join(cells)} | {shown} | {' | '.join(times)} |")
    return "\n".join(lines)


def long_table(record):
    """Markdown: the ten million steps."""
    lines = [
        f"| T={LONG:,}, `Chunked(levels=2)` | seconds | plain seconds at T={PLAIN:,} "
        "| time a step, of the plain | processor time | temporaries |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row['way']}` | {row['seconds']:.0f} | {row['plain seconds']:.2f} "
        f"| {row['ratio']:.2f} | {row['processor ratio']:.2f} "
        f"| {row['temporaries'] / 1e6:.1f} MB |"
        for row in record["long"]
    ]
    return "\n".join(lines)


def put(page, record):
    """A page with the two tables of this record replaced."""
    for made in (table(record), long_table(record)):
        start = re.escape(made.split("|")[1])
        page = re.sub(rf"\|{start}.*\n(?:\|.*\n)*", lambda _, made=made: f"{made}\n", page)
    return page


def draw(path, record):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8))
    for k, name in enumerate(STRATEGIES):
        rows = [row for row in record["planned"] if row["strategy"] == name]
        style = {"color": f"C{k}", "label": name, "marker": "o", "ms": 4}
        steps = [row["steps"] for row in rows]
        axes[0].plot(steps, [row["temporaries"] / 1e6 for row in rows], **style)
        axes[1].plot(steps, [row["passes"] for row in rows], **style)
        ratio = relative(record, name, "processor")
        axes[2].barh(len(STRATEGIES) - k, ratio, color=f"C{k}")
        axes[2].text(ratio, len(STRATEGIES) - k, f" {ratio:.2f}", va="center")
    axes[0].axhline(1000, color="black", lw=0.8, ls=":")
    axes[0].text(LENGTHS[-1], 1200, "1 GB", ha="right")
    axes[0].set(xscale="log", yscale="log", xlabel="T", title="temporaries of a gradient, MB")
    axes[1].set(xscale="log", xlabel="T", title="forward passes of a gradient")
    axes[1].set_ylim(0, 6)
    worst = max(row["processor ratio"] for row in record["long"])
    axes[2].barh(0, worst, color="grey")
    axes[2].text(worst, 0, f" {worst:.2f}, T={LONG:,}", va="center")
    axes[2].axvline(3, color="black", lw=0.8, ls=":")
    axes[2].set(yticks=[], xlim=(0, 3.3), title=f"processor time a step, Scan() at T={PLAIN:,}: 1")
    axes[0].set_ylim(0.08, 1e6)
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    for ax in axes[:2]:
        ax.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(repeats):
    params = NET.init(jax.random.key(0), FEATURES)
    facts = {
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }
    record = {
        "facts": facts,
        "planned": planned(params),
        "times": timed(params, repeats),
        "long": long(params, repeats),
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    draw(RESULTS.with_suffix(".png"), record)
    NUMBERS.write_text(put(NUMBERS.read_text(), record))
    print(table(record), long_table(record), sep="\n\n")
