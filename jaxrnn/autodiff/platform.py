"""Two versions of one function, for one platform and for all else, chosen when a program is
lowered.

The machine that traces a program need not be the one that runs it: a host without an accelerator
traces and exports programs for one. `jax.lax.platform_dependent` chooses at lowering too, but it is
a `cond`: differentiated in reverse, every branch must return the residuals of every other branch,
as zeros. Here a function stays whole. Its tangent, its transpose and its batched form are such
pairs again, each built from the whole function, and nothing passes between them but the arguments.
So a derivative computes again what it needs, as under `jax.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.autodiff._jax import ad, batching, debugging, lowered, primitive, trace

Flat = Callable[..., list]  # of arrays, to a list of arrays
PLATFORMS = ("cpu", "tpu")  # which a function may be special for

# Functions are hashable records of their parts: equal ones are compiled once, also where they are
# called outside of jit.


@dataclass(frozen=True)
class Call:
    """f with its static first argument. Equal ones compare equal, unlike `functools.partial`s."""

    f: Callable
    static: Any

    def __call__(self, *args: Any) -> Any:
        return self.f(self.static, *args)


@dataclass(frozen=True)
class Leaves:
    """A function of pytrees as one of their leaves."""

    f: Callable
    tree: Any  # the structure of the arguments

    def __call__(self, *leaves: Any) -> list:
        return jax.tree.leaves(self.f(*jax.tree.unflatten(self.tree, leaves)))


@dataclass(frozen=True)
class Tangent:
    """The tangents of f's results, from its arguments and the tangents of those that move."""

    f: Flat
    moves: tuple[bool, ...]

    def __call__(self, *args: Any) -> list:
        primals, tangents = args[: len(self.moves)], args[len(self.moves) :]
        moving = tuple(select(self.moves, primals))
        return jax.jvp(lambda *x: self.f(*merge(self.moves, x, primals)), moving, tangents)[1]


@dataclass(frozen=True)
class Transpose:
    """The cotangents of some arguments of f, from the others and the cotangents of its results."""

    f: Flat
    asked: tuple[bool, ...]
    types: tuple[Any, ...]  # of the arguments that are asked for

    def __call__(self, *args: Any) -> list:
        known, cotangents = args[: self.asked.count(False)], args[self.asked.count(False) :]
        rest = iter(known)
        given = [None if ask else next(rest) for ask in self.asked]
        back = jax.linear_transpose(lambda *x: self.f(*merge(self.asked, x, given)), *self.types)
        return list(back(list(cotangents)))


@dataclass(frozen=True)
class Batched:
    """f under `vmap`."""

    f: Flat
    in_axes: tuple[int | None, ...]
    out_axes: tuple[int, ...]

    def __call__(self, *args: Any) -> list:
        return jax.vmap(self.f, self.in_axes, list(self.out_axes))(*args)


class Places(NamedTuple):
    """What is known about the arrays of both functions: which arguments they are linear in, and at
    which axis of arguments and results a `vmap` puts its own.

    Behind time, for example, so that what is scanned over is not transposed, nor transposed back.
    """

    linear: tuple[bool, ...]
    in_axes: tuple[int, ...]
    out_axes: tuple[int, ...]


def merge(flags: Sequence[bool], yes: Sequence, no: Sequence) -> list:
    """`no`, with what is flagged replaced by the entries of `yes`, in order."""
    given = iter(yes)
    return [next(given) if flag else x for flag, x in zip(flags, no, strict=True)]


def select(flags: Sequence[bool], values: Sequence) -> list:
    """The values that are flagged, in order."""
    return [x for flag, x in zip(flags, values, strict=True) if flag]


def by_platform(
    platform: str,
    special: Callable,
    default: Callable,
    args: tuple,
    linear: tuple,
    in_axes: Any,
    out_axes: Any,
) -> Any:
    """`special(*args)` where the program is lowered for `platform`, elsewhere `default(*args)`.

    Both compute the same from pytrees of floating arrays or flags. They hash, equal ones compare
    equal, and they close over no array. A default may be such a pair again.

    Args:
      platform: one of `PLATFORMS`.
      special: the function for that platform.
      default: the function for all other platforms.
      args: the arguments of both.
      linear: for each argument, whether the functions are linear in it: in all of those together.
      in_axes: a tree like args, of the axes at which a `vmap` puts its own.
      out_axes: a tree like the result, likewise.
    """
    if debugging():
        return default(*args)  # to be looked into, step by step
    leaves, tree = jax.tree.flatten(args)
    flags = [flag for flag, arg in zip(linear, args, strict=True) for _ in jax.tree.leaves(arg)]
    places = Places(tuple(flags), tuple(jax.tree.leaves(in_axes)), tuple(jax.tree.leaves(out_axes)))
    outs = bind(platform, leaves, Leaves(special, tree), Leaves(default, tree), places)
    return jax.tree.unflatten(jax.tree.structure(out_axes), outs)


def bind(platform: str, args: Sequence, special: Flat, default: Flat, places: Places) -> list:
    """The primitive, applied to flat arguments."""
    given = {"platform": platform, "special": special, "default": default, "places": places}
    return by_platform_p.bind(*args, **given)


def _types(*avals: Any, special: Flat, **_: Any) -> tuple[list, set]:
    # Both agree, and the special one is quicker to trace. Shapes alone are not enough: the types
    # of the jaxpr say over which axes of a mesh a result is sharded or varies.
    closed = trace(special, *avals)
    return closed.out_avals, closed.effects


def _jvp(
    primals: tuple, tangents: tuple, *, platform: str, special: Flat, default: Flat, places: Places
) -> tuple:
    outs = bind(platform, primals, special, default, places)
    moves = tuple(type(d) is not ad.Zero for d in tangents)
    linear = places.linear
    if all(flag for flag, move in zip(linear, moves, strict=True) if move):
        given = [ad.instantiate_zeros(d) for d, flag in zip(tangents, linear, strict=True) if flag]
        return outs, bind(platform, merge(linear, given, primals), special, default, places)
    push, push_default = Tangent(special, moves), Tangent(default, moves)
    flags = [False] * len(primals) + [True] * sum(moves)
    axes = (*places.in_axes, *select(moves, places.in_axes))
    of_tangent = Places(tuple(flags), axes, places.out_axes)
    given = [*primals, *select(moves, tangents)]
    return outs, bind(platform, given, push, push_default, of_tangent)


def _transpose(
    cotangents: Sequence,
    *args: Any,
    platform: str,
    special: Flat,
    default: Flat,
    places: Places,
) -> list:
    asked = tuple(ad.is_undefined_primal(x) for x in args)
    others = [not ask for ask in asked]
    types = tuple(x.aval for x in select(asked, args))
    pull, pull_default = (Transpose(f, asked, types) for f in (special, default))
    known, given = select(others, args), [ad.instantiate_zeros(ct) for ct in cotangents]
    flags = [False] * len(known) + [True] * len(given)
    axes = (*select(others, places.in_axes), *places.out_axes)
    back = Places(tuple(flags), axes, tuple(select(asked, places.in_axes)))
    outs = bind(platform, [*known, *given], pull, pull_default, back)
    return merge(asked, outs, [None] * len(args))


def _batch(
    args: tuple, axes: tuple, *, platform: str, special: Flat, default: Flat, places: Places
) -> tuple:
    triples = list(zip(args, axes, places.in_axes, strict=True))
    moved = [x if axis is None else jnp.moveaxis(x, axis, to) for x, axis, to in triples]
    in_axes = tuple(None if axis is None else to for _, axis, to in triples)
    rows, rows_default = (Batched(f, in_axes, places.out_axes) for f in (special, default))
    outs = bind(platform, moved, rows, rows_default, places)
    return outs, places.out_axes


def _run(
    here: str | None, *args: Any, platform: str, special: Flat, default: Flat, places: Places
) -> list:
    return (special if here == platform else default)(*args)


by_platform_p = primitive("by_platform", multiple_results=True)
by_platform_p.def_effectful_abstract_eval(_types)
lowered(by_platform_p, partial(_run, None), anywhere={p: partial(_run, p) for p in PLATFORMS})
ad.primitive_jvps[by_platform_p] = _jvp
ad.primitive_transposes[by_platform_p] = _transpose
batching.primitive_batchers[by_platform_p] = _batch
