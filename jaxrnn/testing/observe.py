"""Run and differentiate a way in one compiled function, and compare two answers leaf by leaf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.autodiff.products import wide
from jaxrnn.layer import Layer, State
from jaxrnn.testing.inputs import Given, compiled
from jaxrnn.testing.ways import Way

LAWS = {
    1: "unroll is a loop over advance",
    2: "a strategy never changes the answer",
    3: "what is masked changes nothing",
    4: "a reset begins a new sequence",
    5: "a batch is its rows",
    6: "every mode of differentiation",
    7: "equal cells are one, and a step keeps its state's kind",
}
TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 6e-2, "float16": 2e-2}
"""How far two ways may lie apart, relative to the largest entry of the leaf; for the narrow ones,
from the float32 answer."""


class LawError(AssertionError):
    """A cell broke a law. `law` is its number; the message says where and by how much."""

    def __init__(self, law: int, cell: Layer, what: str):
        super().__init__(f"law {law} ({LAWS[law]}) is broken by {cell!r}: {what}")
        self.law = law


class Seen(NamedTuple):
    """The answer of a way: outputs, last state, and gradients in params, initial state and
    inputs.
    """

    outputs: Any
    state: State
    gradients: dict[str, Any]


def functional(state: State, ys: Any) -> jax.Array:
    """A fixed random functional of state and outputs, with a curvature, so that second derivatives
    show.
    """
    total: Any = 0.0
    for i, leaf in enumerate(jax.tree.leaves((state, ys))):
        leaf = leaf.astype(wide(leaf.dtype))
        probe = np.random.default_rng(i).standard_normal(leaf.shape).astype(leaf.dtype)
        total = total + jnp.sum(probe * (leaf + leaf * leaf / 2))
    return jnp.asarray(total)


def objective(
    way: Way, cell: Layer, given: Given
) -> tuple[Callable[..., tuple[jax.Array, Any]], dict[str, Any]]:
    """The functional as a function of all that can be differentiated, and its arguments: params,
    state, and inputs that are floating.
    """
    inputs = {"params": given.params, "state": given.state}
    moving = jax.tree.map(lambda a: a if floating(a) else None, given.xs)
    if jax.tree.leaves(moving):
        inputs["xs"] = moving

    def f(inputs: dict[str, Any]) -> tuple[jax.Array, Any]:
        parts = dict(inputs)
        if "xs" in parts:
            still = jax.tree.map(lambda a: None if floating(a) else a, given.xs)
            parts["xs"] = jax.tree.map(
                lambda a, b: b if a is None else a, still, parts["xs"], is_leaf=lambda a: a is None
            )
        state, ys = way(cell, given._replace(**parts))
        return functional(state, ys), (state, ys)

    return f, inputs


def floating(a: Any) -> bool:
    """Whether an array has a gradient."""
    return jnp.issubdtype(a.dtype, jnp.floating)


def observed(way: Way, cell: Layer, given: Given) -> Seen:
    """The answer of a way and its gradients, to be compiled by `observe`."""
    f, inputs = objective(way, cell, given)
    gradients, (state, ys) = jax.grad(f, has_aux=True)(inputs)
    return Seen(ys, state, gradients)


def slopes(way: Way, cell: Layer, given: Given, direction: dict[str, Any]) -> dict[str, Any]:
    """The derivative in a direction three ways, the gradient's own derivative two ways."""
    f, inputs = objective(way, cell, given)

    def value(inputs: dict[str, Any]) -> jax.Array:
        return f(inputs)[0]

    def along(inputs: dict[str, Any]) -> jax.Array:
        return inner(jax.grad(value)(inputs), direction)

    gradient, forward_over_reverse = jax.jvp(jax.grad(value), (inputs,), (direction,))
    return {
        "jvp": jax.jvp(value, (inputs,), (direction,))[1],
        "gradient along": inner(gradient, direction),
        "forward over reverse": forward_over_reverse,
        "reverse over reverse": jax.grad(along)(inputs),
    }


def ensemble(way: Way, cell: Layer, given: Given, params: Any) -> Seen:
    """The answers with each of several stacked sets of params."""
    return jax.vmap(lambda p: observed(way, cell, given._replace(params=p)))(params)


def inner(a: Any, b: Any) -> jax.Array:
    """The inner product of two trees."""
    return sum(
        (jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)),
        jnp.zeros(()),
    )


def values(way: Way, cell: Layer, given: Given, steps: dict[str, Any]) -> jax.Array:
    """The functional a small step away, for each of several stacked steps."""
    f, inputs = objective(way, cell, given)
    return jax.lax.map(lambda step: f(jax.tree.map(jnp.add, inputs, step))[0], steps)


def observe(way: Way, cell: Layer, given: Given) -> Seen:
    """The answer of `way` and its gradients, as NumPy arrays: compiled once for equal ways, cells
    and shapes.
    """
    return jax.device_get(compiled(observed)(way, cell, given))


def agree(
    law: int, cell: Layer, claim: str, got: Any, want: Any, tolerance: float | None = None
) -> None:
    """Raise LawError unless both are finite and as close as `tolerance` allows."""
    if jax.tree.structure(got) != jax.tree.structure(want):
        raise LawError(
            law,
            cell,
            f"{claim}: got the structure {jax.tree.structure(got)}, "
            f"want {jax.tree.structure(want)}",
        )
    for (path, g), w in zip(
        jax.tree_util.tree_flatten_with_path(got)[0], jax.tree.leaves(want), strict=True
    ):
        if g.shape != w.shape or g.dtype != w.dtype:
            raise LawError(
                law,
                cell,
                f"{claim}: {name(path)} is {g.dtype}{list(g.shape)}, want {w.dtype}{list(w.shape)}",
            )
        if not g.size:
            continue
        within = tolerance if tolerance is not None else TOLERANCE.get(str(g.dtype), 0.0)
        g, w = (np.asarray(a).astype(np.float64) for a in (g, w))
        allowed = within * max(float(np.max(np.abs(w), initial=0.0, where=np.isfinite(w))), 0.1)
        gap = np.abs(g - w)
        bad = ~(gap <= allowed)
        if bad.any():
            at = np.unravel_index(np.argmax(np.where(np.isfinite(gap), gap, np.inf)), g.shape)
            where = [int(i) for i in at]
            raise LawError(
                law,
                cell,
                f"{claim}: {name(path)} is off in {int(bad.sum())} of {g.size} entries, "
                f"most at {where}{place(path, where)}: {g[at]:.6g} against {w[at]:.6g}, "
                f"by {gap[at]:.3g} where {allowed:.3g} is allowed",
            )


def equal(law: int, cell: Layer, claim: str, got: Any, want: Any) -> None:
    """Raise LawError unless both are finite and equal."""
    agree(law, cell, claim, got, want, 0.0)


def name(path: tuple) -> str:
    """`gradient in params['w_h']` and the like."""
    text = jax.tree_util.keystr(path)
    for short, long in (
        (".gradients['params']", "the gradient in params"),
        (".gradients['state']", "the gradient in the initial state"),
        (".gradients['xs']", "the gradient in the inputs"),
        (".outputs", "the outputs"),
        (".state", "the last state"),
    ):
        text = text.replace(short, long, 1) if text.startswith(short) else text
    return text or "it"


def place(path: tuple, where: list[int]) -> str:
    """The step of an entry, where a leaf's first axis is time."""
    text = jax.tree_util.keystr(path)
    return f" (t={where[0]})" if text.startswith((".outputs", ".gradients['xs']")) and where else ""
