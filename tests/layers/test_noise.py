"""Dropout, recurrent dropout, zoneout: what is drawn, and what is done with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.jaxprs import loops, parts

KEY = jax.random.key(0)
XS = jax.random.normal(jax.random.key(1), (6, 2, 3))


def close(a, b, tolerance=1e-5):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=tolerance, rtol=tolerance)


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
    # Were the masks the same, 0.5 would remain.
    assert abs(np.mean(np.asarray(ys) > 0) - 0.25) < 0.05


@pytest.mark.parametrize("rate", [1, 1.0, -0.1, 2.0, float("nan")])
@pytest.mark.parametrize(
    "make",
    [
        rnn.Dropout,
        lambda r: rnn.RecurrentDropout(rnn.LSTM(3), r),
        lambda r: rnn.Zoneout(rnn.LSTM(3), (0.1, r)),
    ],
)
def test_a_rate_is_a_probability_below_one(make, rate):
    with pytest.raises(
        ValueError,
        match=rf"(Dropout|Zoneout)\(.*got rate={rate}; need a number from 0 up to, but not, 1",
    ):
        make(rate)


@pytest.mark.parametrize("rate", ["0.1", [0.1], True, None])
@pytest.mark.parametrize("make", [rnn.Dropout, lambda r: rnn.Zoneout(rnn.LSTM(3), r)])
def test_a_rate_is_a_number(make, rate):
    with pytest.raises(TypeError, match=r"got rate as a (str|list|bool|NoneType); need a float"):
        make(rate)


def test_per_is_step_or_sequence():
    for make in (
        lambda: rnn.Dropout(0.1, "batch"),
        lambda: rnn.RecurrentDropout(rnn.LSTM(3), 0.1, "batch"),
    ):
        with pytest.raises(
            ValueError, match=r"Dropout: got per='batch'; need one of 'step', 'sequence'"
        ):
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
    params = (cell := rnn.RecurrentDropout(rnn.LSTM(5, projection=2), 0.5)).init(
        KEY, rnn.features(3)
    )
    assert sorted(m.shape[1:] for m in drawn(cell, params, XS, KEY).values()) == [(2, 2), (2, 5)]
    params = (cell := rnn.RecurrentDropout(rnn.GRU(4, reset_after=False), 0.5)).init(
        KEY, rnn.features(3)
    )
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

    def keep(t, old, new):
        return tuple(np.where(m[t], o, n) for m, o, n in zip(masks, old, new, strict=True))

    close(ys, lstm_loop(params, XS, settled=keep).astype(np.float32))


def test_zoneout_is_the_expectation_without_a_key():
    cell = rnn.Zoneout(rnn.LSTM(4), (0.3, 0.6))
    params = cell.init(KEY, rnn.features(3))

    def mix(t, old, new):
        return tuple(r * o + (1 - r) * n for r, o, n in zip((0.3, 0.6), old, new, strict=True))

    close(rnn.unroll(cell, params, XS)[1], lstm_loop(params, XS, settled=mix).astype(np.float32))


def test_zoneout_rates_hold_for_each_array_of_the_state():
    cell = rnn.Zoneout(rnn.LSTM(20), (0.1, 0.7))
    params = cell.init(KEY, rnn.features(3))
    old = jax.tree.map(lambda a: a + 0.5, cell.initial_state(params, (200,)))
    new, _ = rnn.advance(cell, params, old, jnp.ones((200, 3)), key=KEY)
    for a, b, rate in zip(old, new, (0.1, 0.7), strict=True):
        assert abs(np.mean(a == b) - rate) < 5 * (rate * (1 - rate) / a.size) ** 0.5


@pytest.mark.parametrize(
    "make", [lambda: rnn.Zoneout(rnn.LSTM(4), 0), lambda: rnn.RecurrentDropout(rnn.LSTM(4), 0.0)]
)
def test_a_rate_of_zero_is_the_cell_itself(make):
    params = make().init(KEY, rnn.features(3))
    for key in (None, KEY):
        close(rnn.unroll(make(), params, XS, key=key), rnn.unroll(rnn.LSTM(4), params, XS), 1e-6)


def test_gates_show_through_wrappers():
    cell, wrapped = (
        rnn.LSTM(4, projection=2),
        rnn.Zoneout(rnn.RecurrentDropout(rnn.LSTM(4, projection=2), 0.5), (0.3, 0.6)),
    )
    params = cell.init(KEY, rnn.features(3))
    seen, bare = (
        rnn.diagnostics.record(wrapped, params, XS, key=KEY),
        rnn.diagnostics.record(cell, params, XS),
    )
    assert type(seen.gates) is type(bare.gates)
    # The first step begins from zero, of which nothing can be dropped.
    close([g[0] for g in seen.gates], [g[0] for g in bare.gates])
    mask = wrapped.project(params, XS, rnn.Noise.at(KEY, jnp.arange(6))).z.masks["('w_h',)"]
    h = np.where(mask[1], seen.states.h[0] / 0.5, 0)
    i = np.split(XS[1] @ params["w_x"] + h @ params["w_h"] + params["b"], 4, axis=-1)[0]
    close(seen.gates.i[1], jnp.asarray(sigmoid(i)))
    assert (rnn.Zoneout(rnn.Elman(4), 0.1).gates is None) == (rnn.Elman(4).gates is None)


@pytest.mark.parametrize("key", [None, KEY], ids=["without noise", "with noise"])
def test_no_weight_is_carried_through_a_wrapped_loop(key):
    cell = rnn.Zoneout(rnn.RecurrentDropout(rnn.LSTM(5, projection=4), 0.3), 0.2)
    params = cell.init(KEY, rnn.features(3))
    mask = jnp.ones((6, 2), bool)
    jaxpr = jax.make_jaxpr(
        jax.grad(lambda p: rnn.unroll(cell, p, XS, mask=mask, resets=mask, key=key)[1].sum())
    )(params)
    shapes = set().union(*(parts(eqn)[0] for eqn in loops(jaxpr.jaxpr, True)))
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
            with pytest.raises(
                TypeError,
                match=rf"{make.__name__}: got .* need a single recurrent cell.*"
                rf"Stack\(\({make.__name__}\(a\)",
            ):
                make(inner, 0.1)
        with pytest.raises(TypeError, match=rf"{make.__name__}: got None as a cell"):
            make(None, 0.1)
    with pytest.raises(
        ValueError,
        match=r"RecurrentDropout\(.*got Tally\(\), whose step has no recurrent matmul.*Use Zoneout",
    ):
        rnn.RecurrentDropout(Tally(), 0.1).init(KEY, rnn.TOKEN)
    with pytest.raises(
        ValueError,
        match=r"got 3 rates for a state LSTMState\(h='float32\[4\]'.*"
        "Pass one number, or a tuple of 2",
    ):
        rnn.Zoneout(rnn.LSTM(4), (0.1, 0.2, 0.3)).init(KEY, rnn.features(3))
