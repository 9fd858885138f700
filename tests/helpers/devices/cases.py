"""Runs of cells, and how their numbers on one device and on eight are compared."""

import traceback
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrnn as rnn
from jaxrnn.testing.inputs import options

STEPS, BATCH = 7, 8  # 7 divides no other axis
ROWS = P(None, "b")  # [T, B, ...], the batch axis cut
CLOSE = 2e-5  # relative to the largest entry of a leaf: sums in another order


class Case(NamedTuple):
    """A run of a cell: what is compared on one device and on eight."""

    run: Any  # run(params, xs, state, **controls) -> (state, ys)
    params: Any
    xs: Any
    controls: dict[str, Any]
    first: Any  # first(params, batch) -> the initial state


def textbook(params, xs, state=None):
    """An LSTM as textbooks write it over `lax.scan`: the checks are right if it passes them."""
    units = params["w_h"].shape[0]

    def step(state, x):
        h, c = state
        i, f, g, o = jnp.split(x @ params["w_x"] + h @ params["w_h"] + params["b"], 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    # Made of the inputs, so that it is laid out, and varies, as they do.
    zero = xs[0, :, :1] * jnp.zeros(units)
    return jax.lax.scan(step, (zero, zero) if state is None else state, xs)


def by_hand(params, xs):
    """The textbook, its weights held constant in the loop: their gradient is a product after it."""
    hold = jax.lax.stop_gradient
    zero = xs[0, :, :1] * jnp.zeros((1, params["w_h"].shape[0]))
    hs = hold(textbook(params, xs)[1])
    before = jnp.concatenate([zero[None], hs[:-1]])
    loose = xs @ params["w_x"] + before @ params["w_h"] + params["b"]
    zs = loose - hold(before @ params["w_h"])

    def step(state, z):
        h, c = state
        i, f, g, o = jnp.split(z + h @ hold(params["w_h"]), 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return jax.lax.scan(step, (zero, zero), zs)


def case(cell, x=None, strategy=None, controlled=False, steps=STEPS, batch=BATCH) -> Case:
    """Random params, inputs and flags; `textbook` in place of a cell is that function."""
    plain = cell is textbook
    x = rnn.features(4) if x is None else x
    made = rnn.LSTM(4) if plain else cell
    params = jax.tree.map(np.asarray, made.init(jax.random.key(0), x))
    draw = np.random.default_rng(0)
    params = jax.tree.map(
        lambda a: (a + 0.1 * draw.standard_normal(a.shape)).astype(a.dtype), params
    )
    if jnp.issubdtype(x.dtype, jnp.integer):
        xs = draw.integers(0, 5, (steps, batch)).astype(x.dtype)
    else:
        xs = draw.standard_normal((steps, batch, *x.shape)).astype(x.dtype)
    if plain:
        return Case(textbook, params, xs, {}, lambda params, batch: (jnp.zeros((batch, 4)),) * 2)
    flags = {"mask": draw.random((steps, batch)) < 0.7, "resets": draw.random((steps, batch)) < 0.3}

    def run(params, xs, state=None, **controls):
        return rnn.unroll(
            cell, params, xs, state=state, strategy=strategy or rnn.Scan(), **controls
        )

    return Case(
        run,
        params,
        xs,
        flags if controlled else {},
        lambda params, batch: cell.initial_state(params, (batch,)),
    )


def total(tree):
    """A curved loss over all leaves, whose value on a batch is the sum of those on its parts."""
    return sum(jnp.sum(jnp.sin(1.3 * leaf + 0.7)) for leaf in jax.tree.leaves(tree))


def slopes(loss, params, xs):
    """The gradient in params, and in inputs that are not tokens."""
    args = (0, 1) if jnp.issubdtype(xs.dtype, jnp.floating) else (0,)
    return jax.grad(loss, args)(params, xs)


def answer(case: Case):
    """`f(params, xs, state, controls)`: outputs, last state, and gradients, in one program."""

    def f(params, xs, state, controls):
        def loss(params, xs):
            return total(case.run(params, xs, state, **controls))

        return case.run(params, xs, state, **controls), slopes(loss, params, xs)

    return f


def compare(got, want):
    """What differs, in words."""
    if jax.tree.structure(got) != jax.tree.structure(want):
        raise AssertionError(
            f"the structure is {jax.tree.structure(got)}, need {jax.tree.structure(want)}"
        )
    pairs = zip(jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(want), strict=True)
    for (path, a), b in pairs:
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape or a.dtype != b.dtype:
            raise AssertionError(
                f"{jax.tree_util.keystr(path)}: {a.dtype}{a.shape}, need {b.dtype}{b.shape}"
            )
        if a.size and not (off := np.abs(a - b).max()) <= CLOSE * max(np.abs(b).max(), 1e-2):
            raise AssertionError(
                f"{jax.tree_util.keystr(path)}: off by {off:.2g} of {np.abs(b).max():.2g}"
            )


def grid(*shape, names=("b", "m")) -> Mesh:
    return Mesh(np.array(jax.devices()).reshape(shape), names[: len(shape)])


def put(tree, mesh, spec):
    """Each leaf laid out by `spec`, or by `spec(leaf)`."""
    rule = spec if callable(spec) else lambda leaf: spec
    return jax.tree.map(lambda a: jax.device_put(a, NamedSharding(mesh, rule(a))), tree)


def jitted(f):
    """Numbers alone are looked at, so XLA may leave out what takes it long."""
    return jax.jit(f, compiler_options=options())


def on_one(case: Case, state=None):
    return jitted(answer(case))(case.params, case.xs, state, case.controls)


def said(error: BaseException) -> str:
    """Where and what, in a line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300] if text else ''} ({last.name})"
