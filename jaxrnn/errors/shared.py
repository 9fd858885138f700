"""How every message is made."""

from typing import Any


def describe(x: Any) -> str:
    """`float32[3, 4]` for an array, the type's name for anything else."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype}[{', '.join(map(str, x.shape))}]"
    return type(x).__name__


def fail(kind: type[Exception], cell: Any, got: str, need: str, do: str) -> Exception:
    name = cell if isinstance(cell, str) else repr(cell)
    return kind(f"{name}: got {got}; need {need}. {do}")
