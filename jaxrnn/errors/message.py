"""The form of every message."""

from typing import Any


def describe(x: Any) -> str:
    """`float32[3, 4]` for an array, the type's name for anything else."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype}[{', '.join(map(str, x.shape))}]"
    return type(x).__name__


def same_shape(got: tuple, need: tuple) -> bool:
    """Whether two shapes agree wherever both are numbers: `jax.export` has symbols for the rest."""
    numbers = [(a, b) for a, b in zip(got, need, strict=False) if type(a) is type(b) is int]
    return len(got) == len(need) and all(a == b for a, b in numbers)


def error(kind: type[Exception], cell: Any, got: str, need: str, do: str) -> Exception:
    name = cell if isinstance(cell, str) else repr(cell)
    return kind(f"{name}: got {got}; need {need}. {do}")
