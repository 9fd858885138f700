"""Keras on its JAX backend: `keras.layers.LSTM`, GRU and SimpleRNN,
batch first, which is all it has."""

from __future__ import annotations

import os
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.cases import Case
from benchmarks.peers.program import Program

os.environ["KERAS_BACKEND"] = "jax"
import keras


def build(case: Case) -> Program | None:
    kind = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "elman": keras.layers.SimpleRNN}[
        case.cell
    ]

    def layer() -> Any:
        one = kind(case.hidden, return_sequences=True, zero_output_for_mask=True)
        return keras.layers.Bidirectional(one) if case.both else one

    layers = [layer() for _ in range(case.layers)]
    for one, size in zip(layers, case.sizes(), strict=True):
        one.build((case.batch, case.steps, size))
    mask = None if case.mask() is None else case.mask().T

    def turned(block: Any) -> Any:  # a GRU's blocks are z, r, n there
        if case.cell != "gru":
            return block
        r, z, n = jnp.split(jnp.asarray(block), 3, -1)
        return jnp.concatenate([z, r, n], -1)

    def native(p: Any) -> list[Any]:
        b = turned(p["b"])
        return [
            turned(p["w_x"]),
            turned(p["w_h"]),
            b if case.cell != "gru" else jnp.stack([b, jnp.zeros_like(b)]),
        ]

    flat = [native(p) for p in case.weights()]
    params = [
        [*flat[2 * k], *flat[2 * k + 1]] if case.both else flat[k] for k in range(case.layers)
    ]

    def apply(params: Any, xs: Any) -> Any:
        for one, trainable in zip(layers, params, strict=True):
            fixed = [v.value for v in one.non_trainable_variables]
            xs = one.stateless_call(
                trainable, fixed, xs, **({} if mask is None else {"mask": mask})
            )[0]
        return xs

    def weights(grads: Any) -> list[Any]:
        parts = [g[i : i + 3] for g in grads for i in ((0, 3) if case.both else (0,))]
        return [{"w_x": turned(part[0]), "w_h": turned(part[1])} for part in parts]

    return Program(apply, params, np.asarray(case.inputs()), weights, case.cell, batch_first=True)
