"""Bad calls of a layer's own methods and of the verbs."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as rnn
from helpers.bad_calls import Bad

KEY = jax.random.key(0)
CELL = rnn.LSTM(4)
PARAMS = CELL.init(KEY, 3)
XS = jnp.ones((5, 2, 3))
STATE = CELL.initial_state(PARAMS, (2,))
EMBED = rnn.Embed(5, 3)
PAIR = rnn.Stack((rnn.Bidirectional(CELL, merge="none"), rnn.Dense(3)))
LEARNED = rnn.LearnedState(CELL)


class Tensor:
    """An array of another library."""

    shape, dtype, ndim = (5, 2, 3), "torch.float32", 3


def run(xs=XS, cell=CELL, params=PARAMS, **kwargs):
    return lambda: rnn.unroll(cell, params, xs, **kwargs)


def step(x=XS[0], state=STATE, **kwargs):
    return lambda: rnn.advance(CELL, PARAMS, state, x, **kwargs)


def fold(f, init=0.0, **kwargs):
    return lambda: rnn.fold(CELL, PARAMS, XS, f, init, **kwargs)


def total(acc, params, ys, extra, mask):
    return acc + ys.sum()


def foreign(params):
    return {**params, "b": Tensor()}


CALLS = [
    # inputs
    Bad("a list", run([[1.0]]), TypeError, ("xs", "list", "jnp.asarray")),
    Bad("no inputs", run(None), TypeError, ("xs", "NoneType")),
    Bad("a tensor", run(Tensor()), TypeError, ("xs", "Tensor", "jnp.asarray(xs)")),
    Bad("objects", run(np.array([1, "a"], object)), TypeError, ("object[2]", "data.pad")),
    Bad("strings", run(np.array(["a", "b"])), TypeError, ("xs", "numbers")),
    Bad("a pair", run((XS, XS)), TypeError, ("tuple", "feature_ndim", "merge='none'")),
    Bad("a dict", run({"x": XS}), TypeError, ("dict", "feature_ndim")),
    Bad("complex", run(XS.astype(complex)), TypeError, ("complex64", "floating")),
    Bad("booleans", run(XS > 0), TypeError, ("bool[5, 2, 3]", "floating")),
    Bad("tokens", run(jnp.ones(5, int)), TypeError, ("int32[5]", "Embed", "takes_tokens")),
    Bad("rows of tokens", run(jnp.ones((5, 2), int)), TypeError, ("Embed(vocabulary, width)",)),
    Bad("no time axis", run(jnp.ones(3)), ValueError, ("at least 2 axes", "advance")),
    Bad("other features", run(jnp.ones((5, 2, 7))), ValueError, ("(7, 16)", "feature size")),
    Bad("floats for tokens", run(XS, EMBED), TypeError, ("float32", "integer tokens")),
    # cells and params
    Bad("a class", run(cell=rnn.LSTM), TypeError, ("the class itself", "LSTM(128)")),
    Bad("no cell", run(cell=None), TypeError, ("NoneType", "jaxrnn.Layer")),
    Bad("a function", run(cell=jnp.tanh), TypeError, ("where a cell is due",)),
    Bad("another size", run(cell=rnn.LSTM(5)), ValueError, ("(20,)", "Check its fields")),
    Bad("another cell", run(cell=rnn.GRU(4)), ValueError, ("missing ['b_n']", "another cell")),
    Bad("no params", run(params=None), ValueError, ("no leaves", "cell.init(key, x)")),
    Bad("params in a tuple", run(params=(PARAMS,)), ValueError, ("missing", "another cell")),
    Bad("params of a child", run(cell=LEARNED), ValueError, ("keys 'b'", "'cell', 'state'")),
    Bad("a tensor in params", run(params=foreign(PARAMS)), TypeError, ("params['b']", "Tensor")),
    Bad("strings in params", run(params={**PARAMS, "b": "b"}), TypeError, ("params['b']", "str")),
    Bad("integer params", run(params=jax.tree.map(jnp.int32, PARAMS)), TypeError, ("floating",)),
    Bad("an ensemble", run(params=jax.tree.map(lambda a: a[None], PARAMS)), ValueError, ("size",)),
    Bad("two outputs", lambda: PAIR.init(KEY, 3), TypeError, ("tuple", "merge='none'")),
    # init and initial_state
    Bad("an int as key", lambda: CELL.init(0, 3), TypeError, ("key=0", "jax.random.key(0)")),
    Bad("no key", lambda: CELL.init(None, 3), TypeError, ("key=None", "PRNG key")),
    Bad("floats as key", lambda: CELL.init(jnp.ones(2), 3), TypeError, ("float32[2]", "PRNG")),
    Bad("keys", lambda: CELL.init(jax.random.split(KEY), 3), ValueError, ("one PRNG key", "vmap")),
    Bad("init of a word", lambda: CELL.init(KEY, "3"), TypeError, ("'3'", "number of features")),
    Bad("init of rows", lambda: CELL.init(KEY, [[1.0]]), TypeError, ("example input",)),
    Bad("init of -1", lambda: CELL.init(KEY, -1), ValueError, ("number of features=-1",)),
    Bad("init of tokens", lambda: CELL.init(KEY, rnn.TOKEN), TypeError, ("int32[]", "Embed")),
    Bad("init of a scalar", lambda: CELL.init(KEY, jnp.ones(())), ValueError, ("1 axes",)),
    Bad("a number of rows", lambda: CELL.initial_state(PARAMS, 2), TypeError, ("(4,)",)),
    # masks, resets, states
    Bad("lengths", run(mask=jnp.array([3, 4])), ValueError, ("lengths_to_mask(lengths, 5)",)),
    Bad("batch first", run(mask=jnp.ones((2, 5), bool)), ValueError, ("swapaxes(mask, 0, 1)",)),
    Bad("an axis too many", run(mask=jnp.ones((5, 2, 1), bool)), ValueError, ("mask[..., 0]",)),
    Bad("one column", run(mask=jnp.ones((5, 1), bool)), ValueError, ("broadcast_to(mask",)),
    Bad("other steps", run(mask=jnp.ones((7, 2), bool)), ValueError, ("each step of each row",)),
    Bad("a float mask", run(mask=jnp.ones((5, 2))), TypeError, ("float32", "the step is valid")),
    Bad("a list as mask", run(mask=[True] * 5), TypeError, ("mask", "list")),
    Bad("a word as mask", run(mask="valid"), TypeError, ("mask", "str")),
    Bad("integer resets", run(resets=jnp.ones((5, 2), int)), TypeError, ("new sequence begins",)),
    Bad("other resets", run(resets=jnp.ones(5, bool)), ValueError, ("resets", "(5, 2)")),
    Bad("a state alone", run(state=STATE.h), ValueError, ("LSTMState", "initial_state")),
    Bad("other rows", run(state=CELL.initial_state(PARAMS, (3,))), ValueError, ("[2, 4]",)),
    Bad("a tensor as state", run(state=Tensor()), TypeError, ("state", "Tensor")),
    # the rest of unroll's arguments
    Bad("a key of unroll", run(key=3), TypeError, ("key=3", "PRNG key")),
    Bad("keys of unroll", run(key=jax.random.split(KEY, 3)), ValueError, ("one PRNG key",)),
    Bad("reverse in words", run(reverse="no"), TypeError, ("reverse='no'", "True or False")),
    Bad("reverse as an array", run(reverse=jnp.bool_(True)), TypeError, ("static",)),
    Bad("a strategy's name", run(strategy="scan"), TypeError, ("strategy='scan'", "Scan()")),
    Bad("a strategy's class", run(strategy=rnn.Scan), TypeError, ("an instance of a strategy",)),
    # fold
    Bad("fold of no function", fold(3), TypeError, ("f=3", "f(acc, params, ys, extra, mask)")),
    Bad("fold of two arguments", fold(lambda acc, ys: acc), TypeError, ("f(acc, ys)", "all five")),
    Bad("fold to a word", fold(lambda *a: "a"), ValueError, ("str", "like it")),
    Bad("fold to all outputs", fold(lambda a, p, y, e, m: y), ValueError, ("float32[5, 2, 4]",)),
    Bad("fold from an int", fold(total, 0), ValueError, ("int32[]", "jnp.float32(0)")),
    Bad("short extra", fold(total, extra=jnp.ones(4)), ValueError, ("extra", "same time axis")),
    Bad("numbers as extra", fold(total, extra=3), TypeError, ("extra", "int")),
    # advance
    Bad("no state", step(state=None), ValueError, ("a state", "initial_state")),
    Bad("a sequence", step(XS), ValueError, ("without a time axis",)),
    Bad("a row's mask", step(mask=jnp.ones(3, bool)), ValueError, ("mask bool[3]", "each row")),
    Bad("a float reset", step(reset=jnp.ones(2)), TypeError, ("reset", "new sequence begins")),
    Bad("a reset too many", step(reset=jnp.ones((2, 1), bool)), ValueError, ("reset[..., 0]",)),
    Bad("a fraction of a step", step(t=1.5), TypeError, ("t as float", "one integer")),
    Bad("a step for each row", step(t=jnp.arange(2)), TypeError, ("int32[2]", "one integer")),
    Bad("a word as step", step(t="0"), TypeError, ("t as a str",)),
    Bad("a key of advance", step(key=0), TypeError, ("key=0", "PRNG key")),
    # record and newton_solve
    Bad("record of rows", lambda: rnn.diagnostics.record(CELL, PARAMS, [1]), TypeError, ("xs",)),
    Bad(
        "newton of a stack",
        lambda: rnn.newton_solve(rnn.Stack((CELL,)), (PARAMS,), XS),
        TypeError,
        ("one cell with a state",),
    ),
    Bad(
        "newton by scan",
        lambda: rnn.newton_solve(CELL, PARAMS, XS, strategy=rnn.Scan()),
        TypeError,
        ("a Newton",),
    ),
    Bad(
        "a guess of the state",
        lambda: rnn.newton_solve(CELL, PARAMS, XS, STATE),
        ValueError,
        ("a guess", "[5, 2, 4]"),
    ),
]
