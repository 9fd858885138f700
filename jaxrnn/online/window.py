"""Backpropagation through time, step by step: through all steps so far, or the last few."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jaxrnn import errors
from jaxrnn.composite import zeros
from jaxrnn.controls import choose
from jaxrnn.layer import Params, State
from jaxrnn.online.protocol import Now, Online, initial, input_of, measured, stepped
from jaxrnn.training.losses import MaskedMean
from jaxrnn.unroll import unroll


class Window(NamedTuple):
    """The network's state; the state before the steps that are kept; their inputs, masks and
    resets, `[K, ...]`, the latest last; and how many steps ago each row began, 0 before it does.
    """

    state: State
    before: State
    xs: Any
    mask: jax.Array
    resets: jax.Array
    age: jax.Array


class Windowed(Online):
    """The gradient of a step's loss through the last K steps, which are computed again."""

    holds = Window

    @property
    def kept(self) -> int:
        """K."""
        raise NotImplementedError

    def begin(
        self, params: Params, batch: tuple[int, ...], key: jax.Array | None, x: Any
    ) -> Window:
        x = input_of(type(self).__name__, self.cell, params, x)
        state, shape = initial(self.cell, params, batch), (self.kept, *batch)
        none = jnp.zeros(shape, bool)
        return Window(state, state, zeros(x, shape), none, none, jnp.zeros(batch, jnp.int32))

    def learn(
        self, params: Params, learner: Window, now: Now
    ) -> tuple[Window, tuple[MaskedMean, Params]]:
        cell, (_, before, *rows, age) = self.cell, learner
        valid = jnp.ones(now.batch, bool) if now.mask is None else now.mask
        # A row's first step is a reset, so that the gradient reaches a learned initial state.
        begins = valid & (age == 0) if now.reset is None else valid & (now.reset | (age == 0))
        age = jnp.where(begins, 1, age + (age > 0).astype(age.dtype))
        # The oldest step leaves; an empty place is a step under a false mask, which does nothing.
        x, mask, reset = jax.tree.map(lambda a: a[0], tuple(rows))
        before, _ = stepped(cell, params, before, x, mask, reset, now.batch)
        xs, mask, resets = jax.tree.map(
            lambda a, new: jnp.concatenate([a[1:], new[None]]), tuple(rows), (now.x, valid, begins)
        )

        def total(params: Params) -> tuple[jax.Array, tuple[State, MaskedMean]]:
            state, ys = unroll(cell, params, xs, state=before, mask=mask, resets=resets)
            loss = measured(self.loss, jax.tree.map(lambda y: y[-1], ys), now)
            return loss.total, (state, loss)

        (_, (state, loss)), grads = jax.value_and_grad(total, has_aux=True)(params)
        return Window(state, before, xs, mask, resets, age), (loss, grads)


class TBPTT(Windowed):
    """Truncated backpropagation through time: the gradient of every step's loss through the last
    `k2` steps.

        grads_t = dl_t/dparams, with s_{t-k2} held

    Equal to `BPTT` while no row has run for more than `k2` steps; what lies further back has no
    gradient. The steps kept are computed again with the params of now. Each step of learning takes
    the time of `k2`; the cheaper form that learns once a segment is
    `training.truncated_bptt_step`.

    Memory, in floats: k2 B F + 2 B S for the inputs, and k2 times a step's residuals while a
    gradient is computed, for B rows of F features and S numbers of state.

    Args:
      cell: a causal net.
      loss: `loss(ys, targets, mask) -> MaskedMean`, as for `training.bptt_step`; it is called with
        one step, `[1, ...]`.
      k2: how many steps the gradient reaches back, this one counted.

    Raises:
      TypeError, ValueError: for a net that is not causal or looks at a bound memory, a loss that is
        none, or a window below one.

    Example:
      >>> net = Stack((GRU(8), Dense(1)))
      >>> params = net.init(jax.random.key(0), features(3))
      >>> learning = TBPTT(net, mse, k2=5)
      >>> learner = learning.init(params, (2,))
      >>> x, target = jnp.ones((2, 3)), jnp.ones((2, 1))
      >>> learner, (loss, grads) = learning.step(params, learner, x, target)
      >>> learner.xs.shape
      (5, 2, 3)

    Williams & Peng 1990.
    """

    k2: int

    def __post_init__(self) -> None:
        super().__post_init__()
        errors.check_size("TBPTT", "k2", self.k2)

    @property
    def kept(self) -> int:
        return self.k2


class BPTT(Windowed):
    """Backpropagation through time under the protocol of learning online: the exact gradient of
    every step's loss, through all steps since its row began.

        grads_t = dl_t/dparams

    It is here to be exchanged for the others and to check them: every step goes back over all that
    came before, T steps take time T `steps`. `training.bptt_step` takes T.

    Memory, in floats: steps B F + 2 B S for the inputs, and `steps` times a step's residuals while
    a gradient is computed, for B rows of F features and S numbers of state. It grows with `steps`.

    Args:
      cell: a causal net.
      loss: `loss(ys, targets, mask) -> MaskedMean`, as for `training.bptt_step`; it is called with
        one step, `[1, ...]`.
      steps: how many steps a row may run from its beginning or its last reset. Past them the
        gradient would not be exact: then the call is refused, or, within a `jit` or a scan, the
        loss and the gradient are NaN.

    Raises:
      TypeError, ValueError: for a net that is not causal or looks at a bound memory, a loss that is
        none, or `steps` below one.

    Example:
      >>> net = Stack((GRU(8), Dense(1)))
      >>> params = net.init(jax.random.key(0), features(3))
      >>> learning = BPTT(net, mse, steps=20)
      >>> learner = learning.init(params, (2,))
      >>> x, target = jnp.ones((2, 3)), jnp.ones((2, 1))
      >>> learner, (loss, grads) = learning.step(params, learner, x, target)
      >>> learner.age
      Array([1, 1], dtype=int32)

    Werbos 1990.
    """

    steps: int

    def __post_init__(self) -> None:
        super().__post_init__()
        errors.check_size("BPTT", "steps", self.steps)

    @property
    def kept(self) -> int:
        return self.steps

    def step(
        self,
        params: Params,
        learner: Window,
        x: Any,
        target: Any,
        *,
        mask: Any = None,
        reset: Any = None,
    ) -> tuple[Window, tuple[MaskedMean, Params]]:
        new, result = super().step(params, learner, x, target, mask=mask, reset=reset)
        if not isinstance(new.age, Tracer) and (age := int(new.age.max(initial=0))) > self.steps:
            raise errors.beyond_window("BPTT", self.steps, age)
        return new, result

    def learn(
        self, params: Params, learner: Window, now: Now
    ) -> tuple[Window, tuple[MaskedMean, Params]]:
        new, (loss, grads) = super().learn(params, learner, now)
        exact = new.age.max(initial=0) <= self.steps
        grads = choose(exact, grads, jax.tree.map(lambda g: jnp.full_like(g, jnp.nan), grads))
        return new, (loss._replace(total=jnp.where(exact, loss.total, jnp.nan)), grads)
