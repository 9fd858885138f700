"""A pass through which nothing is differentiated, taken in chunks of time on one CPU device.

A gradient wants z for all steps. A pass without one does not, and on a CPU an array of all z costs
more than its arithmetic: the kernel zeroes its pages at every call, and it fits no cache. Whether a
gradient is asked for, how many copies of the pass a `vmap` makes and what it is compiled for are
known when the program is lowered, and not when it is traced. So the pass is a primitive that means
`whole`: differentiated it is `whole` again, and so it is wherever it is not lowered for one CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import jaxpr_as_fun

from jaxrnn.autodiff._jax import (
    ClosedJaxpr, ad, batching, debugging, fixed, lowered, primitive, trace,
)  # fmt: skip

LARGE = 2**22  # bytes of z from which a pass is taken in chunks
CACHED = 2**19  # bytes of z in a chunk


def forward_only(whole: Callable, chunked: Callable, args: Any, row: int) -> Any:
    """`whole(*args) -> (state, ys)`, or `chunked(size, *args)`, which computes the same in chunks.

    Args:
      whole: a function of pytrees of arrays; ys have a leading time axis.
      chunked: the same with the number of steps in a chunk before them.
      args: the arrays; those that are not closed over.
      row: the bytes of one step's z.
    """
    if debugging():
        return whole(*args)
    leaves, tree = jax.tree.flatten(args)
    made: list = []

    def flat(*leaves: Any) -> list:
        outs, structure = jax.tree.flatten(whole(*tree.unflatten(leaves)))
        made.append((structure, len(jax.tree.leaves(whole_state(structure)))))
        return outs

    closed = trace(flat, *leaves)
    structure, states = made[-1]
    if closed.effects:
        return jax.tree.unflatten(structure, jaxpr_as_fun(closed)(*leaves))
    ...
