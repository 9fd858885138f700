"""A memory, such as the outputs of an encoder, and how a cell looks at it.

`bind` puts it among the params and it is never carried as state: no mask copies it, no reset
clears it, no beam gathers it.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.autodiff.products import matmul, wide
from jaxrnn.layer import Params

Score = Literal["multiplicative", "additive"]


class Bound(NamedTuple):
    """A memory as a cell reads it, batch first: keys `[*batch, S, A]`, values `[*batch, S, M]`,
    mask `[*batch, S]` or None.
    """

    keys: jax.Array
    values: jax.Array
    mask: Any

    @property
    def batch(self) -> tuple[int, ...]:
        return self.values.shape[:-2]


def bound(cell: Any, params: Params, memory: Any, mask: Any) -> Params:
    """The params with a memory `[S, *batch, M]` beside them, its keys computed once.

    The mask is true where the memory is valid; elsewhere the memory is set to zero.
    """
    errors.check_memory(cell, memory, mask, cell.memory)
    weight = params["w_k"]
    memory = jnp.moveaxis(memory, 0, -2).astype(weight.dtype)
    if mask is not None:
        mask = jnp.moveaxis(mask, 0, -1)
        memory = jnp.where(mask[..., None], memory, 0)
    return {**params, "bound": Bound(matmul(memory, weight).astype(weight.dtype), memory, mask)}


def found(cell: Any, params: Params, batch: tuple[int, ...]) -> Bound:
    """The bound memory, or an empty one while `init` asks for shapes; the verbs refuse params
    without a memory.
    """
    if "bound" not in params:
        weight = params["w_k"]
        return Bound(
            jnp.zeros((0, weight.shape[1]), weight.dtype),
            jnp.zeros((0, cell.memory), weight.dtype),
            None,
        )
    memory = params["bound"]
    if batch[: len(memory.batch)] != memory.batch:
        raise errors.memory_batch(cell, memory.batch, batch)
    return memory


def weigh(cell: Any, params: Params, memory: Bound, query: jax.Array, lead: int) -> jax.Array:
    """The softmax over S of the scores, float32 or wider, for queries `[*lead, *batch, *extra, A]`:
    `[*lead, *batch, *extra, S]`. With nothing to look at, all zero.
    """
    rows = fold_batch(query, lead, len(memory.batch))
    keys, mask = flat(memory.keys, 2), flat(memory.mask, 1)
    if cell.score == "additive":
        v = params["v"].astype(rows.dtype)
        scores = (jnp.tanh(rows[..., None, :] + keys.astype(rows.dtype)[None, :, None]) * v).sum(-1)
    else:
        scores = jnp.einsum(
            "lbea,bsa->lbes", rows.astype(keys.dtype), keys, preferred_element_type=wide(keys.dtype)
        )
    least = float(jnp.finfo(scores.dtype).min)
    seen = jnp.bool_(True) if mask is None else mask[None, :, None]
    highest = jax.lax.stop_gradient(
        jnp.where(seen, scores, least).max(-1, keepdims=True, initial=least)
    )
    parts = jnp.where(seen, jnp.exp(jnp.where(seen, scores - highest, 0)), 0)
    total = parts.sum(-1, keepdims=True)
    weights = parts / jnp.where(total > 0, total, 1)
    return weights.reshape(*query.shape[:-1], weights.shape[-1])


def context(memory: Bound, weights: jax.Array, lead: int) -> jax.Array:
    """The values' mean under the weights: `[*lead, *batch, *extra, M]`."""
    rows, values = fold_batch(weights, lead, len(memory.batch)), flat(memory.values, 2)
    mean = jnp.einsum(
        "lbes,bsm->lbem",
        rows.astype(values.dtype),
        values,
        preferred_element_type=wide(values.dtype),
    )
    return mean.reshape(*weights.shape[:-1], mean.shape[-1])


def fold_batch(x: jax.Array, lead: int, batch: int) -> jax.Array:
    """`[*lead, *batch, *extra, A]` as `[L, B, E, A]`."""
    shape = x.shape[:-1]
    axes = (shape[:lead], shape[lead : lead + batch], shape[lead + batch :])
    return x.reshape(*(math.prod(part) for part in axes), x.shape[-1])


def flat(x: Any, keep: int) -> Any:
    """All axes but the last `keep` as one."""
    if x is None:
        return None
    cut = x.ndim - keep
    return x.reshape(math.prod(x.shape[:cut]), *x.shape[cut:])


def check(cell: Any) -> None:
    """Refuse fields of an attention that are out of range or do not go together."""
    errors.check_size(cell, "memory", cell.memory)
    errors.check_initializers(cell)
    errors.check_choice(cell, "score", cell.score, get_args(Score))
    if cell.size is not None:
        errors.check_size(cell, "size", cell.size)
        if cell.score == "multiplicative":
            raise errors.no_size(cell)


def weights_of(
    cell: Any, key: jax.Array, query: int, size: int, dtype: Any
) -> dict[str, jax.Array]:
    """The params that a score needs."""
    kq, kk, kv = jax.random.split(key, 3)
    if cell.score == "multiplicative":
        return {"w_k": initializers.glorot(kk, cell.memory, query, 1, dtype)}
    return {
        "w_q": initializers.glorot(kq, query, size, 1, dtype),
        "w_k": initializers.glorot(kk, cell.memory, size, 1, dtype),
        "v": initializers.glorot(kv, size, 1, 1, dtype)[:, 0],
    }
