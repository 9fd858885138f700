"""Optimizers: when gradients are clipped, what rules are given, and accumulation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn as rnn
from jaxrnn import training
from jaxrnn.training import Batch, TrainState, mse, optimizer
from jaxrnn.training.optimizers import clips

NET = rnn.Dense(2)
PARAMS = NET.init(jax.random.key(0), 2)
XS = jax.random.normal(jax.random.key(1), (4, 6, 2))
WHOLE = Batch(XS, jnp.cos(XS) * 3)
PARTS = [Batch(*(a[:, i : i + 2] for a in WHOLE[:2])) for i in (0, 2, 4)]
POISON = PARTS[0]._replace(xs=PARTS[0].xs.at[0, 0].set(jnp.nan))


def close(a, b, tolerance=1e-5):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), a, b)


def begun(tx, params=PARAMS):
    return TrainState.create(NET, params, tx, jax.random.key(2))


def run(tx, batches, state=None):
    """The state after some steps, and the last metrics."""
    state, step = begun(tx) if state is None else state, training.bptt_step(NET, mse, tx)
    for batch in batches:
        state, metrics = step(state, batch)
    return state, metrics


def size(tx, **settings):
    """The norm of the update that a large gradient becomes."""
    tx = optimizer(tx, **settings)
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = tx.update({"w": jnp.full(4, 50.0)}, tx.init({"w": jnp.ones(4)}))
    return float(optax.tree.norm(updates))


def test_only_a_rate_or_a_schedule_is_clipped_unasked():
    rule = optax.sgd(1.0)
    assert size(rule) == size(rule, clip=None) == 100.0
    assert size(rule, clip=2.0) == 2.0
    # Adam's first step does not depend on the norm; what it remembers of the gradient does.
    for rate in (1e-3, optax.constant_schedule(1e-3), lambda step: 1e-3 / (step + 1)):
        for clip, norm in (({}, 1.0), ({"clip": None}, 100.0), ({"clip": 3.0}, 3.0)):
            tx = optimizer(rate, **clip)
            with jax.numpy_dtype_promotion("standard"):
                _, state = tx.update({"w": jnp.full(4, 50.0)}, tx.init({"w": jnp.ones(4)}))
            (adam,) = [s for s in jax.tree.leaves(state, is_leaf=is_adam) if is_adam(s)]
            close(optax.tree.norm(adam.mu) / 0.1, norm)


@pytest.mark.parametrize(
    ("clip", "small"),
    [
        (3.0, 1.0),
        (optax.clip(2.0), 1.5),
        (optax.clip_by_block_rms(2.0), 1.5),
        (optax.adaptive_grad_clip(0.5), 0.4),
    ],
    ids=["norm", "value", "block", "adaptive"],
)
def test_a_clip_is_optaxs_own_and_counts_what_it_changes(clip, small):
    """A leaf that never moves has the largest gradient, and is no part of any norm."""
    params = {"fixed": jnp.ones(4), "v": jnp.ones((2, 2)), "w": jnp.ones(4)}
    own = optax.clip_by_global_norm(clip) if isinstance(clip, float) else clip
    tx, moving = optimizer(optax.sgd(1.0), clip=clip), {k: params[k] for k in "vw"}
    state, counts = tx.init(params), []
    for size in (small, 50.0, small, 60.0):
        grads = {"fixed": jnp.full(4, 99.0), "v": jnp.zeros((2, 2)), "w": jnp.ones(4).at[0].set(0)}
        grads["w"] = grads["w"] * size / 2**0.5
        with jax.numpy_dtype_promotion("standard"):
            updates, state = tx.update(grads, state, params)
            want, _ = own.update({k: grads[k] for k in "vw"}, own.init(moving), moving)
        close(updates, {"fixed": jnp.zeros(4)} | {k: -want[k] for k in "vw"})
        counts.append(int(clips(state)))
    assert counts == [0, 1, 1, 2]


def test_the_metrics_and_the_history_tell_of_clipped_steps(capfd):
    """Of three batches to an update: the mean gradient is clipped, once, and a poisoned batch is no
    part of it."""
    tx = optax.MultiSteps(optimizer(optax.sgd(1e-3), clip=0.01), every_k_schedule=3)
    batches = [*PARTS[:2], POISON, PARTS[2], *PARTS]
    step = training.bptt_step(NET, mse, tx)
    _, history = training.fit(step, begun(tx), batches.__getitem__, 7)
    assert history.metrics["skipped"].tolist() == [n == 2 for n in range(7)]
    assert history.metrics["clipped"].tolist() == [n in (3, 6) for n in range(7)]
    assert "clipped 29%" in capfd.readouterr().err
    assert not run(optax.sgd(1e-3), [WHOLE])[1].clipped


def is_adam(x):
    return isinstance(x, optax.ScaleByAdamState)


@pytest.mark.parametrize("wrap", [lambda tx: tx, optimizer], ids=["bare", "wrapped"])
def test_a_rule_is_given_the_loss_and_its_gradient(wrap):
    """The rate halves where the loss has not improved for two steps: here it cannot."""
    tx = wrap(
        optax.chain(
            optax.sgd(0.0),
            optax.contrib.reduce_on_plateau(factor=0.5, patience=2, accumulation_size=2),
        )
    )
    state, metrics = run(tx, [WHOLE])
    assert not metrics.skipped  # the best loss is infinite until two were seen
    state, _ = run(tx, [WHOLE] * 5, state)
    assert int(state.skipped) == 0
    (plateau,) = [s for s in jax.tree.leaves(state.opt_state, is_leaf=is_plateau) if is_plateau(s)]
    assert float(plateau.scale) == 0.5
    close(plateau.best_value, metrics.loss)


def is_plateau(x):
    return isinstance(x, optax.contrib.ReduceLROnPlateauState)


def test_the_loss_as_a_function_is_that_of_all_params():
    """A rule that keeps what it was given, over a leaf that never moves beside one that does."""

    def update(updates, state, params=None, *, value, grad, value_fn, **extra):
        assert jax.tree.structure(grad) == jax.tree.structure(updates)
        return updates, (value, value_fn(jax.tree.map(lambda p: p + 1, params)))

    def objective(params, batch, key):
        noise = jax.random.normal(key, (3,))
        return training.MaskedMean.over(params["w"] * params["fixed"] * batch + noise)

    params = {"fixed": jnp.arange(3.0), "w": jnp.ones(3)}
    noise = jax.random.normal(jax.random.fold_in(jax.random.key(1), 0), (3,)).mean()
    both = (jnp.float32(0), jnp.float32(0))
    for wrap in (lambda tx: tx, optimizer):
        tx = wrap(optax.GradientTransformationExtraArgs(lambda params: both, update))
        state = TrainState.create(None, params, tx, jax.random.key(1))
        state, _ = training.make_step(objective, tx)(state, jnp.ones(3))
        got = [x for x in jax.tree.leaves(state.opt_state) if x.dtype == jnp.float32]
        close(got, [1 + noise, 2 + noise])  # the fixed leaf has not moved


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    [optax.lbfgs(), optax.polyak_sgd(),
     optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.05))],
    ids=["lbfgs", "polyak", "sam"],
)  # fmt: skip
def test_rules_that_ask_for_more_learn(rule):
    first = run(optimizer(rule), [WHOLE])[1].loss
    state, metrics = run(optimizer(rule), [WHOLE] * 12)
    assert int(state.skipped) == 0
    assert float(metrics.loss) < float(first)


def test_accumulated_steps_equal_one_on_the_joined_batch():
    rule = optimizer(optax.adam(1e-1), clip=0.1)
    tx = optax.MultiSteps(rule, every_k_schedule=3)
    waiting, _ = run(tx, PARTS[:2])
    close(waiting.params, PARAMS, 0)
    got, _ = run(tx, [*PARTS[2:], *PARTS], waiting)
    close(got.params, run(rule, [WHOLE, WHOLE])[0].params)


@pytest.mark.slow
def test_accumulation_in_any_step_and_within_an_optimizer():
    rule = optax.adam(1e-1)
    want, _ = run(rule, [WHOLE, WHOLE])
    within, _ = run(optimizer(optax.MultiSteps(rule, 3)), PARTS * 2)
    close(within.params, want.params)
    tx = optax.MultiSteps(rule, every_k_schedule=3)
    step = training.make_step(
        lambda params, batch, key: mse(rnn.unroll(NET, params, batch.xs)[1], batch.targets), tx
    )
    state = begun(tx)
    for batch in PARTS * 2:
        state, _ = step(state, batch)
    close(state.params, want.params)
    cell = rnn.GRU(2)
    weights = cell.init(jax.random.key(0), 2)
    step = training.truncated_bptt_step(cell, mse, tx)
    state = TrainState.create(cell, weights, tx, jax.random.key(2), batch_shape=(2,))
    for batch in PARTS:
        state, metrics = step(state._replace(carry=cell.initial_state(weights, (2,))), batch)
        assert not metrics.skipped
    one = TrainState.create(cell, weights, rule, jax.random.key(2))
    close(state.params, training.bptt_step(cell, mse, rule)(one, WHOLE)[0].params)


def test_a_batch_that_is_not_finite_is_no_part_of_what_is_accumulated():
    tx = optimizer(optax.MultiSteps(optax.adam(1e-1), 3))
    want, _ = run(tx, PARTS)
    got, metrics = run(tx, [PARTS[0], POISON])
    assert bool(metrics.skipped)
    got, _ = run(tx, PARTS[1:], got)
    close(got.params, want.params)
    assert (int(got.skipped), int(got.step)) == (1, 4)
    assert any(
        (a != b).any() for a, b in zip(*map(jax.tree.leaves, (got.params, PARAMS)), strict=True)
    )


@pytest.mark.slow
def test_bfloat16_params_are_accumulated_in_float32():
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    tx = optimizer(optax.MultiSteps(optax.adam(1e-1), 2))
    batch = jax.tree.map(lambda a: a.astype(jnp.bfloat16), PARTS[0])
    state, metrics = run(tx, [batch, batch], begun(tx, params))
    assert not metrics.skipped
    assert {p.dtype for p in jax.tree.leaves(state.params)} == {jnp.bfloat16.dtype}


def test_a_state_of_the_rule_that_becomes_infinite_skips_the_step():
    """The update is finite, and what the rule remembers is not: it would never be so again."""
    rule = optax.GradientTransformation(
        lambda params: jnp.float32(1e20), lambda grads, s, params=None: (grads, s * 1e15)
    )
    state, metrics = run(rule, PARTS[:1])
    assert not metrics.skipped
    state, metrics = run(rule, PARTS[1:2], state)
    assert bool(metrics.skipped)
    close(state.opt_state, np.float32(1e35))
