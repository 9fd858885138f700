"""Work other than a layer's, for libraries on JAX: each says how it samples, trains, maps over
members and runs a linear recurrence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.cases import OVER, Case
from benchmarks.peers.program import Compiled

ADAM = 1e-3


def sampling(case: Case, sample: Callable[[Any], Any], params: Any) -> Compiled:
    """`sample(params)` are the characters `[T, 1]`."""
    return Compiled(
        {"forward": sample},
        (params,),
        lambda tokens: {"characters": tokens.reshape(-1).astype(jnp.float32)},
        case.cell,
    )


def training(case: Case, logits: Callable[[Any, Any], Any], params: Any) -> Compiled:
    """`logits(params, text)` are `[T, B, V]`.
    The law compares the loss before the step and after it."""
    rule = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(ADAM))

    def loss(params: Any, text: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(
            logits(params, text[:-1]), text[1:]
        ).mean()

    def step(params: Any, state: Any, text: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, text)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
            updates, state = rule.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    text = jnp.asarray(case.text())

    def named(made: Any) -> dict[str, Any]:
        return {"loss": made[2], "loss after": loss(made[0], text)}

    return Compiled({"gradient": step}, (params, rule.init(params), text), named, case.cell)


def population(case: Case, layer: Callable[[Any, Any], Any]) -> Compiled:
    """`layer(params, xs)` are the outputs of one member; `vmap` makes those of all,
    alike for every library."""
    weights = case.weights()
    params = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *weights) if case.own_params else weights[0]
    )
    axes = OVER[case.over]
    apply = layer if axes is None else jax.vmap(layer, axes)

    def loss(params: Any, xs: Any) -> Any:
        return jnp.mean(jnp.square(apply(params, xs)))

    def named(made: Any) -> dict[str, Any]:
        return {"loss": made[0], "w_h": made[1]["w_h"], "w_x": made[1]["w_x"]}

    passes = {"forward": loss, "gradient": jax.value_and_grad(loss)}
    return Compiled(passes, (params, jnp.asarray(case.inputs())), named, case.cell)


def recurrence(case: Case, run: Callable[[Any, Any, Any], Any]) -> Compiled:
    """`run(a, b, start)` are the states `[T, H]`."""

    def loss(a: Any, b: Any, start: Any) -> Any:
        return jnp.mean(jnp.square(run(a, b, start)))

    passes = {"forward": loss, "gradient": jax.value_and_grad(loss, (0, 1, 2))}
    args = tuple(map(jnp.asarray, case.coefficients()))
    return Compiled(
        passes,
        args,
        lambda made: {"loss": made[0], **dict(zip(("da", "db", "dstart"), made[1], strict=True))},
        "linear",
    )
