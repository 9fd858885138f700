"""Law 7: equal cells are one, a cell is static configuration, and a step keeps its state's kind."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import sys
from types import FunctionType
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.autodiff.dot import Dot
from jaxrnn.axes import batch_shape
from jaxrnn.cell import Cell
from jaxrnn.layer import Layer
from jaxrnn.testing.derivatives import recast
from jaxrnn.testing.inputs import Given
from jaxrnn.testing.observe import (
    TOLERANCE,
    LawError,
    agree,
    floating,
    observe,
)
from jaxrnn.testing.ways import Whole
from jaxrnn.unroll import unroll

HELP = (
    "For a state that is float32 or wider make it with jaxrnn.state_dtype(weight), for outputs in "
    "the params' dtype read them out with jaxrnn.output(h, weight); or leave this dtype out of "
    "check_cell(dtypes=...)"
)


def consistent(
    cell: Layer, given: Given, dtypes: tuple[Any, ...] = (jnp.bfloat16, jnp.float32)
) -> None:
    """Law 7. Equal cells hash, compare, print and trace as one; a step keeps structure, shapes and
    dtypes; dtypes follow the params, and the answer in each is near that in float32.
    """
    for dtype in map(jnp.dtype, dtypes):
        with jax.enable_x64(True) if dtype.itemsize > 4 else contextlib.nullcontext():
            followed(cell, recast(given, dtype), dtype.name)
    static(cell, given)


def followed(cell: Layer, given: Given, dtype: str) -> None:
    """The part of law 7 about params of one dtype."""
    try:
        kinds(cell, given, dtype)
        if dtype == "float32":
            return
        got = observe(Whole(), cell, given)
        want = observe(Whole(), cell, recast(given, jnp.float32))
    except LawError:
        raise
    except Exception as error:
        why = f"with params of {dtype} it raised {type(error).__name__}: {error} {HELP}"
        raise LawError(7, cell, why) from error
    like = jax.tree.map(lambda a, b: a.astype(b.dtype), got, want)
    within = max(TOLERANCE[dtype], TOLERANCE["float32"])
    agree(7, cell, f"in {dtype} against the float32 answer", like, want, within)


def static(cell: Layer, given: Given) -> None:
    """The part of law 7 about the cell as a value: equality, hash, repr, traces, fields."""
    twins = [("replaced by itself", dataclasses.replace(cell))]
    if importable(cell):  # pickle finds a class or a function by its name, not one made in another
        twins.append(("pickled and back", pickle.loads(pickle.dumps(cell))))
    for how, twin in twins:
        if twin != cell or hash(twin) != hash(cell) or repr(twin) != repr(cell):
            raise LawError(
                7, cell, f"{how}, it must equal itself, hash and print the same; got {twin!r}"
            )
        traces = []

        @jax.jit
        def run(cell: Layer, given: Given, traces: list = traces) -> Any:
            traces.append(cell)
            return unroll(cell, given.params, given.xs, state=given.state)

        run.trace(cell, given)
        run.trace(twin, given)
        if len(traces) != 1:
            raise LawError(7, cell, f"{how}, it must not be traced again")
    for size in dataclasses.fields(cell):
        value = getattr(cell, size.name)
        if type(value) is int:
            try:
                other = dataclasses.replace(cell, **{size.name: value + 1})
            except (TypeError, ValueError):
                continue
            if other == cell:
                raise LawError(7, cell, f"it must not equal {other!r}")
    field = next(iter(dataclasses.fields(cell)), None)
    try:
        setattr(cell, field.name if field else "field", None)
    except dataclasses.FrozenInstanceError:
        return
    raise LawError(7, cell, "its fields can be set; need a frozen dataclass")


def importable(value: Any) -> bool:
    """Whether pickle can find, by their names, the classes and functions within a cell."""
    if isinstance(value, tuple):
        return all(map(importable, value))
    if isinstance(value, Layer):
        inside = (getattr(value, f.name) for f in dataclasses.fields(value))
        return found(type(value)) and all(map(importable, inside))
    return found(value) if isinstance(value, FunctionType) else True


def found(named: Any) -> bool:
    """Whether a class or function is what its name leads to."""
    at: Any = sys.modules.get(named.__module__)
    for part in named.__qualname__.split("."):
        at = getattr(at, part, None)
    return at is named


def kinds(cell: Any, given: Given, dtype: str) -> None:
    """Structures, shapes and dtypes, without computing."""

    def specs(tree: Any) -> Any:
        return jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", tree)

    def step(given: Given) -> Any:
        zs = cell.project(given.params, given.xs)
        return cell.step(
            given.params, given.state, jax.tree.map(lambda z: z[0], zs), Dot(given.params)
        )

    states = [
        (
            "initial_state",
            jax.eval_shape(
                lambda p: cell.initial_state(p, batch_shape(cell, given.xs, 1)),
                given.params,
            ),
        )
    ]
    if isinstance(cell, Cell):
        states.append(("step", jax.eval_shape(step, given)))
    state, ys = jax.eval_shape(
        lambda given: unroll(cell, given.params, given.xs, state=given.state), given
    )
    states.append(("unroll", state))
    for verb, got in states:
        if jax.tree.structure(got) != jax.tree.structure(given.state) or specs(got) != specs(
            given.state
        ):
            raise LawError(
                7,
                cell,
                f"{verb} gives the state {specs(got)}, need {specs(given.state)}, "
                f"with params of {dtype}. {HELP}",
            )
    # Tokens without params have no dtype to pass on.
    typed = any(map(floating, jax.tree.leaves((given.params, given.xs))))
    for y in jax.tree.leaves(ys):
        if typed and y.dtype != dtype:
            raise LawError(
                7,
                cell,
                f"outputs of {y.dtype} with params and inputs of {dtype}; "
                f"need those of the params. {HELP}",
            )
