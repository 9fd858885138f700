"""Terms beside the loss, against plain programs."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import training
from jaxrnn.training import MaskedMean

YS = jax.random.normal(jax.random.key(0), (7, 2, 3))
MASK = jnp.array([[1, 1], [1, 1], [1, 0], [1, 1], [1, 1], [1, 0], [0, 0]], bool)
RESETS = jnp.zeros((7, 2), bool).at[3, 0].set(True)


def pairs(ys):
    """Steps with the valid one before them, row by row."""
    for row in range(2):
        for t in range(1, 7):
            if MASK[t, row] and MASK[t - 1, row] and not RESETS[t, row]:
                yield np.square(ys[t, row] - ys[t - 1, row]).mean()


def test_penalties_are_means_over_valid_steps_and_never_across_a_cut():
    ys = np.asarray(YS)
    squares = np.square(ys).mean(-1)[np.asarray(MASK)]
    foul = jnp.where(MASK[..., None], YS, jnp.nan)

    def both(ys):
        slow = training.slowness_penalty(ys, MASK, RESETS)
        return training.activation_penalty(ys, MASK).plus(0.5 * slow)

    loss, gradient = jax.value_and_grad(lambda ys: both(ys).mean)(foul)
    np.testing.assert_allclose(loss, squares.mean() + 0.5 * np.mean([*pairs(ys)]), rtol=1e-5)
    assert np.isfinite(gradient).all()
    assert int(training.slowness_penalty(foul, MASK, RESETS).steps) == len([*pairs(ys)]) == 6
    whole = training.slowness_penalty(YS)
    np.testing.assert_allclose(whole.mean, np.square(ys[1:] - ys[:-1]).mean(), rtol=1e-5)
    assert int(both(YS).steps) == int(MASK.sum())
    assert float(training.slowness_penalty(YS[:1]).mean) == 0.0
    np.testing.assert_allclose(MaskedMean.over(squares).plus(2).mean, squares.mean() + 2, rtol=1e-5)
