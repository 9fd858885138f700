"""Optimizers from optax: a rate or a transformation, clipping, and params that stay."""

from __future__ import annotations

import inspect
import operator
from typing import Any, Literal, cast

import jax
import optax

from jaxrnn import errors
from jaxrnn.layer import Params
from jaxrnn.params import trainable

Transformation = optax.GradientTransformation | optax.MultiSteps


def optimizer(
    rule: float | optax.Schedule | Transformation, clip: float | Literal["auto"] | None = "auto"
) -> optax.GradientTransformationExtraArgs:
    """Gradients clipped to a global norm, then the rule; leaves under a key `fixed` never move,
    whatever the rule (weight decay too).

    Gradient accumulation is `optax.MultiSteps(optimizer(rule), every_k_schedule=k)`: the mean
    gradient of k batches is clipped once, and the rule and its schedule count updates. With
    `optimizer(optax.MultiSteps(...), clip=c)` the gradient of each batch is clipped before it is
    accumulated.

    Args:
      rule: an optax transformation (an `optax.MultiSteps` too), or a learning rate or a schedule
        `step -> rate` for Adam.
      clip: the largest global norm of the trainable leaves' gradient, or None; "auto" is 1.0 for a
        rate or a schedule and None for a transformation, which says itself what is done.

    Raises:
      TypeError: for any other rule, such as `optax.adam` that was not called.
      ValueError: for a rate that is negative or not finite, or a clip that is not positive.

    Example:
      >>> tx = optimizer(optax.adamw(1e-3, weight_decay=0.1), clip=0.5)
    """
    if not isinstance(rule, Transformation):
        errors.check_rule(rule, optax.GradientTransformation)
        rule, clip = optax.adam(rule), 1.0 if clip == "auto" else clip
    errors.check_clip(clip)
    rule = transformation("optimizer", rule)
    if clip not in (None, "auto"):
        rule = optax.chain(optax.clip_by_global_norm(clip), rule)

    def fixed(params: Params) -> Any:
        return jax.tree.map(operator.not_, trainable(params))

    return optax.chain(
        # The gradient among the extra arguments is masked as the params are.
        optax.masked(rule, trainable, mask_compatible_extra_args=True),
        optax.masked(optax.set_to_zero(), fixed),
    )


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
