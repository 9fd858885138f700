"""The loop around a step: progress, checkpoints, history, the best params, and a stop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxrnn import errors
from jaxrnn.training import network
from jaxrnn.training.checkpoints import Checkpoints
from jaxrnn.training.history import History, Recorder
from jaxrnn.training.interrupts import interrupts
from jaxrnn.training.processes import alone, any_of, first
from jaxrnn.training.progress import Progress
from jaxrnn.training.state import TrainState
from jaxrnn.training.steps import Step


def fit(
    step: Step,
    state: TrainState,
    batches: Callable[[int], Any],
    steps: int,
    *,
    directory: Any = None,
    save_every: int = 1000,
    keep: int = 2,
    settings: Mapping[str, Any] | None = None,
    evaluate: Callable[[TrainState], Mapping[str, Any]] | None = None,
    evaluate_every: int = 1000,
    best: str | None = None,
    best_mode: str | None = None,
    patience: int | None = None,
    fetch_every: int = 10,
    progress: bool = True,
) -> tuple[TrainState, History]:
    """Run a step until `state.step == steps`, and return the state and the history.

    With a `directory`, checkpoints are saved every `save_every` steps, at the end and on Ctrl-C. If
    the directory already has some, the run goes on from the newest whole one. The same call after
    any interruption, `kill -9` included, ends with the same numbers bit for bit, since a batch and
    a step's noise depend on the step alone; so do the best params and an early stop.

    On Ctrl-C the loop ends after the current step and returns as usual, with `history.finished`
    false; a second Ctrl-C raises at once. SIGTERM ends and saves in the same way, and then ends the
    process: it is passed to the handler that was there before, and without one `SystemExit(143)` is
    raised.

    On several processes (`jax.distributed`) each makes the same call, with a state that is placed
    on a mesh of all their devices. The first one shows the progress and writes to the directory,
    which all must see. A signal to any of them ends the loop of all after the same step, at most
    `fetch_every` steps later. `evaluate` must return the same numbers on each.

    Args:
      step: `step(state, batch) -> (state, metrics)`, as from `bptt_step` or `truncated_bptt_step`;
        metrics are a NamedTuple of scalars.
      state: the state to begin with, and the template for a checkpoint's.
      batches: the batch of each step, a pure function of its number.
      steps: how many steps the whole run has, those before an interruption included.
      directory: where checkpoints are, or None for none. One process at a time writes to it. They
        note the network, for `restore_network`.
      save_every: how many steps lie between checkpoints.
      keep: how many checkpoints stay.
      settings: what the run is made with and its state does not show (a learning rate, a file's
        hash), as JSON can hold it; it is saved, and a run with other settings is not resumed.
      evaluate: `evaluate(state) -> {name: number}`, called every `evaluate_every` steps and at the
        end.
      evaluate_every: how many steps lie between evaluations.
      best: the name of an evaluation; the params that did best by it are `history.best.params`. Of
        equal ones the first is kept, and NaN is never best.
      best_mode: `"min"` where a low number is good, `"max"` where a high one is.
      patience: stop early after so many evaluations in a row without a better one, or None.
      fetch_every: metrics are fetched from the device every so many steps; in between the loop does
        not wait for the device.
      progress: show a progress bar with loss, the share of clipped steps and steps/s, of what was
        last fetched; where the output is no terminal, a line every ten seconds.

    Raises:
      TypeError: for an argument of a wrong kind, and where `step` or `evaluate` returns one.
      ValueError: for a wrong value; where the directory holds a run of another network, other
        settings or another initial state (another seed, say); where none of its checkpoints is
        whole.
      OSError: where the directory cannot be written to, a disk is full, or another process writes
        to it (`BlockingIOError`). Earlier checkpoints stay as they were.

    Example:
      >>> net, tx = Stack((Embed(9, 4), LSTM(8), Dense(9))), optimizer(1e-2)
      >>> params, key = net.init(jax.random.key(0), TOKEN), jax.random.key(1)
      >>> state = TrainState.create(net, params, tx, key, batch_shape=(2,))
      >>> step = truncated_bptt_step(net, cross_entropy, tx)
      >>> segments = data.Segments(np.arange(99) % 9, batch=2, length=8)
      >>> state, history = fit(step, state, segments, 20, progress=False)
      >>> history.metrics["loss"].shape
      (20,)
    """
    errors.check_fit_calls(step, state, batches, evaluate)
    errors.check_fit_counts(steps, save_every, keep, evaluate_every, fetch_every, patience)
    errors.check_fit_best(state, evaluate, best, best_mode, patience)
    known = errors.check_fit_directory(directory, settings, state)
    if best is not None:
        known |= {"best": best, "best_mode": best_mode}

    with contextlib.ExitStack() as stack:
        caught = stack.enter_context(interrupts())
        history, checkpoints = History({}, {}), None
        if directory is not None:
            checkpoints = stack.enter_context(Checkpoints(directory, keep, known))
            checkpoints.network = network.configuration(step)
            state, history = checkpoints.begin(state)
        recorder, pending = Recorder(history, best, best_mode), []
        begin = done = int(state.step)
        exhausted = recorder.exhausted(patience)
        bar = stack.enter_context(Progress(begin, steps, progress and first()))
        if begin and begin < steps and not exhausted:
            bar.say(f"going on from step {begin} of {steps}")

        def fetch() -> None:
            rows = [row._asdict() for row in jax.device_get(pending)]
            pending.clear()
            recorder.add(rows)
            bar.show(done, rows)

        def seen() -> History:
            fetch()
            return recorder.history(finished=done >= steps or exhausted)

        def stopped() -> bool:
            """Whether a signal came: to any process, which they ask one another now and then."""
            now = alone() or (done - begin) % fetch_every == 0
            return now and any_of(bool(caught))

        while done < steps and not stopped() and not exhausted:
            taken = step(state, batches(done))
            if done == begin:
                errors.check_step_result(taken)
            state, row = taken
            pending.append(row)
            done += 1
            if evaluate is not None and (done % evaluate_every == 0 or done == steps):
                fetch()
                recorder.judge(done, evaluate(state), state)
                exhausted = recorder.exhausted(patience)
            if len(pending) >= fetch_every:
                fetch()
            if checkpoints is not None and done % save_every == 0:
                checkpoints.save(done, state, seen())
        history = seen()
        if checkpoints is not None and done > begin:
            checkpoints.save(done, state, history)
        if exhausted and begin < done < steps:
            bar.say(f"no better {best} in {patience} evaluations: ended after step {done}")
        if not history.finished:
            saved = checkpoints is not None and checkpoints.saved is not None
            where = f", saved in {directory}" if saved else ""
            bar.say(f"interrupted after step {done} of {steps}{where}")
        return state, history
