"""Where a run, or its gradient, first stops being finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import controls, errors
from jaxrnn.axes import batch_shape, steps
from jaxrnn.composite import Composite
from jaxrnn.diagnostics.gradients import added, shifted, shifts_of, zeros_like
from jaxrnn.diagnostics.record import watched
from jaxrnn.diagnostics.walk import Given, Prepared, checks, prepared, walk
from jaxrnn.layer import Layer, Params, State
from jaxrnn.sequence import sequence

NAMES = ("finite", "inf", "nan")
TERMS = ("inputs", "z", "gates", "state", "outputs", "loss")  # in the order of a layer's step


class NonFinite(NamedTuple):
    """The first thing that is not finite, as `print` tells it.

    `step` is None for what has no step: params, and the state to begin with. `layer` stands at
    `path` in the network: `(1, 0)` is the first child of its second. `term` is the array, such as
    `inputs`, `z` (projected inputs), `gates.f`, `state.c`, `outputs`, `loss`. `value` is "nan" or
    "inf", `row` its place in the batch, and `gradient` says that it is the loss's derivative by
    the term that is not finite, and all values are. `seen` has the whole picture, which
    `plot_first_non_finite` draws: for every term of every layer, in the order of the flow, the
    worst of all rows at each step `[T]`, 0 for finite, 1 for inf, 2 for nan.
    """

    step: int | None
    path: tuple[int, ...]
    layer: Layer
    term: str
    value: str
    row: tuple[int, ...]
    gradient: bool
    seen: dict[str, np.ndarray]

    def __str__(self) -> str:
        when = "" if self.step is None else f"step {self.step}, "
        where = type(self.layer).__name__
        if self.path:
            where = f"layer {'.'.join(map(str, self.path))}, {self.layer}"
        what = f"the gradient of {self.term}" if self.gradient else self.term
        row = f" in row {', '.join(map(str, self.row))}" if self.row else ""
        return f"{when}{where}: {self.value} in {what}{row}"


def first_non_finite(
    cell: Layer,
    params: Params,
    xs: Any,
    loss: Callable[[Any], jax.Array] | None = None,
    *,
    state: State | None = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> NonFinite | None:
    """The first step at which something is not finite: in which layer, which term, and whether in
    the values or in the gradient. None where everything is finite.

    Values come first: params and the state to begin with, then step by step in the order of the
    run, layer by layer in the order in which the input flows, and in a layer inputs, projected
    inputs, gates, state, outputs. Then the losses. Then the gradient, in the order in which it is
    computed: from the last step of the run and the last layer back, and at last that of params. In
    a network with `Bidirectional` the layers come before the steps. What lies under a false mask
    does not count.

    It looks at values, so it is no part of a jitted function: call it with the arguments of the
    step that went wrong.

    Args:
      cell: any cell or network; static.
      params: the params from `cell.init`.
      xs: the inputs `[T, ..., F]`, or tokens `[T, ...]`.
      loss: a function of the outputs to the loss of every step and row `[T, ...]`, of whose sum
        the gradient is taken; None to look at values alone.
      state: the state to begin with, as in `unroll`.
      mask: as in `unroll`: true where the step is valid.
      resets: as in `unroll`: true where a new sequence begins.
      reverse: run from the last step to the first.
      key: a PRNG key, for training mode.

    Raises:
      TypeError: within `jit`, `vmap` or `grad`; for a loss that is no function.
      TypeError, ValueError: as `unroll`.

    Example:
      >>> net = Stack((GRU(4), Dense(2)))
      >>> params = net.init(jax.random.key(0), 3)
      >>> xs = jnp.ones((9, 2, 3)).at[5, 1].set(jnp.nan)
      >>> print(first_non_finite(net, params, xs))
      step 5, layer 0, GRU(hidden=4, reset_after=True): nan in inputs in row 1
    """
    who, given = "first_non_finite", Given(state, mask, resets, key)
    if loss is not None:
        errors.check_loss_of_outputs(who, loss)
    errors.check_concrete(who, (params, xs, given))
    with checks(cell, params, xs, given, reverse):
        before, seen, outputs = _values(cell, reverse, params, xs, given)
    if found := _whole(cell, before, gradient=False):
        return found
    network = Found(cell, (), np.inf, reverse, {"outputs": outputs})
    if found := _earliest(cell, [*_layers(cell, seen), network], gradient=False):
        return found
    if loss is None:
        return None
    losses, pulled, by_params = _gradients(cell, reverse, loss, params, xs, given)
    after = Found(cell, (), np.inf, reverse, {"loss": losses})
    return (
        _earliest(cell, [after], gradient=False)
        or _earliest(cell, _layers(cell, pulled), gradient=True)
        or _whole(cell, by_params, gradient=True)
    )


class Found(NamedTuple):
    """What was seen of a layer: its place in the flow, its direction, codes `[T, ...]` by term."""

    layer: Any
    path: tuple[int, ...]
    order: float
    reverse: bool
    terms: dict[str, Any]


def _layers(cell: Any, seen: Any, path: tuple[int, ...] = ()) -> Iterator[Found]:
    if isinstance(cell, Composite):
        for i, (child, part) in enumerate(zip(cell.children, seen, strict=True)):
            yield from _layers(child, part, (*path, i))
    else:
        order, reverse, terms = seen
        yield Found(cell, path, int(order), bool(reverse), terms)


def _earliest(cell: Layer, layers: Any, gradient: bool) -> NonFinite | None:
    """The first code above zero: in the run's order, or, of a gradient, in the opposite one."""
    best: tuple | None = None
    layers = sorted(layers, key=lambda found: found.order)
    for found in layers:
        for term, arrays in found.terms.items():
            for path, codes in jax.tree_util.tree_flatten_with_path(arrays)[0]:
                codes = np.asarray(codes)
                bad = np.flatnonzero(codes.reshape(len(codes), -1).any(axis=1))
                if not bad.size:
                    continue
                step = int(bad[-1] if found.reverse != gradient else bad[0])
                place = -step if found.reverse else step
                order, rank = found.order, TERMS.index(term)
                if gradient:
                    place, order, rank = -place, -order, -rank
                key = (place, order, rank) if cell.causal else (order, place, rank)
                if best is None or key < best[0]:
                    best = key, found, term + jax.tree_util.keystr(path), step, codes[step]
    if best is None:
        return None
    _, found, term, step, codes = best
    row = tuple(int(i) for i in np.argwhere(codes)[0])
    value = NAMES[int(codes[row])]
    return NonFinite(step, found.path, found.layer, term, value, row, gradient, _picture(layers))


def _picture(layers: list[Found]) -> dict[str, np.ndarray]:
    """The worst code of every term at every step."""
    picture = {}
    for found in layers:
        for term in sorted(found.terms, key=TERMS.index):
            if codes := [np.asarray(a) for a in jax.tree.leaves(found.terms[term])]:
                place = ".".join(map(str, found.path))
                name = f"{place} {type(found.layer).__name__} {term}".strip()
                picture[name] = np.max([a.reshape(len(a), -1).max(axis=1) for a in codes], axis=0)
    return picture


def _whole(cell: Layer, codes: dict[str, Any], gradient: bool) -> NonFinite | None:
    """The first code above zero of trees without time."""
    for path, code in jax.tree_util.tree_flatten_with_path(codes)[0]:
        if code:
            term = path[0].key + jax.tree_util.keystr(path[1:])
            return NonFinite(None, (), cell, term, NAMES[int(code)], (), gradient, {})
    return None


def _code(a: jax.Array, keep: int = 0) -> jax.Array:
    """0 for finite numbers, 1 for an infinity, 2 for NaN: the worst over all but the first axes."""
    if not jnp.issubdtype(a.dtype, jnp.inexact):
        return jnp.zeros(a.shape[:keep], jnp.int8)
    codes = jnp.where(jnp.isnan(a), 2, jnp.where(jnp.isinf(a), 1, 0)).astype(jnp.int8)
    return jnp.max(codes, axis=tuple(range(keep, a.ndim)), initial=0)


def _codes(tree: Any, now: Prepared, batch: int) -> Any:
    """The codes `[T, ...]` of arrays with a time axis, zero under a false mask."""

    def code(a: jax.Array) -> jax.Array:
        codes = _code(a, min(1 + batch, a.ndim))  # what all rows share has no axis for them
        return codes.reshape(*codes.shape, *(1,) * (1 + batch - codes.ndim))

    return controls.blank(jax.tree.map(code, tree), now.run.mask)


@partial(jax.jit, static_argnums=(0, 1))
def _values(cell: Layer, reverse: bool, params: Params, xs: Any, given: Given) -> tuple:
    now = prepared(cell, reverse, params, xs, given)
    batch, order = len(batch_shape(cell, now.xs, 1)), []

    def visit(layer: Layer, now: Prepared, _: Any) -> tuple[State, Any, tuple]:
        last, ys, (zs, seen) = watched(layer, now)
        terms = {"inputs": now.xs, "z": zs, "gates": seen.gates, "state": seen.states}
        terms = {name: _codes(a, now, batch) for name, a in (terms | {"outputs": ys}).items()}
        order.append(layer)
        return last, ys, (len(order), now.run.reverse, terms)

    before = jax.tree.map(_code, {"params": now.params, "the state to begin with": now.state})
    _, ys, seen = walk(cell, now, visit)
    return before, seen, _codes(ys, now, batch)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _gradients(
    cell: Layer, reverse: bool, loss: Callable, params: Params, xs: Any, given: Given
) -> tuple:
    now = prepared(cell, reverse, params, xs, given)
    shape = batch_shape(cell, now.xs, 1)
    leaves, tree = jax.tree.flatten(now.params)
    moving = [i for i, a in enumerate(leaves) if jnp.issubdtype(a.dtype, jnp.inexact)]
    order: list = []

    def visit(layer: Layer, now: Prepared, shift: dict) -> tuple[State, Any, tuple]:
        xs = added(now.xs, shift["inputs"])
        last, ys, _ = shifted(layer, now._replace(xs=xs), shift["state"])
        order.append(layer)
        return last, added(ys, shift["outputs"]), (len(order), now.run.reverse)

    def losses(shifts: Any, weights: list) -> tuple[jax.Array, Any]:
        moved = dict(zip(moving, weights, strict=True))
        given = tree.unflatten([moved.get(i, a) for i, a in enumerate(leaves)])
        _, ys, places = walk(cell, now._replace(params=given), visit, shifts)
        found = loss(controls.blank(ys, now.run.mask))
        errors.check_losses(cell, found, (steps(now.xs), *shape))
        return found, places

    shifts = _zeros(cell, now)
    found, pull, places = jax.vjp(losses, shifts, [leaves[i] for i in moving], has_aux=True)
    pulled, by_weights = pull(jnp.ones_like(found))
    grads: list = [jnp.zeros(())] * len(leaves)
    for i, g in zip(moving, by_weights, strict=True):
        grads[i] = g
    by_params = jax.tree.map(_code, {"params": tree.unflatten(grads)})

    def coded(cell: Any, place: Any, part: Any) -> Any:
        if isinstance(cell, Composite):
            return tuple(map(coded, cell.children, place, part))
        return (*place, {name: _codes(part[name], now, len(shape)) for name in part})

    return _codes(found, now, len(shape)), coded(cell, places, pulled), by_params


def _zeros(cell: Layer, now: Prepared) -> Any:
    """What is added to every layer's inputs, states and outputs."""

    def visit(layer: Layer, now: Prepared, _: Any) -> tuple[State, Any, Any]:
        last, ys = sequence(layer, *now[:4], now.run)
        terms = {"outputs": ys, "state": shifts_of(now), "inputs": now.xs}
        return last, ys, zeros_like(terms)

    specs = jax.eval_shape(lambda: walk(cell, now, visit)[2])
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), specs)
