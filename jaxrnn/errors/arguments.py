"""Whole numbers that functions of several rooms take, one or an array of them."""

import operator
from typing import Any

import numpy as np
from jax.core import Tracer

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


def check_within(who: Any, name: str, x: Any, low: int, high: int, need: str, do: str) -> None:
    """An array of whole numbers from `low` to `high`, whose values are looked at where known."""
    if isinstance(x, Tracer) or not x.size:
        return
    known = np.asarray(x)
    least, most = int(known.min()), int(known.max())
    if least < low or most > high:
        raise error(ValueError, who, f"{name} from {least} to {most}", need, do)
