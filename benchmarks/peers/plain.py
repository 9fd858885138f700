"""The textbook: `lax.scan` over a step with both products inside it, as most JAX code has it. It is
the reference that the others are held to.

Its linear recurrence is also recurrentgemma's on all but TPUs: `lax.scan` over `h = a h + b`,
differentiated by JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cases import CHARACTERS, Case
from benchmarks.peers import work
from benchmarks.peers.program import Compiled, Program


def step(cell: str, p: Any, state: Any, x: Any) -> Any:
    h = state[0]
    if cell == "lstm":
        i, f, g, o = jnp.split(x @ p["w_x"] + h @ p["w_h"] + p["b"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c
    if cell == "elman":
        return (jnp.tanh(x @ p["w_x"] + h @ p["w_h"] + p["b"]),)
    size = h.shape[-1]
    x = x @ p["w_x"] + p["b"]
    y = h @ p["w_h"] if cell == "gru" else h @ p["w_h"][:, : 2 * size]
    r, z = jnp.split(jax.nn.sigmoid(x[..., : 2 * size] + y[..., : 2 * size]), 2, axis=-1)
    late = (
        r * (y[..., 2 * size :] + p["b_n"]) if cell == "gru" else (r * h) @ p["w_h"][:, 2 * size :]
    )
    return ((1 - z) * jnp.tanh(x[..., 2 * size :] + late) + z * h,)


def layer(cell: str, hidden: int, p: Any, xs: Any, mask: Any, reverse: bool) -> Any:
    zero = (jnp.zeros((*xs.shape[1:-1], hidden), xs.dtype),) * (2 if cell == "lstm" else 1)

    def body(state: Any, inputs: Any) -> Any:
        x, valid = inputs
        new = step(cell, p, state, x)
        if valid is None:
            return new, new[0]
        return tuple(
            jnp.where(valid[:, None], a, b) for a, b in zip(new, state, strict=True)
        ), jnp.where(valid[:, None], new[0], 0)

    return jax.lax.scan(body, zero, (xs, mask), reverse=reverse)[1]


def build(case: Case, cell: str | None = None) -> Program | None:
    cell = cell or case.cell
    mask = case.mask()

    def apply(params: Any, xs: Any) -> Any:
        layers = iter(params)
        for _ in range(case.layers):
            forward = layer(cell, case.hidden, next(layers), xs, mask, False)
            xs = (
                jnp.concatenate(
                    [forward, layer(cell, case.hidden, next(layers), xs, mask, True)], -1
                )
                if case.both
                else forward
            )
        return xs

    return Program(apply, case.weights(), case.inputs(), lambda grads: grads, cell)


def recurrence(a: Any, b: Any, start: Any) -> Any:
    def body(h: Any, ab: Any) -> Any:
        h = ab[0] * h + ab[1]
        return h, h

    return jax.lax.scan(body, start, (a, b))[1]


def other(case: Case) -> Compiled | None:
    if case.work == "recurrence":
        return work.recurrence(case, recurrence)
    if case.work in ("ensemble", "population"):
        return work.population(
            case, lambda p, xs: layer(case.cell, case.hidden, p, xs, None, False)
        )
    params = jax.tree.map(
        jnp.asarray,
        case.net() | {"bias": np.zeros(CHARACTERS, np.float32), "cell": case.weights()[0]},
    )

    def logits(p: Any, text: Any) -> Any:
        return (
            layer(case.cell, case.hidden, p["cell"], p["embed"][text], None, False) @ p["head"]
            + p["bias"]
        )

    if case.work == "training":
        return work.training(case, logits, params)

    def sample(p: Any) -> Any:
        def body(carry: Any, _: Any) -> Any:
            state, token = carry
            state = step(case.cell, p["cell"], state, p["embed"][token])
            token = jnp.argmax(state[0] @ p["head"] + p["bias"], -1).astype(jnp.int32)
            return (state, token), token

        zero = (jnp.zeros((1, case.hidden)),) * (2 if case.cell == "lstm" else 1)
        return jax.lax.scan(body, (zero, jnp.zeros(1, jnp.int32)), None, case.steps)[1]

    return work.sampling(case, sample, params)


def references(case: Case) -> dict[str, Any]:
    """The results that the libraries are held to, by what they compute: "gru before" is the GRU of
    a library without the other."""
    if case.work != "layer":
        return {case.cell: other(case).results()}
    return {
        cell: build(case, cell).results()
        for cell in ((case.cell, "gru before") if case.cell == "gru" else (case.cell,))
    }
