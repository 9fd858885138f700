"""equinox: its cells are one row's, so `vmap` over the batch within `lax.scan`, as its examples
have it. It has no Elman cell."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.cases import Case
from benchmarks.peers.jaxrnn import CELLS
from benchmarks.peers.program import Program
from jaxrnn.interop.equinox import from_equinox, to_equinox


def build(case: Case) -> Program | None:
    if case.cell == "elman" or case.both or case.ragged:
        return None

    def apply(cells: Any, xs: Any) -> Any:
        zero = jnp.zeros((case.batch, case.hidden))
        for cell in cells:

            def body(state: Any, x: Any, cell: Any = cell) -> Any:
                state = jax.vmap(cell)(x, state)
                return state, state[0] if case.cell == "lstm" else state

            xs = jax.lax.scan(body, (zero, zero) if case.cell == "lstm" else zero, xs)[1]
        return xs

    cells = [to_equinox(CELLS[case.cell](case.hidden), p) for p in case.weights()]
    arrays, rest = eqx.partition(cells, eqx.is_array)
    return Program(
        lambda params, xs: apply(eqx.combine(params, rest), xs),
        arrays,
        case.inputs(),
        lambda grads: [from_equinox(g)[1] for g in grads],
        case.cell,
    )
