"""`matmul` of complex numbers is `@`, in values and in gradients; nothing imaginary is lost. On a
TPU rows keep the order of their axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn

DRAW = np.random.default_rng(0)


def drawn(shape, dtype):
    values = DRAW.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        values = values + 1j * DRAW.standard_normal(shape)
    return jnp.asarray(values.astype(dtype))


@pytest.mark.parametrize(
    ("x", "w"), [("complex64", "complex64"), ("float32", "complex64"), ("complex64", "float32")]
)
def test_complex_products(x, w):
    x, w = drawn((4, 2, 3), x), drawn((3, 5), w)
    ct = drawn((4, 2, 5), "complex64")

    def plain(x, w):
        return jnp.einsum("tbf,fg->tbg", x.astype("complex64"), w.astype("complex64"))

    def seen(product):
        y, back = jax.vjp(product, x, w)
        return y, back(ct), jax.jvp(product, (x, w), (x * 2, w))[1]

    got, want = jax.jit(seen, static_argnums=0)(rnn.matmul), seen(plain)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_complex128(x64):
    x, w = drawn((2, 3), "complex64"), drawn((3, 2), "float64")
    y = rnn.matmul(x, w)
    assert y.dtype == jnp.complex128
    np.testing.assert_allclose(y, np.asarray(x) @ np.asarray(w), rtol=1e-12)
    assert rnn.matmul(jnp.ones((2, 3), int), w).dtype == jnp.float64


class Turning(rnn.Cell):
    """A complex state that a real weight mixes."""

    hidden: int

    def init(self, key, x):
        return {"w": jax.random.normal(key, (self.hidden, self.hidden)) / 2}

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, self.hidden), jnp.complex64)

    def project(self, params, xs, noise=None):
        return jax.lax.complex(xs, -xs)

    def step(self, params, state, z, dot):
        return dot(state * 1j, "w") + z

    def readout(self, params, state, z):
        return jnp.concatenate([state.real, state.imag], -1)


def test_a_complex_state_through_dot():
    """Values and gradients are those of a scan with a plain product."""
    cell, xs = Turning(3), drawn((6, 2, 3), "float32")
    params = cell.init(jax.random.key(0), 3)

    def ours(params, xs):
        return jnp.sum(jnp.sin(rnn.unroll(cell, params, xs)[1]))

    def plain(params, xs):
        def body(state, x):
            z = jax.lax.complex(x, -x)
            state = jnp.einsum("bf,fg->bg", state * 1j, params["w"].astype("complex64")) + z
            return state, cell.readout(params, state, z)

        return jnp.sum(jnp.sin(jax.lax.scan(body, cell.initial_state(params, (2,)), xs)[1]))

    got, want = (jax.jit(jax.value_and_grad(f, (0, 1)))(params, xs) for f in (ours, plain))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, want)


def test_on_a_tpu_rows_that_fill_its_tiles_keep_the_order_of_their_axes():
    """Else it puts time inside the batch, and a loop copies every row that it reads or writes."""

    def held(batch, platform):
        def loss(x, w):
            return jnp.sum(jnp.square(rnn.matmul(x, w)))

        x, w = jnp.ones((5, batch, 4)), jnp.ones((4, 3))
        lowered = jax.jit(jax.grad(loss, (0, 1))).trace(x, w).lower(lowering_platforms=(platform,))
        return lowered.as_text().count("LayoutConstraint")

    assert held(16, "tpu")
    assert not held(6, "tpu")
    assert not held(16, "cpu")
    assert not held(16, "cuda")


def test_vmap_puts_its_axis_where_it_is_told():
    x, w = drawn((7, 4, 3), "float32"), drawn((3, 5), "float32")
    for place, need in ((1, (4, 7, 5)), (0, (7, 4, 5))):
        jaxpr = jax.make_jaxpr(jax.vmap(lambda x, place=place: rnn.matmul(x, w, place)))(x)
        [product] = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "rows"]
        assert product.outvars[0].aval.shape == need
