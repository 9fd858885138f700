"""A loop is the scan that it stands for, however a platform runs it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.cells import Terms
from helpers.tables import first
from jaxrnn.autodiff._jax import lowered
from jaxrnn.autodiff.in_blocks import in_blocks
from jaxrnn.autodiff.loop import PLATFORMS, loop_p, scanned

KEY = jax.random.key(0)


@pytest.fixture
def running():
    """A function that makes this CPU run loops as one platform does."""

    def run(f):
        jax.clear_caches()
        lowered(loop_p, scanned, PLATFORMS | {"cpu": f})

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
    running(scanned)
    want = case()
    running(in_blocks)
    got = case()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), got, want)


def test_a_gpu_gets_blocks_and_a_tpu_the_scan():
    """What a platform is given is decided when a program is lowered for it, not while tracing."""
    cell = rnn.LSTM(4)
    params, xs = cell.init(KEY, 3), jnp.zeros((32, 2, 3))
    traced = jax.jit(lambda params, xs: rnn.unroll(cell, params, xs)[1]).trace(params, xs)
    text = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cuda", "tpu")}
    products = {p: t.count("dot_general") for p, t in text.items()}
    assert products["cuda"] == products["tpu"] + 15  # of sixteen steps in place of one
