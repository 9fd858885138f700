"""Units that keep their old value at random."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.autodiff.dot import Dot
from jaxrnn.combinators.wrapper import Wrapper
from jaxrnn.layer import Noise, Params, State
from jaxrnn.layers.noise import bernoulli


class Zoneout(Wrapper):
    """A cell in which each unit of the state keeps its old value with some probability.

        with a key:     s' = old where m, else new
        without a key:  s' = rate * old + (1 - rate) * new

    `new` is the cell's step from `old`. Each entry of m is true with probability `rate`, drawn
    afresh at every step; without a key the state is the expectation. The output is read out of s'.
    At rate 0 the cell is as it is.

    Params, state and gates: the cell's.

    Args:
      cell: any recurrent cell that is not a composite.
      rate: the probability of keeping, in [0, 1): one number, or one for each array of the state,
        in its order (an LSTM's h, c).

    Raises:
      TypeError: for a composite, or a layer without memory.
      ValueError: for a rate outside [0, 1); in `init`, for rates that are not as many as the
        state's arrays.

    Example:
      >>> cell = Zoneout(LSTM(8), (0.05, 0.5))
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 3)), key=jax.random.key(1))

    Krueger et al. 2017.
    """

    rate: float | tuple[float, ...]

    def check(self) -> None:
        for rate in self.rate if isinstance(self.rate, tuple) else (self.rate,):
            errors.check_rate(self, "rate", rate)

    def rates(self, state: State) -> Any:
        """A rate for each array of the state, in the state's structure."""
        leaves, tree = jax.tree.flatten(state)
        rates = self.rate if isinstance(self.rate, tuple) else (self.rate,) * len(leaves)
        if len(rates) != len(leaves) or not leaves:
            raise errors.zoneout_rates(self, len(rates), state)
        return jax.tree.unflatten(tree, rates)

    def draw(self, params: Params, state: State, z: Any, noise: Noise) -> Any:
        leaves, tree = jax.tree.flatten(state)
        rates = jax.tree.leaves(self.rates(state))
        masks = [
            bernoulli(noise.place(i), r, s.shape, "step")
            for i, (r, s) in enumerate(zip(rates, leaves, strict=True))
        ]
        return jax.tree.unflatten(tree, masks)

    def lowered(self, dot: Dot, masks: Any) -> Dot:
        return dot

    def settled(self, old: State, new: State, masks: Any) -> State:
        if masks is None:
            return jax.tree.map(
                lambda rate, old, new: rate * old + (1 - rate) * new, self.rates(old), old, new
            )
        return jax.tree.map(jnp.where, masks, old, new)
