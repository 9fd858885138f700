"""The linear recurrence `h_t = a_t h_{t-1} + b_t`, its derivative, and what a transition `a` may be.

The tangent of a linear recurrence is one too, `dh_t = a_t dh_{t-1} + (db_t + da_t h_{t-1})`, and so is its transpose, run the other way.
Written as a `custom_jvp` over plain loops it costs one more recurrence in every mode of differentiation, where `jax.grad` of
`lax.associative_scan` keeps every level of its tree.

A state is a pytree of arrays, and `a` is a tree like it with a transition in the place of each part: an array is a real diagonal, `Complex` a
complex one (and its part of the state a `Complex` too), `Matrix` a matrix for the part's last axis. Another structure is another class here,
with its `multiply` and its `identity`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxrnn.controls import choose

# Bytes: of an array that a CPU's caches hold in part at best, and of a step whose work outweighs that of a loop's step.
CACHE, ROW = 2**23, 512


class Complex(NamedTuple):
    """Complex numbers as a pair of real arrays, `re + i im`: a part of a state, or the diagonal that multiplies it."""

    re: jax.Array
    im: jax.Array


class Matrix(NamedTuple):
    """The transition of a part `h [..., N]` by `w [..., N, N]`: `w h`."""

    w: jax.Array


def multiply(a: Any, h: Any) -> Any:
    """`a h`, of a transition and a part of a state, or of two transitions, one after the other."""
    match a, h:
        case Complex(), _:
            return Complex(a.re * h.re - a.im * h.im, a.re * h.im + a.im * h.re)
        case Matrix(), Matrix():
            return Matrix(jnp.matmul(a.w, h.w, precision="highest"))
        case Matrix(), _:
            return jnp.matmul(a.w, h[..., None], precision="highest")[..., 0]
        case _:
            return a * h


def throughout(a: Any, h: Any) -> Any:
    """`a h` of all steps at once; where `a` holds for every step they are rows of one axis: XLA:CPU is slow to sum `[T, 1, N]` over T."""
    parts = jax.tree.leaves(a)
    shape = parts[0].shape
    tail = jax.tree.leaves(h)[0].shape
    if isinstance(a, Matrix) or len(shape) >= len(tail) - 1 or shape != tail[len(tail) - len(shape) :]:
        return multiply(a, h)
    rows = multiply(a, jax.tree.map(lambda x: x.reshape(-1, *shape), h))
    return jax.tree.map(lambda x: x.reshape(tail), rows)


def identity(a: Any, h: Any) -> Any:
    """The transition of a's kind that leaves a part of a state like `h` as it is."""
    match a:
        case Complex():
            return Complex(jnp.ones_like(h.re), jnp.zeros_like(h.im))
        case Matrix():
            size = h.shape[-1]
            return Matrix(jnp.broadcast_to(jnp.eye(size, dtype=h.dtype), (*h.shape, size)))
        case _:
            return jnp.ones_like(h)


def over(f: Callable, a: Any, *trees: Any) -> Any:
    """`f` of each transition and of what lies in its place in the other trees."""
    return jax.tree.map(f, a, *trees, is_leaf=lambda x: isinstance(x, Complex | Matrix))


def evolve(a: Any, h: Any, b: Any) -> Any:
    """`a h + b` for a whole state."""
    return jax.tree.map(jnp.add, over(multiply, a, h), b)


def timed(a: Any, b: Any) -> bool:
    """Whether a transition has the time axis that the drive has; without it, it holds for every step."""
    rank = a.w.ndim - 1 if isinstance(a, Matrix) else jax.tree.leaves(a)[0].ndim
    return rank == jax.tree.leaves(b)[0].ndim


class How(NamedTuple):
    """What is static about a linear recurrence; `tangent`: whether it is a derivative, most often transposed, and then run the other way."""

    reverse: bool = False
    radix: int = 0
    unroll: int = 1
    tangent: bool = False


def linear_scan(
    a: Any, b: Any, start: Any, *, mask: Any = None, resets: Any = None, reverse: bool = False, radix: int = 0, unroll: int = 1
) -> tuple[Any, Any]:
    """`h_t = a_t h_{t-1} + b_t` for all t: the last state and all states, `(h_T, [h_1 ... h_T])`.

    Where `mask[t]` is false, `h_t = h_{t-1}`; where `resets[t]` is true, `h_t = b_t`. Every mode of differentiation is again such a recurrence.

    Shapes: b `[T, ...]` leaf by leaf, start `[...]`, mask and resets `[T, ...]` of the batch axes alone. A transition of fewer axes than
    its part of b holds for every step and is broadcast.

    Args:
      a: a tree like `start` with a transition in the place of each part: an array, a `Complex` or a `Matrix`.
      b: what is added.
      start: the state before the first step; reversed, after the last.
      mask, resets: booleans, or None.
      reverse: from T-1 to 0; `b_t` and the states keep their places.
      radix: 0 for one loop of T steps. Otherwise time is cut into pieces of that many steps, all run side by side: their ends from zero, the
        recurrence of the ends by the same rule, the pieces from their starts. 3 radix log T / log radix steps, and about thrice the work.
      unroll: of the loop, as in lax.scan.

    Example:
      >>> last, states = linear_scan(jnp.array([0.5]), jnp.ones((3, 1)), jnp.zeros(1))
      >>> states[:, 0].tolist()
      [1.0, 1.5, 1.75]

    Blelloch 1990; Martin & Cundy 2018.
    """
    return _linear(How(reverse, radix, unroll), a, b, start, mask, resets)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _linear(how: How, a: Any, b: Any, start: Any, mask: Any, resets: Any) -> tuple[Any, Any]:
    length = jax.tree.leaves(b)[0].shape[0]
    if how.radix < 2 or length <= how.radix:
        return in_order(how, a, b, start, mask, resets)
    if how.reverse:
        flip = partial(jnp.flip, axis=0)
        a, b, mask, resets = timely(flip, a, b, mask, resets)
        last, states = in_pieces(how.radix, a, b, start, mask, resets)
        return last, jax.tree.map(flip, states)
    return in_pieces(how.radix, a, b, start, mask, resets)


@partial(_linear.defjvp, symbolic_zeros=True)
def _linear_jvp(how: How, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    a, _, start, mask, resets = primals
    out = _linear(how, *primals)
    da, db, dstart = (jax.tree.map(lambda x, d: jnp.zeros_like(x) if zero(d) else d, *pair) for pair in zip(primals[:3], tangents[:3], strict=True))
    if not all(map(zero, jax.tree.leaves(tangents[0]))):
        before = previous(start, out[1], how.reverse)
        if resets is not None:
            before = choose(resets, jax.tree.map(jnp.zeros_like, before), before)
        db = jax.tree.map(jnp.add, over(throughout, da, before), db)
    return out, _linear(how._replace(tangent=True), a, db, dstart, mask, resets)


def zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def previous(start: Any, states: Any, reverse: bool) -> Any:
    """The state before each step."""
    if reverse:
        return jax.tree.map(lambda s, h: jnp.concatenate([h[1:], s[None]]), start, states)
    return jax.tree.map(lambda s, h: jnp.concatenate([s[None], h[:-1]]), start, states)


def timely(f: Callable, a: Any, b: Any, mask: Any, resets: Any) -> tuple[Any, Any, Any, Any]:
    """`f` of every array that has a time axis."""
    turn = partial(jax.tree.map, f)
    return over(lambda a, b: turn(a) if timed(a, b) else a, a, b), turn(b), turn(mask), turn(resets)


def each(a: Any, b: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The transitions that have a time axis, to scan over; and what makes, of those of one step, all transitions of that step."""
    parts, tree = jax.tree.flatten(a, is_leaf=lambda x: isinstance(x, Complex | Matrix))
    moves = jax.tree.leaves(over(timed, a, b))

    def whole(now: list) -> Any:
        scanned = iter(now)
        return jax.tree.unflatten(tree, [next(scanned) if move else part for part, move in zip(parts, moves, strict=True)])

    return [part for part, move in zip(parts, moves, strict=True) if move], whole


def step(a: Any, b: Any, h: Any, mask: Any, reset: Any) -> Any:
    before = h if reset is None else choose(reset, jax.tree.map(jnp.zeros_like, h), h)
    after = evolve(a, before, b)
    return after if mask is None else choose(mask, after, h)


def in_order(how: How, a: Any, b: Any, start: Any, mask: Any, resets: Any) -> tuple[Any, Any]:
    """One step after another."""
    scanned, whole = each(a, b)

    def body(h: Any, now: tuple) -> tuple[Any, Any]:
        a, b, mask, reset = now
        h = step(whole(a), b, h, mask, reset)
        return h, h

    def loop(h: Any, steps: Any) -> tuple[Any, Any]:
        return jax.lax.scan(body, h, steps, reverse=how.reverse, unroll=how.unroll)

    steps, size = (scanned, b, mask, resets), block(b) if how.reverse != how.tangent else 0
    if not size:
        return loop(start, steps)
    steps = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), steps)
    last, states = jax.lax.scan(loop, start, steps, reverse=how.reverse)
    return last, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), states)


def block(b: Any) -> int:
    """How many steps a loop that goes back through memory takes block by block, or 0.

    Past its caches a CPU reads rows of a kilobyte or so backward half as fast as forward; within a block it does not matter.
    """
    length, size = jax.tree.leaves(b)[0].shape[0], sum(x.nbytes for x in jax.tree.leaves(b))
    if size < CACHE or size < ROW * length:
        return 0
    return next((count for count in range(128, 31, -1) if length % count == 0), 0)


def in_pieces(radix: int, a: Any, b: Any, start: Any, mask: Any, resets: Any) -> tuple[Any, Any]:
    """Pieces of `radix` steps side by side, and behind them the few steps that are left over."""
    count = jax.tree.leaves(b)[0].shape[0] // radix
    whole, length = timely(lambda x: x[: count * radix].reshape(count, radix, *x.shape[1:]).swapaxes(0, 1), a, b, mask, resets), count * radix
    a_, b_, *flags = whole
    side = jax.tree.map(lambda s: jnp.broadcast_to(s, (count, *s.shape)), start)
    # Apart from what is added, so that each loop is either linear in what is differentiated or free of it.
    p, e = product(*whole, side), in_order(How(), a_, b_, jax.tree.map(jnp.zeros_like, side), *flags)[0]
    # A piece with a reset in it forgets what came before, were it NaN: to the pieces it is a reset too.
    last, after = _linear(How(radix=radix), p, e, start, None, None if resets is None else whole[3].any(0))
    _, states = in_order(How(), a_, b_, previous(start, after, reverse=False), *flags)
    states = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(length, *x.shape[2:]), states)
    if length < jax.tree.leaves(b)[0].shape[0]:
        a_, b_, *flags = timely(lambda x: x[length:], a, b, mask, resets)
        last, tail = in_order(How(), a_, b_, last, *flags)
        states = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), states, tail)
    return last, states


def product(a: Any, b: Any, mask: Any, resets: Any, like: Any) -> Any:
    """What all steps together make of a state `like` this, but for what is added: one transition."""
    scanned, whole = each(a, b)

    def body(p: Any, now: tuple) -> tuple[Any, None]:
        scanned, mask, reset = now
        # A reset forgets products that overflowed, too.
        new = over(multiply, whole(scanned), p if reset is None else choose(reset, jax.tree.map(jnp.zeros_like, p), p))
        return new if mask is None else choose(mask, new, p), None

    length = jax.tree.leaves(b)[0].shape[0]
    return jax.lax.scan(body, over(identity, a, like), (scanned, mask, resets), length)[0]
