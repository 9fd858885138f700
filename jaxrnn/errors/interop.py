"""What modules of other libraries around a layer refuse."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.errors.inputs import check_array
from jaxrnn.errors.message import describe, error, same_shape


def check_module_flags(cell: Any, name: str, flags: Any, shape: tuple, axis: int) -> None:
    """A mask or resets beside inputs whose time axis is `axis`, after or before the batch."""
    check_array(cell, name, flags)
    if not same_shape(flags.shape, shape) or flags.dtype != jnp.bool_:
        order = "batch, then time" if axis else "time, then batch"
        kind = ValueError if flags.dtype == jnp.bool_ else TypeError
        do = "Lay it out as the inputs are (time_major says how), and pass lengths as seq_lengths."
        raise error(kind, cell, f"{name} {describe(flags)}", f"booleans {shape}, {order}", do)


def lengths_and_mask(cell: Any) -> Exception:
    got, need = "seq_lengths and a mask", "one of them"
    return error(ValueError, cell, got, need, "Pass mask & lengths_to_mask(lengths, T), say.")


def wrong_rngs(who: Any, rngs: Any) -> Exception:
    got = f"rngs={rngs!r}, a {type(rngs).__name__}"
    return error(TypeError, who, got, "nnx.Rngs", "Pass rngs=nnx.Rngs(0).")


def no_stream(who: Any, name: str, why: str) -> Exception:
    got, need = f"rngs without a stream {name!r}", f"one, since {why}"
    do = f"Pass nnx.Rngs(0), or nnx.Rngs(params=0, {name}=1)."
    return error(ValueError, who, got, need, do.replace("params=0, params=1", "params=0"))


def no_noise_key(who: Any, rngs: Any) -> Exception:
    got, need = f"rngs={rngs!r}, a {type(rngs).__name__}", "nnx.Rngs, one of its streams, or a key"
    return error(TypeError, who, got, need, "Pass rngs=nnx.Rngs(dropout=0), say.")


def unlike_module(cell: Any, params: Any, have: Any) -> Exception:
    got, need = (jax.tree.map(describe, tree) for tree in (params, have))
    do = "Are these the params of another layer, or for inputs of another size?"
    return error(ValueError, cell, f"params {got}", f"{need}", do)


def unlike_shape(who: str, name: str, array: Any, need: tuple[Any, ...], do: str) -> Exception:
    """An array of another library, by the name it has there; None stands for any size."""
    shape = f"({', '.join('any' if n is None else str(n) for n in need)})"
    return error(ValueError, who, f"{name} {describe(array)}", f"{name} of shape {shape}", do)


def check_weight(who: str, name: str, array: Any, need: tuple[Any, ...]) -> None:
    """A weight of another library, by the name it has there; None stands for any size."""
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        got, do = f"{name} as a {type(array).__name__}", "Pass weights as the library made them."
        raise error(TypeError, who, got, "an array", do)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        do = "Cast it with astype(jnp.float32)."
        raise error(TypeError, who, f"{name} {describe(array)}", "a floating array", do)
    pairs = zip(need, array.shape, strict=False)
    if len(array.shape) != len(need) or any(n not in (None, m) for n, m in pairs):
        do = "The other sizes are those of the weights beside it: are all of one module?"
        raise unlike_shape(who, name, array, need, do)


def no_mapping(who: str, weights: Any) -> Exception:
    got, need = f"weights as a {type(weights).__name__}", "a dict of dicts by names of modules"
    return error(TypeError, who, got, need, "Pass what the transformed init returned.")


def no_such_module(who: str, name: Any, got: str, weights: Any) -> Exception:
    """A name under which there is no module that can be converted."""
    have = ", ".join(map(repr, weights)) or "nothing"
    need = "the name of an hk.LSTM, hk.GRU, hk.VanillaRNN, hk.Linear or hk.Embed"
    return error(ValueError, who, f"{name!r}, {got}", need, f"There are {have}.")


def check_module_names(who: str, names: Any, count: int | None = None) -> None:
    """Names of modules, one for each of `count` layers that have weights."""
    if not isinstance(names, (tuple, list)) or not all(isinstance(n, str) for n in names):
        do = 'Pass names=("lstm", "linear"), say.'
        raise error(TypeError, who, f"names={names!r}", "a string, or a tuple of strings", do)
    if not names or len(set(names)) < len(names) or count not in (None, len(names)):
        need = f"{'at least one' if count is None else count}, each another"
        do = "Give a name to each layer that has weights, in their order."
        raise error(ValueError, who, f"names={names!r}", need, do)


def no_module(who: str, prefix: str, names: list[str], first: tuple[str, ...]) -> Exception:
    """A state dict without a recurrent module under the prefix."""
    ends = {name: end for name in names for end in first if name.endswith(end)}
    known = sorted({name.removesuffix(end) for name, end in ends.items()} - {prefix})
    got = f"{', '.join(names)}"
    got = got if len(got) <= 120 else f"{got[:117]}..."
    need = f"{prefix}{first[0]} or {prefix}{first[1]} among them"
    do = "It is no state dict of a recurrent module."
    if known:
        do = f"Pass prefix={' or '.join(map(repr, known[:5]))}."
    return error(ValueError, who, f"arrays {got or '(none)'}", need, do)


def no_prefix(who: str, prefix: Any) -> Exception:
    do = 'Pass prefix="encoder.", say, with its dot.'
    return error(TypeError, who, f"prefix={prefix!r}", "a string", do)


def for_state_dicts(who: str, module: Any) -> Exception:
    got = f"prefix, nonlinearity or dropout beside a {type(module).__name__}"
    do = "Leave them out: a module says itself what they say of a state dict."
    return error(ValueError, who, got, "them beside a state dict alone", do)
