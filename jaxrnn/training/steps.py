"""Pure training steps over optax: for any objective, through a whole sequence, and through segments
of a long one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial, reduce, wraps
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrnn import errors
from jaxrnn.data import Batch
from jaxrnn.layer import Layer, Params, State
from jaxrnn.params import trainable
from jaxrnn.strategies import Scan, Strategy
from jaxrnn.training.evaluation import Objective, as_batch, check_work, measure
from jaxrnn.training.losses import LossFunction, MaskedMean, checked
from jaxrnn.training.optimizers import Transformation, begin, clips, transformation
from jaxrnn.training.placing import laid_out, layout
from jaxrnn.training.state import Metrics, TrainState
from jaxrnn.training.truncated import windows

Step = Callable[[TrainState, Any], tuple[TrainState, Metrics]]


def bptt_step(
    cell: Layer,
    loss: LossFunction,
    tx: Transformation,
    *,
    burn_in: int = 0,
    strategy: Strategy = Scan(),
) -> Step:
    """A training step for batches of whole sequences, which begin from the initial state (Werbos
    1990).

    A batch is a `Batch`, or a `Padded` of two ragged columns, inputs and targets, so that
    `data.Buckets((inputs, targets), batch)` is a source for `fit`; both rows of a pair have one
    length, and each bucket's shape is compiled once. A target for a whole row is many to one: see
    `Pooled`.

    Args:
      cell: the network.
      loss: `loss(ys, targets, mask) -> MaskedMean`, such as `cross_entropy`; a sum over steps,
        since a strategy may call it piece by piece.
      tx: an optax transformation, as from `optimizer`, or an `optax.MultiSteps` of one. It is given
        the loss, its gradient and the loss as a function of the params: `value`, `grad` and
        `value_fn`, for rules that ask for them, such as `optax.contrib.reduce_on_plateau` or
        `optax.lbfgs`.
      burn_in: the first so many steps run the state warm, without a loss or a gradient
        (Kapturowski et al. 2019).
      strategy: how the sequence is evaluated; under `Chunked` the outputs and the loss exist one
        chunk at a time.

    Returns:
      A jitted pure `step(state, batch) -> (state, metrics)`. The step's noise key is
      `fold_in(state.key, state.step)`. Where the loss, the gradient, the update or the new carry is
      not finite, params, optimizer state and carry stay as they were and `metrics.skipped` is true;
      the step still counts. Under `optax.MultiSteps` such a batch is no part of the mean: one more
      is waited for.

    Raises:
      TypeError, ValueError: for arguments, a state, a batch, or a result of the loss that do not
        fit, while tracing. The lengths of the two columns are compared where they are known, which
        they are not within a `jit` of your own.

    Example:
      >>> net = Stack((Embed(9, 4), LSTM(8), Dense(9)))
      >>> tx = optimizer(1e-2)
      >>> state = TrainState.create(net, net.init(jax.random.key(0), TOKEN), tx, jax.random.key(1))
      >>> tokens = jnp.arange(12).reshape(6, 2) % 9
      >>> state, metrics = bptt_step(net, cross_entropy, tx)(state, Batch(tokens, tokens))
    """
    check_work("bptt_step", cell, loss, strategy)
    errors.check_windows("bptt_step", None, None, burn_in)
    if burn_in and not cell.causal:
        raise errors.not_causal(cell, "burn_in")

    def measured(
        params: Params, batch: Batch, carry: State, key: jax.Array
    ) -> tuple[State, MaskedMean]:
        if burn_in:
            given = (batch, None, key, strategy, None, None, burn_in)
            return None, windows(cell, loss, params, *given)[1]
        return None, measure(cell, loss, params, batch, None, key, strategy)[1]

    return _step(repr(cell), measured, tx, False, partial(as_batch, cell), cell)


def truncated_bptt_step(
    cell: Layer,
    loss: LossFunction,
    tx: Transformation,
    *,
    k1: int | None = None,
    k2: int | None = None,
    burn_in: int = 0,
    strategy: Strategy = Scan(),
) -> Step:
    """A training step over one segment of a long sequence: the state is carried from segment to
    segment, the gradient is cut between them (Williams & Peng 1990).

    Arguments, result and example are those of `bptt_step`; the state is made with
    `TrainState.create(..., batch_shape=(B,))`, and batches, each a `Batch`, follow one another in
    time, row by row, as those of `data.Segments` do. `batch.resets` says where a row begins a new
    sequence.

    With k2 the gradient is cut within the segment too, as `truncated` says: every k1 steps (by
    default k2) one is taken through the last k2, and their sum is one update. With k2 at least the
    segment's length, and without it, it is that of the whole segment.

    Raises:
      TypeError, ValueError: as `bptt_step`; ValueError for a network that looks ahead, and as
        `truncated`.
    """
    check_work("truncated_bptt_step", cell, loss, strategy)
    errors.check_windows("truncated_bptt_step", k1, k2, burn_in)
    if not cell.causal:
        raise errors.not_causal(cell, "truncated_bptt_step")

    def measured(
        params: Params, batch: Batch, carry: State, key: jax.Array
    ) -> tuple[State, MaskedMean]:
        if burn_in or k2 is not None:
            return windows(cell, loss, params, batch, carry, key, strategy, k1, k2, burn_in)
        return measure(cell, loss, params, batch, carry, key, strategy)

    read = partial(as_batch, cell, padded=False)
    return _step(repr(cell), measured, tx, True, read, cell)


def make_step(objective: Objective, tx: Transformation) -> Step:
    """A training step for any objective, of one net or several: an encoder with its decoder, a
    pooled classifier, a penalty added.

    Args:
      objective: `objective(params, batch, key) -> MaskedMean`, pure; the mean loss is what is
        minimised, and the key is of this step alone. The batch is whatever pytree the objective
        takes.
      tx: an optax transformation, as from `optimizer`.

    Returns:
      As `bptt_step`; the state is made with `TrainState.create(None, params, tx, key)`.

    Raises:
      TypeError, ValueError: for an objective that is not callable so or returns anything but a
        `MaskedMean`, a state or an optimizer that do not fit, or a batch with leaves that are no
        arrays.

    Example:
      >>> cell, tx = LSTM(8), optimizer(1e-2)
      >>> def final(params, batch, key):
      ...     _, ys = unroll(cell, params, batch.xs)
      ...     return MaskedMean.over(jnp.square(ys[-1] - batch.targets).mean(-1))
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state = TrainState.create(None, params, tx, jax.random.key(1))
      >>> state, metrics = make_step(final, tx)(state, Batch(jnp.ones((5, 2, 3)), jnp.ones((2, 8))))
    """
    errors.check_signature("make_step", "objective", objective, ("params", "batch", "key"))

    def measured(
        params: Params, batch: Any, carry: State, key: jax.Array
    ) -> tuple[State, MaskedMean]:
        return None, objective(params, batch, key)

    def read(batch: Any) -> Any:
        errors.check_batch_leaves("make_step", batch)
        return batch

    return _step("make_step", measured, tx, False, read)


def _step(
    name: str,
    measured: Callable[..., tuple[State, MaskedMean]],
    tx: Transformation,
    carried: bool,
    read: Callable[[Any], Any],
    layer: Layer | None = None,
) -> Step:
    """A step for `measured(params, batch, carry, key) -> (carry, MaskedMean)` over what `read`
    makes of a batch before it is traced, where its values can still be looked at. `layer` is its
    network, where there is one: `fit` notes it.
    """
    update = transformation(name, tx).update

    def objective(
        params: Params, batch: Any, carry: State, key: jax.Array
    ) -> tuple[jax.Array, tuple[State, MaskedMean]]:
        carry, total = measured(params, batch, carry, key)
        total = checked(name, total)
        return total.mean, (carry, total)

    @partial(jax.jit, static_argnums=2)
    def step(state: TrainState, batch: Any, places: Any = None) -> tuple[TrainState, Metrics]:
        errors.check_train_state(name, state, TrainState)
        if carried == (state.carry is None):
            raise errors.wrong_carry(name, state.carry)
        fresh = jax.eval_shape(partial(begin, name, tx), state.params)
        errors.check_opt_state(name, state.opt_state, fresh)
        start = jax.lax.stop_gradient(state.carry)
        key = jax.random.fold_in(state.key, state.step)
        (value, (carry, total)), grads = jax.value_and_grad(objective, has_aux=True)(
            state.params, batch, start, key
        )
        moves = trainable(state.params)
        norm = optax.tree.norm(jax.tree.map(lambda move, g: g if move else None, moves, grads))

        def moved(new: Params) -> Params:
            """The params, those that move replaced; `optax.masked` hands on no others."""
            return jax.tree.map(lambda move, p, q: q if move else p, moves, state.params, new)

        def value_fn(new: Params) -> jax.Array:
            return objective(moved(new), batch, start, key)[0]

        extra = {"value": value, "grad": grads, "value_fn": value_fn}
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
            updates, opt_state = update(grads, state.opt_state, state.params, **extra)
        # A fixed leaf stays, whatever the rule: a bare adamw would decay it.
        params = jax.tree.map(
            lambda move, p, u: optax.apply_updates(p, u) if move else p,
            moves,
            state.params,
            updates,
        )
        carry = jax.lax.stop_gradient(carry) if carried else None
        fine = reduce(operator.and_, map(finite, jax.tree.leaves((value, norm, params, carry))))
        # Optimizers begin with an infinite best loss, say: what was infinite may stay so.
        pairs = zip(*map(jax.tree.leaves, (opt_state, state.opt_state)), strict=True)
        fine = reduce(operator.and_, (finite(new, old) for new, old in pairs), fine)
        new, old = (params, opt_state, carry), (state.params, state.opt_state, state.carry)
        params, opt_state, carry = jax.tree.map(partial(jnp.where, fine), new, old)
        skipped = state.skipped + (~fine).astype(jnp.int32)
        clipped = clips(opt_state) != clips(state.opt_state)
        metrics = Metrics(value, norm, ~fine, total.steps, clipped)
        new = TrainState(params, opt_state, state.step + 1, state.key, carry, skipped)
        return laid_out(new, places), metrics

    @wraps(step)
    def checked_step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        try:
            return step(state, read(batch), layout(state))
        except (
            TypeError
        ):  # perhaps about a leaf that JAX cannot hold, which the state's check names
            errors.check_train_state(name, state, TrainState)
            raise

    vars(checked_step)["layer"] = layer
    return checked_step


def finite(x: jax.Array, old: jax.Array | None = None) -> jax.Array:
    """Whether all numbers of an array are finite, or as they were."""
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.bool_(True)
    fine = jnp.isfinite(x)
    return (fine if old is None else fine | (x == old)).all()
