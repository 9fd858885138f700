"""Flax linen: `nn.RNN` over its optimized cells, time first."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen

from benchmarks.cases import Case
from benchmarks.peers.jaxrnn import CELLS
from benchmarks.peers.program import Program
from jaxrnn.interop.flax import from_linen, to_linen


def build(case: Case) -> Program | None:
    converted = [to_linen(CELLS[case.cell](case.hidden), p) for p in case.weights()]
    cell = linen.OptimizedLSTMCell(case.hidden) if case.cell == "lstm" else converted[0][0]
    forward, backward = (
        linen.RNN(cell, time_major=True),
        linen.RNN(cell, time_major=True, reverse=True, keep_order=True),
    )
    lengths = case.lengths() if case.ragged else None

    def apply(params: Any, xs: Any) -> Any:
        layers = iter(params)

        def one(rnn: Any) -> Any:
            return rnn.apply({"params": {"cell": next(layers)}}, xs, seq_lengths=lengths)

        for _ in range(case.layers):
            ys = one(forward)
            xs = jnp.concatenate([ys, one(backward)], -1) if case.both else ys
        return xs if lengths is None else jnp.where(case.mask()[..., None], xs, 0)

    def weights(grads: Any) -> list[Any]:
        return [from_linen(cell, g)[1] for g in grads]

    return Program(
        apply,
        [variables["params"] for _, variables in converted],
        case.inputs(),
        weights,
        case.cell,
    )
