"""jax.experimental.rnn: cuDNN's LSTM from JAX, on NVIDIA's GPUs alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import rnn

from benchmarks.cases import Case
from benchmarks.peers.jaxrnn import flat, network, parameters
from benchmarks.peers.program import Program
from jaxrnn.interop.cudnn import from_packed, to_packed


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
        return flat(case, from_packed(weights, *sizes, case.both)[1])

    packed = to_packed(network(case), parameters(case))
    return Program(apply, packed, case.inputs(), named, case.cell, batch_first=True)
