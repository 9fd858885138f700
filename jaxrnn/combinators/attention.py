"""Attention over a memory, such as the outputs of an encoder: after a recurrent cell, or inside its step.

The memory is bound beside the params by `bind` and never carried as state: no mask copies it, no reset clears it, no beam gathers it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.cell import Cell, Composite, Feedforward, Noise, Params, State
from jaxrnn.cells.shared import input_spec, output
from jaxrnn.recurrence import Dot, matmul, wide

Score = Literal["multiplicative", "additive"]


class Bound(NamedTuple):
    """A memory as a cell reads it, batch first: keys `[*batch, S, A]`, values `[*batch, S, M]`, mask `[*batch, S]` or None."""

    keys: jax.Array
    values: jax.Array
    mask: Any

    @property
    def batch(self) -> tuple[int, ...]:
        return self.values.shape[:-2]


def bound(cell: Attention | Attend, params: Params, memory: Any, mask: Any) -> Params:
    """The params with a memory `[S, *batch, M]` beside them, its keys computed once; what lies under a false mask is zero."""
    errors.check_memory(cell, memory, mask, cell.memory)
    weight = params["w_k"]
    memory = jnp.moveaxis(memory, 0, -2).astype(weight.dtype)
    if mask is not None:
        mask = jnp.moveaxis(mask, 0, -1)
        memory = jnp.where(mask[..., None], memory, 0)
    return {**params, "bound": Bound(matmul(memory, weight).astype(weight.dtype), memory, mask)}


def found(cell: Attention | Attend, params: Params, batch: tuple[int, ...]) -> Bound:
    """What is bound, or, while `init` asks for shapes, a memory of no places; the verbs refuse params with nothing bound."""
    if "bound" not in params:
        weight = params["w_k"]
        return Bound(jnp.zeros((0, weight.shape[1]), weight.dtype), jnp.zeros((0, cell.memory), weight.dtype), None)
    memory = params["bound"]
    if batch[: len(memory.batch)] != memory.batch:
        raise errors.memory_batch(cell, memory.batch, batch)
    return memory


def weigh(cell: Attention | Attend, params: Params, memory: Bound, query: jax.Array, lead: int) -> jax.Array:
    """softmax over S of the scores, float32 or wider, for queries `[*lead, *batch, *extra, A]`: `[*lead, *batch, *extra, S]`.
    With nothing to look at, all zero."""
    rows = fold_batch(query, lead, len(memory.batch))
    keys, mask = flat(memory.keys, 2), flat(memory.mask, 1)
    if cell.score == "additive":
        v = params["v"].astype(rows.dtype)
        scores = (jnp.tanh(rows[..., None, :] + keys.astype(rows.dtype)[None, :, None]) * v).sum(-1)
    else:
        scores = jnp.einsum("lbea,bsa->lbes", rows.astype(keys.dtype), keys, preferred_element_type=wide(keys.dtype))
    least = float(jnp.finfo(scores.dtype).min)
    seen = jnp.bool_(True) if mask is None else mask[None, :, None]
    highest = jax.lax.stop_gradient(jnp.where(seen, scores, least).max(-1, keepdims=True, initial=least))
    parts = jnp.where(seen, jnp.exp(jnp.where(seen, scores - highest, 0)), 0)
    total = parts.sum(-1, keepdims=True)
    weights = parts / jnp.where(total > 0, total, 1)
    return weights.reshape(*query.shape[:-1], weights.shape[-1])


def context(memory: Bound, weights: jax.Array, lead: int) -> jax.Array:
    """The values' mean under the weights: `[*lead, *batch, *extra, M]`."""
    rows, values = fold_batch(weights, lead, len(memory.batch)), flat(memory.values, 2)
    mean = jnp.einsum("lbes,bsm->lbem", rows.astype(values.dtype), values, preferred_element_type=wide(values.dtype))
    return mean.reshape(*weights.shape[:-1], mean.shape[-1])


def fold_batch(x: jax.Array, lead: int, batch: int) -> jax.Array:
    """`[*lead, *batch, *extra, A]` as `[L, B, E, A]`."""
    shape = x.shape[:-1]
    axes = (shape[:lead], shape[lead : lead + batch], shape[lead + batch :])
    return x.reshape(*(math.prod(part) for part in axes), x.shape[-1])


def flat(x: Any, keep: int) -> Any:
    """All axes but the last `keep` as one."""
    return None if x is None else x.reshape(math.prod(x.shape[: x.ndim - keep]), *x.shape[x.ndim - keep :])


def check(cell: Attention | Attend) -> None:
    errors.check_size(cell, "memory", cell.memory)
    if cell.score not in get_args(Score):
        raise errors.unknown(cell, "score", cell.score, get_args(Score))
    if cell.size is not None:
        errors.check_size(cell, "size", cell.size)
        if cell.score == "multiplicative":
            raise errors.no_size(cell)


def weights_of(cell: Attention | Attend, key: jax.Array, query: int, size: int, dtype: Any) -> dict[str, jax.Array]:
    """The params that a score needs."""
    kq, kk, kv = jax.random.split(key, 3)
    if cell.score == "multiplicative":
        return {"w_k": initializers.glorot(kk, cell.memory, query, 1, dtype)}
    return {
        "w_q": initializers.glorot(kq, query, size, 1, dtype),
        "w_k": initializers.glorot(kk, cell.memory, size, 1, dtype),
        "v": initializers.glorot(kv, size, 1, 1, dtype)[:, 0],
    }


class Looked(NamedTuple):
    """What a layer that looks at a memory gives, and where it looked."""

    y: jax.Array
    attention: jax.Array


class AttentionGates(NamedTuple):
    """Where a layer looked: `[..., S]`."""

    attention: jax.Array


class Attention(Feedforward):
    """A layer that looks at a memory: it sits after a recurrent cell, whose output is the query (global attention).

        a = softmax over s of score(x, memory_s);  context = sum_s a_s memory_s
        y = tanh([context; x] @ w_c + b)
        score = x . (memory_s @ w_k), multiplicative;  or v . tanh(x @ w_q + memory_s @ w_k), additive

    The memory is bound first: `params = net.bind(params, memory, mask)` with memory `[S, *batch, M]` and booleans `[S, *batch]`, for the
    whole network around it. A row whose mask is all false has the context zero. Queries may have axes after the memory's batch, which
    share it (beams); a memory without batch axes is shared by all rows. There is no loop: all T steps are a few batched matmuls.

    Shapes: x `[..., F]`, memory `[S, *batch, M]`, y `[..., hidden]`. Params: `w_k [M, F]`, or, additive, `w_k [M, size]`,
    `w_q [F, size]` and `v [size]`; `w_c [M + F, hidden]`, `b [hidden]`; and `bound`, once bound. Gates: `attention [..., S]`.

    Args:
      hidden: the size of the output.
      memory: M, the width of the memory; twice an encoder's width after `Bidirectional`.
      score: "multiplicative" (the paper's "general") or "additive".
      size: the width at which queries and keys are added; `hidden` by default, and of no use to the multiplicative score.

    Raises:
      TypeError, ValueError: for a size below one or an unknown score; while tracing, where nothing is bound, or a memory of another batch.

    Example:
      >>> net = Stack((LSTM(8), Attention(8, memory=6)))
      >>> params = net.init(jax.random.key(0), features(3))
      >>> params = net.bind(params, jnp.ones((7, 2, 6)))
      >>> state, ys = unroll(net, params, jnp.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 8)

    Luong, Pham & Manning 2015; the additive score: Bahdanau, Cho & Bengio 2015.
    """

    hidden: int
    memory: int
    score: Score = "multiplicative"
    size: int | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "hidden", self.hidden)
        check(self)

    @property
    def takes_memory(self) -> bool:
        return True

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        ks, kc = jax.random.split(key)
        params = weights_of(self, ks, size, self.size or self.hidden, dtype)
        w_c = initializers.glorot(kc, self.memory + size, self.hidden, 1, dtype)
        return {**params, "w_c": w_c, "b": jnp.zeros(self.hidden, dtype)}

    def bind(self, params: Params, memory: Any, mask: Any = None) -> Params:
        return bound(self, params, memory, mask)

    def weights(self, params: Params, xs: jax.Array) -> jax.Array:
        """The attention `a [T, ..., S]` for queries `[T, ..., F]`, the outputs of the layer below, and bound params: a heat map's rows.

        Example:
          >>> layer = Attention(8, memory=6)
          >>> params = layer.bind(layer.init(jax.random.key(0), features(3)), jnp.ones((7, 6)))
          >>> layer.weights(params, jnp.ones((5, 3))).shape
          (5, 7)
        """
        if "bound" not in params:
            raise errors.not_bound(self)
        query = matmul(xs, params["w_q"]) if self.score == "additive" else xs
        return weigh(self, params, found(self, params, xs.shape[1:-1]), query, 1)

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> Looked:
        memory = found(self, params, xs.shape[1:-1])
        query = matmul(xs, params["w_q"]) if self.score == "additive" else xs
        weights = weigh(self, params, memory, query, 1)
        mean = context(memory, weights, 1)
        y = matmul(jnp.concatenate([mean.astype(xs.dtype), xs], -1), params["w_c"])
        return Looked(output(jnp.tanh(y + params["b"].astype(y.dtype)), params["w_c"]), weights)

    def gates(self, params: Params, state: State, z: Looked, dot: Dot) -> AttentionGates:  # type: ignore[override]
        return AttentionGates(z.attention)

    def readout(self, params: Params, state: State, z: Looked) -> Any:
        return z.y


class Attended(NamedTuple):
    """The z of a cell that attends: its own, and a flag for each step whose axes tell a step from a sequence of them."""

    z: Any
    steps: jax.Array


class AttendGates(NamedTuple):
    """The attention `[..., S]` of one step, and the gates of the cell inside, or None."""

    attention: jax.Array
    cell: Any


class Attend(Cell):
    """A recurrent cell whose every step looks at a memory first; the query is its own output of the step before.

        a = softmax over s of score(y_{t-1}, memory_s);  context = sum_s a_s memory_s
        s_t = step(s_{t-1}, z_t + context @ w_context),  z_t the cell's own projection of x_t
        score = v . tanh(y @ w_q + memory_s @ w_k), additive;  or y . (memory_s @ w_k), multiplicative

    The memory is bound first, as for `Attention`. Before the first step the query is what the cell reads out of its initial state. Of a
    `GRU(reset_after=False)` it makes the paper's decoder; a GRU that resets after its matmul gets the context within the reset, too.

    Shapes: x `[..., F]`, memory `[S, *batch, M]`, y as the cell's, Y wide. State: the cell's. Params: `cell`, the cell's own,
    `w_context [M, Z]` with Z all that z holds, `w_k [M, size]`, `w_q [Y, size]`, `v [size]`, or, multiplicative, `w_k [M, Y]`; and
    `bound`, once bound. Gates: `attention [..., S]`, and the cell's own as `cell`.

    Args:
      cell: a recurrent cell that is not a composite, and whose z is floating arrays: noise goes around, `Zoneout(Attend(LSTM(8), 6), 0.1)`.
      memory: M, the width of the memory.
      score: "additive" or "multiplicative".
      size: the width at which queries and keys are added; Y by default, and of no use to the multiplicative score.

    Raises:
      TypeError: for a composite, or a layer without memory.
      ValueError: for a size below one or an unknown score; in `init`, for a cell whose z cannot be added to; while tracing, where nothing
        is bound, or a memory of another batch.

    Example:
      >>> cell = Attend(LSTM(8), memory=6)
      >>> params = cell.bind(cell.init(jax.random.key(0), features(3)), jnp.ones((7, 2, 6)))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 8)

    Bahdanau, Cho & Bengio 2015.
    """

    cell: Cell
    memory: int
    score: Score = "additive"
    size: int | None = None

    def __post_init__(self) -> None:
        errors.check_child(self, self.cell, Cell)
        if isinstance(self.cell, Composite | Feedforward) or self.cell.takes_memory:
            raise errors.not_a_leaf(self, self.cell)
        check(self)

    @property
    def takes_memory(self) -> bool:
        return True

    @property
    def takes_tokens(self) -> bool:
        return self.cell.takes_tokens

    @property
    def feature_ndim(self) -> int:
        return self.cell.feature_ndim

    def init(self, key: jax.Array, x: Any) -> Params:
        ki, ks, kc = jax.random.split(key, 3)
        inner = self.cell.init(ki, x)
        xs = jax.ShapeDtypeStruct((1, *x.shape[len(x.shape) - self.feature_ndim :]), x.dtype)
        noise = jax.eval_shape(lambda: Noise.at(jax.random.key(0), jnp.arange(1)))
        z = jax.eval_shape(self.cell.project, inner, xs, noise)
        if not all(jnp.issubdtype(leaf.dtype, jnp.floating) and len(leaf.shape) == 2 for leaf in jax.tree.leaves(z)):
            raise errors.no_room(self, self.cell, z)
        state = self.cell.initial_state(inner)
        y = jax.eval_shape(self.cell.readout, inner, state, jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), z))
        dtype = wide(y.dtype)
        width = sum(leaf.shape[-1] for leaf in jax.tree.leaves(z))
        w_context = initializers.glorot(kc, self.memory, width, 1, dtype)
        return {"cell": inner, "w_context": w_context, **weights_of(self, ks, y.shape[-1], self.size or y.shape[-1], dtype)}

    def bind(self, params: Params, memory: Any, mask: Any = None) -> Params:
        return bound(self, params, memory, mask)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        return self.cell.initial_state(params["cell"], batch_shape)

    def project(self, params: Params, xs: jax.Array, noise: Noise | None = None) -> Attended:
        found(self, params, xs.shape[1 : xs.ndim - self.feature_ndim])
        return Attended(self.cell.project(params["cell"], xs, noise), jnp.zeros(xs.shape[0], bool))

    def look(self, params: Params, state: State, z: Attended, dot: Dot) -> tuple[jax.Array, Any]:
        """The attention of a step, and the cell's z with what it saw."""
        lead = z.steps.ndim
        query = self.cell.readout(params["cell"], state, z.z)
        memory = found(self, params, query.shape[lead:-1])
        weights = weigh(self, params, memory, dot(query, "w_q") if self.score == "additive" else query, lead)
        leaves, tree = jax.tree.flatten(z.z)
        seen = dot(context(memory, weights, lead), "w_context")
        if len(leaves) == 1:  # the sum stands alone, so that the tangent of z carries that of w_context
            return weights, jax.tree.unflatten(tree, [leaves[0] + seen])
        ends = [sum(leaf.shape[-1] for leaf in leaves[: i + 1]) for i in range(len(leaves) - 1)]
        parts = jnp.split(seen, ends, -1)
        return weights, jax.tree.unflatten(tree, [leaf + part for leaf, part in zip(leaves, parts, strict=True)])

    @property
    def gates(self) -> Callable:  # type: ignore[override]
        def gates(params: Params, state: State, z: Attended, dot: Dot) -> AttendGates:
            weights, inner = self.look(params, state, z, dot)
            return AttendGates(weights, None if self.cell.gates is None else self.cell.gates(params["cell"], state, inner, dot["cell"]))

        return gates

    def step(self, params: Params, state: State, z: Attended, dot: Dot) -> State:
        return self.cell.step(params["cell"], state, self.look(params, state, z, dot)[1], dot["cell"])

    def readout(self, params: Params, state: State, z: Attended) -> Any:
        return self.cell.readout(params["cell"], state, z.z)
