"""equinox: its cells are one row's, so `vmap` over the batch within `lax.scan`, as its examples
have it. It has no Elman cell."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.cases import Case
from benchmarks.peers.program import Program


def build(case: Case) -> Program | None:
    if case.cell == "elman" or case.both or case.ragged:
        return None
    kind = eqx.nn.LSTMCell if case.cell == "lstm" else eqx.nn.GRUCell

    def native(p: Any) -> Any:
        cell = kind(p["w_x"].shape[0], case.hidden, key=jax.random.key(0))
        where = [p["w_x"].T, p["w_h"].T, p["b"]] + ([p["b_n"]] if "b_n" in p else [])
        places = lambda c: [c.weight_ih, c.weight_hh, c.bias] + ([c.bias_n] if "b_n" in p else [])  # noqa: E731
        return eqx.tree_at(places, cell, list(map(jnp.asarray, where)))

    def apply(cells: Any, xs: Any) -> Any:
        zero = jnp.zeros((case.batch, case.hidden))
        for cell in cells:

            def body(state: Any, x: Any, cell: Any = cell) -> Any:
                state = jax.vmap(cell)(x, state)
                return state, state[0] if case.cell == "lstm" else state

            xs = jax.lax.scan(body, (zero, zero) if case.cell == "lstm" else zero, xs)[1]
        return xs

    cells = [native(p) for p in case.weights()]
    arrays, rest = eqx.partition(cells, eqx.is_array)

    def weights(grads: Any) -> list[Any]:
        return [{"w_x": g.weight_ih.T, "w_h": g.weight_hh.T} for g in grads]

    return Program(
        lambda params, xs: apply(eqx.combine(params, rest), xs),
        arrays,
        case.inputs(),
        weights,
        case.cell,
    )
