"""Law 6: every mode of differentiation, on every strategy, against the truth and against finite
differences.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.autodiff.products import wide
from jaxrnn.layer import Layer
from jaxrnn.params import is_fixed
from jaxrnn.strategies import Scan, Strategy
from jaxrnn.testing.inputs import Given
from jaxrnn.testing.observe import (
    LawError,
    Seen,
    agree,
    compiled,
    ensemble,
    name,
    observe,
    slopes,
    values,
)
from jaxrnn.testing.ways import Way, Whole


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
