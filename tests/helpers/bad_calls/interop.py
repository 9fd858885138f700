"""Bad calls of `interop`: modules, cells and params that do not belong together."""

import jax
import jax.numpy as jnp
import torch
from flax import linen, nnx

import jaxrnn as rnn
from helpers.bad_calls import Bad
from jaxrnn.interop import flax
from jaxrnn.interop.flax import from_linen, from_nnx, to_linen, to_nnx
from jaxrnn.interop.torch import TwoBiases, from_torch, load_torch, to_torch

KEY = jax.random.key(0)
LSTM, GRU, STACK = rnn.LSTM(2), rnn.GRU(2), rnn.Stack((rnn.GRU(2), rnn.GRU(2)))
OF = {cell: cell.init(KEY, 3) for cell in (LSTM, GRU, STACK, rnn.Elman(2), rnn.LSTM(3))}
WHOLE, MODRELU = OF[GRU], rnn.Elman(2, "modrelu")
BARE = {name: leaf for name, leaf in WHOLE.items() if name != "b_n"}
LINEN, LINEN_LSTM = linen.GRUCell(2), linen.LSTMCell(2)
VARIABLES = jax.tree.map(
    lambda a: jnp.zeros(a.shape),
    jax.eval_shape(lambda: LINEN.init(KEY, jnp.zeros(2), jnp.ones(3))),
)

TORCH_GRU = torch.nn.GRU(3, 2)
GRU_STATE = TORCH_GRU.state_dict()
RNGS, XS = nnx.Rngs(0), jnp.ones((4, 5, 3))
NNX = flax.nnx.Recurrent(rnn.Stack((LSTM, rnn.Dropout(0.5))), 3, rngs=RNGS)
OF_LINEN = flax.linen.Recurrent(LSTM)
MASK = jnp.ones((4, 5), bool)


def other_way(convert, name):
    """Params that a cell does not have, by one way of conversion."""
    return [
        Bad(
            f"{name}: other params",
            lambda: convert(LSTM, WHOLE),
            ValueError,
            ("LSTM(hidden=2", "unknown ['b_n']"),
        ),
        Bad(f"{name}: no b_n", lambda: convert(GRU, BARE), ValueError, ("missing ['b_n']",)),
        Bad(
            f"{name}: another size",
            lambda: convert(LSTM, OF[rnn.LSTM(3)]),
            ValueError,
            ("params[", "shape"),
        ),
        Bad(
            f"{name}: lists",
            lambda: convert(GRU, WHOLE | {"b": [0.0] * 6}),
            ValueError,
            ("['b'][0]",),
        ),
        Bad(f"{name}: no params", lambda: convert(GRU, None), ValueError, ("no leaves", "w_x")),
        Bad(
            f"{name}: integers",
            lambda: convert(GRU, jax.tree.map(lambda a: a.astype(int), WHOLE)),
            TypeError,
            ("int32", "floating"),
        ),
        Bad(
            f"{name}: a transposed weight",
            lambda: convert(GRU, WHOLE | {"w_h": WHOLE["w_h"].T}),
            ValueError,
            ("params['w_h']", "(2, 6)"),
        ),
        Bad(f"{name}: a class", lambda: convert(rnn.GRU, WHOLE), ValueError, ("got a",)),
    ]


CALLS = [
    *other_way(to_linen, "linen"),
    *other_way(to_nnx, "nnx"),
    *other_way(to_torch, "torch"),
    Bad("a stack of one", lambda: to_torch(STACK, OF[STACK][:1]), ValueError, ("1 parts", "of 2")),
    Bad(
        "a stack as a dict",
        lambda: to_torch(STACK, WHOLE),
        ValueError,
        ("tuple of 2",),
    ),
    Bad(
        "a leaf within a stack",
        lambda: to_torch(STACK, (WHOLE, BARE)),
        ValueError,
        ("missing ['b_n']",),
    ),
    Bad(
        "to_torch under jit",
        lambda: jax.jit(lambda p: to_torch(GRU, p))(WHOLE),
        TypeError,
        ("params['b']", "Tracer", "outside jit"),
    ),
    Bad("a dense layer", lambda: to_torch(rnn.Dense(2), WHOLE), ValueError, ("torch does not",)),
    Bad(
        "modReLU for Flax",
        lambda: to_linen(MODRELU, OF[rnn.Elman(2)]),
        ValueError,
        ("modReLU", "a function of jax.nn"),
    ),
    Bad("linear cells", lambda: to_linen(rnn.LRU(2), WHOLE), ValueError, ("a LRU",)),
    Bad("biases=2", lambda: from_torch(torch.nn.GRU(3, 2), biases=2), ValueError, ("'both'",)),
    Bad(
        "a state dict of more",
        lambda: from_torch(torch.nn.GRU(3, 2).state_dict(prefix="encoder.")),
        ValueError,
        ("encoder.weight_ih_l0", "Pass prefix='encoder.'"),
    ),
    Bad(
        "a state dict with one array more",
        lambda: from_torch(GRU_STATE | {"weight": torch.ones(2)}),
        ValueError,
        ("weight float32[2]", "bias_hh_l0"),
    ),
    Bad(
        "a state dict with another shape",
        lambda: from_torch(GRU_STATE | {"bias_hh_l0": torch.ones(2)}),
        ValueError,
        ("bias_hh_l0 float32[2]", "float32[6]"),
    ),
    Bad("a prefix of a module", lambda: from_torch(TORCH_GRU, prefix="x."), ValueError, ("a GRU",)),
    Bad("a number for a prefix", lambda: from_torch(GRU_STATE, prefix=2), TypeError, ("prefix=2",)),
    Bad(
        "a nonlinearity for a GRU",
        lambda: from_torch(GRU_STATE, nonlinearity="relu"),
        ValueError,
        ("a GRU", "Leave it out"),
    ),
    Bad(
        "another nonlinearity",
        lambda: from_torch(torch.nn.RNN(3, 2).state_dict(), nonlinearity="gelu"),
        ValueError,
        ("'gelu'", "tanh"),
    ),
    Bad("a rate of one", lambda: from_torch(GRU_STATE, dropout=1.0), ValueError, ("dropout=1.0",)),
    Bad("a number for a path", lambda: load_torch(3), TypeError, ("path=3",)),
    Bad("a folder", lambda: load_torch("/"), IsADirectoryError, ("a directory",)),
    Bad("a torch class", lambda: from_torch(torch.nn.LSTM), ValueError, ("a type",)),
    Bad("two biases of a layer", lambda: TwoBiases(rnn.Dense(2)), TypeError, ("Dense", "LSTM")),
    Bad(
        "another module's variables",
        lambda: from_linen(LINEN_LSTM, VARIABLES),
        ValueError,
        ("a leaf ii/kernel", "'hn'"),
    ),
    Bad("no variables", lambda: from_linen(LINEN, None), ValueError, ("NoneType", "init")),
    Bad("empty variables", lambda: from_linen(LINEN, {}), ValueError, ("nothing", "ir/kernel")),
    Bad(
        "variables of another size",
        lambda: from_linen(linen.GRUCell(4), VARIABLES),
        ValueError,
        ("GRU(hidden=4", "shape"),
    ),
    Bad("a linen class", lambda: from_linen(linen.GRUCell, VARIABLES), ValueError, ("need an",)),
    Bad("linen as nnx", lambda: from_nnx(LINEN), ValueError, ("a GRUCell",)),
    Bad("an nnx class", lambda: from_nnx(nnx.GRUCell), ValueError, ("need an LSTM",)),
    Bad("a b_n for nnx", lambda: to_nnx(GRU, WHOLE | {"b_n": jnp.ones(2)}), ValueError, ("b_n",)),
    Bad(
        "an nnx module of a class",
        lambda: flax.nnx.Recurrent(rnn.LSTM, 3, rngs=RNGS),
        TypeError,
        ("the class itself",),
    ),
    Bad(
        "an nnx module of nnx's cell",
        lambda: flax.nnx.Recurrent(nnx.GRUCell(3, 2, rngs=RNGS), 3, rngs=RNGS),
        TypeError,
        ("a GRUCell", "jaxrnn.Layer"),
    ),
    Bad(
        "a size as a string",
        lambda: flax.nnx.Recurrent(LSTM, "3", rngs=RNGS),
        TypeError,
        ("number of features",),
    ),
    Bad(
        "a key for rngs",
        lambda: flax.nnx.Recurrent(LSTM, 3, rngs=KEY),
        TypeError,
        ("nnx.Rngs(0)",),
    ),
    Bad(
        "no stream for noise",
        lambda: flax.nnx.Recurrent(NNX.layer, 3, rngs=nnx.Rngs(params=0)),
        ValueError,
        ("'dropout'", "draws noise"),
    ),
    Bad(
        "no stream for weights",
        lambda: flax.nnx.Recurrent(LSTM, 3, rngs=nnx.Rngs(dropout=0)),
        ValueError,
        ("'params'", "nnx.Rngs(params=0)"),
    ),
    Bad("a seed in a call", lambda: NNX(XS, rngs=3), TypeError, ("rngs=3", "dropout=0")),
    Bad("params of another", lambda: NNX.set_params((WHOLE, {})), ValueError, ("'b_n'",)),
    Bad(
        "params of another size",
        lambda: NNX.set_params((LSTM.init(KEY, 4), {})),
        ValueError,
        ("'w_x': 'float32[4, 8]'", "'w_x': 'float32[3, 8]'"),
    ),
    Bad("one step", lambda: NNX(XS[0, 0]), ValueError, ("at least 2 axes",)),
    Bad("time first", lambda: NNX(XS, mask=MASK.T), ValueError, ("(4, 5), batch, then time",)),
    Bad(
        "resets in floats",
        lambda: NNX(XS, resets=MASK.astype(float)),
        TypeError,
        ("resets float32",),
    ),
    Bad(
        "both lengths and a mask",
        lambda: NNX(XS, mask=MASK, seq_lengths=jnp.ones(4, int)),
        ValueError,
        ("one of them",),
    ),
    Bad("lengths in floats", lambda: NNX(XS, seq_lengths=jnp.ones(4)), TypeError, ("integers",)),
    Bad("a carry of another batch", lambda: NNX(XS, initial_carry=()), ValueError, ("a state",)),
    Bad("a linen module unmade", lambda: OF_LINEN.apply({}, XS), ValueError, ("params/b",)),
    Bad(
        "a linen module of a class",
        lambda: flax.linen.Recurrent(rnn.LSTM).init(KEY, XS),
        TypeError,
        ("the class itself",),
    ),
    Bad("linen, a list", lambda: OF_LINEN.init(KEY, [1.0]), TypeError, ("inputs as one array",)),
]
