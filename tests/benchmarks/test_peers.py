"""What other libraries get wrong: one test for each defect found in them."""

import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn

T, B, F, H = 6, 3, 4, 5
XS = jax.random.normal(jax.random.key(0), (T, B, F))
LENGTHS = jnp.array([6, 0, 3])
MASK = rnn.lengths_to_mask(LENGTHS, T)


def made(cell):
    return cell, cell.init(jax.random.key(1), rnn.features(F))


def test_a_row_of_length_zero_ends_in_its_initial_state():
    """linen: with seq_lengths=0 the returned carry is not the initial carry."""
    cell, params = made(rnn.LSTM(H))
    first = jax.tree.map(lambda a: a + 0.5, cell.initial_state(params, (B,)))
    last, ys = rnn.unroll(cell, params, XS, state=first, mask=MASK)
    chex.assert_trees_all_equal(
        jax.tree.map(lambda a: a[1], last), jax.tree.map(lambda a: a[1], first)
    )
    assert not ys[:, 1].any()


def test_nan_in_the_padding_reaches_no_gradient():
    """linen: NaN in the padding gives a finite loss and NaN gradients."""
    net = rnn.Stack((rnn.LSTM(H), rnn.LayerNorm(), rnn.GRU(H)))
    params = net.init(jax.random.key(1), rnn.features(F))
    loss = lambda params, xs: jnp.sum(rnn.unroll(net, params, xs, mask=MASK)[1] ** 2)  # noqa: E731
    spoilt = jnp.where(MASK[..., None], XS, jnp.nan)
    chex.assert_trees_all_equal(
        jax.grad(loss, (0, 1))(params, spoilt),
        jax.grad(loss, (0, 1))(params, jnp.where(MASK[..., None], XS, 0)),
    )
    chex.assert_tree_all_finite(jax.grad(loss, (0, 1))(params, spoilt))


def test_two_batch_axes_with_lengths():
    """linen: two batch axes with lengths raise, although documented."""
    cell, params = made(rnn.GRU(H))
    xs = jnp.stack([XS, 2 * XS], 1)
    mask = jnp.stack([MASK, MASK[:, ::-1]], 1)
    last, ys = rnn.unroll(cell, params, xs, mask=mask)
    for a in range(2):
        alone = rnn.unroll(cell, params, xs[:, a], mask=mask[:, a])
        chex.assert_trees_all_close((last[a], ys[:, a]), alone, rtol=1e-5, atol=1e-6)


def test_the_gru_has_a_bias_inside_the_reset():
    """nnx.GRUCell has no b_hn, so it cannot hold torch's or linen's weights."""
    cell, params = made(rnn.GRU(H))
    shapes = [a.shape for a in jax.tree.leaves(params)]
    assert shapes.count((H,)) == 1
    name = next(k for k, v in params.items() if v.shape == (H,))
    moved = {**params, name: params[name] + 1.0}
    assert not np.allclose(rnn.unroll(cell, params, XS)[1], rnn.unroll(cell, moved, XS)[1])


@pytest.mark.parametrize("strategy", [rnn.Scan(), rnn.Scan(unroll=3), rnn.Chunked(4)], ids=repr)
def test_outputs_under_the_mask_are_zero_whatever_the_strategy(strategy):
    """Keras: zero_output_for_mask is ignored when unroll=True."""
    cell, params = made(rnn.LSTM(H))
    ys = rnn.unroll(cell, params, XS, mask=MASK, strategy=strategy)[1]
    assert not ys[~MASK].any()
    assert ys[MASK].all()


def test_one_code_on_every_device_and_under_vmap():
    """jax.experimental.rnn: AttributeError on CPU; no vmap rule."""
    cell, params = made(rnn.LSTM(H))
    members = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
    ys = jax.vmap(lambda p: rnn.unroll(cell, p, XS)[1])(members)
    chex.assert_trees_all_close(ys[0], rnn.unroll(cell, params, XS)[1], rtol=1e-5, atol=1e-6)


def test_bfloat16_params_give_bfloat16_outputs():
    """flax: dtype=bfloat16 returns float32."""
    net = rnn.Stack((rnn.LSTM(H), rnn.GRU(H)))
    params = jax.tree.map(
        lambda a: a.astype(jnp.bfloat16), net.init(jax.random.key(1), rnn.features(F))
    )
    state, ys = rnn.unroll(net, params, XS.astype(jnp.bfloat16))
    assert ys.dtype == jnp.bfloat16
    assert {a.dtype for a in jax.tree.leaves(state)} == {jnp.dtype("float32")}


def test_a_nan_state_does_not_survive_a_reset():
    """memax resets by multiplying, so a NaN state survives."""
    cell, params = made(rnn.GRU(H))
    resets = jnp.zeros((T, B), bool).at[2].set(True)
    last, ys = rnn.unroll(cell, params, XS, state=jnp.full((B, H), jnp.nan), resets=resets)
    assert jnp.isnan(ys[:2]).all()
    chex.assert_trees_all_close(
        (last, ys[2:]), rnn.unroll(cell, params, XS[2:]), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("cell", [rnn.GRU(H), rnn.LSTM(H)], ids=repr)
def test_strategies_agree_from_a_state_that_is_not_zero(cell):
    """minGRU-pytorch: parallel differs from sequential when h0 is not 0."""
    _, params = made(cell)
    first = jax.tree.map(lambda a: a + 0.7, cell.initial_state(params, (B,)))
    for strategy in (rnn.Chunked(4), rnn.Chunked(2, remat=False)):
        got, want = (
            rnn.unroll(cell, params, XS, state=first, strategy=s) for s in (strategy, rnn.Scan())
        )
        chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-6)


def test_the_gradient_is_that_of_the_steps_written_out():
    """Axon's dynamic unroll had silently wrong gradients."""
    cell, params = made(rnn.GRU(H))

    def written_out(params):
        state, total = cell.initial_state(params, (B,)), 0.0
        for t in range(T):
            state, y = rnn.advance(cell, params, state, XS[t])
            total += jnp.sum(y**2)
        return total

    rolled = jax.grad(lambda p: jnp.sum(rnn.unroll(cell, p, XS)[1] ** 2))(params)
    chex.assert_trees_all_close(
        rolled, jax.jit(jax.grad(written_out))(params), rtol=1e-4, atol=1e-5
    )


def test_no_hidden_counter_under_jit():
    """nnx.RNN without an initial carry raises under jit of a merged module: here nothing is kept
    but the arguments."""
    cell, params = made(rnn.LSTM(H))
    inner = jax.jit(lambda params, xs: rnn.unroll(cell, params, xs)[1])
    chex.assert_trees_all_close(
        jax.jit(lambda p, x: inner(p, x) + inner(p, x))(params, XS), 2 * inner(params, XS)
    )


def test_no_gradient_is_approximate():
    """elk's quasi mode uses a diagonal adjoint: biased gradients. Here, the default against central
    differences in float64."""
    code = """
import jax; jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp, jaxrnn as rnn
cell = rnn.GRU(5)
xs = jax.random.normal(jax.random.key(0), (6, 3, 4), jnp.float64)
params = cell.init(jax.random.key(1), xs)
loss = jax.jit(lambda p: jnp.sum(rnn.unroll(cell, p, xs)[1] ** 2))
way = jax.tree.map(lambda a: jax.random.normal(jax.random.key(2), a.shape, a.dtype), params)
at = lambda e: loss(jax.tree.map(lambda p, d: p + e * d, params, way))
slope = (at(1e-6) - at(-1e-6)) / 2e-6
pairs = zip(jax.tree.leaves(jax.grad(loss)(params)), jax.tree.leaves(way))
exact = sum(jnp.vdot(g, d) for g, d in pairs)
assert abs(slope - exact) < 1e-7 * abs(exact), (slope, exact)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
