"""Flax nnx: `nnx.RNN` over its optimized cells, time first, the initial carry given since it draws
one otherwise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.cases import Case
from benchmarks.peers.jaxrnn import CELLS
from benchmarks.peers.program import Program
from jaxrnn.interop.flax import from_nnx, to_nnx


def build(case: Case) -> Program | None:
    cells = [
        to_nnx(CELLS[case.cell](case.hidden), jax.tree.map(jnp.asarray, p)) for p in case.weights()
    ]
    graphs, states = zip(*(nnx.split(cell) for cell in cells), strict=True)
    lengths = jnp.asarray(case.lengths()) if case.ragged else None

    def apply(params: Any, xs: Any) -> Any:
        zero = jnp.zeros((case.batch, case.hidden))
        carry = (zero, zero) if case.cell == "lstm" else zero

        def one(k: int) -> Any:
            back = case.both and k % 2 == 1
            rnn = nnx.RNN(
                nnx.merge(graphs[k], params[k]), time_major=True, reverse=back, keep_order=back
            )
            return rnn(xs, initial_carry=carry, seq_lengths=lengths)

        for k in range(case.layers):
            xs = jnp.concatenate([one(2 * k), one(2 * k + 1)], -1) if case.both else one(k)
        return xs if lengths is None else jnp.where(case.mask()[..., None], xs, 0)

    def weights(grads: Any) -> list[Any]:
        return [from_nnx(nnx.merge(graph, g))[1] for graph, g in zip(graphs, grads, strict=True)]

    return Program(apply, list(states), case.inputs(), weights, case.cell)
