"""Layers without memory against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn

KEY = jax.random.key(0)
XS = jax.random.normal(jax.random.key(1), (6, 2, 3))


def close(a, b, tolerance=1e-5):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=tolerance, rtol=tolerance)


def test_layer_norm():
    params = {"scale": jnp.array([1.0, 2.0, 3.0]), "bias": jnp.array([0.0, 1.0, -1.0])}
    x = np.asarray(XS, np.float64)
    want = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.1) * params[
        "scale"
    ] + params["bias"]
    close(rnn.unroll(rnn.LayerNorm(0.1), params, XS)[1], jnp.asarray(want, jnp.float32))


def test_rms_norm():
    params = {"scale": jnp.array([1.0, 2.0, 3.0])}
    x = np.asarray(XS, np.float64)
    want = x / np.sqrt((x**2).mean(-1, keepdims=True) + 0.1) * params["scale"]
    close(rnn.unroll(rnn.RMSNorm(0.1), params, XS)[1], jnp.asarray(want, jnp.float32))


@pytest.mark.parametrize("cell", [rnn.LayerNorm(), rnn.RMSNorm()])
def test_norms_take_their_statistics_in_float32(cell):
    # In bfloat16 the sum of 300 such numbers has two digits.
    xs = (100 + jax.random.normal(KEY, (4, 300))).astype(jnp.bfloat16)
    exact = cell.init(KEY, rnn.features(300))
    params = jax.tree.map(lambda a: a.astype(jnp.bfloat16), exact)
    ys = rnn.unroll(cell, params, xs)[1]
    assert ys.dtype == jnp.bfloat16
    close(ys.astype(jnp.float32), rnn.unroll(cell, exact, xs.astype(jnp.float32))[1], 0.02)


def test_norms_of_a_masked_step_have_finite_gradients():
    net = rnn.Stack((rnn.LayerNorm(), rnn.RMSNorm()))
    params, mask = net.init(KEY, rnn.features(3)), rnn.lengths_to_mask(jnp.array([6, 2]), 6)
    xs = jnp.where(mask[..., None], XS, jnp.nan)
    grads = jax.grad(lambda p, xs: rnn.unroll(net, p, xs, mask=mask)[1].sum(), (0, 1))(params, xs)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize("eps", [0.0, -1.0, "1", 0, float("nan"), float("inf")])
@pytest.mark.parametrize("make", [rnn.LayerNorm, rnn.RMSNorm])
def test_eps_is_positive(make, eps):
    kind = ValueError if isinstance(eps, float) else TypeError
    with pytest.raises(kind, match=rf"Norm\(eps=.*got eps={eps!r}; need a positive float"):
        make(eps)


def test_dense():
    params = rnn.Dense(4, "relu").init(KEY, rnn.features(3))
    params["b"] += 0.1
    close(
        rnn.unroll(rnn.Dense(4, "relu"), params, XS)[1],
        jnp.asarray(np.maximum(np.asarray(XS) @ params["w"] + params["b"], 0)),
    )
    with pytest.raises(
        ValueError, match=r"Dense\(width=4, activation='rellu'\): got activation='rellu'"
    ):
        rnn.Dense(4, "rellu")
    with pytest.raises(ValueError, match=r"Dense\(width=0.*need a positive integer"):
        rnn.Dense(0)


def test_an_activation_is_a_name_or_a_function():
    params = rnn.Dense(4).init(KEY, 3)
    plain = rnn.unroll(rnn.Dense(4), params, XS)[1]
    for name in rnn.errors.ACTIVATIONS:
        f = getattr(jax.nn, name)
        assert jax.eval_shape(f, XS) == jax.ShapeDtypeStruct(XS.shape, XS.dtype), name
    for f in (jax.nn.softmax, jnp.tanh, rnn.Dense(4, jnp.sin).activation):
        close(rnn.unroll(rnn.Dense(4, f), params, XS)[1], f(plain))
    low = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params)
    assert rnn.unroll(rnn.Dense(4, jnp.tanh), low, XS)[1].dtype == jnp.bfloat16


def test_one_hot():
    tokens = jnp.array([[0, 4], [5, -1], [-7, 2]])
    ys = np.asarray(rnn.unroll(rnn.OneHot(5), {}, tokens)[1])
    known = (tokens >= 0) & (tokens < 5)
    np.testing.assert_array_equal(ys[known], np.eye(5)[tokens[known]])
    assert np.isnan(ys[~known]).all()
    # An embedding is a one-hot vector times its weights.
    params = rnn.Embed(5, 3).init(KEY, rnn.TOKEN)
    net = rnn.Stack((rnn.OneHot(5), rnn.Dense(3)))
    both = ({}, {"w": params["w"], "b": jnp.zeros(3)})
    close(rnn.unroll(net, both, tokens % 5)[1], rnn.unroll(rnn.Embed(5, 3), params, tokens % 5)[1])


def test_embed_shows_a_token_outside_its_vocabulary():
    net = rnn.Embed(5, 3)
    params = net.init(KEY, rnn.TOKEN)
    tokens = jnp.array([[0, 4], [5, -1], [-7, 2]])
    ys = np.asarray(rnn.unroll(net, params, tokens)[1])
    np.testing.assert_array_equal(
        np.isnan(ys[..., 0]), [[False, False], [True, True], [True, False]]
    )
    np.testing.assert_array_equal(ys[0], params["w"][jnp.array([0, 4])])
    mask = (tokens >= 0) & (tokens < 5)
    value, grads = jax.value_and_grad(lambda p: rnn.unroll(net, p, tokens, mask=mask)[1].sum())(
        params
    )
    assert np.isfinite(value)
    # Padding, whatever its token, has no part in it.
    np.testing.assert_array_equal(grads["w"][:, 0], [1, 0, 1, 0, 1])


def test_embed_says_what_is_wrong():
    for fields, name in (((0, 3), "vocabulary"), ((3, 0), "width")):
        with pytest.raises(ValueError, match=rf"Embed\(.*got {name}=0; need a positive integer"):
            rnn.Embed(*fields)
    with pytest.raises(TypeError, match=r"Embed\(.*need integer tokens"):
        rnn.Embed(5, 3).init(KEY, rnn.features(3))
