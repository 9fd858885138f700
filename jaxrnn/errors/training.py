"""What losses, training steps and checkpoints refuse."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.errors.message import describe, error, same_shape


def wrong_sum(other: Any) -> Exception:
    """A sum of a loss and something else."""
    return error(
        TypeError,
        "MaskedMean",
        f"a sum with {describe(other)}",
        "another MaskedMean",
        "Add penalties to its total: loss._replace(total=loss.total + penalty * loss.steps).",
    )


def check_loss_mask(values: Any, mask: Any) -> None:
    """One flag for each of a loss's values."""
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


def check_targets(name: str, need: tuple, targets: Any, tokens: bool = False) -> None:
    """Targets of the shape that is needed, and integers where they are tokens."""
    if not (hasattr(targets, "dtype") and hasattr(targets, "shape")):
        got, do = f"targets as a {type(targets).__name__}", "Pass jnp.asarray(targets)."
        raise error(TypeError, name, got, "targets as one array", do)
    if tokens and not jnp.issubdtype(targets.dtype, jnp.integer):
        got, do = f"targets {describe(targets)}", "Cast them with astype(int)."
        raise error(TypeError, name, got, "integers, the right tokens", do)
    if not same_shape(targets.shape, need):
        do = "Shapes are never broadcast: reshape one of them."
        raise error(ValueError, name, f"targets {describe(targets)}", f"the shape {need}", do)


def wrong_carry(cell: Any, carry: Any) -> Exception:
    need, do = (
        "the recurrent state",
        "Make the state with TrainState.create(..., batch_shape=(B,)) for truncated_bptt_step.",
    )
    if carry is not None:
        need, do = (
            "carry=None",
            "Make the state with TrainState.create(...) without a batch_shape for bptt_step, "
            "which begins each batch afresh.",
        )
    return error(
        ValueError, cell, f"a TrainState with carry {jax.tree.map(describe, carry)}", need, do
    )


def wrong_optimizer(got: Any) -> Exception:
    return error(
        TypeError,
        "optimizer",
        f"{got!r}",
        "a learning rate, a schedule or an optax transformation",
        "Write optimizer(1e-3).",
    )


def other_checkpoint(directory: Any, got: str, need: str) -> Exception:
    return error(
        ValueError,
        str(directory),
        f"a checkpoint with {got}",
        need,
        "It belongs to another network or optimizer: "
        "give its own settings again, or another directory.",
    )


def no_checkpoint(directory: Any) -> Exception:
    return error(
        FileNotFoundError,
        str(directory),
        "a directory without a checkpoint",
        "one that fit has saved to",
        "Train first.",
    )
