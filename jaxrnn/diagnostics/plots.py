"""Pictures of what the diagnostics found: each function returns its matplotlib figure.

The figures belong to no window: `figure.savefig("name.png")` writes one.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxrnn import errors
from jaxrnn.diagnostics.drawing import geometric, named, new_figure, positive, three_colours
from jaxrnn.diagnostics.finite import NonFinite
from jaxrnn.diagnostics.fixed_points import FixedPoints
from jaxrnn.diagnostics.saturation import Saturation


def plot_gradient_norms(norms: Any) -> Any:
    """The norms of `gradient_norms` against time, on a log scale: a line for each part of each
    layer's state, the geometric mean over rows, in a band from the least to the largest.

    Returns:
      The matplotlib figure.

    Raises:
      ModuleNotFoundError: without matplotlib (the extra `examples`).
      TypeError, ValueError: for what that function does not return.

    Example:
      >>> figure = plot_gradient_norms({"h": jnp.ones((5, 2)), "c": jnp.ones((5, 2))})
    """
    figure, [[axes]] = new_figure(1, 1, (7, 4))
    for name, a in named("plot_gradient_norms", norms, 1):
        rows = a.reshape(len(a), -1)
        times = np.arange(len(a))
        [line] = axes.plot(times, geometric(rows), label=name)
        if rows.shape[1] > 1:
            ends = positive(rows.min(axis=1)), positive(rows.max(axis=1))
            axes.fill_between(times, *ends, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="step t", ylabel="norm of dL/ds at t", yscale="log")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def plot_gradient_matrix(matrix: Any) -> Any:
    """The matrices of `gradient_matrix`, the logarithm of the geometric mean over rows: a picture
    for each part of each layer's state, and white where nothing comes through.

    Returns:
      The matplotlib figure.

    Raises:
      ModuleNotFoundError: without matplotlib (the extra `examples`).
      TypeError, ValueError: for what that function does not return.

    Example:
      >>> figure = plot_gradient_matrix(jnp.ones((5, 5, 2)))
    """
    found = list(named("plot_gradient_matrix", matrix, 2))
    figure, [panels] = new_figure(1, len(found), (4.6 * len(found), 4))
    pictures = [np.log10(geometric(a.reshape(*a.shape[:2], -1))) for _, a in found]
    low = min((p[np.isfinite(p)].min(initial=np.inf) for p in pictures), default=-1)
    high = max((p[np.isfinite(p)].max(initial=-np.inf) for p in pictures), default=0)
    for axes, (name, _), picture in zip(panels, found, pictures, strict=True):
        limits = (low, high) if low < high else (None, None)
        shown = axes.imshow(picture, origin="lower", vmin=limits[0], vmax=limits[1])
        axes.set(xlabel="step of the state", ylabel="step of the loss", title=name)
        figure.colorbar(shown, ax=axes, shrink=0.8, label="log10 of the gradient's norm")
    return figure


def plot_singular_values(values: Any) -> Any:
    """Singular values by rank, on a log scale, with a line at 1: one set `[..., k]`, or a dict of
    sets by their names (lags, say). The points are the geometric mean over rows.

    Returns:
      The matplotlib figure.

    Raises:
      ModuleNotFoundError: without matplotlib (the extra `examples`).
      TypeError, ValueError: for what that function does not return.

    Example:
      >>> figure = plot_singular_values({"lag 1": jnp.ones(3), "lag 10": 0.1 * jnp.ones(3)})
    """
    return _by_rank("plot_singular_values", values, "singular value", 1, "log")


def plot_lyapunov_exponents(exponents: Any) -> Any:
    """Lyapunov exponents by rank, with a line at 0: one set `[..., k]`, or a dict of sets by their
    names (before and after training, say). The points are the mean over rows.

    Returns:
      The matplotlib figure.

    Raises:
      ModuleNotFoundError: without matplotlib (the extra `examples`).
      TypeError, ValueError: for what that function does not return.

    Example:
      >>> figure = plot_lyapunov_exponents(jnp.array([-0.1, -0.5]))
    """
    return _by_rank(
        "plot_lyapunov_exponents", exponents, "Lyapunov exponent (nats per step)", 0, "linear"
    )


def plot_saturation(shown: Any) -> Any:
    """The histograms of `saturation` over time, a picture for each gate of each layer; titles say
    how much of it is near the ends of its range, over all steps.

    Returns:
      The matplotlib figure.

    Raises:
      ModuleNotFoundError: without matplotlib (the extra `examples`).
      TypeError, ValueError: for what that function does not return.

    Example:
      >>> gates = rnn.cells.lstm.LSTMGates(*[jnp.full((5, 2, 3), 0.7)] * 4)
      >>> figure = plot_saturation(rnn.diagnostics.saturation(gates))
    """
    found = list(named("plot_saturation", shown, 0, Saturation))
    figure, [panels] = new_figure(1, len(found), (3.4 * len(found), 3.4))
    for axes, (name, gate) in zip(panels, found, strict=True):
        shares, edges = np.asarray(gate.shares).T, np.asarray(gate.edges)
        extent = (-0.5, shares.shape[1] - 0.5, edges[0], edges[-1])
        picture = axes.imshow(shares, origin="lower", aspect="auto", extent=extent, vmin=0)
        low, high = float(np.mean(gate.low)), float(np.mean(gate.high))
        ends = f"{low:.0%} near {edges[0]:.0f}, {high:.0%} near {edges[-1]:.0f}"
        axes.set(xlabel="step t", ylabel="value", title=f"{name}\n{ends}")
        figure.colorbar(picture, ax=axes, label="share of units")
    return figure


def plot_effective_memory(memory: Any) -> Any:
    """The lags of `effective_memory`: a bar for each layer, the mean over rows, with a line from
    the least to the largest.

    Returns:
      The matplotlib figure.

    Raises:
      ModuleNotFoundError: without matplotlib (the extra `examples`).
      TypeError, ValueError: for what that function does not return.

    Example:
      >>> figure = plot_effective_memory((jnp.array([3, 5]), jnp.array([9, 11])))
    """
    found = list(named("plot_effective_memory", memory, 0))
    figure, [[axes]] = new_figure(1, 1, (1.5 + 1.2 * len(found), 4))
    means = np.array([a.mean() for _, a in found])
    ends = [means - [a.min() for _, a in found], [a.max() for _, a in found] - means]
    axes.bar([name or "state" for name, _ in found], means, yerr=ends, capsize=4)
    axes.set(ylabel="effective memory (steps)", xlabel="of the state in")
    return figure


def plot_fixed_points(found: FixedPoints, states: Any = None) -> Any:
    """Fixed and slow points in the plane of the two largest principal components, and the
    eigenvalues around them, with the unit circle.

    Args:
      found: what `fixed_points` returned.
      states: states of runs, a pytree like the points with any leading axes, drawn beneath; the
        plane is then theirs.

    Returns:
      The matplotlib figure.

    Raises:
      ModuleNotFoundError: without matplotlib (the extra `examples`).
      TypeError, ValueError: for anything else, or where no point was found.

    Example:
      >>> cell = Elman(2)
      >>> params = {"w_x": jnp.zeros((1, 2)), "w_h": 1.5 * jnp.eye(2), "b": jnp.zeros(2)}
      >>> tries = jax.random.normal(jax.random.key(0), (50, 2))
      >>> found = rnn.diagnostics.fixed_points(cell, params, jnp.zeros(1), tries)
      >>> figure = plot_fixed_points(found, tries)
    """
    errors.check_drawn("plot_fixed_points", found, 0, FixedPoints)
    if not len(found.speeds):
        raise errors.nothing_to_draw("plot_fixed_points", "no point")
    figure, [[plane, circle]] = new_figure(1, 2, (10, 4.6))
    sizes = [a[0].shape for a in jax.tree.leaves(found.points)]

    def flat(tree: Any) -> np.ndarray:
        pairs = zip(jax.tree.leaves(tree), sizes, strict=True)
        return np.concatenate([np.reshape(a, (-1, int(np.prod(s)))) for a, s in pairs], axis=1)

    points = flat(found.points)
    run = points if states is None else flat(states)
    middle = run.mean(axis=0)
    main = np.linalg.svd(run - middle, full_matrices=False)[2][:2]
    if len(main) < 2:
        main = np.eye(2, points.shape[1]) if points.shape[1] > 1 else np.ones((2, 1))
    if states is not None:
        plane.plot(*((run - middle) @ main.T).T, ".", color="0.8", ms=2, label="states", zorder=0)
    kinds = [
        ("fixed, stable", found.fixed & found.stable, "C0", "o"),
        ("fixed, unstable", found.fixed & ~found.stable, "C3", "X"),
        ("slow", ~found.fixed, "C1", "s"),
    ]
    for name, chosen, colour, marker in kinds:
        if chosen.any():
            look = {"color": colour, "marker": marker, "s": 36, "label": name}
            plane.scatter(*((points[chosen] - middle) @ main.T).T, **look)
            values = found.eigenvalues[chosen].ravel()
            circle.scatter(
                np.real(values), np.imag(values), color=colour, s=10, marker=marker, label=name
            )
    turn = np.linspace(0, 2 * np.pi, 200)
    circle.plot(np.cos(turn), np.sin(turn), color="0.6", linewidth=1)
    circle.set(xlabel="real part", ylabel="imaginary part", title="eigenvalues", aspect="equal")
    plane.set(xlabel="first principal component", ylabel="second", title="points")
    plane.legend()
    circle.legend()
    return figure


def plot_first_non_finite(found: NonFinite) -> Any:
    """Which terms of which layers are finite at which steps, from the input (below) to the output,
    with a mark at what `first_non_finite` found.

    Returns:
      The matplotlib figure.

    Raises:
      ModuleNotFoundError: without matplotlib (the extra `examples`).
      TypeError, ValueError: for None, and for params that are not finite, which have no step.

    Example:
      >>> cell = GRU(4)
      >>> xs = jnp.ones((9, 3)).at[5].set(jnp.nan)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> found = rnn.diagnostics.first_non_finite(cell, params, xs)
      >>> figure = plot_first_non_finite(found)
    """
    who = "plot_first_non_finite"
    errors.check_drawn(who, found, 0, NonFinite)
    if found.step is None:
        raise errors.nothing_to_draw(who, f"{found.term}, which has no step")
    picture = np.stack(list(found.seen.values()))
    figure, [[axes]] = new_figure(1, 1, (7, 1.5 + 0.25 * len(picture)))
    shown = axes.imshow(
        picture, origin="lower", aspect="auto", vmin=-0.5, vmax=2.5, cmap=three_colours()
    )
    axes.set_yticks(range(len(picture)), list(found.seen))
    axes.axvline(found.step, color="0.3", linewidth=1)
    axes.set(xlabel="step t", ylabel="term", title=str(found))
    axes.title.set(wrap=True, fontsize=9)
    bar = figure.colorbar(shown, ax=axes, ticks=[0, 1, 2])
    bar.set_ticklabels(["finite", "inf", "nan"])
    bar.set_label("gradient" if found.gradient else "values")
    return figure


def _by_rank(who: str, sets: Any, label: str, level: float, scale: str) -> Any:
    figure, [[axes]] = new_figure(1, 1, (6, 4))
    for name, a in named(who, sets, 1):
        rows = a.reshape(-1, a.shape[-1])
        mean = rows.mean(axis=0) if scale == "linear" else geometric(rows.T)
        axes.plot(np.arange(1, a.shape[-1] + 1), mean, "o-", ms=4, label=name or None)
    axes.axhline(level, color="0.6", linewidth=1)
    axes.set(xlabel="rank", ylabel=label, yscale=scale)
    if axes.get_legend_handles_labels()[1]:
        axes.legend()
    axes.grid(alpha=0.3)
    return figure
