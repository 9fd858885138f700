"""Who speaks? Two Japanese vowels said by nine men, as ragged sequences of 7 to 29 steps of 12
features, read in both directions, pooled over time, and answered once
(JapaneseVowels; Kudo et al. 1999).

    python examples/speaker.py
        five seeds, under two minutes on two cores
    python examples/speaker.py --validate
        the same on a fifth of the training set left out: how the defaults were chosen
    python examples/speaker.py --train A.ts --test B.ts
        any other set in the .ts format of the time-series archives

Interrupted, the same command goes on where the last checkpoint is.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import data, metrics, training
from support import experiments

PUBLISHED = {"a biLSTM of 100 units, published": 0.954, "a vendor's biLSTM, published": 0.97}


class Rows(NamedTuple):
    """Sequences `[t_i, channels]` with their labels."""

    xs: list[np.ndarray]
    labels: np.ndarray

    def take(self, which: np.ndarray) -> Rows:
        return Rows([self.xs[i] for i in np.flatnonzero(which)], self.labels[which])


def parser() -> argparse.ArgumentParser:
    made = experiments.parser(
        "speaker",
        __doc__,
        steps=400,
        seeds=5,
        batch=32,
        lr=1e-2,
        save_every=200,
        validate="a fifth of the training set, another for each seed",
    )
    add = made.add_argument
    add(
        "--hidden",
        type=experiments.positive,
        default=64,
        help="of the GRU in each direction (default: %(default)s)",
    )
    add("--dropout", type=float, default=0.5, help="of what is pooled (default: %(default)s)")
    add(
        "--noise",
        type=float,
        default=0.3,
        help="added to each input, in standard deviations (default: %(default)s)",
    )
    add(
        "--offset",
        type=float,
        default=0.5,
        help="added to all inputs of a sequence alike, as another microphone would "
        "(default: %(default)s)",
    )
    add("--train", metavar="FILE.ts", help="a training set of your own")
    add("--test", metavar="FILE.ts", help="its test set")
    return made


def read_ts(path: pathlib.Path | str) -> tuple[list[np.ndarray], list[str]]:
    """Sequences and labels of a .ts file: a line each, channels and at last the label between
    colons, steps between commas."""
    xs, labels, begun = [], [], False
    for number, line in enumerate(data.read_lines(path), 1):
        if not begun or not line.strip():
            begun = begun or line.strip().lower() == "@data"
            continue
        *channels, label = line.strip().split(":")
        try:
            xs.append(
                np.array(
                    [[float(x) for x in channel.split(",")] for channel in channels], np.float32
                ).T
            )
        except ValueError as error:
            raise ValueError(
                f"{path}: line {number} is not channels of numbers of one length ({error})."
            ) from None
        if xs[-1].ndim != 2 or xs[-1].shape[1] != xs[0].shape[1]:
            raise ValueError(
                f"{path}: line {number} has {len(channels)} channels; "
                f"the lines before have {xs[0].shape[1]}."
            )
        labels.append(label)
    if not xs:
        raise ValueError(
            f"{path}: no sequences; need a file in the .ts format, with them after a line @data."
        )
    return xs, labels


def load(args: argparse.Namespace) -> tuple[Rows, Rows, list[str], str]:
    """The training set, what is scored, the classes, and what the data are called."""
    if (args.train is None) != (args.test is None):
        raise ValueError(
            "--train and --test go together: give both, or neither for JapaneseVowels."
        )
    paths, name = [args.train, args.test], f"{args.train}"
    if args.train is None:
        folder = experiments.package("sktime", extra="speaker") / "datasets/data/JapaneseVowels"
        paths, name = (
            [folder / f"JapaneseVowels_{part}.ts" for part in ("TRAIN", "TEST")],
            "JapaneseVowels",
        )
    xs, labels = read_ts(paths[0])
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise ValueError(
            f"{paths[0]}: every sequence is of class {classes[0]}; need two classes at least."
        )
    train = Rows(xs, np.array([classes.index(label) for label in labels]))
    if args.validate:
        return train, train, classes, name
    xs, labels = read_ts(paths[1])
    if unknown := set(labels) - set(classes):
        raise ValueError(f"{paths[1]}: class {sorted(unknown)[0]} does not occur in {paths[0]}.")
    if xs[0].shape[1] != train.xs[0].shape[1]:
        raise ValueError(
            f"{paths[1]}: {xs[0].shape[1]} channels; {paths[0]} has {train.xs[0].shape[1]}."
        )
    return train, Rows(xs, np.array([classes.index(label) for label in labels])), classes, name


def folds(labels: np.ndarray, parts: int = 5) -> np.ndarray:
    """The fold of each row: of every class its rows in order, cut in `parts`, since neighbours were
    recorded one after another."""
    fold = np.zeros(len(labels), int)
    for k in set(labels.tolist()):
        of_class = np.flatnonzero(labels == k)
        fold[of_class] = np.arange(len(of_class)) * parts // len(of_class)
    return fold


def objective(
    net: rnn.Pooled, noise: float, offset: float, params: Any, batch: data.Padded, key: jax.Array
) -> training.MaskedMean:
    """The loss under noise on the inputs, of each step and of the sequence as a whole."""
    xs, labels = batch.columns
    each, whole, within = jax.random.split(key, 3)
    xs = (
        xs
        + noise * jax.random.normal(each, xs.shape)
        + offset * jax.random.normal(whole, xs.shape[1:])
    )
    return net.objective(training.cross_entropy)(
        params, batch._replace(columns=(xs, labels)), within
    )


def one(
    args: argparse.Namespace, train: Rows, test: Rows, classes: int, seed: int, folder: pathlib.Path
) -> dict[str, Any]:
    """Train from one seed, and score once."""
    if args.validate:
        left_out = folds(train.labels) == seed % 5
        train, test = train.take(~left_out), train.take(left_out)
    steps = np.concatenate(train.xs)
    mean, deviation = steps.mean(0), steps.std(0) + 1e-6
    xs, held = ([(x - mean) / deviation for x in rows.xs] for rows in (train, test))

    net = rnn.Pooled(
        rnn.Bidirectional(rnn.GRU(args.hidden)),
        rnn.Stack((rnn.Dropout(args.dropout), rnn.Dense(classes))),
        "mean",
    )
    keys = jax.random.split(jax.random.key(seed))
    tx = training.optimizer(
        optax.adamw(training.warmup_cosine(args.lr, args.steps), weight_decay=1e-3), clip=1.0
    )
    state = training.TrainState.create(None, net.init(keys[0], xs[0][0]), tx, keys[1])
    step = training.make_step(functools.partial(objective, net, args.noise, args.offset), tx)
    batches = data.Buckets((xs, train.labels), args.batch, buckets=2, seed=seed)
    fitted = training.fit(
        step,
        state,
        batches,
        args.steps,
        directory=folder / "checkpoints",
        **experiments.often(args),
    )
    state, history = experiments.trained(fitted)

    logits = net.predict(state.params, data.Buckets((held,), batch=128, buckets=2))
    own = net.predict(state.params, data.Buckets((xs,), batch=128, buckets=2))
    return {
        "accuracy": metrics.accuracy(logits, test.labels).mean,
        "training accuracy": metrics.accuracy(own, train.labels).mean,
        "confusion": metrics.confusion(logits, test.labels),
        "loss": history.metrics["loss"][-50:].mean(),
    }


def work(args: argparse.Namespace) -> None:
    train, test, classes, name = load(args)
    lengths = [len(x) for x in train.xs]
    scored = "a fifth of the training set left out" if args.validate else "the test set"
    print(
        f"{name}: {len(train.xs)} sequences of {min(lengths)} to {max(lengths)} steps, "
        f"{len(classes)} classes; scored on {scored}"
    )
    digest = hashlib.sha256(np.concatenate([*train.xs, *test.xs]).tobytes()).hexdigest()
    runs = experiments.seeds(
        args, functools.partial(one, args, train, test, len(classes)), sha256=digest
    )

    counts = np.sum([run["confusion"] for run in runs], axis=0)
    accuracy = np.mean([run["accuracy"] for run in runs])
    picture = args.out / "speaker.png"
    with experiments.figure(picture, size=(6.4, 5.4)) as axes:
        experiments.confusion(axes, counts, classes)
        axes.set(xlabel="taken for", ylabel="speaker" if args.train is None else "class")
        axes.set_title(f"{100 * accuracy:.1f} % right, {len(runs)} seeds", loc="left")
    references = {} if args.train or args.validate else PUBLISHED
    ours = {f"GRU({args.hidden}) in both directions, mean over time": "accuracy"}
    table = experiments.Table(f"accuracy on {scored}", ours, references)
    learnt = 100 * np.mean([run["training accuracy"] for run in runs])
    notes = [f"On the training set itself: {learnt:.1f} %."]
    experiments.report(
        args,
        runs,
        [table],
        shape="many to one",
        data=name,
        shows="who of nine men speaks",
        picture=picture,
        notes=notes,
    )


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
