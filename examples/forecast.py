"""The next value of a series: sunspots by year and airline passengers by month, beside
autoregression and persistence on the same split.

    python examples/forecast.py                      both series, about two minutes on two cores
    python examples/forecast.py --series mine.csv    a series of your own: the last column, one line
                                                     a time; its last third is the test
    python examples/forecast.py --validate           scored on the last part of the training years:
                                                     how the defaults were chosen

Each forecast is linear in the last values, begun as the least-squares autoregression, plus what a
GRU says: y = Dense(x) + GRU(x), x being the last values, made roughly symmetric (the root of
sunspots, the logarithm's differences of passengers). An ensemble is one vmap.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn as rnn
from jaxrnn import data, training
from support import experiments


def parser() -> argparse.ArgumentParser:
    made = experiments.parser(
        "forecast",
        __doc__,
        steps=200,
        seeds=5,
        batch=10,
        lr=3e-3,
        save_every=200,
        validate="the last fifth of what comes before it",
    )
    add, positive = made.add_argument, experiments.positive
    add(
        "--hidden",
        type=positive,
        default=16,
        help="of the GRU (default: %(default)s); --batch is the size of the ensemble",
    )
    add(
        "--noise",
        type=float,
        default=0.5,
        help="added to the inputs while training, in standard deviations (default: %(default)s)",
    )
    add(
        "--series",
        type=pathlib.Path,
        metavar="FILE",
        help="a series of your own, in place of the two",
    )
    add(
        "--lags",
        type=positive,
        default=12,
        help="how many last values a forecast of --series reads (default: %(default)s)",
    )
    add(
        "--transform",
        choices=("none", "sqrt", "log"),
        default="none",
        help="of --series; log takes differences (default: %(default)s)",
    )
    return made


class Skip(rnn.Composite):
    """y = Dense(x) + body(x)."""

    body: rnn.Layer

    @property
    def children(self) -> tuple[rnn.Layer, ...]:
        return rnn.Dense(1), self.body

    def compose(self, params: Any, x: Any, child: Callable[..., Any]) -> Any:
        return child(0, x) + child(1, x)


class Series(NamedTuple):
    """Values, what is known before the tests, and how errors are given."""

    name: str
    times: np.ndarray
    values: np.ndarray
    train: int  # how many of them
    tests: dict[str, slice]
    lags: int
    transform: str
    variance: float | None = None  # errors are mean squares over it, or root mean squares
    shown: int = 0  # the first of the picture

    def score(self, forecast: np.ndarray, test: slice) -> float:
        square = float(np.mean((forecast[..., test] - self.values[test]) ** 2))
        return square / self.variance if self.variance else square**0.5

    def shortened(self) -> Series:
        """The last fifth of what is known as the test, nothing after it."""
        first = self.train - self.train // 5
        part = {f"{self.times[first]} to {self.times[self.train - 1]}": slice(first, self.train)}
        return self._replace(
            times=self.times[: self.train],
            values=self.values[: self.train],
            train=first,
            tests=part,
        )

    def forward(self) -> tuple[np.ndarray, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
        """The series as the net sees it, as long as the values, and the way back from it and the
        value before."""
        v = self.values
        low = 1 if self.transform == "log" else 0
        z = (
            np.diff(np.log(v), prepend=np.log(v[0]))
            if low
            else np.sqrt(v)
            if self.transform == "sqrt"
            else v
        )
        mean, std = z[low : self.train].mean(), z[low : self.train].std()

        def back(made: np.ndarray, before: np.ndarray) -> np.ndarray:
            made = made * std + mean
            return (
                before * np.exp(made)
                if self.transform == "log"
                else np.maximum(made, 0) ** 2
                if self.transform == "sqrt"
                else made
            )

        return (z - mean) / std, back


def read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last column of a file, one line a time; a heading may stand above."""
    rows = [
        line.replace(";", ",").replace("\t", ",").split(",")
        for line in data.read_lines(path)
        if line.strip()
    ]
    values = []
    for i, row in enumerate(rows):
        try:
            values.append(float(row[-1]))
        except ValueError:
            if i:
                raise ValueError(
                    f"{path}: line {i + 1} ends with {row[-1].strip()!r}; "
                    "need a number at the end of every line below the heading."
                ) from None
    times = (
        [row[0].strip().strip('"') for row in rows[-len(values) :]]
        if values and len(rows[-1]) > 1
        else [str(i) for i in range(len(values))]
    )
    return np.asarray(times), np.asarray(values)


def load(args: argparse.Namespace) -> list[Series]:
    if args.series:
        times, values = read(args.series)
        train = len(values) - len(values) // 3
        lowest = {"none": -np.inf, "sqrt": 0.0, "log": np.nextafter(0, 1)}[args.transform]
        if (
            train < 3 * args.lags + 10
            or not np.isfinite(values).all()
            or values.min() < lowest
            or values[:train].std() == 0
        ):
            least = (3 * args.lags + 10) * 3 // 2 + 2
            raise ValueError(
                f"{args.series}: {len(values)} values will not do; "
                f"need at least {least} finite numbers, not all equal, "
                f"that the {args.transform} transform takes. "
                "Give more of them, or another --lags or --transform."
            )
        test = {f"{times[train]} to {times[-1]}": slice(train, len(values))}
        found = [Series(args.series.stem, times, values, train, test, args.lags, args.transform)]
    else:
        years, spots = read(
            experiments.package("statsmodels", "forecast")
            / "datasets"
            / "sunspots"
            / "sunspots.csv"
        )
        at = years.astype(int).tolist().index
        spans = {"1921-55": slice(at(1921), at(1956)), "1956-79": slice(at(1956), at(1980))}
        months, passengers = read(
            experiments.package("sktime", "forecast")
            / "datasets"
            / "data"
            / "Airline"
            / "Airline.csv"
        )
        train = int(0.67 * len(months))
        rest = {f"{months[train]} to {months[-1]}": slice(train, len(months))}
        found = [
            Series(
                "sunspots",
                years[: at(1980)],
                spots[: at(1980)],
                at(1921),
                spans,
                12,
                "sqrt",
                1535.0,
                at(1880),
            ),
            Series("airline", months, passengers, train, rest, 12, "log"),
        ]
    return [series.shortened() for series in found] if args.validate else found


def windows(z: np.ndarray, lags: int) -> np.ndarray:
    """The last values before each time, the newest first, `[T - lags, lags]`."""
    return np.stack([z[lags - i - 1 : len(z) - i - 1] for i in range(lags)], 1)


def least_squares(z: np.ndarray, train: int, lags: int) -> tuple[np.ndarray, float]:
    """The weights and the constant of an autoregression."""
    xs = windows(z[:train], lags)
    w = np.linalg.lstsq(np.c_[xs, np.ones(len(xs))], z[lags:train], rcond=None)[0]
    return w[:-1], w[-1]


def references(series: Series) -> dict[str, np.ndarray]:
    """Forecasts of every time by autoregression and by the value before, as the field fits them: of
    the values or their logarithms."""
    v, lags = series.values, series.lags + (series.transform == "log")
    z = np.log(v) if series.transform == "log" else v
    w, b = least_squares(z, series.train, lags)
    linear = np.r_[np.full(lags, np.nan), windows(z, lags) @ w + b]
    name = f"AR({lags}) of logarithms" if series.transform == "log" else f"AR({lags})"
    return {
        name: np.exp(linear) if series.transform == "log" else linear,
        "persistence": np.r_[np.nan, v[:-1]],
    }


def prepare(
    args: argparse.Namespace, series: Series
) -> Callable[[int, pathlib.Path], tuple[np.ndarray, np.ndarray]]:
    """`forecasts(seed, folder)`, compiled once for all seeds."""
    z, back = series.forward()
    first = series.lags + (series.transform == "log")  # the first time that has all its last values
    xs, targets = (
        jnp.asarray(windows(z, series.lags)[first - series.lags :], jnp.float32),
        jnp.asarray(z[first:], jnp.float32),
    )
    known = series.train - first
    net = Skip(rnn.Stack((rnn.GRU(args.hidden), rnn.Dropout(0.2), rnn.Dense(1))))
    w, b = least_squares(z[first - series.lags :], series.train - first + series.lags, series.lags)

    def begin(key: jax.Array) -> Any:
        _, (cell, drop, head) = net.init(key, rnn.features(series.lags))
        linear = {"w": jnp.asarray(w[:, None], jnp.float32), "b": jnp.asarray([b], jnp.float32)}
        return linear, (cell, drop, head | {"w": 0.1 * head["w"]})

    def member(params: Any, key: jax.Array, batch: data.Batch) -> jax.Array:
        keys = jax.random.split(key)
        seen = batch.xs + args.noise * jax.random.normal(keys[0], batch.xs.shape, jnp.float32)
        return jnp.square(
            rnn.unroll(net, params, seen, key=keys[1])[1][:, 0] - batch.targets
        ).mean()

    def objective(params: Any, batch: data.Batch, key: jax.Array) -> training.MaskedMean:
        return training.MaskedMean.over(
            jax.vmap(member, (0, 0, None))(params, jax.random.split(key, args.batch), batch)
        )

    # Adam does not mind that the mean over members makes each one's gradient small, so no member is
    # clipped by the others.
    tx = training.optimizer(
        optax.adamw(training.warmup_cosine(args.lr, args.steps), weight_decay=1e-2), clip=None
    )
    step, whole = training.make_step(objective, tx), data.Batch(xs[:known], targets[:known])

    @jax.jit
    @jax.vmap
    def one_step(params: Any) -> jax.Array:
        return rnn.unroll(net, params, xs)[1][:, 0]

    @jax.jit
    @jax.vmap
    def free(params: Any) -> jax.Array:
        carry, _ = rnn.unroll(net, params, xs[:known])

        def on(carry: Any, _: Any) -> Any:
            state, x = carry
            state, y = rnn.advance(net, params, state, x)
            return (state, jnp.concatenate([y, x[:-1]])), y[0]

        return jax.lax.scan(on, (carry, xs[known]), length=len(xs) - known)[1]

    def forecasts(seed: int, folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
        """Of every member of an ensemble: the next value at every time `[M, T]`, and the tests'
        values from the training values alone."""
        keys = jax.random.split(jax.random.key(seed), args.batch + 1)
        state = training.TrainState.create(None, jax.vmap(begin)(keys[1:]), tx, keys[0])
        where: Any = {"directory": folder / series.name, **experiments.often(args)}
        state, _ = experiments.trained(
            training.fit(step, state, lambda step: whole, args.steps, **where)
        )
        following = back(
            np.asarray(one_step(state.params), np.float64), series.values[first - 1 : -1]
        )
        alone = np.asarray(free(state.params), np.float64)
        if series.transform == "log":
            alone = series.values[series.train - 1] * np.cumprod(back(alone, np.ones(1)), axis=1)
        else:
            alone = back(alone, np.zeros(1))
        return np.pad(following, ((0, 0), (first, 0)), constant_values=np.nan), alone

    return forecasts


def work(args: argparse.Namespace) -> None:
    found = load(args)
    nets = [prepare(args, series) for series in found]

    def one(seed: int, folder: pathlib.Path) -> dict[str, float]:
        result, arrays = {}, {}
        for series, forecasts in zip(found, nets, strict=True):
            each, alone = forecasts(seed, folder)
            for label, test in series.tests.items():
                result[f"{series.name} {label}, ensemble"] = series.score(each.mean(0), test)
                result[f"{series.name} {label}, one net"] = float(
                    np.mean([series.score(one, test) for one in each])
                )
            arrays |= {f"{series.name} next": each, f"{series.name} alone": alone}
        np.savez(folder / "forecasts.npz", **arrays)
        return result

    runs = experiments.seeds(args, one, values=[len(series.values) for series in found])
    picture = args.out / "forecast.png"
    draw(picture, found, np.load(args.out / f"seed{args.seed}" / "forecasts.npz"))
    tables = []
    for series in found:
        others = references(series)
        for label, test in series.tests.items():
            scores = {name: series.score(values, test) for name, values in others.items()}
            ours = {
                f"GRU over AR, ensemble of {args.batch}": "ensemble",
                "GRU over AR, a single net": "one net",
            }
            names = {shown: f"{series.name} {label}, {key}" for shown, key in ours.items()}
            unit, digits = (
                (f"mean square / {series.variance:g}", 3)
                if series.variance
                else ("root mean square", 2)
            )
            tables.append(
                experiments.Table(
                    f"error of the next value, {series.name} {label}", names, scores, unit, digits
                )
            )
    experiments.report(
        args,
        runs,
        tables,
        shape="next value",
        data=args.series.name if args.series else "sunspots (statsmodels), airline (sktime)",
        picture=picture,
        shows="forecasts beside autoregression and persistence",
    )


def draw(path: pathlib.Path, found: list[Series], arrays: Any) -> None:
    """Truth and forecasts, the test times shaded."""
    with experiments.figure(
        path, len(found), 1, (9, 3.6 * len(found)) if len(found) > 1 else (9, 4.5)
    ) as axes:
        for one, series in zip(np.ravel(axes), found, strict=True):
            t, each = np.arange(len(series.values)), arrays[f"{series.name} next"]
            shown = slice(max(series.shown, series.lags + 1), None)
            for i, (label, test) in enumerate(series.tests.items()):
                one.axvspan(
                    test.start - 0.5, test.stop - 0.5, color="#fdd0a2", alpha=0.5 - 0.25 * i, lw=0
                )
                one.text(
                    test.start,
                    1.0,
                    f" {label}",
                    transform=one.get_xaxis_transform(),
                    va="top",
                    fontsize=8,
                    color="#7f2704",
                )
            one.fill_between(
                t[shown],
                each.min(0)[shown],
                each.max(0)[shown],
                color="#6baed6",
                alpha=0.4,
                lw=0,
                label="the nets of the ensemble",
            )
            one.plot(
                t[shown],
                each.mean(0)[shown],
                color="#08519c",
                lw=1.4,
                label="forecast of the next value",
            )
            alone = arrays[f"{series.name} alone"]
            far = slice(
                series.train, series.train + (35 if series.shown else None or len(alone[0]))
            )
            one.plot(
                t[far],
                alone.mean(0)[: len(t[far])],
                color="#238b45",
                lw=1.4,
                ls=(0, (4, 2)),
                label="from the training years alone",
            )
            one.plot(
                t[shown],
                series.values[shown],
                color="black",
                lw=0,
                marker="o",
                ms=2.4,
                label="truth",
            )
            ticks = np.linspace(t[shown][0], t[-1], 8).astype(int)
            one.set_xticks(ticks, series.times[ticks])
            one.set_title(series.name, loc="left")
            one.margins(x=0.01)
        np.ravel(axes)[0].legend(
            frameon=False, ncols=4, fontsize=8, loc="lower left", bbox_to_anchor=(0.12, 1.0)
        )


def main(argv: list[str] | None = None) -> None:
    experiments.run(parser(), work, argv)


if __name__ == "__main__":
    main()
