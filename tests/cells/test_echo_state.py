"""The reservoir that is never trained, and its readout in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn as rnn
from helpers.jaxprs import body, equations, loops

KEY = jax.random.key(0)
init = jax.jit(lambda cell, key, x: cell.init(key, x))


def mackey_glass(steps, delay=17, substeps=10):
    """x' = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x, by small Euler steps, one sample a unit of
    time (Mackey & Glass 1977)."""
    past = [1.2] * (delay * substeps + 1)
    for _ in range((steps + 200) * substeps):
        late = past[-1 - delay * substeps]
        past.append(past[-1] + (0.2 * late / (1 + late**10) - 0.1 * past[-1]) / substeps)
    series = np.array(past[-steps * substeps :: substeps], "float32")
    return (series - series.mean()) / series.std()


def sines(steps):
    t = np.arange(steps)
    series = (np.sin(0.2 * t) + np.sin(0.311 * t) + 0.5 * np.sin(0.05 * t)).astype("float32")
    return (series - series.mean()) / series.std()


@jax.jit
def forecast_error(xs, targets):
    """Normalised root-mean-square error on the last third of a series, of an echo state net fitted
    to what comes before."""
    cell = rnn.EchoState(150, spectral_radius=0.95, leak=0.3, input_scale=0.5)
    _, states = rnn.unroll(cell, cell.init(KEY, xs), xs)
    steps = jnp.arange(len(xs))
    readout = rnn.ridge(states, targets, 1e-4, mask=(steps >= 100) & (steps < 1200))
    forecast = rnn.unroll(rnn.Dense(1), readout, states)[1]
    return jnp.sqrt(jnp.mean((forecast - targets)[1200:] ** 2))


@pytest.mark.parametrize(
    ("make", "ahead", "error"),
    [(mackey_glass, 1, 0.01), (mackey_glass, 10, 0.01), (sines, 10, 0.05)],
)
def test_prediction(make, ahead, error):
    series = make(1800 + ahead)[:, None]
    assert float(forecast_error(series[:-ahead], series[ahead:])) < error


def test_fixed_leaves_do_not_move():
    """Bit for bit, under adamw with weight decay, in a net whose other layers do learn."""
    net = rnn.Stack((rnn.EchoState(6), rnn.Dense(2)))
    params = init(net, KEY, jnp.ones(3))
    xs, targets = jax.random.normal(KEY, (7, 2, 3)), jnp.ones((7, 2, 2))
    optimizer = optax.masked(optax.adamw(0.1, weight_decay=0.5), rnn.trainable)

    @jax.jit
    def step(params, state):
        grads = jax.grad(lambda p: jnp.mean((rnn.unroll(net, p, xs)[1] - targets) ** 2))(params)
        with jax.numpy_dtype_promotion("standard"):  # optax promotes
            updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    new, state = params, optimizer.init(params)
    for _ in range(5):
        new, state = step(new, state)
    for before, after in zip(jax.tree.leaves(params[0]), jax.tree.leaves(new[0]), strict=True):
        np.testing.assert_array_equal(
            np.asarray(before).view("int32"), np.asarray(after).view("int32")
        )
    assert not np.array_equal(params[1]["w"], new[1]["w"])
    assert rnn.trainable(params) == (
        {"fixed": dict.fromkeys(("b", "leak", "w_h", "w_x"), False)},
        {"b": True, "w": True},
    )


@pytest.mark.parametrize("argnums", [1, (0, 1)])
def test_the_reverse_loop_does_no_work_for_fixed_weights(argnums):
    """The gradient in the inputs passes through the reservoir; its loop carries the state's
    cotangent and stacks the inputs', no more."""
    cell = rnn.EchoState(6)
    params = init(cell, KEY, jnp.ones(3))
    grad = jax.grad(lambda p, xs: (rnn.unroll(cell, p, xs)[1] ** 2).sum(), argnums)
    (back,) = loops(jax.make_jaxpr(grad)(params, jnp.ones((9, 2, 3))).jaxpr, True)
    assert [v.aval.shape for v in back.outvars] == [(2, 6), (9, 2, 6)]
    assert len(list(equations(body(back), "rows"))) == 1


def test_leak_is_a_leaf():
    """Swept by vmap, one reservoir under many leaks."""
    cell = rnn.EchoState(5)
    params = init(cell, KEY, jnp.ones(3))
    xs = jax.random.normal(KEY, (6, 3))

    def last(leak):
        return rnn.unroll(cell, {"fixed": params["fixed"] | {"leak": leak}}, xs)[0]

    many = jax.vmap(last)(jnp.array([1e-3, 1.0]))
    np.testing.assert_allclose(many[1], rnn.unroll(cell, params, xs)[0], rtol=1e-5)
    assert float(jnp.abs(many[0]).max()) < 0.01


def ridge_by_rows(xs, targets, penalty, count):
    """numpy.linalg.lstsq over the rows,
    with sqrt(penalty) on the weights' diagonal and none on the bias's."""
    size = xs.shape[-1]
    rows = np.concatenate([xs.reshape(-1, size), np.sqrt(penalty) * np.eye(size)])
    ones = np.concatenate([np.ones(count), np.zeros(size)])[:, None]
    goal = np.concatenate([targets.reshape(count, -1), np.zeros((size, targets.shape[-1]))])
    both = np.linalg.lstsq(np.concatenate([rows, ones], axis=1), goal, rcond=None)[0]
    return {"w": both[:-1], "b": both[-1]}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-10)])
@pytest.mark.parametrize("masked", [False, True])
def test_ridge_is_the_least_squares_solution(dtype, tolerance, masked):
    rng = np.random.default_rng(0)
    xs, targets = (
        rng.normal(size=(12, 3, 4)).astype(dtype) + 2,
        rng.normal(size=(12, 3, 2)).astype(dtype),
    )
    mask = rng.random((12, 3)) < 0.7
    kept = mask if masked else np.ones_like(mask)
    want = ridge_by_rows(xs[kept], targets[kept], 0.3, kept.sum())
    if masked:
        xs[~mask], targets[~mask] = np.nan, np.inf
    with jax.enable_x64(dtype == "float64"):
        got = jax.jit(rnn.ridge)(
            jnp.asarray(xs), jnp.asarray(targets), 0.3, jnp.asarray(mask) if masked else None
        )
        assert {str(a.dtype) for a in got.values()} == {dtype}
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=tolerance, atol=tolerance)


def test_ridge_is_differentiable_and_batched():
    rng = np.random.default_rng(0)
    xs, targets = (
        jnp.asarray(rng.normal(size=(5, 12, 4)), "float32"),
        jnp.asarray(rng.normal(size=(5, 12, 2)), "float32"),
    )
    many = jax.jit(jax.vmap(rnn.ridge, (0, 0, None)))(xs, targets, 0.1)
    one = jax.jit(rnn.ridge)(xs[2], targets[2], 0.1)
    np.testing.assert_allclose(many["w"][2], one["w"], rtol=1e-4, atol=1e-5)
    shrink = jax.jit(
        jax.grad(lambda penalty: (rnn.ridge(xs[0], targets[0], penalty)["w"] ** 2).sum())
    )(0.1)
    assert float(shrink) < 0
    assert (
        jax.eval_shape(rnn.ridge, xs[0].astype(jnp.bfloat16), targets[0], 0.1)["w"].dtype
        == jnp.float32
    )


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: rnn.EchoState(0), ValueError, r"hidden=0; need a positive integer"),
        (lambda: rnn.EchoState(8.0), TypeError, r"hidden=8\.0; need an integer"),
        (
            lambda: rnn.EchoState(8, leak=0.0),
            ValueError,
            r"leak=0\.0; need a number above 0\.0 and up to 1\.0",
        ),
        (
            lambda: rnn.EchoState(8, density=jnp.ones(())),
            TypeError,
            r"density as a .*; need a float",
        ),
        (
            lambda: rnn.Elman(8, activation="tan"),
            ValueError,
            r"activation='tan'; need the name of an elementwise function in jax\.nn",
        ),
        (lambda: rnn.LSTM(8, projection=0), ValueError, r"projection=0; need a positive integer"),
        (
            lambda: rnn.ridge(jnp.ones((5, 2)), jnp.ones(5), 1.0),
            ValueError,
            r"xs float32\[5, 2\] and targets float32\[5\]; need",
        ),
        (
            lambda: rnn.ridge(jnp.ones((5, 2)), jnp.ones((5, 1), int), 1.0),
            TypeError,
            r"targets int32\[5, 1\]; need floating numbers",
        ),
        (
            lambda: rnn.ridge([[1.0]], jnp.ones((1, 1)), 1.0),
            TypeError,
            r"xs as a list; need xs as one array",
        ),
        (
            lambda: rnn.ridge(jnp.ones((5, 2)), jnp.ones((5, 1)), 1.0, jnp.ones(5)),
            TypeError,
            r"mask float32\[5\]; need booleans",
        ),
    ],
)
def test_messages(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
