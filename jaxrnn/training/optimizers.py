"""Optimizers from optax: a rate or a transformation, clipping, and params that stay."""

from __future__ import annotations

import inspect
import operator
from functools import reduce
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from jaxrnn import errors
from jaxrnn.layer import Params
from jaxrnn.params import trainable

Transformation = optax.GradientTransformation | optax.MultiSteps


class Clipped(NamedTuple):
    """The state of a clip, and how many gradients it has changed."""

    state: Any
    changed: jax.Array


def optimizer(
    rule: float | optax.Schedule | Transformation,
    clip: float | optax.GradientTransformation | Literal["auto"] | None = "auto",
) -> optax.GradientTransformationExtraArgs:
    """Gradients clipped, then the rule; leaves under a key `fixed` never move, whatever the rule
    (weight decay too).

    Gradient accumulation is `optax.MultiSteps(optimizer(rule), every_k_schedule=k)`: the mean
    gradient of k batches is clipped once, and the rule and its schedule count updates. With
    `optimizer(optax.MultiSteps(...), clip=c)` the gradient of each batch is clipped before it is
    accumulated.

    Args:
      rule: an optax transformation (an `optax.MultiSteps` too), or a learning rate or a schedule
        `step -> rate` for Adam.
      clip: the largest global norm of the trainable leaves' gradient (Pascanu et al. 2013); or one
        of optax's transformations that clip: `optax.clip(1.0)` each number, `clip_by_block_rms`
        each leaf, `adaptive_grad_clip` each unit by the norm of its weights; or None. "auto" is 1.0
        for a rate or a schedule and None for a transformation, which says itself what is done.
        Whether it changed a step's gradient is `metrics.clipped`.

    Raises:
      TypeError: for any other rule or clip, such as `optax.adam` that was not called.
      ValueError: for a rate that is negative or not finite, or a clip that is not positive.

    Example:
      >>> tx = optimizer(optax.adamw(1e-3, weight_decay=0.1), clip=0.5)
      >>> tx = optimizer(1e-3, clip=optax.adaptive_grad_clip(0.01))
    """
    if not isinstance(rule, Transformation):
        errors.check_rule(rule, optax.GradientTransformation)
        rule, clip = optax.adam(rule), 1.0 if clip == "auto" else clip
    errors.check_clip(clip, optax.GradientTransformation)
    rule = transformation("optimizer", rule)
    if clip not in (None, "auto"):
        if not isinstance(clip, optax.GradientTransformation):
            clip = optax.clip_by_global_norm(clip)
        rule = optax.chain(counted(clip), rule)

    def fixed(params: Params) -> Any:
        return jax.tree.map(operator.not_, trainable(params))

    return optax.chain(
        # The gradient among the extra arguments is masked as the params are.
        optax.masked(rule, trainable, mask_compatible_extra_args=True),
        optax.masked(optax.set_to_zero(), fixed),
    )


def counted(clip: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """A clip that counts the gradients it changes, where no wrapper of optax's can hide it."""
    inner = transformation("optimizer", clip)

    def init(params: Params) -> Clipped:
        return Clipped(inner.init(params), jnp.int32(0))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        new, within = inner.update(updates, state.state, params, **extra)
        moved = jax.tree.leaves(jax.tree.map(lambda a, b: (a != b).any(), new, updates))
        changed = reduce(operator.or_, moved, jnp.bool_(False))
        return new, Clipped(within, state.changed + changed.astype(jnp.int32))

    return optax.GradientTransformationExtraArgs(init, update)


def clips(opt_state: Any) -> jax.Array:
    """How many gradients have been clipped, by the state of an optimizer."""
    parts = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, Clipped))
    return sum((x.changed for x in parts if isinstance(x, Clipped)), jnp.int32(0))


def transformation(who: Any, tx: Any) -> optax.GradientTransformationExtraArgs:
    """A transformation that takes any extra arguments, from whatever optax makes."""
    if not isinstance(tx, Transformation):
        raise errors.no_transformation(who, tx)
    if not isinstance(tx, optax.MultiSteps):
        tx = optax.with_extra_args_support(tx)
    update = cast("Any", tx.update)
    takes = inspect.signature(update).parameters.values()
    if not any(p.kind == p.VAR_KEYWORD for p in takes):  # `optax.contrib.sam` takes none
        names = {p.name for p in takes}

        def some(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
            extra = {name: x for name, x in extra.items() if name in names}
            return tx.update(updates, state, params, **extra)

        return optax.GradientTransformationExtraArgs(tx.init, some)
    return optax.GradientTransformationExtraArgs(tx.init, update)


def begin(who: Any, tx: Any, params: Params) -> Any:
    """The state of an optimizer before its first step."""
    with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
        return transformation(who, tx).init(params)


def warmup_cosine(
    rate: float, steps: int, warmup: int = 200, floor: float = 0.02
) -> optax.Schedule:
    """A learning rate that rises to `rate` over the first `warmup` steps, at most a tenth of all,
    and falls as a cosine to `floor * rate`.

    Raises:
      TypeError, ValueError: for a rate or floor that is negative or not finite, no steps, or a
        negative warmup.

    Example:
      >>> rate = warmup_cosine(1e-2, steps=1000)
      >>> [round(float(rate(n)), 4) for n in (0, 50, 100, 1000)]
      [0.0, 0.005, 0.01, 0.0002]
    """
    errors.check_warmup(rate, steps, warmup, floor)
    return optax.warmup_cosine_decay_schedule(
        0.0, rate, min(warmup, max(steps // 10, 1)), max(steps, 2), floor * rate
    )
