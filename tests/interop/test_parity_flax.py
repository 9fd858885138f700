"""Flax's recurrent cells, linen and nnx, against the cells that `interop.flax` makes of them:
outputs, last states and every gradient, to 1e-5."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.parity import compare, fill, stepped

pytest.importorskip("flax")
from flax import linen, nnx

from jaxrnn.interop.flax import from_linen, from_nnx, to_linen, to_nnx

T, B, F, H = 5, 2, 3, 4
XS = fill(np.empty((T, B, F)), 2)

LINEN = {
    "LSTMCell": linen.LSTMCell(H),
    "OptimizedLSTMCell": linen.OptimizedLSTMCell(H),
    "GRUCell": linen.GRUCell(H),
    "SimpleCell tanh": linen.SimpleCell(H),
    "SimpleCell relu": linen.SimpleCell(H, activation_fn=jax.nn.relu),
}
NNX = {
    "LSTMCell": nnx.LSTMCell,
    "OptimizedLSTMCell": nnx.OptimizedLSTMCell,
    "GRUCell": nnx.GRUCell,
    "SimpleCell tanh": nnx.SimpleCell,
    "SimpleCell relu": lambda *sizes, **settings: nnx.SimpleCell(
        *sizes, activation_fn=jax.nn.relu, **settings
    ),
}


def carry(state):
    """Flax's carry for a state of ours: (c, h) for an LSTM's."""
    return (state.c, state.h) if isinstance(state, rnn.LSTMState) else state


@pytest.mark.parametrize("name", LINEN)
def test_linen(name):
    module = LINEN[name]
    shapes = jax.eval_shape(
        lambda: module.init(
            jax.random.key(0), module.initialize_carry(jax.random.key(0), (B, F)), jnp.ones((B, F))
        )
    )
    variables = fill(shapes)
    cell, params = from_linen(module, variables)
    ours_of = lambda grads: from_linen(module, grads)[1]  # noqa: E731
    compare(cell, params, variables, stepped(module.apply), ours_of, carry, XS)
    for a, b in zip(
        jax.tree.leaves(from_linen(module, variables["params"])[1]),
        jax.tree.leaves(params),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NNX)
def test_nnx(name):
    module = NNX[name](F, H, rngs=nnx.Rngs(0))
    graph, weights, rest = nnx.split(module, nnx.Param, ...)
    weights = fill(weights)
    nnx.update(module, weights)
    cell, params = from_nnx(module)
    # nnx's GRU has no recurrent bias (defect 4 of the peers): ours is zero there, and trainable
    skip = ("b_n",) if isinstance(cell, rnn.GRU) else ()
    assert not any(params[key].any() for key in skip)

    def apply(weights, c, x):
        return nnx.merge(graph, weights, rest)(c, x)

    ours_of = lambda grads: from_nnx(nnx.merge(graph, grads, rest))[1]  # noqa: E731
    compare(cell, params, weights, stepped(apply), ours_of, carry, XS, skip)


CELLS = [rnn.LSTM(H), rnn.GRU(H), rnn.Elman(H), rnn.Elman(H, "relu")]


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_there_and_back(cell):
    params = fill(jax.eval_shape(lambda: cell.init(jax.random.key(0), rnn.features(F))))
    ways = [from_linen(*to_linen(cell, params))]
    if "b_n" in params:
        with pytest.raises(ValueError, match="b_n that is not zero"):
            to_nnx(cell, params)
        ways += [from_nnx(to_nnx(cell, params | {"b_n": jnp.zeros(H)}))]
        ways[1][1]["b_n"] = params["b_n"]
    else:
        ways += [from_nnx(to_nnx(cell, params))]
    for again, same in ways:
        assert again == cell
        jax.tree.map(np.testing.assert_array_equal, params, same)


@pytest.mark.parametrize(
    "cell",
    [rnn.LSTM(H, projection=2), rnn.GRU(H, reset_after=False), rnn.PeepholeLSTM(H), rnn.Dense(H)],
    ids=repr,
)
@pytest.mark.parametrize("convert", [to_linen, to_nnx])
def test_what_flax_lacks_is_refused(cell, convert):
    with pytest.raises(ValueError, match="need an LSTM without projection"):
        convert(cell, jax.eval_shape(lambda: cell.init(jax.random.key(0), rnn.features(F))))


def test_other_modules_are_refused():
    with pytest.raises(ValueError, match="got a MGUCell"):
        from_linen(linen.MGUCell(H), {"params": {}})
    with pytest.raises(ValueError, match="got a Linear"):
        from_nnx(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="other activations"):
        from_linen(linen.GRUCell(H, activation_fn=jax.nn.relu), {"params": {}})
    with pytest.raises(ValueError, match="residual"):
        from_linen(linen.SimpleCell(H, residual=True), {"params": {}})
