"""Pure training steps over optax: for any objective, through a whole sequence, and through segments
of a long one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrnn import errors
from jaxrnn.autodiff.products import wide
from jaxrnn.data import Batch
from jaxrnn.layer import Layer, Params, State
from jaxrnn.params import trainable
from jaxrnn.strategies import Scan, Strategy
from jaxrnn.training.losses import LossFunction, MaskedMean
from jaxrnn.unroll import fold, unroll


class TrainState(NamedTuple):
    """The whole state of a training run: a pytree, saved and restored as one.

    `carry` is the recurrent state between segments (None where every batch begins afresh);
    `skipped` counts the steps whose update was not finite; the noise of a step depends on (key,
    step) alone.
    """

    params: Params
    opt_state: Any
    step: jax.Array
    key: jax.Array
    carry: State
    skipped: jax.Array

    @classmethod
    def create(
        cls,
        cell: Layer | None,
        params: Params,
        tx: optax.GradientTransformation,
        key: jax.Array,
        batch_shape: tuple[int, ...] | None = None,
    ) -> TrainState:
        """The state of a run before its first step.

        Args:
          cell: the network, or None where no recurrent state is carried.
          params: the params from `cell.init`.
          tx: the optimizer of the step.
          key: a PRNG key for the noise of every step.
          batch_shape: the batch axes, `(32,)` say, that `truncated_bptt_step` carries a recurrent
            state for; every other step begins afresh and takes none.
        """
        carry = None
        if batch_shape is not None and cell is not None:
            carry = cell.initial_state(params, batch_shape)
        return cls(params, tx.init(params), jnp.int32(0), key, carry, jnp.int32(0))


class Metrics(NamedTuple):
    """The metrics of one training step: the mean loss of a valid step, the gradient's global norm
    before clipping, whether the update was skipped, and the number of valid steps (tokens).
    """

    loss: jax.Array
    grad_norm: jax.Array
    skipped: jax.Array
    tokens: jax.Array


Step = Callable[[TrainState, Any], tuple[TrainState, Metrics]]
Objective = Callable[[Params, Any, jax.Array], MaskedMean]  # objective(params, batch, key)


def optimizer(
    rule: float | optax.Schedule | optax.GradientTransformation, clip: float | None = 1.0
) -> optax.GradientTransformation:
    """Gradients clipped to a global norm, then the rule; leaves under a key `fixed` never move,
    whatever the rule (weight decay too).

    Args:
      rule: an optax transformation, or a learning rate or schedule for Adam.
      clip: the largest global norm of the trainable leaves' gradient, or None.

    Raises:
      TypeError: for any other rule.

    Example:
      >>> tx = optimizer(optax.adamw(1e-3, weight_decay=0.1), clip=0.5)
    """
    if not isinstance(rule, optax.GradientTransformation):
        if not (callable(rule) or isinstance(rule, float | int | jax.Array)):
            raise errors.wrong_optimizer(rule)
        rule = optax.adam(rule)
    if clip is not None:
        rule = optax.chain(optax.clip_by_global_norm(clip), rule)

    def fixed(params: Params) -> Any:
        return jax.tree.map(operator.not_, trainable(params))

    return optax.chain(optax.masked(rule, trainable), optax.masked(optax.set_to_zero(), fixed))


def warmup_cosine(
    rate: float, steps: int, warmup: int = 200, floor: float = 0.02
) -> optax.Schedule:
    """A learning rate that rises to `rate` over the first `warmup` steps, at most a tenth of all,
    and falls as a cosine to `floor * rate`.
    """
    return optax.warmup_cosine_decay_schedule(
        0.0, rate, min(warmup, max(steps // 10, 1)), max(steps, 2), floor * rate
    )


def bptt_step(
    cell: Layer,
    loss: LossFunction,
    tx: optax.GradientTransformation,
    *,
    strategy: Strategy = Scan(),
) -> Step:
    """A training step for batches of whole sequences, which begin from the initial state (Werbos
    1990).

    Args:
      cell: the network.
      loss: `loss(ys, targets, mask) -> MaskedMean`, such as `cross_entropy`; a sum over steps,
        since a strategy may call it piece by piece.
      tx: an optax transformation, as from `optimizer`.
      strategy: how the sequence is evaluated; under `Chunked` the outputs and the loss exist one
        chunk at a time.

    Returns:
      A jitted pure `step(state, batch) -> (state, metrics)`. The step's noise key is
      `fold_in(state.key, state.step)`. Where the loss, the gradient, the update or the new carry is
      not finite, params, optimizer state and carry stay as they were and `metrics.skipped` is true;
      the step still counts.

    Example:
      >>> net = Stack((Embed(9, 4), LSTM(8), Dense(9)))
      >>> tx = optimizer(1e-2)
      >>> state = TrainState.create(net, net.init(jax.random.key(0), TOKEN), tx, jax.random.key(1))
      >>> tokens = jnp.arange(12).reshape(6, 2) % 9
      >>> state, metrics = bptt_step(net, cross_entropy, tx)(state, Batch(tokens, tokens))
    """

    def measured(
        params: Params, batch: Batch, carry: State, key: jax.Array
    ) -> tuple[State, MaskedMean]:
        return None, measure(cell, loss, params, batch, None, key, strategy)[1]

    return _step(repr(cell), measured, tx, carried=False)


def truncated_bptt_step(
    cell: Layer,
    loss: LossFunction,
    tx: optax.GradientTransformation,
    *,
    strategy: Strategy = Scan(),
) -> Step:
    """A training step over one segment of a long sequence: the state is carried from segment to
    segment, the gradient is cut between them (Williams & Peng 1990).

    Arguments, result and example are those of `bptt_step`; the state is made with
    `TrainState.create(..., batch_shape=(B,))`, and batches follow one another in time, row by row,
    as those of `data.Segments` do. `batch.resets` says where a row begins a new sequence.
    """

    def measured(
        params: Params, batch: Batch, carry: State, key: jax.Array
    ) -> tuple[State, MaskedMean]:
        return measure(cell, loss, params, batch, carry, key, strategy)

    return _step(repr(cell), measured, tx, carried=True)


def make_step(objective: Objective, tx: optax.GradientTransformation) -> Step:
    """A training step for any objective, of one net or several: an encoder with its decoder, a
    pooled classifier, a penalty added.

    Args:
      objective: `objective(params, batch, key) -> MaskedMean`, pure; the mean loss is what is
        minimised, and the key is of this step alone. The batch is whatever pytree the objective
        takes.
      tx: an optax transformation, as from `optimizer`.

    Returns:
      As `bptt_step`; the state is made with `TrainState.create(None, params, tx, key)`.

    Example:
      >>> cell, tx = LSTM(8), optimizer(1e-2)
      >>> def final(params, batch, key):
      ...     _, ys = unroll(cell, params, batch.xs)
      ...     return MaskedMean.over(jnp.square(ys[-1] - batch.targets).mean(-1))
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state = TrainState.create(None, params, tx, jax.random.key(1))
      >>> state, metrics = make_step(final, tx)(state, Batch(jnp.ones((5, 2, 3)), jnp.ones((2, 8))))
    """
    return _step(
        "make_step",
        lambda params, batch, carry, key: (None, objective(params, batch, key)),
        tx,
        carried=False,
    )


def _step(
    name: str,
    measured: Callable[..., tuple[State, MaskedMean]],
    tx: optax.GradientTransformation,
    carried: bool,
) -> Step:
    """A step for `measured(params, batch, carry, key) -> (carry, MaskedMean)`."""

    def objective(
        params: Params, batch: Any, carry: State, key: jax.Array
    ) -> tuple[jax.Array, tuple[State, MaskedMean]]:
        carry, total = measured(params, batch, carry, key)
        return total.mean, (carry, total)

    @jax.jit
    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        if carried == (state.carry is None):
            raise errors.wrong_carry(name, state.carry)
        carry = jax.lax.stop_gradient(state.carry)
        key = jax.random.fold_in(state.key, state.step)
        (value, (carry, total)), grads = jax.value_and_grad(objective, has_aux=True)(
            state.params, batch, carry, key
        )
        moves = trainable(state.params)
        norm = optax.tree.norm(jax.tree.map(lambda move, g: g if move else None, moves, grads))
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
            updates, opt_state = tx.update(grads, state.opt_state, state.params)
        # A fixed leaf stays, whatever the rule: a bare adamw would decay it.
        params = jax.tree.map(
            lambda move, p, u: optax.apply_updates(p, u) if move else p,
            moves,
            state.params,
            updates,
        )
        new = (params, opt_state, jax.lax.stop_gradient(carry) if carried else None)
        fine = reduce(operator.and_, map(finite, jax.tree.leaves((value, norm, new))))
        old = (state.params, state.opt_state, state.carry)
        params, opt_state, carry = jax.tree.map(partial(jnp.where, fine), new, old)
        skipped = state.skipped + (~fine).astype(jnp.int32)
        return TrainState(params, opt_state, state.step + 1, state.key, carry, skipped), Metrics(
            value, norm, ~fine, total.steps
        )

    return step


def finite(x: jax.Array) -> jax.Array:
    """Whether all numbers of an array are finite."""
    return jnp.isfinite(x).all() if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.bool_(True)


def measure(
    cell: Layer,
    loss: LossFunction,
    params: Params,
    batch: Batch,
    state: State,
    key: jax.Array | None,
    strategy: Strategy,
) -> tuple[State, MaskedMean]:
    """The recurrent state after a batch, and its loss."""
    dtype = max(
        (wide(p.dtype) for p in jax.tree.leaves(params)),
        key=lambda d: jnp.finfo(d).bits,
        default=jnp.float32,
    )

    def add(total: MaskedMean, params: Params, ys: Any, targets: Any, mask: Any) -> MaskedMean:
        piece = loss(ys, targets, mask)
        return MaskedMean(
            total.total + piece.total.astype(dtype), total.steps + piece.steps.astype(jnp.int32)
        )

    nothing = MaskedMean(jnp.zeros((), dtype), jnp.int32(0))
    controls: Any = {"mask": batch.mask, "resets": batch.resets, "key": key, "strategy": strategy}
    if cell.causal:
        return fold(
            cell, params, batch.xs, add, nothing, extra=batch.targets, state=state, **controls
        )
    state, ys = unroll(cell, params, batch.xs, state=state, **controls)
    return state, add(nothing, params, ys, batch.targets, batch.mask)


@partial(jax.jit, static_argnums=1)
def _evaluate(
    cell: Layer, loss: LossFunction, params: Params, batch: Batch, state: State, strategy: Strategy
) -> tuple[State, MaskedMean]:
    return measure(cell, loss, params, batch, state, None, strategy)


def evaluate(
    cell: Layer,
    loss: LossFunction,
    params: Params,
    batch: Batch,
    state: State = None,
    *,
    strategy: Strategy = Scan(),
) -> tuple[State, MaskedMean]:
    """The loss over a batch of any length, without noise and without a gradient: `(state,
    MaskedMean)`.

    Under `Chunked(256)` memory does not grow with the length, so a whole held-out stream is one
    call (`data.stream(tokens)`). Where a stream comes in parts, pass the returned state to the next
    call. `MaskedMean.bits` are bits per token.
    """
    return _evaluate(cell, loss, params, batch, state, strategy)
