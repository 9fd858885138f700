"""What the verbs check of inputs: arrays, their axes and dtypes, masks, resets, lengths, keys."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.errors.arguments import check_within
from jaxrnn.errors.message import describe, error, same_shape


def check_array(cell: Any, name: str, x: Any) -> None:
    """One array that JAX can hold."""
    if isinstance(x, jax.Array | np.ndarray | np.generic):
        if not holds(x.dtype):
            do = "Pass np.asarray of one numeric dtype; rows of unequal length go into data.pad."
            raise error(TypeError, cell, f"{name} {describe(x)}", "an array of numbers", do)
    elif not hasattr(x, "__jax_array__"):
        need, do = f"{name} as one array", f"Pass jnp.asarray({name})."
        if isinstance(x, tuple | dict):
            do = "A layer that takes several arrays names their feature axes in feature_ndim."
            if isinstance(x, tuple) and all(isinstance(a, jax.Array) for a in x):
                do += (
                    " Bidirectional(merge='none') gives a pair: merge it, or put nothing above it."
                )
        raise error(TypeError, cell, f"{name} as a {type(x).__name__}", need, do)


def holds(dtype: Any) -> bool:
    """Whether JAX has arrays of a dtype: numbers, booleans, and its own, such as keys."""
    kinds = (np.number, np.bool_, jax.dtypes.extended)
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)


def check_inputs(cell: Any, name: str, x: Any, array: Callable = check_array) -> None:
    """One array, or the pytree of arrays that `feature_ndim` describes."""
    need = cell.feature_ndim
    if isinstance(need, int):
        return array(cell, name, x)
    if jax.tree.structure(x) != jax.tree.structure(need):
        got = f"{name} as {jax.tree.map(describe, x)}"
        do = "Pass the arrays in this structure; the numbers count each one's feature axes."
        raise error(TypeError, cell, got, f"arrays in the structure {need}", do)
    for path, leaf in jax.tree_util.tree_flatten_with_path(x)[0]:
        array(cell, name + jax.tree_util.keystr(path), leaf)


def check_example(cell: Any, name: str, x: Any) -> None:
    """What `init` is told of one step's input."""
    if not (hasattr(x, "shape") and hasattr(x, "dtype")):
        need = "what one step's input is like"
        do = "Pass the number of features, TOKEN, features(...) or an example array."
        raise error(TypeError, cell, f"{name} {x!r}, a {type(x).__name__}", need, do)


def check_key(cell: Any, key: Any, name: str = "key") -> None:
    """One PRNG key: typed, or the integers that `jax.random.PRNGKey` makes."""
    do = "Pass jax.random.key(0), say."
    if not isinstance(key, jax.Array | np.ndarray):
        raise error(TypeError, cell, f"{name}={key!r}, a {type(key).__name__}", "a PRNG key", do)
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not typed and key.dtype != jnp.uint32:
        raise error(TypeError, cell, f"{name} {describe(key)}", "a PRNG key", do)
    if key.ndim != (0 if typed else 1):
        do = "Take one of them, or vmap over all."
        raise error(ValueError, cell, f"{name} {describe(key)}", "one PRNG key", do)


def pairs(cell: Any, x: Any) -> list[tuple[str, int, Any]]:
    """Each array of an input: its place, how many feature axes it has, and the array."""
    counts = jax.tree.leaves(cell.feature_ndim)
    leaves = jax.tree_util.tree_flatten_with_path(x)[0]
    return [(jax.tree_util.keystr(path), n, a) for n, (path, a) in zip(counts, leaves, strict=True)]


def check_rank(cell: Any, xs: Any, time: int) -> None:
    """`time` is 1 where a leading time axis is due, 0 for one step."""
    first = None
    for place, count, x in pairs(cell, xs):
        if x.ndim < count + time:
            axes = ("[T, ..." if time else "[...") + (", features]" if count else "]")
            verb = "advance for one step." if time else "unroll for a sequence."
            got = f"inputs{place} {describe(x)}"
            need = f"at least {count + time} axes, {axes} with {count} feature axes"
            do = f"Add the missing axis, or use {verb}"
            raise error(ValueError, cell, got, need, do)
        lead = x.shape[: x.ndim - count]
        first = lead if first is None else first
        if not same_shape(lead, first):
            got, need = f"inputs{place} {describe(x)}", f"the axes {first} before its features"
            do = "All arrays of an input have the same time and batch axes."
            raise error(ValueError, cell, got, need, do)


def check_input(cell: Any, x: Any) -> None:
    """The dtype a leaf cell is fed: tokens are integers, features are floats. Of several arrays,
    those that are no tokens may be flags too.
    """
    arrays = pairs(cell, x)
    takes = jax.tree.leaves(cell.takes_tokens)
    takes = takes * len(arrays) if len(takes) == 1 else takes
    for tokens, (place, _, a) in zip(takes, arrays, strict=True):
        if tokens and not jnp.issubdtype(a.dtype, jnp.integer):
            do = "Pass token ids, e.g. tokens.astype(jnp.int32)."
            raise error(TypeError, cell, f"inputs{place} {describe(a)}", "integer tokens", do)
        if not tokens and (a.dtype != bool or len(arrays) == 1):
            check_feature_dtype(cell, f"inputs{place}", a)


def check_feature_dtype(cell: Any, name: str, a: Any) -> None:
    """Features: floating numbers."""
    if jnp.issubdtype(a.dtype, jnp.floating):
        return
    do = "Cast with x.astype(jnp.float32)."
    if jnp.issubdtype(a.dtype, jnp.integer):
        do = (
            "For tokens put an Embed before it, Stack((Embed(vocabulary, width), cell)); cast "
            "counts with x.astype(jnp.float32). A layer of your own that takes tokens has "
            "takes_tokens True and feature_ndim 0."
        )
    raise error(TypeError, cell, f"{name} {describe(a)}", "floating features", do)


def check_features(cell: Any, x: Any) -> None:
    """The example of an array of features, which `init` received."""
    if isinstance(cell.feature_ndim, int):
        check_input(cell, x)
        check_rank(cell, x, 0)
    elif not hasattr(x, "shape") or not x.shape:
        do = "Pass the one array whose feature size is asked for."
        raise error(ValueError, cell, f"an example {describe(x)}", "an array [..., F]", do)


def check_flags(cell: Any, name: str, flags: Any, shape: tuple[int, ...], time: int = 1) -> None:
    """A mask or resets: boolean, one flag for each step of each row."""
    check_array(cell, name, flags)
    need = f"booleans of shape {shape}, " + ("time, then batch" if time else "one for each row")
    got = flags.shape
    if not same_shape(got, shape):
        if time and jnp.issubdtype(flags.dtype, jnp.integer) and same_shape(got, shape[1:]):
            do = (
                f"For lengths pass lengths_to_mask(lengths, {shape[0]})."
                if time
                else "Write x > 0."
            )
        elif same_shape(got, (*shape, 1)):
            do = f"Drop the last axis: {name}[..., 0]."
        elif len(shape) > 1 and same_shape(got, (shape[1], shape[0], *shape[2:])):
            do = f"Put time first: jnp.swapaxes({name}, 0, 1)."
        elif spreads(got, shape):
            do = f"Pass jnp.broadcast_to({name}, {shape})."
        else:
            do = "Make one flag for each step of each row." if time else "Make one for each row."
        raise error(ValueError, cell, f"{name} {describe(flags)}", need, do)
    if flags.dtype != jnp.bool_:
        meaning = "the step is valid" if name == "mask" else "a new sequence begins"
        do = f"Pass {name}.astype(bool), true where {meaning}."
        raise error(TypeError, cell, f"{name} {describe(flags)}", need, do)


def spreads(got: tuple, need: tuple) -> bool:
    """Whether an array of one shape can be broadcast to another."""
    try:
        return np.broadcast_shapes(got, need) == tuple(need)
    except (TypeError, ValueError):  # sizes that differ, or symbols
        return False


def check_batch(cell: Any, batch_shape: Any) -> None:
    """The batch axes that a state is made for."""
    if not isinstance(batch_shape, tuple | list):
        do = "Write (4,) for a batch of four, () for a single row."
        raise error(TypeError, cell, f"batch_shape={batch_shape!r}", "a tuple of sizes", do)


def check_place(cell: Any, t: Any) -> None:
    """The number of a step."""
    if jnp.ndim(t) or not jnp.issubdtype(jnp.result_type(t), jnp.integer):
        do = "Pass the number of the step; a batch moves in step."
        raise error(TypeError, cell, f"t as {describe(t)}", "one integer", do)


@contextlib.contextmanager
def leaves_checked(cell: Any, **trees: Any) -> Iterator[None]:
    """Around a jitted call, whose TypeError may be about a leaf that JAX cannot hold: then the leaf
    is named.
    """
    try:
        yield
    except TypeError:
        for name, tree in trees.items():
            for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
                if not isinstance(leaf, bool | int | float | complex):
                    check_array(cell, name + jax.tree_util.keystr(path), leaf)
        raise


def check_lengths(lengths: Any, steps: int) -> None:
    """The lengths of rows of `steps` steps: integers, whose values are looked at where known."""
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        got, do = f"lengths {describe(lengths)}", "Cast with astype(int)."
        raise error(TypeError, "lengths_to_mask", got, "integers", do)
    do = "Pass the padded length as steps, or cut the lengths with clip."
    need = f"lengths from 0 to steps={steps}"
    check_within("lengths_to_mask", "lengths", lengths, 0, steps, need, do)


def check_extra(cell: Any, extra: Any, xs: Any, length: Any) -> None:
    """What goes beside the outputs of each step: arrays with the time axis of the inputs."""
    for leaf in jax.tree.leaves(extra):
        check_array(cell, "a leaf of extra", leaf)
        if not same_shape(leaf.shape[:1], (length,)):
            raise error(
                ValueError,
                cell,
                f"extra with a leaf {describe(leaf)} and inputs {describe(xs)}",
                "the same time axis, axis 0, in both",
                "Pass targets with one entry for each step.",
            )
