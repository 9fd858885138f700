"""Many to one: padding changes nothing, a batch is its rows,
and the answer is what it is by hand."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from jaxrnn import data, training
from jaxrnn.models import pooled
from jaxrnn.training import Batch, cross_entropy

LENGTHS = jnp.array([5, 2, 0, 4])
MASK = rnn.lengths_to_mask(LENGTHS, 5)
GAPS = MASK.at[0, 0].set(False).at[1, 3].set(False)  # a first step, and a step within
XS = jax.random.normal(jax.random.key(7), (5, 4, 2))
HEAD = rnn.Dense(3)

BODIES = {
    "causal": rnn.Stack((rnn.GRU(3), rnn.Dense(2))),
    "bidirectional": rnn.Stack((rnn.Dense(2), rnn.Bidirectional(rnn.GRU(3), rnn.Elman(2)))),
    "summed": rnn.Bidirectional(rnn.LSTM(2), merge="sum"),
    "read again": rnn.Stack((rnn.Bidirectional(rnn.Elman(2)), rnn.GRU(3))),
}
QUICK = [
    ("causal", "last"),
    ("bidirectional", "last"),
    ("bidirectional", "mean"),
    ("bidirectional", "max"),
    ("summed", "last"),
]
EVERY = [(body, pool) for body in BODIES for pool in ("last", "mean", "max")]
SLOW = [pytest.param(*both, marks=pytest.mark.slow) for both in EVERY if both not in QUICK]


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6), a, b)


def value(net, mask=None):
    """The answers and the gradients in params and inputs, compiled once."""

    def total(params, xs, mask):
        ys = net.apply(params, xs, mask=mask)
        return (ys * jnp.cos(jnp.arange(ys.size, dtype=ys.dtype)).reshape(ys.shape)).sum(), ys

    return jax.jit(jax.grad(total, (0, 1), has_aux=True))


@pytest.mark.parametrize(("body", "pool"), first(2, QUICK) + SLOW)
def test_padding_changes_nothing_and_a_batch_is_its_rows(body, pool):
    net = rnn.Pooled(BODIES[body], HEAD, pool)
    params = net.init(jax.random.key(0), rnn.features(2))
    run = value(net)
    (g_params, g_xs), ys = run(params, XS, MASK)
    xs = jnp.concatenate([jnp.where(MASK[..., None], XS, jnp.nan), jnp.full_like(XS[:3], jnp.nan)])
    (again, g_longer), more = run(params, xs, jnp.concatenate([MASK, jnp.zeros_like(MASK[:3])]))
    close((again, g_longer[:5], more), (g_params, g_xs, ys))
    assert not g_longer[5:].any()
    close(ys[2], params[1]["b"])  # of nothing, zeros are pooled
    apply = jax.jit(net.apply)
    ys = apply(params, XS, mask=GAPS)
    for b in range(4):
        # The valid steps alone, and no batch axis.
        close(apply(params, XS[:, b][GAPS[:, b]]), ys[b])


def test_by_hand():
    for body in (BODIES["causal"], BODIES["bidirectional"]):
        nets = {pool: rnn.Pooled(body, HEAD, pool) for pool in ("last", "mean", "max")}
        params = nets["last"].init(jax.random.key(0), rnn.features(2))
        state, ys = rnn.unroll(body, params[0], XS[:, 0])
        head = lambda h, p=params: h @ p[1]["w"] + p[1]["b"]  # noqa: E731
        close(nets["mean"].apply(params, XS[:, 0]), head(ys.mean(0)))
        close(nets["max"].apply(params, XS[:, 0]), head(ys.max(0)))
        if body.causal:
            close(nets["last"].apply(params, XS[:, 0]), head(ys[-1]))
    bi = rnn.Bidirectional(rnn.GRU(3))
    net = rnn.Pooled(bi, HEAD)
    params = net.init(jax.random.key(0), rnn.features(2))
    state, _ = rnn.unroll(bi, params[0], XS[:, 0])
    close(net.apply(params, XS[:, 0]), jnp.concatenate(state) @ params[1]["w"] + params[1]["b"])


def test_the_largest_of_many_is_nan_where_one_is():
    ys = jnp.ones((6000, 2)).at[4, 1].set(jnp.nan)
    assert pooled.largest(ys, None).tolist()[0] == 1
    assert jnp.isnan(pooled.largest(ys, None)[1])
    assert pooled.largest(ys, (jnp.arange(6000) != 4)[:, None] & jnp.ones(2, bool)).tolist() == [
        1,
        1,
    ]


@pytest.mark.slow
def test_tokens_noise_and_strategies():
    net = rnn.Pooled(rnn.Stack((rnn.Embed(9, 4), rnn.GRU(3))), rnn.Stack((rnn.Dropout(0.5), HEAD)))
    params = net.init(jax.random.key(0), rnn.TOKEN)
    tokens = jnp.arange(20).reshape(5, 4) % 9
    ys = net.apply(params, tokens, mask=MASK)
    close(net.apply(params, tokens, mask=MASK, strategy=rnn.Chunked(2)), ys)
    noisy = [net.apply(params, tokens, mask=MASK, key=jax.random.key(k)) for k in (1, 1, 2)]
    close(noisy[0], noisy[1])
    assert not np.allclose(noisy[0], noisy[2])
    assert not np.allclose(noisy[0], ys)
    close(
        net.apply(params, tokens.reshape(5, 2, 2), mask=MASK.reshape(5, 2, 2)), ys.reshape(2, 2, 3)
    )
    close(net.apply(params, tokens[:0]), jnp.broadcast_to(params[1][1]["b"], (4, 3)))


def test_a_model_is_a_value():
    one, two = (rnn.Pooled(rnn.GRU(3), HEAD) for _ in range(2))
    assert (one, hash(one)) == (two, hash(two))
    assert jax.tree.leaves(one) == []
    assert pickle.loads(pickle.dumps(one)) == one
    params = one.init(jax.random.key(0), rnn.features(2))
    ys = jax.jit(lambda net, p, x: net.apply(p, x))(one, params, XS)
    close(ys, two.apply(params, XS))


def test_a_filler_counts_for_nothing_in_the_objective():
    net = rnn.Pooled(rnn.GRU(3), rnn.Dense(2))
    params = net.init(jax.random.key(0), rnn.features(2))
    rows, labels = [np.asarray(XS[:n, 0]) for n in (2, 5, 4)], np.array([0, 1, 1])
    batch = data.Buckets((rows, labels), batch=4)(0)
    objective = jax.jit(
        jax.value_and_grad(lambda p, b: net.objective(cross_entropy)(p, b, None).mean)
    )
    foul = batch._replace(
        columns=(
            np.where(batch.masks[0][..., None], batch.columns[0], np.nan),
            np.where(batch.rows, batch.columns[1], 99),
        )
    )
    got = objective(params, foul)
    close(got, objective(params, batch))
    by_row = [
        objective(params, Batch(jnp.asarray(r), jnp.int32(k)))
        for r, k in zip(rows, labels, strict=True)
    ]
    close(got, jax.tree.map(lambda *a: sum(a) / 3, *by_row))
    logits = net.predict(params, data.Buckets((rows,), batch=2, buckets=3))
    close(logits, np.stack([net.apply(params, jnp.asarray(r)) for r in rows]))


@pytest.mark.slow
def test_it_learns_which_sign_came_first():
    """Rows of 3 to 12 steps of noise; the class is the sign of the first step."""
    random = np.random.default_rng(0)
    rows = [random.normal(size=(random.integers(3, 13), 1)).astype(np.float32) for _ in range(64)]
    labels = np.array([int(row[0, 0] > 0) for row in rows])
    net = rnn.Pooled(rnn.GRU(8), rnn.Dense(2))
    source = data.Buckets((rows, labels), batch=32, buckets=2)
    tx = training.optimizer(3e-2)
    state = training.TrainState.create(
        None, net.init(jax.random.key(0), rnn.features(1)), tx, jax.random.key(1)
    )
    step = training.make_step(net.objective(cross_entropy), tx)
    for n in range(80):
        state, _ = step(state, source(n))
    assert (net.predict(state.params, source).argmax(-1) == labels).mean() > 0.95


@pytest.mark.parametrize(
    "body",
    [
        rnn.Stack((rnn.Bidirectional(rnn.GRU(3)), rnn.Dense(2))),
        rnn.Residual(rnn.Bidirectional(rnn.GRU(1))),
        rnn.Bidirectional(rnn.Bidirectional(rnn.GRU(2))),
        rnn.Stack((rnn.Bidirectional(rnn.GRU(3)), rnn.CausalConv(2, 2))),
    ],
)
def test_no_last_output_that_has_not_read_everything(body):
    with pytest.raises(ValueError, match=r"Pooled: got pool='last' of .*; need a causal body"):
        rnn.Pooled(body, HEAD)
    rnn.Pooled(body, HEAD, "mean")


def test_what_will_not_do_is_refused():
    with pytest.raises(TypeError, match="as a cell"):
        rnn.Pooled(rnn.GRU, HEAD)
    with pytest.raises(ValueError, match="pool='first'; need one of 'last'"):
        rnn.Pooled(rnn.GRU(3), HEAD, "first")
    for pool in ("last", "mean"):
        with pytest.raises(TypeError, match="the body's output as a tuple"):
            rnn.Pooled(rnn.Bidirectional(rnn.GRU(3), merge="none"), HEAD, pool).init(
                jax.random.key(0), rnn.features(2)
            )
    net = rnn.Pooled(rnn.GRU(3), HEAD)
    with pytest.raises(ValueError, match=r"mask bool\[3, 4\]"):
        net.apply(net.init(jax.random.key(0), rnn.features(2)), XS, mask=MASK[:3])


def test_equal_nets_and_losses_have_one_objective():
    one, two = (rnn.Pooled(rnn.GRU(3), HEAD) for _ in range(2))
    assert one.objective(cross_entropy) is two.objective(cross_entropy)
    assert one.objective(cross_entropy) is not one.objective(training.mse)
    assert one.objective(cross_entropy) is not one.objective(cross_entropy, strategy=rnn.Chunked(2))
