"""What training steps, batches, scores and checkpoints refuse."""

import inspect
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.errors.configuration import check_size
from jaxrnn.errors.inputs import check_key, holds
from jaxrnn.errors.losses import is_number, known
from jaxrnn.errors.message import describe, error, same_shape


def name_of(x: Any) -> str:
    """A function's name with its module, the repr of anything short, else its type."""
    if isinstance(x, type) or (callable(x) and hasattr(x, "__qualname__")):
        return f"{x.__module__}.{x.__qualname__}"
    if hasattr(x, "dtype"):
        return describe(x)
    return repr(x) if isinstance(x, (int, float, str, type(None))) else f"a {type(x).__name__}"


# States


def check_run(who: str, cell: Any, kind: type, params: Any, batch_shape: Any) -> None:
    """What a run begins with: a net or None, its params, and the batch of a state to carry."""
    model = hasattr(cell, "objective") and not isinstance(cell, type)  # it carries nothing
    if cell is not None and not model and not isinstance(cell, kind):
        do = "The arguments are cell, params, tx, key; pass a cell such as LSTM(128), or None."
        raise error(TypeError, who, f"{name_of(cell)} as the net", "a cell, or None", do)
    if params is None:
        do = "Make them with net.init(key, x)."
        raise error(TypeError, who, "params=None", "the net's params", do)
    check_trainable(who, params)
    if batch_shape is None:
        return
    if cell is None or model:
        got, need = f"batch_shape={batch_shape!r} without a net", "the net whose state is carried"
        do = "Pass the net as the first argument, or leave batch_shape out."
        raise error(ValueError, who, got, need, do)
    if not isinstance(batch_shape, tuple):
        axes = f"({batch_shape},)" if isinstance(batch_shape, int) else "(32,)"
        got, do = f"batch_shape={batch_shape!r}", f"Write batch_shape={axes}."
        raise error(TypeError, who, got, "a tuple, the batch axes", do)
    for size in batch_shape:
        if isinstance(size, (bool, float, str)) or (isinstance(size, int) and size < 0):
            got, do = f"batch_shape={batch_shape!r}", "Write batch_shape=(32,), say."
            raise error(ValueError, who, got, "sizes that are integers, none below 0", do)


def check_trainable(who: Any, params: Any) -> None:
    """Params that can be trained: floating arrays."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        if not (hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)):
            got = f"params{jax.tree_util.keystr(path)} as {describe(leaf)}"
            do = "The arguments are cell, params, tx, key; make params with net.init(key, x)."
            raise error(TypeError, who, got, "params that are floating arrays", do)


def other_params(who: str, cell: Any) -> Exception:
    got, do = f"params of another cell than {cell!r}", "Make them with cell.init(key, x)."
    return error(ValueError, who, got, "the params of this one", do)


def check_train_state(who: Any, state: Any, kind: type) -> None:
    if not isinstance(state, kind):
        do = "Make it with TrainState.create(net, params, tx, key), and call step(state, batch)."
        raise error(TypeError, who, f"a state {name_of(state)}", "a TrainState", do)
    check_trainable(who, state.params)
    check_key(who, state.key)
    for name in ("step", "skipped"):
        number = getattr(state, name)
        if not (is_number(number) and jnp.issubdtype(jnp.result_type(number), jnp.integer)):
            do = f"Write state._replace({name}=jnp.int32(0))."
            raise error(TypeError, who, f"{name} as {name_of(number)}", "an integer", do)


def check_opt_state(who: Any, got: Any, need: Any) -> None:
    """An optimizer's state, as its `init` makes it for the params."""
    do = "Give TrainState.create and the step one and the same optimizer and params."
    if jax.tree.structure(got) != jax.tree.structure(need):
        text = "an optimizer state of another optimizer, or of other params"
        raise error(ValueError, who, text, "that of the step's own optimizer", do)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(need), strict=True):
        if not same_shape(jnp.shape(a), b.shape):
            text = f"an optimizer state with a leaf {describe(a)}"
            raise error(ValueError, who, text, f"{describe(b)}, as the params are", do)


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


# Functions


def check_signature(who: str, what: str, f: Any, names: tuple[str, ...]) -> None:
    """A loss or an objective: a function of so many arguments."""
    call = f"{what}({', '.join(names)}) -> MaskedMean"
    if hasattr(f, "objective"):
        do = f"Pass its objective, {type(f).__name__}(...).objective(cross_entropy)."
        raise error(TypeError, who, f"{f!r} as the {what}", call, do)
    if not callable(f):
        do = f"The arguments are in another order: pass the {what} as a function."
        raise error(TypeError, who, f"{name_of(f)} as the {what}", call, do)
    if str(getattr(f, "__module__", "")).startswith("optax"):
        do = f"Write lambda ys, targets, mask: MaskedMean.over({f.__name__}(ys, targets), mask)."
        raise error(TypeError, who, f"{name_of(f)}, which knows no mask", call, do)
    try:
        inspect.signature(f).bind(*names)
    except TypeError as why:
        do = f"Write def {what}({', '.join(names)}): ..."
        raise error(TypeError, who, f"{name_of(f)} as the {what} ({why})", call, do) from None
    except ValueError:  # it has no signature
        return


def check_windows(who: str, k1: Any, k2: Any, burn_in: Any) -> None:
    """How often a gradient is taken, how far it reaches back, and the steps before the first."""
    if k1 is not None and k2 is None:
        got, need = f"k1={k1!r} without k2", "how far back a gradient reaches"
        raise error(ValueError, who, got, need, f"Pass k2={k1!r}, or a larger one.")
    for name, size in (("k1", k1), ("k2", k2)):
        if size is not None:
            check_size(who, name, size)
    if k1 is not None and k1 > k2:
        got, need = f"k1={k1} above k2={k2}", "windows that leave no step out"
        raise error(ValueError, who, got, need, f"Pass k1={k2} or less.")
    if burn_in != 0 or isinstance(burn_in, (bool, float)):
        check_size(who, "burn_in", burn_in, "Pass burn_in=8, say, or 0 for none.")


def check_burn_in(cell: Any, burn_in: int, length: Any) -> None:
    """A burn-in that leaves a step to learn from."""
    if burn_in and isinstance(length, int) and burn_in >= length:
        got, need = f"burn_in={burn_in} of {length} steps", "a longer sequence"
        raise error(ValueError, cell, got, need, f"Pass burn_in={max(length - 1, 0)} or less.")


def has_objective(who: str, net: Any) -> Exception:
    """A model of its own kind where a recurrent net is due."""
    other = (
        "score(net.objective(loss), params, batches)"
        if who == "evaluate"
        else "make_step(net.objective(loss), tx)"
    )
    return error(TypeError, who, f"{net!r}", "a net of layers, jaxrnn.Layer", f"Write {other}.")


# Batches


def check_batch_leaves(who: Any, batch: Any) -> None:
    """Arrays and numbers, of dtypes that JAX knows."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(batch)[0]:
        if isinstance(leaf, (jax.Array, int, float)):
            continue
        dtype = getattr(leaf, "dtype", None)
        if dtype is None or not holds(dtype):
            got = f"a batch whose leaf batch{jax.tree_util.keystr(path)} is {name_of(leaf)}"
            do = "Pass arrays; ragged rows are padded by data.Buckets."
            raise error(TypeError, who, got, "numbers in arrays", do)


def wrong_batch(who: Any, batch: Any, padded: bool) -> Exception:
    """Anything but a batch of inputs and targets."""
    need, do = "a Batch(xs, targets)", "Write Batch(xs, targets, mask), time first."
    if padded:
        need += ", or a Padded of two ragged columns"
    elif hasattr(batch, "columns") and hasattr(batch, "masks"):
        do = "Its rows are whole sequences: use bptt_step, or data.Segments of one long stream."
    if callable(batch):
        do = "Call it for the batch of a step, batches(0), or use fit."
    return error(TypeError, who, f"{name_of(batch)} as a batch", need, do)


def check_columns_of_two(who: Any, batch: Any) -> None:
    """A padded batch of ragged inputs and of targets."""
    if len(batch.columns) != 2 or len(batch.masks) != 2:
        got, need = f"a Padded of {len(batch.columns)} columns", "two, the inputs and the targets"
        raise error(ValueError, who, got, need, "Write Buckets((inputs, targets), batch=32).")
    check_ragged_inputs(who, batch)


def check_ragged_inputs(who: Any, batch: Any) -> None:
    """A padded batch whose first column has a time axis."""
    if batch.masks[0] is None:
        got, need = "a Padded whose inputs are a plain column", "ragged inputs, a list of arrays"
        raise error(ValueError, who, got, need, "Write Buckets((list(xs), targets), batch=32).")


def check_ragged_targets(who: Any, batch: Any) -> None:
    """A target for each step of each row; the lengths are compared where they are known."""
    inputs, targets = batch.masks
    if targets is None:
        got, need = "a Padded whose targets are a plain column", "a target for each step"
        do = (
            "For one target a row write net = Pooled(body, head) and "
            "make_step(net.objective(loss), tx), or score(net.objective(loss), params, buckets)."
        )
        raise error(ValueError, who, got, need, do)
    same = inputs is targets or same_shape(inputs.shape, targets.shape)
    if same and known(inputs) and known(targets):
        same = np.array_equal(np.asarray(inputs), np.asarray(targets))
    if not same:
        got, need = "a Padded whose rows have inputs and targets of other lengths", "equal lengths"
        do = "Give as many targets as inputs in each row; for others see EncoderDecoder and ctc."
        raise error(ValueError, who, got, need, do)


def no_buckets(who: str, got: Any) -> Exception:
    do = "Write Buckets((rows,), batch=32)."
    return error(TypeError, who, f"{name_of(got)} as buckets", "data.Buckets", do)


def state_of_buckets(who: Any) -> Exception:
    got, need = "a state with Buckets", "state=None, since each row begins afresh"
    return error(ValueError, who, got, need, "Pass the batches one by one to carry a state.")


def check_batch_source(who: str, batches: Any) -> None:
    """Many batches: `Buckets`, a list or an iterator."""
    need, do = "Buckets, or an iterable of batches", "Write [batch] for one batch."
    if hasattr(batches, "ordered"):
        return
    one = any(hasattr(batches, name) for name in ("_fields", "dtype"))
    if one or isinstance(batches, dict | str) or not isinstance(batches, Iterable):
        if callable(batches):
            do = "Write [batches(step) for step in range(n)]."
        raise error(TypeError, who, f"{name_of(batches)} as batches", need, do)


def no_batches(who: str) -> Exception:
    got, do = "no batches", "Is the iterator used up? Pass a list."
    return error(ValueError, who, got, "at least one", do)


# Scheduled sampling


def check_sampling(rate: Any, batch: tuple) -> None:
    """The probability of a drawn token: in [0, 1] where it is known, of a shape that fits rows."""
    who, do = "scheduled_sampling", "Pass rate=0.25, say."
    number = is_number(rate) or (
        hasattr(rate, "dtype") and jnp.issubdtype(rate.dtype, jnp.floating)
    )
    if not number:
        raise error(TypeError, who, f"rate={name_of(rate)}", "a probability, a floating number", do)
    try:
        fits = np.broadcast_shapes(np.shape(rate), batch) == batch
    except ValueError:
        fits = False
    if not fits:
        got, do = f"rate {describe(rate)}", "Pass one number, or one for each row."
        raise error(ValueError, who, got, f"a shape that broadcasts with the rows {batch}", do)
    if known(rate):
        values = np.asarray(rate, np.float64)
        if not ((values >= 0) & (values <= 1)).all():
            got = f"rates from {values.min()} to {values.max()}"
            raise error(ValueError, who, got, "probabilities from 0 to 1", do)


# Checkpoints


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
