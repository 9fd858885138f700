"""What cells refuse: initializers that are none, and numbers that make no cell."""

import dataclasses
import math
import numbers
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jaxrnn.errors.configuration import check_number
from jaxrnn.errors.message import describe, error
from jaxrnn.errors.weights import check_static_function

PROTOCOL = "a function of (key, shape, dtype) that gives an array, as jax.nn.initializers has"


def function_name(init: Any) -> str:
    return getattr(init, "__name__", type(init).__name__)


def given_initializers(cell: Any) -> dict[str, Any]:
    """The initializers that a cell is given, by the names of their fields."""
    fields = [f.name for f in dataclasses.fields(cell) if f.kw_only and f.name.endswith("_init")]
    return {name: init for name in fields if (init := getattr(cell, name)) is not None}


def check_initializers(cell: Any) -> None:
    """The initializers that a cell is made with."""
    for field, init in given_initializers(cell).items():
        check_initializer(type(cell).__name__, field, init)


def check_initializer(who: str, field: str, init: Any) -> None:
    if not callable(init):
        got = f"{field}={init!r}" if isinstance(init, str) else f"{field} as a {describe(init)}"
        raise error(TypeError, who, got, PROTOCOL, instead(field, init))
    if not isinstance(init, type):
        check_static_function(who, field, init)
    made = (jax.nn.initializers.zeros, jax.nn.initializers.ones)
    if isinstance(init, type) or (init in vars(jax.nn.initializers).values() and init not in made):
        got = f"{field}={function_name(init)}, which makes initializers and is none"
        raise error(TypeError, who, got, PROTOCOL, f"Call it: {field}={function_name(init)}().")


def instead(field: str, init: Any) -> str:
    """What to pass for something that is no function."""
    if isinstance(init, str):
        known = callable(getattr(jax.nn.initializers, init, None))
        name = init if known else "glorot_normal"
        call = "" if name in ("zeros", "ones") else "()"
        return f"Pass {field}=jax.nn.initializers.{name}{call}."
    if isinstance(init, numbers.Number):
        return f"Pass {field}=jax.nn.initializers.constant({init})."
    param = field.removesuffix("_init")
    return f'Put an array into the params: params = {{**cell.init(key, x), "{param}": array}}.'


def check_param(cell: Any, field: str, params: dict[str, Any]) -> None:
    """An initializer for a param that the cell has with its other fields."""
    if field.removesuffix("_init") not in params:
        got = f"{field} for a param that is not there"
        need = f"one for {', '.join(params)}"
        raise error(ValueError, cell, got, need, f"Leave {field} out, or change the other fields.")


def check_keeps(cell: Any, field: str, init: Any, signs: Any) -> None:
    """`Chrono`, for the bias of gates of which one keeps the state."""
    if isinstance(signs, int):
        need = "the bias of gates that keep a state, b_init of LSTM, GRU or a variant of theirs"
        do = "Leave it out here; in a cell of your own, call it for the bias of that gate."
        raise error(ValueError, cell, f"{field}={init!r}", need, do)


def check_longest_time(init: Any, t_max: Any) -> None:
    """The longest time that `Chrono` is for: log U(1, t_max - 1) needs one above 2."""
    do = "Pass the longest time that matters, in steps: Chrono(100.0), say."
    check_number("Chrono", "t_max", t_max, do)
    if not 2 < t_max < math.inf:
        raise error(ValueError, "Chrono", f"t_max={t_max}", "a finite number above 2", do)


def check_square(init: Any, shape: tuple[int, ...]) -> None:
    """The shape of a param, or of one gate's block, that has eigenvalues."""
    if len(shape) != 2 or shape[0] != shape[1]:
        need = "a square matrix, as each gate's block of w_h is"
        raise error(ValueError, init, f"the shape {shape}", need, "Pass it as w_h_init.")


def initializer_failed(cell: Any, field: str, init: Any, like: Any, why: Exception) -> Exception:
    got = (
        f"{type(why).__name__} from {field}={function_name(init)}(key, {like.shape}, {like.dtype})"
    )
    traced = jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError
    if isinstance(why, traced):
        do = "Draw with jax.random: a key has no value while JAX traces."
    elif isinstance(why, ValueError) and len(like.shape) < 2:
        do = "A vector has no fan-in, and each gate's is drawn by itself: pass normal(0.1), say."
    elif isinstance(why, ValueError):
        do = f"Pass one that draws such a shape, or leave {field} out."
    else:
        do = "Write def init(key, shape, dtype); if it makes initializers, call it first."
    kind = ValueError if isinstance(why, ValueError) else TypeError
    return error(kind, cell, f"{got} ({why})", PROTOCOL, do)


def check_made(cell: Any, field: str, init: Any, made: Any, like: Any) -> None:
    """What an initializer gave for a block of a param."""
    what = f"{describe(made)} from {field}"
    if not isinstance(made, (jax.Array, np.ndarray)):
        do = "Return jnp.full(shape, number, dtype), say."
        if callable(made):
            do = f"Call it: {field}={function_name(init)}()."
        raise error(TypeError, cell, what, PROTOCOL, do)
    if made.shape != like.shape:
        do = "Use the shape that it is called with; each gate's block is drawn by itself."
        raise error(ValueError, cell, what, f"{describe(like)}", do)
    if made.dtype != like.dtype:
        do = "Use the dtype that it is called with: astype(dtype)."
        raise error(TypeError, cell, what, f"{describe(like)}", do)


def check_unused(cell: Any, name: str, field: str) -> None:
    """A field that says how a param begins, beside the initializer of that param."""
    default = next(f.default for f in dataclasses.fields(cell) if f.name == name)
    if getattr(cell, field) is not None and getattr(cell, name) != default:
        got = f"{name}={getattr(cell, name)!r} and {field}"
        need = f"one of them, since {field} says how the whole param begins"
        raise error(ValueError, type(cell).__name__, got, need, f"Leave {name} out.")


def check_ring(cell: Any, r_min: Any, r_max: Any) -> None:
    """The ring of an LRU's eigenvalues; 1e-6 of its squares is kept from either edge."""
    check_number(cell, "r_min", r_min, "Try 0.9.")
    check_number(cell, "r_max", r_max, "Try 0.999.")
    got = f"r_min={r_min!r}, r_max={r_max!r}"
    if not 0 <= r_min < r_max <= 1:
        raise error(ValueError, cell, got, "0 <= r_min < r_max <= 1", "Try 0.9 and 0.999.")
    if r_max**2 - r_min**2 < 4e-6:
        need = "r_max^2 - r_min^2 of at least 4e-6, a ring that float32 can draw from"
        raise error(ValueError, cell, got, need, "Try 0.9 and 0.999.")


def check_penalty(penalty: Any) -> None:
    """The penalty of `ridge`: one number, whose value is looked at unless it is traced."""
    do, array = "Pass 1e-4, say.", isinstance(penalty, (jax.Array, np.ndarray))
    if array and penalty.shape != ():
        raise error(TypeError, "ridge", f"penalty {describe(penalty)}", "one number", do)
    if not array:
        check_number("ridge", "penalty", penalty, do)
    if not isinstance(penalty, Tracer) and not 0 <= penalty < math.inf:
        raise error(ValueError, "ridge", f"penalty={penalty}", "a finite number from 0 up", do)
