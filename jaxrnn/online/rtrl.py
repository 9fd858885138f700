"""Real-time recurrent learning."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.composite import by_spec, specs
from jaxrnn.layer import Layer, Params, State
from jaxrnn.online.influence import Pattern, carried, direct, pattern_of, pulled
from jaxrnn.online.protocol import (
    Flag,
    Now,
    Online,
    broadcast,
    by_rows,
    initial,
    input_of,
    kept,
    looked_at,
    row_spec,
    stepped,
)
from jaxrnn.training.losses import MaskedMean


class Influence(NamedTuple):
    """The network's state, and the influence of the params on it, leaf by leaf (None where there is
    none).
    """

    state: State
    influence: Any


@by_spec
def pattern(cell: Layer, given: Any) -> Pattern:
    """How the influence of each leaf on the states of a whole net is kept."""
    params, x = given
    state = jax.eval_shape(partial(initial, cell), params)

    def step(params: Params, state: State, x: Any, mask: Any, reset: Any) -> State:
        return stepped(cell, params, state, x, mask, reset)[0]

    return pattern_of(step, params, state, (x, Flag, Flag), exact=True)


class RTRL(Online):
    """Real-time recurrent learning: the exact gradient of every step's loss, forward in time.

        J_t = (ds_t/ds_{t-1}) J_{t-1} + ds_t/dparams        J_0 = dinitial_state/dparams
        grads_t = (dl_t/ds_{t-1}) J_{t-1} + dl_t/dparams    each with the other held

    With the params held, the sum of `grads` over any stretch of time from the start is the gradient
    of backpropagation through it, for any causal net.

    Memory, in floats: B S P for B rows, S numbers of state and P params that reach a state. A cell
    whose units do not see one another (`DiagonalGRU`, `DiagonalLSTM`, `LRU`, `S5`, `MinGRU`,
    `MinLSTM`, `RGLRU`, or one of your own) needs B M P, with M the leaves of its state, 1 or 2, and
    time of a few forward passes. This is read off the jaxpr of the step, so that it is exact for
    any net. In a stack of recurrent layers, layers below reach all units of those above: B S P.
    Params of layers above the last recurrent one need nothing.

    Args:
      cell: a causal net.
      loss: `loss(ys, targets, mask) -> MaskedMean`, as for `training.bptt_step`; it is called with
        one step, `[1, ...]`.

    Raises:
      TypeError, ValueError: for a net that is not causal or looks at a bound memory, or a loss that
        is none.

    Example:
      >>> net = Stack((DiagonalGRU(8), Dense(1)))
      >>> params = net.init(jax.random.key(0), features(3))
      >>> learning = RTRL(net, mse)
      >>> learner = learning.init(params, (2,))
      >>> x, target = jnp.ones((2, 3)), jnp.ones((2, 1))
      >>> learner, (loss, grads) = learning.step(params, learner, x, target)
      >>> grads[0]["w_x"].shape
      (3, 24)

    Williams & Zipser 1989.
    """

    holds = Influence

    def begin(
        self, params: Params, batch: tuple[int, ...], key: jax.Array | None, x: Any
    ) -> Influence:
        x = input_of("RTRL", self.cell, params, x)
        how = pattern(self.cell, specs((params, x)))
        _, influence = direct(how, partial(initial, self.cell), params)
        return Influence(initial(self.cell, params, batch), broadcast(influence, batch))

    def learn(
        self, params: Params, learner: Influence, now: Now
    ) -> tuple[Influence, tuple[MaskedMean, Params]]:
        how = pattern(self.cell, (specs(params), row_spec(now)))
        state, influence = learner.state, kept(learner.influence, now)
        new, loss, explicit, signal = looked_at(self, params, state, now)
        grads = pulled(how, signal, influence, params, now.batch)

        def carry(
            params: Params, state: State, influence: Any, x: Any, mask: Any, reset: Any
        ) -> Any:
            def step(params: Params, state: State) -> State:
                return stepped(self.cell, params, state, x, mask, reset)[0]

            return carried(how, step, params, state, influence, step)

        rows = by_rows(carry, now.batch, shared=1)
        influence = rows(params, state, influence, now.x, now.mask, now.reset)
        return Influence(new, influence), (loss, jax.tree.map(jnp.add, explicit, grads))
