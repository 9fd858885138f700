"""Causal convolution: the whole sequence at once against step by step, and against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn

T, B, F, WIDTH = 7, 2, 2, 3
KEY = jax.random.key(0)
XS = jax.random.normal(jax.random.key(1), (T, B, F))
FLAGS = {
    "bare": (False, False),
    "mask": (True, False),
    "resets": (False, True),
    "both": (True, True),
}


class Looped(rnn.Cell):
    """The same by its step alone."""

    width: int
    kernel: int
    depthwise: bool = False

    @property
    def conv(self):
        return rnn.CausalConv(self.width, self.kernel, self.depthwise)

    def init(self, key, x):
        return self.conv.init(key, x)

    def initial_state(self, params, batch_shape=()):
        return self.conv.initial_state(params, batch_shape)

    def project(self, params, xs, noise=None):
        return xs

    def step(self, params, state, z, dot):
        return self.conv.step(params, state, z)[0]

    def readout(self, params, state, z):
        pushed = jnp.concatenate([jnp.zeros_like(state[..., :1, :]), state[..., :-1, :]], -2)
        return self.conv.step(params, pushed, state[..., -1, :])[1]


def truth(params, state, start, xs, mask, resets, reverse):
    """Row by row with Python lists; with resets already as the run meets them when reversed."""
    w, b, ys = (
        np.asarray(params["w"]),
        np.asarray(params["b"]),
        np.zeros((*xs.shape[:2], params["b"].shape[0]), np.float32),
    )
    state, start, xs = np.array(state), np.asarray(start), np.asarray(xs)
    for row in range(xs.shape[1]):
        window, cut = list(state[row]), False
        for t in reversed(range(len(xs))) if reverse else range(len(xs)):
            if mask is not None and not mask[t, row]:
                continue
            flag = resets is not None and bool(resets[t, row])
            if cut if reverse else flag:
                window = list(start[row])
            cut = flag  # reversed, the cut lies beyond this step
            window = [*window[1:], xs[t, row]]
            ys[t, row] = (
                sum(x * w[k] if w.ndim == 2 else x @ w[k] for k, x in enumerate(window)) + b
            )
        state[row] = np.stack(window)
    return state, ys


CASES = [(3, False, flags, reverse) for flags in FLAGS for reverse in (False, True)]
CASES += [
    (kernel, depthwise, flags, kernel == 9)
    for kernel, depthwise in ((1, False), (9, False), (3, True))
    for flags in ("bare", "both")
]


@pytest.mark.parametrize(("kernel", "depthwise", "flags", "reverse"), CASES)
def test_equals_numpy(kernel, depthwise, flags, reverse):
    cell = rnn.CausalConv(F if depthwise else WIDTH, kernel, depthwise)
    params = cell.init(KEY, rnn.features(F))
    params["b"] += 0.5
    state = jax.random.normal(jax.random.key(2), (B, kernel, F))
    masked, reset = FLAGS[flags]
    for seed in range(10 if masked or reset else 1):
        generator = np.random.default_rng(seed)
        mask, resets = generator.random((T, B)) < 0.1 * seed, generator.random((T, B)) < 0.3
        mask, resets = mask if masked else None, resets if reset else None
        # What lies under a false mask changes nothing.
        xs = XS if mask is None else jnp.where(mask[..., None], XS, jnp.nan)
        last, ys = rnn.unroll(
            cell, params, xs, state=state, mask=mask, resets=resets, reverse=reverse
        )
        expected_last, expected = truth(
            params, state, jnp.zeros_like(state), XS, mask, resets, reverse
        )
        np.testing.assert_allclose(last, expected_last, atol=1e-6)
        np.testing.assert_allclose(ys, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("depthwise", "reverse", "flags"),
    [(False, False, "both"), (True, True, "both"), (False, True, "mask"), (False, True, "bare")],
)
def test_gradients_equal_the_loop(depthwise, reverse, flags):
    """Gradients in params, inputs, the state and a learned start."""
    masked, reset = FLAGS[flags]

    def gradients(kind):
        net = rnn.LearnedState(kind(F, 3, depthwise))

        def loss(params, xs, state, mask, resets):
            last, ys = rnn.unroll(
                net,
                params,
                xs,
                state=state,
                mask=mask if masked else None,
                resets=resets if reset else None,
                reverse=reverse,
            )
            return jnp.sum(jnp.sin(ys)) + jnp.sum(jnp.cos(last[0]))

        return jax.jit(jax.grad(loss, (0, 1, 2)))

    whole, loop = gradients(rnn.CausalConv), gradients(Looped)
    params = {
        "cell": rnn.CausalConv(F, 3, depthwise).init(KEY, rnn.features(F)),
        "state": jax.random.normal(jax.random.key(3), (3, F)),
    }
    state = (jax.random.normal(jax.random.key(2), (B, 3, F)),)
    started = 0
    for seed in range(12):
        generator = np.random.default_rng(seed)
        mask, resets = generator.random((T, B)) < 0.7, generator.random((T, B)) < 0.3
        xs = jnp.where(mask[..., None], XS, jnp.nan) if masked else XS
        got, want = whole(params, xs, state, mask, resets), loop(params, xs, state, mask, resets)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
        started += float(jnp.abs(got[0]["state"]).max()) > 1e-3
    assert (
        started > 6
    ) == reset  # the learned start is used where a reset returns to it, and only there


@pytest.mark.parametrize("kernel", [1, 3])
def test_equals_a_loop_over_advance(kernel):
    net = rnn.Stack((rnn.CausalConv(WIDTH, kernel), rnn.CausalConv(WIDTH, 2, depthwise=True)))
    params = net.init(KEY, rnn.features(F))
    mask, resets = (
        np.random.default_rng(seed).random((T, B)) < p for seed, p in ((0, 0.7), (1, 0.3))
    )
    state, ys = net.initial_state(params, (B,)), []
    for t in range(T):
        state, y = rnn.advance(net, params, state, XS[t], mask=mask[t], reset=resets[t])
        ys.append(y)
    for strategy in (rnn.Scan(), rnn.Chunked(2)):  # chunks shorter than the window
        last, whole = rnn.unroll(net, params, XS, mask=mask, resets=resets, strategy=strategy)
        np.testing.assert_allclose(whole, jnp.stack(ys), atol=1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), last, state)


@pytest.mark.parametrize("flagged", [False, True])
@pytest.mark.parametrize("shape", [(0, B), (2, B), (5, 2, 1, 2), (4,)])
def test_any_length_and_any_batch_axes(shape, flagged):
    cell, loop = rnn.CausalConv(WIDTH, 4), Looped(WIDTH, 4)
    params = cell.init(KEY, rnn.features(F))
    xs = jax.random.normal(KEY, (*shape, F))
    state = jax.random.normal(KEY, (*shape[1:], 4, F))
    flags = (
        {
            "mask": jnp.arange(np.prod(shape)).reshape(shape) % 3 != 1,
            "resets": jnp.arange(np.prod(shape)).reshape(shape) % 4 == 2,
        }
        if flagged
        else {}
    )
    (last, ys), (last_, ys_) = (
        rnn.unroll(c, params, xs, state=state, **flags) for c in (cell, loop)
    )
    assert ys.shape == (*shape, WIDTH)
    np.testing.assert_allclose(ys, ys_, atol=1e-5)
    np.testing.assert_allclose(last, last_, atol=1e-6)
    if shape[0] == 0:
        np.testing.assert_array_equal(last, state)


def test_a_sequence_takes_no_loop():
    cell = rnn.CausalConv(WIDTH, 3)
    params = cell.init(KEY, rnn.features(F))
    flags = jnp.ones((T, B), bool)
    for given in ({}, {"mask": flags, "resets": flags}):
        for kind, loops in ((cell, False), (Looped(WIDTH, 3), True)):
            text = str(
                jax.make_jaxpr(lambda p, kind=kind, given=given: rnn.unroll(kind, p, XS, **given))(
                    params
                )
            )
            assert any(f"{name}[" in text for name in ("scan", "while", "loop")) == loops


def test_a_nan_state_does_not_survive_a_reset():
    cell = rnn.CausalConv(WIDTH, 3)
    params = cell.init(KEY, rnn.features(F))
    resets = jnp.zeros((T, B), bool).at[2].set(True)
    last, ys = rnn.unroll(cell, params, XS, state=jnp.full((B, 3, F), jnp.nan), resets=resets)
    assert np.isfinite(last).all()
    assert np.isfinite(ys[2:]).all()
    assert np.isnan(ys[1]).all()


def test_dtypes():
    cell = rnn.CausalConv(WIDTH, 3)
    exact = cell.init(KEY, rnn.features(F))
    params, xs = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (exact, XS))
    last, ys = rnn.unroll(cell, params, xs)
    assert ys.dtype == jnp.bfloat16
    assert last.dtype == jnp.float32
    np.testing.assert_allclose(ys.astype(jnp.float32), rnn.unroll(cell, exact, XS)[1], atol=0.05)


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"CausalConv\(width=3, kernel=0.*need a positive integer"):
        rnn.CausalConv(3, 0)
    with pytest.raises(TypeError, match=r"width='a'; need an integer"):
        rnn.CausalConv("a", 2)
    with pytest.raises(
        ValueError,
        match=r"float32\[2\] for a depthwise convolution of width 3; need as many features.*"
        r"CausalConv\(2, 4, depthwise=True\)",
    ):
        rnn.CausalConv(3, 4, depthwise=True).init(KEY, rnn.features(2))
