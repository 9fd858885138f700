"""A GPU's kernel of a loop, in Pallas's interpreter, is the loop; and what it is not made for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from jaxrnn.autodiff._jax import lowered
from jaxrnn.autodiff.kernels import lowering, parts
from jaxrnn.autodiff.kernels.lowering import KERNELS, fused
from jaxrnn.autodiff.kernels.rows import flat, plain
from jaxrnn.autodiff.loop import DEFAULT, PLATFORMS, loop_p, scanned
from jaxrnn.autodiff.members import each
from jaxrnn.strategies import Fused

KEY = jax.random.key(0)


@pytest.fixture
def plans(monkeypatch):
    """This CPU runs loops as a GPU does; the plans that were made for them."""
    made, (plan, kernel) = [], KERNELS["cuda"]

    def recorded(*args):
        made.append(plan(*args))
        return made[-1]

    def run(f):
        jax.clear_caches()
        lowered(loop_p, DEFAULT, PLATFORMS | {"cpu": f})

    monkeypatch.setitem(KERNELS, "cuda", (recorded, kernel))
    run(each(fused(plain(scanned), "cuda", interpreted=True)))
    yield made
    run(PLATFORMS["cpu"])


def answers(cell, steps, batch, reverse, masked, dtype, strategy):
    """Outputs, last state and gradients."""
    params, xs = cell.init(KEY, 5), jax.random.normal(KEY, (steps, *batch, 5))
    params = jax.tree.map(lambda a: a.astype(dtype), params)
    flags = {}
    if masked:
        mask, resets = jax.random.bernoulli(KEY, 0.6, (2, steps, *batch))
        flags = {"mask": mask, "resets": resets}

    def loss(params, xs):
        out = rnn.unroll(cell, params, xs, reverse=reverse, strategy=strategy, **flags)
        leaves = [jnp.sin(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(out)]
        return sum(map(jnp.sum, leaves)), out

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, xs)


@pytest.mark.parametrize(
    ("cell", "steps", "batch", "reverse", "masked", "dtype"),
    first(
        2,
        [
            (rnn.MinGRU(32), 9, (2,), True, False, "float32"),
            (rnn.LSTM(5), 3, (17,), True, True, "float32"),
            (rnn.Elman(16), 2, (1,), False, False, "float32"),
            (rnn.LRU(128), 9, (2,), True, True, "float32"),
            (rnn.GRU(16), 5, (), False, True, "bfloat16"),
            (rnn.GRU(48), 4, (2, 16), False, False, "float32"),
            (rnn.Elman(32, "relu"), 1, (1,), False, False, "float32"),
            (rnn.DiagonalGRU(32), 11, (2,), False, True, "float32"),
            (rnn.LayerNormLSTM(16), 4, (3,), False, True, "float32"),
            (rnn.LayerNormGRU(16), 4, (3,), True, False, "float32"),
            (rnn.PeepholeLSTM(16), 4, (3,), False, False, "bfloat16"),
            (rnn.DiagonalLSTM(128), 19, (3,), True, True, "bfloat16"),
            (rnn.LSTM(16), 3, (17,), False, True, "float32"),
            (rnn.LSTM(40, projection=20), 3, (2,), True, False, "float32"),
            (rnn.LayerNormGRU(20), 3, (2,), False, True, "float32"),
            (rnn.DiagonalLSTM(200), 9, (2,), True, True, "float32"),
            (rnn.S5(20), 8, (), False, True, "float32"),
            (rnn.MinLSTM(64), 17, (2,), True, True, "float32"),
            (rnn.S6(32), 5, (2,), False, True, "float32"),
        ],
    ),
)
def test_a_kernel_is_the_loop(plans, cell, steps, batch, reverse, masked, dtype):
    case = functools.partial(answers, cell, steps, batch, reverse, masked, dtype)
    got = case(Fused(interpret=True))
    assert len(plans) == 2  # forward and backward
    assert not any(isinstance(plan, str) for plan in plans), plans
    want = case(rnn.Scan())
    near = {"rtol": 2e-5, "atol": 5e-6} if dtype == "float32" else {"rtol": 2e-2, "atol": 2e-2}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(np.float32(a), np.float32(b), **near), got, want
    )


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (rnn.LSTM(64, projection=20), "too many parts, of 4"),
        (rnn.LSTM(72), "its params take 262,144 bytes"),
        (rnn.LSTM(128), "its params take 262,144 bytes, of 216,064 in a block"),
        (rnn.Elman(16, lambda x: jnp.cumsum(x, -1)), "kernels have not: `cumsum`"),
        (rnn.Elman(16, lambda x: x[..., ::-1]), "kernels have not: `rev`"),
        (rnn.Elman(16, lambda x: x[..., ::2].repeat(2, -1)), "`slice` is among them only in"),
        (rnn.Elman(16, lambda x: jax.lax.complex(x, x).real), "its step computes in complex64"),
    ],
)
def test_what_a_kernel_is_not_made_for(plans, cell, words):
    params, xs = cell.init(KEY, 3), jnp.zeros((2, 1, 3))
    run = jax.jit(lambda params, xs: rnn.unroll(cell, params, xs, strategy=Fused(True)))
    run.lower(params, xs)
    [why] = plans
    assert words in why


@pytest.mark.skipif(
    jax.__version_info__ >= (0, 11), reason="it lowers a GPU's kernels beside its plugin alone"
)
def test_a_gpu_gets_a_kernel_forward_and_one_backward(monkeypatch):
    """Elementwise steps by Mosaic, where units fill its blocks, others by Triton."""
    monkeypatch.setattr(lowering, "card_known", lambda platform: True)
    for cell, compiler in ((rnn.MinGRU(128), "@mosaic_gpu"), (rnn.Elman(16), "gpu.triton")):
        params, xs = cell.init(KEY, 3), jnp.zeros((2, 1, 3))

        def loss(params, xs, cell=cell):
            return jnp.sum(rnn.unroll(cell, params, xs, strategy=Fused())[1])

        text = jax.jit(jax.grad(loss)).trace(params, xs).lower(lowering_platforms=("cuda",))
        assert text.as_text().count(compiler) == 2
        assert "while" not in text.as_text()


def test_parts_of_a_step_are_the_step():
    def step(a, b, flag):
        x, y = jnp.split(jnp.concatenate([a, b]), [12])
        z = jnp.pad(x[8:], (0, 8)) * jnp.maximum(b.astype(jnp.bfloat16), 0).astype(jnp.float32)
        z = jnp.where(flag, z - jnp.sum(jnp.sum(z, keepdims=True)), jnp.minimum(z, jnp.nan * a))
        return z, y.reshape(3, 4) * jnp.sum(a), jnp.tanh(b.astype(jnp.bfloat16))

    a, b, flag = jnp.arange(12.0), jax.random.normal(KEY, 12), jnp.asarray([True])
    for flags in (flag, ~flag):
        closed = flat(jax.make_jaxpr(step)(a, b, flags))
        assert not any(map(parts.obstacle, closed.eqns))
        assert parts.divisor(closed) == 4
        run = functools.partial(parts.run, closed, 4, (4,))
        args = [[*a.reshape(3, 4)], [*b.reshape(3, 4)], [flags]]
        got = run(args)
        for value, want in zip(got, step(a, b, flags), strict=True):
            value = [jnp.broadcast_to(p, (4,)) for p in value]
            np.testing.assert_allclose(
                np.float32(jnp.concatenate(value)), np.float32(want.ravel()), rtol=1e-6
            )
    # Triton's own maximum loses NaN, and it has no tanh of 16 bits.
    eqns = jax.make_jaxpr(run)(args).eqns
    assert not {"max", "min"} & {eqn.primitive.name for eqn in eqns}
    assert all(e.invars[0].aval.dtype == "float32" for e in eqns if e.primitive.name == "tanh")
