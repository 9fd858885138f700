"""Any function of features as a layer."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.cells import maxout

KEY = jax.random.key(0)
XS = jax.random.normal(jax.random.key(1), (6, 2, 4))


def test_it_is_the_function_of_each_row_and_step():
    ys = rnn.unroll(rnn.Apply(maxout), {}, XS)[1]
    np.testing.assert_array_equal(ys, maxout(XS))
    np.testing.assert_array_equal(rnn.advance(rnn.Apply(maxout), {}, (), XS[0])[1], maxout(XS[0]))


def test_it_cannot_mix_steps_or_rows():
    """A function that looks at all axes sees the features of one step alone."""
    whole = rnn.Apply(lambda x: x / jnp.abs(x).max())
    want = XS / jnp.abs(XS).max(-1, keepdims=True)
    np.testing.assert_allclose(rnn.unroll(whole, {}, XS)[1], want, rtol=1e-6)


def test_a_function_of_a_module_is_traced_once_and_pickles():
    net = rnn.Stack((rnn.Apply(maxout), rnn.Dense(2)))
    params, traces = net.init(KEY, 4), []

    @jax.jit
    def run(cell, params, xs):
        traces.append(cell)
        return rnn.unroll(cell, params, xs)[1]

    for cell in (
        net,
        rnn.Stack((rnn.Apply(maxout), rnn.Dense(2))),
        pickle.loads(pickle.dumps(net)),
    ):
        assert cell == net
        assert run(cell, params, XS).shape == (6, 2, 2)
    assert len(traces) == 1


@pytest.mark.parametrize("f", [lambda x: x.sum(), lambda x: x[None], lambda x: (x, x)])
def test_results_that_are_no_features(f):
    for call in (
        lambda: rnn.Apply(f).init(KEY, 4),
        lambda: rnn.unroll(rnn.Apply(f), {}, XS),
    ):
        with pytest.raises((TypeError, ValueError), match=r"Apply\(.*got.*need.*one array"):
            call()


def test_laws_of_a_function_without_a_name():
    rnn.testing.check_cell(rnn.Apply(lambda x: 2 * x), 2, laws=(7,))
