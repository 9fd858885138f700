"""The protocol of learning step by step, and what its algorithms share."""

from __future__ import annotations

import abc
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, dataclass_transform

import jax
import jax.numpy as jnp

from jaxrnn import controls, errors
from jaxrnn.advance import prepare_step
from jaxrnn.axes import batch_shape, step_spec
from jaxrnn.composite import one_step, params_spec
from jaxrnn.fields import frozen
from jaxrnn.layer import TOKEN, Layer, Params, State, features, like_input
from jaxrnn.params import freeze
from jaxrnn.strategies import Scan
from jaxrnn.training.evaluation import check_work
from jaxrnn.training.losses import LossFunction, MaskedMean, checked

Flag = jax.ShapeDtypeStruct((), bool)


class Now(NamedTuple):
    """One step, checked."""

    x: Any
    target: Any
    mask: Any
    reset: Any
    batch: tuple[int, ...]


def row_spec(now: Now) -> Any:
    """The spec of one row's input."""
    axes = len(now.batch)
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[axes:], a.dtype), now.x)


@dataclass_transform(frozen_default=True)
@frozen
class Online(abc.ABC):
    """A way to have the gradient of every step's loss at that step.

        learner = algorithm.init(params, batch_shape, key)
        learner, (loss, grads) = algorithm.step(params, learner, x, target)

    The loss is a `MaskedMean` of this step, and `grads`, which is like the params, estimates the
    gradient of its `total`. So both add up over steps: with the params held, the sum of the exact
    gradients is that of backpropagation through time. Params may also change between two steps; a
    learner then holds what they were when each step was taken. Params under a key `fixed` have
    gradients of zero. The net runs without noise, as it does without a key.

    An author writes `begin` and `learn`.
    """

    cell: Layer
    loss: LossFunction
    holds: ClassVar[type]  # the NamedTuple that a learner is

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        frozen(cls)
        jax.tree_util.register_static(cls)

    def __post_init__(self) -> None:
        who = type(self).__name__
        check_work(who, self.cell, self.loss, Scan())
        errors.check_static_function(who, "loss", self.loss)
        if not self.cell.causal:
            raise errors.not_causal(self.cell, who)
        if self.cell.takes_memory:
            raise errors.online_memory(who, self.cell)

    @abc.abstractmethod
    def begin(self, params: Params, batch: tuple[int, ...], key: jax.Array | None, x: Any) -> Any:
        """The learner before the first step; `x` is the spec of one row's input, or None."""

    @abc.abstractmethod
    def learn(
        self, params: Params, learner: Any, now: Now
    ) -> tuple[Any, tuple[MaskedMean, Params]]:
        """One step, whose arguments are checked."""

    def init(
        self,
        params: Params,
        batch_shape: tuple[int, ...] = (),
        key: jax.Array | None = None,
        *,
        x: Any = None,
    ) -> Any:
        """The learner before the first step.

        Args:
          params: the params from `cell.init`.
          batch_shape: the batch axes, `(32,)` say.
          key: a PRNG key, for the algorithms that draw random directions.
          x: what one step's input is like, as `cell.init` is told: needed where it cannot be seen
            from the params, since the first layer has none or takes several arrays.

        Raises:
          TypeError, ValueError: for arguments that do not fit.
        """
        who = type(self).__name__
        errors.check_batch(self.cell, batch_shape)
        if key is not None:
            errors.check_key(who, key)
        errors.check_run(who, self.cell, Layer, params, tuple(batch_shape))
        if x is not None:
            x = step_spec(self.cell, like_input(self.cell, x))
        leaves, tree = jax.tree.flatten(x)
        try:
            with errors.leaves_checked(who, params=params):
                return _begin(self, tuple(batch_shape), (tuple(leaves), tree), params, key)
        except (AttributeError, IndexError, KeyError) as why:
            raise errors.other_params(who, self.cell) from why

    def step(
        self,
        params: Params,
        learner: Any,
        x: Any,
        target: Any,
        *,
        mask: Any = None,
        reset: Any = None,
    ) -> tuple[Any, tuple[MaskedMean, Params]]:
        """One step: `(learner, (loss, grads))`.

        Args:
          params: the params.
          learner: from `init` or the step before.
          x: one step's input `[..., F]`, or `[...]` tokens.
          target: what the loss compares the output with, a pytree of arrays `[...]`.
          mask: optional booleans `[...]`, true where the step is valid; where false the row's state
            and influence stay as they are.
          reset: optional booleans `[...]`; where true the row begins anew from the initial state,
            and forgets what came before.

        Returns:
          The learner after the step, the loss of this step's valid rows, and the gradient of its
          `total`.

        Raises:
          TypeError, ValueError: for arguments that do not fit, while tracing.
        """
        who = type(self).__name__
        errors.check_inputs(self.cell, "x", x)
        if not isinstance(learner, self.holds):
            raise errors.wrong_learner(who, learner, self.holds)
        trees = {"params": params, "learner": learner, "target": target}
        with errors.leaves_checked(who, **trees, mask=mask, reset=reset):
            return _step(self, params, learner, x, target, mask, reset)


@partial(jax.jit, static_argnums=(1, 2))
def _begin(self: Online, batch: tuple[int, ...], x: Any, params: Params, key: Any) -> Any:
    leaves, tree = x
    errors.check_differentiable(
        type(self).__name__, jax.eval_shape(partial(initial, self.cell), params)
    )
    return self.begin(params, batch, key, tree.unflatten(leaves))


@jax.jit
def _step(
    self: Online, params: Params, learner: Any, x: Any, target: Any, mask: Any, reset: Any
) -> Any:
    cell = self.cell
    _, x, mask, reset = prepare_step(
        cell, params, learner.state, x, mask, reset, type(self).__name__
    )
    target = jax.tree.map(jnp.asarray, target)
    now = Now(x, target, mask, reset, batch_shape(cell, x, 0))

    def begin(params: Params, key: Any) -> Any:
        return self.begin(params, now.batch, key, row_spec(now))

    need = jax.eval_shape(begin, params, getattr(learner, "key", None))
    errors.check_learner(type(self).__name__, learner, need)
    new, (loss, grads) = self.learn(params, learner, now)
    errors.check_state(cell, new.state, learner.state, "step")
    return new, (loss, grads)


def initial(cell: Layer, params: Params, batch: tuple[int, ...] = ()) -> State:
    """The initial state as a function of the params, fixed leaves frozen."""
    return cell.initial_state(freeze(params), batch)


def stepped(
    cell: Layer, params: Params, state: State, x: Any, mask: Any, reset: Any, batch: tuple = ()
) -> tuple[State, Any]:
    """One step as a function of all params, those that a reset returns to included."""
    params = freeze(params)
    start = cell.initial_state(params, batch)
    state, y = one_step(cell, params, state, start, x, None, 0, mask, reset)
    return state, controls.blank(y, mask)


def kept(tree: Any, now: Now) -> Any:
    """What a learner holds of rows that go on; zeros for those that begin anew. Products with zero
    would say the same, but for a NaN, which a reset forgets.
    """
    if now.reset is None:
        return tree
    return controls.choose(~now.reset, tree, jax.tree.map(jnp.zeros_like, tree))


def measured(loss: LossFunction, y: Any, now: Now) -> MaskedMean:
    """The loss of one step, by a loss over sequences."""
    y, target, mask = jax.tree.map(lambda a: a[None], (y, now.target, now.mask))
    return checked("loss", loss(y, target, mask))


def looked_at(
    self: Online, params: Params, state: State, now: Now
) -> tuple[State, MaskedMean, Params, State]:
    """The state after a step, its loss, and the derivatives of `total` by the params and by the
    state before the step, each with the other held.
    """

    def total(params: Params, state: State) -> tuple[jax.Array, tuple[State, MaskedMean]]:
        new, y = stepped(self.cell, params, state, now.x, now.mask, now.reset, now.batch)
        loss = measured(self.loss, y, now)
        return loss.total, (new, loss)

    (_, (new, loss)), (explicit, signal) = jax.value_and_grad(total, (0, 1), has_aux=True)(
        params, state
    )
    return new, loss, explicit, signal


def by_rows(f: Callable, batch: tuple[int, ...], shared: int) -> Callable:
    """`f` of one row, over the batch axes of all but the first `shared` arguments."""

    def mapped(*args: Any) -> Any:
        g = f
        for _ in batch:
            g = jax.vmap(g, (None,) * shared + (0,) * (len(args) - shared))
        return g(*args)

    return mapped


def broadcast(tree: Any, batch: tuple[int, ...]) -> Any:
    """What one row has, for every row."""
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (*batch, *a.shape)), tree)


def input_of(who: str, cell: Layer, params: Params, x: Any) -> Any:
    """What one row's input of a step is like: as the caller said, or the only one that the params
    fit.
    """
    if x is not None:
        return x
    fitting = []
    if isinstance(cell.feature_ndim, int):
        leaves = jax.tree.leaves(params)
        dtype = jnp.result_type(jnp.float32, *[a.dtype for a in leaves if a.dtype == jnp.float64])
        sizes = dict.fromkeys(size for leaf in leaves for size in leaf.shape)
        tokens = cell.feature_ndim == 0
        for spec in [TOKEN] if tokens else [features(n, dtype=dtype) for n in sizes if n]:
            try:
                need = params_spec(cell, spec)
            except (TypeError, ValueError):  # a net that takes other inputs
                continue
            if errors.like(params, need):
                fitting.append(spec)
    if len(fitting) != 1:
        raise errors.unknown_input(who, cell, len(fitting))
    return fitting[0]
