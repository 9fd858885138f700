"""One jitted step for all slots."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as rnn
from support.serving.model import Model, gates, states


class Ask(NamedTuple):
    """What each slot wants of a step, arrays `[slots]`.

    A slot that is not active keeps its state. One with `resets` begins from the initial state. The
    character drawn is the `counts`-th of the text that belongs to `seeds`.
    """

    tokens: np.ndarray
    active: np.ndarray
    resets: np.ndarray
    seeds: np.ndarray
    counts: np.ndarray
    temperatures: np.ndarray

    @classmethod
    def none(cls, slots: int) -> Ask:
        kinds = np.int32, bool, bool, np.uint32, np.int32, np.float32
        return cls(*(np.zeros(slots, kind) for kind in kinds))


class Engine:
    """A network and the states of its slots, on the device.

    All slots take every step in one program of one shape, so what a slot computes does not depend
    on which others are active: no bit of a text does.
    """

    def __init__(self, model: Model, slots: int):
        self.model, self.slots = model, slots
        self.program = jax.jit(partial(step, model.net), donate_argnums=1)
        self.clear()
        _, found = self(Ask.none(slots), True)  # compiled before the first client comes
        self.gates = () if found is None else found._fields
        self.units = 0 if found is None else found[0].shape[-1]

    def clear(self) -> None:
        self.state = self.model.net.initial_state(self.model.params, (self.slots,))

    def __call__(self, ask: Ask, looks: bool) -> tuple[np.ndarray, Any]:
        """The token that each slot draws, and where asked for the gates `[slots, units]`."""
        self.state, drawn, found = self.program(self.model.params, self.state, ask)
        return np.asarray(drawn), jax.tree.map(np.asarray, found) if looks else None


def step(net: rnn.Stack, params: Any, state: Any, ask: Ask) -> tuple[Any, jax.Array, Any]:
    """One step of every slot: the new state, the tokens drawn, the gates.

    The same program with and without a look at the gates: it records them in any case.
    """
    seen = rnn.diagnostics.record(
        net,
        params,
        ask.tokens[None],  # a sequence of one step
        state=state,
        mask=ask.active[None],
        resets=ask.resets[None],
    )
    new = jax.tree.unflatten(jax.tree.structure(state), [s[0] for s in states(seen)])
    # Token 0 is every byte that the text never had: it cannot be written.
    logits = seen[-1].ys[0].astype(jnp.float32).at[:, 0].set(-jnp.inf)
    drawn = jax.vmap(draw)(logits, ask.seeds, ask.counts, ask.temperatures)
    return new, drawn, jax.tree.map(lambda g: g[0], gates(seen))


def draw(logits: jax.Array, seed: jax.Array, count: jax.Array, temperature: jax.Array) -> jax.Array:
    """The token that `decoding.sample` draws: it depends on the key and on its place alone."""
    key = jax.random.fold_in(jax.random.key(seed), count)
    drawn = jax.random.categorical(key, logits / jnp.where(temperature > 0, temperature, 1))
    return jnp.where(temperature > 0, drawn, jnp.argmax(logits))
