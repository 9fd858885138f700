"""The loop around a step: progress, checkpoints, history, and a stop on Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxrnn.training.checkpoints import Checkpoints, History
from jaxrnn.training.steps import Step, TrainState


def fit(
    step: Step,
    state: TrainState,
    batches: Callable[[int], Any],
    steps: int,
    *,
    directory: Any = None,
    save_every: int = 1000,
    keep: int = 2,
    evaluate: Callable[[TrainState], Mapping[str, Any]] | None = None,
    evaluate_every: int = 1000,
    fetch_every: int = 10,
    progress: bool = True,
) -> tuple[TrainState, History]:
    """Run a step until `state.step == steps`, and return the state and the history.

    With a `directory`, checkpoints are saved every `save_every` steps, at the end and on Ctrl-C. If
    the directory already has some, the run goes on from the newest. The same call after any
    interruption, `kill -9` included, ends with the same numbers bit for bit, since a batch and a
    step's noise depend on the step alone. On Ctrl-C the loop ends after the current step and
    returns as usual, with `state.step < steps`; a second Ctrl-C raises at once.

    Args:
      step: `step(state, batch) -> (state, metrics)`, as from `bptt_step` or `truncated_bptt_step`;
        metrics are a NamedTuple of scalars.
      state: the state to begin with, and the template for a checkpoint's.
      batches: the batch of each step, a pure function of its number.
      steps: how many steps the whole run has, those before an interruption included.
      directory: where checkpoints are, or None for none.
      save_every: how many steps lie between checkpoints.
      keep: how many checkpoints stay.
      evaluate: `evaluate(state) -> {name: number}`, called every `evaluate_every` steps and at the
        end.
      evaluate_every: how many steps lie between evaluations.
      fetch_every: metrics are fetched from the device every so many steps; in between the loop does
        not wait for the device.
      progress: show a progress bar with loss and steps/s; where the output is no terminal, a line
        every ten seconds.

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
    with contextlib.ExitStack() as stack:
        checkpoints = (
            None if directory is None else stack.enter_context(Checkpoints(directory, keep))
        )
        history = History({}, {})
        if checkpoints is not None and checkpoints.latest is not None:
            state, history = checkpoints.restore(state)
        metrics = {name: [column] for name, column in history.metrics.items()}
        evaluations = {name: column.tolist() for name, column in history.evaluations.items()}
        pending: list[Any] = []
        begin = done = int(state.step)
        bar = stack.enter_context(Progress(begin, steps, progress))
        stopped = stack.enter_context(interrupts())
        if begin and begin < steps:
            bar.say(f"going on from step {begin} of {steps}")

        def fetch() -> None:
            rows = [row._asdict() for row in jax.device_get(pending)]
            pending.clear()
            for name in rows[0] if rows else ():
                metrics.setdefault(name, []).append(np.stack([row[name] for row in rows]))
            bar.show(done, rows)

        def seen() -> History:
            columns = {name: np.concatenate(column) for name, column in metrics.items()}
            return History(
                columns, {name: np.asarray(column) for name, column in evaluations.items()}
            )

        while done < steps and not stopped:
            state, row = step(state, batches(done))
            pending.append(row)
            done += 1
            if evaluate is not None and (done % evaluate_every == 0 or done == steps):
                fetch()
                for name, value in {"step": done, **evaluate(state)}.items():
                    evaluations.setdefault(name, []).append(np.asarray(value).item())
            if len(pending) >= fetch_every:
                fetch()
            if checkpoints is not None and done % save_every == 0:
                fetch()
                checkpoints.save(done, state, seen())
        fetch()
        if checkpoints is not None and done > begin:
            checkpoints.save(done, state, seen())
        if done < steps:
            bar.say(
                f"interrupted after step {done} of {steps}"
                + ("" if directory is None else f", saved in {directory}")
            )
        return state, seen()


class Progress:
    """A tqdm bar on a terminal; elsewhere a plain line every ten seconds, so that a log stays
    readable.
    """

    def __init__(self, begin: int, steps: int, shown: bool, every: float = 10.0):
        from tqdm import tqdm  # only a loop with progress needs it

        self.live = shown and sys.stderr.isatty()
        self.lines = shown and not self.live
        self.bar = tqdm(
            total=steps, initial=begin, unit=" steps", dynamic_ncols=True, disable=not self.live
        )
        self.begin, self.steps, self.every = begin, steps, every
        self.start = self.last = time.monotonic()
        self.skipped = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.close()

    def show(self, done: int, rows: list[dict[str, Any]]) -> None:
        self.skipped += sum(int(row.get("skipped", 0)) for row in rows)
        shown = (
            {"loss": f"{np.mean([row['loss'] for row in rows]):.3f}"}
            if rows and "loss" in rows[0]
            else {}
        )
        if self.skipped:
            shown["skipped"] = str(self.skipped)
        if rows:
            self.bar.set_postfix(shown, refresh=False)
            self.bar.update(done - self.bar.n)
        now = time.monotonic()
        if self.lines and rows and (now - self.last >= self.every or done == self.steps):
            rate = (done - self.begin) / max(now - self.start, 1e-9)
            self.say(
                f"step {done}/{self.steps}  "
                + "  ".join(f"{k} {v}" for k, v in shown.items())
                + f"  {rate:.1f} steps/s"
            )
            self.last = now

    def say(self, line: str) -> None:
        if self.live or self.lines:
            self.bar.write(line, file=sys.stderr)
            sys.stderr.flush()


@contextlib.contextmanager
def interrupts() -> Iterator[list[bool]]:
    """A list that is filled by the first Ctrl-C; the second one raises. Only the main thread can
    catch it.
    """
    caught: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = signal.getsignal(signal.SIGINT)

    def catch(number: int, frame: Any) -> None:
        caught.append(True)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, catch)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before)
