"""What a batch is for a recurrent net, and the loss over one, or over all rows of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.autodiff.products import wide
from jaxrnn.data import Batch, Buckets, Padded
from jaxrnn.layer import Layer, Params, State
from jaxrnn.strategies import Scan, Strategy
from jaxrnn.training.losses import LossFunction, MaskedMean, checked
from jaxrnn.unroll import check_static, fold, unroll

Objective = Callable[[Params, Any, Any], MaskedMean]  # objective(params, batch, key)


def check_work(who: str, cell: Any, loss: Any, strategy: Any) -> None:
    """A recurrent net, a loss of its outputs and a strategy."""
    if hasattr(cell, "objective"):
        raise errors.has_objective(who, cell)
    check_static(cell, strategy)
    errors.check_signature(who, "loss", loss, ("ys", "targets", "mask"))


def as_batch(who: Any, batch: Any, padded: bool = True) -> Batch:
    """A batch, or a padded one of two ragged columns, the inputs and their targets."""
    if not isinstance(batch, Batch | Padded if padded else Batch):
        raise errors.wrong_batch(who, batch, padded)
    errors.check_batch_leaves(who, batch)
    if isinstance(batch, Batch):
        return batch
    errors.check_columns_of_two(who, batch)
    errors.check_ragged_targets(who, batch)
    xs, targets = batch.columns
    return Batch(xs, targets, batch.masks[0])


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
    add, nothing = adder(cell, loss, params)
    controls: Any = {"mask": batch.mask, "resets": batch.resets, "key": key, "strategy": strategy}
    if cell.causal:
        return fold(
            cell, params, batch.xs, add, nothing, extra=batch.targets, state=state, **controls
        )
    state, ys = unroll(cell, params, batch.xs, state=state, **controls)
    return state, add(nothing, params, ys, batch.targets, batch.mask)


def adder(
    cell: Layer, loss: LossFunction, params: Params
) -> tuple[Callable[..., MaskedMean], MaskedMean]:
    """What adds the loss of a piece to a total, for `fold`, and the total before the first one."""
    dtype = max(
        (wide(p.dtype) for p in jax.tree.leaves(params) if jnp.issubdtype(p.dtype, jnp.floating)),
        key=lambda d: jnp.finfo(d).bits,
        default=jnp.float32,
    )

    def add(total: MaskedMean, params: Params, ys: Any, targets: Any, mask: Any) -> MaskedMean:
        piece = checked(cell, loss(ys, targets, mask))
        return MaskedMean(
            total.total + piece.total.astype(dtype), total.steps + piece.steps.astype(jnp.int32)
        )

    return add, MaskedMean(jnp.zeros((), dtype), jnp.int32(0))


@partial(jax.jit, static_argnums=1)
def _evaluate(
    cell: Layer, loss: LossFunction, params: Params, batch: Batch, state: State, strategy: Strategy
) -> tuple[State, MaskedMean]:
    return measure(cell, loss, params, batch, state, None, strategy)


def evaluate(
    cell: Layer,
    loss: LossFunction,
    params: Params,
    batch: Batch | Padded | Buckets,
    state: State = None,
    *,
    strategy: Strategy = Scan(),
) -> tuple[State, MaskedMean]:
    """The loss over a batch of any length, or over all rows of a ragged source, without noise and
    without a gradient: `(state, MaskedMean)`.

    Under `Chunked(256)` memory does not grow with the length, so a whole held-out stream is one
    call (`data.stream(tokens)`). Where a stream comes in parts, pass the returned state to the next
    call. `MaskedMean.bits` are bits per token.

    Args:
      cell: the network; a `Pooled` or an `EncoderDecoder` is scored by `score`.
      loss: `loss(ys, targets, mask) -> MaskedMean`, or a score such as `metrics.accuracy`.
      params: the network's params.
      batch: a `Batch`; a `Padded` of two ragged columns, inputs and targets; or `Buckets` of two
        such columns, every row of which is visited once. Each bucket's shape is compiled once.
      state: the state to begin with; by default, and with `Buckets`, the initial state.
      strategy: how the sequence is evaluated.

    Returns:
      The state after the batch (None with `Buckets`), and the loss of all valid steps.

    Raises:
      TypeError, ValueError: for anything else, named.

    Example:
      >>> net = Stack((Embed(9, 4), Bidirectional(GRU(8)), Dense(3)))
      >>> rows = [np.arange(n) for n in (4, 2, 7)]
      >>> held_out = rnn.data.Buckets((rows, [row % 3 for row in rows]), batch=2)
      >>> params = net.init(jax.random.key(0), TOKEN)
      >>> _, right = evaluate(net, rnn.metrics.accuracy, params, held_out)
      >>> int(right.steps)
      13
    """
    check_work("evaluate", cell, loss, strategy)
    errors.check_static_function("evaluate", "loss", loss)
    if isinstance(batch, Buckets):
        if state is not None:
            raise errors.state_of_buckets(cell)
        parts = (as_batch(cell, part) for part in batch.ordered())
        return None, summed(_evaluate(cell, loss, params, b, None, strategy)[1] for b in parts)
    return _evaluate(cell, loss, params, as_batch(cell, batch), state, strategy)


@partial(jax.jit, static_argnums=0)
def _score(objective: Objective, params: Params, batch: Any) -> MaskedMean:
    return checked("score", objective(params, batch, None))


def score(objective: Any, params: Params, batches: Buckets | Iterable[Any]) -> MaskedMean:
    """An objective over many batches, without noise and without a gradient: their sum, so that the
    mean is that of all rows or steps.

    Args:
      objective: `objective(params, batch, key) -> MaskedMean`, as for `make_step`; the key is None.
        It need be no loss: `pooled.objective(metrics.accuracy)` counts right answers. The same
        function again does not retrace.
      params: the params that it takes.
      batches: `Buckets`, every row of which is visited once, or an iterable of batches. Each new
        shape of a batch is compiled once: for `Buckets`, each bucket's.

    Raises:
      TypeError: for an objective that is not callable or returns anything but a `MaskedMean`, or
        one batch in the place of many.
      ValueError: for no batches.

    Example:
      >>> net = rnn.Pooled(GRU(8), Dense(2))
      >>> rows = [np.ones((n, 3), np.float32) for n in (4, 2, 7)]
      >>> held_out = rnn.data.Buckets((rows, np.array([0, 1, 1])), batch=2)
      >>> params = net.init(jax.random.key(0), features(3))
      >>> int(score(net.objective(rnn.metrics.accuracy), params, held_out).steps)
      3
    """
    errors.check_signature("score", "objective", objective, ("params", "batch", "key"))
    errors.check_static_function("score", "objective", objective)
    errors.check_batch_source("score", batches)
    parts = batches.ordered() if isinstance(batches, Buckets) else batches

    def one(batch: Any) -> MaskedMean:
        errors.check_batch_leaves("score", batch)
        return _score(objective, params, batch)

    return summed(map(one, parts))


def summed(parts: Iterable[MaskedMean]) -> MaskedMean:
    """The sum of at least one."""
    total = sum(parts)
    if not isinstance(total, MaskedMean):
        raise errors.no_batches("score")
    return total
