"""The synthetic tasks: every row's answer against a plain program, the distributions, and keys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from jaxrnn import tasks, training

DYCK = {"kinds": 3, "depth": 3}
SMALL = {
    "adding": (tasks.adding, {"length": 9}),
    "copy": (tasks.copy, {"lag": 4, "symbols": 3, "categories": 5}),
    "parity": (tasks.parity, {"length": 7}),
    "sequential_parity": (tasks.sequential_parity, {"length": 7}),
    "delayed_match": (tasks.delayed_match, {"delay": 3, "stimuli": 4}),
    "temporal_order": (tasks.temporal_order, {"length": 29}),
    "dyck": (tasks.dyck, {"length": 12, **DYCK}),
    "dyck_recognition": (tasks.dyck_recognition, {"length": 12, **DYCK}),
    "listops": (tasks.listops, {"length": 40, "depth": 3, "share": 0.6}),
}
ROWS = 300


@functools.cache
def compiled(name, batch):
    task, settings = SMALL[name]
    return jax.jit(functools.partial(task, batch=batch, **settings))


def draw(name, seed=0, batch=ROWS):
    return compiled(name, batch)(jax.random.key(seed))


def rows(batch):
    """Each row on its own: its inputs, its values and where they count, padding left out."""
    mask = (
        np.ones(batch.targets.where.shape, bool) if batch.mask is None else np.asarray(batch.mask)
    )
    xs, values, where = (np.asarray(a) for a in (batch.xs, *batch.targets))
    for b in range(mask.shape[1]):
        keep = mask[:, b]
        yield xs[keep, b], values[keep, b], where[keep, b]


def well_formed(word, kinds, depth):
    stack = []
    for token in word:
        if token < kinds:
            stack.append(token)
        elif not stack or stack.pop() != token - kinds:
            return False
        if len(stack) > depth:
            return False
    return not stack


def value(tokens):
    """By recursive descent over the whole expression."""
    operations = {10: min, 11: max, 12: lambda v: int(np.median(v)), 13: lambda v: sum(v) % 10}

    def read(i):
        if tokens[i] < 10:
            return int(tokens[i]), i + 1
        found, j = [], i + 1
        while tokens[j] != 14:
            got, j = read(j)
            found.append(got)
        assert 2 <= len(found) <= 5
        return operations[int(tokens[i])](found), j + 1

    answer, end = read(0)
    assert end == len(tokens)
    return answer


# What the answers of one row must be: at the last step, or at every step.

LAST = {
    "adding": lambda x: [x[x[:, 1] == 1, 0].sum()],
    "parity": lambda x: sum(x) % 2,
    "delayed_match": lambda x: x[0] == x[-1],
    "temporal_order": lambda x: x[x < 2] @ np.array([2, 1]),
    "dyck_recognition": lambda x: well_formed(x, **DYCK),
    "listops": value,
}
EVERY = {
    "copy": lambda x: [5] * 7 + x[:3].tolist(),
    "sequential_parity": lambda x: [sum(x[: t + 1]) % 2 for t in range(len(x))],
    "dyck": lambda x: [*x[1:], 6],
}


@pytest.mark.parametrize("name", SMALL)
def test_every_answer_is_right(name):
    batch = draw(name)
    for (x, values, where), answer in zip(
        rows(batch), np.asarray(batch.targets.answer), strict=True
    ):
        if name in LAST:
            np.testing.assert_allclose(answer, LAST[name](x), rtol=1e-6)
            np.testing.assert_array_equal(answer, values[-1])
            assert where[-1]
            assert not where[:-1].any()
            assert not values[:-1].any()
        else:
            assert where.all()
            np.testing.assert_array_equal(values, EVERY[name](x))


def test_the_inputs_are_what_the_papers_say():
    for seed in range(3):
        numbers, marks = np.moveaxis(np.asarray(draw("adding", seed).xs), -1, 0)
        assert ((numbers >= 0) & (numbers < 1)).all()
        assert (marks[:4].sum(0) == 1).all()
        assert (marks[4:].sum(0) == 1).all()
        assert (marks.sum(1) > 0).all()  # every step is marked in some row
        xs = np.asarray(draw("copy", seed).xs)
        assert (xs[:3] < 5).all()
        assert set(xs[:3].ravel()) == set(range(5))
        assert (xs[3:] == np.array([5, 5, 5, 6, 5, 5, 5])[:, None]).all()
        xs = np.asarray(draw("delayed_match", seed).xs)
        assert (xs[1:-1] == 4).all()
        assert len(set(zip(xs[0], xs[-1], strict=True))) == 16
        xs = np.asarray(draw("temporal_order", seed).xs)
        p, q = np.nonzero((xs < 2).T)[1].reshape(-1, 2).T
        assert set(p) == {2, 3}
        assert set(q) == {14, 15}
        assert set(xs.ravel()) == set(range(6))
        assert (np.asarray(draw("dyck", seed).xs[0]) == 6).all()


@pytest.mark.parametrize(
    "name", ["parity", "delayed_match", "dyck_recognition", "sequential_parity"]
)
def test_halves_are_halves(name):
    share = float(draw(name).targets.answer.mean(dtype=jnp.float32))
    assert abs(share - 0.5) < 5 * 0.5 / ROWS**0.5


def test_trivial_scores():
    one = training.mse(jnp.ones((9, 20000, 1)), *scored_values(draw("adding", batch=20000)))
    assert abs(float(one.mean) - 1 / 6) < 0.01
    assert int(one.steps) == 20000
    assert round(tasks.copy_baseline(1000), 4) == 0.0204
    batch = draw("copy")
    logits = jnp.where(
        jnp.arange(10)[:, None, None] < 7,
        jax.nn.one_hot(5, 7) * 99,
        jnp.array([0.0] * 5 + [-99.0] * 2),
    )
    got = training.cross_entropy(jnp.broadcast_to(logits, (10, ROWS, 7)), *scored_values(batch))
    assert abs(float(got.mean) - tasks.copy_baseline(4, 3, 5)) < 1e-5
    answers = np.asarray(draw("listops", batch=2000).targets.answer)
    shares = np.bincount(answers, minlength=10) / 2000
    assert shares.min() > 0.04
    assert shares.max() < 0.2


def scored_values(batch):
    return batch.targets.values, batch.targets.where


def test_dyck_words_are_drawn_uniformly_and_all_of_them():
    kinds, depth, length = 2, 2, 6
    xs = np.asarray(tasks.dyck(jax.random.key(0), length, 8000, kinds, depth).xs[1:])
    code = xs.T @ (2 * kinds) ** np.arange(length)
    every = [w for w in np.ndindex(*[2 * kinds] * length) if well_formed(w, kinds, depth)]
    found, counts = np.unique(code, return_counts=True)
    assert set(found) == {int(np.dot(w, (2 * kinds) ** np.arange(length))) for w in every}
    expected = 8000 / len(every)
    assert (np.abs(counts - expected) < 5 * expected**0.5).all()
    assert abs(tasks.dyck_floor(length, kinds, depth) - np.log(len(every)) / (length + 1)) < 1e-12


def test_dyck_allowed_is_what_some_continuation_allows():
    kinds, depth = 2, 2
    batch = tasks.dyck(jax.random.key(0), 6, 40, kinds, depth)
    got = np.asarray(jax.jit(tasks.dyck_allowed, static_argnums=(1, 2))(batch.xs, kinds, depth))
    one = np.asarray(tasks.dyck_allowed(batch.xs[:, 0], kinds, depth))
    np.testing.assert_array_equal(one, got[:, 0])
    words = {
        w
        for n in (0, 2, 4, 6, 8)
        for w in np.ndindex(*[2 * kinds] * n)
        if well_formed(w, kinds, depth)
    }
    begun = {w[:t] for w in words for t in range(len(w) + 1)}
    for t in range(7):
        for b in range(40):
            said = tuple(np.asarray(batch.xs[1 : t + 1, b]).tolist())
            assert got[t, b, 2 * kinds] == (said in words)
            assert [bool(a) for a in got[t, b, : 2 * kinds]] == [
                (*said, i) in begun for i in range(2 * kinds)
            ]
            assert got[t, b, batch.targets.values[t, b]]


def test_listops_trees_fill_their_bounds_and_keep_them():
    batch = draw("listops")
    lengths, depths, found = [], [], set()
    for x, _, _ in rows(batch):
        level = np.cumsum((x >= 10).astype(int) - 2 * (x == 14))
        lengths.append(len(x))
        depths.append(level.max())
        found |= set(x.tolist())
    assert (max(depths), found) == (3, set(range(15)))
    assert max(lengths) <= 40
    assert max(lengths) > 30
    assert min(lengths) >= 4
    tight = tasks.listops(jax.random.key(1), length=9, batch=200, share=0.9)
    for x, _, where in rows(tight):
        assert tight.targets.answer[0] == value(
            np.asarray(tight.xs[:, 0])[np.asarray(tight.mask[:, 0])]
        )
        assert value(x) >= 0
        assert where[-1]


@pytest.mark.parametrize("name", first(4, SMALL))
def test_a_key_is_all_that_a_batch_depends_on(name):
    task, keys = compiled(name, 3), jax.random.split(jax.random.key(5), 3)
    same = jax.tree.map(np.array_equal, task(keys[0]), task(keys[0]))
    assert all(jax.tree.leaves(same))
    assert not np.array_equal(task(keys[0]).xs, task(keys[1]).xs)
    many = jax.vmap(task)(keys)
    for i, key in enumerate(keys):
        jax.tree.map(
            lambda got, want, i=i: np.testing.assert_array_equal(got[i], want), many, task(key)
        )
    again = tasks.batches(SMALL[name][0], keys[0], batch=3, **SMALL[name][1])
    jax.tree.map(np.testing.assert_array_equal, again(2), task(jax.random.fold_in(keys[0], 2)))


@pytest.mark.parametrize("name", SMALL)
def test_dtypes_are_the_same_under_x64(name, x64):
    task, settings = SMALL[name]
    batch = jax.eval_shape(functools.partial(task, batch=2, **settings), jax.random.key(0))
    kind = jnp.float32 if name == "adding" else jnp.int32
    assert (batch.xs.dtype, batch.targets.values.dtype, batch.targets.where.dtype) == (
        kind,
        kind,
        bool,
    )


def test_scored_is_the_loss_at_the_steps_that_count():
    values, where = (
        jnp.array([[0, 1], [2, 0], [0, 99]]),
        jnp.array([[False, True], [True, False], [False, True]]),
    )
    mask = jnp.array([[True, True], [True, True], [True, False]])
    logits = jax.random.normal(jax.random.key(0), (3, 2, 3))
    loss = tasks.scored(training.cross_entropy)
    assert loss is tasks.scored(training.cross_entropy)
    got = loss(logits, tasks.Scored(values, where), mask)
    want = -sum(jax.nn.log_softmax(logits[t, b])[values[t, b]] for t, b in ((0, 1), (1, 0)))
    np.testing.assert_allclose(got.total, want, rtol=1e-6)
    assert int(got.steps) == 2
    assert tasks.Scored(values, where).answer.tolist() == [2, 99]


@pytest.mark.slow
def test_a_ragged_task_trains_the_same_under_every_strategy():
    net = rnn.Stack((rnn.Embed(15, 4), rnn.GRU(5), rnn.Dense(10)))
    tx, batch = training.optimizer(1e-2), draw("listops", batch=4)
    start = training.TrainState.create(
        net, net.init(jax.random.key(0), rnn.TOKEN), tx, jax.random.key(1)
    )
    loss = tasks.scored(training.cross_entropy)
    (_, scan), (_, chunked) = (
        training.bptt_step(net, loss, tx, strategy=s)(start, batch)
        for s in (rnn.Scan(), rnn.Chunked(16))
    )
    assert int(scan.tokens) == 4
    np.testing.assert_allclose(
        (scan.loss, scan.grad_norm), (chunked.loss, chunked.grad_norm), rtol=1e-4
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: tasks.adding(key, 1), "adding: got length=1"),
        (lambda key: tasks.copy(key, lag=0), "lag=0"),
        (lambda key: tasks.delayed_match(key, stimuli=1), "one stimulus"),
        (lambda key: tasks.temporal_order(key, 9), "length=9"),
        (lambda key: tasks.dyck(key, 7), "dyck: got length=7"),
        (lambda key: tasks.listops(key, length=3), "length=3"),
        (lambda key: tasks.listops(key, share=1.0), "share"),
        (lambda key: tasks.parity(key, batch=0), "batch=0"),
    ],
)
def test_impossible_settings_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(jax.random.key(0))


LEARNING = {  # settings, net, steps, the loss that is well below the trivial one
    "adding": ({"length": 20}, rnn.Stack((rnn.GRU(32), rnn.Dense(1))), 1200, 0.02),
    "copy": (
        {"lag": 5, "symbols": 3, "categories": 4},
        rnn.Stack((rnn.Embed(6, 8), rnn.GRU(48), rnn.Dense(6))),
        1200,
        0.02,
    ),
    "parity": ({"length": 4}, rnn.Stack((rnn.Embed(2, 8), rnn.LSTM(32), rnn.Dense(2))), 1500, 0.05),
    "sequential_parity": (
        {"length": 12},
        rnn.Stack((rnn.Embed(2, 8), rnn.LSTM(32), rnn.Dense(2))),
        800,
        0.05,
    ),
    "delayed_match": (
        {"delay": 5, "stimuli": 4},
        rnn.Stack((rnn.Embed(5, 8), rnn.GRU(32), rnn.Dense(2))),
        1000,
        0.05,
    ),
    "temporal_order": (
        {"length": 12},
        rnn.Stack((rnn.Embed(6, 8), rnn.GRU(32), rnn.Dense(4))),
        800,
        0.05,
    ),
    "dyck": (
        {"length": 12, "kinds": 2, "depth": 2},
        rnn.Stack((rnn.Embed(5, 8), rnn.LSTM(32), rnn.Dense(5))),
        800,
        1.08 * tasks.dyck_floor(12, 2, 2),
    ),
    "dyck_recognition": (
        {"length": 8, "kinds": 2, "depth": 2},
        rnn.Stack((rnn.Embed(4, 8), rnn.LSTM(32), rnn.Dense(2))),
        2500,
        0.2,
    ),
    "listops": (
        {"length": 12, "depth": 1},
        rnn.Stack((rnn.Embed(15, 16), rnn.GRU(64), rnn.Dense(10))),
        2500,
        1.3,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNING)
def test_each_task_is_learnt(name):
    settings, net, steps, bound = LEARNING[name]
    loss = tasks.scored(training.mse if name == "adding" else training.cross_entropy)
    source = tasks.batches(SMALL[name][0], jax.random.key(0), batch=64, **settings)
    tx = training.optimizer(training.warmup_cosine(1e-2, steps))
    params = net.init(jax.random.key(1), rnn.features(2) if name == "adding" else rnn.TOKEN)
    state = training.TrainState.create(net, params, tx, jax.random.key(2))
    state, _ = training.fit(training.bptt_step(net, loss, tx), state, source, steps, progress=False)
    held = tasks.batches(SMALL[name][0], jax.random.key(9), batch=500, **settings)(0)
    assert float(training.evaluate(net, loss, state.params, held)[1].mean) < bound
