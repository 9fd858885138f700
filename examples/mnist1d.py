"""Digits as waves of 40 steps, shifted, stretched, tilted and noisy (MNIST-1D; Greydanus & Kobak
2020/2024): the paper's own GRU done again, and a recurrent net
beside the paper's convolutional one.

    python examples/mnist1d.py                           both nets, three seeds
    python examples/mnist1d.py --validate                scored on a fifth of the training set left
                                                         out: how the defaults were chosen
    python examples/mnist1d.py --nets paper --seeds 5    one of them

The paper's GRU: 6 units in each direction, all outputs read by one layer, Adam at 0.01, 6,000
batches of 100 in the order of the data. What it reaches depends on how it begins, so that four of
them are trained for each seed, side by side under `vmap`. Ours: a convolution and a GRU in both
directions, pooled over time, trained on waves shifted, stretched and tilted anew in each batch.
Interrupted, the same command goes on where the last checkpoint is.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import data, metrics, training
from support import experiments

PUBLISHED = {
    "logistic regression": 0.32,
    "MLP": 0.68,
    "the paper's GRU": 0.91,
    "the paper's CNN": 0.94,
    "people": 0.96,
}

BEFORE = (
    "The test set had been read once before with one beginning a seed (88.1 ± 0.9 over three), "
    "which is too few for how far they differ."
)


class Waves(NamedTuple):
    """`xs [40, N, 1]` and labels `[N]`."""

    xs: np.ndarray
    labels: np.ndarray

    def take(self, which: slice) -> Waves:
        return Waves(self.xs[:, which], self.labels[which])


def parser() -> argparse.ArgumentParser:
    made = experiments.parser(
        "mnist1d",
        __doc__,
        steps=2000,
        seeds=3,
        batch=100,
        lr=4e-3,
        save_every=1000,
        validate="the last fifth of the training set",
    )
    add = made.add_argument
    add(
        "--nets",
        nargs="+",
        choices=("paper", "ours"),
        default=["paper", "ours"],
        help="which to train (default: both)",
    )
    add(
        "--paper-steps",
        type=experiments.positive,
        default=6000,
        help="of the paper's GRU; the other options are of ours (default: %(default)s)",
    )
    add(
        "--paper-members",
        type=experiments.positive,
        default=4,
        help="of the paper's GRU, for each seed (default: %(default)s)",
    )
    add(
        "--hidden",
        type=experiments.positive,
        default=48,
        help="of the GRU in each direction (default: %(default)s)",
    )
    add(
        "--channels",
        type=experiments.positive,
        default=32,
        help="of the convolution before it (default: %(default)s)",
    )
    add("--dropout", type=float, default=0.2, help="of what is pooled (default: %(default)s)")
    add(
        "--shift",
        type=int,
        default=8,
        help="most steps that a wave is moved by, around the ends (default: %(default)s)",
    )
    return made


def load(args: argparse.Namespace) -> tuple[Waves, Waves]:
    """The training set and what is scored: 4,000 and 1,000 waves, made as the paper makes them,
    nothing downloaded."""
    here = pathlib.Path(__file__).parent.resolve()
    # This file is no package, though it bears its name.
    sys.path[:] = [path for path in sys.path if pathlib.Path(path).resolve() != here]
    experiments.package("mnist1d", extra="mnist1d")
    from mnist1d.data import make_dataset

    made = make_dataset()
    train, test = (
        Waves(made[f"x{part}"].T[..., None].astype(np.float32), made[f"y{part}"].astype(np.int32))
        for part in ("", "_test")
    )
    if args.validate:
        cut = len(train.labels) * 4 // 5
        return train.take(slice(cut)), train.take(slice(cut, None))
    return train, test


class Flat(NamedTuple):
    """The paper's net: a body in both directions, all of its outputs read by one layer."""

    body: rnn.Layer = rnn.Bidirectional(rnn.GRU(6))
    head: rnn.Layer = rnn.Dense(10)

    def init(self, key: jax.Array, x: Any, steps: int = 40) -> Any:
        """Uniform within 1 / sqrt(H), biases too, and 1 / sqrt(inputs) of the layer: as the paper's
        library begins."""
        keys = jax.random.split(key)
        made = self.body.init(keys[0], x), self.head.init(keys[1], rnn.features(steps * 12))
        places = iter(jax.random.split(key, len(jax.tree.leaves(made))))
        bounds = (
            jax.tree.map(lambda _: 6**-0.5, made[0]),
            jax.tree.map(lambda _: (steps * 12) ** -0.5, made[1]),
        )
        return jax.tree.map(
            lambda a, bound: jax.random.uniform(next(places), a.shape, a.dtype, -bound, bound),
            made,
            bounds,
        )

    def apply(self, params: Any, xs: jax.Array) -> jax.Array:
        _, ys = rnn.unroll(self.body, params[0], xs)
        flat = jnp.moveaxis(ys, 0, 1).reshape(ys.shape[1], -1)
        return rnn.unroll(self.head, params[1], flat[None])[1][0]


def ours(args: argparse.Namespace) -> rnn.Pooled:
    front = (rnn.CausalConv(args.channels, 5), rnn.LayerNorm(), rnn.Dense(args.channels, "relu"))
    return rnn.Pooled(
        rnn.Stack((*front, rnn.Bidirectional(rnn.GRU(args.hidden)))),
        rnn.Stack((rnn.Dropout(args.dropout), rnn.Dense(10))),
        "max",
    )


def plain(net: Flat, _: int, params: Any, batch: data.Batch, key: jax.Array) -> training.MaskedMean:
    """The losses of all members, summed, so that each one's gradient is as it would be alone."""
    losses = jax.vmap(
        lambda member: training.cross_entropy(net.apply(member, batch.xs), batch.targets)
    )(params)
    return training.MaskedMean(losses.total.sum(), losses.steps[0])


def varied(
    net: rnn.Pooled, shift: int, params: Any, batch: data.Padded, key: jax.Array
) -> training.MaskedMean:
    """The loss on waves `[T, B, 1]` moved, stretched in height, tilted and roughened, each row in
    its own way."""
    xs, labels = batch.columns
    steps, rows, _ = xs.shape
    keys = jax.random.split(key, 5)
    by = jax.random.randint(keys[0], (rows,), -shift, shift + 1)
    places = (jnp.arange(steps)[:, None] + by) % steps
    moved = jnp.take_along_axis(xs, places[..., None], axis=0)
    scale = 1 + 0.3 * (jax.random.uniform(keys[1], (rows, 1)) - 0.5)
    tilt = jax.random.uniform(keys[2], (rows, 1)) - 0.5
    line = jnp.linspace(-0.5, 0.5, steps)[:, None, None]
    xs = moved * scale + tilt * line + 0.05 * jax.random.normal(keys[3], xs.shape)
    return net.objective(training.cross_entropy)(
        params, batch._replace(columns=(xs, labels)), keys[4]
    )


def in_order(train: Waves, batch: int = 100) -> Callable[[int], data.Batch]:
    """Batches as the paper has them."""

    def batches(step: int) -> data.Batch:
        which = np.arange(step * batch, (step + 1) * batch) % len(train.labels)
        return data.Batch(train.xs[:, which], train.labels[which])

    return batches


def shuffled(train: Waves, batch: int, seed: int) -> data.Buckets:
    return data.Buckets((list(train.xs.swapaxes(0, 1)), train.labels), batch, seed=seed)


def one(
    args: argparse.Namespace, train: Waves, test: Waves, seed: int, folder: pathlib.Path
) -> dict[str, Any]:
    """Train the nets from one seed, and score each once."""
    results: dict[str, Any] = {}
    for name in args.nets:
        net, steps, batch = (
            (Flat(), args.paper_steps, 100)
            if name == "paper"
            else (ours(args), args.steps, args.batch)
        )
        rule = (
            optax.adam(1e-2)
            if name == "paper"
            else optax.adamw(training.warmup_cosine(args.lr, steps), weight_decay=1e-2)
        )
        tx = training.optimizer(rule, clip=None if name == "paper" else 1.0)
        keys = jax.random.split(jax.random.key(seed))
        begin = functools.partial(net.init, x=rnn.features(1))
        results[f"{name} parameters"] = sum(
            p.size for p in jax.tree.leaves(jax.eval_shape(begin, keys[0]))
        )
        params = (
            jax.vmap(begin)(jax.random.split(keys[0], args.paper_members))
            if name == "paper"
            else begin(keys[0])
        )
        state = training.TrainState.create(None, params, tx, keys[1])

        step = training.make_step(
            functools.partial(plain if name == "paper" else varied, net, args.shift), tx
        )
        source = in_order(train) if name == "paper" else shuffled(train, batch, seed)
        fitted = training.fit(
            step,
            state,
            source,
            steps,
            directory=folder / name / "checkpoints",
            **experiments.often(args),
        )
        state, _ = experiments.trained(fitted)

        def score(params: Any, net: Any = net) -> jax.Array:
            return metrics.accuracy(net.apply(params, test.xs), test.labels).mean

        results[name] = np.asarray(
            jax.jit(jax.vmap(score) if name == "paper" else score)(state.params)
        )
    return results


def work(args: argparse.Namespace) -> None:
    train, test = load(args)
    scored = "a fifth of the training set left out" if args.validate else "the test set"
    print(
        f"MNIST-1D: {len(train.labels):,} waves to train on, "
        f"scored on {scored} of {len(test.labels):,}"
    )
    runs = experiments.seeds(args, functools.partial(one, args, train, test))

    labels = {
        "paper": "the paper's GRU(6), both ways, here",
        "ours": f"ours: convolution, GRU({args.hidden}) both ways, max over time",
    }
    ours = {labels[name]: name for name in ("ours", "paper") if name in args.nets}
    picture = args.out / "mnist1d.png"
    scores = [
        (
            label.split(",")[0].split(":")[0],
            np.concatenate([np.ravel(run[name]) for run in runs]).tolist(),
        )
        for label, name in ours.items()
    ]
    draw(picture, train, scores, args.validate)
    notes = [
        f"Parameters of {labels[name]}: {runs[0][f'{name} parameters']:,}." for name in args.nets
    ]
    if "paper" in args.nets:
        notes.append(
            "The paper counts 5,134: its GRU adds two biases to each of two gates "
            "where one does the same."
        )
        notes.append(
            f"The paper's GRU is a mean over {len(runs) * args.paper_members} beginnings, "
            f"{args.paper_members} for each seed."
        )
        notes += [] if args.validate else [BEFORE]
    table = experiments.Table(f"accuracy on {scored}", ours, {} if args.validate else PUBLISHED)
    experiments.report(
        args,
        runs,
        [table],
        shape="many to one",
        data="MNIST-1D",
        shows="digits as waves",
        picture=picture,
        notes=notes,
    )


def draw(
    path: pathlib.Path, train: Waves, scores: list[tuple[str, list[float]]], validate: bool
) -> None:
    """A wave of each digit, and the accuracies: a dot for each net, grey bars as published."""
    with experiments.figure(path, 1, 2, size=(9, 4.6)) as (left, right):
        for k in range(10):
            which = np.flatnonzero(train.labels == k)[:3]
            for n, i in enumerate(which):
                left.plot(np.arange(40) + 44 * n, train.xs[:, i, 0] / 5 - k, color=f"C{k}", lw=1.4)
        left.set_yticks(-np.arange(10), map(str, range(10)))
        left.set_xticks([])
        left.grid(False)
        left.set_title("three of each digit", loc="left")
        bars = [] if validate else [(name, [value]) for name, value in PUBLISHED.items()]
        for y, (name, values) in enumerate(sorted(bars + scores, key=lambda bar: np.mean(bar[1]))):
            published = (name, values) in bars
            right.barh(
                y, 100 * np.mean(values), color="#c8c8c8" if published else "#4292c6", height=0.7
            )
            right.plot(
                100 * np.array(values),
                [y] * len(values),
                "o",
                ms=4,
                color="#252525",
                alpha=0 if published else 0.8,
            )
            right.text(
                2,
                y,
                f"{name}  {100 * np.mean(values):.{0 if published else 1}f}",
                va="center",
                fontsize=9,
            )
        right.set(xlim=(0, 100), yticks=[], xlabel="% right (grey: published)")
        right.grid(False)


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
