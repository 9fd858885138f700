"""What the constructors and `init` of layers refuse: their fields, and children that do not fit."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.errors.inputs import check_array
from jaxrnn.errors.message import describe, error


def check_cells(cell: Any, cells: Any, kind: type) -> None:
    """The children a combinator is made with."""
    if not isinstance(cells, tuple) or not cells or not all(isinstance(c, kind) for c in cells):
        raise error(
            TypeError,
            type(cell).__name__,
            f"{cells!r}",
            "a tuple of cells, at least one",
            "Write Stack((LSTM(8), Dense(4))).",
        )


def check_child(cell: Any, child: Any, kind: type) -> None:
    """The one child that a combinator is made with."""
    if not isinstance(child, kind):
        raise error(
            TypeError,
            type(cell).__name__,
            f"{child!r} as a cell",
            "a layer, an instance of jaxrnn.Layer",
            f"Write {type(cell).__name__}(LSTM(8), ...).",
        )


def unknown(cell: Any, name: str, got: Any, known: tuple) -> Exception:
    return error(
        ValueError,
        type(cell).__name__,
        f"{name}={got!r}",
        f"one of {', '.join(map(repr, known))}",
        f"Pass {name}={known[0]!r}.",
    )


def check_size(cell: Any, name: str, size: Any) -> None:
    if not isinstance(size, int) or isinstance(size, bool):
        raise error(TypeError, cell, f"{name}={size!r}", "an integer", f"Pass {name}=8, say.")
    if size < 1:
        raise error(
            ValueError, cell, f"{name}={size}", "a positive integer", f"Pass {name}=8, say."
        )


def check_range(cell: Any, name: str, number: Any, low: float, high: float) -> None:
    """A number in the half-open interval (low, high]."""
    if not isinstance(number, (int, float)) or isinstance(number, bool):
        raise error(
            TypeError,
            cell,
            f"{name} as a {type(number).__name__}",
            "a float: fields are static",
            f"Pass {name}={high}, and put an array into the params.",
        )
    if not low < number <= high:
        raise error(
            ValueError,
            cell,
            f"{name}={number}",
            f"a number above {low} and up to {high}",
            f"Pass {name}={high}, say.",
        )


def check_rate(cell: Any, name: str, rate: Any) -> None:
    """A probability of dropping or keeping: a number in [0, 1)."""
    if not isinstance(rate, (int, float)) or isinstance(rate, bool):
        raise error(
            TypeError,
            cell,
            f"{name} as a {type(rate).__name__}",
            "a float: fields are static",
            f"Pass {name}=0.1, say.",
        )
    if not 0 <= rate < 1:
        raise error(
            ValueError,
            cell,
            f"{name}={rate}",
            "a number from 0 up to, but not, 1",
            f"Pass {name}=0.1, say; 0 turns it off.",
        )


def check_eps(cell: Any, eps: Any) -> None:
    if not isinstance(eps, float) or not eps > 0:
        raise error(ValueError, cell, f"eps={eps!r}", "a positive float", "Pass eps=1e-5, say.")


def check_activation(cell: Any, name: Any) -> None:
    if not isinstance(name, str) or not callable(getattr(jax.nn, name, None)):
        raise error(
            ValueError,
            cell,
            f"activation={name!r}",
            "the name of a function in jax.nn",
            'Pass activation="tanh".',
        )


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
