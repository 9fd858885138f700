"""The loop: its curves, the best params, an early stop, and what stops it from outside."""

import math
import os
import pathlib
import signal
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import small_run
from helpers.equal import same
from helpers.small_run import BEST, FIT, SEGMENTS, START, STEP
from jaxrnn import training
from jaxrnn.training.history import best_of

pytestmark = pytest.mark.usefixtures("usual_signals")


@pytest.fixture(scope="module")
def best():
    return BEST(SEGMENTS)


def test_fit_learns_and_keeps_the_whole_curve():
    state, history = FIT(SEGMENTS, 24)
    assert int(state.step) == 24
    assert history.finished
    assert history.best is None
    assert {k: v.shape for k, v in history.metrics.items()} == dict.fromkeys(
        training.Metrics._fields, (24,)
    )
    assert history.evaluations["step"].tolist() == [8, 16, 24]
    plain = START
    for n in range(24):
        plain, metrics = STEP(plain, SEGMENTS(n))
        assert float(metrics.loss) == float(history.metrics["loss"][n])
    same(plain, state)


def test_progress_is_plain_lines_where_there_is_no_terminal(capfd):
    training.fit(STEP, START, SEGMENTS, 3)
    shown = capfd.readouterr().err
    assert "step 3/3  loss " in shown
    assert "\r" not in shown


# The best params, and an early stop


@pytest.mark.parametrize(
    ("scores", "low", "high"),
    [
        ([], None, None),
        ([math.nan], None, None),
        ([math.nan, 2.0, 2.0], 1, 1),
        ([1.0, math.nan, 3.0, -math.inf, math.inf], 3, 4),
        ([2.0, 1.0, 1.0, 2.0], 1, 0),
    ],
)
def test_the_first_of_equal_scores_is_best_and_nan_never(scores, low, high):
    assert (best_of(scores, "min"), best_of(scores, "max")) == (low, high)


def test_the_best_params_are_those_of_their_step_and_the_run_ends_early(best, capfd):
    state, history = best
    assert int(state.step) == 24
    assert history.finished
    assert (history.best.step, history.best.score) == (12, 1.0)
    same(history.best.params, FIT(SEGMENTS, 12)[0].params)
    highest = BEST(SEGMENTS, best_mode="max", patience=None)[1]
    assert (highest.best.step, highest.evaluations["step"][-1]) == (4, 32)
    BEST(SEGMENTS, progress=True)
    assert "no better score in 3 evaluations: ended after step 24" in capfd.readouterr().err


def test_without_a_number_there_is_no_best_and_patience_ends():
    state, history = BEST(SEGMENTS, evaluate=lambda state: {"score": jnp.nan})
    assert history.best is None
    assert int(state.step) == 12


def test_a_step_that_donates_its_state_takes_no_best_params_away(best):
    donating = jax.jit(STEP, donate_argnums=0)
    start = jax.tree.map(jnp.copy, START)
    got = training.fit(donating, start, SEGMENTS, **BEST.keywords)
    same(got[1].best, best[1].best)


# Stops from outside: what is resumed is what was never interrupted, bit for bit

STOPS = {
    "power fails after an evaluation, before its save": ("evaluate", 12, "fail"),
    "power fails after the early stop, before its save": ("evaluate", 24, "fail"),
    "ctrl-c": ("batch", 13, "SIGINT"),
    "ctrl-c in an evaluation": ("evaluate", 12, "SIGINT"),
    "sigterm": ("batch", 13, "SIGTERM"),
}


@pytest.mark.parametrize("stop", STOPS)
def test_a_resumed_run_has_the_same_best_params_and_the_same_end(stop, best, tmp_path):
    where, at, what = STOPS[stop]

    def now(place, step):
        if (place, step) == (where, at):
            if what == "fail":
                raise RuntimeError("the power failed")
            signal.raise_signal(signal.Signals[what])

    def batches(step):
        now("batch", step)
        return SEGMENTS(step)

    def evaluate(state):
        now("evaluate", int(state.step))
        return small_run.scores(state)

    run = partial(BEST, batches, evaluate=evaluate, directory=tmp_path)
    if what == "fail":
        with pytest.raises(RuntimeError, match="power"):
            run()
        done = at // 5 * 5 if at < 24 else 20
    elif what == "SIGINT":
        state, history = run()
        done = int(state.step)
        assert done == (14 if where == "batch" else 12)
        assert not history.finished
    else:
        with pytest.raises(SystemExit) as ended:
            run()
        assert ended.value.code == 143
        done = 14
    state, history = training.restore(tmp_path, START)
    assert int(state.step) == len(history.metrics["loss"]) == done
    same(BEST(SEGMENTS, directory=tmp_path), best)
    same(BEST(SEGMENTS, directory=tmp_path), best)  # nothing is left to do
    same(training.restore(tmp_path, START), best)


def test_a_handler_of_ones_own_is_called_after_the_save(tmp_path):
    seen = []

    def batches(step):
        if step == 3:
            signal.raise_signal(signal.SIGTERM)
        return SEGMENTS(step)

    def handler(number, frame):
        seen.append(int(training.restore(tmp_path, START)[0].step))

    signal.signal(signal.SIGTERM, handler)
    state, history = FIT(batches, 24, directory=tmp_path)
    assert (seen, int(state.step), history.finished) == ([4], 4, False)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_what_is_ignored_stays_ignored():
    def batches(step):
        signal.raise_signal(signal.SIGTERM)
        return SEGMENTS(step)

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert FIT(batches, 2)[1].finished
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_the_second_ctrl_c_raises_at_once():
    def batches(step):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        FIT(batches, 24)


def test_a_ctrl_c_before_the_first_step_ends_with_nothing_saved(tmp_path, capfd, monkeypatch):
    begin = training.checkpoints.Checkpoints.begin

    def interrupted(self, state):
        signal.raise_signal(signal.SIGINT)
        return begin(self, state)

    monkeypatch.setattr(training.checkpoints.Checkpoints, "begin", interrupted)
    state, history = FIT(SEGMENTS, 24, directory=tmp_path, progress=True)
    assert (int(state.step), history.finished) == (0, False)
    assert capfd.readouterr().err == "interrupted after step 0 of 24\n"


# Real processes

HERE = pathlib.Path(small_run.__file__)


def process(directory, *stop):
    # Strict promotion is what the tests of this process have.
    path = os.pathsep.join([str(HERE.parents[2]), str(HERE.parents[1])])
    environment = os.environ | {"PYTHONPATH": path, "JAX_NUMPY_DTYPE_PROMOTION": "strict"}
    return subprocess.Popen(
        [sys.executable, str(HERE), str(directory), *map(str, stop)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


CUTS = [
    ("evaluate", 12, "SIGKILL"),
    ("save", 15, "SIGKILL"),
    ("save", 24, "SIGKILL"),
    ("batch", 13, "SIGKILL"),
    ("batch", 0, "SIGKILL"),
    ("batch", 0, "SIGTERM"),
    ("batch", 17, "SIGTERM"),
    ("evaluate", 24, "SIGTERM"),
    ("save", 10, "SIGTERM"),
    ("batch", 21, "SIGINT"),
    ("save", 20, "SIGINT"),
]


@pytest.mark.parametrize(
    "cut", [CUTS[0], *(pytest.param(cut, marks=pytest.mark.slow) for cut in CUTS[1:])], ids=str
)
def test_a_process_that_is_ended_leaves_a_run_that_goes_on(cut, best, tmp_path):
    ended = process(tmp_path, *cut)
    _, said = ended.communicate()
    status = {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 0}[cut[2]]
    assert ended.returncode == status, said
    assert said == ""
    same(BEST(SEGMENTS, directory=tmp_path), best)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_processes_ended_at_any_moment(name, best, tmp_path):
    random = np.random.default_rng(signal.Signals[name])
    for _ in range(5):
        child = process(tmp_path)
        try:
            child.wait(timeout=random.uniform(1.0, 8.0))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.Signals[name])
        child.communicate()
        assert child.returncode in (0, -signal.Signals[name], 143, 1 if name == "SIGINT" else 0)
    same(BEST(SEGMENTS, directory=tmp_path), best)
