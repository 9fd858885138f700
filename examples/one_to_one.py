"""One to one: over a single step a recurrent net is a feed-forward net, shown equal on the digits
that scikit-learn carries.

    python examples/one_to_one.py               first half of 1,797 digits to learn from, second
                                                half to read, under a minute
    python examples/one_to_one.py --validate    scored on the last fifth of the training half
                                                instead: how the defaults were chosen

An Elman net over T=1 begins from a state of zeros, so h = tanh(x @ w_x + 0 @ w_h + b) is a dense
layer, and no gradient reaches w_h. Both nets are given the same weights: their values, their
gradients and their whole training are the same, to rounding.
"""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as rnn
from jaxrnn import data, training
from support import digits, experiments


def parser() -> argparse.ArgumentParser:
    made = experiments.parser(
        "one_to_one",
        __doc__,
        steps=1500,
        seeds=5,
        batch=32,
        lr=3e-3,
        save_every=750,
        validate="the last fifth of the training half",
    )
    made.add_argument(
        "--hidden", type=experiments.positive, default=128, help="(default: %(default)s)"
    )
    made.add_argument(
        "--noise",
        type=float,
        default=0.2,
        help="dropout of the pixels and of the hidden layer while training (default: %(default)s)",
    )
    made.add_argument(
        "--digits",
        type=pathlib.Path,
        metavar="FILE",
        help="a csv.gz of your own: 64 brightnesses from 0 to 16 and a digit a line",
    )
    return made


def nets(args: argparse.Namespace) -> dict[str, rnn.Stack]:
    """The same net twice, once recurrent, and logistic regression."""
    hidden = {"recurrent": rnn.Elman(args.hidden), "feed-forward": rnn.Dense(args.hidden, "tanh")}
    made = {
        name: rnn.Stack((rnn.Dropout(args.noise), cell, rnn.Dropout(args.noise), rnn.Dense(10)))
        for name, cell in hidden.items()
    }
    return made | {"logistic regression": rnn.Stack((rnn.Dense(10),))}


def feedforward(params: Any) -> Any:
    """The recurrent net's weights, as the feed-forward net names them."""
    drop, cell, again, head = params
    return drop, {"w": cell["w_x"], "b": cell["b"]}, again, head


def apart(a: Any, b: Any) -> float:
    """The largest difference between two pytrees' entries, in billionths."""
    return 1e9 * float(
        max(
            np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64)).max()
            for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)
        )
    )


def centroid(train: tuple[np.ndarray, np.ndarray], held: tuple[np.ndarray, np.ndarray]) -> float:
    """The accuracy of naming the class whose mean picture is nearest."""
    kinds = np.unique(train[1])
    means = np.stack([train[0][0, train[1][0] == kind].mean(0) for kind in kinds])
    return float(
        (kinds[((held[0][0][:, None] - means) ** 2).sum(-1).argmin(1)] == held[1][0]).mean()
    )


def compare(
    args: argparse.Namespace, params: Any, train: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """How far the two nets are apart with the same weights: outputs, gradients, and the gradient
    that reaches w_h."""
    made, found = nets(args), {}
    for name, p in (("recurrent", params), ("feed-forward", feedforward(params))):

        def loss(p: Any, net: rnn.Layer = made[name]) -> tuple[jax.Array, jax.Array]:
            logits = rnn.unroll(net, p, jnp.asarray(train[0]))[1]
            return training.cross_entropy(logits, jnp.asarray(train[1])).mean, logits

        found[name] = jax.jit(jax.grad(loss, has_aux=True))(p)
    (ours, outputs), (theirs, others) = found.values()
    return {
        "outputs": apart(outputs, others),
        "gradients": apart(feedforward(ours), theirs),
        "w_h": apart(ours[1]["w_h"], 0 * ours[1]["w_h"]),
    }


def work(args: argparse.Namespace) -> None:
    halves = digits.digit_halves(
        args.digits or experiments.package("sklearn", "digits"), args.validate
    )
    train, held = ((pixels, labels[None]) for pixels, labels in halves)

    def one(seed: int, folder: pathlib.Path) -> dict[str, Any]:
        source = data.Buckets(
            tuple(list(np.swapaxes(column, 0, 1)) for column in train), args.batch, 1, seed
        )

        def batches(step: int) -> data.Batch:
            batch = source(step)
            return data.Batch(batch.columns[0], batch.columns[1], batch.masks[0])

        keys = jax.random.split(jax.random.key(seed), 3)
        made, result = nets(args), {}
        first = made["recurrent"].init(keys[0], rnn.features(64))
        begin = {"recurrent": first, "feed-forward": feedforward(first)}
        begin["logistic regression"] = made["logistic regression"].init(keys[1], rnn.features(64))
        ends, curves, arrays = {}, {}, {}
        for name, net in made.items():

            @jax.jit
            def predict(params: Any, net: rnn.Layer = net) -> jax.Array:
                return rnn.unroll(net, params, jnp.asarray(held[0]))[1].argmax(-1)

            tx = training.optimizer(training.warmup_cosine(args.lr, args.steps))
            state = training.TrainState.create(net, begin[name], tx, keys[2])
            step = training.bptt_step(net, training.cross_entropy, tx)
            where: Any = {"directory": folder / name.replace(" ", "_"), **experiments.often(args)}
            state, history = experiments.trained(
                training.fit(step, state, batches, args.steps, **where)
            )
            said = np.asarray(predict(state.params))[0]
            result[name] = float((said == held[1][0]).mean())
            ends[name], curves[name] = state.params, history.metrics["loss"]
            arrays |= {f"{name} said": said, f"{name} loss": curves[name]}
        pair = ("recurrent", "feed-forward")
        np.savez(folder / "seen.npz", **arrays)
        result |= compare(args, first, train) | {
            "training": apart(*(curves[name] for name in pair))
        }
        return result | {"weights": apart(feedforward(ends["recurrent"]), ends["feed-forward"])}

    runs = experiments.seeds(args, one, sizes=[int(train[1].size), int(held[1].size)])
    picture = args.out / "one_to_one.png"
    draw(picture, np.load(args.out / f"seed{args.seed}" / "seen.npz"), runs[0]["training"], held)
    references = {"nearest class mean": centroid(train, held)}
    if not (args.validate or args.digits):
        references["support vector machine, published for this split"] = 0.97
    part = "the last fifth of the training half" if args.validate else "the test half"
    tables = [
        experiments.Table(
            f"digits right, of {held[1].size} in {part}",
            {name: name for name in nets(args)},
            references,
        ),
        experiments.Table(
            "largest difference between the recurrent and the feed-forward net",
            {
                "outputs, same weights": "outputs",
                "gradients, same weights": "gradients",
                "losses over all of training": "training",
                "weights after it": "weights",
                "gradient that reaches w_h": "w_h",
            },
            {},
            "1e-9",
            1,
        ),
    ]
    experiments.report(
        args,
        runs,
        tables,
        shape="one to one",
        data="digits (scikit-learn)",
        picture=picture,
        shows="over one step a recurrent net is a feed-forward net",
        notes=["Published: scikit-learn's example of recognising hand-written digits."],
    )


def draw(path: pathlib.Path, seen: Any, most: float, held: tuple[np.ndarray, np.ndarray]) -> None:
    """The two training curves, one over the other, and the digits that were not read."""
    with experiments.figure(path, 1, 2, (10, 4.2)) as (left, right):
        every = max(1, len(seen["recurrent loss"]) // 300)
        times = np.arange(len(seen["recurrent loss"]))[::every]
        left.plot(
            times, seen["recurrent loss"][::every], color="#9ecae1", lw=5, label="Elman, one step"
        )
        left.plot(
            times,
            seen["feed-forward loss"][::every],
            color="#08519c",
            lw=1,
            ls="--",
            label="dense, the same weights",
        )
        left.set(yscale="log", xlabel="step", ylabel="training loss (nats)")
        apart = (
            f"never further apart than {1e-9 * most:.0e}" if most else "the same to the last bit"
        )
        left.set_title(f"Training: {apart}", loc="left")
        left.legend(frameon=False)
        said, truth = seen["recurrent said"], held[1][0]
        wrong = np.flatnonzero(said != truth)
        columns, canvas = 8, np.zeros((5 * 11, 8 * 10))
        for i, index in enumerate(wrong[:40]):
            row, column = divmod(i, columns)
            canvas[row * 11 + 2 : row * 11 + 10, column * 10 + 1 : column * 10 + 9] = held[0][
                0, index
            ].reshape(8, 8)
            right.text(
                column * 10 + 5,
                row * 11 + 0.6,
                f"{truth[index]} read {said[index]}",
                ha="center",
                va="center",
                fontsize=6.5,
                color="#d94801",
            )
        right.imshow(canvas, cmap="Greys", interpolation="nearest")
        right.set_title(f"Not read right: {len(wrong)} of {truth.size}", loc="left")
        right.axis("off")


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
