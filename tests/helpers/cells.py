"""Cells of users, and functions that cells are made with, for the table of cases."""

import jax
import jax.numpy as jnp

import jaxrnn as rnn
from jaxrnn.authoring import input_spec, output, state_dtype


class Average(rnn.LinearCell):
    """An exponential moving average with a learned decay, `h' = a * h + (1 - a) * x`: the least
    linear cell."""

    def init(self, key, x):
        size, dtype = input_spec(self, x)
        return {"decay": jax.random.normal(key, (size,), dtype)}

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, *params["decay"].shape), state_dtype(params["decay"]))

    def project(self, params, xs, noise=None):
        return xs.astype(state_dtype(params["decay"]))

    def coefficients(self, params, z):
        a = jnp.broadcast_to(jax.nn.sigmoid(params["decay"].astype(z.dtype)), z.shape)
        return a, (1 - a) * z

    def readout(self, params, state, z):
        return output(state, params["decay"])


class Plain(rnn.Cell):
    """A user's cell with a plain `@` in its step, `h' = tanh(x @ w_x + h @ w_h)`."""

    hidden: int

    def init(self, key, x):
        size, dtype = input_spec(self, x)
        kx, kh = jax.random.split(key)
        return {
            "w_x": 0.5 * jax.random.normal(kx, (size, self.hidden), dtype),
            "w_h": 0.5 * jax.random.normal(kh, (self.hidden,) * 2, dtype),
        }

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_h"]))

    def project(self, params, xs, noise=None):
        return rnn.matmul(xs, params["w_x"])

    def step(self, params, state, z, dot):
        return jnp.tanh(z + state @ params["w_h"].astype(state.dtype))

    def readout(self, params, state, z):
        return output(state, params["w_h"])


class Both(rnn.Cell):
    """The same weight through dot, twice, and through a plain `@`: its gradient has three parts."""

    hidden: int

    def init(self, key, x):
        return Plain(self.hidden).init(key, x)

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_h"]))

    def project(self, params, xs, noise=None):
        return rnn.matmul(xs, params["w_x"])

    def step(self, params, state, z, dot):
        h = jnp.tanh(z + dot(state, "w_h"))
        return jnp.tanh(dot(h, "w_h") + state @ params["w_h"].astype(state.dtype))

    def readout(self, params, state, z):
        return output(state, params["w_h"])


class Terms(rnn.Cell):
    """Products and biases in every kind of sum: with z, with one another, of a block, alone; two
    dots of what is no state."""

    hidden: int

    def init(self, key, x):
        size, dtype = input_spec(self, x)
        shapes = {
            "w_x": (size, self.hidden),
            "w_h": (self.hidden, 2 * self.hidden),
            "w_n": (self.hidden,) * 2,
            "b": (2 * self.hidden,),
            "c": (self.hidden,),
        }
        keys = jax.random.split(key, len(shapes))
        return {
            name: 0.5 * jax.random.normal(k, shape, dtype)
            for (name, shape), k in zip(shapes.items(), keys, strict=True)
        }

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, self.hidden), state_dtype(params["w_h"]))

    def project(self, params, xs, noise=None):
        return rnn.matmul(xs, params["w_x"])

    def step(self, params, state, z, dot):
        a, b = dot(state, "w_h", self.hidden)
        g = jnp.tanh(dot.add(z, "b") + a)
        u = jax.nn.sigmoid(dot.add(b, "b", self.hidden))
        v = dot(g * u, "w_n") + dot(state, "w_n")
        return jnp.tanh(v) * dot.add(g, "c") + dot(u - g, "w_n")

    def readout(self, params, state, z):
        return output(state, params["w_h"])


class GRUD(rnn.Cell):
    """Three inputs: values, whether each was seen, and the time since the last step. What was not
    seen decays from its last value to 0, and so does the state (Che et al. 2018).
    """

    hidden: int
    feature_ndim = (1, 1, 0)

    def init(self, key, x):
        (size, dtype), h = input_spec(self, x[0]), self.hidden
        shapes = {"w_x": (2 * size, 3 * h), "w_h": (h, 2 * h), "w_n": (h, h), "rate": (size + h,)}
        keys = jax.random.split(key, len(shapes))
        draws = zip(shapes.items(), keys, strict=True)
        return {name: 0.5 * jax.random.normal(k, shape, dtype) for (name, shape), k in draws}

    def initial_state(self, params, batch_shape=()):
        size = params["rate"].shape[0] - self.hidden
        dtype = state_dtype(params["rate"])
        return jnp.zeros((*batch_shape, self.hidden), dtype), jnp.zeros((*batch_shape, size), dtype)

    def project(self, params, xs, noise=None):
        rate = params["rate"].astype(state_dtype(params["rate"]))
        values, seen, dt = xs
        decay = jnp.exp(-jax.nn.softplus(dt.astype(rate.dtype))[..., None] * jax.nn.softplus(rate))
        return values.astype(rate.dtype), seen, decay

    def step(self, params, state, z, dot):
        (h, last), (values, seen, decay) = state, z
        last = jnp.where(seen, values, last)
        known = jnp.where(seen, values, decay[..., : last.shape[-1]] * last)
        h = decay[..., last.shape[-1] :] * h
        x = dot(jnp.concatenate([known, seen.astype(h.dtype)], -1), "w_x")
        xr, xu, xn = jnp.split(x, 3, -1)
        r, u = jnp.split(jax.nn.sigmoid(jnp.concatenate([xr, xu], -1) + dot(h, "w_h")), 2, -1)
        return (1 - u) * jnp.tanh(xn + dot(r * h, "w_n")) + u * h, last

    def readout(self, params, state, z):
        return output(state[0], params["w_h"])


class Reading(rnn.Composite):
    """A cell bound to a memory that is part of the params, so that the laws see the gradients into
    it; one of four places is masked."""

    cell: rnn.Layer
    width: int

    @property
    def children(self):
        return (self.cell,)

    def init(self, key, x):
        ki, km = jax.random.split(key)
        return {
            "cell": self.cell.init(ki, x),
            "memory": jax.random.normal(km, (4, self.width), x.dtype),
        }

    def split(self, params):
        return (
            self.cell.bind(params["cell"], params["memory"], jnp.array([True, True, False, True])),
        )

    def compose(self, params, x, child):
        return child(0, x)


def ring(shape):
    """Each unit hears itself and the one before it, in every gate."""
    sends, hears = jnp.indices(shape)
    return (hears - sends) % shape[0] < 2


def halved(params):
    return jax.tree.map(lambda w: 0.5 * w, params)


def maxout(x):
    """The larger of each two features (Goodfellow et al. 2013)."""
    return x.reshape(*x.shape[:-1], 2, -1).max(-2)
