"""What data refuses: streams, files and ragged columns."""

import pathlib
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp

from jaxrnn.errors.message import describe, error


def check_stream(who: str, tokens: Any, least: int, rule: str) -> None:
    """A stream of tokens."""
    if not (hasattr(tokens, "dtype") and jnp.issubdtype(tokens.dtype, jnp.integer)):
        need, do = "an array of integer tokens", "Pass np.asarray(tokens, np.int32)."
        raise error(TypeError, who, f"tokens as {describe(tokens)}", need, do)
    if tokens.ndim != 1 or len(tokens) < least:
        rule = f"{rule} = {least}" if rule.endswith("1") else rule
        need = f"one stream of at least {rule} tokens"
        do = "Give more tokens, or make the sizes smaller; a stream has one axis."
        raise error(ValueError, who, f"tokens {describe(tokens)}", need, do)


def check_file(path: pathlib.Path, folders: bool = False) -> None:
    """A file that is there, or where they will do a folder."""
    if not path.exists():
        need, do = "a file that is there", "Is the path right, and relative to this folder?"
        raise error(FileNotFoundError, str(path), "No such file", need, do)
    if path.is_dir() and not folders:
        need, do = "one file of text", "Give a file in it, or read it with data.read_bytes."
        raise error(IsADirectoryError, str(path), "a folder", need, do)


def not_text(path: Any, line: int, byte: int) -> Exception:
    what = "which text does not hold" if byte == 0 else "which is not UTF-8"
    return error(
        ValueError,
        str(path),
        f"the byte 0x{byte:02x} in line {line}, {what}",
        "a file of UTF-8 text",
        "Convert it (iconv -f latin1 -t utf-8), or read it as bytes with data.read_bytes.",
    )


def empty_file(path: Any, what: str = "an empty file") -> Exception:
    do = "Give a file with something in it."
    return error(ValueError, str(path), what, "something to read", do)


def check_bytes(who: str, text: Any) -> None:
    if not isinstance(text, (bytes, bytearray, memoryview)):
        need, do = "bytes", "Write text.encode(), or read them with data.read_bytes."
        raise error(TypeError, who, f"a {type(text).__name__}", need, do)


def check_known(known: Any) -> None:
    """The units of a vocabulary."""
    who, do = "Vocabulary", "Make it with Vocabulary.of(sequences)."
    if not isinstance(known, tuple) or not all(isinstance(unit, str) for unit in known):
        got = f"known as a {type(known).__name__}"
        raise error(TypeError, who, got, "a tuple of strings", do)
    if len(set(known)) < len(known):
        raise error(ValueError, who, "a unit twice among known", "each unit once", do)


def check_units(units: Any) -> None:
    """A sequence of units of text."""
    if isinstance(units, bytes) or not isinstance(units, Iterable):
        need, do = "a sequence of strings", "Pass text, or data.words(text)."
        raise error(TypeError, "Vocabulary", f"units as a {type(units).__name__}", need, do)


def check_unit(unit: Any) -> None:
    if not isinstance(unit, str):
        got, need = f"{unit!r} as a unit, a {type(unit).__name__}", "units that are strings"
        raise error(TypeError, "Vocabulary", got, need, "Pass a list of lists of strings.")


def check_decodable(who: str, tokens: Any, size: int) -> None:
    """Tokens of a vocabulary."""
    need, do = f"integer tokens from 0 to {size - 1}", "Was another vocabulary used to encode?"
    if tokens.size and not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise error(TypeError, who, f"tokens {describe(tokens)}", need, do)
    if tokens.ndim != 1:
        got, do = f"tokens {describe(tokens)}", "Decode one row at a time: tokens[:, b]."
        raise error(ValueError, who, got, "one sequence of tokens [N]", do)
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < size:
        got = f"tokens from {tokens.min()} to {tokens.max()}"
        raise error(ValueError, who, got, need, do)


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


def numbers(array: Any) -> bool:
    """Whether an array holds numbers or booleans."""
    return jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool


def check_numbers(place: int, column: Any) -> Any:
    """A plain column, which holds numbers."""
    if not numbers(column):
        got, need = f"column {place} {describe(column)}", "a list of arrays, or an array of numbers"
        do = "Encode text with a Vocabulary; fill or leave out what is missing."
        raise error(TypeError, "Buckets", got, need, do)
    return column


def check_list(who: str, column: Any) -> None:
    """Rows one after another, and not a text."""
    if isinstance(column, (str, bytes)) or not hasattr(column, "__len__"):
        need = "a list of rows, arrays [t_i, ...]"
        raise error(TypeError, who, f"rows as a {type(column).__name__}", need, "Pass list(rows).")


def check_row(who: str, i: int, where: str, row: Any, array: Any) -> None:
    """A row of a ragged column, which holds numbers along a first axis."""
    got, need = f"row {i}{where}", "an array of numbers [t_i, ...]"
    do = "Encode text with a Vocabulary; give each row features of one shape."
    if not numbers(array):
        shown = "" if array.dtype == object else f", {describe(array)}"
        raise error(TypeError, who, f"{got} as a {type(row).__name__}{shown}", need, do)
    if not array.ndim:
        raise error(TypeError, who, f"{got} as a single number", need, "Pass one with a time axis.")


def check_padded(rows: list) -> None:
    """Rows to be padded: some, with the same features."""
    if not rows:
        do = "Is the file or the split empty?"
        raise error(ValueError, "pad", "no rows", "at least one row", do)
    for i, row in enumerate(rows):
        if row.shape[1:] != rows[0].shape[1:]:
            got = f"row {i} {describe(row)} after {describe(rows[0])}"
            raise error(ValueError, "pad", got, "rows of the same features", "Time is axis 0.")


def check_longest(longest: int, steps: int) -> None:
    if longest > steps:
        got, need = f"a row of {longest} steps", f"at most steps={steps}"
        raise error(ValueError, "pad", got, need, "Cut it, row[:steps], or pass more steps.")


def check_rows(place: int, rows: list) -> None:
    """The rows of a ragged column."""
    first = rows[0]
    for i, row in enumerate(rows):
        if not len(row):
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
