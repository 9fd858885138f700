"""How weights begin."""

import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from jaxrnn import draws, initializers

KEY = jax.random.key(0)
radius_of = jax.jit(initializers.spectral_radius)


def largest(w):
    return np.abs(np.linalg.eigvals(np.asarray(w, np.float64))).max()


@pytest.mark.parametrize(("rows", "columns"), [(6, 6), (3, 6), (6, 3)])
def test_orthogonal_gate_by_gate(rows, columns):
    w = np.asarray(initializers.orthogonal(KEY, rows, columns, 4))
    blocks = np.split(w, 4, axis=1)
    for block in blocks:
        square = block.T @ block if rows >= columns else block @ block.T
        np.testing.assert_allclose(square, np.eye(min(rows, columns)), atol=1e-5)
    assert not np.allclose(blocks[0], blocks[1])


def test_glorot_gate_by_gate():
    w = np.asarray(initializers.glorot(KEY, 30, 50, 4))
    assert w.shape == (30, 200)
    for block in np.split(w, 4, axis=1):
        assert 0.95 * (6 / 80) ** 0.5 < np.abs(block).max() <= (6 / 80) ** 0.5


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_host_draws_what_jax_random_draws(dtype):
    """Two implementations of one stream: were JAX's to change, an initialisation under jit would
    differ from one without."""
    with jax.enable_x64(dtype == jnp.float64):
        keys, tolerance = jax.random.split(KEY, 3), 100 * jnp.finfo(dtype).eps
        words = np.stack([draws.words(key) for key in keys])
        np.testing.assert_array_equal(
            draws.split(words, 4),
            jax.random.key_data(jax.vmap(partial(jax.random.split, num=4))(keys)),
        )
        for made, key in zip(initializers.split(KEY, 5), jax.random.split(KEY, 5), strict=True):
            assert made == key
            assert made.dtype == key.dtype
        ours = draws.uniform(words, (5, 6), dtype, -2, 3)
        np.testing.assert_array_equal(
            ours, jax.vmap(lambda k: jax.random.uniform(k, (5, 6), dtype, -2, 3))(keys)
        )
        ours = draws.normal(words, (50, 60), dtype)
        np.testing.assert_allclose(
            ours,
            jax.vmap(lambda k: jax.random.normal(k, (50, 60), dtype))(keys),
            tolerance,
            tolerance,
        )


@pytest.mark.parametrize("shape", [(7, 7), (4, 7), (7, 4)])
@pytest.mark.parametrize("make", [initializers.glorot, initializers.orthogonal])
def test_gates_are_the_same_under_jit(make, shape):
    def draw(key):
        return make(key, *shape, 3)

    np.testing.assert_allclose(draw(KEY), jax.jit(draw)(KEY), atol=1e-5)


def test_what_is_drawn_where():
    assert draws.on_host(KEY, 10, jnp.float32)
    assert draws.on_host(jax.random.PRNGKey(0), 10, jnp.float32)
    assert not draws.on_host(KEY, 2**21, jnp.float32)
    assert not draws.on_host(KEY, 10, jnp.float64)  # x64 is off
    assert not draws.on_host(jax.random.key(0, impl="rbg"), 10, jnp.float32)
    assert not draws.on_host(jax.random.split(KEY), 10, jnp.float32)
    jax.vmap(lambda key: pytest.fail("a tracer") if draws.on_host(key, 10, jnp.float32) else key)(
        jax.random.split(KEY)
    )


def test_an_initialisation_is_the_same_in_every_transformation():
    cell, x, keys = rnn.LSTM(6, projection=4), rnn.features(3), jax.random.split(KEY, 2)
    each = [cell.init(key, x) for key in keys]
    with jax.disable_jit():
        slow = cell.init(keys[0], x)
    shapes = jax.eval_shape(cell.init, KEY, x)
    for name, leaf in each[0].items():
        assert (leaf.shape, leaf.dtype) == (shapes[name].shape, shapes[name].dtype)
        np.testing.assert_allclose(slow[name], leaf, atol=1e-5)
    together = jax.vmap(lambda key: cell.init(key, x))(keys)
    jitted = jax.jit(lambda key: cell.init(key, x))(keys[1])
    last = keys[1]  # which the traced function closes over
    closed = jax.jit(lambda: cell.init(last, x))()
    for name, leaf in each[1].items():
        np.testing.assert_allclose(closed[name], leaf, atol=1e-5)
        np.testing.assert_allclose(together[name][1], leaf, atol=1e-5)
        np.testing.assert_allclose(jitted[name], leaf, atol=1e-5)


@pytest.mark.parametrize("cell", [rnn.LSTM(4), rnn.PeepholeLSTM(4), rnn.LayerNormLSTM(4)], ids=repr)
def test_forget_bias(cell):
    assert cell.init(KEY, rnn.features(2))["b"].tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8


def test_recurrent_weights_begin_orthogonal():
    for cell, names in (
        (rnn.LSTM(4), ("w_h",)),
        (rnn.GRU(4), ("w_h",)),
        (rnn.GRU(4, reset_after=False), ("w_h", "w_n")),
        (rnn.Elman(4), ("w_h",)),
    ):
        params = cell.init(KEY, rnn.features(2))
        for block in np.split(
            np.concatenate([params[name] for name in names], axis=1),
            3 if isinstance(cell, rnn.GRU) else 1,
            axis=1,
        ):
            for gate in np.split(block, block.shape[1] // 4, axis=1):
                np.testing.assert_allclose(gate.T @ gate, np.eye(4), atol=1e-5)


def test_identity_keeps_the_state():
    """The IRNN: relu units under the identity keep a state that no input touches."""
    cell = rnn.Elman(4, activation="relu", identity=True)
    params = cell.init(KEY, rnn.features(3))
    np.testing.assert_array_equal(params["w_h"], np.eye(4))
    assert 0 < np.abs(params["w_x"]).max() < 0.01
    state = jnp.array([0.0, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(
        rnn.unroll(cell, params, jnp.zeros((20, 3)), state=state)[0], state
    )


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_spectral_radius(density):
    """Against the eigenvalues of many matrices, most with complex pairs on the rim; so `vmap` is
    tried too."""
    kw, kd = jax.random.split(KEY)
    w = jnp.where(
        jax.random.bernoulli(kd, density, (20, 30, 30)), jax.random.normal(kw, (20, 30, 30)), 0
    )
    scaled = jax.jit(jax.vmap(initializers.spectral_radius, (0, None)))(w, 0.9)
    np.testing.assert_allclose([largest(one) for one in scaled], 0.9, rtol=1e-4)


def test_spectral_radius_by_hand():
    turn = jnp.array([[0.0, -3.0], [3.0, 0.0]])
    np.testing.assert_allclose(radius_of(turn, 0.5), turn / 6, rtol=1e-5)
    np.testing.assert_allclose(
        radius_of(jnp.diag(jnp.array([-4.0, 1.0])), 1.0), np.diag([-1, 0.25]), rtol=1e-5
    )
    for nilpotent in (jnp.zeros((2, 2)), jnp.array([[0.0, 5.0], [0.0, 0.0]])):
        np.testing.assert_array_equal(radius_of(nilpotent, 0.9), nilpotent)


def test_reservoir_radius():
    cell = rnn.EchoState(50, spectral_radius=1.1, density=0.2, input_scale=0.3)
    fixed = cell.init(KEY, rnn.features(2))["fixed"]
    np.testing.assert_allclose(largest(fixed["w_h"]), 1.1, rtol=1e-4)
    assert 0.15 < float((fixed["w_h"] != 0).mean()) < 0.25
    assert 0.2 < float(jnp.abs(fixed["w_x"]).max()) <= 0.3


def test_identity_and_radius_are_those_of_a_gate():
    """Square weights, gate by gate, by initializers that are values."""
    cell = rnn.GRU(20, w_h_init=initializers.Identity(0.5))
    for gate in np.split(cell.init(KEY, 3)["w_h"], 3, axis=1):
        np.testing.assert_array_equal(gate, 0.5 * np.eye(20))
    uniform = jax.nn.initializers.uniform(1.0)
    for init in (initializers.SpectralRadius(1.5), initializers.SpectralRadius(1.5, uniform)):
        w = rnn.GRU(20, w_h_init=init).init(KEY, 3)["w_h"]
        assert (w.min() >= 0) == (init.init is uniform)
        gates = np.split(np.asarray(w), 3, axis=1)
        np.testing.assert_allclose([largest(gate) for gate in gates], 1.5, rtol=1e-4)


def test_rotations_are_antisymmetric_blocks():
    w = np.asarray(initializers.Rotations(0.5)(KEY, (2001, 2001)))
    np.testing.assert_array_equal(w, -w.T)
    angles = w[:-1:2, 1::2].diagonal()
    assert np.count_nonzero(w) == 2 * len(angles) == 2000
    assert uniformly(angles, -0.5, 0.5)


def uniformly(x, low, high):
    """Kolmogorov and Smirnov's distance to the uniform distribution is that of about a draw."""
    shares = (np.sort(x) - low) / (high - low)
    return np.abs(shares - (np.arange(len(x)) + 0.5) / len(x)).max() < 1.5 / len(x) ** 0.5


CHRONO = initializers.Chrono(200.0)


def test_chrono_draws_times_uniformly():
    """A gate that keeps begins as log U(1, t_max - 1), its input gate with the opposite."""
    i, f, n = np.split(np.asarray(rnn.MinLSTM(4000, b_init=CHRONO).init(KEY, 3)["b"]), 3)
    assert uniformly(np.exp(f), 1, 199)
    assert not uniformly(np.exp(f), 1, 190), "the test sees another range"
    np.testing.assert_array_equal(i, -f)
    assert not n.any()
    other = rnn.MinLSTM(4000, b_init=CHRONO).init(jax.random.key(1), 3)["b"]
    assert not np.array_equal(other[4000:8000], f)
    i, f, g, o = np.split(np.asarray(rnn.LSTM(8, b_init=CHRONO).init(KEY, 3)["b"]), 4)
    np.testing.assert_array_equal(i, -f)
    assert f.all()
    assert not g.any()
    assert not o.any()


KEEPING = [
    *(rnn.LSTM, rnn.GRU, rnn.MinGRU, rnn.PeepholeLSTM, rnn.LayerNormLSTM, rnn.DiagonalLSTM),
    *(rnn.MinLSTM, rnn.LayerNormGRU, rnn.DiagonalGRU),
]


@pytest.mark.parametrize("kind", first(3, KEEPING))
def test_chrono_makes_states_fade_with_its_times(kind):
    """Where nothing but biases acts, a state is multiplied by 1 - 1 / time at each step."""
    cell = kind(50, b_init=CHRONO)
    params = {name: leaf if name == "b" else 0 * leaf for name, leaf in cell.init(KEY, 3).items()}
    state = jax.tree.map(jnp.ones_like, cell.initial_state(params))
    new, _ = rnn.advance(cell, params, state, jnp.zeros(3))
    fading = np.asarray(jax.tree.leaves(new)[-1], np.float64)  # the c of (h, c)
    times = 1 / (1 - fading)
    assert 2 < times.min() < 30
    assert 170 < times.max() < 200
    bias = np.abs(params["b"]).reshape(-1, 50).max(0)
    np.testing.assert_allclose(times, 1 + np.exp(bias), rtol=1e-3)


def test_initializers_are_values():
    made = (
        initializers.Identity,
        initializers.SpectralRadius,
        initializers.Rotations,
        lambda: initializers.Chrono(9),
    )
    for make in made:
        assert make() == make()
        assert hash(make()) == hash(make())
        assert pickle.loads(pickle.dumps(make())) == make()
    assert repr(rnn.GRU(3, b_init=initializers.Chrono(9))).endswith("b_init=Chrono(t_max=9))")
    init = jax.jit(lambda cell: cell.init(KEY, 3), static_argnums=0)
    for _ in range(2):
        params = init(rnn.GRU(3, w_h_init=initializers.Identity(), b_init=initializers.Chrono(9)))
    assert init._cache_size() == 1
    with jax.enable_x64(True):
        wide = rnn.LSTM(3, w_h_init=initializers.SpectralRadius(), b_init=CHRONO)
        leaves = jax.tree.leaves(wide.init(KEY, rnn.features(2, dtype=jnp.float64)))
    assert {leaf.dtype for leaf in leaves} == {np.dtype("float64")}
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}


def test_linear_cells_begin_as_their_papers_say():
    x = rnn.features(5)
    p = rnn.LRU(400, r_min=0.8, r_max=0.9, max_phase=1.0).init(KEY, x)
    radius = np.exp(-np.exp(p["nu"]))
    assert 0.8 < radius.min() < 0.81 < 0.89 < radius.max() < 0.9
    # Uniform in the square.
    np.testing.assert_allclose(np.mean(radius**2), (0.64 + 0.81) / 2, atol=0.01)
    assert np.exp(p["theta"]).max() < 1
    np.testing.assert_allclose(np.exp(p["gamma"]) ** 2 + radius**2, 1, rtol=1e-5)

    p = rnn.S5(8, blocks=2).init(KEY, x)
    n = np.arange(8)
    legs = -np.tril(np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), -1) - np.diag(n + 1.0)
    normal = np.linalg.eigvals(legs + np.outer(np.sqrt(n + 0.5), np.sqrt(n + 0.5)))
    upper = np.sort(normal.imag[normal.imag > 0])
    np.testing.assert_allclose(
        np.sort(np.asarray(p["l_im"]).reshape(2, 4)), [upper, upper], rtol=1e-4
    )
    np.testing.assert_allclose(p["l_re"], -0.5, rtol=1e-5)
    assert np.log(1e-3) <= p["log_step"].min() <= p["log_step"].max() <= np.log(1e-1)

    decay = jax.nn.sigmoid(rnn.RGLRU().init(KEY, rnn.features(400))["decay"]) ** 8
    assert 0.9 < decay.min() < 0.905 < 0.994 < decay.max() < 0.999
    p = rnn.S6(4).init(KEY, rnn.features(400))
    step = jax.nn.softplus(p["b"])
    assert 0.99e-3 < step.min() < 1.1e-3 < 0.09 < step.max() < 0.101
    np.testing.assert_allclose(np.exp(p["log_a"]), np.tile([1, 2, 3, 4], (400, 1)), rtol=1e-5)


def test_what_white_noise_makes_of_an_lru_has_one_variance():
    cell = rnn.LRU(200, r_min=0.5, r_max=0.99)
    params = cell.init(KEY, rnn.features(8))
    state, _ = rnn.unroll(cell, params, jax.random.normal(KEY, (2000, 50, 8)))
    power = np.mean(state.re**2 + state.im**2, axis=0)
    assert abs(np.mean(power) - 1) < 0.1
    assert abs(np.corrcoef(np.exp(params["nu"]), power)[0, 1]) < 0.3
