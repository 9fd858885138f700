"""What the diagnostics check: losses, steps, counts."""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrnn.errors.configuration import check_number
from jaxrnn.errors.message import describe, error, same_shape


def check_loss_of_outputs(who: Any, loss: Any) -> None:
    if not callable(loss):
        got = describe(loss) if hasattr(loss, "shape") else repr(loss)
        do = "Pass a function of outputs, lambda ys: ((ys - targets) ** 2).sum(-1), say."
        raise error(TypeError, who, f"loss={got}", "a function of the outputs", do)


def check_losses(cell: Any, losses: Any, shape: tuple[int, ...]) -> None:
    """What a loss gives: a number for each step of each row."""
    if not isinstance(losses, jax.Array):
        do = "Return one array."
        raise error(TypeError, cell, f"a loss that gives a {type(losses).__name__}", "losses", do)
    if not same_shape(losses.shape, shape):
        do = "Sum over features alone: diagnostics add up steps and rows themselves."
        need = f"one for each step and row, {shape}"
        raise error(ValueError, cell, f"a loss that gives {describe(losses)}", need, do)
    if not jnp.issubdtype(losses.dtype, jnp.floating):
        do = "Give a loss that can be differentiated."
        raise error(TypeError, cell, f"a loss that gives {describe(losses)}", "floats", do)


def step_number(who: Any, name: str, value: Any, length: int) -> Any:
    """The number of a step, from the end where it is below zero; returned from zero on."""
    need, do = f"a step from {-length} to {length - 1}", "Pass its number; -1 is the last."
    if isinstance(value, Tracer):
        return value
    try:
        number = operator.index(value) if not isinstance(value, bool) else None
    except TypeError:
        number = None
    if number is None:
        got = describe(value) if hasattr(value, "shape") else repr(value)
        raise error(TypeError, who, f"{name}={got}", need, do)
    if not -length <= number < length:
        raise error(ValueError, who, f"{name}={number}", need, do)
    return number % length


def check_lag(who: Any, lag: int, first: Any, length: int) -> None:
    """`lag` steps after the `first` ones."""
    ran = 0 if isinstance(first, Tracer) else first
    if ran + lag > length:
        got = f"lag={lag} and a sequence of {length} steps" + f", {ran} of them before" * bool(ran)
        do = "Pass a longer sequence, an earlier step, or a smaller lag."
        raise error(ValueError, who, got, f"{lag} steps after the state that is changed", do)


def check_most(who: Any, count: int, size: int) -> None:
    if count > size:
        do = "Pass a smaller count."
        raise error(
            ValueError, who, f"count={count}", f"at most {size}, the numbers in a state", do
        )


def check_skip(who: Any, skip: int, length: int) -> None:
    if skip >= length:
        do = "Pass a longer sequence, or skip fewer steps."
        raise error(ValueError, who, f"skip={skip} of {length} steps", "a step that counts", do)


def check_map(who: Any, f: Any, x: Any) -> None:
    """A function of numbers to as many."""
    if not callable(f):
        do = "Pass a function of one state."
        raise error(TypeError, who, f"f={f!r}", "a map x -> f(x)", do)
    for leaf in jax.tree.leaves(x):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            do = "Pass floating arrays, jnp.array([0.1, 0.1]), say."
            raise error(TypeError, who, f"x with {describe(leaf)}", "floating numbers", do)
    if not jax.tree.leaves(x):
        raise error(ValueError, who, "x without numbers", "a state", "Pass where the run begins.")
    new, old = jax.eval_shape(lambda x: (f(x), x), x)
    got, need = jax.tree.map(describe, new), jax.tree.map(describe, old)
    if got != need:
        do = "Return a state like the one that was given."
        raise error(ValueError, who, f"f that makes {got} of {need}", "a map to the same space", do)


def no_numbers(leaf: Any) -> Exception:
    need = "a state of floating numbers"
    do = "A Jacobian is taken by numbers that vary: leave counters and flags out of the state."
    return error(TypeError, "Jacobians", f"a state with {describe(leaf)}", need, do)


def nothing_carried() -> Exception:
    do = "Pass a network with a recurrent cell in it."
    return error(ValueError, "Jacobians", "a network without a state", "a state to look at", do)


def one_input(cell: Any, x: Any) -> Exception:
    got, do = f"x {jax.tree.map(describe, x)}", "Call it for each row; candidates have many."
    return error(ValueError, cell, got, "one step's input of one row", do)


def check_candidates(cell: Any, states: Any, need: Any) -> None:
    """States like this one, with the same leading axes in every part, of which there are some."""
    do = "Pass what diagnostics.record returned, or states with an axis before their own."
    if jax.tree.structure(states) != jax.tree.structure(need):
        got, want = (jax.tree.map(describe, tree) for tree in (states, need))
        raise error(ValueError, cell, f"candidates {got}", f"{want} with leading axes", do)
    leads = set()
    for a, s in zip(jax.tree.leaves(states), jax.tree.leaves(need), strict=True):
        lead = np.shape(a)[: np.ndim(a) - s.ndim]
        if not hasattr(a, "shape") or np.shape(a) != (*lead, *s.shape) or not lead:
            got = f"candidates with {describe(a)}"
            raise error(ValueError, cell, got, f"{describe(s)} with leading axes", do)
        leads.add(lead)
    if len(leads) > 1 or 0 in next(iter(leads), ()):
        got = f"candidates of {' and '.join(map(str, sorted(leads)))}"
        raise error(ValueError, cell, got, "as many states in every part, and some", do)


def check_fraction(who: Any, value: Any, name: str = "fraction", most: float = 1.0) -> None:
    need, do = f"a number between 0 and {most:g}", f"Pass {name}={0.1 * most:g}, say."
    check_number(who, name, value, do)
    if not 0 < value < most:
        raise error(ValueError, who, f"{name}={value}", need, do)


def check_gates(gates: Any, mask: Any) -> None:
    """The gates of a cell, and the mask of their run."""
    if not hasattr(gates, "_fields"):
        got = describe(gates)
        do = "Pass what diagnostics.record(cell, params, xs) returned."
        raise error(TypeError, "saturation", got, "a Record, a tuple of them, or gates", do)
    for gate in jax.tree.leaves(gates):
        if mask is not None and not same_shape(mask.shape, gate.shape[: mask.ndim]):
            got = f"mask {describe(mask)} and a gate {describe(gate)}"
            do = "Pass the mask of the run."
            raise error(ValueError, "saturation", got, "the same steps and rows", do)


def check_concrete(who: Any, tree: Any) -> None:
    """Arrays whose values are known."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree)):
        do = "Call it outside jit, vmap and grad, with the arrays themselves."
        raise error(TypeError, who, "arrays whose values are not known yet", "values", do)


def nothing_to_draw(who: Any, got: str) -> Exception:
    do = "Pass what the diagnostic of the same name returned."
    return error(ValueError, who, got, "something to draw", do)


def check_drawn(who: Any, found: Any, axes: int, kind: Any) -> None:
    """An array with so many axes, or a result of a kind."""
    do = "Pass what the diagnostic of the same name returned."
    if kind is not None and not isinstance(found, kind):
        raise error(TypeError, who, describe(found), f"a {kind.__name__}", do)
    if kind is None and not hasattr(found, "shape"):
        raise error(TypeError, who, f"a {type(found).__name__}", "arrays of numbers", do)
    if kind is None and len(found.shape) < axes:
        raise error(ValueError, who, describe(found), f"arrays with at least {axes} axes", do)
