"""Which units of a state each param touches in one step: read off the step's jaxpr, so that it is
true of any cell and for all values.

Each number of an array bears a label: `NONE`, one unit, or `MANY`. Params bear the labels of the
units that their last axes stand for (`[..., g U + u]` that of u), everything else `NONE`, and the
labels flow through the step. If each number of the new state then bears the label of its own unit,
or none, no param touches another unit. Where an operation is not known here, its results bear
`MANY`: too large a pattern costs memory, never the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

NONE, MANY = -1, np.iinfo(np.int64).max

ELEMENTWISE = frozenset(
    {
        *("abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2"),
        *("atanh", "cbrt", "ceil", "clamp", "complex", "conj", "convert_element_type", "copy"),
        *("copy_p", "cos", "cosh", "digamma", "div", "eq", "erf", "erf_inv", "erfc", "exp"),
        *("exp2", "expm1", "floor", "ge", "gt", "imag", "integer_pow", "is_finite", "le"),
        *("lgamma", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg"),
        *("nextafter", "not", "or", "pow", "real", "reduce_precision", "rem", "round", "rsqrt"),
        *("select_n", "sign", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh", "xor"),
    }
)
RESHAPES = frozenset({"reshape", "squeeze", "expand_dims"})
REDUCTIONS = frozenset(
    {
        *("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"),
        *("argmax", "argmin"),
    }
)


def join(*labels: Any) -> np.ndarray:
    """The labels of what depends on all of these, number by number."""
    largest, least = labels[0], spread(labels[0])
    for other in labels[1:]:
        largest, least = np.maximum(largest, other), np.minimum(least, spread(other))
    return agreed(largest, least)


def gathered(labels: np.ndarray, axes: tuple[int, ...] | None = None) -> np.ndarray:
    """The labels of what depends on all numbers along these axes, or on all there are."""
    largest = labels.max(axes, initial=NONE)
    return agreed(largest, spread(labels).min(axes, initial=MANY))


def spread(labels: Any) -> np.ndarray:
    """So that a number without a label takes no part in a minimum."""
    return np.where(labels == NONE, MANY, labels)


def agreed(largest: Any, least: Any) -> np.ndarray:
    """One label where all were that one, `MANY` where they differ."""
    return np.where((largest == NONE) | (largest == least), largest, MANY)


def flow(jaxpr: Any, labels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The labels of a closed jaxpr's results, from those of its arguments."""
    inner = jaxpr.jaxpr
    known: dict[Any, np.ndarray] = {v: none(v.aval.shape) for v in inner.constvars}
    known.update(zip(inner.invars, labels, strict=True))

    def read(v: Any) -> np.ndarray:
        literal = hasattr(v, "val")  # which does not hash
        return none(v.aval.shape) if literal else known[v]

    for eqn in inner.eqns:
        results = passed(eqn, [read(v) for v in eqn.invars])
        known.update(zip(eqn.outvars, results, strict=True))
    return [read(v) for v in inner.outvars]


def none(shape: tuple[int, ...]) -> np.ndarray:
    """No labels."""
    return np.full(shape, NONE, np.int64)


def passed(eqn: Any, args: list[np.ndarray]) -> list[np.ndarray]:
    """The labels of one equation's results."""
    name, params, shapes = eqn.primitive.name, eqn.params, [v.aval.shape for v in eqn.outvars]
    if name == "stop_gradient" or all((a == NONE).all() for a in args):
        return [none(shape) for shape in shapes]
    if name in ELEMENTWISE and all(a.ndim in (0, len(shapes[0])) for a in args):
        return [np.broadcast_to(join(*args), shapes[0])]
    if name in RESHAPES and len(args) == 1:
        return [args[0].reshape(shapes[0])]
    if name == "broadcast_in_dim" and len(args) == 1:
        kept = dict(zip(params["broadcast_dimensions"], args[0].shape, strict=True))
        shape = [kept.get(axis, 1) for axis in range(len(shapes[0]))]
        return [np.broadcast_to(args[0].reshape(shape), shapes[0])]
    if name == "transpose":
        return [args[0].transpose(params["permutation"])]
    if name == "concatenate":
        return [np.concatenate(args, params["dimension"])]
    if name == "split":
        return np.split(args[0], np.cumsum(params["sizes"])[:-1], params["axis"])
    if name == "slice":
        bounds = params["start_indices"], params["limit_indices"], params["strides"]
        return [args[0][tuple(map(slice, *(b or [None] * args[0].ndim for b in bounds)))]]
    if name in REDUCTIONS:
        return [gathered(args[0], tuple(params["axes"]))]
    if name == "rows" and not params["summed"]:
        # One row of x with every column of w: they meet in the sum over the contracted axis.
        return [join(gathered(args[0], (-1,))[..., None], gathered(args[1], (0,)))]
    if name == "dot_general":
        return [product(args, params["dimension_numbers"]).reshape(shapes[0])]
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = params.get(key)
        if name in CALLS and hasattr(inner, "jaxpr"):
            return flow(inner, args)
    everything = gathered(np.concatenate([a.ravel() for a in args]))
    return [np.full(shape, everything) for shape in shapes]


CALLS = frozenset({"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"})


def product(args: list[np.ndarray], numbers: Any) -> np.ndarray:
    """Of `lax.dot_general`: batch axes, then the rows of x, then the columns of w."""
    (contracted, batch), sides = numbers, []
    for a, inner, outer in zip(args, contracted, batch, strict=True):
        rest = [axis for axis in range(a.ndim) if axis not in (*inner, *outer)]
        a = a.transpose(*outer, *rest, *inner)
        shape = a.shape[: len(outer)]
        size = math.prod(a.shape[len(outer) : len(outer) + len(rest)])
        sides.append(gathered(a.reshape(*shape, size, -1), (-1,)))
    return join(sides[0][..., :, None], sides[1][..., None, :])


def labelled(shape: tuple[int, ...], unit: tuple[int, ...]) -> np.ndarray | None:
    """The labels of a param whose last axes stand for units, gates side by side in the last; None
    for one of another shape.
    """
    last = shape[len(shape) - len(unit) :]
    if len(last) != len(unit) or last[:-1] != unit[:-1] or last[-1] % unit[-1]:
        return None
    own = np.arange(math.prod(unit)).reshape(unit)
    return np.broadcast_to(np.tile(own, last[-1] // unit[-1]), shape)


def touched(jaxpr: Any, places: Sequence[int], labels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The labels of the results where the arguments in these places bear these, the rest none."""
    args = [none(v.aval.shape) for v in jaxpr.jaxpr.invars]
    for place, one in zip(places, labels, strict=True):
        args[place] = one
    return flow(jaxpr, args)
