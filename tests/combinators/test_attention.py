"""Attention against NumPy loops written from the papers' equations,
and what holds of a bound memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from test_errors import refused

T, B, S, F, H, M, A = 4, 2, 3, 3, 4, 2, 3
MASK = np.array([[1, 1], [1, 0], [0, 1]], bool)  # [S, B]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def look(p, query, memory, mask, additive):
    """The context [M] and the weights [S] of one query of one row."""
    scores = [
        p["v"] @ np.tanh(query @ p["w_q"] + m @ p["w_k"]) if additive else query @ (m @ p["w_k"])
        for m in memory
    ]
    parts = [np.exp(s) if seen else 0 for s, seen in zip(scores, mask, strict=True)]
    weights = np.stack([part / sum(parts) for part in parts])
    return sum(a * m for a, m in zip(weights, memory, strict=True)), weights


def luong(additive):
    def run(p, memory, xs, mask):
        ys = []
        for x in xs:
            context, _ = look(p, x, memory, mask, additive)
            ys.append(np.tanh(np.concatenate([context, x]) @ p["w_c"] + p["b"]))
        return np.stack(ys)

    return run


def bahdanau_gru(p, memory, xs, mask):
    """Appendix A.2.2, with the context's three matrices side by side, and r * s before the
    candidate's matmul."""
    c, s, ys = p["cell"], 0 * memory[0, :1] + np.zeros(H), []
    for x in xs:
        context, _ = look(p, s, memory, mask, True)
        z = x @ c["w_x"] + c["b"] + context @ p["w_context"]
        r, u = sigmoid(z[:H] + s @ c["w_h"][:, :H]), sigmoid(z[H : 2 * H] + s @ c["w_h"][:, H:])
        s = (1 - u) * np.tanh(z[2 * H :] + (r * s) @ c["w_n"]) + u * s
        ys.append(s)
    return np.stack(ys)


def attending_lstm(p, memory, xs, mask):
    c, h, cell, ys = p["cell"], np.zeros(H), 0.0, []
    for x in xs:
        context, _ = look(p, h, memory, mask, False)
        i, f, g, o = np.split(x @ c["w_x"] + c["b"] + context @ p["w_context"] + h @ c["w_h"], 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(cell)
        ys.append(h)
    return np.stack(ys)


CASES = {
    "multiplicative": (rnn.Attention(H, M), luong(False)),
    "additive": (rnn.Attention(H, M, "additive", A), luong(True)),
    "within a gru": (rnn.AttentionCell(rnn.GRU(H, reset_after=False), M, size=A), bahdanau_gru),
    "within an lstm": (rnn.AttentionCell(rnn.LSTM(H), M, "multiplicative"), attending_lstm),
}


def given(cell, dtype=jnp.float32):
    draw = np.random.default_rng(0)
    params = cell.init(jax.random.key(0), rnn.features(F))
    params = jax.tree.map(
        lambda a: jnp.asarray(np.asarray(a) + 0.3 * draw.standard_normal(a.shape), dtype), params
    )
    memory, xs = (
        jnp.asarray(draw.standard_normal(shape), dtype) for shape in ((S, B, M), (T, B, F))
    )
    return params, memory, xs


def run(cell, params, memory, xs, memory_mask=None, **controls):
    return rnn.unroll(cell, cell.bind(params, memory, memory_mask), xs, **controls)[1]


@pytest.mark.parametrize("name", CASES)
def test_parity(name, x64):
    """Outputs, and all gradients by the complex step."""
    cell, truth = CASES[name]
    inputs = given(cell, jnp.float64)
    probe = np.random.default_rng(1).standard_normal((T, B, H))

    def reference(inputs):
        params, memory, xs = inputs
        return np.stack([truth(params, memory[:, b], xs[:, b], MASK[:, b]) for b in range(B)], 1)

    np.testing.assert_allclose(
        run(cell, *inputs, MASK), reference(jax.tree.map(np.asarray, inputs)), atol=1e-12
    )
    gradient = jax.grad(lambda inputs: jnp.vdot(probe, run(cell, *inputs, MASK)))(inputs)
    leaves, tree = jax.tree.flatten(jax.tree.map(lambda a: np.asarray(a, complex), inputs))
    for leaf, got in zip(leaves, jax.tree.leaves(gradient), strict=True):
        want = np.zeros(leaf.shape)
        for at in np.ndindex(leaf.shape):
            leaf[at] += 1e-30j
            want[at] = np.vdot(probe, reference(jax.tree.unflatten(tree, leaves)).imag) / 1e-30
            leaf[at] = leaf[at].real
        np.testing.assert_allclose(got, want, atol=1e-10)


@pytest.mark.parametrize("name", ["additive", "within an lstm"])
def test_what_lies_under_the_memorys_mask_changes_nothing(name):
    """Not even NaN, in values and gradients; a row that sees nothing has a zero context."""
    cell, _ = CASES[name]
    params, memory, xs = given(cell)
    mask = jnp.asarray(MASK).at[:, 1].set(False)

    @jax.jit
    def seen(params, memory, xs):
        ys = run(cell, params, memory, xs, mask)
        return ys, jax.grad(lambda *inputs: jnp.sum(jnp.sin(run(cell, *inputs, mask))), (0, 1, 2))(
            params, memory, xs
        )

    clean = seen(params, memory, xs)
    dirty = seen(params, jnp.where(mask[..., None], memory, jnp.nan), xs)
    jax.tree.map(np.testing.assert_array_equal, clean, dirty)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(clean))
    assert not np.asarray(clean[1][1])[~np.asarray(mask)].any()
    zero = run(cell, params, jnp.zeros_like(memory), xs)
    np.testing.assert_allclose(clean[0][:, 1], zero[:, 1], atol=1e-6)


@pytest.mark.parametrize("name", first(0, ["within a gru", "multiplicative", "additive"]))
def test_rows_beams_and_strategies(name):
    """A bound batch is its rows; axes after the memory's batch share it; time may be cut; the
    target's mask is the target's alone."""
    cell, _ = CASES[name]
    params, memory, xs = given(cell)
    mask = jnp.array([[1, 1], [1, 0], [0, 1], [1, 0]], bool)
    want = run(cell, params, memory, xs, jnp.asarray(MASK))
    rows = jax.vmap(lambda memory, m, xs: run(cell, params, memory, xs, m), 1, 1)(
        memory, jnp.asarray(MASK), xs
    )
    np.testing.assert_allclose(rows, want, atol=1e-6)
    beams = jnp.stack([xs, xs[::-1], 2 * xs], 2)  # [T, B, K, F]
    got = run(cell, params, memory, beams, jnp.asarray(MASK))
    alone = jnp.stack(
        [run(cell, params, memory, beams[:, :, k], jnp.asarray(MASK)) for k in range(3)], 2
    )
    np.testing.assert_allclose(got, alone, atol=1e-6)
    shared = run(cell, params, memory[:, 0], xs, jnp.asarray(MASK[:, 0]))
    np.testing.assert_allclose(shared[:, 0], want[:, 0], atol=1e-6)

    def total(params, memory, xs, strategy, mask):
        return jnp.sum(
            jnp.sin(run(cell, params, memory, xs, jnp.asarray(MASK), strategy=strategy, mask=mask))
        )

    gradients = [
        jax.jit(jax.grad(total, (0, 1, 2)), static_argnums=3)(params, memory, xs, s, mask)
        for s in (rnn.Scan(), rnn.Chunked(3))
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *gradients)
    dirty = total(params, memory, jnp.where(mask[..., None], xs, jnp.nan), rnn.Scan(), mask)
    np.testing.assert_allclose(dirty, total(params, memory, xs, rnn.Scan(), mask), atol=1e-6)


def test_beams_do_not_copy_the_memory():
    cell, _ = CASES["multiplicative"]
    params, _, xs = given(cell)
    beams = jnp.broadcast_to(xs[:, :, None], (T, B, 50, F))
    compiled = (
        jax.jit(lambda *a: run(cell, *a)).lower(params, jnp.ones((200, B, M)), beams).compile()
    )
    for copy in (f"{B},50,200,{M}", f"{B * 50},200,{M}"):
        assert copy not in compiled.as_text()


def test_bind_reaches_the_cells_that_look():
    net = rnn.Stack(
        (
            rnn.LearnedState(rnn.Zoneout(rnn.AttentionCell(rnn.LSTM(H), M), 0.1)),
            rnn.Residual(rnn.GRU(H)),
            rnn.Attention(H, M),
        )
    )
    params = net.init(jax.random.key(0), rnn.features(F))
    bound = net.bind(params, jnp.ones((S, B, M)))
    assert (net.takes_memory, rnn.LSTM(3).takes_memory) == (True, False)
    assert bound[1] is params[1]
    assert all("bound" in part for part in (bound[0]["cell"], bound[2]))
    assert jax.tree.structure(net.bind(bound, jnp.ones((S, B, M)))) == jax.tree.structure(bound)
    _, ys = rnn.unroll(
        net, bound, jnp.ones((T, B, F)), key=jax.random.key(1), resets=jnp.ones((T, B), bool)
    )
    assert ys.shape == (T, B, H)
    assert np.isfinite(ys).all()
    seen = rnn.diagnostics.record(net, bound, jnp.ones((T, B, F)))
    assert seen[0][0].gates.attention.shape == (T, B, S)
    assert seen[0][0].gates.cell.f.shape == (T, B, H)
    assert seen[2].gates.attention.shape == (T, B, S)
    np.testing.assert_allclose(
        seen[2].gates.attention,
        net.cells[2].weights(bound[2], seen[1][0].ys + seen[0][0].ys),
        atol=1e-6,
    )
    np.testing.assert_allclose(seen[2].gates.attention.sum(-1), 1, atol=1e-6)
    assert rnn.LSTM(3).bind({"a": 1}, None) == {"a": 1}


def test_traced_attention_is_what_the_step_saw():
    cell, _ = CASES["within an lstm"]
    params, memory, xs = given(cell)
    _, weights = look(
        jax.tree.map(np.asarray, params), np.zeros(H), memory[:, 1], MASK[:, 1], False
    )
    gates = rnn.diagnostics.record(cell, cell.bind(params, memory, MASK), xs).gates
    np.testing.assert_allclose(gates.attention[0, 1], weights, atol=1e-6)


def test_errors():
    cell, net = rnn.Attention(H, M), rnn.Stack((rnn.LSTM(H), rnn.Attention(H, M)))
    params, memory, xs = given(cell)
    with refused(ValueError, "no memory bound", "net.bind", cell=cell):
        rnn.unroll(cell, params, xs)
    with refused(ValueError, "no memory bound", "net.bind", cell=cell):
        rnn.unroll(net, net.init(jax.random.key(0), rnn.features(F)), xs)
    with refused(ValueError, "no memory bound", cell=cell):
        cell.weights(params, xs)
    with refused(
        ValueError, "no memory bound", cell=rnn.Zoneout(rnn.AttentionCell(rnn.LSTM(H), M), 0.1)
    ):
        wrapped = rnn.Zoneout(rnn.AttentionCell(rnn.LSTM(H), M), 0.1)
        rnn.unroll(wrapped, wrapped.init(jax.random.key(0), rnn.features(F)), xs)
    with refused(ValueError, r"\(2,\)", r"\(5,\)", "beams", cell=cell):
        run(cell, params, memory, jnp.ones((T, 5, F)))
    with refused(ValueError, r"float32\[3, 2, 5\]", "memory=2", "Bidirectional", cell=cell):
        cell.bind(params, jnp.ones((S, B, 5)))
    with refused(TypeError, "floating", cell=cell):
        cell.bind(params, jnp.ones((S, B, M), int))
    with refused(ValueError, r"mask bool\[2, 3\]", cell=cell):
        cell.bind(params, memory, MASK.T)
    with refused(ValueError, "size=None", cell=None):
        rnn.Attention(H, M, "multiplicative", 3)
    with refused(ValueError, "dot", "additive", cell=None):
        rnn.Attention(H, M, "dot")
    with refused(TypeError, "recurrent cell", cell=None):
        rnn.AttentionCell(net, M)
    with refused(ValueError, "Zoneout", cell=None):
        rnn.AttentionCell(rnn.RecurrentDropout(rnn.LSTM(H), 0.1), M).init(
            jax.random.key(0), rnn.features(F)
        )
    with refused(ValueError, "memory=0", cell=None):
        rnn.AttentionCell(rnn.LSTM(H), 0)
