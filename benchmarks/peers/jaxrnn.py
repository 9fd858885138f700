"""This library."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

import jaxrnn as rnn
from benchmarks.cases import CHARACTERS, Case
from benchmarks.peers import work
from benchmarks.peers.program import Compiled, Program

CELLS = {"lstm": rnn.LSTM, "gru": rnn.GRU, "elman": rnn.Elman}


def network(case: Case) -> rnn.Layer:
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


def build(case: Case, name: str = "scan") -> Program | None:
    net, mask = network(case), None if case.mask() is None else jnp.asarray(case.mask())
    size = math.ceil(math.sqrt(case.steps))
    strategy = {
        "scan": rnn.Scan(),
        "auto": rnn.Auto(),
        "chunked": rnn.Chunked(size),
        "fused": rnn.Fused(),
        "kept": rnn.Chunked(size, remat=False),
    }[name]

    def apply(params: Any, xs: Any) -> Any:
        return rnn.unroll(net, params, xs, mask=mask, strategy=strategy)[1]

    return Program(apply, parameters(case), case.inputs(), lambda g: flat(case, g), case.cell)


def other(case: Case) -> Compiled | None:
    if case.work == "recurrence":
        return work.recurrence(case, lambda a, b, start: rnn.linear_scan(a, b, start)[1])
    cell = CELLS[case.cell](case.hidden)
    if case.work in ("ensemble", "population"):
        return work.population(case, lambda params, xs: rnn.unroll(cell, params, xs)[1])
    net = rnn.Stack((rnn.Embed(CHARACTERS, case.features), cell, rnn.Dense(CHARACTERS)))
    given = jax.tree.map(jnp.asarray, case.net())
    params = (
        {"w": given["embed"]},
        jax.tree.map(jnp.asarray, case.weights()[0]),
        {"w": given["head"], "b": jnp.zeros(CHARACTERS)},
    )
    if case.work == "training":
        return work.training(case, lambda params, text: rnn.unroll(net, params, text)[1], params)

    def sample(params: Any) -> Any:
        step = jax.tree_util.Partial(rnn.advance, net, params)
        return rnn.decoding.greedy(
            step, net.initial_state(params, (1,)), jnp.zeros((1, 1), jnp.int32), case.steps
        )[1]

    return work.sampling(case, sample, params)
