"""What each combinator computes, against small truths; noise; nesting; every message."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn

jax.config.update("jax_numpy_dtype_promotion", "strict")

KEY = jax.random.key(0)
XS = jax.random.normal(jax.random.key(1), (6, 2, 3))


def close(a, b, tolerance=1e-5):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=tolerance, rtol=tolerance)


MERGES = {
    "concat": lambda f, b: jnp.concatenate([f, b], -1),
    "sum": lambda f, b: f + b,
    "mean": lambda f, b: (f + b) / 2,
    "product": lambda f, b: f * b,
    "none": lambda f, b: (f, b),
}


@pytest.mark.parametrize("merge", MERGES)
def test_bidirectional_merges_two_runs(merge):
    cell = rnn.LSTM(4)
    net = rnn.Bidirectional(cell, merge=merge)
    params = net.init(KEY, rnn.features(3))
    mask = rnn.lengths_to_mask(jnp.array([6, 4]), 6)
    resets = jnp.zeros((6, 2), bool).at[3].set(True)
    state, ys = rnn.unroll(net, params, XS, mask=mask, resets=resets)
    forward = rnn.unroll(cell, params[0], XS, mask=mask, resets=resets)
    backward = rnn.unroll(cell, params[1], XS, mask=mask, resets=resets, reverse=True)
    close(ys, MERGES[merge](forward[1], backward[1]))
    close(state, (forward[0], backward[0]))
    if merge == "concat":
        close(rnn.unroll(net, params, XS, mask=mask, resets=resets, strategy=rnn.Chunked(4)), (state, ys))


def test_bidirectional_turns_around_in_a_reversed_run():
    net = rnn.Bidirectional(rnn.LSTM(4), rnn.LSTM(2))
    params = net.init(KEY, rnn.features(3))
    _, ys = rnn.unroll(net, params, XS, reverse=True)
    close(ys[..., :4], rnn.unroll(rnn.LSTM(4), params[0], XS, reverse=True)[1])
    close(ys[..., 4:], rnn.unroll(rnn.LSTM(2), params[1], XS)[1])


def test_bidirectional_has_params_of_its_own_for_each_direction():
    params = rnn.Bidirectional(rnn.LSTM(4)).init(KEY, rnn.features(3))
    assert not np.allclose(params[0]["w_x"], params[1]["w_x"])


def test_bidirectional_refuses_advance_and_fold_and_says_why():
    net = rnn.Stack((rnn.LSTM(3), rnn.Bidirectional(rnn.LSTM(4))))
    params = net.init(KEY, rnn.features(3))
    assert not net.causal
    with pytest.raises(ValueError, match=r"advance of a network that looks ahead, in Bidirectional\(.*depends on the steps after t.*Use unroll"):
        rnn.advance(net, params, net.initial_state(params, (2,)), XS[0])
    with pytest.raises(ValueError, match=r"fold of a network that looks ahead, in Bidirectional\(.*cuts time into pieces"):
        rnn.fold(net, params, XS, lambda p, acc, ys, extra, mask: acc, jnp.float32(0))
    with pytest.raises(ValueError, match=r"advance of a cell that looks ahead"):
        rnn.advance(net.cells[1], params[1], net.cells[1].initial_state(params[1], (2,)), XS[0])


def test_bidirectional_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"Bidirectional.*merge='max'; need one of 'concat', 'sum', 'mean', 'product', 'none'"):
        rnn.Bidirectional(rnn.LSTM(4), merge="max")
    with pytest.raises(TypeError, match=r"Bidirectional.*got 4 as a cell"):
        rnn.Bidirectional(4)
    net = rnn.Bidirectional(rnn.LSTM(4), rnn.LSTM(5), merge="sum")
    with pytest.raises(ValueError, match=r"float32\[4\] forward and float32\[5\] backward; need equal shapes for merge='sum'"):
        net.init(KEY, rnn.features(3))


def looped(net, params, xs, **keywords):
    """The truth: a Python loop over advance, with the noise of each step."""
    state, ys = net.initial_state(params, xs.shape[1 : xs.ndim - net.feature_ndim]), []
    for t in range(xs.shape[0]):
        state, y = rnn.advance(net, params, state, xs[t], t=t, **{k: v[t] if k in ("mask", "reset") else v for k, v in keywords.items()})
        ys.append(y)
    return state, jnp.stack(ys)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_loop(params, xs, dropped=lambda t, h: h, settled=lambda t, old, new: new):
    """An LSTM in NumPy, with what is to become of the h that is multiplied and of the new state."""
    p = jax.tree.map(np.asarray, params)
    h = c = np.zeros((xs.shape[1], p["w_h"].shape[0]))
    hs = []
    for t, x in enumerate(np.asarray(xs)):
        i, f, g, o = np.split(x @ p["w_x"] + dropped(t, h) @ p["w_h"] + p["b"], 4, axis=-1)
        new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h, c = settled(t, (h, c), (sigmoid(o) * np.tanh(new), new))
        hs.append(h)
    return np.stack(hs)


# Residual


def test_residual_adds_its_input():
    net = rnn.Residual(rnn.LSTM(3))
    params = net.init(KEY, rnn.features(3))
    close(rnn.unroll(net, params, XS)[1], XS + rnn.unroll(rnn.LSTM(3), params[0], XS)[1])


def test_residual_names_the_cell_of_another_width():
    with pytest.raises(ValueError, match=r"float32\[3\] and outputs float32\[4\] of LSTM\(hidden=4.*Residual\(Stack\(\(cell, Dense\(width\)\)\)\)"):
        rnn.Residual(rnn.LSTM(4)).init(KEY, rnn.features(3))
    with pytest.raises(TypeError, match=r"Residual: got 3 as a cell"):
        rnn.Residual(3)


# Dropout


@pytest.mark.parametrize("per", ["step", "sequence"])
def test_dropout(per):
    xs, net = jnp.ones((50, 8, 20)), rnn.Dropout(0.3, per)
    unroll = jax.jit(lambda key: rnn.unroll(net, {}, xs, key=key)[1])
    ys = np.asarray(unroll(KEY))
    np.testing.assert_array_equal(rnn.unroll(net, {}, xs)[1], xs)  # without a key: the identity
    np.testing.assert_allclose(np.unique(ys), [0, 1 / 0.7], rtol=1e-6)
    keeps = np.stack([np.asarray(unroll(jax.random.key(i))) > 0 for i in range(40)])
    count = keeps.size if per == "step" else keeps[:, 0].size
    assert abs(keeps.mean() - 0.7) < 5 * (0.21 / count) ** 0.5
    same_over_time = (ys == ys[:1]).all()
    assert same_over_time == (per == "sequence")
    assert not (ys[0] == ys[0, :1]).all()  # rows differ
    assert not (ys == np.asarray(unroll(jax.random.key(1)))).all()


def test_each_dropout_of_a_network_has_its_own_mask():
    net = rnn.Stack((rnn.Dropout(0.5), rnn.Dropout(0.5)))
    ys = rnn.unroll(net, ({}, {}), jnp.ones((100, 50)), key=KEY)[1]
    assert abs(np.mean(np.asarray(ys) > 0) - 0.25) < 0.05  # were the masks the same, 0.5 would remain


@pytest.mark.parametrize("rate", [1, 1.0, -0.1, 2.0, float("nan")])
@pytest.mark.parametrize("make", [rnn.Dropout, lambda r: rnn.RecurrentDropout(rnn.LSTM(3), r), lambda r: rnn.Zoneout(rnn.LSTM(3), (0.1, r))])
def test_a_rate_is_a_probability_below_one(make, rate):
    with pytest.raises(ValueError, match=rf"(Dropout|Zoneout)\(.*got rate={rate}; need a number from 0 up to, but not, 1"):
        make(rate)


@pytest.mark.parametrize("rate", ["0.1", [0.1], True, None])
@pytest.mark.parametrize("make", [rnn.Dropout, lambda r: rnn.Zoneout(rnn.LSTM(3), r)])
def test_a_rate_is_a_number(make, rate):
    with pytest.raises(TypeError, match=r"got rate as a (str|list|bool|NoneType); need a float"):
        make(rate)


def test_per_is_step_or_sequence():
    for make in (lambda: rnn.Dropout(0.1, "batch"), lambda: rnn.RecurrentDropout(rnn.LSTM(3), 0.1, "batch")):
        with pytest.raises(ValueError, match=r"Dropout: got per='batch'; need one of 'step', 'sequence'"):
            make()


# Wrappers around a leaf cell


def drawn(cell, params, xs, key):
    return cell.project(params, xs, rnn.Noise.at(key, jnp.arange(xs.shape[0]))).masks


@pytest.mark.parametrize("per", ["step", "sequence"])
def test_recurrent_dropout_drops_what_is_multiplied(per):
    cell = rnn.RecurrentDropout(rnn.LSTM(4), 0.4, per)
    params = cell.init(KEY, rnn.features(3))
    (mask,) = drawn(cell, params, XS, KEY).values()
    assert mask.shape == (6, 2, 4)
    assert bool((mask == mask[:1]).all()) == (per == "sequence")
    ys = rnn.unroll(cell, params, XS, key=KEY)[1]
    close(ys, lstm_loop(params, XS, lambda t, h: np.where(mask[t], h / 0.6, 0)).astype(np.float32))
    assert not np.allclose(ys, rnn.unroll(cell, params, XS)[1], atol=1e-3)


def test_recurrent_dropout_is_the_identity_without_a_key():
    cell = rnn.RecurrentDropout(rnn.LSTM(4), 0.4)
    params = cell.init(KEY, rnn.features(3))
    close(params, rnn.LSTM(4).init(KEY, rnn.features(3)), 0)
    close(rnn.unroll(cell, params, XS), rnn.unroll(rnn.LSTM(4), params, XS), 0)


def test_recurrent_dropout_draws_a_mask_for_each_recurrent_weight():
    params = (cell := rnn.RecurrentDropout(rnn.LSTM(5, projection=2), 0.5)).init(KEY, rnn.features(3))
    assert sorted(m.shape[1:] for m in drawn(cell, params, XS, KEY).values()) == [(2, 2), (2, 5)]
    params = (cell := rnn.RecurrentDropout(rnn.GRU(4, reset_after=False), 0.5)).init(KEY, rnn.features(3))
    a, b = drawn(cell, params, XS, KEY).values()
    assert a.shape == b.shape == (6, 2, 4)
    assert not (a == b).all()


def test_recurrent_dropout_rate():
    cell = rnn.RecurrentDropout(rnn.Elman(20), 0.2, "step")
    (mask,) = drawn(cell, cell.init(KEY, rnn.features(3)), jnp.zeros((100, 10, 3)), KEY).values()
    assert abs(float(mask.mean(dtype=jnp.float32)) - 0.8) < 5 * (0.16 / mask.size) ** 0.5


def test_zoneout_keeps_old_values():
    cell = rnn.Zoneout(rnn.LSTM(4), (0.3, 0.6))
    params = cell.init(KEY, rnn.features(3))
    masks = drawn(cell, params, XS, KEY)
    ys = rnn.unroll(cell, params, XS, key=KEY)[1]
    keep = lambda t, old, new: tuple(np.where(m[t], o, n) for m, o, n in zip(masks, old, new, strict=True))  # noqa: E731
    close(ys, lstm_loop(params, XS, settled=keep).astype(np.float32))


def test_zoneout_is_the_expectation_without_a_key():
    cell = rnn.Zoneout(rnn.LSTM(4), (0.3, 0.6))
    params = cell.init(KEY, rnn.features(3))
    mix = lambda t, old, new: tuple(r * o + (1 - r) * n for r, o, n in zip((0.3, 0.6), old, new, strict=True))  # noqa: E731
    close(rnn.unroll(cell, params, XS)[1], lstm_loop(params, XS, settled=mix).astype(np.float32))


def test_zoneout_rates_hold_for_each_array_of_the_state():
    cell = rnn.Zoneout(rnn.LSTM(20), (0.1, 0.7))
    params = cell.init(KEY, rnn.features(3))
    old = jax.tree.map(lambda a: a + 0.5, cell.initial_state(params, (200,)))
    new, _ = rnn.advance(cell, params, old, jnp.ones((200, 3)), key=KEY)
    for a, b, rate in zip(old, new, (0.1, 0.7), strict=True):
        assert abs(np.mean(a == b) - rate) < 5 * (rate * (1 - rate) / a.size) ** 0.5


@pytest.mark.parametrize("make", [lambda: rnn.Zoneout(rnn.LSTM(4), 0), lambda: rnn.RecurrentDropout(rnn.LSTM(4), 0.0)])
def test_a_rate_of_zero_is_the_cell_itself(make):
    params = make().init(KEY, rnn.features(3))
    for key in (None, KEY):
        close(rnn.unroll(make(), params, XS, key=key), rnn.unroll(rnn.LSTM(4), params, XS), 1e-6)


def test_gates_show_through_wrappers():
    cell, wrapped = rnn.LSTM(4, projection=2), rnn.Zoneout(rnn.RecurrentDropout(rnn.LSTM(4, projection=2), 0.5), (0.3, 0.6))
    params = cell.init(KEY, rnn.features(3))
    seen, bare = rnn.diagnostics.trace(wrapped, params, XS, key=KEY), rnn.diagnostics.trace(cell, params, XS)
    assert type(seen.gates) is type(bare.gates)
    close([g[0] for g in seen.gates], [g[0] for g in bare.gates])  # the first step begins from zero, of which nothing can be dropped
    mask = wrapped.project(params, XS, rnn.Noise.at(KEY, jnp.arange(6))).z.masks["('w_h',)"]
    h = np.where(mask[1], seen.states.h[0] / 0.5, 0)
    i = np.split(XS[1] @ params["w_x"] + h @ params["w_h"] + params["b"], 4, axis=-1)[0]
    close(seen.gates.i[1], jnp.asarray(sigmoid(i)))
    assert (rnn.Zoneout(rnn.Elman(4), 0.1).gates is None) == (rnn.Elman(4).gates is None)


def reverse_carries(jaxpr):
    """The shapes that loops against time hand from step to step."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "scan" and eqn.params["reverse"]:
            consts, carry = eqn.params["num_consts"], eqn.params["num_carry"]
            yield from (v.aval.shape for v in eqn.invars[consts : consts + carry])
        for value in eqn.params.values():
            if hasattr(inner := getattr(value, "jaxpr", value), "eqns"):
                yield from reverse_carries(inner)


@pytest.mark.parametrize("key", [None, KEY], ids=["without noise", "with noise"])
def test_no_weight_is_carried_through_a_wrapped_loop(key):
    cell = rnn.Zoneout(rnn.RecurrentDropout(rnn.LSTM(5, projection=4), 0.3), 0.2)
    params = cell.init(KEY, rnn.features(3))
    mask = jnp.ones((6, 2), bool)
    jaxpr = jax.make_jaxpr(jax.grad(lambda p: rnn.unroll(cell, p, XS, mask=mask, resets=mask, key=key)[1].sum()))(params)
    shapes = set(reverse_carries(jaxpr.jaxpr))
    assert (2, 4) in shapes
    assert not shapes & {params["w_h"].shape, params["w_p"].shape}


class Tally(rnn.Cell):
    """Tokens in; a recurrent cell without a matmul."""

    takes_tokens = True

    @property
    def feature_ndim(self):
        return 0

    def init(self, key, x):
        return {"w": jnp.ones(())}

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros(batch_shape)

    def project(self, params, xs, noise=None):
        return xs.astype(jnp.float32) * params["w"]

    def step(self, params, state, z, dot):
        return state + z

    def readout(self, params, state, z):
        return state[..., None]


def test_wrappers_take_what_their_cell_takes():
    tokens = jnp.ones((4, 2), jnp.int32)
    ys = rnn.unroll(rnn.Zoneout(Tally(), 0.5), {"w": jnp.ones(())}, tokens)[1]
    np.testing.assert_allclose(ys[:, 0, 0], [0.5, 1.0, 1.5, 2.0])
    with pytest.raises(TypeError, match="integer tokens"):
        rnn.unroll(rnn.Zoneout(Tally(), 0.5), {"w": jnp.ones(())}, tokens.astype(jnp.float32))


def test_wrappers_say_what_they_cannot_wrap():
    for make in (rnn.Zoneout, rnn.RecurrentDropout):
        for inner in (rnn.Stack((rnn.LSTM(3),)), rnn.Dense(3), rnn.Residual(rnn.LSTM(3))):
            with pytest.raises(TypeError, match=rf"{make.__name__}: got .* need a single recurrent cell.*Stack\(\({make.__name__}\(a\)"):
                make(inner, 0.1)
        with pytest.raises(TypeError, match=rf"{make.__name__}: got None as a cell"):
            make(None, 0.1)
    with pytest.raises(ValueError, match=r"RecurrentDropout\(.*got Tally\(\), whose step has no recurrent matmul.*Use Zoneout"):
        rnn.RecurrentDropout(Tally(), 0.1).init(KEY, rnn.TOKEN)
    with pytest.raises(ValueError, match=r"got 3 rates for a state LSTMState\(h='float32\[4\]'.*Pass one number, or a tuple of 2"):
        rnn.Zoneout(rnn.LSTM(4), (0.1, 0.2, 0.3)).init(KEY, rnn.features(3))


# Layers without memory


def test_layer_norm():
    params = {"scale": jnp.array([1.0, 2.0, 3.0]), "bias": jnp.array([0.0, 1.0, -1.0])}
    x = np.asarray(XS, np.float64)
    want = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.1) * params["scale"] + params["bias"]
    close(rnn.unroll(rnn.LayerNorm(0.1), params, XS)[1], jnp.asarray(want, jnp.float32))


def test_rms_norm():
    params = {"scale": jnp.array([1.0, 2.0, 3.0])}
    x = np.asarray(XS, np.float64)
    want = x / np.sqrt((x**2).mean(-1, keepdims=True) + 0.1) * params["scale"]
    close(rnn.unroll(rnn.RMSNorm(0.1), params, XS)[1], jnp.asarray(want, jnp.float32))


@pytest.mark.parametrize("cell", [rnn.LayerNorm(), rnn.RMSNorm()])
def test_norms_take_their_statistics_in_float32(cell):
    xs = (100 + jax.random.normal(KEY, (4, 300))).astype(jnp.bfloat16)  # in bfloat16 the sum of 300 such numbers has two digits
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


@pytest.mark.parametrize("eps", [0.0, -1.0, "1", 0, float("nan")])
@pytest.mark.parametrize("make", [rnn.LayerNorm, rnn.RMSNorm])
def test_eps_is_positive(make, eps):
    with pytest.raises(ValueError, match=rf"Norm\(eps=.*got eps={eps!r}; need a positive float"):
        make(eps)


def test_dense():
    params = rnn.Dense(4, "relu").init(KEY, rnn.features(3))
    params["b"] += 0.1
    close(rnn.unroll(rnn.Dense(4, "relu"), params, XS)[1], jnp.asarray(np.maximum(np.asarray(XS) @ params["w"] + params["b"], 0)))
    with pytest.raises(ValueError, match=r"Dense\(width=4, activation='rellu'\): got activation='rellu'"):
        rnn.Dense(4, "rellu")
    with pytest.raises(ValueError, match=r"Dense\(width=0.*need a positive integer"):
        rnn.Dense(0)


def test_embed_shows_a_token_outside_its_vocabulary():
    net = rnn.Embed(5, 3)
    params = net.init(KEY, rnn.TOKEN)
    tokens = jnp.array([[0, 4], [5, -1], [-7, 2]])
    ys = np.asarray(rnn.unroll(net, params, tokens)[1])
    np.testing.assert_array_equal(np.isnan(ys[..., 0]), [[False, False], [True, True], [True, False]])
    np.testing.assert_array_equal(ys[0], params["w"][jnp.array([0, 4])])
    mask = (tokens >= 0) & (tokens < 5)
    value, grads = jax.value_and_grad(lambda p: rnn.unroll(net, p, tokens, mask=mask)[1].sum())(params)
    assert np.isfinite(value)
    np.testing.assert_array_equal(grads["w"][:, 0], [1, 0, 1, 0, 1])  # padding, whatever its token, has no part in it


def test_embed_says_what_is_wrong():
    for fields, name in (((0, 3), "vocabulary"), ((3, 0), "width")):
        with pytest.raises(ValueError, match=rf"Embed\(.*got {name}=0; need a positive integer"):
            rnn.Embed(*fields)
    with pytest.raises(TypeError, match=r"Embed\(.*need integer tokens"):
        rnn.Embed(5, 3).init(KEY, rnn.features(3))


# An embedding tied to its head


def test_tied_embedding():
    net = rnn.TiedEmbedding(7, 4, rnn.LSTM(4))
    params, tokens = net.init(KEY, rnn.TOKEN), jnp.array([[1, 2], [3, 0], [6, 6]])
    assert jax.tree.map(jnp.shape, params[0]) == {"w": (7, 4)}
    untied = lambda a, b: rnn.unroll(rnn.LSTM(4), params[1], a[tokens])[1] @ b.T  # noqa: E731
    close(rnn.unroll(net, params, tokens)[1], untied(params[0]["w"], params[0]["w"]))
    grads = jax.grad(lambda p: jnp.sin(rnn.unroll(net, p, tokens)[1]).sum())(params)[0]["w"]
    a, b = jax.grad(lambda a, b: jnp.sin(untied(a, b)).sum(), (0, 1))(params[0]["w"], params[0]["w"])
    close(grads, a + b)
    close(rnn.unroll(net, params, tokens), looped(net, params, tokens))


def test_tied_embedding_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"outputs float32\[5\] of its body LSTM\(hidden=5.*need outputs 4 wide.*Stack\(\(body, Dense\(4\)\)\)"):
        rnn.TiedEmbedding(7, 4, rnn.LSTM(5)).init(KEY, rnn.TOKEN)
    with pytest.raises(ValueError, match=r"TiedEmbedding\(vocabulary=0.*need a positive integer"):
        rnn.TiedEmbedding(0, 4, rnn.LSTM(4))
    with pytest.raises(TypeError, match=r"TiedEmbedding: got 'LSTM' as a cell"):
        rnn.TiedEmbedding(7, 4, "LSTM")


# A learned state


def learned(cell=None):
    net = rnn.LearnedState(cell or rnn.Stack((rnn.LSTM(4), rnn.Elman(2))))
    params = net.init(KEY, rnn.features(3))
    state = jax.tree.map(lambda a: a + jnp.linspace(-1, 1, a.size).reshape(a.shape), params["state"])
    return net, {**params, "state": state}


def test_learned_state_begins_every_row():
    net, params = learned()
    first = net.initial_state(params, (2,))
    close(first[0], jax.tree.map(lambda a: jnp.broadcast_to(a, (2, *a.shape)), params["state"]), 0)
    assert jax.tree.structure(first[0]) == jax.tree.structure(net.cell.initial_state(params["cell"]))
    close(rnn.unroll(net, params, XS)[1], rnn.unroll(net.cell, params["cell"], XS, first[0])[1], 0)
    close(rnn.unroll(net, params, XS)[1], looped(net, params, XS)[1])
    close(rnn.unroll(net, params, XS, first), rnn.unroll(net, params, XS), 0)


def test_learned_state_has_gradients_through_resets():
    net, params = learned()
    resets = jnp.zeros((6, 2), bool).at[2, 0].set(True).at[4, 1].set(True)
    given = jax.tree.map(jnp.zeros_like, net.initial_state(params, (2,)))  # so the learned state enters at resets alone

    def reset(params):
        return jnp.sin(rnn.unroll(net, params, XS, given, resets=resets)[1]).sum()

    def pieces(params):
        total = jnp.float32(0)
        for row, t in ((0, 2), (1, 4)):
            total += jnp.sin(rnn.unroll(net, params, XS[:t, row], jax.tree.map(lambda a: a[0], given))[1]).sum()
            total += jnp.sin(rnn.unroll(net, params, XS[t:, row])[1]).sum()
        return total

    a, b = jax.grad(reset)(params), jax.grad(pieces)(params)
    close(a, b)
    assert all(np.abs(leaf).min() > 0 for leaf in jax.tree.leaves(a["state"]))


def test_learned_state_keeps_the_states_dtype():
    net, params = learned()
    state, ys = rnn.unroll(net, jax.tree.map(lambda a: a.astype(jnp.bfloat16), params), XS.astype(jnp.bfloat16))
    assert ys.dtype == jnp.bfloat16
    assert {a.dtype for a in jax.tree.leaves(state)} == {jnp.dtype("float32")}


def test_learned_state_says_what_is_wrong():
    net, params = learned()
    with pytest.raises(ValueError, match=r"need a dict with keys 'cell', 'state'"):
        rnn.unroll(net, {"cell": params["cell"], "start": params["state"]}, XS)
    with pytest.raises(ValueError, match=r"params\['state'\]\[1\] float32\[3\].*need params\['state'\]\[1\] of shape \(2,\)"):
        rnn.unroll(net, {**params, "state": (params["state"][0], jnp.zeros(3))}, XS)
    with pytest.raises(TypeError, match=r"^LearnedState: got <class .*LSTM'> as a cell"):
        rnn.LearnedState(rnn.LSTM)


# Together


def deep():
    noisy = rnn.Zoneout(rnn.RecurrentDropout(rnn.LSTM(4), 0.3), (0.1, 0.4))
    block = rnn.Residual(rnn.Stack((rnn.LayerNorm(), noisy, rnn.Dropout(0.2, "sequence"))))
    return rnn.LearnedState(rnn.TiedEmbedding(9, 4, rnn.Stack((block, rnn.CausalConv(4, 3), rnn.Dropout(0.3), rnn.RMSNorm()))))


@pytest.mark.parametrize("noise", [{}, {"key": KEY}], ids=["without noise", "with noise"])
def test_deep_nesting_and_noise_do_not_depend_on_the_cuts(noise):
    net, tokens = deep(), jax.random.randint(KEY, (5, 2), 0, 9)
    params = net.init(KEY, rnn.TOKEN)
    params["state"] = jax.tree.map(lambda a: a + 0.3, params["state"])
    mask = jnp.ones((5, 2), bool).at[1, 0].set(False).at[4, 1].set(False)
    resets = jnp.zeros((5, 2), bool).at[3, 0].set(True)

    def loss(params, strategy):
        state, ys = rnn.unroll(net, params, tokens, mask=mask, resets=resets, strategy=strategy, **noise)
        return jnp.sin(ys).sum(), (state, ys)

    gradient = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    grads, whole = gradient(params, rnn.Scan())
    close(looped(net, params, tokens, mask=mask, reset=resets, **noise), whole)
    if noise:
        cut_grads, cut = gradient(params, rnn.Chunked(3))
        close(cut, whole)
        close(cut_grads, grads, 1e-4)
        assert not np.allclose(whole[1], rnn.unroll(net, params, tokens, mask=mask, resets=resets, key=jax.random.key(9))[1], atol=1e-3)


EVERY = [
    deep(),
    rnn.Bidirectional(rnn.LSTM(3), merge="sum"),
    rnn.Bidirectional(rnn.LSTM(3), rnn.GRU(2)),
    rnn.Dropout(0.5, "sequence"),
    rnn.LayerNorm(1e-3),
    rnn.RMSNorm(),
    rnn.CausalConv(3, 2, depthwise=True),
    rnn.Dense(3, activation="tanh"),
    rnn.Embed(4, 2),
    rnn.RecurrentDropout(rnn.Elman(3), 0.5, per="step"),
]


@pytest.mark.parametrize("cell", EVERY, ids=lambda cell: type(cell).__name__)
def test_combinators_are_values(cell):
    assert pickle.loads(pickle.dumps(cell)) == cell
    again = eval(repr(cell), vars(rnn))
    assert again == cell
    assert hash(again) == hash(cell)
    assert jax.tree.leaves(cell) == []
    assert cell != rnn.Dense(17)
