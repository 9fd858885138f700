"""Dropout inside the recurrence."""

from typing import Any

import jax

from jaxrnn import errors
from jaxrnn.autodiff.dot import Dot, Path
from jaxrnn.combinators.wrapper import Wrapper
from jaxrnn.layer import Noise, Params, State
from jaxrnn.layers.noise import PERS, Per, bernoulli, drop


class RecurrentDropout(Wrapper):
    """Dropout on the inputs of every recurrent matmul of a cell.

        dot(h, "w_h") becomes (m * h / (1 - rate)) @ w_h
        each entry of m is one with probability 1 - rate, else zero

    It drops only with a key. Without one the cell is as it is, which is the expectation of the
    product. One mask is drawn for each recurrent weight and shared by all gates in it, row by row.
    Nothing else is dropped: a carried state is kept whole (the c of an LSTM, `z * h` in a GRU). For
    inputs, put a `Dropout` before the cell.

    Params, state and gates: the cell's. Composes with other wrappers:
    `Zoneout(RecurrentDropout(LSTM(8), 0.2), 0.1)`.

    Args:
      cell: any recurrent cell that is not a composite.
      rate: the probability of dropping, in [0, 1).
      per: "sequence" for one mask at all steps, "step" for a fresh one at each.

    Raises:
      TypeError: for a composite, or a layer without memory.
      ValueError: for a rate outside [0, 1) or an unknown `per`; in `init`, for a cell whose step
        has no recurrent matmul.

    Example:
      >>> cell = RecurrentDropout(LSTM(8), 0.25)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 3)), key=jax.random.key(1))

    Called `recurrent_dropout=rate` in Keras.

    Gal & Ghahramani 2016 (one mask per sequence).
    """

    rate: float
    per: Per = "sequence"

    def check(self) -> None:
        errors.check_rate(self, "rate", self.rate)
        errors.check_choice(self, "per", self.per, PERS)

    def draw(self, params: Params, state: State, z: Any, noise: Noise) -> Any:
        shapes: dict[str, tuple[int, ...]] = {}

        def seen(x: jax.Array, path: Path) -> jax.Array:
            shapes[str(path)] = x.shape
            return x

        def step(params: Params, state: State, z: Any) -> State:
            return self.cell.step(params, state, z, Dot(params, seen))

        jax.eval_shape(step, params, state, z)
        if not shapes:
            raise errors.no_dot(self, self.cell)
        return {
            name: bernoulli(noise.place(i), 1 - self.rate, shape, self.per)
            for i, (name, shape) in enumerate(shapes.items())
        }

    def lowered(self, dot: Dot, masks: Any) -> Dot:
        if masks is None:
            return dot

        return dot.fed(lambda x, path: drop(x, masks[str(path)], self.rate))

    def settled(self, old: State, new: State, masks: Any) -> State:
        return new
