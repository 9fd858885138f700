"""dm-haiku: `hk.dynamic_unroll`, time first. Its GRU resets before the matmul, another function;
its VanillaRNN is a relu's, and is left out."""

from __future__ import annotations

from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cases import Case
from benchmarks.peers.program import Program


def build(case: Case) -> Program | None:
    if case.cell == "elman" or case.both or case.ragged:
        return None
    size = case.hidden

    def unrolled(xs: Any) -> Any:
        for _ in range(case.layers):
            core = hk.LSTM(size) if case.cell == "lstm" else hk.GRU(size)
            xs = hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]
        return xs

    net = hk.without_apply_rng(hk.transform(unrolled))
    names = list(jax.eval_shape(net.init, jax.random.key(0), jnp.asarray(case.inputs())))

    def igfo(block: Any) -> Any:
        i, f, g, o = (
            np.split(block, 4, -1) if isinstance(block, np.ndarray) else jnp.split(block, 4, -1)
        )
        return jnp.concatenate([i, g, f, o], -1)

    def zra(block: Any) -> Any:  # z is the share of the new state here, of the old one there
        r, z, n = jnp.split(jnp.asarray(block), 3, -1)
        return jnp.concatenate([-z, r, n], -1)

    def back(block: Any) -> Any:
        z, r, n = jnp.split(block, 3, -1)
        return jnp.concatenate([r, -z, n], -1)

    def native(p: Any) -> Any:
        if case.cell == "lstm":
            shift = jnp.zeros(4 * size).at[2 * size : 3 * size].set(1.0)  # its forget gate adds one
            return {"w": igfo(np.concatenate([p["w_x"], p["w_h"]])), "b": igfo(p["b"]) - shift}
        return {"w_i": zra(p["w_x"]), "w_h": zra(p["w_h"]), "b": zra(p["b"])}

    def weights(grads: Any) -> list[Any]:
        if case.cell == "lstm":
            both = [igfo(grads[name]["w"]) for name in names]
            return [{"w_x": w[:-size], "w_h": w[-size:]} for w in both]
        return [
            {"w_x": back(grads[name]["w_i"]), "w_h": back(grads[name]["w_h"])} for name in names
        ]

    params = dict(zip(names, map(native, case.weights()), strict=True))
    return Program(
        net.apply, params, case.inputs(), weights, "gru before" if case.cell == "gru" else case.cell
    )
