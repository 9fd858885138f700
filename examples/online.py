"""A net that learns from an endless stream in constant memory, beside truncated backpropagation.

    python examples/online.py                             RTRL, windows of 10 and 40, UORO
    python examples/online.py --ways rtrl forward         others of them
    python examples/online.py --lag 40 60 --steps 20000   a longer wait

Each row shows a random symbol at every step. Now and then one is marked, and 15 to 25 steps later
the net is asked which it was; the next is marked at once. The net is trained at every step, on the
rows that are asked then. Nothing is stored: the stream is drawn as it goes, and what `RTRL` carries
from step to step has the same size after a thousand steps and after a million. A window that is
shorter than the wait never holds a question and its answer together.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import metrics, online, training
from support import experiments

SYMBOLS = 4
SILENT = -1  # the target of a row that is not asked


class Stream(NamedTuple):
    """How many steps each row still waits for its question, and its marked symbol."""

    wait: jax.Array
    symbol: jax.Array


def parser() -> argparse.ArgumentParser:
    made = experiments.parser("online", __doc__, steps=4000, seeds=1, batch=16, lr=5e-3)
    add = made.add_argument
    add(
        "--ways",
        nargs="+",
        choices=("rtrl", "short", "long", "uoro", "forward"),
        default=["rtrl", "short", "long", "uoro"],
        help="how gradients are had (default: all but forward)",
    )
    add(
        "--lag",
        nargs=2,
        type=experiments.positive,
        default=[15, 25],
        metavar=("LEAST", "MOST"),
        help="steps from a marked symbol to its question (default: %(default)s)",
    )
    add(
        "--windows",
        nargs=2,
        type=experiments.positive,
        default=[10, 40],
        metavar=("SHORT", "LONG"),
        help="of truncated backpropagation (default: %(default)s)",
    )
    add("--hidden", type=experiments.positive, default=32, help="units (default: %(default)s)")
    return made


def begin(key: jax.Array, rows: int, lag: tuple[int, int]) -> Stream:
    """Every row at a place of its own."""
    wait = jax.random.randint(key, (rows,), 0, lag[1] + 1)
    return Stream(wait, jnp.full((rows,), SILENT))


def drawn(stream: Stream, key: jax.Array, lag: tuple[int, int]) -> tuple[Stream, Any, Any]:
    """The stream after a step; the inputs `[B, 6]`, a symbol, the mark and the question; and the
    targets `[B]`."""
    ks, kw = jax.random.split(key)
    symbol = jax.random.randint(ks, stream.wait.shape, 0, SYMBOLS)
    asked, marked = stream.wait == 0, stream.wait < 0
    target = jnp.where(asked, stream.symbol, SILENT)
    flags = jnp.stack([marked, asked], -1).astype(jnp.float32)
    x = jnp.concatenate([jax.nn.one_hot(symbol, SYMBOLS), flags], -1)
    wait = jax.random.randint(kw, stream.wait.shape, lag[0] - 1, lag[1])
    after = Stream(
        jnp.where(marked, wait, stream.wait - 1), jnp.where(marked, symbol, stream.symbol)
    )
    return after, x, target


def asked(ys: jax.Array, targets: jax.Array, mask: Any = None) -> training.MaskedMean:
    """The loss of the rows that are asked."""
    return training.cross_entropy(ys, targets, targets != SILENT)


def network(hidden: int) -> rnn.Stack:
    return rnn.Stack((rnn.DiagonalGRU(hidden), rnn.Dense(SYMBOLS)))


def patient(params: Any, key: jax.Array, hidden: int, lag: int) -> Any:
    """Update gates that begin with memories of 1 to `lag` steps (Tallec & Ollivier 2018)."""
    spans = jax.random.uniform(key, (hidden,), minval=1.0, maxval=lag)
    bias = params[0]["b"].at[hidden : 2 * hidden].set(jnp.log(spans))
    return ({**params[0], "b": bias}, *params[1:])


def algorithms(net: rnn.Stack, args: argparse.Namespace) -> dict[str, online.Online]:
    short, long = args.windows
    made = {
        "rtrl": online.RTRL(net, asked),
        "short": online.TBPTT(net, asked, short),
        "long": online.TBPTT(net, asked, long),
        "uoro": online.UORO(net, asked),
        "forward": online.ForwardGradient(net, asked, every=2 * args.lag[1]),
    }
    return {name: made[name] for name in args.ways}


def label(name: str, args: argparse.Namespace) -> str:
    short, long = args.windows
    return {
        "rtrl": "RTRL",
        "short": f"TBPTT, window {short}",
        "long": f"TBPTT, window {long}",
        "uoro": "UORO",
        "forward": "forward gradients",
    }[name]


class Run(NamedTuple):
    """All that learning carries from step to step."""

    params: Any
    optimizer: Any
    learner: Any
    stream: Stream
    key: jax.Array


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def piece(
    algorithm: online.Online, tx: Any, lag: tuple[int, int], steps: int, run: Run
) -> tuple[Run, training.MaskedMean]:
    """Some steps of learning, and how many of the questions were answered rightly before it."""

    def body(run: Run, _: None) -> tuple[Run, tuple[jax.Array, jax.Array]]:
        key, now = jax.random.split(run.key)
        stream, x, target = drawn(run.stream, now, lag)
        _, y = rnn.advance(algorithm.cell, run.params, run.learner.state, x)
        right = metrics.accuracy(y[None], target[None], (target != SILENT)[None])
        learner, (loss, grads) = algorithm.step(run.params, run.learner, x, target)
        asked_of = jnp.maximum(loss.steps, 1).astype(loss.total.dtype)
        grads = jax.tree.map(lambda g: g / asked_of, grads)  # the mean over rows that are asked
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
            updates, optimizer = tx.update(grads, run.optimizer, run.params)
        params = optax.apply_updates(run.params, updates)
        return Run(params, optimizer, learner, stream, key), right

    run, right = jax.lax.scan(body, run, None, length=steps)
    return run, jax.tree.map(lambda a: a.sum(0), right)


def one(args: argparse.Namespace, seed: int, folder: pathlib.Path) -> dict[str, Any]:
    """Learn from one stream in every way, each from the same params."""
    net, lag = network(args.hidden), tuple(args.lag)
    keys = jax.random.split(jax.random.key(seed), 4)
    params = patient(net.init(keys[0], SYMBOLS + 2), keys[1], args.hidden, 2 * args.lag[1])
    tx = training.optimizer(optax.adam(args.lr), clip=1.0)
    every = min(200, args.steps)
    results: dict[str, Any] = {"steps": [every * (i + 1) for i in range(args.steps // every)]}
    for name, algorithm in algorithms(net, args).items():
        learner = algorithm.init(params, (args.batch,), keys[2])
        stream = begin(keys[3], args.batch, lag)
        run, curve = Run(params, tx.init(params), learner, stream, keys[3]), []
        began = 0.0
        for _ in results["steps"]:
            run, right = piece(algorithm, tx, lag, every, run)
            curve.append(float(right.mean))
            began = began or time.process_time()  # after the first piece, and its compilation
        numbers = sum(a.size for a in jax.tree.leaves(learner) if a.dtype == jnp.float32)
        results[f"{name} curve"] = curve
        results[f"{name} reached"] = float(np.mean(curve[-5:]))
        results[f"{name} numbers"] = numbers / args.batch
        results[f"{name} microseconds"] = (
            1e6 * (time.process_time() - began) / max(results["steps"][-1] - every, 1)
        )
        print(f"{label(name, args)}: {100 * results[f'{name} reached']:.1f} % answered")
    return results


def work(args: argparse.Namespace) -> None:
    if args.lag[0] > args.lag[1]:
        raise ValueError(f"--lag {args.lag[0]} {args.lag[1]}: give the least before the most")
    runs = experiments.seeds(args, functools.partial(one, args))
    picture = args.out / "online.png"
    draw(picture, args, runs)
    labels = {label(name, args): name for name in args.ways}
    tables = [
        experiments.Table(title, {shown: f"{name} {key}" for shown, name in labels.items()}, **more)
        for title, key, more in (
            ("questions answered", "reached", {"references": {"chance": 1 / SYMBOLS}}),
            ("numbers carried, for each row", "numbers", {"unit": "floats", "digits": 0}),
            ("a step of learning, CPU time", "microseconds", {"unit": "us", "digits": 0}),
        )
    ]
    notes = [
        f"A question comes {args.lag[0]} to {args.lag[1]} steps after its symbol. All ways begin "
        "with the same net and see the same stream; scored are the last thousand steps.",
    ]
    experiments.report(
        args,
        runs,
        tables,
        shape="many to many, without an end",
        data="a stream drawn as it goes",
        shows="learning at every step, in constant memory",
        picture=picture,
        notes=notes,
    )


def draw(path: pathlib.Path, args: argparse.Namespace, runs: list[dict[str, Any]]) -> None:
    """The share of questions answered, as the stream goes by."""
    with experiments.figure(path, size=(8, 4.2)) as axes:
        for k, name in enumerate(args.ways):
            for run in runs:
                first = run is runs[0]
                axes.plot(
                    run["steps"],
                    100 * np.array(run[f"{name} curve"]),
                    color=f"C{k}",
                    label=label(name, args) if first else None,
                )
        axes.axhline(100 / SYMBOLS, color="#909090", ls=":", label="chance")
        axes.set(xlabel="steps of the stream", ylabel="% of questions answered", ylim=(0, 103))
        axes.legend(frameon=False, loc="center right")


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
