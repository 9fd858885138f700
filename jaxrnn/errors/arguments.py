"""Arguments that functions of several rooms take: whole numbers and keys."""

import operator
from typing import Any

import numpy as np

from jaxrnn.errors.message import describe, error


def check_count(who: Any, name: str, value: Any, least: int = 1) -> int:
    """A known whole number, Python's or NumPy's, as an `int`."""
    need = {0: "an integer, zero or more", 1: "a positive integer"}[least]
    do = f"Pass {name}=8, say."
    try:
        number = operator.index(value) if not isinstance(value, (bool, np.bool_)) else None
    except TypeError:  # JAX's error for a traced number is one
        number = None
    if number is None:
        got = describe(value) if hasattr(value, "shape") else repr(value)
        raise error(TypeError, who, f"{name}={got}", need, do)
    if number < least:
        raise error(ValueError, who, f"{name}={number}", need, do)
    return number
