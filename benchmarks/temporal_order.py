"""What clipping and the penalty on vanishing gradients are worth: `python -m
benchmarks.temporal_order`, a record in benchmarks/results/temporal_order.json.

The temporal order task (Hochreiter & Schmidhuber 1997) as Pascanu, Mikolov & Bengio 2013 have it:
an Elman net of 50 units whose weights begin as normal ones of 0.1, so that its gradient vanishes;
20 fresh sequences a step; gradient descent with a momentum of 0.9, with the clip and the penalty,
with the clip, and with neither. Solved is a run whose answers to 1,000 other sequences are right in
99 of 100 cases.
"""

import argparse
import json
import pathlib
import time

import jax
import jax.numpy as jnp
import optax

import jaxrnn as rnn
from jaxrnn import tasks, training

RESULTS = pathlib.Path("benchmarks/results/temporal_order.json")
NORMAL = jax.nn.initializers.normal(0.1)
NET = rnn.Stack(
    (
        rnn.OneHot(6),
        rnn.Elman(50, w_x_init=NORMAL, w_h_init=NORMAL),
        rnn.Dense(4, w_init=NORMAL),
    )
)
ARMS = {  # the largest norm of a gradient, and the penalty's weight
    "clip 1, penalty 0.05": (1.0, 0.05),
    "clip 1": (1.0, 0.0),
    "neither": (None, 0.0),
}
EVERY = 500


def objective(weight):
    def mean(params, batch, key):
        def loss(ys):
            return tasks.scored(training.cross_entropy)(ys, batch.targets)

        if not weight:
            return loss(rnn.unroll(NET, params, batch.xs)[1])
        found, penalty = training.vanishing_penalty(NET, params, batch.xs, loss)
        return found.plus(weight * penalty)

    return mean


def learn(arm, rates, seeds, length, most):
    """The runs of one way to train, one after the other in one compiled program."""
    clip, weight = ARMS[arm]

    def rule(rate):
        return training.optimizer(optax.sgd(rate, 0.9), clip=clip)

    @jax.jit
    def some(state, rate, held):
        step = training.make_step(objective(weight), rule(rate))

        def body(state, _):
            key = jax.random.fold_in(state.key, state.step)
            return step(state, tasks.temporal_order(key, length, 20))

        state, metrics = jax.lax.scan(body, state, None, EVERY)
        _, ys = rnn.unroll(NET, state.params, held.xs)
        right = rnn.metrics.accuracy(ys[-1:], held.targets.values[-1:])
        return state, right.mean, metrics.clipped.sum()

    held, runs = tasks.temporal_order(jax.random.key(1 << 20), length, 1000), []
    for rate in rates:
        for seed in seeds:
            params, key = NET.init(jax.random.key(seed), rnn.TOKEN), jax.random.key(seed)
            state = training.TrainState.create(None, params, rule(rate), key)
            right, clipped, began = 0.0, 0, time.process_time()
            while right < 0.99 and int(state.step) < most:
                state, right, changed = some(state, jnp.float32(rate), held)
                right, clipped = float(right), clipped + int(changed)
            steps = int(state.step)
            run = {"arm": arm, "rate": rate, "seed": seed, "steps": steps, "solved": right >= 0.99}
            run |= {"right": round(right, 3), "clipped": round(clipped / steps, 3)}
            runs.append(run | {"cpu_seconds": round(time.process_time() - began, 1)})
            print(runs[-1], flush=True)
    return runs


def table(record):
    """The record as the rows of a page: of each rate, how each seed ended."""
    lines = [
        "| | rate | solved | after steps | right at the end | steps clipped |",
        "|---|---|---|---|---|---|",
    ]
    for arm in dict.fromkeys(run["arm"] for run in record["runs"]):
        for rate in dict.fromkeys(run["rate"] for run in record["runs"]):
            runs = [r for r in record["runs"] if (r["arm"], r["rate"]) == (arm, rate)]
            if runs:
                solved = [f"{r['steps']:,}" if r["solved"] else "-" for r in runs]
                right = [f"{r['right']:.0%}" for r in runs]
                clipped = [f"{r['clipped']:.0%}" for r in runs]
                count = f"{sum(r['solved'] for r in runs)} of {len(runs)}"
                cells = (arm, str(rate), count, *map(", ".join, (solved, right, clipped)))
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--length", type=int, default=50, help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=7_000, help="at most (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: %(default)s)")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.01, 0.02])
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS, help="(default: %(default)s)")
    options = parser.parse_args(argv)
    record = {"length": options.length, "most": options.steps, "runs": []}
    for arm in ARMS:
        seeds = range(options.seeds)
        record["runs"] += learn(arm, options.rates, seeds, options.length, options.steps)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    print(table(record))


if __name__ == "__main__":
    main()
