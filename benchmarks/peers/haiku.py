"""dm-haiku: `hk.dynamic_unroll`, time first. Its GRU resets before the matmul, another function;
its VanillaRNN is a relu's, and is left out."""

from __future__ import annotations

from typing import Any

import haiku as hk

import jaxrnn as rnn
from benchmarks.cases import Case
from benchmarks.peers.program import Program
from jaxrnn.interop.haiku import from_haiku, to_haiku
from jaxrnn.interop.weights import recurrent, reset_before


def build(case: Case) -> Program | None:
    if case.cell == "elman" or case.both or case.ragged:
        return None
    size, lstm = case.hidden, case.cell == "lstm"

    def unrolled(xs: Any) -> Any:
        for _ in range(case.layers):
            core = hk.LSTM(size) if lstm else hk.GRU(size)
            xs = hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]
        return xs

    net = hk.without_apply_rng(hk.transform(unrolled))
    cell = rnn.LSTM(size) if lstm else rnn.GRU(size, reset_after=False)
    given = [{name: p[name] for name in ("w_x", "w_h", "b")} for p in case.weights()]
    parts = tuple(p if lstm else reset_before(p) for p in given)
    names = [case.cell + f"_{k}" * (k > 0) for k in range(case.layers)]
    params = to_haiku(rnn.Stack((cell,) * case.layers), parts, names)

    def weights(grads: Any) -> list[Any]:
        return [{"w_x": p["w_x"], "w_h": recurrent(p)} for p in from_haiku(grads, names)[1]]

    kind = "lstm" if lstm else "gru before"
    return Program(net.apply, params, case.inputs(), weights, kind)
