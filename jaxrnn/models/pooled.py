"""Many to one: a net reads a sequence, its outputs are pooled over time, and it answers once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import controls, errors
from jaxrnn.axes import sequence_spec
from jaxrnn.combinators import Bidirectional, Stack
from jaxrnn.data import Batch, Buckets, Padded
from jaxrnn.layer import Feedforward, Layer, Params, WholeSequence, like_input
from jaxrnn.strategies import Scan, Strategy
from jaxrnn.training import MaskedMean
from jaxrnn.unroll import unroll

Pool = Literal["last", "mean", "max"]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Pooled:
    """A net that reads a whole sequence and answers once.

        h = body(x_0 .. x_{T-1})
        y = head(pool(h))

        last   h at the last valid step, where a causal net has read everything
        mean   the mean of h over valid steps
        max    the largest over valid steps, feature by feature

    With a `Bidirectional` at the top of the body, "last" takes the forward half at the last valid
    step and the backward half at the first one, and merges them as usual.

    Masked steps are left out, whatever they hold. A row without a valid step has a pooled vector of
    zeros.

    Shapes: xs `[T, ..., F]` or tokens `[T, ...]`, y `[..., K]`. Params: the pair (body's, head's).

    Args:
      body: any cell; its outputs are one array.
      head: any cell, most often a Dense, with Dropout before it: `Stack((Dropout(0.5),
        Dense(10)))`.
      pool: "last", "mean" or "max".

    Raises:
      TypeError, ValueError: unless both are cells and the pool is known; for "last" of a body that
        has not read everything at any one step.

    Example:
      >>> net = Pooled(Stack((Embed(50, 8), Bidirectional(LSTM(16)))), Dense(3))
      >>> params = net.init(jax.random.key(0), TOKEN)
      >>> tokens, lengths = jnp.zeros((7, 2), int), jnp.array([7, 4])
      >>> net.apply(params, tokens, mask=lengths_to_mask(lengths, 7)).shape
      (2, 3)
    """

    body: Layer
    head: Layer
    pool: Pool = "last"

    def __post_init__(self) -> None:
        for cell in (self.body, self.head):
            errors.check_child(self, cell, Layer)
        if self.pool not in get_args(Pool):
            raise errors.unknown(self, "pool", self.pool, get_args(Pool))
        if self.pool == "last" and not reads_all(self.body):
            raise errors.no_last(self, self.body)

    def init(self, key: jax.Array, x: Any) -> Params:
        """The pair of params for inputs like `x`: an example, a spec or a number of features."""
        errors.check_key(self, key)
        x = like_input(self.body, x)
        keys = [jax.random.fold_in(key, i) for i in range(2)]
        body = self.body.init(keys[0], x)
        pooled = jax.eval_shape(
            lambda xs: self._read(body, xs, None, None, Scan()),
            sequence_spec(self.body, x),
        )
        return body, self.head.init(keys[1], pooled)

    def apply(
        self,
        params: Params,
        xs: Any,
        *,
        mask: Any = None,
        key: jax.Array | None = None,
        strategy: Strategy = Scan(),
    ) -> jax.Array:
        """The answers `[..., K]`; passing a key is training mode.

        The mask `[T, ...]` is true where the step is valid.

        Raises:
          TypeError, ValueError: as `unroll`.
        """
        errors.check_inputs(self.body, "xs", xs)
        errors.check_pair(self, params)
        if key is not None:
            errors.check_key(self, key)
        keys = (None, None) if key is None else tuple(jax.random.fold_in(key, i) for i in range(2))
        pooled = self._read(params[0], xs, mask, keys[0], strategy)
        return unroll(self.head, params[1], pooled[None], key=keys[1])[1][0]

    def _read(self, params: Params, xs: Any, mask: Any, key: Any, strategy: Strategy) -> jax.Array:
        body, both = self.body, top(self.body)
        halves = both if self.pool == "last" and isinstance(both, Bidirectional) else None
        if halves:
            body = replace_top(body, dataclasses.replace(halves, merge="none"))
        _, ys = unroll(body, params, xs, mask=mask, key=key, strategy=strategy)
        if halves:
            ends = end(ys[0], mask, last=True), end(ys[1], mask, last=False)
            ys = halves.compose(None, None, lambda i, x, reverse=False: ends[i])
        errors.check_array(self, "the body's output", ys)
        if self.pool == "last":
            return ys if halves else end(ys, mask, last=True)
        return (mean if self.pool == "mean" else largest)(ys, mask)

    def objective(
        self, loss: Callable[..., MaskedMean], *, strategy: Strategy = Scan()
    ) -> Callable[[Params, Any, jax.Array], MaskedMean]:
        """An objective for `training.make_step` and `training.score`: the loss of the answers, in
        which each row counts as a step. Equal nets, losses and strategies have the same one, which
        is traced once.

        Args:
          loss: `loss(ys [B, K], targets [B, ...], rows) -> MaskedMean`, such as `cross_entropy`;
            rows `[B]` are true where the row is valid, or None.
          strategy: how sequences are evaluated.

        Returns:
          `objective(params, batch, key)`. The batch is a `Batch(xs, targets [B], mask)`, or a
          `Padded` of two columns, the inputs and the targets.

        Raises:
          TypeError: for a loss that is not callable, and for another batch.
          ValueError: for a `Padded` of other columns.

        Example:
          >>> net, tx = Pooled(GRU(8), Dense(2), "mean"), optimizer(1e-2)
          >>> params = net.init(jax.random.key(0), features(3))
          >>> state = TrainState.create(None, params, tx, jax.random.key(1))
          >>> batch = Batch(jnp.ones((5, 4, 3)), jnp.array([0, 1, 1, 0]))
          >>> state, metrics = make_step(net.objective(cross_entropy), tx)(state, batch)
        """
        errors.check_signature("Pooled.objective", "loss", loss, ("ys", "targets", "rows"))
        errors.check_static_function("Pooled.objective", "loss", loss)
        return _objective(self, loss, strategy)

    def predict(
        self, params: Params, buckets: Buckets, *, strategy: Strategy = Scan()
    ) -> np.ndarray:
        """The answers `[N, K]` for all rows of the buckets' first column, in the order of the data,
        without noise. For a loss or a score of them see `training.score`.

        Raises:
          TypeError: for anything but `Buckets`.
          ValueError: where their first column is not ragged.

        Example:
          >>> net = Pooled(GRU(8), Dense(2))
          >>> rows = [np.ones((n, 3), np.float32) for n in (4, 2, 7)]
          >>> net.predict(net.init(jax.random.key(0), features(3)), Buckets((rows,), batch=2)).shape
          (3, 2)
        """
        if not isinstance(buckets, Buckets):
            raise errors.no_buckets("Pooled.predict", buckets)
        made: list[tuple[np.ndarray, np.ndarray]] = []
        for batch in buckets.ordered():
            errors.check_ragged_inputs("Pooled.predict", batch)
            ys = _apply(self, strategy, params, batch.columns[0], batch.masks[0])
            made.append((batch.index[batch.rows], np.asarray(ys)[batch.rows]))
        index, ys = (np.concatenate(part) for part in zip(*made, strict=True))
        return ys[np.argsort(index)]


@lru_cache(maxsize=256)
def _objective(net: Pooled, loss: Callable[..., MaskedMean], strategy: Strategy) -> Callable:
    def objective(params: Params, batch: Batch | Padded, key: jax.Array | None) -> MaskedMean:
        if isinstance(batch, Padded):
            errors.check_columns_of_two("Pooled.objective", batch)
            (xs, targets), mask, rows = batch.columns, batch.masks[0], batch.rows
        elif isinstance(batch, Batch):
            xs, targets, mask, rows = batch.xs, batch.targets, batch.mask, None
        else:
            raise errors.wrong_batch("Pooled.objective", batch, padded=True)
        return loss(net.apply(params, xs, mask=mask, key=key, strategy=strategy), targets, rows)

    return objective


@partial(jax.jit, static_argnums=(0, 1))
def _apply(net: Pooled, strategy: Strategy, params: Params, xs: Any, mask: Any) -> jax.Array:
    return net.apply(params, xs, mask=mask, strategy=strategy)


def top(cell: Layer) -> Layer:
    """The cell whose outputs leave the net."""
    return top(cell.cells[-1]) if isinstance(cell, Stack) else cell


def replace_top(cell: Layer, new: Layer) -> Layer:
    """The net with another cell at its top."""
    return (
        dataclasses.replace(cell, cells=(*cell.cells[:-1], replace_top(cell.cells[-1], new)))
        if isinstance(cell, Stack)
        else new
    )


def reads_all(cell: Layer) -> bool:
    """Whether the outputs at the end of each direction have read the whole sequence."""
    last = top(cell)
    if isinstance(last, Bidirectional):
        return all(map(ends_informed, last.children))
    return ends_informed(cell)


def ends_informed(cell: Layer) -> bool:
    """Whether the output at a direction's end has read the whole sequence."""
    last = top(cell)
    return cell.causal or (last.causal and not isinstance(last, Feedforward | WholeSequence))


def end(ys: jax.Array, mask: Any, last: bool) -> jax.Array:
    """The output at the last valid step, or at the first; zero where there is none (outputs under a
    false mask are zero).
    """
    steps = ys.shape[0]
    if not steps:
        return jnp.zeros(ys.shape[1:], ys.dtype)
    if mask is None:
        return ys[-1 if last else 0]
    place = steps - 1 - jnp.argmax(mask[::-1], axis=0) if last else jnp.argmax(mask, axis=0)
    return jnp.take_along_axis(ys, spread(place[None], ys), axis=0)[0]


def mean(ys: jax.Array, mask: Any) -> jax.Array:
    """The mean of the outputs over valid steps; zero where there is none."""
    count = jnp.asarray(ys.shape[0]) if mask is None else mask.sum(0)
    total = ys.sum(0, dtype=jnp.promote_types(ys.dtype, jnp.float32))
    return (total / spread(jnp.maximum(count, 1), total).astype(total.dtype)).astype(ys.dtype)


def largest(ys: jax.Array, mask: Any) -> jax.Array:
    """The largest output over valid steps, by features; zero where there is none."""
    if mask is None:
        mask = jnp.ones(ys.shape[:1], bool)
    low = jnp.array(-jnp.inf, ys.dtype)
    seen = controls.choose(mask, ys, jnp.full_like(ys, low))
    # XLA:CPU loses NaN in the maximum of many numbers.
    found = jnp.where(jnp.isnan(seen).any(0), jnp.nan, seen.max(0, initial=low))
    return controls.choose(mask.any(0), found, jnp.zeros_like(found))


def spread(x: jax.Array, ys: jax.Array) -> jax.Array:
    """Trailing axes of one, up to those of `ys`."""
    return x.reshape(x.shape + (1,) * (ys.ndim - x.ndim))
