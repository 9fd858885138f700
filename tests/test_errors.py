"""One test per message: what was got, what is needed, what to do, and the name of the cell."""

import dataclasses
import functools

import jax
import jax.export
import jax.numpy as jnp
import pytest

import jaxrnn as rnn

CELL = rnn.LSTM(4)
PARAMS = CELL.init(jax.random.key(0), rnn.features(3))
XS = jnp.ones((5, 2, 3))
NET = rnn.Stack((rnn.Embed(9, 3), CELL, rnn.Dense(9)))
NET_PARAMS = NET.init(jax.random.key(0), rnn.TOKEN)
TOKENS = jnp.ones((5, 2), jnp.int32)


def total(acc, params, ys, extra, mask):
    return acc + ys.sum()


def refused(kind, *needles, cell=CELL):
    """The message names the cell and says got, need, and every needle."""
    pattern = "(?s)" + "".join(f"(?=.*{n})" for n in ("got", "need", *needles))
    return pytest.raises(kind, match=pattern + ("" if cell is None else f".*{type(cell).__name__}"))


def test_wrong_feature_size():
    with refused(ValueError, r"w_x'\]", r"float32\[7\]", r"\(7, 16\)", "feature size"):
        rnn.unroll(CELL, PARAMS, jnp.ones((5, 2, 7)))
    with refused(ValueError, r"\(7, 16\)"):
        rnn.advance(CELL, PARAMS, CELL.initial_state(PARAMS, (2,)), jnp.ones((2, 7)))


def test_symbolic_shapes_pass_and_numbers_are_compared():
    """Under `jax.export` time and batch are symbols."""
    t, b = jax.export.symbolic_shape("t, b")
    net = rnn.Stack((rnn.LSTM(4), rnn.CausalConv(4, 2), rnn.Residual(rnn.GRU(4)), rnn.LRU(3)))
    params = net.init(jax.random.key(0), rnn.features(3))
    flags = jax.ShapeDtypeStruct((t, b), bool)

    def run(features):
        xs = jax.ShapeDtypeStruct((t, b, features), jnp.float32)
        state = jax.eval_shape(lambda xs: net.initial_state(params, xs.shape[1:-1]), xs)
        verb = functools.partial(rnn.unroll, net, params)
        return jax.eval_shape(
            lambda xs, s, m: verb(xs, state=s, mask=m, resets=m), xs, state, flags
        )

    assert run(3)[1].shape == (t, b, 4)
    with refused(ValueError, r"w_x'\]", r"\(7, 16\)"):
        run(7)


def test_params_are_worked_out_once():
    made = []

    class Counted(rnn.LSTM):
        def init(self, key, x):
            made.append(x)
            return super().init(key, x)

    net = rnn.Stack((Counted(4), rnn.Residual(Counted(4)), rnn.Stack((rnn.Stack((Counted(4),)),))))
    params = net.init(jax.random.key(0), rnn.features(3))
    assert len(made) == 5  # each once for its arrays, and once for the shapes of equal ones
    for steps in (2, 3):
        jax.eval_shape(lambda xs: rnn.unroll(net, params, xs), jnp.ones((steps, 2, 3)))
    rnn.advance(net, params, net.initial_state(params), jnp.ones(3))
    assert len(made) == 5


@pytest.mark.parametrize("cell", [CELL, rnn.Stack((rnn.Dense(4), rnn.GRU(3)))], ids=repr)
def test_init_takes_a_size_a_spec_or_an_example(cell):
    key = jax.random.key(0)
    specs = 3, rnn.features(3), jnp.ones((7, 3)), jax.ShapeDtypeStruct((3,), jnp.float32)
    first, *others = (cell.init(key, x) for x in specs)
    assert all(jax.tree.all(jax.tree.map(jnp.array_equal, first, other)) for other in others)


@pytest.mark.parametrize("x", ["3", [1.0, 2.0], True, None, 3.0], ids=repr)
def test_init_takes_nothing_else(x):
    with refused(TypeError, "an example input", "the number of features"):
        CELL.init(jax.random.key(0), x)


def test_init_of_no_features_or_of_vectors_for_tokens():
    with refused(ValueError, "number of features=0"):
        CELL.init(jax.random.key(0), 0)
    with refused(TypeError, "integer tokens", cell=rnn.Embed(5, 2)):
        rnn.Stack((rnn.Embed(5, 2), CELL)).init(jax.random.key(0), 3)


def test_wrong_batch():
    with refused(ValueError, r"float32\[3, 4\]", r"float32\[2, 4\]", "initial_state"):
        rnn.unroll(CELL, PARAMS, XS, state=CELL.initial_state(PARAMS, (3,)))
    with refused(ValueError, r"float32\[3, 4\]"):
        rnn.advance(CELL, PARAMS, CELL.initial_state(PARAMS, (3,)), XS[0])


def test_state_of_another_cell():
    with refused(ValueError, "LSTMState", "initial_state"):
        rnn.unroll(CELL, PARAMS, XS, state=jnp.zeros((2, 4)))


def test_missing_params_key():
    with refused(ValueError, r"missing \['b'\]", "init"):
        rnn.unroll(CELL, {k: v for k, v in PARAMS.items() if k != "b"}, XS)


def test_params_of_another_cell():
    other = rnn.LSTM(4, projection=2).init(jax.random.key(0), rnn.features(3))
    with refused(ValueError, r"unknown \['w_p'\]", "another cell"):
        rnn.unroll(CELL, other, XS)
    with refused(ValueError, "another cell", cell=NET):
        rnn.unroll(NET, PARAMS, TOKENS)
    with refused(ValueError, "another cell", cell=NET):
        rnn.unroll(NET, NET_PARAMS[:2], TOKENS)
    with refused(ValueError, r"unknown \['w_p'\]", "LSTM"):
        rnn.unroll(NET, (NET_PARAMS[0], other, NET_PARAMS[2]), TOKENS)
    with refused(ValueError, "LSTM"):
        rnn.unroll(NET, (NET_PARAMS[0], (), NET_PARAMS[2]), TOKENS)


def test_params_that_are_not_floating():
    with refused(TypeError, "int32", "float"):
        rnn.unroll(CELL, {**PARAMS, "b": PARAMS["b"].astype(jnp.int32)}, XS)


@pytest.mark.parametrize("name", ["mask", "resets"])
def test_flags_of_the_wrong_shape_or_dtype(name):
    with refused(ValueError, name, r"\[2, 5\]", r"\(5, 2\)", "time first"):
        rnn.unroll(CELL, PARAMS, XS, **{name: jnp.ones((2, 5), bool)})
    with refused(TypeError, name, "float32", "bool"):
        rnn.unroll(CELL, PARAMS, XS, **{name: jnp.ones((5, 2))})
    with refused(TypeError, name, "list"):
        rnn.unroll(CELL, PARAMS, XS, **{name: [True] * 5})
    step = {"mask": "mask", "resets": "reset"}[name]
    with refused(ValueError, step, r"\[3\]", r"\(2,\)"):
        rnn.advance(
            CELL, PARAMS, CELL.initial_state(PARAMS, (2,)), XS[0], **{step: jnp.ones(3, bool)}
        )


def test_lengths_must_be_integers():
    with pytest.raises(TypeError, match=r"lengths_to_mask.*float32.*integers"):
        rnn.lengths_to_mask(jnp.array([1.0, 2.0]), 3)


def test_a_float_where_tokens_are_due():
    with refused(TypeError, r"float32\[5, 2\]", "integer tokens", cell=rnn.Embed(9, 3)):
        rnn.unroll(NET, NET_PARAMS, TOKENS.astype(jnp.float32))


def test_tokens_where_features_are_due():
    with refused(TypeError, r"int32\[5, 2, 3\]", "floating features", "Embed"):
        rnn.unroll(CELL, PARAMS, jnp.ones((5, 2, 3), jnp.int32))


def test_no_time_axis():
    with refused(ValueError, r"float32\[3\]", "advance"):
        rnn.unroll(CELL, PARAMS, jnp.ones(3))


@pytest.mark.parametrize("net", ["cell", "stack"])
def test_no_steps_at_all(net):
    cell, params, xs = (CELL, PARAMS, XS) if net == "cell" else (NET, NET_PARAMS, TOKENS)
    for strategy in (rnn.Scan(), rnn.Chunked(3)):
        state, ys = rnn.unroll(cell, params, xs[:0], mask=jnp.ones((0, 2), bool), strategy=strategy)
        assert ys.shape == (0, 2, rnn.unroll(cell, params, xs)[1].shape[-1])
        assert jax.tree.all(
            jax.tree.map(lambda a, b: bool((a == b).all()), state, cell.initial_state(params, (2,)))
        )
        assert rnn.fold(cell, params, xs[:0], total, 1.5, strategy=strategy)[1] == 1.5


@pytest.mark.parametrize(
    "verb", [rnn.unroll, rnn.diagnostics.record, lambda *a: rnn.fold(*a, total, 0.0)]
)
def test_a_list_where_an_array_is_due(verb):
    with refused(TypeError, "xs as a list", "asarray"):
        verb(CELL, PARAMS, [[1.0, 2.0, 3.0]])


def test_a_list_for_one_step():
    with refused(TypeError, "x as a list", "asarray"):
        rnn.advance(CELL, PARAMS, CELL.initial_state(PARAMS), [1.0, 2.0, 3.0])


def test_a_list_of_cells():
    with refused(TypeError, "LSTM", "tuple", cell=NET):
        rnn.Stack([CELL, CELL])
    with refused(TypeError, "tuple", cell=NET):
        rnn.Stack((CELL, rnn.LSTM))


def test_not_a_cell():
    with refused(TypeError, "the class itself", "instance", cell=None):
        rnn.unroll(rnn.LSTM, PARAMS, XS)
    with refused(TypeError, "function", "instance", cell=None):
        rnn.unroll(total, PARAMS, XS)


class Listed(rnn.Feedforward):
    widths: list

    def init(self, key, x):
        return ()

    def project(self, params, xs, noise=None):
        return xs


def test_an_unhashable_cell():
    with refused(TypeError, "cannot be hashed", "tuples", cell=Listed([1])):
        rnn.unroll(Listed([1]), (), XS)


def test_an_unfrozen_cell():
    with pytest.raises(TypeError, match="non-frozen"):

        @dataclasses.dataclass
        class Thawed(rnn.Cell):
            hidden: int

    with pytest.raises(dataclasses.FrozenInstanceError):
        CELL.hidden = 5


def test_a_cell_without_its_functions():
    class Half(rnn.Cell):
        def init(self, key, x):
            return ()

    with pytest.raises(TypeError, match=r"abstract.*Half.*project"):
        Half()


class Widening(rnn.LSTM):
    """A step that does not keep its state's dtype."""

    def step(self, params, state, z, dot):
        return super().step(params, state, z, dot)._replace(c=state.c.astype(jnp.bfloat16))


def test_a_step_that_changes_its_state():
    cell = Widening(4)
    with refused(ValueError, "step", r"bfloat16\[2, 4\]", r"float32\[2, 4\]", cell=cell):
        rnn.unroll(cell, PARAMS, XS)
    with refused(ValueError, "step", r"bfloat16\[2, 4\]", cell=cell):
        rnn.advance(cell, PARAMS, cell.initial_state(PARAMS, (2,)), XS[0])


def test_strategies():
    with refused(TypeError, "'scan'", r"Scan\(\)"):
        rnn.unroll(CELL, PARAMS, XS, strategy="scan")
    with refused(TypeError, "Scan"):
        rnn.unroll(CELL, PARAMS, XS, strategy=rnn.Scan)
    with refused(ValueError, "size=0", cell=None):
        rnn.Chunked(0)
    with refused(ValueError, "unroll=0", cell=None):
        rnn.Scan(unroll=0)
    with refused(TypeError, "inner", cell=None):
        rnn.Chunked(3, inner=rnn.Scan)


def test_extra_of_another_length():
    with refused(ValueError, "extra", r"int32\[4, 2\]", "time axis", cell=NET):
        rnn.fold(NET, NET_PARAMS, TOKENS, total, 0.0, extra=TOKENS[:4])


class Twice(rnn.Composite):
    cell: rnn.Layer

    @property
    def children(self):
        return (self.cell,)

    def compose(self, params, x, child):
        return child(0, x) + child(0, x)


def test_a_child_run_twice():
    with refused(ValueError, "exactly once", cell=Twice(CELL)):
        rnn.unroll(Twice(CELL), (PARAMS,), XS)


def test_no_layer_has_functions_that_only_refuse():
    for layer in (NET, rnn.Dense(3), rnn.CausalConv(3, 2)):
        assert isinstance(layer, rnn.Layer)
        assert not isinstance(layer, rnn.Cell)
        assert not hasattr(layer, "readout")
    assert not hasattr(NET, "step")
    assert not hasattr(rnn.Dense(3), "step")


@pytest.mark.parametrize(
    "make",
    [
        rnn.LSTM,
        rnn.GRU,
        rnn.Elman,
        rnn.Dense,
        lambda n: rnn.Embed(n, 3),
        lambda n: rnn.LSTM(4, projection=n),
    ],
)
def test_sizes(make):
    with refused(ValueError, "positive integer", cell=None):
        make(0)
    with refused(TypeError, "integer", cell=None):
        make(2.5)
