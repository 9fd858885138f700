"""The random data that a cell is checked on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.axes import step_spec
from jaxrnn.layer import Layer, Params, State, like_input


class Given(NamedTuple):
    """The arguments of a way; controls, key and state may be None."""

    params: Params
    state: State
    xs: Any
    mask: Any = None
    resets: Any = None
    key: Any = None

    def bare(self) -> Given:
        return self._replace(mask=None, resets=None)


MASK = (
    (1, 1, 0, 0),
    (1, 0, 0, 1),
    (1, 1, 0, 1),
    (1, 1, 0, 0),
    (1, 0, 0, 1),
)  # [T, B]: whole, with gaps, empty, late
RESETS = (
    (0, 0, 1, 0),
    (0, 1, 0, 0),
    (1, 0, 0, 1),
    (0, 1, 1, 1),
    (1, 0, 0, 1),
)  # some of them under a false mask
STEPS, BATCH = len(MASK), len(MASK[0])
CUT = 3


def example(cell: Layer, x: Any, key: jax.Array) -> Given:
    """Random params, state and inputs `[T, B, ...]` of a cell, with a mask and resets that meet
    every case.

    Params are those of `init`, shaken a little so that no bias is zero. Tokens are drawn up to the
    largest of an example array, from 0 and 1 where `x` is only a spec.
    """
    x = like_input(cell, x)
    spec = step_spec(cell, x)
    leaves, tree = jax.tree.flatten(spec)
    params = compiled(begin)((tuple(leaves), tree), cell, key)
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())

    def shaken(tree: Any, scale: float) -> Any:
        return jax.tree.map(
            lambda a: np.asarray(a) + (scale * draw.standard_normal(a.shape)).astype(a.dtype), tree
        )

    params = shaken(params, 0.1)
    state = shaken(compiled(first)((BATCH,), cell, params), 0.5)

    def drawn(x: Any, spec: jax.ShapeDtypeStruct) -> jax.Array:
        shape = (STEPS, BATCH, *spec.shape)
        if x.dtype == bool:
            return jnp.asarray(draw.integers(0, 2, shape), bool)
        if not jnp.issubdtype(x.dtype, jnp.integer):
            return jnp.asarray(draw.standard_normal(shape), x.dtype)
        top = 2 if isinstance(x, jax.ShapeDtypeStruct) else int(np.max(x, initial=1)) + 1
        return jnp.asarray(draw.integers(0, top, shape), x.dtype)

    xs = jax.tree.map(drawn, x, spec)
    return Given(params, state, xs, jnp.array(MASK, bool), jnp.array(RESETS, bool))


def begin(spec: tuple, cell: Layer, key: jax.Array) -> Params:
    """`cell.init` with the spec first, its leaves and their structure, for `compiled`."""
    leaves, tree = spec
    return cell.init(key, tree.unflatten(leaves))


def first(batch_shape: tuple[int, ...], cell: Layer, params: Params) -> State:
    """`cell.initial_state` with the batch shape first, for `compiled`."""
    return cell.initial_state(params, batch_shape)


@functools.cache
def options() -> dict[str, Any]:
    """Options that make XLA compile faster on a CPU, where compiling takes four times as long as
    all else; only those that this version has.
    """
    known = {}
    for name, value in (
        ("xla_backend_optimization_level", 0),
        ("xla_cpu_use_fusion_emitters", False),
        ("xla_cpu_parallel_codegen_split_count", 1),  # small programs: one module, not many
    ):
        try:
            jax.jit(lambda x: x + 1, compiler_options={name: value})(0.0)
            known[name] = value
        except Exception:  # no such option
            continue
    return known if jax.default_backend() == "cpu" else {}


@functools.cache
def compiled(f: Callable) -> Callable:
    """`f` with its first argument static, jitted."""
    return jax.jit(f, static_argnums=0, compiler_options=options())
