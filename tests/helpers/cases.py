"""The one table: CELLS x STRATEGIES x CONTROLS x DTYPES. Every law runs over it."""

import dataclasses
from typing import Any, NamedTuple

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


class Case(NamedTuple):
    cell: rnn.Layer
    x: Any = rnn.features(2)
    random: bool = False  # whether a key changes the answer
    # Like another case in all but a branch, or made of others:
    # held to the laws by the slow tests alone.
    variant: bool = False


TOKENS = jnp.arange(5)  # their largest bounds the tokens that are drawn

SEEN = rnn.features(2), rnn.features(2, dtype=bool), rnn.features()

CELLS = {
    # cells
    "elman": Case(rnn.Elman(3)),
    "irnn": Case(rnn.Elman(3, activation="relu", identity=True), variant=True),
    "lstm": Case(rnn.LSTM(3)),
    "projected": Case(rnn.LSTM(4, projection=3), variant=True),
    "peephole": Case(rnn.PeepholeLSTM(3), variant=True),
    "gru": Case(rnn.GRU(3)),
    "gru before": Case(rnn.GRU(3, reset_after=False), variant=True),
    "normalised lstm": Case(rnn.LayerNormLSTM(4), variant=True),
    "normalised gru": Case(rnn.LayerNormGRU(4), variant=True),
    "echo state": Case(rnn.EchoState(4, leak=0.7)),
    "diagonal gru": Case(rnn.DiagonalGRU(3)),
    "diagonal lstm": Case(rnn.DiagonalLSTM(3), variant=True),
    # linear cells
    "lru": Case(rnn.LRU(3, r_max=0.9)),
    "s5": Case(rnn.S5(2), variant=True),
    "mingru": Case(rnn.MinGRU(3), variant=True),
    "minlstm": Case(rnn.MinLSTM(3), variant=True),
    "rg-lru": Case(rnn.RGLRU(), variant=True),
    "selective": Case(rnn.S6(2)),
    # layers
    "dense": Case(rnn.Dense(3, activation="tanh")),
    "embed": Case(rnn.Embed(5, 3), TOKENS),
    "one hot": Case(rnn.OneHot(5), TOKENS, variant=True),
    "apply": Case(rnn.Apply(maxout), rnn.features(4), variant=True),
    "dropout": Case(rnn.Dropout(0.4), random=True),
    "layer norm": Case(rnn.LayerNorm(), rnn.features(4)),
    "rms norm": Case(rnn.RMSNorm(), rnn.features(4), variant=True),
    "convolution": Case(rnn.CausalConv(3, 3)),
    "depthwise": Case(rnn.CausalConv(2, 2, depthwise=True), variant=True),
    # cells of cells
    "stack": Case(rnn.Stack((rnn.GRU(3), rnn.LSTM(2))), variant=True),
    "residual": Case(rnn.Residual(rnn.Elman(2))),
    "recurrent dropout": Case(rnn.RecurrentDropout(rnn.GRU(3), 0.4), random=True, variant=True),
    "recurrent dropout by step": Case(
        rnn.RecurrentDropout(rnn.Elman(3), 0.4, per="step"), random=True
    ),
    "zoneout": Case(rnn.Zoneout(rnn.LSTM(3), (0.3, 0.5)), random=True),
    "learned state": Case(rnn.LearnedState(rnn.LSTM(3))),
    "tied": Case(rnn.TiedEmbedding(5, 3, rnn.Elman(3)), TOKENS),
    "tied with a bias": Case(
        rnn.TiedEmbedding(5, 3, rnn.Elman(3), bias=True), TOKENS, variant=True
    ),
    "bidirectional": Case(rnn.Bidirectional(rnn.Elman(3))),
    "bidirectional pair": Case(
        rnn.Bidirectional(rnn.LSTM(3), rnn.Elman(2), merge="none"), variant=True
    ),
    # bound to a memory
    "attention": Case(Reading(rnn.Stack((rnn.Elman(3), rnn.Attention(3, 2))), 2)),
    "terms": Case(Terms(3)),
    "attend": Case(Reading(rnn.AttentionCell(rnn.Elman(3), 2), 2), variant=True),
    # nested
    "deep": Case(
        rnn.Stack(
            (rnn.Embed(5, 3), rnn.LSTM(3), rnn.Dropout(0.2), rnn.Residual(rnn.GRU(3)), rnn.Dense(2))
        ),
        TOKENS,
        random=True,
        variant=True,
    ),
    "deep bidirectional": Case(
        rnn.Stack(
            (
                rnn.Bidirectional(rnn.Elman(2), merge="product"),
                rnn.Residual(rnn.CausalConv(2, 2)),
                rnn.GRU(2),
            )
        ),
        variant=True,
    ),
    "mixed": Case(
        rnn.Stack(
            (rnn.LRU(2, r_max=0.9), rnn.LearnedState(rnn.MinGRU(3)), rnn.Bidirectional(rnn.GRU(2)))
        ),
        variant=True,
    ),
    "noisy": Case(
        rnn.Zoneout(rnn.RecurrentDropout(rnn.LSTM(2), 0.3, per="step"), 0.3),
        random=True,
        variant=True,
    ),
    # LayerNorm over few features magnifies the rounding of bfloat16: at a width of 3 half a digit
    # in the params moves gradients by 8 %.
    "learned stack": Case(
        rnn.LearnedState(
            rnn.Stack((rnn.CausalConv(8, 2), rnn.LayerNorm(), rnn.Zoneout(rnn.GRU(2), 0.2)))
        ),
        random=True,
        variant=True,
    ),
    # users' cells
    "average": Case(Average()),
    "plain": Case(Plain(3)),
    "both": Case(Both(3), variant=True),
    # inputs of several arrays
    "gru-d": Case(GRUD(3), SEEN),
    "gru-d stack": Case(rnn.Stack((rnn.Bidirectional(GRUD(2)), rnn.Dense(2))), SEEN, variant=True),
    # transformed weights
    "transformed": Case(rnn.TransformedWeights(rnn.GRU(3), rnn.Dale(0.6))),
    "transformed stack": Case(
        rnn.TransformedWeights(
            rnn.Stack((rnn.RecurrentDropout(rnn.LSTM(3), 0.3), rnn.LearnedState(rnn.Elman(2)))),
            rnn.SpectralNorm(0.9, ("w_x", "w_h")),
        ),
        random=True,
        variant=True,
    ),
    "transformed both ways": Case(
        rnn.TransformedWeights(
            rnn.TransformedWeights(rnn.Bidirectional(rnn.GRU(3), rnn.LRU(2, r_max=0.9)), halved),
            rnn.Masked(ring),
        ),
        variant=True,
    ),
    "transformed attend": Case(
        Reading(rnn.TransformedWeights(rnn.AttentionCell(rnn.Elman(3), 2), halved), 2),
        variant=True,
    ),
}

STRATEGIES = {
    "scan": rnn.Scan(),
    "unrolled": rnn.Scan(unroll=2),
    "chunked": rnn.Chunked(2),  # which does not divide the number of steps
    "kept": rnn.Chunked(3, remat=False, inner=rnn.Scan(unroll=2)),
    "cut twice": rnn.Chunked(4, inner=rnn.Chunked(2)),
}

# Side by side in time: pieces that do not divide the number of steps, even on a CPU, where one loop
# is the default.
LINEAR = {
    "associative": rnn.Associative(radix=2, fallback=rnn.Scan()),
    "associative in chunks": rnn.Chunked(3, inner=rnn.Associative(fallback=rnn.Scan())),
    "auto": rnn.Auto(),
}
NEWTON = {
    "newton": rnn.Newton(),
    "newton, diagonal": rnn.Newton(jacobian="diagonal"),
    "newton in pieces": rnn.Chunked(3, inner=rnn.Newton(radix=2)),
}


def parallel(name: str) -> dict[str, rnn.Strategy]:
    """The strategies of these two tables that run a case otherwise than `Scan` does: for a
    nonlinear cell one in turn, so that all meet many."""
    cells = [cell for cell in kinds(CELLS[name].cell) if issubclass(cell, rnn.Cell)]
    linear = LINEAR if any(issubclass(cell, rnn.LinearCell) for cell in cells) else {}
    turn = list(NEWTON)[list(CELLS).index(name) % len(NEWTON)]
    return linear | (
        {turn: NEWTON[turn]} if any(not issubclass(cell, rnn.LinearCell) for cell in cells) else {}
    )


# Each in both directions of time.
CONTROLS = {
    "none": (False, False),
    "mask": (True, False),
    "resets": (False, True),
    "both": (True, True),
}

DTYPES = {"float32": jnp.float32, "float64": jnp.float64, "bfloat16": jnp.bfloat16}


def dtypes(name: str) -> list[str]:
    """float32 and one of the others in turn; float64 wherever a linear cell is evaluated in
    parallel. A variant, whose dtypes are those of another case, meets one of the two in turn."""
    turn = list(CELLS).index(name)
    wide = parallel(name).keys() & LINEAR.keys() or turn % 2
    both = ["float32", "float64" if wide else "bfloat16"]
    return both[turn // 2 % 2 :][:1] if CELLS[name].variant else both


def kinds(value: Any) -> set[type]:
    """The classes of all cells and strategies within one."""
    found = {type(value)} if isinstance(value, rnn.Layer | rnn.Strategy) else set()
    parts = (
        value
        if isinstance(value, tuple)
        else [getattr(value, f.name) for f in dataclasses.fields(value)]
        if found
        else []
    )
    return found.union(*(kinds(part) for part in parts))
