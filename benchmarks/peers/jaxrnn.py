"""This library."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

import jaxrnn as rnn
from benchmarks.cases import Case
from benchmarks.peers.program import Program

CELLS = {"lstm": rnn.LSTM, "gru": rnn.GRU, "elman": rnn.Elman}


def network(case: Case) -> rnn.Cell:
    one = CELLS[case.cell](case.hidden)
    one = rnn.Bidirectional(one) if case.both else one
    return one if case.layers == 1 else rnn.Stack((one,) * case.layers)


def parameters(case: Case) -> Any:
    flat = case.weights()
    layers = [tuple(flat[2 * k : 2 * k + 2]) for k in range(case.layers)] if case.both else flat
    return layers[0] if case.layers == 1 else tuple(layers)


def flat(case: Case, params: Any) -> list[Any]:
    layers = (params,) if case.layers == 1 else params
    return [part for one in layers for part in (one if case.both else (one,))]


def build(case: Case) -> Program | None:
    net, mask = network(case), None if case.mask() is None else jnp.asarray(case.mask())
    return Program(lambda params, xs: rnn.unroll(net, params, xs, mask=mask)[1], parameters(case), case.inputs(), lambda g: flat(case, g), case.cell)
