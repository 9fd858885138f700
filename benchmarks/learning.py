"""Whether each family of cells learns what it is for: `python -m benchmarks.learning [NAME ...]`, a
record in benchmarks/results/learning.json.

The adding problem at T=600, of a trivial score of 1/6 (a GRU reaches 5.3e-5, an LSTM 0.164, in Bai
et al. 2018), to below 0.001; the copy task (Hochreiter & Schmidhuber 1997) at a lag of 100, to
below a hundredth of the score without memory. Every batch is fresh, so the loss of training is that
of a test: its mean over the last 100 steps. Training ends where that is below the goal. What was
trained before stays in the record.
"""

import argparse
import collections
import json
import math
import pathlib
import time

import jax
from tqdm import tqdm

import jaxrnn as rnn
from jaxrnn import tasks, training

LAG = 100
ADDING = tasks.adding, {"length": 600, "batch": 50}, training.mse, 1e-3, 1 / 6
COPY = (
    tasks.copy,
    {"lag": LAG, "batch": 32},
    training.cross_entropy,
    tasks.copy_baseline(LAG) / 100,
    tasks.copy_baseline(LAG),
)
LONG = {"r_min": 0.99, "r_max": 0.9999}
# As its paper's longest task has it: a sum over all time wants states that hardly turn.
SLOW = LONG | {"max_phase": math.pi / 100}


def adds(cell):
    """Without a product in its step a cell needs a layer that lets the marked numbers through,
    before it sums."""
    return ADDING, rnn.Stack((rnn.Dense(64, "relu"), cell, rnn.Dense(1))), 3e-3


def copies(cell):
    return COPY, rnn.Stack((rnn.Embed(10, 64), cell, rnn.Dense(128, "gelu"), rnn.Dense(10))), 3e-3


CHECKS = {
    "adding, GRU": (ADDING, rnn.Stack((rnn.GRU(128), rnn.Dense(1))), 1e-3),
    "adding, LRU": adds(rnn.LRU(64, **SLOW)),
    "copy, LRU": copies(rnn.LRU(256, **LONG)),
    "copy, S5": copies(rnn.S5(256)),
    "adding, S5": adds(rnn.S5(64)),
    "adding, MinGRU": adds(rnn.MinGRU(64)),
    "adding, MinLSTM": adds(rnn.MinLSTM(64)),
    "adding, RGLRU": adds(rnn.RGLRU()),
    "adding, S6": adds(rnn.S6(8)),
    "adding, DiagonalGRU": adds(rnn.DiagonalGRU(64)),
    "adding, DiagonalLSTM": adds(rnn.DiagonalLSTM(64)),
}


def learn(name, most, seed):
    (task, settings, loss, goal, trivial), net, lr = CHECKS[name]
    tx = training.optimizer(training.warmup_cosine(lr, most), clip=1.0)
    keys = jax.random.split(jax.random.key(seed), 3)
    source = tasks.batches(task, keys[0], **settings)
    x = source(0).xs
    params = net.init(keys[1], rnn.features(x.shape[-1]) if x.ndim == 3 else rnn.TOKEN)
    state = training.TrainState.create(net, params, tx, keys[2])
    step = training.bptt_step(net, tasks.scored(loss), tx, strategy=rnn.Auto())
    recent, began = collections.deque(maxlen=100), time.perf_counter()
    with tqdm(total=most, desc=name, mininterval=5) as bar:
        for taken in range(1, most + 1):
            state, metrics = step(state, source(taken))
            recent.append(float(metrics.loss))
            mean = sum(recent) / len(recent)
            bar.set_postfix(loss=f"{mean:.2e}", refresh=False)
            bar.update()
            if reached := len(recent) == recent.maxlen and mean < goal:
                break
    size = sum(p.size for p in jax.tree.leaves(params))
    found = {
        "loss": mean,
        "goal": goal,
        "trivial": trivial,
        "reached": reached,
        "steps": taken,
        "of": most,
        "seed": seed,
        "params": size,
    }
    return found | {"net": repr(net), "seconds": round(time.perf_counter() - began, 1)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(map(repr, CHECKS))} (default: all)"
    )
    parser.add_argument("--steps", type=int, default=5_000, help="at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path("benchmarks/results/learning.json"),
        help="(default: %(default)s)",
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(CHECKS):
        parser.error(
            f"no check is called {', '.join(map(repr, sorted(unknown)))}; "
            f"there are {', '.join(map(repr, CHECKS))}"
        )
    for name in options.names or CHECKS:
        found = learn(name, options.steps, options.seed)
        record = json.loads(options.out.read_text()) if options.out.exists() else {}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record | {name: found}, indent=1) + "\n")
        said = "reached" if found["reached"] else "NOT reached"
        print(
            f"{name}: {found['loss']:.2e} after {found['steps']:,} steps, "
            f"goal {found['goal']:.2e} {said}, trivial {found['trivial']:.3f}"
        )


if __name__ == "__main__":
    main()
