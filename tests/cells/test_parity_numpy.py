"""Every recurrent cell against a plain NumPy loop written from its equations: outputs, states and
every gradient.

The reference's gradient is the complex step, `imag f(x + i h) / h` with h = 1e-30 in each
coordinate: exact to the last bits, and it knows nothing of any autodiff.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import jaxrnn as rnn
from helpers.tables import first as first_of

T, B, F, H = 5, 2, 3, 4


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.where(x.real > 0, x, 0)


def norm(x):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)


def part(a, k):
    """The k-th block of H columns."""
    return a[..., k * H : (k + 1) * H]


def elman(p, h, x):
    return np.tanh(x @ p["w_x"] + h @ p["w_h"] + p["b"])


def elman_relu(p, h, x):
    return relu(x @ p["w_x"] + h @ p["w_h"] + p["b"])


def lstm_gates(p, state, x):
    i, f, g, o = (
        x @ part(p["w_x"], k) + state[0] @ part(p["w_h"], k) + part(p["b"], k) for k in range(4)
    )
    return sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)


def lstm(p, state, x):
    i, f, g, o = lstm_gates(p, state, x)
    c = f * state[1] + i * g
    return o * np.tanh(c), c


def lstm_projected(p, state, x):
    h, c = lstm(p, state, x)
    return h @ p["w_p"], c


def peephole_gates(p, state, x):
    h, c = state
    i, f, g, o = (x @ part(p["w_x"], k) + h @ part(p["w_h"], k) + part(p["b"], k) for k in range(4))
    i, f, g = sigmoid(i + part(p["p"], 0) * c), sigmoid(f + part(p["p"], 1) * c), np.tanh(g)
    return i, f, g, sigmoid(o + part(p["p"], 2) * (f * c + i * g))


def peephole(p, state, x):
    i, f, g, o = peephole_gates(p, state, x)
    c = f * state[1] + i * g
    return o * np.tanh(c), c


def gru_after_gates(p, h, x):
    r, z = (
        sigmoid(x @ part(p["w_x"], k) + h @ part(p["w_h"], k) + part(p["b"], k)) for k in range(2)
    )
    return (
        r,
        z,
        np.tanh(x @ part(p["w_x"], 2) + part(p["b"], 2) + r * (h @ part(p["w_h"], 2) + p["b_n"])),
    )


def gru_after(p, h, x):
    _, z, n = gru_after_gates(p, h, x)
    return (1 - z) * n + z * h


def gru_before_gates(p, h, x):
    r, z = (
        sigmoid(x @ part(p["w_x"], k) + h @ part(p["w_h"], k) + part(p["b"], k)) for k in range(2)
    )
    return r, z, np.tanh(x @ part(p["w_x"], 2) + part(p["b"], 2) + (r * h) @ p["w_n"])


def gru_before(p, h, x):
    _, z, n = gru_before_gates(p, h, x)
    return (1 - z) * n + z * h


def echo_state(p, h, x):
    p = p["fixed"]
    return (1 - p["leak"]) * h + p["leak"] * np.tanh(x @ p["w_x"] + h @ p["w_h"] + p["b"])


def norm_lstm_gates(p, state, x):
    z = norm(x @ p["w_x"]) * p["scale_x"] + norm(state[0] @ p["w_h"]) * p["scale_h"] + p["b"]
    return sigmoid(part(z, 0)), sigmoid(part(z, 1)), np.tanh(part(z, 2)), sigmoid(part(z, 3))


def norm_lstm(p, state, x):
    i, f, g, o = norm_lstm_gates(p, state, x)
    c = f * state[1] + i * g
    return o * np.tanh(norm(c) * p["scale_c"] + p["b_c"]), c


def norm_gru_gates(p, h, x):
    zx, zh = x @ p["w_x"], h @ p["w_h"]
    gates = (
        norm(zx[..., : 2 * H]) * p["scale_x"][: 2 * H]
        + norm(zh[..., : 2 * H]) * p["scale_h"][: 2 * H]
        + p["b"][: 2 * H]
    )
    r, z = sigmoid(part(gates, 0)), sigmoid(part(gates, 1))
    recurrent = norm(part(zh, 2)) * part(p["scale_h"], 2) + p["b_n"]
    return (
        r,
        z,
        np.tanh(norm(part(zx, 2)) * part(p["scale_x"], 2) + part(p["b"], 2) + r * recurrent),
    )


def norm_gru(p, h, x):
    _, z, n = norm_gru_gates(p, h, x)
    return (1 - z) * n + z * h


def diagonal_gru_gates(p, h, x):
    r, z = (
        sigmoid(x @ part(p["w_x"], k) + part(p["w_h"], k) * h + part(p["b"], k)) for k in range(2)
    )
    return r, z, np.tanh(x @ part(p["w_x"], 2) + part(p["w_h"], 2) * r * h + part(p["b"], 2))


def diagonal_gru(p, h, x):
    _, z, n = diagonal_gru_gates(p, h, x)
    return (1 - z) * n + z * h


def diagonal_lstm_gates(p, state, x):
    h, c = state
    f, g, o = (x @ part(p["w_x"], k) + part(p["w_h"], k) * h + part(p["b"], k) for k in range(3))
    f, g = sigmoid(f + part(p["p"], 0) * c), np.tanh(g)
    return f, g, sigmoid(o + part(p["p"], 1) * (f * c + (1 - f) * g))


def diagonal_lstm(p, state, x):
    f, g, o = diagonal_lstm_gates(p, state, x)
    c = f * state[1] + (1 - f) * g
    return o * np.tanh(c), c


def times(a, b):
    """Complex numbers as pairs: the complex step needs the imaginary part for itself."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def polar(size, phase):
    return size * np.cos(phase), size * np.sin(phase)


def lru_transition(p):
    return polar(np.exp(-np.exp(p["nu"])), np.exp(p["theta"])), (np.exp(p["gamma"]), 0)


def s5_transition(p):
    step, square = np.exp(p["log_step"]), p["l_re"] ** 2 + p["l_im"] ** 2
    a = polar(np.exp(p["l_re"] * step), p["l_im"] * step)
    return a, times((a[0] - 1, a[1]), (p["l_re"] / square, -p["l_im"] / square))


def complex_diagonal(transition):
    def step(p, state, x):
        a, gain = transition(p)
        size = p["d"].shape[0]
        u = x @ p["w_x"]
        old, new = times(a, state), times(gain, (u[..., :size], u[..., size:]))
        return old[0] + new[0], old[1] + new[1]

    return step


def complex_readout(p, state, x):
    return np.concatenate(state, axis=-1) @ p["w_y"] + p["d"] * x


def mingru(p, h, x):
    z, n = (x @ part(p["w_x"], k) + part(p["b"], k) for k in range(2))
    return (1 - sigmoid(z)) * h + sigmoid(z) * n


def minlstm(p, h, x):
    i, f, n = (x @ part(p["w_x"], k) + part(p["b"], k) for k in range(3))
    i, f = sigmoid(i), sigmoid(f)
    return f / (f + i) * h + i / (f + i) * n


def rg_lru(p, h, x):
    gates = sigmoid(x @ p["w_x"] + p["b"])
    a = sigmoid(p["decay"]) ** (8 * gates[..., :F])
    return a * h + np.sqrt(1 - a * a) * gates[..., F:] * x


def selective(p, h, x):
    rank, states = p["w_step"].shape[0], p["log_a"].shape[1]
    z = x @ p["w_x"]
    step = np.log(1 + np.exp(z[..., :rank] @ p["w_step"] + p["b"]))
    return (
        np.exp(-step[..., None] * np.exp(p["log_a"])) * h
        + (step * x)[..., None] * z[..., None, rank : rank + states]
    )


def selective_readout(p, h, x):
    read = (x @ p["w_x"])[..., p["w_step"].shape[0] + p["log_a"].shape[1] :]
    return (h * read[..., None, :]).sum(-1) + p["d"] * x


def antisymmetric(p, h, x):
    matrix = p["w_h"] - p["w_h"].T - p["fixed"]["gamma"] * np.eye(H)
    return h + p["fixed"]["eps"] * np.tanh(x @ p["w_x"] + h @ matrix + p["b"])


def antisymmetric_gated(p, h, x):
    a = h @ (p["w_h"] - p["w_h"].T - p["fixed"]["gamma"] * np.eye(H))
    n, z = (x @ part(p["w_x"], k) + a + part(p["b"], k) for k in range(2))
    return h + p["fixed"]["eps"] * sigmoid(z) * np.tanh(n)


def independent(p, h, x):
    return relu(x @ p["w_x"] + p["w_h"] * h + p["b"])


def oscillatory(p, state, x):
    (y, z), fixed = state, p["fixed"]
    force = np.tanh(x @ p["w_x"] + y @ p["w_y"] + z @ p["w_z"] + p["b"])
    z = z + fixed["dt"] * (force - fixed["gamma"] * y - fixed["epsilon"] * z)
    return y + fixed["dt"] * z, z


def orthogonal(p, state, x):
    u = x @ p["w_x"] + state[0] @ scipy.linalg.expm((p["w_h"] - p["w_h"].T) / 2)
    sign = np.sign(u.real)
    return (sign * relu(sign * u + p["b"]),)


def first(p, state, x):
    """The output of most cells: the state, or its first part."""
    return state[0] if isinstance(state, tuple) else state


CASES = {
    "elman": (rnn.Elman(H), elman),
    "elman relu": (rnn.Elman(H, "relu", identity=True), elman_relu),
    "lstm": (rnn.LSTM(H), lstm),
    "lstm projected": (rnn.LSTM(H, projection=2), lstm_projected),
    "peephole": (rnn.PeepholeLSTM(H), peephole),
    "gru after": (rnn.GRU(H), gru_after),
    "gru before": (rnn.GRU(H, reset_after=False), gru_before),
    "echo state": (rnn.EchoState(H, leak=0.3), echo_state),
    "layer-norm lstm": (rnn.LayerNormLSTM(H), norm_lstm),
    "layer-norm gru": (rnn.LayerNormGRU(H), norm_gru),
    "diagonal gru": (rnn.DiagonalGRU(H), diagonal_gru),
    "diagonal lstm": (rnn.DiagonalLSTM(H), diagonal_lstm),
    "lru": (rnn.LRU(F), complex_diagonal(lru_transition)),
    "s5": (rnn.S5(F), complex_diagonal(s5_transition)),
    "mingru": (rnn.MinGRU(H), mingru),
    "minlstm": (rnn.MinLSTM(H), minlstm),
    "rg-lru": (rnn.RGLRU(), rg_lru),
    "selective": (rnn.S6(2), selective),
    "antisymmetric": (rnn.AntisymmetricRNN(H), antisymmetric),
    "antisymmetric gated": (rnn.AntisymmetricRNN(H, gated=True), antisymmetric_gated),
    "independent": (rnn.IndRNN(H), independent),
    "oscillatory": (rnn.CoRNN(H), oscillatory),
    "orthogonal": (rnn.TransformedWeights(rnn.Elman(H, "modrelu"), rnn.Orthogonal()), orthogonal),
}

READOUTS = {"lru": complex_readout, "s5": complex_readout, "selective": selective_readout}

GATES = {
    "lstm": ("ifgo", lstm_gates),
    "lstm projected": ("ifgo", lstm_gates),
    "peephole": ("ifgo", peephole_gates),
    "gru after": ("rzn", gru_after_gates),
    "gru before": ("rzn", gru_before_gates),
    "layer-norm lstm": ("ifgo", norm_lstm_gates),
    "layer-norm gru": ("rzn", norm_gru_gates),
    "diagonal gru": ("rzn", diagonal_gru_gates),
    "diagonal lstm": ("fgo", diagonal_lstm_gates),
}


def run(step, readout, params, state, xs):
    """The loop: the last state's leaves, and all outputs."""
    ys = []
    for x in xs:
        state = step(params, state, x)
        ys.append(readout(params, state, x))
    return list(state) if isinstance(state, tuple) else [state], np.stack(ys)


def example(cell, dtype):
    """Random params, state and inputs, and weights for a loss over all results."""
    rng = np.random.default_rng(0)

    def fill(tree):
        return jax.tree.map(lambda a: (0.4 * rng.normal(size=a.shape)).astype(dtype), tree)

    params = jax.eval_shape(
        lambda key: cell.init(key, rnn.features(F, dtype=dtype)),
        jax.eval_shape(lambda: jax.random.key(0)),
    )
    assert {a.dtype for a in jax.tree.leaves(params)} == {np.dtype(dtype)}
    params = fill(params)
    state = fill(jax.eval_shape(lambda p: cell.initial_state(p, (B,)), params))
    inputs = params, state, fill(np.empty((T, B, F)))
    outputs = jax.eval_shape(
        lambda params, state, xs: rnn.unroll(cell, params, xs, state=state)[1], *inputs
    )
    return inputs, fill((jax.tree.leaves(state), outputs))


def reference(step, readout, inputs, weights):
    """Results in float64, and the loss's gradient by the complex step."""
    inputs = jax.tree.map(lambda a: np.asarray(a, np.float64), inputs)
    leaves, tree = jax.tree.flatten(inputs)

    def loss(leaves):
        params, state, xs = jax.tree.unflatten(tree, leaves)
        results = run(step, readout, params, state, xs)
        return sum(
            (np.asarray(w, np.float64) * a).sum()
            for w, a in zip(jax.tree.leaves(weights), jax.tree.leaves(results), strict=True)
        )

    grads = []
    for k, leaf in enumerate(leaves):
        grad = np.zeros(leaf.shape)
        for at in np.ndindex(leaf.shape):
            moved = leaf.astype(np.complex128)
            moved[at] += 1e-30j
            grad[at] = np.imag(loss([*leaves[:k], moved, *leaves[k + 1 :]])) / 1e-30
        grads.append(grad)
    return run(step, readout, *inputs), jax.tree.unflatten(tree, grads)


def ours(cell, inputs, weights):
    def loss(inputs):
        params, state, xs = inputs
        results = rnn.unroll(cell, params, xs, state=state)
        pairs = zip(jax.tree.leaves(weights), jax.tree.leaves(results), strict=True)
        return sum((w * a).sum() for w, a in pairs), results

    (_, results), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(inputs)
    return results, grads


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", first_of(len(CASES) - 1, CASES))  # the exponential compiles long
def test_outputs_and_gradients(name, dtype):
    cell, step = CASES[name]
    with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion("strict"):
        inputs, weights = example(cell, dtype)
        results, grads = ours(cell, jax.tree.map(jnp.asarray, inputs), weights)
        assert {a.dtype for a in jax.tree.leaves((results, grads))} == {np.dtype(dtype)}
        results, grads = jax.tree.map(np.asarray, (results, grads))
    want, want_grads = reference(step, READOUTS.get(name, first), inputs, weights)
    if "fixed" in grads[0]:
        assert all(not a.any() for a in jax.tree.leaves(grads[0]["fixed"]))
        rest = ({k: g for k, g in p.items() if k != "fixed"} for p in (grads[0], want_grads[0]))
        grads, want_grads = ((p, *g[1:]) for p, g in zip(rest, (grads, want_grads), strict=True))
    tolerance = 1e-5 if dtype == "float32" else 1e-10
    for got, need in zip(
        jax.tree.leaves((results, grads)), jax.tree.leaves((want, want_grads)), strict=True
    ):
        np.testing.assert_allclose(got, need, rtol=tolerance, atol=tolerance)
        assert need.any()


@pytest.mark.parametrize("name", GATES)
def test_gates(name):
    cell, (names, gates) = CASES[name][0], GATES[name]
    (params, state, xs), _ = example(cell, "float32")
    seen = jax.jit(
        lambda params, state, x: cell.gates(params, state, cell.project(params, x), rnn.Dot(params))
    )(params, state, xs[0])
    assert "".join(seen._fields) == names
    for got, want in zip(seen, gates(params, state, xs[0]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
