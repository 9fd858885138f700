"""What a transition `a` of a linear recurrence `h_t = a_t h_{t-1} + b_t` may be.

A state is a pytree of arrays, and `a` is a tree like it with a transition in the place of each
part. An array is a diagonal. A `Complex` is a complex diagonal in two real arrays, and its part of
the state is a `Complex` too. A `Matrix` is a matrix for the part's last axis. For another structure
add a class here, with its `multiply` and its `identity`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp

from jaxrnn import errors


class Complex(NamedTuple):
    """Complex numbers as a pair of real arrays, `re + i im`: a part of a state, or the diagonal
    that multiplies it.
    """

    re: jax.Array
    im: jax.Array


class Matrix(NamedTuple):
    """The transition of a part `h [..., N]` by `w [..., N, N]`: `w h`."""

    w: jax.Array


for part in (Complex, Matrix):  # so that states can cross the boundary of an exported program
    jax.export.register_namedtuple_serialization(part, serialized_name=f"jaxrnn.{part.__name__}")


def multiply(a: Any, h: Any) -> Any:
    """`a h`, of a transition and a part of a state, or of two transitions, `h` the earlier one."""
    match a, h:
        case Complex(), _:
            return Complex(a.re * h.re - a.im * h.im, a.re * h.im + a.im * h.re)
        case Matrix(), Matrix():
            return Matrix(jnp.matmul(a.w, h.w, precision="highest"))
        case Matrix(), _:
            return jnp.matmul(a.w, h[..., None], precision="highest")[..., 0]
        case _:
            return a * h


def multiply_all_steps(a: Any, h: Any) -> Any:
    """`a h` for all steps at once, `h` being `[T, ...]`.

    Where `a` holds for every step, steps and rows become one axis: the derivative in `a` is a sum
    over it, and XLA:CPU is slow to sum `[T, 1, N]` over T. Where an axis of h is sharded
    explicitly, they stay apart: a sharded axis cannot be merged with another.
    """
    aval = jax.typeof(jax.tree.leaves(h)[0])
    shape, full = jax.tree.leaves(a)[0].shape, aval.shape
    fits = len(shape) < len(full) - 1 and shape == full[len(full) - len(shape) :]
    if isinstance(a, Matrix) or not fits or any(aval.sharding.spec):
        return multiply(a, h)
    rows = multiply(a, jax.tree.map(lambda x: x.reshape(-1, *shape), h))
    return jax.tree.map(lambda x: x.reshape(full), rows)


def identity(a: Any, h: Any) -> Any:
    """The transition of a's kind that leaves a part of a state like `h` as it is."""
    match a:
        case Complex():
            return Complex(jnp.ones_like(h.re), jnp.zeros_like(h.im))
        case Matrix():  # added to zeros made of h, so that it lies on a mesh as h does
            return Matrix(jnp.zeros_like(h)[..., None] + jnp.eye(h.shape[-1], dtype=h.dtype))
        case _:
            return jnp.ones_like(h)


def is_transition(x: Any) -> bool:
    """Whether a node of a tree of transitions is one itself, and not to be looked into."""
    return isinstance(x, Complex | Matrix)


def map_transitions(f: Callable, a: Any, *trees: Any) -> Any:
    """`f` of each transition and of what lies in its place in the other trees."""
    return jax.tree.map(f, a, *trees, is_leaf=is_transition)


def evolve(a: Any, h: Any, b: Any) -> Any:
    """`a h + b` for a whole state."""
    return jax.tree.map(jnp.add, map_transitions(multiply, a, h), b)


def rank(a: Any) -> int:
    """How many axes a transition has; of the two axes of a matrix one counts."""
    return a.w.ndim - 1 if isinstance(a, Matrix) else jax.tree.leaves(a)[0].ndim


def has_time_axis(a: Any, b: Any) -> bool:
    """Whether a transition has the time axis that `b` has; without it, it holds for every step."""
    return rank(a) == jax.tree.leaves(b)[0].ndim


def check_recurrence(a: Any, b: Any, start: Any) -> None:
    """Check structures, dtypes and shapes of `h_t = a_t h_{t-1} + b_t`; a message names the leaf.

    Sizes are compared where they are numbers; the symbolic ones of an export are not known.
    """
    errors.check_drive(b, start)
    parts, tree = jax.tree_util.tree_flatten_with_path(a, is_leaf=is_transition)
    try:
        places = tree.flatten_up_to(start), tree.flatten_up_to(b)
    except (TypeError, ValueError):  # another structure
        raise errors.wrong_transitions(a, start) from None
    for (path, part), h, drive in zip(parts, *places, strict=True):
        name = f"a{jax.tree_util.keystr(path)}"
        if isinstance(part, Complex) != isinstance(h, Complex):
            raise errors.wrong_transition(name, part, h)
        if not isinstance(h, Complex) and not hasattr(h, "shape"):
            raise errors.wrong_transition(name, part, h)
        h, drive = jax.tree.leaves(h)[0], jax.tree.leaves(drive)[0]
        timed = rank(part) == drive.ndim
        for leaf in jax.tree.leaves(part):
            need = (*h.shape, h.shape[-1]) if isinstance(part, Matrix) and h.ndim else h.shape
            errors.check_transition(name, leaf, drive, need, timed, isinstance(part, Matrix))
