"""The seven laws: functions of a cell, its data and a direction of time, which raise where the law
is broken.

Between two compiled functions NumPy works on the arrays: JAX would compile each such operation,
which takes longer than the laws.
"""

from __future__ import annotations

import dataclasses
import pickle
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.autodiff.dot import Dot
from jaxrnn.autodiff.products import wide
from jaxrnn.cell import Cell
from jaxrnn.layer import Layer
from jaxrnn.params import is_fixed
from jaxrnn.strategies import Scan, Strategy
from jaxrnn.testing.given import CUT, STEPS, Given
from jaxrnn.testing.observe import (
    TOLERANCE,
    LawError,
    Seen,
    agree,
    compiled,
    ensemble,
    equal,
    name,
    observe,
    slopes,
    values,
)
from jaxrnn.testing.ways import Blocks, Folded, Packed, Pieces, Rows, Shorter, Steps, Way, Whole
from jaxrnn.unroll import unroll


def advancing(cell: Layer, given: Given, reverse: bool = False) -> None:
    """Law 1. `unroll` equals a loop over `advance`, bare and controlled, with and without a key;
    T=0 is the initial state.
    """
    seen = observe(Whole(reverse=reverse), cell, given.bare()._replace(xs=np.asarray(given.xs)[:0]))
    equal(
        1,
        cell,
        "a sequence of no steps must end in its initial state: the last state",
        seen.state,
        given.state,
    )
    if any(y.shape[0] for y in jax.tree.leaves(seen.outputs)):
        raise LawError(
            1,
            cell,
            "a sequence of no steps must give no outputs, "
            f"got {jax.tree.map(jnp.shape, seen.outputs)}",
        )
    if not cell.causal:
        for verb, way in (("advance", Steps()), ("fold", Folded())):
            try:
                jax.eval_shape(lambda given, way=way: way(cell, given), given)
            except ValueError:
                continue
            raise LawError(1, cell, f"{verb} must refuse a cell that is not causal")
        return
    for claim, case in (("bare", with_key(cell, given).bare()), ("with mask and resets", given)):
        agree(
            1,
            cell,
            f"unroll{' reversed' * reverse}, {claim}, against a loop over advance",
            observe(Whole(reverse=reverse), cell, case),
            observe(Steps(reverse), cell, case),
        )


def draws(cell: Layer, given: Given) -> bool:
    """Whether a cell draws from its key, without computing: does anything vary along an axis of
    keys?
    """

    def run(key: jax.Array) -> Any:
        return unroll(cell, given.params, given.xs, state=given.state, key=key)

    keys = jax.random.split(jax.random.key(0), 2)
    jax.eval_shape(run, keys[0])
    try:
        jax.eval_shape(jax.vmap(run, out_axes=None), keys)
    except ValueError:
        return True
    return False


def with_key(cell: Layer, given: Given) -> Given:
    """With a key where the cell draws from it, else as it was."""
    return given._replace(key=jax.random.key(7)) if draws(cell, given) else given


def strategic(
    cell: Layer,
    given: Given,
    strategies: tuple[Strategy, ...],
    reverse: bool = False,
    folded: Strategy | None = None,
) -> None:
    """Law 2. Every strategy gives what a plain scan gives; so does `fold`, under `folded` or the
    last of them.
    """
    noisy = with_key(cell, given)
    want = observe(Whole(reverse=reverse), cell, noisy)
    for strategy in strategies:
        agree(
            2,
            cell,
            f"{strategy!r} against Scan()",
            observe(Whole(strategy, reverse), cell, noisy),
            want,
        )
    folded = folded or (strategies[-1] if strategies else None)
    if cell.causal and folded:
        agree(
            2,
            cell,
            f"fold under {folded!r} against unroll",
            observe(Folded(folded, reverse), cell, noisy),
            want,
        )


def masked(cell: Layer, given: Given, reverse: bool = False) -> None:
    """Law 3. Garbage under a false mask, NaN too, reaches no value and no gradient; the state is
    carried through.
    """
    mask, way = np.asarray(given.mask), Whole(reverse=reverse)
    clean = observe(way, cell, given)
    garbage = (
        jnp.nan if jnp.issubdtype(given.xs.dtype, jnp.floating) else jnp.iinfo(given.xs.dtype).max
    )
    got = observe(way, cell, given._replace(xs=pick(mask, given.xs, filled(given.xs, garbage))))
    agree(3, cell, "garbage under a false mask against clean inputs", got, clean)
    for claim, tree in (
        ("outputs", got.outputs),
        ("the gradient in the inputs", got.gradients.get("xs")),
    ):
        zero = filled(tree, 0)
        equal(3, cell, f"{claim} under a false mask must be zero", pick(mask, zero, tree), zero)
    never = np.zeros_like(mask)
    stayed = observe(way, cell, given._replace(mask=never)).state
    equal(
        3,
        cell,
        "a row of length 0 must end in its initial state: the last state",
        stayed,
        given.state,
    )
    agree(
        3,
        cell,
        "a mask with gaps against the same steps without gaps",
        observe(Packed(reverse), cell, given),
        clean,
    )
    whole = given._replace(mask=np.ones_like(mask), resets=never)
    agree(
        3,
        cell,
        "a mask that is all true and no reset against no controls",
        observe(way, cell, whole),
        observe(way, cell, given.bare()),
    )
    agree(
        3,
        cell,
        "a mask with resets that are all false against a mask alone",
        observe(way, cell, given._replace(resets=never)),
        observe(way, cell, given._replace(resets=None)),
    )
    short = whole._replace(mask=np.broadcast_to(np.arange(STEPS)[:, None] < CUT, mask.shape))
    agree(
        3,
        cell,
        f"a mask of length {CUT} against {CUT} steps",
        observe(way, cell, short),
        observe(Shorter(reverse), cell, given.bare()),
    )


def reset(cell: Layer, given: Given, reverse: bool = False) -> None:
    """Law 4. A run with resets equals its pieces run apart. Resets replace the state, so a NaN does
    not survive; those under a false mask are ignored.
    """
    alone = not cell.causal  # such a cell has a last state at either end of time
    given = given._replace(mask=np.asarray(given.mask), resets=np.asarray(given.resets))
    cut = np.broadcast_to((np.arange(STEPS) == CUT)[:, None], given.mask.shape)
    once = given._replace(mask=None, resets=cut, state=None if alone else given.state)
    want = observe(Pieces(reverse, alone), cell, once.bare())
    for claim, mask in (("", None), (", with a mask that is all true", np.ones_like(cut))):
        got = observe(Whole(reverse=reverse, outputs_alone=alone), cell, once._replace(mask=mask))
        agree(
            4,
            cell,
            f"a reset at t={CUT}{' reversed' * reverse}{claim}, against the pieces run apart",
            got,
            want,
        )
    way = Whole(reverse=reverse)
    want = observe(way, cell, given)
    agree(
        4,
        cell,
        "resets under a false mask, which must be ignored",
        observe(way, cell, given._replace(resets=given.resets ^ ~given.mask)),
        want,
    )
    if cell.causal and not reverse:
        first = np.cumsum(given.mask, axis=0) == 1
        from_nan = given._replace(state=filled(given.state, np.nan), resets=given.resets | first)
        once = observe(way, cell, given._replace(resets=given.resets | first))
        got = observe(way, cell, from_nan)
        began = np.any(given.mask, axis=0)  # a row of length 0 keeps even a NaN state
        zero = filled(got.state, 0)
        equal(
            4,
            cell,
            "a NaN state before a reset must not survive in the outputs",
            got.outputs,
            once.outputs,
        )
        equal(
            4,
            cell,
            "a NaN state before a reset must not survive in the last state",
            pick(began, got.state, zero),
            pick(began, once.state, zero),
        )


def batched(
    cell: Layer,
    given: Given,
    ways: tuple[Rows | Blocks, ...] = (Rows("vmap"), Rows("map"), Blocks()),
) -> None:
    """Law 5. A batch equals `vmap`, equals its rows one at a time; any number of batch axes."""
    want = observe(Whole(), cell, given)
    for way in ways:
        agree(5, cell, f"{way.claim} against one batch axis", observe(way, cell, given), want)


def differentiated(
    cell: Layer,
    given: Given,
    strategy: Strategy = Scan(),
    reverse: bool = False,
    measure: bool = True,
) -> None:
    """Law 6. The gradient agrees with finite differences in float64, and with it jvp, both second
    derivatives, vmap of grad and checkpoint.
    """
    way, by = Whole(strategy, reverse), f" by {strategy!r}"
    if measure:
        with jax.enable_x64(True):
            finite(cell, recast(given, jnp.float64), way)
    want = observe(way, cell, given)
    agree(
        6,
        cell,
        f"under jax.checkpoint{by} against without",
        observe(Whole(strategy, reverse, checkpoint=True), cell, given),
        want,
    )
    seen = compiled(slopes)(way, cell, given, directions(want.gradients))
    agree(
        6,
        cell,
        f"jvp{by} against the gradient along its direction",
        seen["jvp"],
        seen["gradient along"],
    )
    claim = f"the Hessian-vector product{by}, forward over reverse against reverse over reverse"
    agree(
        6,
        cell,
        claim,
        Seen((), (), seen["forward over reverse"]),
        Seen((), (), seen["reverse over reverse"]),
    )
    if jax.tree.leaves(given.params):
        other = jax.tree.map(lambda p: (np.asarray(p) * 1.25).astype(p.dtype), given.params)
        both = jax.device_get(
            compiled(ensemble)(
                way, cell, given, jax.tree.map(lambda *p: np.stack(p), given.params, other)
            )
        )
        for i, member in enumerate((want, observe(way, cell, given._replace(params=other)))):
            agree(
                6,
                cell,
                f"vmap of grad{by} over two sets of params, number {i}",
                jax.tree.map(lambda a, i=i: a[i], both),
                member,
            )


def pick(flags: Any, yes: Any, no: Any) -> Any:
    """`controls.choose` by NumPy."""

    def one(a: Any, b: Any) -> np.ndarray:
        a, b = np.asarray(a), np.asarray(b)
        return np.where(flags.reshape(flags.shape + (1,) * (a.ndim - flags.ndim)), a, b)

    return jax.tree.map(one, yes, no)


def filled(tree: Any, value: Any) -> Any:
    """A tree of arrays filled with one value."""
    return jax.tree.map(lambda a: np.full(a.shape, value).astype(a.dtype), tree)


def finite(cell: Layer, given: Given, way: Way, size: float = 1e-5) -> None:
    """The gradient against central differences, along a random direction in each leaf of the
    trained params, the state and the inputs.
    """
    gradient = observe(way, cell, given).gradients
    leaves, treedef = jax.tree.flatten(gradient)
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(gradient)[0]]
    arrows = jax.tree.leaves(directions(gradient))
    kept = [i for i, path in enumerate(paths) if not is_fixed(path) and leaves[i].size]
    if not kept:
        return
    steps = [
        np.stack([a * (h if i == j else 0.0) for h in (size, -size) for i in kept])
        for j, a in enumerate(arrows)
    ]
    up, down = np.split(
        np.asarray(compiled(values)(way, cell, given, jax.tree.unflatten(treedef, steps))), 2
    )
    measured = (up - down) / (2 * size)
    for i, slope in zip(kept, measured, strict=True):
        got = float(np.vdot(leaves[i], arrows[i]))
        allowed = 1e-6 * max(abs(slope), 1.0)
        if not abs(got - slope) <= allowed:
            what = name((jax.tree_util.GetAttrKey("gradients"), *paths[i]))
            raise LawError(
                6,
                cell,
                f"{what} in float64 against finite differences: {got:.9g} against {slope:.9g} "
                f"by {abs(got - slope):.3g} where {allowed:.3g} is allowed",
            )


def directions(tree: Any) -> Any:
    """A random direction for each leaf, the same at every call."""
    leaves, treedef = jax.tree.flatten(tree)
    draw = [np.random.default_rng(i).standard_normal(a.shape) for i, a in enumerate(leaves)]
    return jax.tree.unflatten(
        treedef, [d.astype(a.dtype) for d, a in zip(draw, leaves, strict=True)]
    )


def recast(given: Given, dtype: Any) -> Given:
    """The same in another dtype; the state float32 or wider."""

    def cast(tree: Any, dtype: Any) -> Any:
        return jax.tree.map(
            lambda a: (
                np.asarray(a).astype(jnp.dtype(dtype))
                if jnp.issubdtype(a.dtype, jnp.floating)
                else a
            ),
            tree,
        )

    return given._replace(
        params=cast(given.params, dtype),
        state=cast(given.state, wide(dtype)),
        xs=cast(given.xs, dtype),
    )


def consistent(cell: Layer, given: Given) -> None:
    """Law 7. Equal cells hash, compare, print and trace as one; a step keeps structure, shapes and
    dtypes; dtypes follow the params.
    """
    static(cell, given)
    for dtype in (jnp.bfloat16, jnp.float32):
        kinds(cell, recast(given, dtype), dtype)
    narrow = recast(given, jnp.bfloat16)
    got, want = observe(Whole(), cell, narrow), observe(Whole(), cell, recast(narrow, jnp.float32))
    like = jax.tree.map(lambda a, b: a.astype(b.dtype), got, want)
    agree(7, cell, "in bfloat16 against the float32 answer", like, want, TOLERANCE["bfloat16"])


def static(cell: Layer, given: Given) -> None:
    """The part of law 7 about the cell as a value: equality, hash, repr, traces, fields."""
    twins = [("replaced by itself", dataclasses.replace(cell))]
    if importable(cell):  # pickle finds a class by its name: not one made in a function
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
    """Whether the classes of a cell, and of those within it, can be found by name."""
    if isinstance(value, tuple):
        return all(map(importable, value))
    if not isinstance(value, Layer):
        return True
    found: Any = sys.modules.get(type(value).__module__)
    for part in type(value).__qualname__.split("."):
        found = getattr(found, part, None)
    return found is type(value) and all(
        importable(getattr(value, f.name)) for f in dataclasses.fields(value)
    )


def kinds(cell: Any, given: Given, dtype: Any) -> None:
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
                lambda p: cell.initial_state(
                    p, given.xs.shape[1 : given.xs.ndim - cell.feature_ndim]
                ),
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
                f"with params of {jnp.dtype(dtype).name}",
            )
    for y in jax.tree.leaves(ys):
        if y.dtype != dtype:
            raise LawError(
                7,
                cell,
                f"outputs of {y.dtype} with params and inputs of {jnp.dtype(dtype).name}; "
                "need those of the params",
            )
