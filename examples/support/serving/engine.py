"""One jitted step for all slots."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from support.serving.model import Ask, Model


class Engine:
    """A network and the states of its slots, on the device.

    All slots take every step in one program of one shape, so what a slot computes does not depend
    on which others are active: no bit of a text does.
    """

    def __init__(self, model: Model, slots: int):
        self.model, self.slots = model, slots
        self.program = jax.jit(partial(step, model.step), donate_argnums=1)
        self.clear()
        _, found = self(Ask.none(slots), True)  # compiled before the first client comes
        self.gates = () if found is None else found._fields
        self.units = 0 if found is None else found[0].shape[-1]

    def clear(self) -> None:
        self.state = self.model.first(self.model.params, self.slots)

    def __call__(self, ask: Ask, looks: bool) -> tuple[np.ndarray, Any]:
        """The token that each slot draws, and where asked for the gates `[slots, units]`."""
        self.state, drawn, found = self.program(self.model.params, self.state, ask)
        return np.asarray(drawn), jax.tree.map(np.asarray, found) if looks else None


def step(model: Callable, params: Any, state: Any, ask: Ask) -> tuple[Any, jax.Array, Any]:
    """One step of every slot: the new state, the tokens drawn, the gates.

    The same program with and without a look at the gates: it computes them in any case.
    """
    new, logits, gates = model(params, state, ask)
    # Token 0 is every byte that the text never had: it cannot be written.
    logits = logits.astype(jnp.float32).at[:, 0].set(-jnp.inf)
    return new, jax.vmap(draw)(logits, ask.seeds, ask.counts, ask.temperatures), gates


def draw(logits: jax.Array, seed: jax.Array, count: jax.Array, temperature: jax.Array) -> jax.Array:
    """The token that `decoding.sample` draws: it depends on the key and on its place alone."""
    key = jax.random.fold_in(jax.random.key(seed), count)
    drawn = jax.random.categorical(key, logits / jnp.where(temperature > 0, temperature, 1))
    return jnp.where(temperature > 0, drawn, jnp.argmax(logits))
