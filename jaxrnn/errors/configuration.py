"""What the constructors and `init` of layers refuse: their fields, and children that do not fit."""

import inspect
import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrnn.errors.inputs import check_array
from jaxrnn.errors.message import describe, error
from jaxrnn.errors.weights import check_static_function


def wrong_fields(kind: type, signature: inspect.Signature, given: dict, why: str) -> Exception:
    """Arguments that are no fields of a layer or a strategy, or lack one."""
    fields = [
        name if field.default is field.empty else f"{name}={field.default!r}"
        for name, field in signature.parameters.items()
        if name != "self"
    ]
    unknown = [name for name in given if name not in signature.parameters]
    got = f"the arguments {', '.join(unknown)}" if unknown else why
    do = "Use these names." if unknown else "Give those without a default, and no others."
    if "cells" in fields:
        do = "Write several cells as one tuple: (LSTM(8), Dense(4))."
    need = f"{kind.__name__}({', '.join(fields)})"
    return error(TypeError, kind.__name__, got, need, do)


def check_cells(cell: Any, cells: Any, kind: type) -> None:
    """The children a combinator is made with."""
    if not isinstance(cells, tuple) or not cells or not all(isinstance(c, kind) for c in cells):
        raise error(
            TypeError,
            type(cell).__name__,
            f"{cells!r}",
            "a tuple of cells, at least one, each an instance",
            "Write Stack((LSTM(8), Dense(4))); a function becomes a layer as Apply(f).",
        )


def check_child(cell: Any, child: Any, kind: type) -> None:
    """The one child that a combinator is made with."""
    if not isinstance(child, kind):
        do = f"Write {type(cell).__name__}(LSTM(8), ...)."
        if isinstance(child, tuple | list):
            do = "Put several into one: Stack((LSTM(8), Dense(4)))."
        elif callable(child) and not isinstance(child, type):
            do = "Make a layer of a function: Apply(f)."
        need = "a layer, an instance of jaxrnn.Layer"
        raise error(TypeError, type(cell).__name__, f"{child!r} as a cell", need, do)


def check_choice(cell: Any, name: str, got: Any, known: tuple) -> None:
    """One of a few words."""
    if not isinstance(got, str) or got not in known:
        raise unknown(cell, name, got, known)


def unknown(cell: Any, name: str, got: Any, known: tuple) -> Exception:
    return error(
        ValueError,
        type(cell).__name__,
        f"{name}={got!r}",
        f"one of {', '.join(map(repr, known))}",
        f"Pass {name}={known[0]!r}.",
    )


def check_flag(cell: Any, name: str, flag: Any) -> None:
    """A field that is true or false: no string, no number, no array."""
    if not isinstance(flag, bool):
        do = f"Pass {name}=True or {name}=False."
        raise error(TypeError, cell, f"{name}={flag!r}", "True or False: it is static", do)


def check_size(cell: Any, name: str, size: Any, do: str = "") -> None:
    """A positive integer: Python's, NumPy's, or whatever else is one (`operator.index`)."""
    do = do or f"Pass {name}=8, say."
    try:
        whole = not isinstance(size, bool) and operator.index(size) is not None
    except TypeError:
        whole = False
    if not whole:
        raise error(TypeError, cell, f"{name}={size!r}", "an integer", do)
    if size < 1:
        raise error(ValueError, cell, f"{name}={size}", "a positive integer", do)


def check_number(cell: Any, name: str, number: Any, do: str) -> None:
    if not isinstance(number, int | float | np.integer | np.floating) or isinstance(number, bool):
        array = isinstance(number, np.ndarray | jax.Array) and not isinstance(number, Tracer)
        got = f"{name} as a {describe(number) if array else type(number).__name__}"
        raise error(TypeError, cell, got, "a float: fields are static", do)


def check_range(
    cell: Any, name: str, number: Any, low: float = -math.inf, high: float = math.inf
) -> None:
    """A finite number above `low` and up to `high`."""
    example = 1.0 if math.isinf(high) else high
    check_number(cell, name, number, f"Pass {name}={example}, and put an array into the params.")
    if not low < number <= high or number == math.inf:
        need = "a finite number" if math.isinf(high) else "a number"
        need += f" above {low}" if low > -math.inf else ""
        need += f" and up to {high}" if high < math.inf else ""
        raise error(ValueError, cell, f"{name}={number}", need, f"Pass {name}={example}, say.")


def check_rate(cell: Any, name: str, rate: Any) -> None:
    """A probability of dropping or keeping: a number in [0, 1)."""
    need, do = "a number from 0 up to, but not, 1", f"Pass {name}=0.1, say; 0 turns it off."
    check_number(cell, name, rate, do)
    if not 0 <= rate < 1:
        raise error(ValueError, cell, f"{name}={rate}", need, do)


def check_positive(cell: Any, name: str, number: Any, do: str = "", zero: bool = False) -> None:
    """A finite number above 0, or from 0 up."""
    do = do or f"Pass {name}=1.0, say."
    check_number(cell, name, number, do)
    if not (0 < number < math.inf or (zero and number == 0)):
        need = f"a finite number {'from 0 up' if zero else 'above 0'}"
        raise error(ValueError, cell, f"{name}={number}", need, do)


def check_share(cell: Any, name: str, share: Any) -> None:
    do = f"Pass {name}=0.8, say."
    check_number(cell, name, share, do)
    if not 0 <= share <= 1:
        raise error(ValueError, cell, f"{name}={share}", "a share from 0 to 1", do)


def check_eps(cell: Any, eps: Any) -> None:
    """The number under a root. An integer there is a size that went astray."""
    do = "Pass eps=1e-5, say; a norm is as wide as its inputs."
    if not isinstance(eps, float):
        raise error(TypeError, cell, f"eps={eps!r}", "a positive float", do)
    if not 0 < eps < math.inf:
        raise error(ValueError, cell, f"eps={eps!r}", "a positive float", do)


ACTIVATIONS = (
    *("identity", "tanh", "relu", "sigmoid", "gelu", "silu", "swish", "elu", "celu", "selu"),
    *("leaky_relu", "relu6", "mish", "softplus", "soft_sign", "squareplus", "log_sigmoid"),
    *("hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "sparse_plus", "sparse_sigmoid"),
)
"""The functions of `jax.nn` that act on each number by itself."""


def check_activation(cell: Any, name: Any, own: tuple[str, ...] = ()) -> None:
    """The name of an elementwise function in `jax.nn` or of a cell's, or a function that hashes."""
    if isinstance(name, str):
        known = (*ACTIVATIONS, *own)
        if name not in known:
            need = f"the name of an elementwise function in jax.nn: {', '.join(known)}"
            do = 'Pass activation="tanh", say, or a function.'
            if hasattr(jax.nn, name):
                do = f"Pass activation=jax.nn.{name} if it keeps shapes, or put Apply(f) after it."
            raise error(ValueError, cell, f"activation={name!r}", need, do)
    elif not callable(name) or isinstance(name, type):
        need = "the name of an elementwise function in jax.nn, or a function"
        do = 'Pass activation="relu", say, or "identity" for none.'
        raise error(TypeError, type(cell).__name__, f"activation={name!r}", need, do)
    else:
        check_static_function(cell, "activation", name)


def check_activated(cell: Any, f: Any, x: Any, y: Any) -> None:
    """What an activation gives for x: an array of x's shape, as real and as floating as x."""
    got = f"{describe(y)} from {describe(x)}"
    do = "Use Apply for a function that changes the number of features."
    if not isinstance(y, jax.Array) or y.shape != x.shape:
        raise error(ValueError, cell, f"activation {f!r}, which gives {got}", describe(x), do)
    if not jnp.issubdtype(y.dtype, jnp.floating):
        do = "Return floating numbers: y.astype(x.dtype)."
        raise error(TypeError, cell, f"activation {f!r}, which gives {got}", describe(x), do)


def check_applied(cell: Any, x: Any, y: Any) -> None:
    """What a function of one step's features `[F]` gives: one array `[G]`."""
    check_array(cell, "the function's result", y)
    if jnp.ndim(y) != 1:
        got, need = f"{describe(y)} from features {describe(x)}", "one array [G] from [F]"
        do = "Work on the last axis and keep it: x.max(-1, keepdims=True)."
        raise error(ValueError, cell, got, need, do)


def no_features(cell: Any, x: Any) -> Exception:
    got, need = f"inputs {describe(x)}, without features", "one feature at least"
    do = "Pass the number of features that the inputs have, say 3, to init."
    return error(ValueError, cell, got, need, do)


def check_ridge(xs: Any, targets: Any) -> None:
    for name, x in (("xs", xs), ("targets", targets)):
        check_array("ridge", name, x)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise error(
                TypeError,
                "ridge",
                f"{name} {describe(x)}",
                "floating numbers",
                f"Cast with {name}.astype(jnp.float32).",
            )
    if xs.ndim < 2 or xs.shape[:-1] != targets.shape[:-1]:
        raise error(
            ValueError,
            "ridge",
            f"xs {describe(xs)} and targets {describe(targets)}",
            "[T, ..., F] and [T, ..., G] with the same leading axes",
            "Pass a target vector for each step; a single number a step is targets[..., None].",
        )


def unequal_widths(cell: Any, merge: str, forward: Any, backward: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"outputs {describe(forward)} forward and {describe(backward)} backward",
        f"equal shapes for merge={merge!r}",
        "Give both cells the same width, or merge='concat'.",
    )


def residual_width(cell: Any, inner: Any, x: Any, y: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"inputs {describe(x)} and outputs {describe(y)} of {inner!r}",
        "outputs shaped like the inputs, since both are added",
        "Give the cell the width of its inputs, "
        "or put a Dense after it: Residual(Stack((cell, Dense(width)))).",
    )


def tied_width(cell: Any, body: Any, y: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"outputs {describe(y)} of its body {body!r}",
        f"outputs {cell.width} wide, as the embedding is",
        f"Put a Dense({cell.width}) after the body: Stack((body, Dense({cell.width}))).",
    )


def depthwise_width(cell: Any, x: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"inputs {describe(x)} for a depthwise convolution of width {cell.width}",
        "as many features as the width, since each is convolved by itself",
        f"Use CausalConv({x.shape[-1]}, {cell.kernel}, depthwise=True), or depthwise=False.",
    )


def no_dot(cell: Any, inner: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"{inner!r}, whose step has no recurrent matmul to drop from",
        "a cell whose step calls dot",
        "Use Zoneout on it, or a Dropout before or after it; "
        'in a cell of your own write dot(h, "w_h") for h @ params["w_h"].',
    )


def zoneout_rates(cell: Any, rates: int, state: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"{rates} rates for a state {jax.tree.map(describe, state)}",
        "a state with arrays, and one rate for all or one for each",
        f"Pass one number, or a tuple of {len(jax.tree.leaves(state))}.",
    )
