"""The protocol: what is kept, what is refused, and what stays as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.online import loss, problem
from jaxrnn import online
from jaxrnn.online import units

NET = rnn.Elman(2)
MADE = problem(NET, batch=())


def test_labels_flow():
    def step(w, h):
        y = jnp.tanh(h * w[:2]).reshape(1, 2) @ jnp.ones((2, 2)) + jnp.flip(h)[None]
        return h + w[2:], y[0], jax.nn.relu(h[:1]), jnp.sort(h)

    jaxpr = jax.make_jaxpr(step)(jnp.ones(4), jnp.ones(2))
    own = units.labelled((4,), (2,))
    assert own.tolist() == [0, 1, 0, 1]
    got = units.touched(jaxpr, [0], [own])
    many, none = units.MANY, units.NONE
    assert [a.tolist() for a in got] == [[0, 1], [many, many], [none], [none, none]]
    got = units.touched(jaxpr, [1], [np.arange(2)])
    assert [a.tolist() for a in got] == [[0, 1], [many, many], [0], [many, many]]


@pytest.mark.parametrize(
    ("cell", "rows"),
    [
        (rnn.PeepholeLSTM(2), {2}),
        (rnn.LayerNormLSTM(2), {2, 4}),  # gains and biases act unit by unit
        (rnn.EchoState(2), set()),
    ],
)
def test_what_snap_keeps_is_read_off_the_step(cell, rows):
    params = cell.init(jax.random.key(0), 3)
    learner = online.SnAp1(cell, loss).init(params)
    (found,) = learner.influence
    assert {a.shape[0] for a in found if a is not None} == rows


def test_the_influence_of_an_elementwise_cell_is_of_the_size_of_its_params():
    net = rnn.Stack((rnn.LRU(4), rnn.Dense(3)))
    params = net.init(jax.random.key(0), 3)
    learner = online.RTRL(net, loss).init(params, (5,))
    reach = [params[0][name] for name in ("w_x", "nu", "theta", "gamma")]
    sizes = sum(a.size for a in jax.tree.leaves(learner.influence))
    assert sizes == 5 * 2 * sum(p.size for p in reach)


def test_fixed_params_have_no_gradient():
    cell = rnn.Stack((rnn.EchoState(3), rnn.Dense(2)))
    params = cell.init(jax.random.key(0), 2)
    for algorithm in (online.ForwardGradient(cell, loss), online.SnAp1(cell, loss)):
        learner = algorithm.init(params, (), jax.random.key(0))
        _, (_, grads) = algorithm.step(params, learner, jnp.ones(2), jnp.ones(2))
        assert not any(map(jnp.any, jax.tree.leaves(grads[0]["fixed"])))
        assert grads[1]["w"].any()


def test_past_its_steps_bptt_says_so():
    algorithm = online.BPTT(NET, loss, 2)
    learner = algorithm.init(MADE.params)
    x, target = jnp.ones(2), jnp.ones(2)
    for _ in range(2):
        learner, (value, _) = algorithm.step(MADE.params, learner, x, target)
    with pytest.raises(ValueError, match="step 3 since a row began"):
        algorithm.step(MADE.params, learner, x, target)
    _, (value, grads) = jax.jit(algorithm.step)(MADE.params, learner, x, target)
    assert jnp.isnan(value.total)
    assert jnp.isnan(grads["b"]).all()
    again, (value, _) = algorithm.step(MADE.params, learner, x, target, reset=jnp.array(True))
    assert int(again.age) == 1
    assert jnp.isfinite(value.total)


def test_inputs_are_seen_from_the_params_or_said():
    tokens = rnn.Stack((rnn.Embed(5, 2), NET))
    learner = online.TBPTT(tokens, loss, 3).init(tokens.init(jax.random.key(0), rnn.TOKEN), (4,))
    assert learner.xs.dtype == jnp.int32
    assert learner.xs.shape == (3, 4)
    twice = rnn.Stack((rnn.Apply(lambda x: x[..., ::2]), NET))
    params = twice.init(jax.random.key(0), 4)
    with pytest.raises(ValueError, match="x=features"):
        online.TBPTT(twice, loss, 3).init(params)
    assert online.TBPTT(twice, loss, 3).init(params, x=4).xs.shape == (3, 4)


@pytest.mark.slow
def test_memory_does_not_grow_with_time():
    def temporaries(steps):
        algorithm = online.RTRL(NET, loss)
        learner = algorithm.init(MADE.params)

        def run(learner, xs):
            def body(carry, x):
                learner, sums = carry
                learner, (_, grads) = algorithm.step(MADE.params, learner, x, x)
                return (learner, jax.tree.map(jnp.add, sums, grads)), None

            zeros = jax.tree.map(jnp.zeros_like, MADE.params)
            return jax.lax.scan(body, (learner, zeros), xs)[0]

        program = jax.jit(run).lower(learner, jnp.ones((steps, 2))).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert temporaries(1000) <= temporaries(10) + 64
