"""Laws 1 to 5: functions of a cell, its data and a direction of time, which raise where the law is
broken. Law 6 is in `derivatives.py`, law 7 in `contract.py`.

Between two compiled functions NumPy works on the arrays: JAX would compile each such operation,
which takes longer than the laws.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.layer import Layer
from jaxrnn.strategies import Strategy
from jaxrnn.testing.inputs import CUT, STEPS, Given
from jaxrnn.testing.observe import (
    LawError,
    agree,
    equal,
    observe,
)
from jaxrnn.testing.ways import Blocks, Folded, Packed, Pieces, Rows, Shorter, Steps, Whole, at
from jaxrnn.unroll import unroll


def advancing(cell: Layer, given: Given, reverse: bool = False) -> None:
    """Law 1. `unroll` equals a loop over `advance`, bare and controlled, with and without a key;
    T=0 is the initial state. Reversed, bare is left to law 3: controls that do nothing equal none.
    """
    seen = observe(Whole(reverse=reverse), cell, given.bare()._replace(xs=at(given.xs, slice(0))))
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
    bare = [] if reverse else [("bare", with_key(cell, given).bare())]
    for claim, case in (*bare, ("with mask and resets", given)):
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
    got = observe(way, cell, given._replace(xs=pick(mask, given.xs, rubbish(given.xs))))
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


def pick(flags: Any, yes: Any, no: Any) -> Any:
    """`controls.choose` by NumPy."""

    def one(a: Any, b: Any) -> np.ndarray:
        a, b = np.asarray(a), np.asarray(b)
        return np.where(flags.reshape(flags.shape + (1,) * (a.ndim - flags.ndim)), a, b)

    return jax.tree.map(one, yes, no)


def rubbish(xs: Any) -> Any:
    """Inputs like `xs` that no answer may depend on: NaN, tokens out of range, true."""

    def worst(dtype: Any) -> Any:
        if jnp.issubdtype(dtype, jnp.floating):
            return jnp.nan
        return jnp.iinfo(dtype).max if jnp.issubdtype(dtype, jnp.integer) else True

    return jax.tree.map(lambda a: filled(a, worst(a.dtype)), xs)


def filled(tree: Any, value: Any) -> Any:
    """A tree of arrays filled with one value."""
    return jax.tree.map(lambda a: np.full(a.shape, value).astype(a.dtype), tree)
