"""A step whose values are lists of parts of equal size, along their last axis.

The compilers of a GPU's kernels have no slices of values, and want sizes that are powers of two. In
parts `split` and `concatenate` are free, what is elementwise acts part by part, and a product is a
sum of products of parts. A number of a row, a flag say, is one part, and spreads where it meets
others. A value of several axes is that of one axis, as it lies in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.autodiff._jax import ClosedJaxpr, Var, bind, evaluate, read
from jaxrnn.autodiff.products import row_product
from jaxrnn.autodiff.step import inexact

# Functions, which numbers of 16 bits have of float32 alone.
FUNCTIONS = {
    *("div", "exp", "exp2", "expm1", "log", "log1p", "logistic", "pow", "rsqrt", "sqrt", "tanh"),
    *("sin", "cos", "erf_inv"),
}
ELEMENTWISE = FUNCTIONS | {
    *("add", "add_any", "sub", "mul", "neg", "abs", "max", "min", "square", "integer_pow", "sign"),
    "one_minus_square",
    *("select_n", "convert_element_type", "floor", "ceil", "is_finite"),
    *("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not"),
}
RENAMED = {"reshape", "squeeze", "expand_dims", "broadcast_in_dim", "copy", "stop_gradient"}
CUT = {"split": "axis", "concatenate": "dimension", "slice": None, "pad": None}


def size(v: Any) -> int:
    """Of a variable's value, or of an abstract one."""
    return math.prod(getattr(v, "aval", v).shape)


def stride(eqn: Any) -> int:
    """Numbers in memory from one place of an equation's first argument to the next."""
    return size(eqn.invars[0]) // eqn.invars[0].aval.shape[0]


def matrices(closed: ClosedJaxpr) -> set[Any]:
    """The variables that are the right side of a product."""
    return {eqn.invars[1] for eqn in closed.eqns if row_product(eqn)}


def obstacle(eqn: Any) -> str | None:
    """Why an equation does not act on parts, or None."""
    name, params = eqn.primitive.name, eqn.params
    if not row_product(eqn) and name not in {*ELEMENTWISE, *RENAMED, *CUT, "reduce_sum"}:
        return f"`{name}` is not among them"
    x, out = eqn.invars[0].aval, eqn.outvars[0].aval
    if row_product(eqn):
        fits = x.ndim == 1 and x.dtype == eqn.invars[1].aval.dtype
    elif name in RENAMED:
        fits = size(x) in (1, size(out)) and params.get("dimensions") in (None, (), (0,))
    elif name == "reduce_sum":
        fits = size(out) == 1
    elif name == "slice":
        fits = params["strides"] is None and out.shape[1:] == x.shape[1:]
    elif name == "pad":
        (low, high, inner), *rest = params["padding_config"]
        fits = min(low, high) >= 0 == inner and not any(map(any, rest))
    elif name in CUT:
        fits = params[CUT[name]] == 0
    else:
        return None
    if name in CUT:
        cut = eqn.invars[:1] if name == "pad" else eqn.invars
        fits &= all(size(v) > 1 for v in (*cut, *eqn.outvars))
    return None if fits else f"`{name}` is among them only in simpler forms"


def places_of(eqn: Any) -> Iterator[int]:
    """Where an equation cuts its values, besides at the sizes of its results."""
    if eqn.primitive.name == "slice":
        yield eqn.params["start_indices"][0] * stride(eqn)
    if eqn.primitive.name == "pad":
        low, high, _ = eqn.params["padding_config"][0]
        yield from (low * stride(eqn), high * stride(eqn))


def divisor(closed: ClosedJaxpr) -> int:
    """The largest size that parts can have."""
    jaxpr, apart = closed.jaxpr, matrices(closed)
    found = [v for eqn in jaxpr.eqns for v in (*eqn.invars, *eqn.outvars)]
    known = {v for v in (*jaxpr.invars, *jaxpr.outvars, *found) if isinstance(v, Var)}
    sizes = {size(v) for v in known - apart} - {1}
    sizes |= {n for w in apart for n in w.aval.shape}
    return math.gcd(*sizes, *(n for eqn in jaxpr.eqns for n in places_of(eqn)))


def run(closed: ClosedJaxpr, part: int, shape: tuple[int, ...], args: Sequence) -> list:
    """The results, each a list of parts; the values of a part are an array of this shape, or of one
    that spreads to it. The right side of a product is a list of rows of parts.
    """
    jaxpr = closed.jaxpr
    env: dict = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    env |= dict(zip(jaxpr.invars, args, strict=True))
    evaluate(jaxpr.eqns, env, partial(act, part, shape))
    return [listed(read(env, v)) for v in jaxpr.outvars]


def listed(value: Any) -> list:
    """A list of parts, which a literal is not."""
    return value if isinstance(value, list) else [value]


def act(part: int, shape: tuple[int, ...], eqn: Any, *args: Any) -> list:
    """The results of an equation of lists of parts."""
    name, params = eqn.primitive.name, eqn.params
    x, *more = map(listed, args)
    count = max(1, size(eqn.outvars[0]) // part)
    if row_product(eqn):
        return [product(eqn, [jnp.broadcast_to(p, shape) for p in x], more[0])]
    if name in RENAMED or (name == "reduce_sum" and size(eqn.invars[0]) == 1):
        return [x if len(x) == count else x * count]
    if name == "reduce_sum":
        terms = [total(p, part, shape) for p in x]
        return [[sum(terms[1:], terms[0])]]
    if name == "concatenate":
        return [sum(more, x)]
    if name == "split":
        ends = [0]
        for n in params["sizes"]:
            ends.append(ends[-1] + int(n) * stride(eqn) // part)
        return [x[a:b] for a, b in pairwise(ends)]
    if name == "slice":
        [start] = [n // part for n in places_of(eqn)]
        return [x[start : start + count]]
    if name == "pad":
        low, high = (n // part for n in places_of(eqn))
        return [[*more[0] * low, *x, *more[0] * high]]
    return [[each(eqn, *(a[j if len(a) > 1 else 0] for a in (x, *more))) for j in range(count)]]


def each(eqn: Any, *args: Any) -> Any:
    """An elementwise equation of one part."""
    name, dtype = eqn.primitive.name, eqn.outvars[0].aval.dtype
    shape = jnp.broadcast_shapes(*map(jnp.shape, args))
    # A scalar is fine as it is, but not as one of the cases of a choice.
    args = tuple(
        jnp.broadcast_to(a, shape) if jnp.ndim(a) or (name == "select_n" and i) else a
        for i, a in enumerate(args)
    )
    if name == "add_any":  # a name that not every compiler has
        return args[0] + args[1]
    if name in ("max", "min") and inexact(eqn.outvars[0].aval):
        # A GPU's own have the other number where one is none. Here NaN is the larger, or smaller.
        a, b = (jnp.broadcast_to(a, shape) for a in args)
        return jnp.where((a > b if name == "max" else a < b) | (a != a), a, b)
    if name in FUNCTIONS and dtype.itemsize == 2:
        args = tuple(jnp.asarray(a).astype(jnp.float32) for a in args)
    return bind(eqn, *args)[0].astype(dtype)


def total(p: Any, part: int, shape: tuple[int, ...]) -> Any:
    """The sum of a part; behind its end it repeats its last number."""
    p = jnp.broadcast_to(p, shape)
    if part < shape[-1]:
        p = jnp.where(jax.lax.iota(jnp.int32, shape[-1])[None, :] < part, p, 0)
    return jnp.sum(p, -1, keepdims=True)


def product(eqn: Any, x: list, w: list) -> list:
    """A product of parts, accumulated in float32 or wider."""
    dtype = eqn.outvars[0].aval.dtype
    outs = []
    for column in zip(*w, strict=True):
        terms = [
            jax.lax.dot(a, b, precision=eqn.params["precision"], preferred_element_type=jnp.float32)
            for a, b in zip(x, column, strict=True)
        ]
        outs.append(sum(terms[1:], terms[0]).astype(dtype))
    return outs
