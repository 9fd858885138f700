"""What the verbs check of inputs: arrays, their axes and dtypes, masks, resets, lengths, keys."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrnn.errors.message import describe, error, same_shape


def check_array(cell: Any, name: str, x: Any) -> None:
    if not (hasattr(x, "shape") and hasattr(x, "dtype")):
        raise error(
            TypeError,
            cell,
            f"{name} as a {type(x).__name__}",
            f"{name} as one array",
            f"Pass jnp.asarray({name}).",
        )


def check_example(cell: Any, x: Any) -> None:
    """What `init` is told of one step's input."""
    if not (hasattr(x, "shape") and hasattr(x, "dtype")):
        need = "what one step's input is like"
        do = "Pass the number of features, TOKEN, features(...) or an example array."
        raise error(TypeError, cell, f"an example input {x!r}, a {type(x).__name__}", need, do)


def check_rank(cell: Any, xs: Any, time: int) -> None:
    """`time` is 1 where a leading time axis is due, 0 for one step."""
    need = cell.feature_ndim + time
    if xs.ndim < need:
        axes = "[T, ..., features]" if time else "[..., features]"
        raise error(
            ValueError,
            cell,
            f"inputs {describe(xs)}",
            f"at least {need} axes, {axes} with {cell.feature_ndim} feature axes",
            "Add the missing axis, or use "
            + ("advance for one step." if time else "unroll for a sequence."),
        )


def check_input(cell: Any, x: Any) -> None:
    """The dtype a leaf cell is fed: tokens are integers, features are floats."""
    if cell.takes_tokens and not jnp.issubdtype(x.dtype, jnp.integer):
        raise error(
            TypeError,
            cell,
            f"inputs {describe(x)}",
            "integer tokens",
            "Pass token ids, e.g. tokens.astype(jnp.int32).",
        )
    if not cell.takes_tokens and not jnp.issubdtype(x.dtype, jnp.floating):
        raise error(
            TypeError,
            cell,
            f"inputs {describe(x)}",
            "floating features",
            "Cast with x.astype(jnp.float32), or put an Embed in front of it if these are tokens.",
        )


def check_flags(cell: Any, name: str, flags: Any, shape: tuple[int, ...]) -> None:
    """A mask or resets: boolean, one flag for each step of each row."""
    check_array(cell, name, flags)
    if flags.dtype != jnp.bool_:
        raise error(
            TypeError,
            cell,
            f"{name} {describe(flags)}",
            "a boolean array",
            f"Pass {name}.astype(bool), true where "
            + ("a step counts." if name == "mask" else "a new sequence begins."),
        )
    if not same_shape(flags.shape, shape):
        raise error(
            ValueError,
            cell,
            f"{name} of shape {flags.shape}",
            f"{shape}: " + ("time, then batch" if len(shape) else "one flag"),
            f"Transpose it if the batch comes first, or pass jnp.broadcast_to({name}, {shape}).",
        )


def check_lengths(lengths: Any, steps: int) -> None:
    """The lengths of rows of `steps` steps: integers, whose values are looked at where known."""
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        got, do = f"lengths {describe(lengths)}", "Cast with astype(int)."
        raise error(TypeError, "lengths_to_mask", got, "integers", do)
    if isinstance(lengths, Tracer) or not lengths.size:
        return
    known = np.asarray(lengths)
    least, most = int(known.min()), int(known.max())
    if least < 0 or most > steps:
        got, need = f"lengths from {least} to {most}", f"lengths from 0 to steps={steps}"
        do = "Pass the padded length as steps, or cut the lengths with clip."
        raise error(ValueError, "lengths_to_mask", got, need, do)


def wrong_extra(cell: Any, leaf: Any, xs: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"extra with a leaf {describe(leaf)} and inputs {describe(xs)}",
        "the same time axis, axis 0, in both",
        "Pass targets with one entry for each step.",
    )
