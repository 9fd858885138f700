"""What data, training, decoding and tasks refuse."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.errors.message import describe, error, same_shape


def check_stream(tokens: Any, batch: int, length: int) -> None:
    """A stream to be cut into segments."""
    if not (hasattr(tokens, "dtype") and jnp.issubdtype(tokens.dtype, jnp.integer)):
        raise error(
            TypeError,
            "Segments",
            f"tokens as {describe(tokens)}",
            "an array of integer tokens",
            "Pass np.asarray(tokens, np.int32).",
        )
    for name, value in (("batch", batch), ("length", length)):
        if not isinstance(value, int) or value < 1:
            raise error(
                ValueError,
                "Segments",
                f"{name}={value!r}",
                "a positive integer",
                "One stream is batch=1.",
            )
    if tokens.ndim != 1 or len(tokens) < batch * length + 1:
        raise error(
            ValueError,
            "Segments",
            f"tokens {describe(tokens)}",
            f"one stream of at least batch * length + 1 = {batch * length + 1} tokens",
            "Give more tokens, or make batch or length smaller.",
        )


def not_text(path: Any, line: int, byte: int) -> Exception:
    return error(
        ValueError,
        str(path),
        f"the byte 0x{byte:02x} in line {line}, which is not UTF-8",
        "a file of UTF-8 text",
        "Convert it (iconv -f latin1 -t utf-8), or read it as bytes with data.read_bytes.",
    )


def empty_file(path: Any) -> Exception:
    return error(
        ValueError,
        str(path),
        "an empty file",
        "a file of text",
        "Give a file with something in it.",
    )


def no_last(net: Any, body: Any) -> Exception:
    return error(
        ValueError,
        type(net).__name__,
        f"pool='last' of {body!r}, no one output of which has read the whole sequence",
        "a causal body, or one whose top is a recurrent cell or a Bidirectional of such",
        "Move what lies above the Bidirectional into the head, or pass pool='mean'.",
    )


def check_columns(columns: Any) -> None:
    """The columns of ragged data: a tuple, of which one at least is a list of arrays, all of one
    number of rows.
    """
    if not isinstance(columns, tuple) or not columns:
        raise error(
            TypeError,
            "Buckets",
            f"columns as a {type(columns).__name__}",
            "a tuple of columns",
            "Write Buckets((rows, labels), batch=32).",
        )
    for i, column in enumerate(columns):
        if not (isinstance(column, (list, tuple)) or (hasattr(column, "shape") and column.ndim)):
            raise error(
                TypeError,
                "Buckets",
                f"column {i} as {describe(column)}",
                "a list of arrays, or an array [N, ...]",
                "Pass a list of arrays [t_i, ...] for sequences, np.asarray(labels) for labels.",
            )
    sizes = [len(column) for column in columns]
    if len(set(sizes)) > 1:
        raise error(
            ValueError,
            "Buckets",
            f"columns of {', '.join(map(str, sizes))} rows",
            "as many rows in each",
            "A row is one example in all.",
        )
    if not sizes[0]:
        raise error(
            ValueError,
            "Buckets",
            "columns without rows",
            "at least one row",
            "Is the file or the split empty?",
        )
    if not any(
        isinstance(column, (list, tuple)) and hasattr(column[0], "__len__") for column in columns
    ):
        raise error(
            ValueError,
            "Buckets",
            "no ragged column",
            "at least one list of arrays [t_i, ...]",
            "Pass list(xs) for rows of equal length.",
        )


def check_rows(place: int, rows: list) -> None:
    """The rows of a ragged column."""
    first = rows[0]
    for i, row in enumerate(rows):
        if not row.ndim or not len(row):
            raise error(
                ValueError,
                "Buckets",
                f"row {i} of column {place} with no steps",
                "rows of at least one step",
                "Leave that row out.",
            )
        if row.dtype != first.dtype or row.shape[1:] != first.shape[1:]:
            raise error(
                ValueError,
                "Buckets",
                f"row {i} of column {place} {describe(row)} after {describe(first)}",
                "rows that differ in length alone",
                "Cast them to one dtype; time is axis 0 of a row.",
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


def wrong_decoding(got: str, need: str) -> Exception:
    return error(
        ValueError, "decoding", got, need, "See the docstrings of greedy, sample and beam."
    )


def wrong_task(task: str, got: str, need: str, do: str) -> Exception:
    """Settings that no sequence of a task can have."""
    return error(ValueError, task, got, need, do)


def missing_package(name: str, why: str, extra: str) -> Exception:
    return ModuleNotFoundError(
        f'the package {name} is not installed ({why}). Run: pip install -e ".[{extra}]"', name=name
    )


def no_state(net: Any) -> Exception:
    return error(
        ValueError,
        net,
        "an encoder without a state",
        "one whose last state the bridge can hand on",
        "Put a recurrent cell into the encoder, or pass bridge='none'.",
    )


def wrong_copy(net: Any, given: Any, need: Any) -> Exception:
    return error(
        ValueError,
        net,
        f"an encoder's state {jax.tree.map(describe, given)}",
        f"the decoder's arrays, {jax.tree.map(describe, need)}",
        "Give both the same recurrent cells, or pass bridge='dense'.",
    )


def wrong_net(net: Any, params: Any) -> Exception:
    got = (
        f"params with {', '.join(map(repr, params))}"
        if isinstance(params, dict)
        else f"params as a {type(params).__name__}"
    )
    return error(
        ValueError,
        net,
        got,
        "a dict of 'encoder', 'decoder' and 'bridge'",
        "Make them with net.init(key, source, target).",
    )


def not_convertible(module: Any, got: str, need: str, do: str) -> Exception:
    """A module of another library, or a cell of ours, that has no counterpart."""
    return error(ValueError, module, got, need, do)


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
