"""Weights that are a function of what is trained: gradients, constraints, how often it is run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn as rnn
from helpers.cells import halved, ring
from helpers.tables import first
from jaxrnn import initializers, training
from jaxrnn.testing import check_cell

KEY = jax.random.key(0)
XS = jax.random.normal(jax.random.key(1), (7, 3, 2))
TRANSFORMS = {
    "dale": rnn.Dale(0.6),
    "masked": rnn.Masked(ring),
    "spectral": rnn.SpectralNorm(0.9, ("w_x", "w_h")),
    "own": halved,
}


def close(got, want, tolerance=1e-5):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance)


def by_hand(name, params):
    w = params["w_h"]
    match name:
        case "dale":
            return {**params, "w_h": jnp.abs(w) * jnp.array([1.0, 1, 1, -1, -1])[:, None]}
        case "masked":
            eye = np.eye(5) + np.roll(np.eye(5), 1, axis=1)
            return {**params, "w_h": w * jnp.asarray(np.tile(eye, 3), w.dtype)}
        case "spectral":
            norm = lambda w: jnp.linalg.svd(w, compute_uv=False)[0]  # noqa: E731
            return {**params, **{n: 0.9 * params[n] / norm(params[n]) for n in ("w_x", "w_h")}}
        case "own":
            return {n: p / 2 for n, p in params.items()}


def shaken(params):
    """Orthogonal weights have one singular value alone, where the norm has no gradient."""
    draw = np.random.default_rng(0)
    move = lambda p: p + jnp.asarray(0.2 * draw.standard_normal(p.shape), p.dtype)  # noqa: E731
    return jax.tree.map(move, params)


@pytest.mark.parametrize("strategy", first(1, [rnn.Chunked(3), rnn.Scan()]), ids=repr)
@pytest.mark.parametrize("name", first(2, TRANSFORMS))
def test_values_and_gradients_are_those_of_params_transformed_by_hand(name, strategy):
    cell = rnn.GRU(5)
    net = rnn.TransformedWeights(cell, TRANSFORMS[name])
    params = shaken(net.init(KEY, rnn.features(2)))
    assert jax.tree.structure(params) == jax.tree.structure(cell.init(KEY, rnn.features(2)))

    def loss(params):
        state, ys = rnn.unroll(net, params, XS, strategy=strategy)
        return jnp.sum(ys**2), state

    def plain(params):
        state, ys = rnn.unroll(cell, by_hand(name, params), XS)
        return jnp.sum(ys**2), (state,)

    got, want = (jax.jit(jax.value_and_grad(f, has_aux=True))(params) for f in (loss, plain))
    close(got, want)


@pytest.mark.slow
def test_the_constraint_holds_after_training():
    connected = rnn.Masked(ring)
    cell = rnn.TransformedWeights(rnn.Elman(10, "relu"), rnn.Dale(0.8))
    net = rnn.TransformedWeights(rnn.Stack((cell, rnn.Dense(1))), connected)
    params = net.init(KEY, rnn.features(2))
    tx = optax.adam(0.1)
    state = tx.init(params)

    @jax.jit
    def gradient(params):
        return jax.value_and_grad(lambda p: jnp.mean((rnn.unroll(net, p, XS)[1] - 1) ** 2))(params)

    losses = []
    for _ in range(20):
        value, grads = gradient(params)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
            updates, state = tx.update(grads, state)
        params = optax.apply_updates(params, updates)
        losses.append(float(value))
    assert losses[-1] < 0.5 * losses[0]
    w = np.asarray(cell.transformed(net.transformed(params)[0])["w_h"])
    assert (w[:8] >= 0).all()
    assert (w[8:] <= 0).all()
    assert not w[~np.asarray(ring(w.shape))].any()
    assert (w != 0).any(1).all(), "no unit has lost what it sends"
    raw = np.asarray(params[0]["w_h"])
    assert (raw[:8] < 0).any(), "what is trained is unconstrained"


def test_the_norm_is_the_bound_however_large_the_weight():
    for scale in (1e-3, 1e3):
        params = {"w_h": scale * jax.random.normal(KEY, (4, 12)), "b": jnp.ones(4)}
        made = rnn.SpectralNorm(0.7)(params)
        np.testing.assert_allclose(np.linalg.norm(made["w_h"], 2), 0.7, rtol=1e-5)
        assert made["b"] is params["b"]
    zero = {"w_h": jnp.zeros((4, 4))}
    close(rnn.SpectralNorm()(zero), zero)
    grads = jax.grad(lambda p: rnn.SpectralNorm()(p)["w_h"].sum())(zero)
    assert np.isfinite(grads["w_h"]).all()


def unlike_orthogonal(w):
    """How far a square matrix, and its determinant, are from those of a rotation."""
    w = np.asarray(w, np.float64)
    return max(np.abs(w.T @ w - np.eye(len(w))).max(), abs(np.linalg.det(w) - 1))


def test_orthogonal_weights_are_rotations_gate_by_gate():
    def gates(w):
        made = rnn.Orthogonal()({"w_h": w, "b": None})
        assert made["w_h"].dtype == w.dtype
        return np.split(np.asarray(made["w_h"], np.float32), 3, axis=1)

    w = jax.random.normal(KEY, (8, 24))
    for scale in (1e-3, 1.0, 10.0):
        assert max(map(unlike_orthogonal, gates(scale * w))) < 1e-5, scale
    assert 1e-5 < max(map(unlike_orthogonal, gates(w.astype(jnp.bfloat16)))) < 0.05
    np.testing.assert_array_equal(gates(jnp.zeros((8, 24))), [np.eye(8)] * 3)
    # Antisymmetric raw weights say the angles: their eigenvalues are i times these.
    keys = jax.random.split(KEY, 3)
    raw = [np.asarray(initializers.Rotations(1.0)(key, (8, 8))) for key in keys]
    for one, turned in zip(raw, gates(jnp.hstack(raw)), strict=True):
        angles = np.sort(np.abs(one[::2, 1::2].diagonal()))
        found = np.sort(np.abs(np.angle(np.linalg.eigvals(turned))))[::2]
        np.testing.assert_allclose(found, angles, atol=1e-5)


@pytest.mark.slow
def test_orthogonal_weights_stay_so_in_training_and_are_differentiated_in_every_mode():
    cell = rnn.TransformedWeights(rnn.Elman(8, "modrelu"), rnn.Orthogonal())
    check_cell(cell, rnn.features(2), laws=(6,))
    params = cell.init(KEY, rnn.features(2))
    tx = training.optimizer(optax.adam(0.1))
    state = training.TrainState.create(cell, params, tx, KEY)
    step = training.bptt_step(cell, training.mse, tx)
    batch, losses = training.Batch(XS, jnp.ones((7, 3, 8))), []
    for _ in range(20):
        state, metrics = step(state, batch)
        losses.append(float(metrics.loss))
    assert losses[-1] < 0.7 * losses[0]
    assert np.abs(state.params["w_h"] - params["w_h"]).max() > 0.1
    assert unlike_orthogonal(cell.transformed(state.params)["w_h"]) < 1e-5


def test_dropped_weights_are_the_same_at_every_step_and_scaled():
    drop = rnn.WeightDrop(0.25)
    cell = rnn.LSTM(64)
    params = cell.init(KEY, rnn.features(2))
    dropped = drop(params, KEY)
    kept = np.asarray(dropped["w_h"] != 0)
    assert 0.7 < kept.mean() < 0.8
    np.testing.assert_allclose(dropped["w_h"][kept], params["w_h"][kept] / 0.75, rtol=1e-6)
    assert all(dropped[name] is params[name] for name in params if name != "w_h")
    assert np.array_equal(drop(params, KEY)["w_h"], dropped["w_h"])
    assert not np.array_equal(drop(params, jax.random.key(1))["w_h"], dropped["w_h"])
    loss = lambda p: (rnn.unroll(cell, drop(p, KEY), XS)[1] ** 2).sum()  # noqa: E731
    grads = jax.jit(jax.grad(loss))(params)
    assert not grads["w_h"][~kept].any()
    assert grads["w_h"][kept].all()
    net = rnn.Stack((rnn.LSTM(8), rnn.LSTM(8)))
    both = drop(net.init(KEY, rnn.features(8)), KEY)
    assert not np.array_equal(both[0]["w_h"] != 0, both[1]["w_h"] != 0), "every leaf draws its own"


def counted(calls):
    """A transform that counts how often it is run, not how often it is traced."""

    def note():
        calls.append(1)
        return np.float32(1)

    def transform(params):
        one = jax.pure_callback(note, jax.ShapeDtypeStruct((), jnp.float32))
        return jax.tree.map(lambda w: w * jax.lax.stop_gradient(one), params)

    return transform


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("inside", [rnn.GRU(4), rnn.Bidirectional(rnn.GRU(4))], ids=repr)
def test_it_is_applied_once_a_sequence(inside, reverse):
    calls = []
    net = rnn.TransformedWeights(inside, counted(calls))
    params = net.init(KEY, rnn.features(2))
    assert not calls
    run = lambda params: rnn.unroll(net, params, XS, reverse=reverse)[1]  # noqa: E731
    jax.block_until_ready(jax.jit(run)(params))
    assert len(calls) == 1
    calls.clear()
    jax.block_until_ready(jax.jit(jax.grad(lambda params: run(params).sum()))(params))
    assert len(calls) == 1


def test_it_is_applied_once_a_chunk_at_the_most_and_once_where_the_user_does():
    calls = []
    net = rnn.TransformedWeights(rnn.GRU(4), counted(calls))
    params = net.init(KEY, rnn.features(2))
    jax.block_until_ready(rnn.unroll(net, params, XS, strategy=rnn.Chunked(3, remat=False)))
    assert len(calls) <= 3, "once a chunk, or once for all of one size where XLA takes it out"
    calls.clear()

    def loss(params):
        weights = net.transformed(params)
        return rnn.unroll(net.cell, weights, XS, strategy=rnn.Chunked(3))[1].sum()

    jax.block_until_ready(jax.jit(jax.grad(loss))(params))
    assert len(calls) == 1


def test_advance_and_trace_see_the_transformed_weights():
    cell = rnn.LSTM(4)
    net = rnn.TransformedWeights(cell, rnn.Dale())
    params = net.init(KEY, rnn.features(2))
    weights = net.transformed(params)
    got = rnn.advance(net, params, net.initial_state(params, (3,)), XS[0])
    state, y = rnn.advance(cell, weights, cell.initial_state(weights, (3,)), XS[0])
    close(got, ((state,), y))
    close(rnn.diagnostics.record(net, params, XS), (rnn.diagnostics.record(cell, weights, XS),))


def test_a_learned_state_is_transformed_too():
    net = rnn.TransformedWeights(rnn.LearnedState(rnn.GRU(4)), halved)
    params = net.init(KEY, rnn.features(2))
    params = {**params, "state": jnp.ones(4)}
    close(net.initial_state(params, (2,)), ((jnp.full((2, 4), 0.5),),))


def test_a_memory_is_bound_to_transformed_weights_beside_raw_ones():
    memory = jax.random.normal(KEY, (6, 3, 5))
    layer = rnn.Attention(4, memory=5)
    net = rnn.TransformedWeights(layer, halved)
    params = net.init(KEY, rnn.features(2))
    bound = net.bind(params, memory)
    assert all(bound[name] is params[name] for name in params)
    want = rnn.unroll(layer, layer.bind(halved(params), memory), XS)[1]
    close(rnn.unroll(net, bound, XS)[1], want)
    close(net.bind(net.bind(params, 2 * memory), memory), bound)
    with pytest.raises(ValueError, match="no memory bound"):
        rnn.unroll(net, params, XS)


def refused(kind, *needles):
    pattern = "".join(f"(?=.*{n})" for n in ("got", "need", *needles))
    return pytest.raises(kind, match="(?s)" + pattern)


@dataclasses.dataclass
class Unhashable:
    def __call__(self, params):
        return params


def test_what_is_refused():
    cell, features = rnn.GRU(4), rnn.features(2)
    with refused(TypeError, "a cell"):
        rnn.TransformedWeights(halved, rnn.Dale())
    for wrong in (None, rnn.Dale, Unhashable()):
        with refused(TypeError, "transform", "function"):
            rnn.TransformedWeights(cell, wrong)
    with refused(TypeError, "WeightDrop", "before the verb"):
        rnn.TransformedWeights(cell, rnn.WeightDrop(0.5))
    with refused(ValueError, "w_q", "w_h", "names"):
        rnn.TransformedWeights(cell, rnn.Dale(names=("w_q",))).init(KEY, features)
    for transform in (rnn.Dale(names=("b",)), rnn.SpectralNorm(names=("b",))):
        with refused(ValueError, r"float32\[12\]", "matrix"):
            rnn.TransformedWeights(cell, transform).init(KEY, features)
    with refused(ValueError, r"\(4, 4\)", r"\(4, 12\)", "tile"):
        rnn.TransformedWeights(cell, rnn.Masked(lambda shape: jnp.eye(4))).init(KEY, features)
    with refused(ValueError, r"\['b'\]", r"bfloat16\[12\]", r"float32\[12\]"):
        narrow = lambda params: jax.tree.map(lambda w: w.astype(jnp.bfloat16), params)  # noqa: E731
        rnn.TransformedWeights(cell, narrow).init(KEY, features)
    with refused(ValueError, "astype"):
        rnn.TransformedWeights(cell, lambda params: {"w_h": params["w_h"]}).init(KEY, features)
    net = rnn.TransformedWeights(cell, rnn.Dale())
    params = net.init(KEY, features)
    with refused(ValueError, r"missing \['w_h'\]", "another cell"):
        rnn.unroll(net, {k: v for k, v in params.items() if k != "w_h"}, XS)
    with refused(ValueError, "feature size"):
        rnn.unroll(net, params, jnp.ones((7, 3, 9)))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: rnn.Dale("most"), TypeError),
        (lambda: rnn.Dale(1.5), ValueError),
        (lambda: rnn.Dale(names="w_h"), TypeError),
        (lambda: rnn.Masked(np.eye(3)), TypeError),
        (lambda: rnn.Masked(ring, ()), TypeError),
        (lambda: rnn.SpectralNorm(0), ValueError),
        (lambda: rnn.SpectralNorm(None), TypeError),
        (lambda: rnn.WeightDrop(1.0), ValueError),
        (lambda: rnn.WeightDrop(0.5, ["w_h"]), TypeError),
    ],
)
def test_wrong_fields_are_refused(make, kind):
    with refused(kind):
        make()


def test_equal_transforms_are_one_to_jit():
    assert rnn.Dale(0.8) == rnn.Dale(0.8)
    traces = []

    def run(cell, params):
        traces.append(cell)
        return rnn.unroll(cell, params, XS)

    run = jax.jit(run)
    params = rnn.GRU(4).init(KEY, rnn.features(2))
    for _ in range(2):
        run(rnn.TransformedWeights(rnn.GRU(4), rnn.Dale(0.8)), params)
    assert len(traces) == 1
