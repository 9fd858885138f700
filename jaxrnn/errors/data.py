"""What data refuses: streams, files and ragged columns."""

from typing import Any

import jax.numpy as jnp

from jaxrnn.errors.message import describe, error


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
