"""Label smoothing and CTC against their definitions."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from jaxrnn import training
from jaxrnn.training import cross_entropy, ctc

MASK = jnp.array([[True, True], [True, False], [True, False], [False, False]])
LOGITS = jax.random.normal(jax.random.key(0), (4, 2, 3))
FOUL = jnp.where(MASK[..., None], LOGITS, jnp.nan)


@pytest.mark.slow
def test_smoothing_is_the_cross_entropy_with_a_smoothed_target():
    targets = jnp.array([[0, 1], [2, 99], [1, -5], [7, 7]])
    q = 0.8 * jax.nn.one_hot(targets, 3) + 0.2 / 3
    want = jnp.where(MASK, -(q * jax.nn.log_softmax(LOGITS)).sum(-1), 0).sum()
    loss = partial(cross_entropy, smoothing=0.2)
    got = loss(FOUL, targets, MASK)
    np.testing.assert_allclose(got.total, want, rtol=1e-5)
    assert int(got.steps) == 4
    gradient = jax.grad(lambda x: loss(x, targets, MASK).mean)(FOUL)
    assert np.isfinite(gradient).all()
    assert (np.asarray(gradient)[~np.asarray(MASK)] == 0).all()
    assert (
        cross_entropy(LOGITS, targets % 3, smoothing=0.0).total
        == cross_entropy(LOGITS, targets % 3).total
    )
    forbidden = jnp.array([[0.0, 1, -jnp.inf]])
    assert np.isfinite(cross_entropy(forbidden, jnp.array([1])).mean)


def test_a_partial_made_once_does_not_trace_again():
    net = rnn.Stack((rnn.Embed(5, 3), rnn.GRU(3), rnn.Dense(5)))
    params = net.init(jax.random.key(0), rnn.TOKEN)
    traces = []

    def loss(ys, targets, mask, smoothing):
        traces.append(1)
        return cross_entropy(ys, targets, mask, smoothing=smoothing)

    tokens, smoothed = jnp.arange(12).reshape(6, 2) % 5, partial(loss, smoothing=0.1)
    for _ in range(2):
        training.evaluate(net, smoothed, params, training.Batch(tokens, tokens))
    assert len(traces) == 1


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_a_wrong_smoothing_is_refused(smoothing):
    with pytest.raises(ValueError, match="smoothing"):
        cross_entropy(LOGITS, jnp.zeros((4, 2), int), smoothing=smoothing)


def every_path(logits, labels, blank):
    """-log of the summed probability of all paths that collapse to the labels."""
    p = np.asarray(jax.nn.softmax(logits))
    total = 0.0
    for path in itertools.product(range(p.shape[1]), repeat=len(p)):
        collapsed = [v for v, _ in itertools.groupby(path) if v != blank]
        if collapsed == list(labels):
            total += np.prod(p[np.arange(len(p)), list(path)])
    return -np.log(total) if total else np.inf


@pytest.mark.parametrize("blank", first(1, [2, 0]))
def test_ctc_is_the_sum_over_all_paths(blank):
    a, b = sorted({0, 1, 2} - {blank})
    rows, lengths = [[a, b], [a, a], [b], [], [b, a, b]], np.array([4, 3, 1, 2, 4])
    logits = jax.random.normal(jax.random.key(1), (4, 5, 3))
    labels = np.full((3, 5), blank)
    for i, row in enumerate(rows):
        labels[: len(row), i] = row
    mask = rnn.lengths_to_mask(lengths, 4)
    foul = jnp.where(mask[..., None], logits, jnp.nan)
    want = [
        every_path(logits[:n, i], row, blank)
        for i, (row, n) in enumerate(zip(rows, lengths, strict=True))
    ]
    got = ctc(foul, jnp.asarray(labels), mask, blank=blank)
    np.testing.assert_allclose(got.total, np.sum(want), rtol=1e-4)
    assert int(got.steps) == 5
    explicit = ctc(
        foul, jnp.where(labels == blank, 99, labels), mask, target_mask=labels != blank, blank=blank
    )
    np.testing.assert_allclose(explicit.total, got.total, rtol=1e-6)
    gradient = jax.grad(lambda x: ctc(x, jnp.asarray(labels), mask, blank=blank).mean)(foul)
    assert np.isfinite(gradient).all()
    assert (np.asarray(gradient)[~np.asarray(mask)] == 0).all()
    square = [x.reshape(x.shape[0], 1, 5, *x.shape[2:]) for x in (foul, jnp.asarray(labels), mask)]
    np.testing.assert_allclose(ctc(*square, blank=blank).total, got.total, rtol=1e-6)


@pytest.mark.slow
def test_ctc_over_gaps_rows_without_steps_and_labels_that_do_not_fit():
    gaps = jnp.array([[True], [False], [True], [True]])
    labels = jnp.array([[1], [2]])
    np.testing.assert_allclose(
        ctc(LOGITS[:, :1], labels, gaps).mean, ctc(LOGITS[gaps[:, 0], :1], labels).mean, rtol=1e-5
    )
    empty = ctc(
        jnp.full((4, 2, 3), jnp.nan).at[:, 0].set(LOGITS[:, 0]),
        jnp.array([[1, 0]]),
        jnp.array([[True, False]] * 4),
    )
    assert int(empty.steps) == 1
    np.testing.assert_allclose(empty.mean, ctc(LOGITS[:, :1], jnp.array([[1]])).mean, rtol=1e-6)
    assert np.isposinf(ctc(LOGITS[:2, :1], jnp.array([[1], [1]])).mean)
    assert np.isfinite(ctc(LOGITS[:3, :1], jnp.array([[1], [1]])).mean)


# Against PyTorch, and under a mask

SPREAD = np.float32(np.random.default_rng(3).normal(size=(4, 2, 6)))
NAMES = jnp.array([[0, 1], [2, 5], [1, 3], [4, 4]])
BITS = np.random.default_rng(4).random((4, 2, 6)) < 0.5
REAL = np.float32(np.random.default_rng(5).normal(size=(4, 2, 3)))
WEIGHTS = (0.5, 2.0, 0.0, 1.0, 3.0, 1.5)

MASKED = {
    "cross_entropy": (cross_entropy, NAMES, 99),
    "weighted": (partial(cross_entropy, weights=WEIGHTS), NAMES, 99),
    "smoothed and weighted": (partial(cross_entropy, weights=WEIGHTS, smoothing=0.1), NAMES, -7),
    "binary_cross_entropy": (training.binary_cross_entropy, jnp.float32(BITS), jnp.nan),
    "gaussian_nll": (training.gaussian_nll, REAL, jnp.nan),
}


def torch_total(name):
    """What PyTorch makes of all steps: a sum."""
    torch = pytest.importorskip("torch")
    nn, ys = torch.nn.functional, torch.tensor(SPREAD).requires_grad_()
    flat, names = ys.reshape(8, 6), torch.tensor(np.asarray(NAMES)).reshape(8).long()
    if name == "binary_cross_entropy":
        loss = nn.binary_cross_entropy_with_logits(
            ys, torch.tensor(np.float32(BITS)), reduction="sum"
        )
    elif name == "gaussian_nll":
        loss = nn.gaussian_nll_loss(
            ys[..., :3], torch.tensor(REAL), ys[..., 3:].exp(), full=True, reduction="sum"
        )
    else:
        weight = None if name == "cross_entropy" else torch.tensor(WEIGHTS)
        smoothing = 0.1 if "smoothed" in name else 0.0
        loss = nn.cross_entropy(flat, names, weight, label_smoothing=smoothing, reduction="sum")
        if name == "weighted":  # the mean over the weights, as the docstring says
            mean = nn.cross_entropy(flat, names, weight)
            ours = training.cross_entropy(SPREAD, NAMES, weights=WEIGHTS).mean
            np.testing.assert_allclose(ours / np.mean(np.take(WEIGHTS, NAMES)), mean.item(), 1e-5)
    loss.backward()
    return loss.item(), ys.grad.numpy()


@pytest.mark.parametrize("name", MASKED)
def test_losses_equal_pytorchs(name):
    loss, targets, _ = MASKED[name]
    value, slope = jax.value_and_grad(lambda ys: loss(ys, targets).total)(jnp.asarray(SPREAD))
    want, gradient = torch_total(name)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    np.testing.assert_allclose(slope, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", MASKED)
def test_what_is_masked_reaches_neither_losses_nor_gradients(name):
    loss, targets, foul = MASKED[name]
    wide = MASK.reshape(4, 2, *(1,) * (targets.ndim - 2))

    def total(ys, targets):
        return loss(ys, targets, MASK).total

    run = jax.value_and_grad(total)
    clean = run(jnp.asarray(SPREAD), jnp.asarray(targets))
    dirty = run(jnp.where(MASK[..., None], SPREAD, jnp.nan), jnp.where(wide, targets, foul))
    jax.tree.map(np.testing.assert_array_equal, dirty, clean)
    assert not np.asarray(clean[1])[~np.asarray(MASK)].any()
    rows = [loss(jnp.asarray(y)[None], jnp.asarray(t)[None]) for y, t in
            zip(SPREAD[MASK], np.asarray(targets)[MASK], strict=True)]  # fmt: skip
    np.testing.assert_allclose(clean[0], sum(rows).total, rtol=1e-5)
    assert int(loss(SPREAD, targets, MASK).steps) == sum(rows).steps == 4
    half = loss(jnp.asarray(SPREAD, jnp.bfloat16), targets, MASK)
    assert half.total.dtype == jnp.float32


@pytest.mark.slow
def test_losses_in_doubles(x64):
    for loss, targets, _ in MASKED.values():
        got = loss(jnp.asarray(SPREAD, jnp.float64), targets)
        assert got.total.dtype == jnp.float64


def test_a_weight_is_looked_up_and_nothing_else_is():
    weights = jnp.array([1.0, 0.0, 2.0])
    loss = partial(cross_entropy, weights=weights)
    forbidden = jnp.array([[0.0, -jnp.inf, 0.0]])  # a class of weight 0, and the target
    for smoothing in (0.0, 0.1):
        value, slope = jax.value_and_grad(
            lambda x, s=smoothing: loss(x, jnp.array([1]), smoothing=s).total
        )(forbidden)
        assert np.isfinite(value)
        assert np.isfinite(slope).all()
    for target in (-1, 3):
        assert np.isnan(loss(LOGITS[:1, 0], jnp.array([target])).total)
    ones = cross_entropy(LOGITS, jnp.ones((4, 2), int), MASK, weights=(1, 1, 1))
    assert ones.total == cross_entropy(LOGITS, jnp.ones((4, 2), int), MASK).total
    # Traced weights have no values to look at.
    sums = jax.jit(lambda w: cross_entropy(LOGITS, jnp.ones((4, 2), int), weights=w).total)
    np.testing.assert_allclose(sums(2 * jnp.ones(3)), 2 * sums(jnp.ones(3)), rtol=1e-6)


def test_binary_targets_are_from_0_to_1():
    for kind in (bool, np.uint8, np.float32):
        got = training.binary_cross_entropy(SPREAD, BITS.astype(kind))
        np.testing.assert_allclose(got.total, MASKED["binary_cross_entropy"][0](SPREAD, BITS).total)
    for wrong in (-0.1, 255.0):
        assert np.isnan(training.binary_cross_entropy(LOGITS, LOGITS.at[0, 0, 0].set(wrong)).total)


@pytest.mark.parametrize("label", [0, 3, -1])
def test_a_label_that_is_none_gives_nan_to_its_row_alone(label):
    """The blank, or no token at all, where a mask says that it is a label."""
    labels = jnp.array([[1, label]])
    got = ctc(LOGITS, labels, MASK, target_mask=jnp.array([[True, True]]))
    assert np.isnan(got.total)
    assert np.isfinite(ctc(LOGITS, labels, MASK, target_mask=jnp.array([[True, False]])).total)


def test_a_loss_times_a_number_and_no_steps_at_all():
    loss = cross_entropy(LOGITS, jnp.zeros((4, 2), int), MASK)
    for half in (0.5 * loss, loss * 0.5):
        assert half.steps == loss.steps
        assert half.mean == 0.5 * loss.mean
    nothing = ctc(LOGITS[:0], jnp.ones((1, 2), int))
    assert (float(nothing.mean), int(nothing.steps)) == (0.0, 0)


def test_values_may_be_booleans_or_integers():
    right = jnp.array([[True, False], [True, True]])
    assert training.MaskedMean.over(right).mean == 0.75
    assert training.MaskedMean.over(right.astype(jnp.int32), right).mean == 1.0


# What was quietly wrong


def test_losses_add_up():
    parts = [cross_entropy(LOGITS[t], jnp.zeros(2, int), MASK[t]) for t in range(4)]
    whole = cross_entropy(LOGITS, jnp.zeros((4, 2), int), MASK)
    for got in (sum(parts), parts[0] + parts[1] + parts[2] + parts[3]):
        assert isinstance(got, training.MaskedMean)
        np.testing.assert_allclose(got.mean, whole.mean, rtol=1e-6)
    with pytest.raises(TypeError, match=r"MaskedMean: got a sum with .* need another MaskedMean"):
        whole + 1.0


@pytest.mark.parametrize("target", [-1, -100, 3])
def test_a_target_that_is_no_token_is_nan_and_not_another_token(target):
    targets = jnp.zeros((4, 2), int).at[0, 1].set(target)
    assert np.isnan(cross_entropy(LOGITS, targets, MASK).total)
    seen = cross_entropy(LOGITS, targets, MASK & (targets != target))
    assert np.isfinite(seen.total)
    assert int(seen.steps) == 3


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: training.mse(jnp.ones((4, 2, 1)), jnp.ones((4, 2))), "never broadcast"),
        (lambda: cross_entropy(LOGITS, jnp.zeros((4, 2, 1), int)), "never broadcast"),
        (lambda: cross_entropy(LOGITS, jnp.zeros((4, 2))), "integers"),
        (lambda: rnn.metrics.accuracy(LOGITS, jnp.zeros((4, 1), int)), "never broadcast"),
        (lambda: rnn.metrics.accuracy(LOGITS, jnp.zeros((4, 2))), "integers"),
        (lambda: training.MaskedMean.over(LOGITS, MASK), r"values.sum\(-1\)"),
        (lambda: training.MaskedMean.over(LOGITS[..., 0], MASK.astype(float)), "mask > 0"),
        (lambda: training.MaskedMean.over(LOGITS[..., 0], MASK.astype(int)), "mask > 0"),
        (lambda: rnn.lengths_to_mask(jnp.array([3, -1]), 4), "from -1 to 3"),
        (lambda: rnn.lengths_to_mask(jnp.array([3, 5]), 4), "from 3 to 5"),
    ],
)
def test_refused(call, words):
    with pytest.raises((TypeError, ValueError), match=rf"(?s)got .*need .*{words}|{words}"):
        call()


def test_lengths_of_a_small_dtype():
    mask = rnn.lengths_to_mask(jnp.array([200, 3], jnp.uint8), 300)
    assert mask.sum(0).tolist() == [200, 3]
    assert jax.jit(lambda n: rnn.lengths_to_mask(n, 4))(jnp.array([2])).sum() == 2
    assert jax.jit(lambda: rnn.lengths_to_mask(np.array([2]), 4))().sum() == 2
