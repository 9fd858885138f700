"""Attention over a memory, inside a recurrent cell's step."""

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.products import wide
from jaxrnn.axes import batch_shape, sequence_spec, steps
from jaxrnn.cell import Cell
from jaxrnn.combinators.attention_memory import (
    Score,
    bound,
    check,
    context,
    found,
    weigh,
    weights_of,
)
from jaxrnn.initializers import Initializer
from jaxrnn.layer import Layer, Noise, Params, State


class Attended(NamedTuple):
    """The z of a cell that attends: its own, and a flag for each step whose axes tell a step from a
    sequence of them.
    """

    z: Any
    steps: jax.Array


class AttendGates(NamedTuple):
    """The attention `[..., S]` of one step, and the gates of the cell inside, or None."""

    attention: jax.Array
    cell: Any


class AttentionCell(Cell):
    """A recurrent cell whose every step looks at a memory first; the query is its own output of the
    step before.

        a = softmax over s of score(y_{t-1}, memory_s);  context = sum_s a_s memory_s
        s_t = step(s_{t-1}, z_t + context @ w_context),  z_t the cell's own projection of x_t
        score = v . tanh(y @ w_q + memory_s @ w_k), additive
        score = y . (memory_s @ w_k), multiplicative

    Bind the memory first, as for `Attention`. Before the first step the query is the cell's output
    for its initial state. Around a `GRU(reset_after=False)` it is the paper's decoder; in a GRU
    that resets after its matmul, the reset applies to the context too.

    Shapes: x `[..., F]`, memory `[S, *batch, M]`, y as the cell's, Y wide. State: the cell's.
    Params: `cell`, the cell's own, `w_context [M, Z]` with Z the size of z, `w_k [M, size]`,
    `w_q [Y, size]`, `v [size]`, or, multiplicative, `w_k [M, Y]`; and `bound`, once bound. Gates:
    `attention [..., S]`, and the cell's own as `cell`.

    Args:
      cell: a recurrent cell that is not a composite, and whose z is floating arrays: put noise
        around it, `Zoneout(AttentionCell(LSTM(8), 6), 0.1)`.
      memory: M, the width of the memory.
      score: "additive" or "multiplicative".
      size: the width at which queries and keys are added; Y by default, and of no use to the
        multiplicative score.
      w_context_init, w_k_init, w_q_init, v_init: initializers of `jax.nn.initializers`' protocol.

    Raises:
      TypeError: for a composite, a layer without memory, or an initializer that is none.
      ValueError: for a size below one or an unknown score; in `init`, for a cell whose z cannot be
        added to, and for `w_q_init` or `v_init` of the multiplicative score; while tracing, where
        nothing is bound, or for a memory of another batch.

    Example:
      >>> cell = AttentionCell(LSTM(8), memory=6)
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
    _: KW_ONLY
    w_context_init: Initializer | None = None
    w_k_init: Initializer | None = None
    w_q_init: Initializer | None = None
    v_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_child(self, self.cell, Layer)
        if not isinstance(self.cell, Cell) or self.cell.takes_memory:
            raise errors.not_a_leaf(self, self.cell)
        check(self)

    @property
    def takes_memory(self) -> bool:
        return True

    @property
    def takes_tokens(self) -> Any:
        return self.cell.takes_tokens

    @property
    def feature_ndim(self) -> Any:
        return self.cell.feature_ndim

    def init(self, key: jax.Array, x: Any) -> Params:
        ki, ks, kc = jax.random.split(key, 3)
        inner = self.cell.init(ki, x)
        xs = sequence_spec(self, x)
        noise = jax.eval_shape(lambda: Noise.at(jax.random.key(0), jnp.arange(1)))
        z = jax.eval_shape(self.cell.project, inner, xs, noise)
        if not all(
            jnp.issubdtype(leaf.dtype, jnp.floating) and len(leaf.shape) == 2
            for leaf in jax.tree.leaves(z)
        ):
            raise errors.no_room(self, self.cell, z)
        state = self.cell.initial_state(inner)
        now = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), z)
        y = jax.eval_shape(self.cell.readout, inner, state, now)
        dtype = wide(y.dtype)
        width = sum(leaf.shape[-1] for leaf in jax.tree.leaves(z))
        w_context = initializers.glorot(kc, self.memory, width, 1, dtype)
        params = {
            "w_context": w_context,
            **weights_of(self, ks, y.shape[-1], self.size or y.shape[-1], dtype),
        }
        return {"cell": inner, **initializers.replaced(self, key, params)}

    def bind(self, params: Params, memory: Any, mask: Any = None) -> Params:
        return bound(self, params, memory, mask)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        return self.cell.initial_state(params["cell"], batch_shape)

    def project(self, params: Params, xs: Any, noise: Noise | None = None) -> Attended:
        found(self, params, batch_shape(self, xs, 1))
        return Attended(self.cell.project(params["cell"], xs, noise), jnp.zeros(steps(xs), bool))

    def look(self, params: Params, state: State, z: Attended, dot: Dot) -> tuple[jax.Array, Any]:
        """The attention of a step, and the cell's z with the context added."""
        lead = z.steps.ndim
        query = self.cell.readout(params["cell"], state, z.z)
        memory = found(self, params, query.shape[lead:-1])
        asked = dot(query, "w_q") if self.score == "additive" else query
        weights = weigh(self, params, memory, asked, lead)
        leaves, tree = jax.tree.flatten(z.z)
        seen = dot(context(memory, weights, lead), "w_context")
        # One sum stands alone, so that the tangent of z carries that of w_context.
        if len(leaves) == 1:
            return weights, jax.tree.unflatten(tree, [leaves[0] + seen])
        ends = [sum(leaf.shape[-1] for leaf in leaves[: i + 1]) for i in range(len(leaves) - 1)]
        parts = jnp.split(seen, ends, -1)
        return weights, jax.tree.unflatten(
            tree, [leaf + part for leaf, part in zip(leaves, parts, strict=True)]
        )

    @property
    def gates(self) -> Callable:
        def gates(params: Params, state: State, z: Attended, dot: Dot) -> AttendGates:
            weights, inner = self.look(params, state, z, dot)
            of_cell = self.cell.gates
            if of_cell is None:
                return AttendGates(weights, None)
            return AttendGates(weights, of_cell(params["cell"], state, inner, dot["cell"]))

        return gates

    def step(self, params: Params, state: State, z: Attended, dot: Dot) -> State:
        _, seen = self.look(params, state, z, dot)
        return self.cell.step(params["cell"], state, seen, dot["cell"])

    def readout(self, params: Params, state: State, z: Attended) -> Any:
        return self.cell.readout(params["cell"], state, z.z)
