"""A GPU's kernel of a loop, in Pallas's interpreter, is the loop; and what it is not made for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from jaxrnn.autodiff._jax import lowered
from jaxrnn.autodiff.in_kernel_gpu import in_kernel_gpu, plan_gpu
from jaxrnn.autodiff.loop import PLATFORMS, fused, loop_p, plain, scanned
from jaxrnn.strategies import Fused

KEY = jax.random.key(0)


@pytest.fixture
def plans():
    """This CPU runs loops as a GPU would; the plans that were made for them."""
    made = []

    def plan(*args):
        made.append(plan_gpu(*args))
        return made[-1]

    def run(f):
        jax.clear_caches()
        lowered(loop_p, plain(scanned), PLATFORMS | {"cpu": f})

    run(fused(plain(scanned), False, plan, in_kernel_gpu))
    yield made
    run(PLATFORMS["cpu"])


def answers(cell, steps, batch, reverse, masked, dtype, strategy):
    """Outputs, last state and gradients."""
    params, xs = cell.init(KEY, 5), jax.random.normal(KEY, (steps, *batch, 5))
    params = jax.tree.map(lambda a: a.astype(dtype), params)
    flags = {}
    if masked:
        mask, resets = jax.random.bernoulli(KEY, 0.6, (2, steps, *batch))
        flags = {"mask": mask, "resets": resets}

    def loss(params, xs):
        out = rnn.unroll(cell, params, xs, reverse=reverse, strategy=strategy, **flags)
        return sum(jnp.sum(jnp.sin(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(out)), out

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, xs)


@pytest.mark.parametrize(
    ("cell", "steps", "batch", "reverse", "masked", "dtype"),
    first(
        3,
        [
            (rnn.DiagonalGRU(32), 11, (2,), False, True, "float32"),
            (rnn.LSTM(16), 3, (17,), True, True, "float32"),
            (rnn.LRU(128), 9, (2,), True, False, "float32"),
            (rnn.GRU(16), 5, (), False, True, "bfloat16"),
            (rnn.GRU(48), 4, (2, 16), False, False, "float32"),
            (rnn.Elman(32), 1, (1,), False, False, "float32"),
            (rnn.LayerNormLSTM(16), 4, (3,), False, True, "float32"),
            (rnn.LayerNormGRU(16), 4, (3,), True, False, "float32"),
            (rnn.PeepholeLSTM(16), 4, (3,), False, False, "bfloat16"),
            (rnn.DiagonalLSTM(128), 19, (3,), True, True, "bfloat16"),
            (rnn.S5(32), 8, (), False, True, "float32"),
            (rnn.MinLSTM(64), 17, (2,), True, True, "float32"),
            (rnn.S6(32), 5, (2,), False, True, "float32"),
        ],
    ),
)
def test_a_kernel_is_the_loop(plans, cell, steps, batch, reverse, masked, dtype):
    case = functools.partial(answers, cell, steps, batch, reverse, masked, dtype)
    got = case(Fused(interpret=True))
    assert len(plans) == 2
    assert not any(isinstance(plan, str) for plan in plans), plans
    want = case(rnn.Scan())
    near = {"rtol": 2e-5, "atol": 5e-6} if dtype == "float32" else {"rtol": 2e-2, "atol": 2e-2}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            np.float32(a), np.float32(b), **near
        ),
        got,
        want,
    )
