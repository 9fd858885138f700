"""Loops of one step side by side, such as the two directions of a bidirectional net.

The arguments of `loop_p` are those of each member in turn, and so are its results. A CPU runs the
members one after another: what they share would only be copied together. A GPU pays for launches,
and runs them as one loop whose products are batched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxpr_as_fun

from jaxrnn.autodiff._jax import ClosedJaxpr, rows_of, trace
from jaxrnn.autodiff.in_place import is_key


def shares(values: Sequence, count: int) -> list[list]:
    """The values of each member: so many equal parts."""
    size = len(values) // count
    return [list(values[k * size : (k + 1) * size]) for k in range(count)]


def each(run: Callable) -> Callable:
    """`run`, which runs one loop, for one member after another."""

    def lower(*args: Any, reverse: tuple[bool, ...], **params: Any) -> list:
        members = zip(shares(args, len(reverse)), reverse, strict=True)
        return [out for some, back in members for out in run(*some, reverse=back, **params)]

    return lower


def as_one(run: Callable) -> Callable:
    """`run`, which runs one loop, for all members at once; for one after another where their step
    cannot be batched.
    """

    def lower(*args: Any, jaxpr: ClosedJaxpr, reverse: tuple[bool, ...], **params: Any) -> list:
        count, first = len(reverse), params["num_consts"] + params["num_carry"]
        if count == 1 or not batches(jaxpr):
            return each(run)(*args, jaxpr=jaxpr, reverse=reverse, **params)

        def turned(column: Sequence) -> list:
            """Rows in the order in which the first member meets them, and back."""
            pairs = zip(column, reverse, strict=True)
            return [a if back == reverse[0] else jnp.flip(a, 0) for a, back in pairs]

        columns = list(zip(*shares(args, count), strict=True))
        stacked = [jnp.stack(column) for column in columns[:first]]
        stacked += [jnp.stack(turned(column), 1) for column in columns[first:]]
        outs = run(*stacked, jaxpr=jaxpr, reverse=reverse[0], members=count, **params)
        n = params["num_carry"]
        last = [list(carry) for carry in outs[:n]]
        ys = [turned([y[:, k] for k in range(count)]) for y in outs[n:]]
        return [column[k] for k in range(count) for column in (*last, *ys)]

    return lower


def batches(jaxpr: ClosedJaxpr) -> bool:
    """Whether a step gives the same under `vmap`."""
    variables = [*jaxpr.jaxpr.invars, *(v for eqn in jaxpr.eqns for v in eqn.outvars)]
    if any(is_key(v) for v in variables):  # keys may draw other numbers
        return False
    try:
        trace(jax.vmap(jaxpr_as_fun(jaxpr)), *(rows_of(1, a) for a in jaxpr.in_avals))
    except NotImplementedError:  # a callback, say
        return False
    return True
