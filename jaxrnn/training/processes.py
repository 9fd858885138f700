"""Several processes of one run, each with some of the devices (`jax.distributed`). All make the
same calls in the same order; the first one alone writes and shows. With one process nothing here
does anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxrnn import errors
from jaxrnn.training.trees import is_key, plain

BLOCK = 4096  # bytes of a text that is told: each length is compiled once
KINDS = {kind.__name__: kind for kind in (BlockingIOError, OSError, ValueError)}


def alone() -> bool:
    """Whether there is one process."""
    return jax.process_count() == 1


def first() -> bool:
    """Whether this is the process that writes and shows."""
    return jax.process_index() == 0


def any_of(flag: bool) -> bool:
    """Whether it is true on any process."""
    return flag if alone() else bool(multihost_utils.process_allgather(np.bool_(flag)).any())


def told(text: str) -> str:
    """The text of the first process, on all of them."""
    if alone():
        return text
    found = text.encode()
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(found))))
    room = np.zeros(-(-size // BLOCK) * BLOCK, np.uint8)
    if first():
        room[:size] = np.frombuffer(found, np.uint8)
    return multihost_utils.broadcast_one_to_all(room)[:size].tobytes().decode()


def by_first(f: Callable[[], str | None]) -> str:
    """What f returns on the first process, which alone calls it; what it raises there is raised
    everywhere.
    """
    met, text = None, ""
    if first():
        try:
            text = f() or ""
        except Exception as error:
            if alone():
                raise
            met = error
    kind, _, said = told(f"{type(met).__name__ if met else ''}\n{met or text}").partition("\n")
    if met is not None:
        raise met
    if kind:
        raise errors.raised_on_first(KINDS.get(kind, RuntimeError), said)
    return said


def put(tree: Any, shardings: Any) -> Any:
    """Arrays laid out on a mesh of all processes' devices; each process has all of their values,
    and JAX compares them.
    """

    def one(x: Any, sharding: Any) -> Any:
        if sharding.is_fully_addressable or not getattr(x, "is_fully_addressable", True):
            return jax.device_put(x, sharding)
        if is_key(x):
            data = jax.device_put(np.asarray(jax.random.key_data(x)), sharding)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        return jax.device_put(np.asarray(x), sharding)

    return jax.tree.map(one, tree, shardings)


def fetched(tree: Any) -> Any:
    """The leaves with all their values: what lies on other processes' devices is gathered."""

    def one(x: Any) -> Any:
        if not isinstance(x, jax.Array) or x.is_fully_addressable:
            return x
        if x.is_fully_replicated:
            return np.asarray(x)
        return multihost_utils.process_allgather(x, tiled=True)

    return jax.tree.map(one, plain(tree))
