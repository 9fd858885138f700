"""Bad constructions of cells, and initializers that are none."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as rnn
from helpers.bad_calls import Bad

KEY = jax.random.key(0)
INIT = jax.nn.initializers
NAN, INF = float("nan"), float("inf")


def make(cell, *args, **fields):
    return lambda: cell(*args, **fields)


def begin(cell, **fields):
    """An `init` of a cell with these initializers."""
    return lambda: dataclasses.replace(cell, **fields).init(KEY, 3)


def of_shape(key, shape):
    return jnp.zeros(shape)


def of_tensor(tensor, gain=1.0, generator=None):
    return tensor.dim()


def whole(key, shape, dtype):
    return jnp.zeros((3, 16), dtype)


def flipped(key, shape, dtype):
    return jnp.zeros(shape[::-1], dtype)


def double(key, shape, dtype):
    return np.zeros(shape)


def by_numpy(key, shape, dtype):
    seed = int(jax.random.key_data(key)[1])
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def integers(key, shape, dtype):
    return jnp.zeros(shape, int)


@dataclasses.dataclass
class Scale:
    """Callable, but it has no hash."""

    scale: float

    def __call__(self, key, shape, dtype):
        return jnp.full(shape, self.scale, dtype)


WHOLE = INIT.constant(np.ones(16, "float32"))
LSTM, GRU, ATTENTION = rnn.LSTM(4), rnn.GRU(4), rnn.Attention(4, 2)
OWN = rnn.initializers
ROTATED = rnn.TransformedWeights(rnn.LSTM(4, projection=3), rnn.Orthogonal())
XS = jnp.ones((5, 2))

CALLS = [
    # initializers in the constructor
    Bad("a name", make(rnn.LSTM, 4, w_x_init="zeros"), TypeError, ("jax.nn.initializers.zeros.",)),
    Bad("a name to call", make(rnn.Dense, 4, w_init="he_normal"), TypeError, ("he_normal().",)),
    Bad("a name of Keras", make(rnn.Dense, 4, w_init="HeNormal"), TypeError, ("glorot_normal()",)),
    Bad("a number", make(rnn.GRU, 4, b_init=0.5), TypeError, ("b_init", "constant(0.5)")),
    Bad("false for none", make(rnn.Dense, 4, b_init=False), TypeError, ("b_init as a bool",)),
    Bad("an array", make(rnn.LSTM, 4, b_init=jnp.ones(16)), TypeError, ("float32[16]", '"b":')),
    Bad("a list", make(rnn.Embed, 4, 2, w_init=[[1.0]]), TypeError, ("w_init as a list",)),
    Bad("a factory", make(rnn.LSTM, 4, w_h_init=INIT.orthogonal), TypeError, ("orthogonal()",)),
    Bad("normal uncalled", make(rnn.Elman, 4, w_x_init=INIT.normal), TypeError, ("normal()",)),
    Bad("a class", make(rnn.Dense, 4, w_init=Scale), TypeError, ("Call it", "Scale()")),
    Bad("no hash", make(rnn.Dense, 4, w_init=Scale(1.0)), TypeError, ("hash", "frozen")),
    Bad("a reservoir's", make(rnn.EchoState, 4, w_h_init="normal"), TypeError, ("normal()",)),
    Bad("an attention's", make(rnn.Attention, 4, 2, w_c_init=0), TypeError, ("constant(0)",)),
    Bad("a norm's", make(rnn.LayerNorm, scale_init=1.0), TypeError, ("scale_init", "constant")),
    Bad("a convolution's", make(rnn.CausalConv, 4, 2, w_init="he"), TypeError, ("w_init='he'",)),
    Bad("a tie's", make(rnn.TiedEmbedding, 4, 4, LSTM, w_init=1.0), TypeError, ("TiedEmbedding",)),
    Bad(
        "two words on a bias",
        make(rnn.LSTM, 4, forget_bias=2.0, b_init=INIT.zeros),
        ValueError,
        ("forget_bias=2.0", "one of them"),
    ),
    Bad(
        "two words on the identity",
        make(rnn.Elman, 4, "relu", True, w_h_init=INIT.orthogonal()),
        ValueError,
        ("identity=True", "one of them"),
    ),
    Bad(
        "two words on the inputs",
        make(rnn.EchoState, 4, input_scale=0.1, w_x_init=INIT.ones, b_init=INIT.ones),
        ValueError,
        ("input_scale=0.1", "one of them"),
    ),
    # initializers when they are called
    Bad("the fan of a vector", begin(LSTM, b_init=INIT.he_normal()), ValueError, ("no fan-in",)),
    Bad("an orthogonal vector", begin(GRU, b_n_init=INIT.orthogonal()), ValueError, ("b_n_init",)),
    Bad("Haiku's protocol", begin(LSTM, w_x_init=of_shape), TypeError, ("def init(key, shape",)),
    Bad("PyTorch's protocol", begin(LSTM, w_x_init=of_tensor), TypeError, ("AttributeError",)),
    Bad("a factory of one's own", begin(LSTM, w_x_init=lambda *_: whole), TypeError, ("Call it",)),
    Bad(
        "a partial factory",
        begin(LSTM, w_x_init=functools.partial(INIT.he_normal)),
        TypeError,
        ("function from w_x_init", "Call it"),
    ),
    Bad(
        "a key's value",
        lambda: jax.eval_shape(begin(LSTM, w_x_init=by_numpy)),
        TypeError,
        ("ConcretizationTypeError", "jax.random"),
    ),
    Bad("a vector for all gates", begin(LSTM, b_init=WHOLE), ValueError, ("drawn by itself",)),
    Bad("all gates", begin(LSTM, w_x_init=whole), ValueError, ("float32[3, 16]", "float32[3, 4]")),
    Bad("turned", begin(GRU, w_x_init=flipped), ValueError, ("float32[4, 3]", "float32[3, 4]")),
    Bad("doubles", begin(rnn.Dense(4), w_init=double), TypeError, ("float64", "astype(dtype)")),
    Bad("integers", begin(rnn.Dense(4), b_init=integers), TypeError, ("int32[4]", "float32[4]")),
    Bad("a number made", begin(LSTM, b_init=lambda *_: 1.0), TypeError, ("float", "jnp.full")),
    Bad("nothing made", begin(LSTM, b_init=lambda *_: None), TypeError, ("NoneType", "b_init")),
    Bad("no projection", begin(LSTM, w_p_init=INIT.zeros), ValueError, ("w_p_init", "w_x, w_h, b")),
    Bad("no candidate", begin(GRU, w_n_init=INIT.ones), ValueError, ("w_n_init", "other fields")),
    Bad("no query", begin(ATTENTION, w_q_init=INIT.ones), ValueError, ("w_q_init", "w_k")),
    # the library's own initializers
    Bad("Chrono uncalled", make(rnn.LSTM, 4, b_init=OWN.Chrono), TypeError, ("Chrono()",)),
    Bad("no time", make(OWN.Chrono, 2), ValueError, ("t_max=2", "above 2", "Chrono(100.0)")),
    Bad("times", make(OWN.Chrono, jnp.ones(4)), TypeError, ("t_max as a float32[4]",)),
    Bad("endless time", make(OWN.Chrono, INF), ValueError, ("t_max=inf",)),
    Bad("weights in time", begin(LSTM, w_h_init=OWN.Chrono(9)), ValueError, ("Chrono(t_max=9)",)),
    Bad("no gate", begin(rnn.Elman(4), b_init=OWN.Chrono(9)), ValueError, ("keep a state", "own")),
    Bad("twice", make(rnn.LSTM, 4, forget_bias=2.0, b_init=OWN.Chrono(9)), ValueError, ("one of",)),
    Bad(
        "identity of inputs", begin(GRU, w_x_init=OWN.Identity()), ValueError, ("square", "(3, 4)")
    ),
    Bad("a vector's radius", begin(GRU, b_init=OWN.SpectralRadius()), ValueError, ("square",)),
    Bad("no radius", make(OWN.SpectralRadius, 0), ValueError, ("radius=0", "above 0")),
    Bad("a radius of a name", make(OWN.SpectralRadius, 1.0, "he"), TypeError, ("init='he'",)),
    Bad("NaN of the identity", make(OWN.Identity, NAN), ValueError, ("scale=nan", "finite")),
    Bad("an angle in degrees", make(OWN.Rotations, 90), ValueError, ("angle=90", "3.14")),
    # fields of cells
    Bad("no step", make(rnn.AntisymmetricRNN, 4, eps=0), ValueError, ("eps=0", "above 0")),
    Bad("unstable", make(rnn.AntisymmetricRNN, 4, gamma=-1), ValueError, ("gamma=-1", "from 0")),
    Bad("a step for a flag", make(rnn.AntisymmetricRNN, 4, 0.1), TypeError, ("gated=0.1",)),
    Bad("no oscillation", make(rnn.CoRNN, 4, gamma=0.0), ValueError, ("gamma=0.0", "above 0")),
    Bad("time in words", make(rnn.CoRNN, 4, dt="small"), TypeError, ("dt as a str",)),
    Bad("units that mix", make(rnn.IndRNN, 4, jax.nn.softmax), ValueError, ("'relu'",)),
    Bad("not rotations", begin(ROTATED), ValueError, ("[3, 16]", "[H, G*H]", "projection")),
    Bad("rotations of a name", make(rnn.Orthogonal, "w_h"), TypeError, ('("w_h",)',)),
    Bad("no forget bias", make(rnn.LSTM, 4, forget_bias=None), TypeError, ("forget_bias",)),
    Bad("a NaN of a bias", make(rnn.LSTM, 4, forget_bias=NAN), ValueError, ("nan", "finite")),
    Bad("an open gate", make(rnn.PeepholeLSTM, 4, INF), ValueError, ("inf", "finite")),
    Bad("a bias in words", make(rnn.LayerNormLSTM, 4, "1"), TypeError, ("forget_bias='1'",)),
    Bad("a bias for each", make(rnn.LSTM, 4, None, jnp.ones(4)), TypeError, ("float32[4]",)),
    Bad("an eps of 0", make(rnn.LayerNormGRU, 4, 0.0), ValueError, ("eps=0.0",)),
    Bad("no projection, by 0", make(rnn.LSTM, 4, 0), ValueError, ("projection=0",)),
    Bad("projection by halves", make(rnn.LSTM, 4, 0.5), TypeError, ("projection=0.5",)),
    Bad("a number", make(rnn.Elman, 4, 1.0), TypeError, ("activation=1.0", "the name of")),
    Bad("no such activation", make(rnn.Elman, 4, "Tanh"), ValueError, ("'Tanh'", "jax.nn")),
    Bad("identity in words", make(rnn.Elman, 4, identity="no"), TypeError, ("identity='no'",)),
    Bad("reset in words", make(rnn.GRU, 4, reset_after="no"), TypeError, ("reset_after=False",)),
    Bad("reset as a number", make(rnn.GRU, 4, 0), TypeError, ("reset_after=0", "True or False")),
    Bad("two sizes for one", make(rnn.GRU, 4, 8), TypeError, ("reset_after=8",)),
    Bad("no leak", make(rnn.EchoState, 4, leak=0.0), ValueError, ("leak=0.0",)),
    Bad("a NaN of a leak", make(rnn.EchoState, 4, leak=NAN), ValueError, ("leak=nan",)),
    Bad("a radius below 0", make(rnn.EchoState, 4, -0.9), ValueError, ("spectral_radius=-0.9",)),
    Bad("a radius of 0", make(rnn.EchoState, 4, 0), ValueError, ("spectral_radius=0", "above")),
    Bad("a radius unbound", make(rnn.EchoState, 4, INF), ValueError, ("spectral_radius=inf",)),
    Bad("a scale below 0", make(rnn.EchoState, 4, input_scale=-1), ValueError, ("input_scale",)),
    Bad(
        "a scale in words",
        make(rnn.EchoState, 4, input_scale="1"),
        TypeError,
        ("input_scale as a str",),
    ),
    Bad("a crowd", make(rnn.EchoState, 4, density=1.5), ValueError, ("density=1.5",)),
    Bad("a thin ring", make(rnn.LRU, 4, r_min=0.9999999), ValueError, ("4e-6", "0.9")),
    Bad("a ring turned", make(rnn.LRU, 4, 0.9, 0.5), ValueError, ("r_min < r_max",)),
    Bad("a ring of NaN", make(rnn.LRU, 4, NAN), ValueError, ("r_min=nan",)),
    Bad("a ring in words", make(rnn.LRU, 4, "0.9"), TypeError, ("r_min='0.9'",)),
    Bad("a wide ring", make(rnn.LRU, 4, r_max=1.5), ValueError, ("r_max=1.5",)),
    Bad("a phase in degrees", make(rnn.LRU, 4, max_phase=360), ValueError, ("6.28",)),
    Bad("no phase", make(rnn.LRU, 4, max_phase=0.0), ValueError, ("max_phase=0.0",)),
    Bad("blocks that do not fit", make(rnn.S5, 4, 3), ValueError, ("blocks=3",)),
    Bad("no end of steps", make(rnn.S5, 4, step_max=INF), ValueError, ("step_max=inf",)),
    Bad("a step in words", make(rnn.S5, 4, step_min="1e-3"), TypeError, ("step_min='1e-3'",)),
    Bad("a step of NaN", make(rnn.S5, 4, step_min=NAN), ValueError, ("step_min=nan",)),
    Bad("no rank", make(rnn.S6, 4, 0), ValueError, ("rank=0",)),
    Bad("a penalty below 0", lambda: rnn.ridge(XS, XS, -1.0), ValueError, ("penalty=-1.0",)),
    Bad("a penalty in words", lambda: rnn.ridge(XS, XS, "1"), TypeError, ("penalty as a str",)),
    Bad("penalties", lambda: rnn.ridge(XS, XS, jnp.ones(2)), TypeError, ("float32[2]",)),
]
