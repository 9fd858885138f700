"""A loop is the scan that it stands for, however a platform runs it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.cells import Terms
from helpers.tables import first
from jaxrnn.autodiff._jax import dce, lowered, trace
from jaxrnn.autodiff.in_blocks import in_blocks
from jaxrnn.autodiff.loop import PLATFORMS, loop, loop_p, scanned
from jaxrnn.autodiff.rows import plain

KEY = jax.random.key(0)


@pytest.fixture
def running():
    """A function that makes this CPU run loops as one platform does."""

    def run(f):
        jax.clear_caches()
        lowered(loop_p, plain(scanned), PLATFORMS | {"cpu": f})

    yield run
    run(PLATFORMS["cpu"])


def answers(cell, steps, reverse, masked, strategy):
    """Outputs, last state and gradients."""
    params, xs = cell.init(KEY, 3), jax.random.normal(KEY, (steps, 2, 3))
    flags = {}
    if masked:
        mask, resets = jax.random.bernoulli(KEY, 0.6, (2, steps, 2))
        flags = {"mask": mask, "resets": resets}

    def loss(params, xs):
        out = rnn.unroll(cell, params, xs, reverse=reverse, strategy=strategy, **flags)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out)), out

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, xs)


@pytest.mark.parametrize(
    ("cell", "steps", "reverse", "masked", "strategy"),
    first(
        2,
        [
            (rnn.LSTM(4), 19, False, False, rnn.Scan()),
            (rnn.GRU(4), 8, True, True, rnn.Scan()),
            (Terms(3), 11, True, False, rnn.Scan(unroll=5)),
            (rnn.LSTM(4), 3, False, True, rnn.Scan()),
            (rnn.Elman(4), 1, False, False, rnn.Scan()),
            (rnn.GRU(4), 21, False, True, rnn.Chunked(10)),
        ],
    ),
)
def test_blocks_of_steps_are_the_scan(running, cell, steps, reverse, masked, strategy):
    case = functools.partial(answers, cell, steps, reverse, masked, strategy)
    running(plain(scanned))
    want = case()
    running(plain(in_blocks))
    got = case()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), got, want)


def test_a_gpu_gets_blocks_and_a_tpu_the_scan():
    """What a platform is given is decided when a program is lowered for it, not while tracing."""
    cell = rnn.LSTM(4)
    params, xs = cell.init(KEY, 3), jnp.zeros((32, 2, 3))
    traced = jax.jit(lambda params, xs: rnn.unroll(cell, params, xs)[1]).trace(params, xs)
    text = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cuda", "tpu")}
    products = {p: t.count("dot_general") for p, t in text.items()}
    assert products["cuda"] == products["tpu"] + 7  # of eight steps in place of one


def test_ys_that_nothing_reads_are_not_computed():
    """On a TPU a kernel would write them all the same."""

    def body(consts, carry, row):
        (w, v), (c,), (x, y) = consts, carry, row
        return [c + w * x], [c, v * y]

    def first_of(w, v, c, xs):
        (last,), (before, _) = loop(body, [w, v], [c], xs, 5, free=[0, 1])
        return last, before

    two, three = jnp.full(3, 2.0), jnp.full(3, 3.0)
    args = (two, three, jnp.zeros(3), [jnp.ones((5, 3)), jnp.ones((5, 3))])
    closed, used = dce(trace(first_of, *args))
    *_, eqn = closed.eqns
    assert (len(eqn.invars), len(eqn.outvars), eqn.params["free"]) == (3, 2, (0,))
    assert used == [True, False, True, True, False]
    got = jax.core.eval_jaxpr(closed.jaxpr, closed.consts, two, args[2], args[3][0])
    np.testing.assert_allclose(got[1], 2 * jnp.arange(5.0)[:, None] * jnp.ones(3))
