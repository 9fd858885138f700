"""What the gradient of an unrolled cell stores and carries,
read off jaxprs and compiled programs."""

import math
import re

import chex
import jax
import jax.numpy as jnp
import pytest

import jaxrnn as rnn
from helpers.jaxprs import body, equations, loops, parts
from helpers.tables import first

B, F, H, T = 2, 3, 8, 17


class Plain(rnn.Cell):
    """A plain `@` in the step."""

    hidden: int

    def init(self, key, x):
        return {"w_h": jax.random.normal(key, (self.hidden, self.hidden)) / self.hidden}

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, self.hidden))

    def project(self, params, xs, noise=None):
        return xs.sum(-1, keepdims=True)

    def step(self, params, state, z, dot):
        return jnp.tanh(state @ params["w_h"] + z)

    def readout(self, params, state, z):
        return state


CELLS = [
    rnn.LSTM(H),
    rnn.LSTM(H, projection=5),
    rnn.GRU(H),
    rnn.GRU(H, reset_after=False),
    rnn.Zoneout(rnn.LSTM(H, projection=5), 0.1),
    Plain(H),
    rnn.AntisymmetricRNN(H, gated=True),
]
CONTROLS = {
    "bare": {},
    "mask": {"mask"},
    "resets": {"resets"},
    "reverse": {"reverse"},
    "all": {"mask", "resets", "reverse"},
}


def carried(cell, controls):
    """Shapes of weights, and shapes that the loops of a gradient in the params
    carry or accumulate."""
    params = cell.init(jax.random.key(0), rnn.features(F))
    xs, flags = jnp.ones((T, B, F)), jnp.ones((T, B), bool)
    options = {name: True if name == "reverse" else flags for name in controls}

    def loss(params):
        return jnp.sum(rnn.unroll(cell, params, xs, **options)[1] ** 2)

    jaxpr = jax.make_jaxpr(jax.grad(loss))(params).jaxpr
    found = [eqn for reverse in (False, True) for eqn in loops(jaxpr, reverse)]
    assert len(found) == 2, "one loop forward, one back"
    return {a.shape for a in jax.tree.leaves(params) if a.ndim > 1}, set().union(
        *(parts(eqn)[0] for eqn in found)
    )


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_weights_are_transposed_before_the_loop_and_not_in_it(cell):
    """A product that contracts the columns of both is slow,
    and one transposed in every step slower."""
    params = cell.init(jax.random.key(0), rnn.features(F))
    jaxpr = jax.make_jaxpr(
        jax.grad(lambda p: jnp.sum(rnn.unroll(cell, p, jnp.ones((T, B, F)))[1]))
    )(params).jaxpr
    (back,) = loops(jaxpr, True)
    products = list(equations(body(back), "rows"))
    assert products
    assert not any(eqn.params["summed"] for eqn in products), "a weight's gradient within the loop"
    assert not list(equations(body(back), "transpose"))


@pytest.mark.parametrize("controls", CONTROLS.values(), ids=CONTROLS)
@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_no_weight_is_carried_through_a_loop(cell, controls):
    weights, shapes = carried(cell, controls)
    assert not weights & shapes


def test_lax_scan_carries_a_weight():
    """The checks above see what they look for."""
    w, xs = jnp.eye(H), jnp.ones((T, B, H))

    def loss(w):
        step = lambda h, x: (jnp.tanh(x + h @ w),) * 2  # noqa: E731
        return jnp.sum(jax.lax.scan(step, jnp.zeros((B, H)), xs)[1] ** 2)

    (back,) = loops(jax.make_jaxpr(jax.grad(loss))(w).jaxpr, True)
    assert w.shape in parts(back)[0]


def test_a_product_that_is_only_added_to_z_stores_no_perturbation():
    cell = rnn.LSTM(H)
    params = cell.init(jax.random.key(0), rnn.features(F))
    jaxpr = jax.make_jaxpr(jax.grad(lambda p: rnn.unroll(cell, p, jnp.ones((T, B, F)))[1].sum()))(
        params
    ).jaxpr
    (back,) = [eqn for eqn in loops(jaxpr, True)]
    assert parts(back)[1].count((T, B, 4 * H)) == 1


def gradient_of_the_final_state(cell, steps, strategy):
    params = jax.eval_shape(cell.init, jax.random.key(0), rnn.features(32))
    xs = jax.ShapeDtypeStruct((steps, 1, 32), jnp.float32)

    def loss(params, xs):
        return jnp.sum(rnn.unroll(cell, params, xs, strategy=strategy)[0].h ** 2)

    return jax.jit(jax.grad(loss)).lower(params, xs).compile().memory_analysis().temp_size_in_bytes


def test_a_million_steps_in_ten_megabytes():
    assert gradient_of_the_final_state(rnn.LSTM(128), 1_000_000, rnn.Chunked(1000)) <= 10e6


def test_without_chunks_every_step_is_stored():
    assert gradient_of_the_final_state(rnn.LSTM(128), 30_000, rnn.Scan()) >= 80e6, (
        "the check above sees what it looks for"
    )


ARRAYS = {rnn.LSTM: 8, rnn.GRU: 7, rnn.Elman: 4, rnn.PeepholeLSTM: 8, rnn.LayerNormLSTM: 31}


def compiled(cell, batch, steps=1000, hidden=64, features=64, **options):
    params = jax.eval_shape(cell.init, jax.random.key(0), rnn.features(features))
    xs = jax.ShapeDtypeStruct((steps, *batch, features), jnp.float32)
    options = {
        name: jnp.ones((steps, *batch), bool) if name != "reverse" else True for name in options
    }
    return (
        jax.jit(jax.grad(lambda p, xs: jnp.sum(rnn.unroll(cell, p, xs, **options)[1] ** 2), (0, 1)))
        .lower(params, xs)
        .compile()
    )


@pytest.mark.parametrize("batch", [(), (8,), pytest.param((1,), marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", ARRAYS, ids=lambda family: family.__name__)
def test_a_gradient_takes_few_arrays_and_no_step_copies_one(family, batch):
    """Of `[T, B, H]`: z and its gradient in one place, the state before each step, the states, and
    one passing product."""
    program = compiled(family(64), batch)
    numbers = program.memory_analysis().temp_size_in_bytes / 4
    assert numbers <= (ARRAYS[family] + 0.3) * 1000 * math.prod(batch) * 64
    text = program.as_text()
    bodies = [
        part
        for part in re.split(r"\n(?=%|ENTRY)", text)
        if "ENTRY" not in part and "/while/body" in part
    ]
    assert bodies
    whole = re.compile(r"= f32\[1000,[^=]* copy\(")
    assert not [line for part in bodies for line in part.splitlines() if whole.search(line)]


@pytest.mark.parametrize("controls", first(0, ["all", "bare"]))
@pytest.mark.parametrize("cell", [rnn.LSTM(H), rnn.GRU(H)], ids=repr)
def test_short_rows_are_taken_a_few_at_a_time(cell, controls):
    steps = 67  # whole fours and a rest
    options = (
        {
            "mask": jnp.arange(steps)[:, None] < 60,
            "resets": jnp.arange(steps)[:, None] == 30,
            "reverse": True,
        }
        if controls == "all"
        else {}
    )
    params = cell.init(jax.random.key(0), rnn.features(F))
    xs = jax.random.normal(jax.random.key(1), (steps, 1, F))

    def taken(strategy):
        loss = lambda p, xs: jnp.sum(rnn.unroll(cell, p, xs, strategy=strategy, **options)[1] ** 2)  # noqa: E731
        program = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(params, xs).compile()
        return program(params, xs), re.search(r"= f32\[4,(1,)?8\]", program.as_text())

    got, fours = taken(rnn.Scan())
    want, none = taken(rnn.Chunked(20))  # too short to be worth it
    assert fours
    assert not none
    chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("controls", first(1, ["all", "bare"]))
def test_a_large_pass_without_a_derivative_goes_in_pieces(controls):
    """The same numbers without z of all steps; the gradient is that of the whole."""
    cell, steps, batch = rnn.Zoneout(rnn.GRU(512), 0.1), 130, 64
    flags = {
        "mask": jnp.arange(steps)[:, None] < jnp.arange(steps - batch, steps),
        "resets": jnp.arange(steps)[:, None] % 70 == jnp.arange(batch),
    }
    options = flags | {"reverse": True} if controls == "all" else {}
    params = cell.init(jax.random.key(0), rnn.features(F))
    xs, key = jax.random.normal(jax.random.key(1), (steps, batch, F)), jax.random.key(2)

    def loss(params, xs, strategy):
        return jnp.sum(rnn.unroll(cell, params, xs, key=key, strategy=strategy, **options)[1] ** 2)

    def results(strategy, f):
        program = jax.jit(f, static_argnums=2).lower(params, xs, strategy).compile()
        return program(params, xs), program.memory_analysis().temp_size_in_bytes

    chunks = rnn.Chunked(31, remat=False)  # too short to be cut again
    (got, memory), (want, _) = (results(s, loss) for s in (rnn.Scan(), chunks))
    chex.assert_trees_all_close(got, want, rtol=1e-5)
    assert memory < 2.1 * steps * batch * 512 * 4, (
        "the outputs, twice for the rest of a division, and no z, three times as large"
    )
    (got, memory), (want, _) = (results(s, jax.grad(loss, (0, 1))) for s in (rnn.Scan(), chunks))
    chex.assert_trees_all_close(got, want, rtol=1e-3, atol=1e-3)
    assert memory > 3 * steps * batch * 256 * 4, "a gradient projects all steps at once"


def test_a_whole_network_and_its_loss_over_a_million_steps():
    net = rnn.Stack((rnn.Embed(256, 64), rnn.LSTM(128), rnn.LSTM(128), rnn.Dense(256)))
    params = jax.eval_shape(net.init, jax.random.key(0), rnn.TOKEN)
    tokens = jax.ShapeDtypeStruct((1_000_000, 1), jnp.int32)

    def add(total, params, logits, targets, mask):
        return total - jnp.sum(
            jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1)
        )

    def loss(params, tokens):
        return rnn.fold(net, params, tokens, add, 0.0, extra=tokens, strategy=rnn.Chunked(1000))[1]

    assert (
        jax.jit(jax.grad(loss)).lower(params, tokens).compile().memory_analysis().temp_size_in_bytes
        <= 20e6
    )


def test_vmap_over_batch_first_data_is_the_same_program():
    """As many products, of as many numbers, as with native batches."""
    cell = rnn.LSTM(H)
    params = cell.init(jax.random.key(0), rnn.features(F))
    xs = jnp.ones((B, T, F))

    def native(params, xs):
        return jnp.sum(rnn.unroll(cell, params, xs.swapaxes(0, 1))[1] ** 2)

    def mapped(params, xs):
        return jnp.sum(jax.vmap(rnn.unroll, (None, None, 0))(cell, params, xs)[1] ** 2)

    def products(f):
        text = jax.jit(jax.grad(f, (0, 1))).lower(params, xs).as_text()
        return sorted(line.split(" : ")[-1] for line in text.splitlines() if "dot_general" in line)

    assert products(mapped) == products(native)
    chex.assert_trees_all_close(
        jax.grad(mapped, (0, 1))(params, xs),
        jax.grad(native, (0, 1))(params, xs),
        rtol=1e-5,
        atol=1e-6,
    )


def test_the_precision_asked_for_reaches_every_product_and_newton_asks_for_the_highest():
    cell = rnn.GRU(4)
    params, xs = cell.init(jax.random.key(0), rnn.features(3)), jnp.ones((5, 2, 3))

    def asked(strategy):
        jaxpr = jax.make_jaxpr(
            jax.grad(lambda p: rnn.unroll(cell, p, xs, strategy=strategy)[1].sum())
        )(params)
        return [
            eqn.params["precision"]
            for kind in ("rows", "dot_general")
            for eqn in equations(jaxpr.jaxpr, kind)
        ]

    assert set(asked(rnn.Scan())) == {None}
    with jax.default_matmul_precision("highest"):
        assert None not in asked(rnn.Scan())
    inside = asked(rnn.Newton())
    assert inside.count(None) == 2  # the projection and its weight's gradient
    assert len(inside) > 6
