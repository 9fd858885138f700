"""Time cut into chunks, each rematerialised in the backward pass, in one level or several.

Memory and time. With r levels T = n_1 n_2 ... n_r L: time is n_1 chunks, each of them n_2 smaller
ones, and so on down to leaves of L steps. While the gradient of a leaf is computed, what exists is
its activations and the states at which the chunks begin, at every level only those within the chunk
of the level above. With S bytes a state and A bytes of a step's activations that takes

    (n_1 + ... + n_r) S + L A,

at a given product least where every n_k S = L A. A is a few times S, and the least is flat, so all
factors are near T^(1/(r+1)), and the memory is that of (r + 1) T^(1/(r+1)) steps or less.

A step is evaluated once in the forward pass and once for each level in the backward pass, as its
chunk of that level is computed again to find the states of the next, or the activations. That is
1 + r forward passes where a plain gradient takes one. Nested checkpoints take no more
(`tests/strategies/test_chunked.py` counts them in compiled programs), and what only outputs and
the loss need is computed again within leaves alone. A leaf needs its own checkpoint, although its
loop keeps little: without it the chunk around it would keep the activations of all its leaves.

A binomial schedule (Griewank & Walther 2000, `revolve`) reaches C(s + r, r) leaves with s states
where equal chunks reach (s / r)^r. So it needs r / (r!)^(1/r) times fewer states, 1.4 for two
levels and 1.7 for three, and as many activations. But its chunks are all of different lengths,
and a loop of XLA runs chunks of one: the program would be hundreds of loops.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.autodiff._jax import at_least, fixed
from jaxrnn.autodiff.step import inexact
from jaxrnn.autodiff.tangent import with_tangent
from jaxrnn.cell import Cell
from jaxrnn.controls import Piece
from jaxrnn.strategies.scan import Scan
from jaxrnn.strategies.strategy import Block, Strategy


class Chunked(Strategy):
    """Chunks of `size` steps, one after another; only states pass from chunk to chunk.

    With `remat` the backward pass keeps one state a chunk and computes the chunk again (Chen et al.
    2016). That takes memory for T / size states and one chunk's activations, least near size =
    sqrt(T), and the time of one more forward pass. With r `levels` the chunks are parts of larger
    chunks, for which the same holds: r more forward passes, and memory for about
    (r + 1) T^(1/(r+1)) steps.

    A whole causal network is cut at once, layer by layer within a chunk, with its projections and,
    in `fold`, its loss; a network that looks ahead is cut direction by direction. T need not be a
    multiple of anything. A symbolic T of `jax.export` must be a multiple of `size`, as in
    `symbolic_shape("64*k")`, and is cut in one level, or it is run at once.

    Args:
      size: the steps of a chunk, of the smallest one where there are several levels; all of them at
        once where T is smaller. By default about T^(1/(levels + 1)).
      remat: compute a chunk again in the backward pass; without it chunks only bound the memory of
        the forward pass.
      inner: how the steps of a chunk are evaluated; another `Chunked` cuts it again.
      levels: how often time is cut: into large chunks first, and these into smaller ones, of sizes
        chosen by T; `sizes` shows them.

    Raises:
      TypeError, ValueError: for a size or levels that are no positive integer, a `remat` that is no
        bool, an `inner` that is no strategy, or several levels without `remat`.

    Example:
      >>> cell = LSTM(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((50, 3)), strategy=Chunked(7))
      >>> ys.shape
      (50, 8)
      >>> Chunked(levels=2).sizes(10_000_000)
      (40000, 160)
    """

    size: int | None = None
    remat: bool = True
    inner: Strategy = Scan()
    levels: int = 1

    def __post_init__(self) -> None:
        if self.size is not None:
            do = "Near sqrt(T) takes the least memory; levels=2 cuts chunks again."
            errors.check_size(self, "size", self.size, do)
        errors.check_flag(self, "remat", self.remat)
        if not isinstance(self.inner, Strategy):
            raise errors.wrong_strategy(self, self.inner, "inner")
        errors.check_size(self, "levels", self.levels, "Each costs one more forward pass.")
        if self.levels > 1 and not self.remat:
            raise errors.levels_without_remat(self)

    def sizes(self, steps: int) -> tuple[int, ...]:
        """The steps of a chunk at each level over T `steps`, the largest first."""
        errors.check_size(self, "steps", steps, "Pass the length of the inputs.")
        return chosen(steps, self.size, self.levels)

    def cut(
        self, block: Block, carry: Any, inputs: Any, length: Any, reverse: bool
    ) -> tuple[Any, Any]:
        if fixed(length) and length and (self.size is None or self.levels > 1):
            sizes = self.sizes(length)
        else:  # sizes cannot be chosen by a symbol
            sizes = () if self.size is None else (self.size,)
        return self.nested(sizes, block, carry, Part.all(inputs), length, reverse)

    def nested(
        self, sizes: tuple[int, ...], block: Block, carry: Any, part: Part, length: Any, back: bool
    ) -> tuple[Any, Any]:
        """`block` over a part in chunks of `sizes[0]` steps, and each of them in smaller ones."""
        if not sizes:
            return self.inner.cut(block, carry, part.inputs(length), length, back)
        size, smaller = sizes[0], sizes[1:]
        count, rest = divmod(length, size)
        if not at_least(length, size + 1) or not fixed(rest):
            return self.nested(smaller, block, carry, part, length, back)

        def piece(carry: Any, start: Any, size: Any) -> tuple[Any, Any]:
            def run(carry: Any, part: Part, start: Any) -> tuple[Any, Any]:
                return self.nested(smaller, block, carry, part.chunk(start, size), size, back)

            return (jax.checkpoint(run, prevent_cse=False) if self.remat else run)(
                carry, part, start
            )

        def body(carry: Any, i: Any) -> tuple[Any, Any]:
            return piece(carry, i * size, size)

        last = None
        if rest and back:
            carry, last = piece(carry, count * size, rest)
        carry, outs = jax.lax.scan(body, carry, jnp.arange(count), reverse=back)
        if rest and not back:
            carry, last = piece(carry, count * size, rest)
        outs = jax.tree.map(lambda a: a.reshape(count * size, *a.shape[2:]), outs)
        if rest:
            outs = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outs, last)
        return carry, outs

    def loops(self, cell: Any) -> bool:
        return self.inner.loops(cell)

    def run(self, cell: Cell, params: Any, piece: Piece) -> tuple[Any, Any]:
        return self.inner.run(cell, params, piece)


class Part(NamedTuple):
    """A chunk's part of the inputs, sliced within its checkpoint: no slice is kept.

    Values are sliced from all T steps, and by the smallest chunks alone, for a slice of a large
    chunk would take memory. Gradients are added up chunk within chunk: one of all T steps in each
    large chunk would take T / size times its time. So a gradient goes by shadows: the part's own
    slices, whose values nothing reads, and which no program has where inputs have no gradient.
    """

    whole: Any
    start: Any
    shadows: list[Any]  # of the leaves that may have a gradient

    @classmethod
    def all(cls, inputs: Any) -> Part:
        leaves = jax.tree.leaves(inputs)
        return cls(jax.lax.stop_gradient(inputs), 0, [a for a in leaves if inexact(a)])

    def chunk(self, start: Any, size: Any) -> Part:
        return Part(self.whole, self.start + start, sliced(self.shadows, start, size))

    def inputs(self, size: Any) -> Any:
        shadows = iter(self.shadows)
        leaves, tree = jax.tree.flatten(sliced(self.whole, self.start, size))
        return tree.unflatten(shaded(a, next(shadows)) if inexact(a) else a for a in leaves)


def sliced(tree: Any, start: Any, size: Any) -> Any:
    """`size` steps from `start` on, of every array in a tree."""

    def cut(a: jax.Array) -> jax.Array:
        return a if a.shape[0] == size else jax.lax.dynamic_slice_in_dim(a, start, size)

    return jax.tree.map(cut, tree)


def value(_: None, x: jax.Array, shadow: jax.Array) -> jax.Array:
    """The primal part of `shaded`."""
    return x


shaded = partial(with_tangent(value, lambda _, args, x, dargs: dargs[1]), None)
"""`shaded(x, shadow)`: x with the tangent of its shadow. The rule belongs to a primitive:
`jax.custom_jvp` forgets its own within a loop that is differentiated twice.
"""


@lru_cache(256)
def chosen(steps: int, size: int | None, levels: int) -> tuple[int, ...]:
    """Sizes `L m^(r-1), ..., L m, L` with all factors near T^(1/(r+1)).

    Larger chunks are whole multiples of smaller ones, so what T leaves over is one shorter chunk a
    level, at the end of all, compiled apart. Of sizes near the best, those win that leave the
    fewest programs to compile, one where T has such factors; then those of leaves without a rest
    where a loop takes several steps at a time, four on a CPU, sixteen on a GPU.
    """

    def programs(sizes: tuple[int, ...]) -> int:
        rest, found = steps, 0
        for size in sizes:
            found += rest >= size
            rest %= size
        return found + (rest > 0)

    best = steps ** (1 / (levels + 1))
    leaves = [size] if size else near(best)
    options = []
    for leaf in leaves:
        factor = (steps / leaf) ** (1 / levels)
        for m in near(factor) if levels > 1 else [1]:
            sizes = tuple(leaf * m**k for k in reversed(range(levels)))
            far = abs(math.log(leaf / best)) + abs(math.log(m / factor)) * (levels - 1)
            options.append((programs(sizes), leaf % 16 > 0, far, sizes))
    found = min(options)[-1]
    return tuple(s for s in dict.fromkeys(found) if s < steps) or found[-1:]


def near(x: float) -> list[int]:
    """Up to two hundred integers from x / sqrt(2) to x sqrt(2)."""
    middle = max(1, round(x))
    low, high = max(1, middle - 100, math.ceil(x / 2**0.5)), min(middle + 100, int(x * 2**0.5))
    return list(range(low, high + 1)) or [middle]
