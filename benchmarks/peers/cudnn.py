"""jax.experimental.rnn: cuDNN's LSTM from JAX, on NVIDIA's GPUs alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import rnn

from benchmarks.cases import Case
from benchmarks.peers.program import Program


def packed(case: Case) -> np.ndarray:
    """All weights in one vector: `w_x` and `w_h` of every layer, then its two biases."""
    layers = case.weights()
    matrices = [layer[name].T for layer in layers for name in ("w_x", "w_h")]
    biases = [b for layer in layers for b in (layer["b"], np.zeros_like(layer["b"]))]
    return np.concatenate([a.ravel() for a in (*matrices, *biases)])


def build(case: Case) -> Program | None:
    if jax.default_backend() != "gpu":
        raise NotImplementedError("cuDNN runs on NVIDIA's GPUs alone")
    return None if case.cell != "lstm" or case.ragged else program(case)


def program(case: Case) -> Program:
    sizes = case.features, case.hidden, case.layers
    zero = jnp.zeros((case.layers * (2 if case.both else 1), case.batch, case.hidden))
    lengths = jnp.full(case.batch, case.steps, jnp.int32)

    def apply(weights: Any, xs: Any) -> Any:
        return rnn.lstm(xs, zero, zero, weights, lengths, *sizes, 0.0, case.both)[0]

    def named(weights: Any) -> list[dict[str, Any]]:
        w_x, w_h, _, _ = rnn.unpack_lstm_weights(weights, *sizes, case.both)
        return [{"w_x": w_x[k].T, "w_h": w_h[k].T} for k in w_x]

    return Program(
        apply, jnp.asarray(packed(case)), case.inputs(), named, case.cell, batch_first=True
    )
