"""Bad calls of `interop.haiku`, `interop.equinox` and `interop.cudnn`."""

import importlib.util

import jax
import jax.numpy as jnp

import jaxrnn as rnn
from helpers.bad_calls import Bad, at
from jaxrnn.interop.cudnn import from_packed, to_packed
from jaxrnn.interop.haiku import from_haiku, to_haiku

KEY = jax.random.key(0)
LSTM, GRU, DENSE = rnn.LSTM(2), rnn.GRU(2, reset_after=False), rnn.Dense(2)
AFTER = rnn.GRU(2)
OF = {cell: cell.init(KEY, 3) for cell in (LSTM, GRU, DENSE, AFTER)}
STACK, BOTH = rnn.Stack((LSTM, DENSE)), (OF[LSTM], rnn.Dense(2).init(KEY, 2))
HAIKU = {
    "lstm/linear": {"w": jnp.ones((5, 8)), "b": jnp.ones(8)},
    "gru": {"w_i": jnp.ones((3, 6)), "w_h": jnp.ones((2, 6)), "b": jnp.ones(6)},
    "vanilla_rnn/linear": {"w": jnp.ones((3, 2)), "b": jnp.ones(2)},
    "vanilla_rnn/linear_1": {"w": jnp.ones((2, 2)), "b": jnp.ones(2)},
    "norm": {"scale": jnp.ones(2)},
}


def without(module, key):
    return HAIKU | {module: {name: a for name, a in HAIKU[module].items() if name != key}}


def other(module, **leaves):
    return HAIKU | {module: HAIKU[module] | leaves}


CALLS = [
    at("haiku: no dict", TypeError, ("a NoneType", "dict of dicts"), from_haiku, None, "lstm"),
    at("haiku: no dict within", TypeError, ("dict of dicts",), from_haiku, {"lstm": [1]}, "lstm"),
    at("haiku: no name", TypeError, ("names=None",), from_haiku, HAIKU, None),
    at("haiku: a name twice", ValueError, ("another",), from_haiku, HAIKU, ["gru", "gru"]),
    at("haiku: no such module", ValueError, ("'rnn'", "'gru'"), from_haiku, HAIKU, "rnn"),
    at("haiku: a norm", ValueError, ("which has scale", "hk.LSTM"), from_haiku, HAIKU, "norm"),
    at("haiku: biases", ValueError, ("'both'",), from_haiku, HAIKU, "gru", biases=True),
    at(
        "haiku: a linear map that is no LSTM",
        ValueError,
        ("lstm/linear/w float32[2, 8]", "(F + 2, 8)"),
        from_haiku,
        other("lstm/linear", w=jnp.ones((2, 8))),
        "lstm",
    ),
    at(
        "haiku: no bias",
        TypeError,
        ("lstm/linear/b as a NoneType",),
        from_haiku,
        without("lstm/linear", "b"),
        "lstm",
    ),
    at(
        "haiku: another size",
        ValueError,
        ("vanilla_rnn/linear/b float32[3]", "(2)"),
        from_haiku,
        other("vanilla_rnn/linear", b=jnp.ones(3)),
        "vanilla_rnn",
    ),
    at(
        "haiku: integers",
        TypeError,
        ("gru/w_h int32[2, 6]", "floating"),
        from_haiku,
        other("gru", w_h=jnp.ones((2, 6), int)),
        "gru",
    ),
    at("to_haiku: reset after", ValueError, ("reset before",), to_haiku, AFTER, OF[GRU]),
    at("to_haiku: other params", ValueError, ("unknown ['w_n']",), to_haiku, LSTM, OF[GRU]),
    at("to_haiku: a part less", ValueError, ("1 parts",), to_haiku, STACK, BOTH[:1]),
    at("to_haiku: a name less", ValueError, ("need 2",), to_haiku, STACK, BOTH, ["lstm"]),
    at("packed: a list", TypeError, ("as a list",), from_packed, [0.0], 3, 2),
    at("packed: another length", ValueError, ("(56)",), from_packed, jnp.ones(9), 3, 2),
    at("packed: a size", TypeError, ("hidden_size",), from_packed, jnp.ones(9), 3, "2"),
    at("packed: layers", TypeError, ("bidirectional=2",), from_packed, jnp.ones(9), 3, 2, 1, 2),
    at("packed: biases", ValueError, ("'both'",), from_packed, jnp.ones(9), 3, 2, biases=1),
    at("to_packed: a GRU", ValueError, ("without projection",), to_packed, GRU, OF[GRU]),
    at("to_packed: other params", ValueError, ("unknown ['b_n']",), to_packed, LSTM, OF[AFTER]),
]

if importlib.util.find_spec("equinox"):
    import equinox as eqx

    from jaxrnn.interop.equinox import from_equinox, to_equinox

    CELL = eqx.nn.GRUCell(3, 2, key=KEY)
    CALLS += [
        at("equinox: a class", ValueError, ("eqx.nn.LSTMCell",), from_equinox, eqx.nn.GRUCell),
        at("equinox: a norm", ValueError, ("a GroupNorm",), from_equinox, eqx.nn.GroupNorm(2, 4)),
        at(
            "equinox: scalars",
            ValueError,
            ("a Linear of scalars",),
            from_equinox,
            eqx.nn.Linear(3, "scalar", key=KEY),
        ),
        at(
            "equinox: what is left of a partition",
            TypeError,
            ("GRUCell.weight_ih as a NoneType",),
            from_equinox,
            eqx.filter(CELL, eqx.is_array, inverse=True),
        ),
        at(
            "equinox: another size",
            ValueError,
            ("GRUCell.bias_n float32[3]", "(2)"),
            from_equinox,
            eqx.tree_at(lambda cell: cell.bias_n, CELL, jnp.ones(3)),
        ),
        at("to_equinox: Elman", ValueError, ("Equinox does not",), to_equinox, rnn.Elman(2), {}),
        at("to_equinox: other params", ValueError, ("['b_n']",), to_equinox, AFTER, OF[GRU]),
        at("to_equinox: a part less", ValueError, ("1 parts",), to_equinox, STACK, BOTH[:1]),
        Bad("to_equinox: lists", lambda: to_equinox(DENSE, {"w": [1.0]}), ValueError, ("['w']",)),
    ]
