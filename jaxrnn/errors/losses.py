"""What losses refuse, and what is refused in the place of a loss."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrnn.errors.inputs import check_array, check_flags
from jaxrnn.errors.message import describe, error, same_shape


def known(x: Any) -> bool:
    """Whether the values of an array or a number can be looked at here and now."""
    return not isinstance(x, Tracer) and getattr(x, "is_fully_addressable", True)


def is_number(x: Any) -> bool:
    """Whether this is one real number, an array without axes among them."""
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        return x.shape == () and is_real(x.dtype) and x.dtype != bool
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def is_real(dtype: Any) -> bool:
    """Whether this is a dtype of real numbers or booleans."""
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))


def wrong_sum(other: Any) -> Exception:
    """A sum of a loss and something else."""
    return error(
        TypeError,
        "MaskedMean",
        f"a sum with {describe(other)}",
        "another MaskedMean",
        "Add a penalty to its mean with loss.plus(penalty).",
    )


def check_added(penalty: Any, kind: type) -> None:
    """A penalty that can be added to the mean of a loss."""
    if not (isinstance(penalty, kind) or is_number(penalty)):
        got, do = f"a penalty {describe(penalty)}", "Sum or average it first: penalty.sum()."
        raise error(TypeError, "MaskedMean.plus", got, "a MaskedMean or one real number", do)


def no_recurrence(who: str, cell: Any) -> Exception:
    """A net in which no gradient goes through time."""
    got, need = f"{cell!r}", "a net with a recurrent cell"
    return error(ValueError, who, got, need, "Take the net whose states are to be kept steady.")


def check_values(values: Any, mask: Any) -> None:
    """The losses of single steps, and one flag for each of them."""
    check_array("MaskedMean.over", "values", values)
    if not is_real(values.dtype):
        got, do = f"values {describe(values)}", "Pass their real part, or their absolute value."
        raise error(TypeError, "MaskedMean.over", got, "real numbers", do)
    if mask is None:
        return
    if not (hasattr(mask, "dtype") and mask.dtype == bool):
        raise error(
            TypeError,
            "MaskedMean.over",
            f"a mask {describe(mask)}",
            "booleans, true where the step is valid",
            "Write mask > 0. Weights belong in the values: over(weights * values).",
        )
    if not same_shape(values.shape, mask.shape):
        raise error(
            ValueError,
            "MaskedMean.over",
            f"values {describe(values)} with a mask {describe(mask)}",
            "one value for each flag",
            "Sum or average the last axes first: values.sum(-1).",
        )


def check_outputs(name: str, ys: Any, mask: Any, axes: int = 1) -> None:
    """A net's outputs, floating and with a feature axis, and a flag for each of their steps."""
    check_array(name, "the outputs", ys)
    if not jnp.issubdtype(ys.dtype, jnp.floating) or len(ys.shape) < axes:
        kind = TypeError if len(ys.shape) >= axes else ValueError
        need = "floating outputs [T, ..., F]"
        do = "Pass what the net puts out, its last layer a Dense: loss(ys, targets, mask)."
        raise error(kind, name, f"outputs {describe(ys)}", need, do)
    if mask is not None:
        check_flags(name, "mask", mask, tuple(ys.shape[:-1]))


def check_targets(name: str, need: tuple, targets: Any, tokens: bool = False) -> None:
    """Targets of the shape that is needed, and integers where they are tokens."""
    if not (hasattr(targets, "dtype") and hasattr(targets, "shape")):
        got, do = f"targets as a {type(targets).__name__}", "Pass jnp.asarray(targets)."
        raise error(TypeError, name, got, "targets as one array", do)
    if tokens and not jnp.issubdtype(targets.dtype, jnp.integer):
        got, do = f"targets {describe(targets)}", "Cast them with astype(int)."
        raise error(TypeError, name, got, "integers, the right tokens", do)
    if not is_real(targets.dtype):
        got, do = f"targets {describe(targets)}", "Cast them with astype(float)."
        raise error(TypeError, name, got, "real numbers", do)
    if not same_shape(targets.shape, need):
        do = "Shapes are never broadcast: reshape one of them."
        raise error(ValueError, name, f"targets {describe(targets)}", f"the shape {need}", do)


def check_class_weights(weights: Any, classes: int) -> None:
    """A weight for each class, none below zero where that is known."""
    name, do = "cross_entropy", "Pass a tuple, weights=(1.0, 2.0, ...), in the order of the logits."
    need = f"{classes} numbers, one for each class"
    parts = weights if isinstance(weights, (tuple, list)) else (weights,)
    if parts is weights:
        numbers, shape = all(map(is_number, parts)), (len(parts),)
    else:
        numbers, shape = is_real(getattr(weights, "dtype", object)), np.shape(weights)
    if not numbers:
        raise error(TypeError, name, f"weights {describe(weights)}", need, do)
    if not same_shape(shape, (classes,)):
        raise error(ValueError, name, f"weights of shape {shape}", need, do)
    if all(map(known, parts)):
        values = np.asarray(weights, np.float64)
        if not (np.isfinite(values) & (values >= 0)).all():
            got, need = f"weights from {values.min()} to {values.max()}", "numbers from 0 up"
            raise error(ValueError, name, got, need, "A class of weight 0 is left out.")


def wrong_halves(ys: Any, targets: Any) -> Exception:
    """Outputs that are not a mean and a log-variance for each target."""
    return error(
        ValueError,
        "gaussian_nll",
        f"outputs {describe(ys)} for targets {describe(targets)}",
        "twice as many outputs as targets, the means and then the log-variances",
        "Let the net end in Dense(2 * F).",
    )


def check_ctc(logits: Any, targets: Any, mask: Any, target_mask: Any, blank: Any) -> None:
    """Logits `[T, ..., V]`, labels `[L, ...]`, their masks, and a token of the V."""
    check_outputs("ctc", logits, mask, axes=2)
    batch, tokens = tuple(logits.shape[1:-1]), logits.shape[-1]
    check_array("ctc", "targets", targets)
    need = ("?", *batch) if not len(targets.shape) else (targets.shape[0], *batch)
    check_targets("ctc", need, targets, tokens=True)
    if target_mask is not None:
        check_flags("ctc", "target_mask", target_mask, tuple(targets.shape))
    if not isinstance(blank, (int, np.integer)) or isinstance(blank, bool):
        got, do = f"blank={blank!r}", "Pass blank=0, say."
        raise error(TypeError, "ctc", got, "an integer, the token that is no label", do)
    if not 0 <= blank < tokens:
        got, need = f"blank={blank} with {tokens} logits", f"a token from 0 to {tokens - 1}"
        raise error(ValueError, "ctc", got, need, "The last one is blank=logits.shape[-1] - 1.")


def check_loss(who: Any, got: Any, kind: type) -> None:
    """What a loss or an objective returned: a total and the number of its steps, both scalars."""
    do = "Write MaskedMean.over(values, mask), of the losses of single steps."
    if not isinstance(got, kind):
        text = f"{describe(got)} from the loss or objective"
        raise error(TypeError, who, text, "a MaskedMean", do)
    total, steps = got  # type: ignore
    for name, x, need, dtype in (
        ("total", total, "a floating number", jnp.floating),
        ("steps", steps, "an integer, how many steps are valid", jnp.integer),
    ):
        text = f"a MaskedMean whose {name} is {describe(x)}"
        if hasattr(x, "dtype") and np.shape(x) != ():
            raise error(ValueError, who, text, f"{need}, without axes", do)
        if not is_number(x) or not jnp.issubdtype(jnp.result_type(x), dtype):
            weights = "Weights belong in the values: MaskedMean.over(weights * values, mask)."
            raise error(TypeError, who, text, need, weights if name == "steps" else do)
