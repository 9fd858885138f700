"""The gradient on its way back through time: how it vanishes and explodes, and what each cure does.

    python examples/vanishing.py                           three pictures in one, about 4 minutes
    python examples/vanishing.py --back 300 --lags 8 16    a shorter way back, shorter tasks

Above: the norm of the gradient of the last step's loss in the state of every step before it, over
1,000 steps, for nets as they begin. A simple recurrent net with small recurrent weights forgets,
with large ones it explodes, and between the two lies a narrow edge; gates, an identity, a ring of
eigenvalues near 1 and an antisymmetric matrix are ways to stay on it.

Below, left: the wall (Pascanu, Mikolov & Bengio 2013, figure 6). The loss of one unit run for 50
steps, over its weight and its bias, and one step of gradient descent from its edge, as it is and
clipped.

Below, right: how long a sequence each net learns within the same number of updates, on adding two
marked numbers and on copying two symbols. Where a cure is a matter of training (clipping, a penalty
that keeps the gradient's norm, truncation) it stands beside the same net without it.

Interrupted, the same command goes on with the net where it was.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

import jaxrnn as rnn
from jaxrnn import diagnostics, tasks, training
from support import experiments

SYMBOLS, CATEGORIES = 2, 4  # of the copy task
INPUTS = 2 + CATEGORIES + 2  # a number and its mark; a symbol, a blank or the marker
SOLVED = 0.2  # of the loss without memory
AT_ONCE = 50  # updates between two looks at the progress bar


class Net(NamedTuple):
    """A net of the pictures: its layers before the readout, and how it is trained."""

    body: rnn.Layer
    rate: float
    clip: float | None = 1.0
    cure: str | None = None  # what its objective has beside the loss


def elman(hidden: int, radius: float) -> rnn.Elman:
    return rnn.Elman(hidden, w_h_init=rnn.initializers.SpectralRadius(radius))


def followed(hidden: int) -> dict[str, rnn.Layer]:
    """The cells whose gradient is followed back."""
    return {
        "Elman, small W": elman(hidden, 0.8),
        "Elman, critical W": elman(hidden, 1.0),
        "Elman, large W": elman(hidden, 1.5),
        "IRNN": rnn.Elman(hidden, activation="relu", identity=True),
        "LSTM, forget bias 0": rnn.LSTM(hidden, forget_bias=0.0),
        "LSTM, forget bias 1": rnn.LSTM(hidden, forget_bias=1.0),
        "GRU": rnn.GRU(hidden),
        "echo state": rnn.EchoState(hidden, spectral_radius=0.9, input_scale=0.1),
        "LRU": rnn.LRU(hidden, r_min=0.9, r_max=0.999),
        "antisymmetric": rnn.AntisymmetricRNN(hidden, eps=0.1),
    }


def trained_nets(hidden: int) -> dict[str, Net]:
    """The nets that the tasks are given to."""
    plain = rnn.Elman(hidden)
    # The identity with input weights of a usual size: with small ones it learns more slowly.
    identity = rnn.Elman(hidden, activation="relu", w_h_init=rnn.initializers.Identity())
    through = rnn.Dense(hidden, "relu")  # a linear cell cannot let the marked numbers through
    ring = rnn.LRU(hidden, r_min=0.9, r_max=0.999)
    return {
        "Elman": Net(plain, 1e-2, None),
        "Elman, clipped": Net(plain, 1e-2),
        "Elman, clipped, penalty": Net(plain, 1e-2, cure="penalty"),
        "Elman, clipped, truncated at 16": Net(plain, 1e-2, cure="truncation"),
        "IRNN": Net(identity, 2e-3),
        "LSTM, forget bias 0": Net(rnn.LSTM(hidden, forget_bias=0.0), 1e-2),
        "LSTM, forget bias 1": Net(rnn.LSTM(hidden), 1e-2),
        "GRU": Net(rnn.GRU(hidden), 1e-2),
        "echo state, readout alone": Net(rnn.EchoState(4 * hidden), 1e-2),
        "LRU": Net(rnn.Stack((through, ring)), 1e-2),
        "antisymmetric": Net(rnn.AntisymmetricRNN(hidden, eps=0.1), 1e-2),
    }


def parser() -> argparse.ArgumentParser:
    made = experiments.parser("vanishing", __doc__, steps=600, batch=16, lr=1.0)
    add = made.add_argument
    add(
        "--lr", type=float, default=1.0, help="a factor for every net's rate (default: %(default)s)"
    )
    add("--hidden", type=experiments.positive, default=32, help="units (default: %(default)s)")
    add(
        "--back",
        type=experiments.positive,
        default=1000,
        help="steps that the gradient is followed back (default: %(default)s)",
    )
    add(
        "--lags",
        nargs="+",
        type=experiments.positive,
        default=[8, 16, 32, 64, 128],
        metavar="T",
        help=f"lengths of the tasks, above {2 * SYMBOLS} (default: %(default)s)",
    )
    return made


def curve(cell: rnn.Layer, steps: int, seed: int, batch: int = 8) -> list[float]:
    """The norm of the gradient in the state, of all its parts together, by how many steps back it
    lies: its mean over rows, as a share of that at the last step.
    """
    keys = jax.random.split(jax.random.key(seed), 3)
    params = cell.init(keys[0], rnn.features(1))
    xs = 0.1 * jax.random.normal(keys[1], (steps + 1, batch, 1))
    width = rnn.unroll(cell, params, xs[:1])[1].shape[-1]
    towards = jax.random.normal(keys[2], (width,))

    def loss(ys: jax.Array) -> jax.Array:
        return ys @ towards

    norms = diagnostics.gradient_norms(cell, params, xs, loss, at=-1)
    whole = jnp.sqrt(sum(jnp.square(part) for part in jax.tree.leaves(norms)))
    means = np.asarray(whole, np.float64).mean(-1)[::-1]
    return [float(f"{share:.4g}") for share in means / means[0]]


class Wall(NamedTuple):
    """The loss of one unit over its weight and bias, where a step begins, and where it leads."""

    weights: list[float]
    biases: list[float]
    losses: list[list[float]]
    start: list[float]
    gradient: list[float]


def wall(steps: int = 50, points: int = 160) -> Wall:
    """`h' = sigmoid(w h + b)` from sigmoid(0.5), and the loss (h_T - 0.7)^2: nothing but an
    `Elman(1)` without inputs.
    """
    cell = rnn.Elman(1, activation="sigmoid")
    first = jnp.full((1,), jax.nn.sigmoid(0.5))

    def loss(place: jax.Array) -> jax.Array:
        w, b = place
        params = {"w_x": jnp.zeros((1, 1)), "w_h": w[None, None], "b": b[None]}
        _, ys = rnn.unroll(cell, params, jnp.zeros((steps, 1)), state=first)
        return jnp.square(ys[-1, 0] - 0.7)

    weights, biases = jnp.linspace(3.5, 7.5, points), jnp.linspace(-4.0, -1.0, points)
    grid = jnp.stack(jnp.meshgrid(weights, biases), axis=-1).reshape(-1, 2)
    losses, gradients = jax.jit(jax.vmap(jax.value_and_grad(loss)))(grid)
    steepest = int(jnp.argmax(jnp.linalg.norm(gradients, axis=-1)))
    return Wall(
        weights.tolist(),
        biases.tolist(),
        losses.reshape(points, points).tolist(),
        grid[steepest].tolist(),
        gradients[steepest].tolist(),
    )


def batches(lags: list[int], rows: int, key: jax.Array) -> tuple[jax.Array, ...]:
    """Both tasks at every length, padded to the longest: `[2 L, T, B, ...]` inputs, masks, answers
    and where they count; adding first.
    """
    longest = max(lags)

    def padded(a: jax.Array) -> jax.Array:
        return jnp.pad(a, [(0, longest - a.shape[0])] + [(0, 0)] * (a.ndim - 1))

    made = []
    for n, length in enumerate(lags):
        found = tasks.adding(jax.random.fold_in(key, n), length, rows)
        xs = jnp.pad(found.xs, [(0, 0), (0, 0), (0, INPUTS - 2)])
        made.append((xs, found.targets.values[..., 0], found.targets.where))
    for n, length in enumerate(lags):
        lag = length - 2 * SYMBOLS
        found = tasks.copy(jax.random.fold_in(key, 100 + n), lag, rows, SYMBOLS, CATEGORIES)
        xs = jnp.pad(jax.nn.one_hot(found.xs, CATEGORIES + 2), [(0, 0), (0, 0), (2, 0)])
        values = found.targets.values
        made.append((xs, values.astype(jnp.float32), values < CATEGORIES))
    mask = [jnp.ones((length, rows), bool) for length in lags + lags]
    columns = [*zip(*made, strict=True), mask]
    xs, values, where, mask = (jnp.stack([padded(a) for a in column]) for column in columns)
    return xs, mask, values, where


def answered(out: jax.Array, targets: Any, mask: Any) -> training.MaskedMean:
    """The loss where an answer is due, as a share of the loss without memory: a square error over
    1/6, or a cross entropy over log K.
    """
    copying, values, where = targets
    added = 6 * jnp.square(out[..., 0] - values)
    symbols = jnp.clip(values.astype(jnp.int32), 0, CATEGORIES - 1)
    said = optax.softmax_cross_entropy_with_integer_labels(out[..., 1:], symbols)
    said = said / np.log(CATEGORIES).astype(np.float32)
    return training.MaskedMean.over(jnp.where(copying, said, added), where)


def objective(
    net: rnn.Layer, cure: str | None, params: Any, batch: training.Batch
) -> tuple[jax.Array, jax.Array]:
    """What is minimised, and the loss in it."""
    if cure == "truncation":
        _, found = training.truncated(net, answered, params, batch, k2=16, k1=8)
        return found.mean, found.mean

    def loss(ys: jax.Array) -> training.MaskedMean:
        return answered(ys, batch.targets, batch.mask)

    if cure == "penalty":
        found, penalty = training.vanishing_penalty(net, params, batch.xs, loss, mask=batch.mask)
        return found.mean + penalty.mean, found.mean
    found = loss(rnn.unroll(net, params, batch.xs, mask=batch.mask)[1])
    return found.mean, found.mean


def learn(name: str, net: Net, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The share of the loss without memory that is left, task by task and length by length: of the
    last fifth of training, whose batches are all fresh.
    """
    whole = rnn.Stack((net.body, rnn.Dense(1 + CATEGORIES)))
    tx = training.optimizer(optax.adam(net.rate * args.lr), clip=net.clip)
    count = len(args.lags)
    copying = jnp.arange(2 * count) >= count
    begin, draws = jax.random.split(jax.random.key(seed))
    params = jax.vmap(lambda key: whole.init(key, rnn.features(INPUTS)))(
        jax.random.split(begin, 2 * count)
    )

    def member(params: Any, opt: Any, copying: jax.Array, *columns: jax.Array) -> Any:
        xs, mask, values, where = columns
        copying = jnp.broadcast_to(copying, mask.shape)
        batch = training.Batch(xs, (copying, values, where), mask)
        run = functools.partial(objective, whole, net.cure)
        (_, loss), gradient = jax.value_and_grad(run, has_aux=True)(params, batch)
        updates, opt = tx.update(gradient, opt, params)
        return optax.apply_updates(params, updates), opt, loss

    @jax.jit
    def some(carry: Any, keys: jax.Array) -> Any:
        def update(carry: Any, key: jax.Array) -> Any:
            params, opt, loss = jax.vmap(member)(
                *carry, copying, *batches(args.lags, args.batch, key)
            )
            return (params, opt), loss

        return jax.lax.scan(update, carry, keys)

    carry, losses = (params, jax.vmap(tx.init)(params)), []
    keys = jax.random.split(draws, args.steps)
    for begin in tqdm(range(0, args.steps, AT_ONCE), desc=f"{name:32s}"):
        carry, found = some(carry, keys[begin : begin + AT_ONCE])
        losses.append(np.asarray(found))
    left = np.concatenate(losses)[-max(args.steps // 5, 1) :].mean(0)
    left = np.where(np.isfinite(left), left, np.inf)
    return {"adding": left[:count].tolist(), "copying": left[count:].tolist()}


def longest(lags: list[int], left: list[float]) -> int:
    """The longest sequence that was learnt; 0 for none."""
    return max(
        (length for length, share in zip(lags, left, strict=True) if share < SOLVED), default=0
    )


def one(args: argparse.Namespace, seed: int, folder: pathlib.Path) -> dict[str, Any]:
    """Everything from one seed. Each net's results are kept as soon as they are there."""

    def kept(name: str, make: Callable[[], Any]) -> Any:
        path = folder / f"{name.replace(' ', '_')}.json"
        if not path.exists():
            experiments.write_json(path, make())
        return experiments.read_json(path)

    curves = {}
    cells = followed(2 * args.hidden)
    for name in tqdm(cells, desc="gradients back"):
        make = functools.partial(curve, cells[name], args.back, seed)
        curves[name] = kept(f"gradient of {name}", make)
    learnt = {
        name: kept(f"tasks of {name}", functools.partial(learn, name, net, args, seed))
        for name, net in trained_nets(args.hidden).items()
    }
    back = min(100, args.back)
    return {
        "curves": curves,
        "learnt": learnt,
        **{f"{name} back": np.log10(max(curves[name][back], 1e-300)) for name in curves},
        **{
            f"{name} {task}": longest(args.lags, left)
            for name, found in learnt.items()
            for task, left in found.items()
        },
    }


def work(args: argparse.Namespace) -> None:
    if min(args.lags) <= 2 * SYMBOLS:
        raise ValueError(
            f"got --lags {min(args.lags)}; need more than {2 * SYMBOLS} steps, "
            "since the symbols are said twice. Leave the short one out."
        )
    args.lags = sorted(set(args.lags))
    runs = experiments.seeds(args, functools.partial(one, args))
    picture = args.out / "vanishing.png"
    draw(picture, args, runs)
    nets, back = trained_nets(args.hidden), min(100, args.back)
    table = [
        experiments.Table(
            f"longest sequence learnt in {args.steps} updates, {task}",
            {name: f"{name} {task}" for name in nets},
            unit="steps",
            digits=0,
        )
        for task in ("copying", "adding")
    ]
    norms = experiments.Table(
        f"the gradient's norm {back} steps back, as a power of ten of that at the last step",
        {name: f"{name} back" for name in followed(1)},
        unit="",
        digits=1,
    )
    experiments.report(
        args,
        runs,
        [*table, norms],
        shape="any",
        data="noise; adding and copying",
        shows="the gradient through time: how it vanishes and explodes, and the cures side by side",
        picture=picture,
        notes=[
            f"Learnt means a loss below {SOLVED} of that without memory. "
            "Every net has the same number of updates and of units, "
            "but the echo state, which has four times as many and trains its readout alone. "
            "Rates are one choice a net, and IRNN's of four settings that were tried."
        ],
    )


def draw(path: pathlib.Path, args: argparse.Namespace, runs: list[dict[str, Any]]) -> None:
    with experiments.figure(path, 2, 2, size=(11, 8.6)) as axes:
        grid = axes[0, 0].get_gridspec()
        drawn = grid.figure
        for a in axes[0]:
            a.remove()
        draw_curves(drawn.add_subplot(grid[0, :]), args, runs)
        draw_wall(axes[1, 0], wall())
        draw_learnt(axes[1, 1], args, runs)


def draw_curves(axes: Any, args: argparse.Namespace, runs: list[dict[str, Any]]) -> None:
    low, high = 1e-12, 1e12
    for n, name in enumerate(followed(1)):
        logs = np.log(np.maximum([run["curves"][name] for run in runs], 1e-300))
        norms = np.exp(logs.mean(0))
        norms = np.where((norms > low) & (norms < high), norms, np.nan)
        style = ["-", "--", ":"][n % 3]
        axes.plot(np.arange(len(norms)), norms, style, lw=2, color=f"C{n}", label=name)
    axes.set(
        yscale="log",
        xlim=(0, args.back),
        ylim=(low, high),
        xlabel="steps back from the loss",
        ylabel="norm of the gradient in the state\n(share of that at the loss)",
        title="How the gradient fares on its way back through time, in nets as they begin",
    )
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def draw_wall(axes: Any, seen: Wall) -> None:
    losses = np.array(seen.losses)
    shown = axes.pcolormesh(
        seen.weights, seen.biases, losses, cmap="viridis", shading="auto", rasterized=True
    )
    axes.figure.colorbar(shown, ax=axes, label="loss after 50 steps")
    start, gradient = np.array(seen.start), np.array(seen.gradient)
    size = float(np.linalg.norm(gradient))
    rate = 0.4  # of both steps
    far, near = start - rate * gradient, start - rate * gradient / size
    label = f"a step as it is, norm {size:.0f}"
    axes.plot(*zip(start, far, strict=True), color="#ff5c5c", lw=2.2, label=label)
    arrow = {"arrowstyle": "-|>", "color": "white", "lw": 2.2}
    axes.annotate("", xy=near, xytext=start, arrowprops=arrow)
    axes.plot([], [], color="white", lw=2.2, label="clipped to norm 1")
    axes.plot(*start, "o", color="white", ms=5)
    axes.set(
        xlim=(seen.weights[0], seen.weights[-1]),
        ylim=(seen.biases[0], seen.biases[-1]),
        xlabel="weight",
        ylabel="bias",
        title="The wall, and one step from its edge",
    )
    axes.legend(loc="lower left", fontsize=8, facecolor="#404040", labelcolor="white")
    axes.grid(False)


def draw_learnt(axes: Any, args: argparse.Namespace, runs: list[dict[str, Any]]) -> None:
    names = list(trained_nets(1))
    places = {0: 0.0} | {length: n + 1.0 for n, length in enumerate(args.lags)}
    for shift, task, colour in ((-0.2, "copying", "#4292c6"), (0.2, "adding", "#f16913")):
        found = [np.mean([places[run[f"{name} {task}"]] for run in runs]) for name in names]
        axes.barh(np.arange(len(names)) + shift, found, 0.38, color=colour, label=task)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(list(places.values()), ["none", *map(str, args.lags)])
    axes.invert_yaxis()
    axes.set(xlabel="longest sequence learnt", title=f"What {args.steps} updates teach")
    axes.legend(frameon=False, loc="upper right")


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
