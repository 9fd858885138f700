"""Numbers of the host: made when a program needs them, and not for shapes alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.autodiff.constant import constant

CALLS = []


def ramp(size):
    CALLS.append(size)
    return np.arange(size)


def test_shapes_alone_take_nothing():
    def f(x):
        return x * constant(ramp, (3,), (3,), jnp.float32)

    CALLS.clear()
    assert jax.eval_shape(f, 2.0).shape == (3,)
    assert not CALLS
    np.testing.assert_array_equal(f(2.0), [0, 2, 4])
    np.testing.assert_array_equal(jax.jit(f)(2.0), [0, 2, 4])
    np.testing.assert_array_equal(jax.vmap(f)(jnp.ones(2)), [[0, 1, 2]] * 2)
    assert jax.grad(lambda x: f(x).sum())(2.0) == 3
    assert CALLS


def test_what_goes_wrong_on_the_host_is_raised():
    with pytest.raises(TypeError, match="ramp"):
        constant(ramp, (), (3,), jnp.float32)
