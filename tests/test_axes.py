"""Inputs of several arrays, wherever an input goes."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn as rnn
from helpers.cases import SEEN
from helpers.cells import GRUD
from jaxrnn import models, training
from jaxrnn.axes import batch_shape, step_spec, steps

CELL = GRUD(3)
PARAMS = CELL.init(jax.random.key(0), SEEN)
KEY = jax.random.key(1)
XS = (
    jax.random.normal(KEY, (6, 4, 2)),
    jax.random.bernoulli(KEY, 0.5, (6, 4, 2)),
    jax.random.uniform(KEY, (6, 4)),
)
WANT = rnn.unroll(CELL, PARAMS, XS)


def test_the_axes_of_several_arrays():
    assert (steps(XS), batch_shape(CELL, XS, 1)) == (6, (4,))
    assert step_spec(CELL, XS) == SEEN
    assert jax.tree.all(
        jax.tree.map(jnp.array_equal, PARAMS, CELL.init(jax.random.key(0), (2, SEEN[1], XS[2])))
    )


def alike(got, want=WANT):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, want)


def test_they_pass_through_vmap_export_record_and_newton():
    rows = jax.vmap(rnn.unroll, (None, None, 1), (0, 1))
    alike(rows(CELL, PARAMS, XS))
    t, b = jax.export.symbolic_shape("t, b")
    specs = jax.tree.map(lambda a: jax.ShapeDtypeStruct((t, b, *a.shape[2:]), a.dtype), XS)
    whole = jax.jit(lambda xs: rnn.unroll(CELL, PARAMS, xs)[1])
    alike(jax.export.export(whole)(specs).call(XS), WANT[1])
    assert rnn.diagnostics.record(CELL, PARAMS, XS).states[0].shape == (6, 4, 3)
    state, ys, _ = rnn.newton_solve(CELL, PARAMS, XS)
    alike((state, ys))


def test_they_are_trained_on():
    net, tx = rnn.Stack((CELL, rnn.Dense(1))), optax.adam(1e-2)
    state = training.TrainState.create(net, net.init(KEY, XS), tx, KEY)
    step = training.bptt_step(net, training.mse, tx, strategy=rnn.Chunked(2))
    batch, losses = training.Batch(XS, XS[0][..., :1]), []
    for _ in range(30):
        state, metrics = step(state, batch)
        losses.append(float(metrics.loss))
    assert losses[-1] < 0.8 * losses[0]
    pooled = models.Pooled(CELL, rnn.Dense(2), "mean")
    assert pooled.apply(pooled.init(KEY, XS), XS).shape == (4, 2)


@pytest.mark.parametrize(
    ("xs", "words"),
    [
        (XS[0], "structure (1, 1, 0)"),
        (XS[:2], "structure (1, 1, 0)"),
        (list(XS), "structure (1, 1, 0)"),
        ((XS[0], XS[1], 1.0), "xs[2] as a float"),
        ((XS[0], XS[1], XS[2][:5]), "same time and batch axes"),
        ((XS[0], XS[1], XS[2][:, :3]), "same time and batch axes"),
        ((XS[0], XS[1], XS[2].astype(int)), "inputs[2] int32"),
    ],
)
def test_another_structure_is_refused(xs, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        rnn.unroll(CELL, PARAMS, xs)
    assert words in str(caught.value)
