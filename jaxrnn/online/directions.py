"""Unbiased estimates from random directions: UORO and forward gradients."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrnn import errors
from jaxrnn.autodiff.products import wide
from jaxrnn.composite import specs
from jaxrnn.controls import choose
from jaxrnn.layer import Params, State
from jaxrnn.online.protocol import (
    Now,
    Online,
    broadcast,
    by_rows,
    initial,
    kept,
    looked_at,
    measured,
    stepped,
)
from jaxrnn.params import trainable
from jaxrnn.training.losses import MaskedMean

LEAST = 1e-7  # beside norms, so that none divides by 0


class RankOne(NamedTuple):
    """The network's state, and the influence as an outer product of a state and params, for each
    row.
    """

    state: State
    left: State
    right: Params
    key: jax.Array


class Direction(NamedTuple):
    """The network's state, its derivative along a direction of the params, that direction, and how
    many steps it has been followed for.
    """

    state: State
    tangent: State
    direction: Params
    key: jax.Array
    steps: jax.Array


def signs(key: jax.Array, tree: Any, batch: tuple[int, ...] = ()) -> Any:
    """Plus or minus one for each number of a tree, with batch axes before it."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, max(len(leaves), 1))
    drawn = [
        jax.random.rademacher(k, (*batch, *a.shape), a.dtype)
        for k, a in zip(keys, leaves, strict=False)
    ]
    return structure.unflatten(drawn)


def norm(tree: Any) -> jax.Array:
    """The length of all numbers of a tree together."""
    squares = [jnp.sum(jnp.square(a)).astype(float) for a in jax.tree.leaves(tree)]
    return jnp.sqrt(sum(squares, jnp.zeros((), float)))


def widened(tree: Any) -> Any:
    """In the dtype that sums are kept in."""
    return jax.tree.map(lambda a: a.astype(wide(a.dtype)), tree)


def scaled(tree: Any, by: jax.Array) -> Any:
    """A tree times a number, its dtypes kept."""
    return jax.tree.map(lambda a: a * by.astype(a.dtype), tree)


def ratio(a: jax.Array, b: jax.Array) -> jax.Array:
    """The factor that makes two norms alike: divides the first vector, multiplies the second."""
    return jnp.sqrt((a + LEAST) / (b + LEAST))


class UORO(Online):
    """Unbiased online recurrent optimisation: the influence as one outer product, right in the
    mean.

        J_t ~ u_t v_t                     u like a state, v like the params, for each row
        u_t = r (A_t u_{t-1}) + q n       n: random signs, like a state
        v_t = v_{t-1} / r + (n B_t) / q
        r = sqrt(|v_{t-1}| / |A_t u_{t-1}|),  q = sqrt(|n B_t| / |n|)
        grads_t = (dl_t/ds_{t-1} . u_{t-1}) v_{t-1} + dl_t/dparams

    With `E[n n^T] = 1` the mean of `u_t v_t` is `A_t E[u v] + B_t`: `grads` has the mean of
    `RTRL`'s, for any causal net, and a variance that grows with S. The factors r and q, which only
    share out lengths, keep it low; rows draw for themselves, so that a batch averages it.

    Memory, in floats: B (S + P) for B rows, S numbers of state and P params. Time: three passes of
    a step.

    Args:
      cell: a causal net.
      loss: `loss(ys, targets, mask) -> MaskedMean`, as for `training.bptt_step`; it is called with
        one step, `[1, ...]`.

    Raises:
      TypeError, ValueError: for a net that is not causal or looks at a bound memory, or a loss that
        is none; TypeError in `init` without a key.

    Example:
      >>> net = Stack((GRU(8), Dense(1)))
      >>> params = net.init(jax.random.key(0), features(3))
      >>> learning = UORO(net, mse)
      >>> learner = learning.init(params, (2,), jax.random.key(1))
      >>> x, target = jnp.ones((2, 3)), jnp.ones((2, 1))
      >>> learner, (loss, grads) = learning.step(params, learner, x, target)
      >>> learner.right[0]["w_h"].shape
      (2, 8, 24)

    Tallec & Ollivier 2017.
    """

    holds = RankOne

    def begin(
        self, params: Params, batch: tuple[int, ...], key: jax.Array | None, x: Any
    ) -> RankOne:
        if key is None:
            raise errors.needs_directions("UORO")
        state = initial(self.cell, params)
        later, now = jax.random.split(key)
        begin = partial(initial, self.cell)

        # As a step from nothing, whose B is what the first state owes to the params.
        def first(params: Params, n: State) -> tuple[State, Params]:
            fresh = widened(jax.vjp(begin, params)[1](n)[0])
            q = ratio(norm(fresh), norm(n))
            return scaled(n, q), scaled(fresh, 1 / q)

        left, right = by_rows(first, batch, shared=1)(params, signs(now, state, batch))
        return RankOne(broadcast(state, batch), left, right, later)

    def learn(
        self, params: Params, learner: RankOne, now: Now
    ) -> tuple[RankOne, tuple[MaskedMean, Params]]:
        state, left, right, key = learner
        left, right = kept((left, right), now)
        new, loss, explicit, signal = looked_at(self, params, state, now)
        axes = len(now.batch)

        def along(signal: State, left: State) -> jax.Array:
            return jnp.asarray(optax.tree.vdot(signal, left))

        weights = by_rows(along, now.batch, shared=0)(signal, left)
        grads = jax.tree.map(
            lambda e, v: e + jnp.tensordot(weights.astype(v.dtype), v, axes).astype(e.dtype),
            explicit,
            right,
        )
        key, draw = jax.random.split(key)

        def carry(
            params: Params, state: State, left: State, right: Params, n: State, *given: Any
        ) -> tuple[State, Params]:
            def step(params: Params, state: State) -> State:
                x, mask, reset = given
                return stepped(self.cell, params, state, x, mask, reset)[0]

            _, moved = jax.jvp(lambda s: step(params, s), (state,), (left,))
            fresh = widened(jax.vjp(lambda p: step(p, state), params)[1](n)[0])
            r, q = ratio(norm(right), norm(moved)), ratio(norm(fresh), norm(n))
            left = jax.tree.map(jnp.add, scaled(moved, r), scaled(n, q))
            return left, jax.tree.map(jnp.add, scaled(right, 1 / r), scaled(fresh, 1 / q))

        n = signs(draw, specs(state))
        rows = by_rows(carry, now.batch, shared=1)
        pair = rows(params, state, left, right, n, now.x, now.mask, now.reset)
        if now.mask is not None:  # A is the identity and B zero: nothing to draw
            pair = choose(now.mask, pair, (left, right))
        left, right = pair
        return RankOne(new, left, right, key), (loss, grads)


class ForwardGradient(Online):
    """Forward gradients: the derivative along one random direction of the params, times that
    direction.

        d_t = A_t d_{t-1} + B_t v         v: random signs, like the params; d like a state
        grads_t = (dl_t/ds_{t-1} . d_{t-1} + dl_t/dparams . v) v

    Since `E[v v^T] = 1`, `grads` has the mean of `RTRL`'s over draws of v, for any causal net. Its
    variance grows with P: an entry's is the squared length of all the others of the gradient. It
    has no backward pass at all: a step costs twice a forward pass.

    Under one v a learner moves along one line. `every` draws a new one now and then, and the
    derivative of the state begins again from zero: what lies before that draw has no gradient.

    Memory, in floats: B S + P for B rows, S numbers of state and P params.

    Args:
      cell: a causal net.
      loss: `loss(ys, targets, mask) -> MaskedMean`, as for `training.bptt_step`; it is called with
        one step, `[1, ...]`.
      every: after how many steps a new direction is drawn; None for one that stays.

    Raises:
      TypeError, ValueError: for a net that is not causal or looks at a bound memory, a loss that is
        none, or `every` below one; TypeError in `init` without a key.

    Example:
      >>> net = Stack((GRU(8), Dense(1)))
      >>> params = net.init(jax.random.key(0), features(3))
      >>> learning = ForwardGradient(net, mse, every=20)
      >>> learner = learning.init(params, (2,), jax.random.key(1))
      >>> x, target = jnp.ones((2, 3)), jnp.ones((2, 1))
      >>> learner, (loss, grads) = learning.step(params, learner, x, target)
      >>> learner.tangent[0].shape
      (2, 8)

    Baydin et al. 2022; over time: Silver et al. 2022.
    """

    every: int | None = None
    holds = Direction

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every is not None:
            errors.check_size("ForwardGradient", "every", self.every)

    def begin(
        self, params: Params, batch: tuple[int, ...], key: jax.Array | None, x: Any
    ) -> Direction:
        if key is None:
            raise errors.needs_directions("ForwardGradient")
        later, now = jax.random.split(key)
        v = drawn(now, params)
        state, tangent = jax.jvp(lambda p: initial(self.cell, p, batch), (params,), (v,))
        return Direction(state, tangent, v, later, jnp.int32(0))

    def learn(
        self, params: Params, learner: Direction, now: Now
    ) -> tuple[Direction, tuple[MaskedMean, Params]]:
        state, tangent, v, key, steps = learner
        if self.every is not None:
            following, draw = jax.random.split(key)
            renew = steps == self.every
            fresh = drawn(draw, params), jax.tree.map(jnp.zeros_like, tangent)
            v, tangent = choose(renew, fresh, (v, tangent))
            key = choose(renew, following, key)
            steps = jnp.where(renew, 0, steps)

        def total(params: Params, state: State) -> tuple[tuple[jax.Array, State], MaskedMean]:
            new, y = stepped(self.cell, params, state, now.x, now.mask, now.reset, now.batch)
            loss = measured(self.loss, y, now)
            return (loss.total, new), loss

        (_, new), (slope, tangent), loss = jax.jvp(
            total, (params, state), (v, tangent), has_aux=True
        )
        return Direction(new, tangent, v, key, steps + 1), (loss, scaled(v, slope))


def drawn(key: jax.Array, params: Params) -> Params:
    """A direction for all params that are trained."""
    return jax.tree.map(
        lambda move, n: n if move else jnp.zeros_like(n), trainable(params), signs(key, params)
    )
